//! A page that keeps what its browser's own `EventSource` hears, and what is published for pages.

use super::site::Site;
use super::{Browser, Kind, Tab};
use crate::tools::within;
use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;
use std::net::SocketAddr;

/// `heard` and `told` are what a subscription has brought: events, and what it is to do without.
const PAGE: &str = r#"<!doctype html><meta charset="utf-8"><title>Subscriber</title><link rel="icon" href="data:,">
<p id="last"></p>
<script>
  var source, opened = 0;
  var heard = [], told = [];
  function subscribe(url) {
    source = new EventSource(url);
    source.onopen = () => note(opened += 1);
    source.onerror = () => note("error", source.readyState);
    source.onmessage = (event) => {
      const envelope = JSON.parse(event.data);
      heard.push(envelope);
      if (envelope.id !== event.lastEventId) told.push("an id of its own: " + event.lastEventId);
      note(envelope.id);
    };
    for (const type of ["gap", "reset"]) {
      source.addEventListener("hub:" + type, (event) => {
        told.push(event.type + " " + event.data);
        note(event.type);
      });
    }
  }
  function note(...what) {
    last.textContent = what.join(" ");
  }
</script>"#;

/// A browser with a page that has subscribed.
pub(super) struct Subscriber {
    pub(super) browser: Browser,
    pub(super) site: Site,
    pub(super) tab: Tab,
}

/// An event, as it was published, and as an envelope tells it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) feed: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) data: Value,
}

impl Subscriber {
    /// A page of another origin.
    pub(super) async fn start(kind: Kind) -> Self {
        let site = Site::start(PAGE).await;
        let browser = Browser::start(kind).await;
        let tab = browser.open(&site.url()).await;
        Self { browser, site, tab }
    }

    /// Subscribes, and waits until it is.
    pub(super) async fn subscribe(&self, server: SocketAddr, query: &str) {
        let url = format!("http://{server}/feeds?{query}");
        self.tab.evaluate(&format!("subscribe({url:?})")).await;
        self.tab.wait_for("return opened").await;
    }

    /// Waits until it has heard this one.
    pub(super) async fn hears(&self, event: &Event) {
        hears(&self.tab, event).await;
    }

    /// See [`heard_exactly`].
    pub(super) async fn has_heard_exactly(&self, published: &[Event]) {
        heard_exactly(&self.tab, published).await;
    }

    pub(super) async fn end(self) {
        self.browser.end().await;
    }
}

/// Waits until a page has heard this one.
pub(super) async fn hears(tab: &Tab, event: &Event) {
    let id = &event.id;
    tab.wait_for(&format!(
        "return told.length || heard.some(({{ id }}) => id === {id:?})"
    ))
    .await;
}

/// Checks, once a page has heard the last of these, that it has heard exactly them, in their order, and was told
/// of no gap and no reset.
pub(super) async fn heard_exactly(tab: &Tab, published: &[Event]) {
    hears(tab, published.last().expect("an event")).await;
    assert_eq!(tab.evaluate("return told").await, Value::Array(vec![]));
    let heard = tab.evaluate("return heard").await;
    let heard: Vec<Event> = serde_json::from_value(heard).expect("events");
    for (heard, published) in heard.iter().zip(published) {
        assert_eq!(heard, published);
    }
    assert_eq!(heard.len(), published.len());
}

/// Publishes an event of JSON.
pub(super) async fn publish(server: SocketAddr, feed: &str, kind: &str, data: Value) -> Event {
    #[derive(Deserialize)]
    struct Receipt {
        id: String,
    }
    let request = Client::new()
        .post(format!("http://{server}/feeds/{feed}"))
        .header("Event-Type", kind)
        .header("Content-Type", "application/json")
        .body(data.to_string());
    let response = within("an answer", request.send(), String::new)
        .await
        .expect("an answer");
    assert_eq!(response.status(), 201);
    let receipt = response.bytes().await.expect("a receipt");
    let Receipt { id } = serde_json::from_slice(&receipt).expect("a receipt");
    Event {
        id,
        feed: feed.to_owned(),
        kind: kind.to_owned(),
        data,
    }
}

/// Publishes ten, to `page.1.a` and `page.b`.
pub(super) async fn publish_some(server: SocketAddr, data: &str, published: &mut Vec<Event>) {
    for n in 0..10 {
        let feed = ["page.1.a", "page.b"][n % 2];
        published.push(publish(server, feed, "message", serde_json::json!([data, n])).await);
    }
}
