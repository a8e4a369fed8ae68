//! Claims about behaviour, through real sockets and real servers: a module for each.

#[macro_use]
mod nats_server;
mod call;
mod cutting_proxy;
mod network;
mod program;
mod raw;
mod replica;
mod seed;
mod sse;
mod tools;
mod unreadable;

mod anonymous;
mod batch;
mod bench;
mod bodies;
mod browser;
mod bytes;
mod cli;
mod conformance;
mod connections;
mod disk;
mod drain;
mod health;
mod joining;
mod lagging;
mod lifecycle;
mod log_jetstream;
mod loopback;
mod model;
mod moves;
mod nats_faults;
mod outages;
mod publish;
mod refusal;
mod replicas;
mod resume;
mod rolling;
mod signals;
mod soak;
mod sockets;
mod stalled;
mod storms;
mod subscribe;
mod verify;
