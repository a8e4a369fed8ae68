//! Claims about behaviour, through real sockets and real servers: a module for each.

mod nats_server;
mod replica;
mod sse;

mod lifecycle;
mod log_jetstream;
mod resume;

mod cutting_proxy;
mod tools;

mod conformance;
