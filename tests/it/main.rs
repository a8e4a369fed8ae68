//! Claims about behaviour, through real sockets and real servers.
