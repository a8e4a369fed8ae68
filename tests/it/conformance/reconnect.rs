//! A client that reconnects by itself, cut off again and again.

use super::client::{Client, Reader};
use super::{Published, Publisher, Sample, assert_heard, stream_at};
use crate::cutting_proxy::{Cut, CuttingProxy};

/// The claims of this file, for each client by itself.
macro_rules! for_every_client {
    ($($name:ident: $reader:expr,)*) => {
        mod a_client_that_is_cut_off_misses_nothing_and_doubles_nothing {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                cut_off($reader, 60, 3).await;
            })*
        }

        mod a_client_that_is_cut_off_all_the_time_misses_nothing_and_doubles_nothing {
            use super::*;
            $(#[tokio::test]
            #[ignore = "takes long: tests/run --long"]
            async fn $name() {
                cut_off($reader, 3_000, 150).await;
            })*
        }
    };
}

for_every_client! {
    npm_eventsource: Reader::Eventsource,
    npm_fetch_event_source: Reader::FetchEventSource,
    chromium: Reader::Chromium,
    chromium_with_npm_fetch_event_source: Reader::FetchEventSourceInChromium,
}

/// Before its first event, and then amid the events: between two bytes of one, wherever that is.
async fn cut_off(reader: Reader, events: usize, cuts: usize) {
    let publisher = Publisher::start(&[]).await;
    let proxy = CuttingProxy::start(publisher.address()).await;
    publisher
        .publish(&Sample::new("earlier", "message", "before it came"))
        .await;

    let mut client = Client::start(reader, &stream_at(proxy.address(), "now"));
    client.joined().await;
    proxy.hold();
    proxy.cut(Cut::Reset);
    let samples: Vec<_> = (0..events)
        .map(|n| Sample::new(&n.to_string(), "created", format!("{n}\n").repeat(500)))
        .collect();
    let published = publisher.publish_all(&samples).await;
    for how in [Cut::Close, Cut::Reset].into_iter().cycle().take(cuts) {
        proxy.cut_after(40_000, how);
    }
    proxy.release();

    let end = publisher.publish_end().await;
    let heard = client.events_before(&end).await;
    let lost = |event: &&Published| heard.iter().all(|heard| heard.id != event.id);
    let may_lose = reader.loses_what_it_is_cut_off_in();
    let (lost, kept): (Vec<_>, Vec<_>) =
        published.iter().partition(|event| may_lose && lost(event));
    assert!(lost.len() <= cuts, "{} lost", lost.len());
    assert_heard(&client, &heard, kept.into_iter());
    assert_eq!(proxy.cuts(), 1 + cuts, "{}", client.said());
    client.end().await;
}
