//! Claims about behaviour, through real sockets and real servers: a module for each.

mod call;
mod nats_server;
mod program;
mod raw;
mod replica;
mod sse;

mod anonymous;
mod batch;
mod bytes;
mod cli;
mod health;
mod lifecycle;
mod log_jetstream;
mod loopback;
mod publish;
mod refusal;
mod resume;
mod signals;
mod subscribe;
