//! What readers hear of a small hub.

use super::*;
use crate::event::{Data, Patterns};
use crate::hub::testing::{hub, publish};
use crate::hub::{Hub, Reader, Start};

const WINDOW_BYTES: u64 = 1 << 20;

async fn join(hub: &Hub, start: Start) -> Reader {
    let patterns = Patterns::new(vec![">".parse().unwrap()], 1).unwrap();
    hub.join(patterns, start).await.unwrap().reader
}

#[tokio::test]
async fn the_window_makes_room_for_what_is_encoded_of_it() {
    let hub = hub(1000, WINDOW_BYTES).await;
    let size = WINDOW_BYTES as usize / 64;
    for _ in 0..60 {
        publish(&hub, "a", Data::Bytes(vec![0; size].into())).await;
    }
    assert_eq!(hub.usage().events, 60);
    for form in [Form::Sse, Form::SseEnvelope, Form::Lines] {
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
    let hub = hub(2, WINDOW_BYTES).await;
    let first = publish(&hub, "a", Data::Bytes("1".into())).await;
    let mut reader = join(&hub, Start::After(first)).await;
    publish(&hub, "a", Data::Oversize { bytes: 9 }).await;
    let Signal::Events(events) = reader.next().await else {
        panic!("the event");
    };
    assert!(events[0].is_gap());
    assert_eq!(hub.shared.counters.gaps.get(), 1);
    // More than the window takes at once: it holds none, and the log the last two.
    for _ in 0..3 {
        let large = vec![0; WINDOW_BYTES as usize];
        publish(&hub, "a", Data::Bytes(large.into())).await;
    }
    let Signal::Notice(notice) = reader.next().await else {
        panic!("the gap");
    };
    let told = Notices { gaps: 1, resets: 0 };
    assert_eq!(Notices::of(&notice), told);
    assert_eq!(hub.shared.counters.gaps.get(), 2);
}
