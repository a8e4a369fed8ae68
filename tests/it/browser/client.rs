//! The client that the server brings, `tidings.js`, in real browsers.

use super::server::Server;
use super::site::Site;
use super::subscriber::{Event, heard_exactly, hears, publish, publish_some};
use super::{Browser, Kind, Tab};
use crate::proxy::{self, CADDY, HAPROXY, Proxy};
use crate::replica::Replica;
use crate::tools::{address_of_its_own, within};
use futures::future::join_all;
use serde_json::{Value, json};
use std::net::SocketAddr;

in_both_browsers!(
    pages_of_the_servers_own_origin_and_of_others_hear_exactly_what_is_published_to_their_feeds,
    a_page_misses_nothing_and_doubles_nothing_when_the_server_is_killed_and_comes_back,
    a_tab_that_goes_without_a_word_wants_nothing_more,
    ten_tabs_have_one_connection_and_miss_nothing_when_the_tab_that_has_it_is_closed,
    behind_an_nginx_that_holds_streams_back_a_page_polls_and_posts,
    streams_and_websockets_come_through_haproxy_and_caddy,
    a_websocket_is_opened_once_something_is_sent_and_not_before,
);

/// Any page but one that loads of its own accord from the server.
const EMPTY: &str = r#"<!doctype html><meta charset="utf-8"><title>A page</title><link rel="icon" href="data:,"><body>"#;
const FEEDS: [&str; 2] = ["page.*.a", "page.b"];
/// nginx told to ignore that a stream is not to be buffered: as corporate proxies are.
const BUFFERING: proxy::Kind =
    proxy::Kind::Nginx("proxy_ignore_headers X-Accel-Buffering; proxy_buffering on;");

async fn pages_of_the_servers_own_origin_and_of_others_hear_exactly_what_is_published_to_their_feeds(
    kind: Kind,
) {
    let replica = Replica::start(&[]).await;
    let server = replica.address;
    let site = Site::start(EMPTY).await;
    let browser = Browser::start(kind).await;
    let early = publish(server, "page.b", "message", json!("before they came")).await;
    let own = browser.open(&replica.url("/livez")).await;
    let other = browser.open(&site.url()).await;
    for tab in [&own, &other] {
        subscribe(tab, server, &json!({ "after": "start" })).await;
        hears(tab, &early).await;
    }
    let mut published = vec![early];
    let samples = [
        ("message", json!({ "n": 1, "deep": [null, true, 1.5] })),
        ("created", json!("lines\nand\r\nlines\r")),
        ("order.created/v1", json!("data: \u{0}\u{feff} é 😀")),
        ("message", json!("x".repeat(500_000))),
    ];
    for (n, (kind, data)) in samples.iter().cycle().take(12).enumerate() {
        let feed = ["page.1.a", "page.b", "page.ü.a"][n % 3];
        published.push(publish(server, feed, kind, data.clone()).await);
        publish(server, "page.c", "message", json!("for others")).await;
    }
    for tab in [&own, &other] {
        heard_exactly(tab, &published).await;
    }
    browser.end().await;
}

async fn a_page_misses_nothing_and_doubles_nothing_when_the_server_is_killed_and_comes_back(
    kind: Kind,
) {
    let folder = tempfile::tempdir().unwrap();
    let address = address_of_its_own();
    let mut server = Server::on_disk(address, folder.path()).await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&format!("http://{address}/livez")).await;
    subscribe(&tab, address, &json!({})).await;
    let mut published = Vec::new();
    for _ in 0..3 {
        publish_some(address, "heard before it was killed", &mut published).await;
        hears(&tab, published.last().unwrap()).await;
        publish_some(address, "perhaps not heard before", &mut published).await;
        server.kill().await;
        tab.wait_for("return client.state === 'offline'").await;
        server = Server::on_disk(address, folder.path()).await;
        publish_some(
            address,
            "perhaps published before it is back",
            &mut published,
        )
        .await;
        tab.wait_for("return client.state === 'live'").await;
    }
    heard_exactly(&tab, &published).await;
    browser.end().await;
}

