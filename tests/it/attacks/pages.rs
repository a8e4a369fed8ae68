//! Pages of other sites, in the browser of one who may: they read nothing, publish nothing and open no WebSocket.

use super::Healthy;
use crate::call::{Answer, call_by};
use crate::replica::Replica;
use crate::websocket::Client as Socket;
use jsonwebtoken::{EncodingKey, Header, encode};
use reqwest::{Client, Method};
use serde_json::json;
use std::sync::LazyLock;

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const APP: &str = "https://app.example";
const JSON: (&str, &str) = ("Accept", "application/json");

/// Making one takes longer than all that is asked.
static CLIENT: LazyLock<Client> = LazyLock::new(Client::new);

/// What browsers send for pages of elsewhere, and for what looks like it.
const ELSEWHERE: &[&[(&str, &str)]] = &[
    &[("Origin", "https://evil.example")],
    &[
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "same-origin"),
    ],
    &[
        ("Origin", "https://evil.example"),
        ("Sec-Fetch-Site", "none"),
    ],
    &[("Origin", "null")],
    &[("Origin", "null"), ("Sec-Fetch-Site", "same-origin")],
    &[("Origin", "")],
    &[("Origin", "https://app.example.evil.example")],
    &[("Origin", "https://evil-app.example")],
    &[("Origin", "https://app.example@evil.example")],
    &[("Origin", "https://app.example:8443")],
    &[("Origin", "http://app.example")],
    &[("Origin", "https://APP.example")],
    &[("Origin", "https://app.example.")],
    &[("Origin", "https://app.example/")],
    &[("Origin", "https://app.example, https://evil.example")],
    &[("Origin", "https://app.example https://evil.example")],
    &[("Origin", "file://")],
    &[("Origin", "data:text/html,x")],
    &[("Sec-Fetch-Site", "cross-site")],
    &[("Sec-Fetch-Site", "same-site")],
    &[
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Mode", "navigate"),
        ("Sec-Fetch-Dest", "document"),
    ],
    &[("Sec-Fetch-Site", "same-origin, cross-site")],
];

/// A replica that takes a cookie, and the cookie of one who may do everything below `a`.
async fn replica() -> (Replica, String) {
    let flags = [
        "--jwt-key",
        SECRET,
        "--jwt-cookie",
        "id",
        "--allow-origin",
        APP,
    ];
    let replica = Replica::start(&[&flags[..], &super::PUBLIC].concat()).await;
    let claims = json!({
        "sub": "ann", "exp": 4_000_000_000_u64,
        "tidings": {"subscribe": ["a.>"], "publish": ["a.>"], "request": []},
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = encode(&Header::default(), &claims, &key).expect("a token");
    (replica, format!("id={token}"))
}

async fn get(replica: &Replica, path: &str, headers: &[(&str, &str)]) -> Answer {
    call_by(&CLIENT, replica, Method::GET, path, headers, "").await
}

async fn post(
    replica: &Replica,
    path: &str,
    headers: &[(&str, &str)],
    body: &'static str,
) -> Answer {
    call_by(&CLIENT, replica, Method::POST, path, headers, body).await
}

/// Whether a page of another origin than the allowed one may read this.
fn readable(answer: &Answer) -> bool {
    let allowed = answer.header("access-control-allow-origin");
    allowed.is_some_and(|origin| origin != APP)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_does_nothing_for_pages_of_elsewhere() {
    let (replica, cookie) = replica().await;
    let mut healthy = Healthy::connect(replica.address).await;
    let lines = ("Content-Type", "application/x-ndjson");
    let line = r#"{"feed":"a.b","data":"forged"}"#;
    healthy
        .beside(async {
            for headers in ELSEWHERE {
                let shown = [headers, &[("Cookie", cookie.as_str())][..]].concat();
                for accept in [
                    "application/json",
                    "text/event-stream",
                    "application/x-ndjson",
                ] {
                    let asked = [&shown[..], &[("Accept", accept)]].concat();
                    let answer = get(&replica, "/feeds/a.b?after=start", &asked).await;
                    assert_eq!(answer.status, 403, "{headers:?} {answer:?}");
                    assert!(!readable(&answer), "{headers:?} {answer:?}");
                }
                // Forms of a page send these without asking first.
                for form in [
                    "text/plain",
                    "application/x-www-form-urlencoded",
                    "multipart/form-data; boundary=x",
                ] {
                    let sent = [&shown[..], &[("Content-Type", form)]].concat();
                    let answer = post(&replica, "/feeds/a.b", &sent, "forged").await;
                    assert_eq!(answer.status, 403, "{headers:?} {answer:?}");
                }
                let batch = post(&replica, "/feeds", &[&shown[..], &[lines]].concat(), line).await;
                assert_eq!(batch.status, 403, "{headers:?} {batch:?}");
                let opened = Socket::open(&replica, &shown).await;
                assert_eq!(opened.err(), Some(403), "{headers:?}");
            }
            // Without an origin nothing is changed either: a WebSocket would read what CORS keeps from pages.
            let alone = [("Cookie", cookie.as_str())];
            assert_eq!(
                post(&replica, "/feeds/a.b", &alone, "forged").await.status,
                403
            );
            assert_eq!(Socket::open(&replica, &alone).await.err(), Some(403));
        })
        .await;
    let own = [("Cookie", cookie.as_str()), ("Origin", APP), JSON];
    let all = get(&replica, "/feeds/a.b?after=start", &own).await;
    assert_eq!(all.json()["events"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_whose_name_was_made_to_point_here_opens_no_websocket_and_reads_nothing() {
    let replica = Replica::start(&[]).await;
    let mut healthy = Healthy::connect(replica.address).await;
    let port = replica.address.port();
    healthy
        .beside(async {
            for name in [
                "evil.example",
                "localhost.evil.example",
                "127.0.0.1.evil.example",
                "0.0.0.0",
                "[::]",
                "169.254.169.254",
            ] {
                let host = format!("{name}:{port}");
                let origin = format!("http://{host}");
                for headers in [
                    &[("Host", host.as_str()), ("Origin", origin.as_str())][..],
                    &[("Host", host.as_str()), ("Sec-Fetch-Site", "same-origin")],
                    &[("Host", host.as_str())],
                    &[("Origin", origin.as_str())],
                ] {
                    assert_eq!(
                        Socket::open(&replica, headers).await.err(),
                        Some(403),
                        "{headers:?}"
                    );
                    let read = get(
                        &replica,
                        "/feeds/public.health?last=1",
                        &[headers, &[JSON]].concat(),
                    )
                    .await;
                    assert_eq!((read.status, readable(&read)), (403, false), "{headers:?}");
                    assert_eq!(
                        post(&replica, "/feeds/a", headers, "forged").await.status,
                        403
                    );
                }
            }
        })
        .await;
}
