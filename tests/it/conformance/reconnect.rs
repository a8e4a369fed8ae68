//! A client that reconnects by itself, cut off again and again.

use super::client::{Client, Reader};
use super::{Publisher, Sample, hears_exactly, stream_at};
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

/// Before its first event, and three times amid its events: between two bytes of one, wherever that is.
async fn cut_off(reader: Reader) {
    let publisher = Publisher::start(&[]).await;
    let proxy = CuttingProxy::start(publisher.address()).await;
    let earlier = [Sample::new("earlier", "message", "before it came")];
    publisher.publish_all(&earlier).await;

    let mut client = Client::start(reader, &stream_at(proxy.address(), "now"));
    client.joined().await;
    proxy.hold();
    proxy.cut(Cut::Reset);
    let samples: Vec<_> = (0..60)
        .map(|n| Sample::new(&n.to_string(), "created", format!("{n}\n").repeat(500)))
        .collect();
    let published = publisher.publish_all(&samples).await;
    proxy.cut_after(40_000, Cut::Close);
    proxy.cut_after(40_000, Cut::Reset);
    proxy.cut_after(40_000, Cut::Close);
    proxy.release();

    hears_exactly(&mut client, &publisher, &published).await;
    assert_eq!(proxy.cuts(), 4, "{}", client.said());
    client.end().await;
}