async fn ten_tabs_have_one_connection_and_miss_nothing_when_the_tab_that_has_it_is_closed(
    kind: Kind,
) {
    let replica = Replica::start(&[]).await;
    let server = replica.address;
    let site = Site::start(EMPTY).await;
    let browser = Browser::start(kind).await;
    let mut tabs = Vec::new();
    for _ in 0..10 {
        let tab = browser.open(&site.url()).await;
        subscribe(&tab, server, &json!({})).await;
        tabs.push(tab);
    }
    within("one stream for all", only_one_stream(server), String::new).await;
    let mut published = Vec::new();
    publish_some(server, "to all ten", &mut published).await;
    join_all(tabs.iter().map(|tab| heard_exactly(tab, &published))).await;
    // It came first, and so it leads.
    let leader = tabs.remove(0);
    tokio::join!(
        leader.close(),
        publish_some(server, "while the leader goes", &mut published)
    );
    publish_some(server, "perhaps before another leads", &mut published).await;
    join_all(tabs.iter().map(|tab| heard_exactly(tab, &published))).await;
    within("one stream for all", only_one_stream(server), String::new).await;
    browser.end().await;
}

async fn a_tab_that_goes_without_a_word_wants_nothing_more(kind: Kind) {
    let replica = Replica::start(&["--max-patterns", "3"]).await;
    let server = replica.address;
    let site = Site::start(EMPTY).await;
    let browser = Browser::start(kind).await;
    let leader = browser.open(&site.url()).await;
    subscribe(&leader, server, &json!({})).await;
    for pattern in ["one.more", "another"] {
        let tab = browser.open(&site.url()).await;
        // As when it crashes: its client is not told of its end.
        tab.evaluate("addEventListener('pagehide', (event) => event.stopImmediatePropagation())")
            .await;
        subscribe(&tab, server, &json!({})).await;
        let position = format!(
            "window.added ??= client.feed({pattern:?}, () => {{}});
             return client.state === 'live' && added.position"
        );
        tab.wait_for(&position).await;
        tab.close().await;
    }
    let Event { id, .. } = publish(server, "page.b", "message", json!("to who is left")).await;
    let hears = format!("return heard.some((event) => event.id === {id:?})");
    leader.wait_for(&hears).await;
    browser.end().await;
}

async fn behind_an_nginx_that_holds_streams_back_a_page_polls_and_posts(kind: Kind) {
    let replica = Replica::start(&[]).await;
    let nginx = Proxy::start(BUFFERING, replica.address).await;
    let site = Site::start(EMPTY).await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&site.url()).await;
    let options = json!({ "firstByte": 1000 });
    begin(&tab, nginx.address(), &options, &json!({})).await;
    tab.wait_for("return client.state === 'polling'").await;
    let mut published = Vec::new();
    publish_some(replica.address, "one poll", &mut published).await;
    hears(&tab, published.last().unwrap()).await;
    publish_some(replica.address, "and another", &mut published).await;
    // By POST: this nginx is not told to pass on WebSockets.
    published.push(send(&tab).await);
    heard_exactly(&tab, &published).await;
    assert_eq!(tab.evaluate("return states.includes('live')").await, false);
    browser.end().await;
}

async fn streams_and_websockets_come_through_haproxy_and_caddy(kind: Kind) {
    let replica = Replica::start(&[]).await;
    let site = Site::start(EMPTY).await;
    let browser = Browser::start(kind).await;
    for proxy in [HAPROXY, CADDY] {
        let proxy = Proxy::start(proxy, replica.address).await;
        let tab = browser.open(&site.url()).await;
        subscribe(&tab, proxy.address(), &json!({})).await;
        let mut published = Vec::new();
        for _ in 0..2 {
            publish_some(replica.address, "through a proxy", &mut published).await;
            heard_exactly(&tab, &published).await;
        }
        assert_eq!(tab.evaluate("return states").await, json!(["live"]));
        published.push(send(&tab).await);
        heard_exactly(&tab, &published).await;
        assert_eq!(tab.evaluate(SOCKETS).await, json!([OPEN]));
        tab.close().await;
    }
    browser.end().await;
}

