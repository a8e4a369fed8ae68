//! Claims about behaviour, through real sockets and real servers: a module for each.

mod replica;
mod sse;

mod lifecycle;
mod resume;

mod cutting_proxy;
mod tools;

mod conformance;
