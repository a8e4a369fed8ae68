//! Who gets a WebSocket, and what all others are told.

use crate::call::get;
use crate::raw::{Head, Raw};
use crate::replica::Replica;
use serde_json::Value;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n";

async fn head(replica: &Replica, line: &str, fields: &str) -> (Head, Raw) {
    let request = format!("{line}\r\nHost: localhost\r\n{fields}\r\n");
    let mut raw = Raw::send(replica.address, &request).await;
    (raw.head().await, raw)
}

#[tokio::test]
async fn a_handshake_is_answered_as_rfc_6455_has_it() {
    let replica = Replica::start(&[]).await;
    for (more, protocol) in [
        ("", None),
        (
            "Sec-WebSocket-Protocol: chat, tidings.v1\r\n",
            Some("tidings.v1"),
        ),
        ("Sec-WebSocket-Extensions: permessage-deflate\r\n", None),
    ] {
        let fields = format!("{UPGRADE}{KEY}{VERSION}{more}");
        let (head, mut raw) = head(&replica, "GET /ws HTTP/1.1", &fields).await;
        assert_eq!(head.status, "HTTP/1.1 101 Switching Protocols", "{more}");
        let accept = head.field("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(head.field("sec-websocket-protocol"), protocol);
        assert_eq!(head.field("sec-websocket-extensions"), None);
        assert_eq!(head.field("upgrade"), Some("websocket"));
        raw.until(b"hub:connected").await;
    }
}

/// A request line and its fields, and the status and the field of its answer.
type Case = (&'static str, String, &'static str, &'static str);

/// What is none, or none of this version, or none over this HTTP.
fn no_handshakes() -> Vec<Case> {
    let get = "GET /ws HTTP/1.1";
    let whole = format!("{UPGRADE}{KEY}{VERSION}");
    let without = |field: &str| whole.replace(field, "");
    let other = |field: &str, instead: &str| whole.replace(field, instead);
    let upgrade = "426 Upgrade Required";
    let (version, websocket) = ("sec-websocket-version: 13", "upgrade: websocket");
    let http = "505 HTTP Version Not Supported";
    let method = "405 Method Not Allowed";
    vec![
        (get, String::new(), upgrade, websocket),
        (
            get,
            other("keep-alive, Upgrade", "keep-alive"),
            upgrade,
            websocket,
        ),
        (
            get,
            other("Upgrade: websocket", "Upgrade: h2c"),
            upgrade,
            websocket,
        ),
        (get, without(VERSION), upgrade, version),
        (get, other("Version: 13", "Version: 8"), upgrade, version),
        (
            "POST /ws HTTP/1.1",
            whole.clone(),
            method,
            "allow: GET,HEAD",
        ),
        ("GET /ws HTTP/1.0", whole.clone(), http, ""),
    ]
}

/// What is one, and wrong.
fn wrong_handshakes() -> Vec<Case> {
    let whole = format!("{UPGRADE}{KEY}{VERSION}");
    let fields = [
        whole.replace(KEY, ""),
        whole.replace(KEY, "Sec-WebSocket-Key: short\r\n"),
        format!("{whole}{KEY}"),
        format!("{whole}Sec-WebSocket-Protocol: chat\r\n"),
        format!("{whole}Content-Length: 5\r\n"),
    ]
    .map(|fields| ("GET /ws HTTP/1.1", fields));
    // What is subscribed to is said in messages.
    let lines = ["GET /ws?feed=a HTTP/1.1", "GET /ws?access_token=a HTTP/1.1"];
    let lines = lines.map(|line| (line, whole.clone()));
    let all = fields.into_iter().chain(lines);
    all.map(|(line, fields)| (line, fields, "400 Bad Request", ""))
        .collect()
}

#[tokio::test]
async fn what_is_no_handshake_is_told_what_would_be_one() {
    let replica = Replica::start(&[]).await;
    for (line, fields, status, field) in [no_handshakes(), wrong_handshakes()].concat() {
        let (head, _) = head(&replica, line, &fields).await;
        let (_, found) = head.status.split_once(' ').unwrap();
        assert_eq!(found, status, "{line} {fields}");
        let form = head.field("content-type");
        assert_eq!(form, Some("application/problem+json"), "{line} {fields}");
        if let Some((name, value)) = field.split_once(": ") {
            assert_eq!(head.field(name), Some(value), "{line} {fields}");
        }
    }
}

#[tokio::test]
async fn a_page_from_elsewhere_gets_none_where_only_this_machine_may() {
    let replica = Replica::start(&[]).await;
    let open = Replica::start(&["--anonymous-subscribe=>"]).await;
    for (fields, local) in [
        ("Origin: http://evil.example\r\n", "403 Forbidden"),
        ("Origin: null\r\n", "403 Forbidden"),
        ("Sec-Fetch-Site: cross-site\r\n", "403 Forbidden"),
        (
            "Origin: http://localhost:3000\r\n",
            "101 Switching Protocols",
        ),
    ] {
        let fields = format!("{UPGRADE}{KEY}{VERSION}{fields}");
        let line = "GET /ws HTTP/1.1";
        let (found, _) = head(&replica, line, &fields).await;
        assert_eq!(found.status, format!("HTTP/1.1 {local}"), "{fields}");
        let (found, _) = head(&open, line, &fields).await;
        assert_eq!(found.status, "HTTP/1.1 101 Switching Protocols", "{fields}");
    }
}

#[tokio::test]
async fn over_http_2_there_is_none() {
    let replica = Replica::start(&[]).await;
    let client = reqwest::Client::builder().http2_prior_knowledge();
    let asked = client.build().unwrap().get(replica.url("/ws")).send();
    let answer = asked.await.unwrap();
    assert_eq!(answer.status(), 505);
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    let detail = body["detail"].as_str().unwrap();
    assert!(detail.contains("HTTP/1.1"), "{detail}");
    let plain = get(&replica, "/ws", &[]).await;
    assert!(plain.problem(426).contains("Upgrade: websocket"));
}
