//! A reader that comes from a replica that is further: the log's word counts, not what is still to be followed.

pub(crate) mod delivery_proxy;

use crate::nats_server::{NatsServer, Version};
use crate::replica::{Replica, within};
use crate::sse::Stream;
use delivery_proxy::DeliveryProxy;

on_both!(
    a_reader_with_the_newest_id_waits_for_a_replica_that_lags_and_gets_no_reset,
    an_id_beyond_the_logs_own_end_is_a_reset,
    where_the_log_cant_be_asked_an_id_that_is_ahead_is_to_come_back,
    an_id_of_anothers_message_is_good_though_no_follower_comes_to_it,
);

/// Two replicas, of which the other lags once the proxy withholds what it would follow.
struct Pair {
    server: NatsServer,
    proxy: DeliveryProxy,
    one: Replica,
    lagging: Replica,
}

impl Pair {
    /// Both have followed the first event.
    async fn start(version: Version) -> Self {
        let server = NatsServer::start(version);
        let proxy = DeliveryProxy::start(server.port()).await;
        let one = Replica::start(&["--nats", &server.url()]).await;
        let lagging = Replica::start(&["--nats", &proxy.url()]).await;
        let (mut stream, _) = Stream::open(&lagging, "/feeds/a").await;
        one.publish("a", "1").await;
        assert_eq!(stream.data(1).await, ["1"]);
        proxy.withhold();
        Self {
            server,
            proxy,
            one,
            lagging,
        }
    }

    fn head_of_lagging(&self) -> u64 {
        self.lagging.hub().usage().head.sequence()
    }
}

async fn a_reader_with_the_newest_id_waits_for_a_replica_that_lags_and_gets_no_reset(
    version: Version,
) {
    let pair = Pair::start(version).await;
    pair.one.publish("a", "2").await;
    pair.one.publish("b", "not for it").await;
    let newest = pair.one.publish("a", "3").await.to_string();
    let (mut ahead, first) = Stream::resume(&pair.lagging, "/feeds/a", &newest).await;
    assert_eq!(first.id, newest);
    assert_eq!(pair.head_of_lagging(), 1);
    let (mut live, _) = Stream::open(&pair.lagging, "/feeds/a").await;
    pair.one.publish("a", "4").await;
    pair.proxy.pass_on();
    assert_eq!(ahead.data(1).await, ["4"]);
    assert_eq!(live.data(3).await, ["2", "3", "4"]);
    pair.one.publish("a", "5").await;
    assert_eq!(ahead.data(1).await, ["5"]);
    assert_eq!(live.data(1).await, ["5"]);
}

async fn an_id_beyond_the_logs_own_end_is_a_reset(version: Version) {
    let pair = Pair::start(version).await;
    let newest = pair.one.publish("a", "2").await;
    let beyond = format!("{}-abcdef", newest.sequence() + 1);
    let another = format!("{}-abcdef", newest.sequence());
    for id in [beyond, another] {
        let (mut stream, _) = Stream::resume(&pair.lagging, "/feeds/a", &id).await;
        assert_eq!(stream.event().await.kind, "hub:reset", "{id}");
        assert_eq!(stream.data(1).await, ["1"]);
    }
    assert_eq!(pair.head_of_lagging(), 1);
}

async fn where_the_log_cant_be_asked_an_id_that_is_ahead_is_to_come_back(version: Version) {
    let mut pair = Pair::start(version).await;
    let newest = pair.one.publish("a", "2").await.to_string();
    pair.server.stop();
    let request = reqwest::Client::new().get(pair.lagging.url("/feeds/a"));
    let answer = request.header("Last-Event-ID", &newest).send();
    let response = within("an answer", answer).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["tidings-refused"], "unavailable");
    let body = within("its end", response.text()).await.unwrap();
    let closing =
        format!("event: hub:closing\nid: {newest}\ndata: {{\"reason\":\"unavailable\"}}\n\n");
    assert!(body.ends_with(&closing), "{body}");
}

/// The stream has other subjects too, and its end is told as the place where the reader stands.
async fn an_id_of_anothers_message_is_good_though_no_follower_comes_to_it(version: Version) {
    let server = NatsServer::start(version);
    let client = server.client().await;
    let config = r#"{"name":"TIDINGS","subjects":["feeds.>","others"],"storage":"file","duplicate_window":120000000000}"#;
    let create = client.request("$JS.API.STREAM.CREATE.TIDINGS", config.into());
    create.await.expect("it is created");
    let before = Replica::start(&["--nats", &server.url()]).await;
    before.publish("a", "1").await;
    for _ in 0..3 {
        let stored = client.request("others", "-".into());
        stored.await.expect("it is stored");
    }
    let after = Replica::start(&["--nats", &server.url(), "--window-events", "1"]).await;
    let (_, first) = Stream::open(&after, "/feeds/a").await;
    assert!(first.id.starts_with("4-"), "{first:?}");
    let (mut stream, _) = Stream::resume(&before, "/feeds/a", &first.id).await;
    before.publish("a", "5").await;
    assert_eq!(stream.data(1).await, ["5"]);
}
