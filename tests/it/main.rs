//! Claims about behaviour, through real sockets and real servers.

mod conformance;
mod cutting_proxy;
mod tools;
