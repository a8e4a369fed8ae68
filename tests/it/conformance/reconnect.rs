//! A client that reconnects by itself, cut off again and again.

use super::client::{Client, Reader};
use super::{Published, Publisher, Sample, assert_heard, stream_at};
use crate::cutting_proxy::{Cut, CuttingProxy};

mod a_client_that_is_cut_off_misses_nothing_and_doubles_nothing {
    use super::*;

    #[tokio::test]
    async fn npm_eventsource() {
        cut_off(Reader::Eventsource).await;
    }

    #[tokio::test]
    async fn npm_fetch_event_source() {
        cut_off(Reader::FetchEventSource).await;
    }

    #[tokio::test]
    async fn chromium() {
        cut_off(Reader::Chromium).await;
    }

    #[tokio::test]
    async fn chromium_with_npm_fetch_event_source() {
        cut_off(Reader::FetchEventSourceInChromium).await;
    }
}

/// Before its first event, and several times amid its events: between two bytes of one, wherever that is.
async fn cut_off(reader: Reader) {
    const CUTS: [Cut; 3] = [Cut::Close, Cut::Reset, Cut::Close];
    let publisher = Publisher::start(&[]).await;
    let proxy = CuttingProxy::start(publisher.address()).await;
    publisher
        .publish(&Sample::new("earlier", "message", "before it came"))
        .await;

    let mut client = Client::start(reader, &stream_at(proxy.address(), "now"));
    client.joined().await;
    proxy.hold();
    proxy.cut(Cut::Reset);
    let samples: Vec<_> = (0..60)
        .map(|n| Sample::new(&n.to_string(), "created", format!("{n}\n").repeat(500)))
        .collect();
    let published = publisher.publish_all(&samples).await;
    for how in CUTS {
        proxy.cut_after(40_000, how);
    }
    proxy.release();

    let end = publisher.publish_end().await;
    let heard = client.events_before(&end).await;
    let lost = |event: &&Published| heard.iter().all(|heard| heard.id != event.id);
    let may_lose = reader.loses_what_it_is_cut_off_in();
    let (lost, kept): (Vec<_>, Vec<_>) =
        published.iter().partition(|event| may_lose && lost(event));
    assert!(lost.len() <= CUTS.len(), "{} lost", lost.len());
    assert_heard(&client, &heard, kept.into_iter());
    assert_eq!(proxy.cuts(), 1 + CUTS.len(), "{}", client.said());
    client.end().await;
}
