//! Clients that we did not write hear what was published: parsers, reconnecting clients, a proxy, and
//! NATS publishers.

mod client;
mod curl;
mod hostile;
mod nats;
mod parsers;
mod proxies;
mod publisher;
mod reconnect;

pub(crate) use client::script_command;
use client::{Client, Heard, Reader};
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

impl Published {
    /// What this reader makes of it.
    fn as_heard_by(&self, reader: Reader) -> Heard {
        Heard {
            kind: self.sample.kind.clone(),
            data: reader.takes(&self.sample.text()),
            id: self.id.clone(),
        }
    }
}

/// Publishes a last event, and checks that the client has heard exactly `published` before it, in order.
async fn hears_exactly(client: &mut Client, publisher: &Publisher, published: &[Published]) {
    let end = publisher.publish_end().await;
    let heard = client.events_before(&end).await;
    assert_heard(client, &heard, published.iter());
}

/// Checks that the client has heard exactly `published`, in order.
fn assert_heard<'a>(
    client: &Client,
    heard: &[Heard],
    published: impl ExactSizeIterator<Item = &'a Published>,
) {
    let reader = client.reader();
    let count = published.len();
    for (index, (heard, published)) in heard.iter().zip(published).enumerate() {
        let expected = published.as_heard_by(reader);
        assert!(
            *heard == expected,
            "{reader:?} heard event {index}, {:?}, otherwise:\n  heard    {}\n  expected {}\n{}",
            published.sample.name,
            heard.brief(),
            expected.brief(),
            client.said(),
        );
    }
    assert_eq!(heard.len(), count, "events heard; {}", client.said());
}
