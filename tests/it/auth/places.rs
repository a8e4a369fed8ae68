//! Where credentials may stand, and whose pages may have a browser send them.

use super::{bearer, guarded, right, token};
use crate::call::{Answer, call, get, post};
use crate::replica::Replica;
use crate::websocket::Client as Socket;
use reqwest::Method;
use serde_json::json;

const JSON: (&str, &str) = ("Accept", "application/json");
const APP: &str = "https://app.example";
const EVIL: &str = "https://evil.example";

async fn replica() -> Replica {
    guarded(&["--jwt-cookie", "id", "--jwt-query", "--allow-origin", APP]).await
}

#[tokio::test]
async fn a_token_in_a_url_reads_and_does_nothing_else() {
    let replica = replica().await;
    let path = format!("/feeds/a.b?access_token={}", right());
    assert_eq!(get(&replica, &path, &[JSON]).await.status, 200);
    assert_eq!(post(&replica, &path, &[], "x").await.status, 401);
    let twice = format!("{path}&access_token=x");
    get(&replica, &twice, &[JSON]).await.problem(400);
    let off = guarded(&[]).await;
    assert_eq!(get(&off, &path, &[JSON]).await.status, 401);
    let shown = bearer(&right());
    let detail = get(&off, &path, &[JSON, ("Authorization", &shown)])
        .await
        .problem(400);
    assert!(detail.contains("`access_token`"), "{detail}");
}

#[tokio::test]
async fn a_cookie_counts_for_the_servers_own_pages_and_those_that_are_allowed() {
    let replica = replica().await;
    let cookie = format!("a=b; id={}", right());
    let own = format!("http://{}", replica.address);
    for (origin, reads, publishes) in [
        (None, 200, 403),
        (Some(own.as_str()), 200, 201),
        (Some(APP), 200, 201),
        (Some(EVIL), 403, 403),
        (Some("null"), 403, 403),
    ] {
        let mut headers = vec![JSON, ("Cookie", cookie.as_str())];
        headers.extend(origin.map(|origin| ("Origin", origin)));
        let read = get(&replica, "/feeds/a.b", &headers).await;
        assert_eq!(read.status, reads, "{origin:?}");
        let published = post(&replica, "/feeds/a.b", &headers, "x").await;
        assert_eq!(published.status, publishes, "{origin:?}");
        let socket = Socket::open(&replica, &headers[1..]).await;
        let opened = socket.map(|_| 201).unwrap_or_else(|status| status);
        assert_eq!(opened, publishes, "{origin:?}");
    }
}

fn allowed(answer: &Answer) -> (Option<&str>, Option<&str>) {
    (
        answer.header("access-control-allow-origin"),
        answer.header("access-control-allow-credentials"),
    )
}

#[tokio::test]
async fn pages_of_allowed_origins_can_read_answers_and_refusals_and_no_others_can() {
    let replica = replica().await;
    let shown = bearer(&right());
    for credentials in [Some(("Authorization", shown.as_str())), None] {
        let status = if credentials.is_some() { 200 } else { 401 };
        for (origin, readable) in [
            (APP, true),
            (EVIL, false),
            ("https://app.example.evil", false),
        ] {
            let mut headers = vec![JSON, ("Origin", origin)];
            headers.extend(credentials);
            let answer = get(&replica, "/feeds/a.b", &headers).await;
            assert_eq!(answer.status, status);
            let expected = readable.then_some((origin, "true"));
            let (one, two) = expected.unzip();
            assert_eq!(allowed(&answer), (one, two), "{origin}");
            let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
            assert!(vary.iter().any(|value| *value == "Origin"), "{vary:?}");
            let preflight = [
                ("Origin", origin),
                ("Access-Control-Request-Method", "POST"),
                ("Access-Control-Request-Headers", "authorization"),
            ];
            let answer = call(&replica, Method::OPTIONS, "/feeds/a.b", &preflight, "").await;
            assert_eq!(
                (answer.status, allowed(&answer)),
                (204, (one, two)),
                "{origin}"
            );
        }
    }
}

#[tokio::test]
async fn a_websocket_of_a_page_that_is_not_allowed_is_refused_with_any_credentials() {
    let replica = replica().await;
    let shown = bearer(&right());
    for credentials in [Some(("Authorization", shown.as_str())), None] {
        for (origin, expected) in [(APP, None), (EVIL, Some(403))] {
            let mut headers = vec![("Origin", origin)];
            headers.extend(credentials);
            let refused = Socket::open(&replica, &headers).await.err();
            assert_eq!(refused, expected, "{origin}");
        }
    }
}

#[tokio::test]
async fn what_depends_on_who_asks_is_for_no_shared_cache() {
    let replica = replica().await;
    let shown = bearer(&right());
    let headers = [JSON, ("Authorization", shown.as_str())];
    let answer = get(&replica, "/feeds/a.b", &headers).await;
    assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
    let tag = answer.header("etag").expect("a tag").to_owned();
    let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
    assert!(
        vary.iter().any(|value| *value == "Authorization, Cookie"),
        "{vary:?}"
    );
    let again = [JSON, ("If-None-Match", tag.as_str())];
    assert_eq!(get(&replica, "/feeds/a.b", &again).await.status, 401);
    let other = bearer(&token(&json!({})));
    let again = [again[0], again[1], ("Authorization", other.as_str())];
    assert_eq!(get(&replica, "/feeds/a.b", &again).await.status, 403);
}

#[tokio::test]
async fn an_event_bears_its_sender_whatever_its_publisher_says() {
    let replica = guarded(&[]).await;
    let publisher = token(&json!({"sub": "bob@example.com", "tidings": super::below_a()}));
    let shown = bearer(&publisher);
    let headers = [
        ("Authorization", shown.as_str()),
        ("Tidings-Sender", "ann"),
        JSON,
    ];
    assert_eq!(
        post(&replica, "/feeds/a.b", &headers, "x").await.status,
        201
    );
    let read = get(&replica, "/feeds/a.b?after=start", &headers)
        .await
        .json();
    assert_eq!(read["events"][0]["sender"], "bob@example.com");
}
