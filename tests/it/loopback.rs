//! A server that only this machine is to reach trusts this machine's callers and pages, and no others.

use crate::call::{Answer, call, get, post};
use crate::raw::Raw;
use crate::replica::{Replica, settings};
use crate::sse::Stream;
use reqwest::Method;
use tidings::app::{App, StartError};

/// Refused, and nothing that a page could read.
fn refused(answer: &Answer, value: &str) {
    let detail = answer.problem(403);
    assert!(detail.contains(value), "{detail}");
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_name_that_was_made_to_point_here_is_refused() {
    let replica = Replica::start(&[]).await;
    for host in [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "10.0.0.1",
        "[::2]",
        "evil.example@localhost",
        "localhost:abc",
        "",
    ] {
        let headers = [("Host", host)];
        refused(&get(&replica, "/feeds/a", &headers).await, host);
        refused(&get(&replica, "/metrics", &headers).await, host);
        refused(&post(&replica, "/feeds/a", &headers, "x").await, host);
    }
    for host in [
        "localhost",
        "LOCALHOST:1",
        "app.localhost:8080",
        "127.0.0.1",
        "127.1.2.3:9",
        "[::1]:8080",
    ] {
        let answer = get(&replica, "/livez", &[("Host", host)]).await;
        assert_eq!(answer.status, 200, "{host}");
    }
    let mut raw = Raw::send(
        replica.address,
        "GET http://evil.example/livez HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await;
    assert_eq!(raw.head().await.status, "HTTP/1.1 403 Forbidden");
    let mut raw = Raw::send(replica.address, "GET /livez HTTP/1.0\r\n\r\n").await;
    assert!(raw.head().await.status.ends_with(" 200 OK"));
}

#[tokio::test]
async fn over_http_2_the_authority_is_looked_at_too() {
    let replica = Replica::start(&[]).await;
    for (host, status) in [("evil.example", 403), ("app.localhost", 200)] {
        let client = reqwest::Client::builder()
            .http2_prior_knowledge()
            .resolve(host, replica.address)
            .build()
            .unwrap();
        let url = format!("http://{host}:{}/livez", replica.address.port());
        assert_eq!(
            client.get(url).send().await.unwrap().status(),
            status,
            "{host}"
        );
    }
}

#[tokio::test]
async fn a_page_from_elsewhere_can_neither_read_nor_publish() {
    let replica = Replica::start(&[]).await;
    for origin in [
        "https://evil.example",
        "http://localhost.evil.example",
        "null",
        "file://",
        "chrome-extension://abc",
        "localhost",
        "http://evil.example@localhost",
        "http://localhost/evil",
        "file://localhost",
    ] {
        let headers = [("Origin", origin)];
        refused(&get(&replica, "/feeds/a", &headers).await, origin);
        refused(&post(&replica, "/feeds/a", &headers, "x").await, origin);
        let preflight = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
        ];
        refused(
            &call(&replica, Method::OPTIONS, "/feeds/a", &preflight, "").await,
            origin,
        );
    }
    assert_eq!(replica.publish("a", "first").await.sequence(), 1);
}

#[tokio::test]
async fn an_image_or_a_script_of_a_page_elsewhere_is_not_served() {
    let replica = Replica::start(&[]).await;
    for site in ["cross-site", "same-site"] {
        for path in ["/feeds/a", "/metrics", "/"] {
            let headers = [("Sec-Fetch-Site", site)];
            refused(&get(&replica, path, &headers).await, site);
        }
        // Who follows a link is shown the page.
        let follows = [("Sec-Fetch-Site", site), ("Sec-Fetch-Dest", "document")];
        assert_eq!(get(&replica, "/", &follows).await.status, 200);
        // A page that may read the answers says which it is.
        let headers = [
            ("Sec-Fetch-Site", site),
            ("Origin", "http://localhost:3000"),
        ];
        assert_eq!(get(&replica, "/livez", &headers).await.status, 200);
    }
    for site in ["same-origin", "none"] {
        let headers = [("Sec-Fetch-Site", site)];
        assert_eq!(get(&replica, "/livez", &headers).await.status, 200);
    }
}

#[tokio::test]
async fn over_http_1_1_a_request_names_one_host() {
    for grants in [&[][..], &["--anonymous-subscribe", ">"]] {
        let replica = Replica::start(grants).await;
        for hosts in ["", "Host: localhost\r\nHost: localhost\r\n"] {
            let request = format!("GET /livez HTTP/1.1\r\n{hosts}\r\n");
            let mut raw = Raw::send(replica.address, &request).await;
            assert_eq!(raw.head().await.status, "HTTP/1.1 400 Bad Request");
        }
    }
}

#[tokio::test]
async fn a_page_on_another_port_of_this_machine_can_do_both() {
    let replica = Replica::start(&[]).await;
    for origin in [
        "http://localhost:3000",
        "https://127.0.0.1",
        "http://[::1]:5173",
        "http://app.localhost",
    ] {
        let headers = [("Origin", origin)];
        let answer = post(&replica, "/feeds/a", &headers, "x").await;
        assert_eq!(answer.status, 201);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("vary"), Some("Origin"));
        let request = reqwest::Client::new()
            .get(replica.url("/feeds/a"))
            .header("Origin", origin);
        let (stream, _) = Stream::begin(request).await;
        assert_eq!(
            stream.response().headers()["access-control-allow-origin"],
            origin
        );
        // What is refused for another reason can be read too.
        let answer = get(&replica, "/feeds/a..b", &headers).await;
        answer.problem(400);
        assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
    }
}

#[tokio::test]
async fn a_preflight_allows_what_a_publisher_and_a_reader_send() {
    let replica = Replica::start(&[]).await;
    let headers = [
        ("Origin", "http://localhost:3000"),
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type, event-type"),
        ("Access-Control-Request-Private-Network", "true"),
    ];
    let answer = call(&replica, Method::OPTIONS, "/feeds/a", &headers, "").await;
    assert_eq!((answer.status, answer.text.as_str()), (204, ""));
    assert_eq!(
        answer.header("access-control-allow-origin"),
        Some("http://localhost:3000")
    );
    assert_eq!(
        answer.header("access-control-allow-methods"),
        Some("GET, POST")
    );
    assert_eq!(
        answer.header("access-control-allow-private-network"),
        Some("true")
    );
    assert_eq!(answer.header("access-control-max-age"), Some("600"));
    let allowed = answer.header("access-control-allow-headers").unwrap();
    let allowed: Vec<&str> = allowed.split(", ").collect();
    for name in [
        "content-type",
        "event-type",
        "event-key",
        "idempotency-key",
        "last-event-id",
        "traceparent",
        "tracestate",
        "tidings-explain-token",
    ] {
        assert!(allowed.contains(&name), "{name}");
    }
}

#[tokio::test]
async fn it_listens_where_others_reach_it_only_once_told_what_is_meant_for_them() {
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let refused = App::bind(&settings(&["--listen", address]));
        let error = refused.expect_err("no listener");
        assert!(matches!(error, StartError::Exposed(_)), "{error}");
        let text = error.to_string();
        for hint in ["--anonymous-subscribe", "--anonymous-publish", "127.0.0.1"] {
            assert!(text.contains(hint), "{text}");
        }
    }
    for address in ["127.0.0.2:0", "[::1]:0"] {
        if let Err(error) = App::bind(&settings(&["--listen", address])) {
            assert!(matches!(error, StartError::Listen { .. }), "{error}");
        }
    }
}
