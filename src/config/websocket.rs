//! How WebSockets behave.

use super::BUDGET;
use super::number::{bytes, count, whole};
use std::time::Duration;

/// How WebSockets behave, and how much one may ask for.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "WebSockets")]
pub struct WebSocketSettings {
    /// Subscriptions that one WebSocket may have.
    #[arg(long, env = "TIDINGS_MAX_SUBSCRIPTIONS", value_name = "N", default_value_t = 100, value_parser = count::<usize>(1))]
    pub max_subscriptions: usize,

    /// Publishes, requests and beginning subscriptions of one WebSocket that may be under way at once. Nothing more is
    /// read of it until one of them has been answered.
    #[arg(long, env = "TIDINGS_MAX_OUTSTANDING", value_name = "N", default_value_t = 64, value_parser = count::<usize>(1))]
    pub max_outstanding: usize,

    /// What the messages of all WebSockets that have not come whole may hold together, with what requests and their
    /// answers hold, in bytes: at least as much as two of the largest messages; by itself it is.
    #[arg(long, env = "TIDINGS_WEBSOCKET_BYTES", value_name = "BYTES", default_value_t = BUDGET, value_parser = bytes::<usize>(1))]
    pub websocket_bytes: usize,

    /// How often a WebSocket's client is pinged, in seconds. It is closed when nothing has come from it for 2¼ times as
    /// long.
    #[arg(long = "ping", env = "TIDINGS_PING", value_name = "SECONDS", default_value_t = 20, value_parser = whole::<u16>(1..=3600, "seconds"))]
    pub ping_seconds: u16,
}

impl WebSocketSettings {
    /// How often a client is pinged.
    pub fn ping(&self) -> Duration {
        Duration::from_secs(self.ping_seconds.into())
    }

    /// How long a client may be silent.
    pub fn silence(&self) -> Duration {
        self.ping().mul_f64(2.25)
    }
}
