//! Every parser reads what was published: what was there before it came, and what comes live.

use super::client::{Client, Reader};
use super::{Publisher, Sample, hears_exactly, hostile};

/// The claims of this file, for each parser by itself.
macro_rules! for_every_parser {
    ($($name:ident: $reader:expr,)*) => {
        mod every_parser_reads_hostile_data_as_published {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                hostile_data($reader).await;
            })*
        }

        mod every_parser_reads_ten_thousand_events_in_order {
            use super::*;
            $(#[tokio::test]
            async fn $name() {
                ten_thousand_events($reader).await;
            })*
        }
    };
}

for_every_parser! {
    npm_eventsource_parser: Reader::EventsourceParser,
    npm_eventsource: Reader::Eventsource,
    npm_fetch_event_source: Reader::FetchEventSource,
    pypi_httpx_sse: Reader::HttpxSse,
    pypi_sseclient_py: Reader::SseclientPy,
    crate_eventsource_stream: Reader::EventsourceStream,
    crate_sse_stream: Reader::SseStream,
    chromium: Reader::Chromium,
    chromium_with_npm_fetch_event_source: Reader::FetchEventSourceInChromium,
}

async fn hostile_data(reader: Reader) {
    let publisher = Publisher::start(&[]).await;
    let samples = hostile::samples();
    // Half of it comes from the log, in frames as large as the hub likes; half comes live, one by one.
    let (before, live) = samples.split_at(samples.len() / 2);
    let mut published = publisher.publish_all(before).await;
    let mut client = Client::start(reader, &publisher.stream("start"));
    client.joined().await;
    published.extend(publisher.publish_all(live).await);
    hears_exactly(&mut client, &publisher, &published).await;
    client.end().await;
}

async fn ten_thousand_events(reader: Reader) {
    let publisher = Publisher::start(&[]).await;
    let samples: Vec<_> = (0..10_000)
        .map(|n| Sample::new(&n.to_string(), "created", format!("{{\"n\":{n}}}")))
        .collect();
    let (before, live) = samples.split_at(5_000);
    let mut published = publisher.publish_lines(before).await;
    let mut client = Client::start(reader, &publisher.stream("start"));
    client.joined().await;
    for batch in live.chunks(500) {
        published.extend(publisher.publish_lines(batch).await);
    }
    hears_exactly(&mut client, &publisher, &published).await;
    client.end().await;
}
