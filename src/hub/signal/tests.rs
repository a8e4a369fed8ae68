//! What readers hear of a small hub.

use super::*;
use crate::event::{Data, Message, Patterns};
use crate::hub::{Hub, HubLimits, Reader, Start, Status, WindowLimits};
use crate::log::{Append, Log, MemoryLimits, MemoryLog};
use std::time::Duration;

const WINDOW_BYTES: u64 = 1 << 20;

async fn hub(log_events: usize) -> Hub {
    let log = MemoryLog::new(MemoryLimits {
        bytes: 1 << 30,
        events: log_events,
        keys: 1,
    });
    let limits = HubLimits {
        window: WindowLimits {
            bytes: WINDOW_BYTES,
            events: 1000,
        },
        readers: 10,
    };
    let hub = Hub::new(Log::Memory(log), limits, Default::default());
    tokio::spawn(hub.clone().follow());
    let mut status = hub.status();
    let live = |status: &Status| *status == Status::Live;
    status.wait_for(live).await.unwrap();
    hub
}

async fn publish(hub: &Hub, data: Data) -> Position {
    let mut message = Message::new("a".parse().unwrap(), "");
    message.data = data;
    let append = Append {
        message,
        idempotency_key: None,
    };
    let sequence = hub.log().append(append).await.unwrap().sequence;
    let found = hub.position_of(sequence, Duration::from_secs(30));
    found.await.unwrap().unwrap()
}

async fn join(hub: &Hub, start: Start) -> Reader {
    let patterns = Patterns::new(vec![">".parse().unwrap()], 1).unwrap();
    hub.join(patterns, start).await.unwrap().reader
}

#[tokio::test]
async fn the_window_makes_room_for_what_is_encoded_of_it() {
    let hub = hub(1000).await;
    let size = WINDOW_BYTES as usize / 64;
    for _ in 0..60 {
        publish(&hub, Data::Bytes(vec![0; size].into())).await;
    }
    assert_eq!(hub.usage().events, 60);
    for form in [Form::Sse, Form::SseEnvelope] {
        let mut reader = join(&hub, Start::First).await;
        let mut heard = 0;
        while heard < 60 {
            let Signal::Events(events) = reader.next().await else {
                panic!("the log holds all");
            };
            heard += events.len();
            let signal = Signal::Events(events);
            let mut next = Some(0);
            while let Some(from) = next {
                next = signal.piece(form, from).next;
                assert!(hub.usage().bytes <= WINDOW_BYTES);
            }
        }
    }
    assert!(hub.usage().events > 0);
}

#[tokio::test]
async fn gaps_are_counted_whatever_their_reason() {
    let hub = hub(2).await;
    let first = publish(&hub, Data::Bytes("1".into())).await;
    let mut reader = join(&hub, Start::After(first)).await;
    publish(&hub, Data::Oversize { bytes: 9 }).await;
    let Signal::Events(events) = reader.next().await else {
        panic!("the event");
    };
    assert!(events[0].is_gap());
    assert_eq!(hub.shared.counters.gaps.get(), 1);
    // More than the window takes at once: it holds none, and the log the last two.
    for _ in 0..3 {
        let large = vec![0; WINDOW_BYTES as usize];
        publish(&hub, Data::Bytes(large.into())).await;
    }
    let Signal::Notice(notice) = reader.next().await else {
        panic!("the gap");
    };
    assert!(is_gap(&notice));
    assert_eq!(hub.shared.counters.gaps.get(), 2);
}
