//! Everything below a path.

use crate::call::{Answer, get};
use crate::program::Program;
use crate::replica::{Replica, within};
use crate::sse::Stream;
use reqwest::Client;
use reqwest::redirect::Policy;

async fn below() -> Replica {
    Replica::start(&["--base-path", "/in/tidings"]).await
}

#[tokio::test]
async fn every_route_is_below_it_and_none_elsewhere() {
    let replica = below().await;
    for path in ["/livez", "/metrics", "/admin/status", "/tidings.js", "/"] {
        let status = get(&replica, &format!("/in/tidings{path}"), &[])
            .await
            .status;
        assert_eq!(status, 200, "{path}");
        let elsewhere = get(&replica, path, &[]).await;
        assert!(elsewhere.problem(404).contains("`/in/tidings/`"), "{path}");
    }
    let evil = [("Host", "evil.example")];
    assert_eq!(get(&replica, "/in/tidings/livez", &evil).await.status, 403);
    assert_eq!(get(&replica, "/livez", &evil).await.status, 403);
    let client = Client::builder().redirect(Policy::none()).build().unwrap();
    let moved = client.get(replica.url("/in/tidings")).send();
    let moved = within("an answer", moved).await.unwrap();
    assert_eq!(moved.status(), 308);
    assert_eq!(moved.headers()["location"], "/in/tidings/");
}

#[tokio::test]
async fn streams_and_publishes_and_the_command_line_work_there() {
    let replica = below().await;
    let (mut stream, _) = Stream::open(&replica, "/in/tidings/feeds/a.*").await;
    let url = replica.url("/in/tidings");
    let ended = Program::run(&["publish", "a.b", "hello", "--url", &url], b"").await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let event = stream.event().await;
    assert_eq!(event.data, "hello");
}

#[tokio::test]
async fn what_is_printed_has_it() {
    let replica = below().await;
    let start = get(&replica, "/in/tidings/", &[]).await;
    let read = format!("curl -N '{}'", replica.url("/in/tidings/feeds/orders.*"));
    assert!(start.text.contains(&read), "{start:?}");
    assert!(start.text.contains(" /in/tidings/metrics "), "{start:?}");
    let detail = |answer: Answer| answer.problem(404);
    let slashes = detail(get(&replica, "/in/tidings/feeds/a/b", &[]).await);
    assert!(slashes.contains("`/in/tidings/feeds/a.b`"), "{slashes}");
    let mut program = Program::start(&["--listen", "127.0.0.1:0", "--base-path", "/x/"]);
    let listening = loop {
        let line = program.line().await;
        if line.starts_with("listening:") {
            break line;
        }
    };
    assert!(
        listening.contains("/x, for this machine alone"),
        "{listening}"
    );
    assert!(program.line().await.contains("/x/feeds/orders.*'"));
}

#[tokio::test]
async fn one_that_is_none_is_refused() {
    for path in ["tidings", "/a b", "/a//b", "/../b", "/%2e", "/a?b"] {
        let ended = Program::run(&["--base-path", path], b"").await;
        assert_eq!(ended.code(), Some(2), "{path}");
        assert!(ended.err.contains("as in /tidings"), "{}", ended.err);
    }
}
