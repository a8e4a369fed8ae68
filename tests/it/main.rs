//! Claims about behaviour, through real sockets and real servers.

mod log_jetstream;
mod nats_server;
