//! A hub on a log in memory, for the tests of its parts.

use super::{Hub, HubLimits, Status, WindowLimits};
use crate::event::{Data, Message, Position};
use crate::log::{Append, Log, MemoryLimits, MemoryLog};
use std::time::Duration;

/// Far more than any test puts in.
const PLENTY: usize = 1 << 30;

/// A live hub on a log of so many events, with a window of so many bytes.
pub(super) async fn hub(log_events: usize, window_bytes: u64) -> Hub {
    let log = MemoryLog::new(MemoryLimits {
        bytes: PLENTY,
        events: log_events,
        keys: 1,
    });
    let limits = HubLimits {
        window: WindowLimits {
            bytes: window_bytes,
            events: PLENTY,
        },
        cold_bytes: 32 << 20,
        readers: 100,
    };
    let hub = Hub::new(Log::Memory(log), limits, Default::default());
    tokio::spawn(hub.clone().follow());
    let mut status = hub.status();
    let live = |status: &Status| *status == Status::Live;
    status.wait_for(live).await.unwrap();
    hub
}

/// Appends an event, and returns its position once the hub has followed it.
pub(super) async fn publish(hub: &Hub, feed: &str, data: Data) -> Position {
    let mut message = Message::new(feed.parse().unwrap(), "");
    message.data = data;
    let append = Append {
        message,
        idempotency_key: None,
    };
    let sequence = hub.log().append(append).await.unwrap().sequence;
    let found = hub.position_of(sequence, Duration::from_secs(30));
    found.await.unwrap().unwrap()
}
