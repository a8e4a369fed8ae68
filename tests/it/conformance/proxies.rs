//! Behind reverse proxies as most people set them up: what they are to pass on to, and nothing else said about it.

use super::client::{Client, Reader};
use super::curl::Curl;
use super::{Publisher, Sample, hears_exactly, hostile, stream_at};
use crate::proxy::{CADDY, HAPROXY, Kind, NGINX, Proxy};

mod a_proxy_delivers_the_same_bytes_as_they_come {
    use super::*;

    #[tokio::test]
    async fn nginx() {
        same_bytes_through(NGINX).await;
    }

    #[tokio::test]
    async fn nginx_over_http_1_1() {
        let directives = "proxy_http_version 1.1; proxy_set_header Connection '';";
        same_bytes_through(Kind::Nginx(directives)).await;
    }

    #[tokio::test]
    async fn haproxy() {
        same_bytes_through(HAPROXY).await;
    }

    #[tokio::test]
    async fn caddy() {
        same_bytes_through(CADDY).await;
    }
}

mod a_quiet_stream_outlives_the_time_a_proxy_waits_for_bytes {
    use super::*;

    #[tokio::test]
    async fn nginx() {
        outlives(Kind::Nginx("proxy_read_timeout 4s;")).await;
    }

    #[tokio::test]
    async fn haproxy() {
        outlives(Kind::Haproxy("4s")).await;
    }

    #[tokio::test]
    async fn caddy() {
        outlives(Kind::Caddy("transport http {\nread_timeout 4s\n}")).await;
    }
}

mod a_client_misses_nothing_and_doubles_nothing_when_its_proxy_starts_anew {
    use super::*;

    #[tokio::test]
    async fn nginx() {
        started_anew(NGINX).await;
    }

    #[tokio::test]
    async fn haproxy() {
        started_anew(HAPROXY).await;
    }

    #[tokio::test]
    async fn caddy() {
        started_anew(CADDY).await;
    }
}

async fn same_bytes_through(kind: Kind) {
    // No heartbeat falls between two bytes that are compared.
    let publisher = Publisher::start(&["--heartbeat", "3600"]).await;
    let proxy = Proxy::start(kind, publisher.address()).await;
    let samples = hostile::samples();
    let (before, live) = samples.split_at(samples.len() / 2);
    let before = publisher.publish_all(before).await;

    let mut direct = Curl::start(&publisher.stream("start"), &[]);
    let mut through = Curl::start(&stream_at(proxy.address(), "start"), &[]);
    through.read_through(&before.last().unwrap().id).await;
    for sample in live {
        let event = publisher.publish(sample).await;
        // Before the next is published: the proxy keeps nothing back.
        through.read_through(&event.id).await;
        direct.read_through(&event.id).await;
    }
    assert!(
        direct.body() == through.body(),
        "{} bytes direct, {} bytes through {kind:?}, and not the same",
        direct.body().len(),
        through.body().len()
    );
}

async fn outlives(kind: Kind) {
    let publisher = Publisher::start(&["--heartbeat", "1"]).await;
    let proxy = Proxy::start(kind, publisher.address()).await;
    let mut curl = Curl::start(&stream_at(proxy.address(), "now"), &[]);
    // Heartbeats are at least 0.8 s apart, so these take longer than the proxy waits.
    while curl.heartbeats() < 6 {
        curl.read_more("a heartbeat").await;
    }
    let event = publisher.publish_end().await;
    curl.read_through(&event.id).await;
}

async fn started_anew(kind: Kind) {
    let publisher = Publisher::start(&[]).await;
    let mut proxy = Proxy::start(kind, publisher.address()).await;
    let mut client = Client::start(Reader::Eventsource, &stream_at(proxy.address(), "now"));
    client.joined().await;
    let samples = (0..10).map(|n| Sample::new(&n.to_string(), "created", n.to_string()));
    let samples: Vec<_> = samples.collect();
    for _ in 0..3 {
        let published = publisher.publish_all(&samples).await;
        hears_exactly(&mut client, &publisher, &published).await;
        proxy.stop().await;
        let published = publisher.publish_all(&samples).await;
        proxy.run().await;
        hears_exactly(&mut client, &publisher, &published).await;
    }
    client.end().await;
}
