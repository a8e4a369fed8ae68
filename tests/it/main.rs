//! Claims about behaviour, through real sockets and real servers: a module for each.

#[macro_use]
mod nats_server;
mod replica;
mod sse;

mod lifecycle;
mod log_jetstream;
mod moves;
mod outages;
mod replicas;
mod resume;

mod cutting_proxy;
mod tools;

mod conformance;
