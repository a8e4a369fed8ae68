//! What a publish is answered.

use super::*;
use crate::hub::{HubLimits, WindowLimits};
use crate::log::{Log, MemoryLimits, MemoryLog};

fn publisher() -> Publisher {
    let most = 1 << 20;
    let log = Log::Memory(MemoryLog::new(MemoryLimits {
        bytes: most,
        events: most,
        keys: 1,
    }));
    let window = WindowLimits {
        bytes: most as u64,
        events: most,
    };
    let limits = HubLimits {
        window,
        cold_bytes: 1 << 20,
        readers: 1,
    };
    let hub = Hub::new(log, limits, Default::default());
    tokio::spawn(hub.clone().follow());
    Publisher::new(hub, most, 1)
}

#[tokio::test]
async fn an_events_sequence_that_has_come_to_another_is_no_id_of_it() {
    let publisher = publisher();
    let (feed, data): (Feed, _) = ("a".parse().unwrap(), Data::Bytes("1".into()));
    let message = Message::new(feed.clone(), "1");
    let id = publisher
        .publish(Way::Http, &Caller::local(), message, None)
        .await
        .unwrap()
        .id;
    let stored = |repeated| Appended {
        sequence: id.sequence(),
        repeated,
    };
    let other_data = Data::Bytes("2".into());
    let other_feed = "b".parse().unwrap();
    assert_eq!(
        publisher.id_of(stored(false), 0, &feed, &data).await,
        Ok(id)
    );
    let other = publisher.id_of(stored(false), 0, &feed, &other_data).await;
    assert!(other.is_err());
    let other = publisher.id_of(stored(true), 0, &other_feed, &data).await;
    assert!(other.is_err());
    let repeat = publisher.id_of(stored(true), 1, &feed, &other_data).await;
    assert_eq!(repeat, Ok(id));
    // What was followed before it was published is not it.
    let before = publisher.id_of(stored(false), id.sequence(), &feed, &data);
    assert!(before.await.is_err());
}
