//! A browser's own `EventSource`.

use super::server::Server;
use super::subscriber::{Subscriber, publish, publish_some};
use super::{Kind, Tab};
use crate::cutting_proxy::{Cut, CuttingProxy};
use crate::nats_server::{NatsServer, Version};
use crate::replica::Replica;
use crate::tools::address_of_its_own;
use serde_json::{Value, json};

in_both_browsers!(
    a_page_of_another_origin_hears_exactly_what_is_published_to_its_feeds,
    a_page_misses_nothing_and_doubles_nothing_when_the_server_is_killed_and_comes_back,
    a_page_resumes_at_another_replica_where_it_was_at_the_first,
    a_page_can_not_read_what_it_may_not_and_can_read_why,
);

const FEEDS: &str = "feed=page.*.a&feed=page.b&envelope=1";

async fn a_page_of_another_origin_hears_exactly_what_is_published_to_its_feeds(kind: Kind) {
    let replica = Replica::start(&[]).await;
    let server = replica.address;
    let mut published = vec![publish(server, "page.b", "message", json!("before it came")).await];
    let page = Subscriber::start(kind).await;
    page.subscribe(server, &format!("{FEEDS}&after=start"))
        .await;
    page.hears(&published[0]).await;
    let samples = [
        ("message", json!({ "n": 1, "deep": [null, true, 1.5] })),
        ("created", json!("lines\nand\r\nlines\r")),
        ("order.created/v1", json!("data: \u{0}\u{feff} é 😀")),
        ("message", json!(null)),
        ("message", json!("x".repeat(500_000))),
    ];
    for (n, (kind, data)) in samples.iter().cycle().take(20).enumerate() {
        let feed = ["page.1.a", "page.b", "page.ü.a"][n % 3];
        published.push(publish(server, feed, kind, data.clone()).await);
        publish(server, "page.c", "message", json!("for others")).await;
    }
    page.has_heard_exactly(&published).await;
    assert_eq!(page.tab.evaluate("return opened").await, 1);
    assert!(page.tab.errors().await.is_empty());
    page.end().await;
}

async fn a_page_misses_nothing_and_doubles_nothing_when_the_server_is_killed_and_comes_back(
    kind: Kind,
) {
    let folder = tempfile::tempdir().unwrap();
    let address = address_of_its_own();
    let page = Subscriber::start(kind).await;
    let mut published = Vec::new();
    let mut server = Server::on_disk(address, folder.path()).await;
    page.subscribe(address, FEEDS).await;
    for round in 1..=3 {
        publish_some(address, "heard before it was killed", &mut published).await;
        page.hears(published.last().unwrap()).await;
        publish_some(address, "perhaps not heard before", &mut published).await;
        server.kill().await;
        server = Server::on_disk(address, folder.path()).await;
        publish_some(
            address,
            "perhaps published before it is back",
            &mut published,
        )
        .await;
        page.tab.wait_for(&format!("return opened > {round}")).await;
    }
    page.has_heard_exactly(&published).await;
    page.end().await;
}

async fn a_page_resumes_at_another_replica_where_it_was_at_the_first(kind: Kind) {
    let nats = NatsServer::start(Version::V2_15);
    let url = nats.url();
    let arguments = ["--nats", &url];
    let one = Replica::start(&arguments).await;
    let other = Replica::start(&[&arguments[..], &["--shards", "0"]].concat()).await;
    let switch = CuttingProxy::start(one.address).await;
    let page = Subscriber::start(kind).await;
    page.subscribe(switch.address(), FEEDS).await;
    let mut published = Vec::new();
    for (round, (to, cut)) in [
        (&other, Cut::Reset),
        (&one, Cut::Close),
        (&other, Cut::Close),
        (&one, Cut::Reset),
    ]
    .into_iter()
    .enumerate()
    {
        publish_some(one.address, "heard before", &mut published).await;
        page.hears(published.last().unwrap()).await;
        switch.hold();
        switch.lead_to(to.address);
        switch.cut(cut);
        publish_some(other.address, "published while away", &mut published).await;
        switch.release();
        page.tab
            .wait_for(&format!("return opened > {}", round + 1))
            .await;
    }
    page.has_heard_exactly(&published).await;
    page.end().await;
}

async fn a_page_can_not_read_what_it_may_not_and_can_read_why(kind: Kind) {
    let replica = Replica::start(&["--anonymous-subscribe", "public.>"]).await;
    let closed = Replica::start(&[]).await;
    let page = Subscriber::start(kind).await;
    let refused = fetch(&page.tab, &replica.url("/feeds/secret.a")).await;
    assert_eq!(refused["status"], 403, "{refused}");
    assert_eq!(refused["type"], "application/problem+json");
    assert!(
        refused["text"].as_str().unwrap().contains("secret.a"),
        "{refused}"
    );
    let path = "/feeds?feed=public.a&feed=secret.a";
    assert_eq!(fetch(&page.tab, &replica.url(path)).await["status"], 403);
    let bad = fetch(&page.tab, &replica.url("/feeds/public..a")).await;
    assert_eq!(bad["status"], 400, "{bad}");
    // An `EventSource` is not told why, but does not try again.
    let url = replica.url("/feeds/secret.a");
    page.tab.evaluate(&format!("subscribe({url:?})")).await;
    page.tab
        .wait_for("return source.readyState === EventSource.CLOSED")
        .await;
    // A server for this machine alone.
    let here = closed.url("/feeds/public.a?after=start");
    let url = page.site.elsewhere();
    let elsewhere = page.browser.open(&url).await;
    let hidden = elsewhere
        .evaluate(&format!(
            "return fetch({here:?}).then(() => 'read', ({{ name }}) => name)"
        ))
        .await;
    assert_eq!(hidden, "TypeError");
    page.end().await;
}

/// What a page gets of a URL: an object with `status`, `type` and `text`.
async fn fetch(tab: &Tab, url: &str) -> Value {
    tab.evaluate(&format!(
        "const response = await fetch({url:?}, {{ headers: {{ accept: 'application/json' }} }});
         const text = await response.text();
         return {{ status: response.status, type: response.headers.get('content-type'), text }};"
    ))
    .await
}
