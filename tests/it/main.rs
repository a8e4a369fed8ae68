//! Claims about behaviour, through real sockets and real servers: a module for each.

mod call;
mod program;
mod raw;
mod replica;
mod sse;

mod bytes;
mod cli;
mod health;
mod lifecycle;
mod refusal;
mod resume;
mod subscribe;
