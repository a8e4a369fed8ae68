//! Settings: one small struct a concern, each field with its flag, its variable and its default.

mod nats;

pub use nats::{CreateStream, NatsSettings, without_user};
