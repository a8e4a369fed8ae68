//! What is meant for everyone, and nothing else, is served to everyone.

use crate::call::{Answer, get, post};
use crate::replica::Replica;
use crate::sse::Stream;

const FLAGS: [&str; 6] = [
    "--anonymous-subscribe",
    "public.>,news",
    "--anonymous-publish",
    "public.*",
    "--anonymous-publish",
    "inbox",
];
const PAGE: (&str, &str) = ("Origin", "https://page.example");

/// A page can read why, or what.
fn readable(answer: &Answer) {
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("*"),
        "{answer:?}"
    );
}

#[tokio::test]
async fn what_a_grant_covers_whole_can_be_read() {
    let replica = Replica::start(&FLAGS).await;
    for path in [
        "/feeds/public.a",
        "/feeds/public.*",
        "/feeds/public.%3E",
        "/feeds?feed=news&feed=public.a.*",
    ] {
        let client = reqwest::Client::new();
        let request = client.get(replica.url(path)).header(PAGE.0, PAGE.1);
        let (stream, _) = Stream::begin(request).await;
        assert_eq!(
            stream.response().headers()["access-control-allow-origin"],
            "*",
            "{path}"
        );
    }
}

#[tokio::test]
async fn all_else_is_403_and_a_page_can_read_why() {
    let replica = Replica::start(&FLAGS).await;
    for (path, denied) in [
        ("/feeds/secret", "`secret`"),
        ("/feeds/public", "`public`"),
        ("/feeds/%3E", "`>`"),
        ("/feeds/*.a", "`*.a`"),
        ("/feeds/inbox", "`inbox`"),
        ("/feeds/news.a", "`news.a`"),
        ("/feeds?feed=public.a&feed=secret", "`secret`"),
    ] {
        let answer = get(&replica, path, &[PAGE]).await;
        let detail = answer.problem(403);
        assert!(
            detail.contains(denied) && detail.contains("--anonymous-subscribe"),
            "{detail}"
        );
        readable(&answer);
    }
}

#[tokio::test]
async fn publishing_is_granted_apart_from_reading() {
    let replica = Replica::start(&FLAGS).await;
    for feed in ["public.a", "inbox"] {
        let answer = post(&replica, &format!("/feeds/{feed}"), &[PAGE], "x").await;
        assert_eq!(answer.status, 201);
        readable(&answer);
    }
    for feed in ["public.a.b", "news", "secret"] {
        let answer = post(&replica, &format!("/feeds/{feed}"), &[PAGE], "x").await;
        assert!(answer.problem(403).contains(feed));
        readable(&answer);
    }
}

#[tokio::test]
async fn with_one_of_the_two_the_other_is_nothing() {
    let reading = Replica::start(&["--anonymous-subscribe", ">"]).await;
    post(&reading, "/feeds/a", &[], "x").await.problem(403);
    let writing = Replica::start(&["--anonymous-publish", ">"]).await;
    get(&writing, "/feeds/a", &[]).await.problem(403);
    assert_eq!(post(&writing, "/feeds/a", &[], "x").await.status, 201);
}

#[tokio::test]
async fn it_answers_to_any_name_since_a_proxy_passes_its_own() {
    let replica = Replica::start(&FLAGS).await;
    let headers = [("Host", "tidings.example"), PAGE];
    assert_eq!(get(&replica, "/livez", &headers).await.status, 200);
    assert_eq!(
        post(&replica, "/feeds/inbox", &headers, "x").await.status,
        201
    );
}
