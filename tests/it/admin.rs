//! What is for operators: who may see it, what it says, and where it is.

mod base_path;
mod listener;
mod readers;

use crate::call::{Answer, get, post};
use crate::replica::{Replica, within};
use crate::sse::Stream;
use reqwest::Client;
use serde_json::Value;
use std::net::SocketAddr;

/// What takes the permission `admin`.
pub(crate) const ADMIN: [&str; 4] = [
    "/admin/status",
    "/admin/feeds",
    "/admin/readers?slow=1",
    "/admin/subjects",
];

/// Asks whoever listens at an address.
async fn get_at(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Client::new().get(format!("http://{address}{path}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = within("the head", request.send()).await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = within("the body", response.text()).await.expect("a body");
    Answer {
        status,
        headers,
        text,
    }
}

/// Publishes an event to each of these feeds, in this order.
async fn publish_to(replica: &Replica, feeds: impl IntoIterator<Item = String>) {
    let lines = feeds
        .into_iter()
        .map(|feed| format!("{{\"feed\":\"{feed}\",\"data\":1}}\n"));
    let lines: String = lines.collect();
    let kind = [("Content-Type", "application/x-ndjson")];
    let answer = post(replica, "/feeds", &kind, lines).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

/// The names of the feeds on a page.
fn names(page: &Value) -> Vec<String> {
    let feeds = page["feeds"].as_array().expect("a list").iter();
    feeds
        .map(|feed| feed["feed"].as_str().expect("a name").to_owned())
        .collect()
}

#[tokio::test]
async fn the_status_says_which_replica_it_is_and_how_it_does() {
    let replica = Replica::start(&["--window-events", "2"]).await;
    for n in 0..3 {
        replica.publish(&format!("a.{n}"), "x").await;
    }
    let (_stream, _) = Stream::open(&replica, "/feeds/a.*").await;
    let answer = get(&replica, "/admin/status", &[]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let status = answer.json();
    let explained = get(&replica, "/explain?feed=a", &[]).await.json();
    assert_eq!(status["replica"], explained["replica"]);
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["status"], "ready");
    assert_eq!(status["log"]["name"], "in memory");
    assert_eq!(status["log"]["nats_connected"], Value::Null);
    assert_eq!(status["log"]["behind"], 0);
    assert_eq!(status["window"]["head"], status["log"]["last"]);
    assert_eq!(status["window"]["events"], 2);
    assert_eq!(status["bounds"]["max_window_events"], 2);
    let metrics = &status["metrics"];
    assert_eq!(metrics["readers"], 1);
    assert_eq!(metrics["head_sequence"], 3);
    assert_eq!(metrics["gaps_total"], 0);
    // What it counts is what the metrics count, and nothing that they do not.
    let told = get(&replica, "/metrics", &[]).await;
    for name in metrics.as_object().expect("an object").keys() {
        assert!(told.text.contains(&format!("\ntidings_{name} ")), "{name}");
    }
}

#[tokio::test]
async fn the_status_says_how_a_log_on_nats_is_reached() {
    let server = crate::nats_server::NatsServer::start(crate::nats_server::Version::V2_15);
    let replica = Replica::start(&["--nats", &server.url()]).await;
    replica.publish("a", "x").await;
    let status = get(&replica, "/admin/status", &[]).await.json();
    assert_eq!(status["log"]["nats_connected"], true);
    assert_eq!(status["log"]["reached"], true);
    assert_eq!(status["log"]["behind"], 0);
}

#[tokio::test]
async fn feeds_come_page_by_page_each_once_with_those_with_the_newest_events_first() {
    let replica = Replica::start(&[]).await;
    publish_to(&replica, (0..250).map(|n| format!("a.{n}"))).await;
    publish_to(&replica, ["b".to_owned(), "a.0".to_owned()]).await;
    let (mut all, mut path) = (Vec::new(), "/admin/feeds".to_owned());
    loop {
        let page = get(&replica, &path, &[]).await.json();
        assert_eq!(page["total"], 251);
        let shown = names(&page);
        assert!(shown.len() <= 100);
        all.extend(shown);
        match page["next"].as_str() {
            Some(next) => path = format!("/admin/feeds?after={next}"),
            None => break,
        }
    }
    let expected = ["a.0".to_owned(), "b".to_owned()].into_iter();
    let expected: Vec<_> = expected
        .chain((1..250).rev().map(|n| format!("a.{n}")))
        .collect();
    assert_eq!(all, expected);
}

#[tokio::test]
async fn feeds_are_found_by_how_they_begin_and_tell_of_their_newest_event() {
    let replica = Replica::start(&[]).await;
    publish_to(&replica, (0..30).map(|n| format!("a.{n}"))).await;
    let headers = [("Event-Type", "created")];
    let id = post(&replica, "/feeds/a.7", &headers, "four").await.json()["id"].clone();
    let page = get(&replica, "/admin/feeds?prefix=a.7", &[]).await.json();
    assert_eq!(names(&page), ["a.7"]);
    let feed = &page["feeds"][0];
    assert_eq!(feed["events"], 2);
    assert_eq!(feed["newest"]["id"], id);
    assert_eq!(feed["newest"]["type"], "created");
    assert_eq!(feed["newest"]["bytes"], 4);
    let page = get(&replica, "/admin/feeds?prefix=a.1&limit=5", &[])
        .await
        .json();
    assert_eq!(names(&page), ["a.19", "a.18", "a.17", "a.16", "a.15"]);
    let page = get(&replica, "/admin/feeds?prefix=none", &[]).await.json();
    assert_eq!((names(&page).len(), &page["next"]), (0, &Value::Null));
}

#[tokio::test]
async fn what_is_wrong_with_a_question_is_said() {
    let replica = Replica::start(&[]).await;
    for (path, said) in [
        ("/admin/feeds?limit=0", "from 1 to 1000"),
        ("/admin/feeds?limit=1001", "from 1 to 1000"),
        ("/admin/feeds?limit=x", "from 1 to 1000"),
        ("/admin/feeds?after=x", "`next`"),
        ("/admin/feeds?prefx=a", "`prefix`"),
        ("/admin/readers", "`/admin/readers?slow=1`"),
        ("/admin/readers?slow=1&limit=0", "from 1 to 1000"),
    ] {
        let detail = get(&replica, path, &[]).await.problem(400);
        assert!(detail.contains(said), "{path}: {detail}");
    }
    assert_eq!(post(&replica, "/admin/status", &[], "").await.status, 405);
    assert_eq!(get(&replica, "/admin/nothing", &[]).await.status, 404);
}