async fn a_websocket_is_opened_once_something_is_sent_and_not_before(kind: Kind) {
    let replica = Replica::start(&[]).await;
    let server = replica.address;
    let site = Site::start(EMPTY).await;
    let browser = Browser::start(kind).await;
    let tab = browser.open(&site.url()).await;
    subscribe(&tab, server, &json!({})).await;
    let mut published = vec![publish(server, "page.b", "message", json!("to read")).await];
    heard_exactly(&tab, &published).await;
    let fetched = "return performance.getEntriesByType('resource').some(({ name }) => name.endsWith('upstream.js'))";
    assert_eq!(tab.evaluate(SOCKETS).await, json!([]));
    assert_eq!(tab.evaluate(fetched).await, false);
    for _ in 0..2 {
        published.push(send(&tab).await);
    }
    heard_exactly(&tab, &published).await;
    assert_eq!(tab.evaluate(SOCKETS).await, json!([OPEN]));
    browser.end().await;
}

/// Subscribes a page by the client, and waits until streams bring what is published.
async fn subscribe(tab: &Tab, server: SocketAddr, feed_options: &Value) {
    // However slow this machine is, that is no proxy that buffers.
    let options = json!({ "firstByte": 100_000 });
    begin(tab, server, &options, feed_options).await;
    tab.wait_for(
        "return client.state === 'live' && subscriptions.every(({ position }) => position)",
    )
    .await;
}

/// Gives a page a client, whose subscriptions put what they hear into `heard`, and all else into `told`.
async fn begin(tab: &Tab, server: SocketAddr, options: &Value, feed_options: &Value) {
    let feeds = json!(FEEDS);
    tab.evaluate(&format!(
        "const {{ connect }} = await import('http://{server}/tidings.js');
         window.sockets = [];
         window.WebSocket = class extends WebSocket {{
           constructor(...all) {{
             super(...all);
             sockets.push(this);
           }}
         }};
         const note = (what) => (document.documentElement.dataset.last = what);
         window.heard = [];
         window.told = [];
         window.states = [];
         window.client = connect('http://{server}', {options});
         client.addEventListener('state', ({{ detail }}) => {{
           states.push(detail.state);
           note(detail.state);
         }});
         for (const type of ['gap', 'reset', 'error'])
           client.addEventListener(type, ({{ detail }}) => note(told.push(type + ' ' + JSON.stringify(detail))));
         const hear = ({{ id, feed, type, data }}) => {{
           heard.push({{ id, feed, type, data }});
           note(id);
         }};
         window.subscriptions = {feeds}.map((pattern) => client.feed(pattern, hear, {feed_options}));"
    ))
    .await;
}

/// The states of all WebSockets that a page has opened.
const SOCKETS: &str = "return sockets.map(({ readyState }) => readyState)";
/// `WebSocket.OPEN`.
const OPEN: u8 = 1;

/// Has a page publish.
async fn send(tab: &Tab) -> Event {
    let publish = "return await client.publish('page.b', { n: 1 }, { type: 'sent' })";
    let receipt = tab.evaluate(publish).await;
    Event {
        id: receipt["id"].as_str().expect("an id").to_owned(),
        feed: "page.b".to_owned(),
        kind: "sent".to_owned(),
        data: json!({ "n": 1 }),
    }
}

/// How many streams the server writes to.
async fn streams(server: SocketAddr) -> u64 {
    let response = reqwest::get(format!("http://{server}/metrics")).await;
    let metrics = response.expect("an answer").text().await.expect("text");
    let of_shards = metrics
        .lines()
        .filter(|line| line.starts_with("tidings_shard_connections{"));
    let values = of_shards.filter_map(|line| line.rsplit_once(' '));
    values
        .map(|(_, value)| value.parse::<u64>().expect("a number"))
        .sum()
}

async fn only_one_stream(server: SocketAddr) {
    while streams(server).await != 1 {}
}
