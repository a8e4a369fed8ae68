//! Clients that we did not write hear what was published: parsers, reconnecting clients, a proxy, and
//! NATS publishers.

mod client;
mod hostile;
mod nginx;
mod parsers;
mod publisher;
mod reconnect;

use client::{Client, Heard};
use publisher::{Publisher, Sample, stream_at};

/// The feed that all of them are subscribed to; each test has a replica of its own.
const FEED: &str = "conformance.hostile";

/// Event types that the samples use; a browser's `EventSource` hears no type that it was not told of.
const TYPES: &[&str] = &[
    "message",
    "created",
    "order.created/v1",
    "constructor",
    "änderung-😀",
    "end",
];

/// An event that was published, and the id that it was given.
struct Published {
    sample: Sample,
    id: String,
}

/// Hears exactly `published`, in order, and then an `end` that is published once all of it was heard: so
/// nothing was doubled at the end either.
async fn hears_exactly(client: &mut Client, publisher: &Publisher, published: &[Published]) {
    for (index, event) in published.iter().enumerate() {
        let heard = client.next_event(&event.sample.name).await;
        let expected = Heard {
            kind: event.sample.kind.clone(),
            data: client.reader().takes(&event.sample.text()),
            id: event.id.clone(),
        };
        assert!(
            heard == expected,
            "{:?} heard event {index}, {:?}, otherwise:\n  heard    {}\n  expected {}\n{}",
            client.reader(),
            event.sample.name,
            heard.brief(),
            expected.brief(),
            client.said(),
        );
    }
    let end = publisher.publish(&Sample::new("end", "end", "")).await;
    let heard = client.next_event("end").await;
    let expected = (end.sample.kind.as_str(), end.id.as_str());
    assert_eq!((heard.kind.as_str(), heard.id.as_str()), expected);
}
