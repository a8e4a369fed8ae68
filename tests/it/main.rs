//! Claims about behaviour, through real sockets and real servers: a module for each.

mod program;
mod replica;
mod sse;

mod cli;
mod lifecycle;
mod resume;
