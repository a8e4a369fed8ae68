//! Clients that talk back.

mod client;
mod subscribing;

pub(crate) use client::{Client, refusal};
