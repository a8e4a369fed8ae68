//! Every parser reads what was published: what was there before it came, and what comes live.

use super::client::{Client, Reader};
use super::{Publisher, Sample, hears_exactly, hostile};

/// The claims of this file, for each parser by itself: on sockets that were handed to shards, and on those that
/// the HTTP library keeps.
macro_rules! for_every_parser {
    ($($name:ident: $reader:expr,)*) => {
        for_every_parser!(@ way handed_off, "2", $($name: $reader,)*);
        for_every_parser!(@ way by_hyper, "0", $($name: $reader,)*);
    };
    (@ way $way:ident, $shards:expr, $($name:ident: $reader:expr,)*) => {
        mod $way {
            use super::*;

            mod every_parser_reads_hostile_data_as_published {
                use super::*;
                $(#[tokio::test]
                async fn $name() {
                    hostile_data($reader, $shards).await;
                })*
            }

            mod every_parser_reads_ten_thousand_events_in_order {
                use super::*;
                $(#[tokio::test]
                async fn $name() {
                    ten_thousand_events($reader, $shards).await;
                })*
            }
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
    crate_eventsource_stream_over_http_2: Reader::EventsourceStreamOverHttp2,
    crate_sse_stream: Reader::SseStream,
    crate_sse_stream_over_http_2: Reader::SseStreamOverHttp2,
    chromium: Reader::Chromium,
    chromium_with_npm_fetch_event_source: Reader::FetchEventSourceInChromium,
}

async fn hostile_data(reader: Reader, shards: &str) {
    let publisher = Publisher::start(&["--shards", shards]).await;
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

async fn ten_thousand_events(reader: Reader, shards: &str) {
    let publisher = Publisher::start(&["--shards", shards]).await;
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
