//! More of everything than there may be: each is refused, and none is much work.

use super::start;
use crate::replica::within;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a server may grow by under an attack, in KiB.
const GROWTH: u64 = 48 << 10;

/// The status that a request is answered with, and the body.
async fn answer(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let connected = within("a connection", TcpStream::connect(address)).await;
    let mut socket = connected.expect("a connection");
    // It may be refused before it was taken whole.
    let _ = within("the request to be sent", socket.write_all(request)).await;
    let mut bytes = Vec::new();
    let _ = within("an answer", socket.read_to_end(&mut bytes)).await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok());
    (status.unwrap_or_default(), text)
}

fn with(method: &str, path: &str, fields: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

fn get(path: &str, fields: &str) -> Vec<u8> {
    with(
        "GET",
        path,
        &format!("Accept: application/json\r\n{fields}"),
        "",
    )
}

fn post(fields: &str) -> Vec<u8> {
    with("POST", "/feeds/public.a", fields, "x")
}

/// What is too large, and the statuses that it may have.
fn requests() -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let name = |length: usize| "n".repeat(length);
    let many = |one: &str, times: usize| one.repeat(times);
    let (head, field) = (&[400, 414, 431][..], 40_000);
    vec![
        ("a method", with(&name(field), "/livez", "", ""), head),
        ("a path", get(&format!("/feeds/{}", name(field)), ""), head),
        ("a huge path", get(&format!("/feeds/{}", name(10_000_000)), ""), head),
        ("a path of slashes", get(&many("/", 30_000), ""), &[404]),
        ("a path of percents", get(&format!("/feeds/{}", many("%61", 10_000)), ""), &[400]),
        ("a feed", get(&format!("/feeds/{}", name(256)), ""), &[400]),
        ("a pattern of tokens", get(&format!("/feeds/{}*", many("*.", 1_000)), ""), &[400]),
        ("patterns", get(&format!("/feeds?feed=a{}", many("&feed=a", 3_000)), ""), &[400]),
        ("parameters", get(&format!("/feeds/a?{}", many("_&", 10_000)), ""), &[400]),
        ("a parameter's name", get(&format!("/feeds/a?{}=1", name(20_000)), ""), &[400]),
        ("a parameter's value", get(&format!("/feeds/a?limit={}", "9".repeat(20_000)), ""), &[400]),
        ("a number", get("/feeds/a?last=18446744073709551616", ""), &[400]),
        ("a field's name", get("/livez", &format!("{}: x\r\n", name(70_000))), head),
        ("a field's value", get("/livez", &format!("X: {}\r\n", name(field))), head),
        ("fields", get("/livez", &many("X: y\r\n", 3_000)), head),
        ("fields, each small", get("/livez", &many("a:\r\n", 101)), head),
        ("a cookie", get("/livez", &format!("Cookie: a={}\r\n", name(field))), head),
        ("a token", get("/feeds/a", &format!("Authorization: Bearer {}\r\n", name(field))), head),
        // An id that is none is a reset, and nothing else: there is nothing in this log.
        ("an id", get("/feeds/a", &format!("Last-Event-ID: {}\r\n", name(20_000))), &[200]),
        ("an id of digits", get("/feeds/a", &format!("Last-Event-ID: {}-aaaaaa\r\n", "9".repeat(20_000))), &[200]),
        ("what is accepted", get("/feeds/a", &format!("Accept: {}\r\n", many("a/b;q=0.1,", 2_000))), &[200]),
        ("tags", get("/feeds/a", &format!("If-None-Match: {}\r\n", many("\"a\",", 5_000))), &[200]),
        ("an origin", get("/livez", &format!("Origin: http://{}\r\n", name(20_000))), &[403]),
        ("a host", get("/livez", &format!("Host: {}\r\n", name(20_000))), &[400]),
        ("a type", post(&format!("Event-Type: {}\r\n", name(256))), &[422]),
        ("a key", post(&format!("Event-Key: {}\r\n", name(1025))), &[422]),
        ("an idempotency key", post(&format!("Idempotency-Key: {}\r\n", name(256))), &[400, 422]),
        ("a content type", post(&format!("Content-Type: {}\r\n", name(256))), &[422]),
        ("an event", with("POST", "/feeds/public.a", "", &name(1_000_001)), &[413]),
        ("an announced event", b"POST /feeds/public.a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9223372036854775807\r\n\r\n".to_vec(), &[413]),
    ]
}

/// What is too large in a line of a batch, or means too much: each is the line's error, and no more.
fn lines() -> Vec<(&'static str, String)> {
    let nested =
        |open: &str, close: &str| format!("{}1{}", open.repeat(100_000), close.repeat(100_000));
    let data = |data: &str| format!(r#"{{"feed":"public.a","data":{data}}}"#);
    vec![
        ("nested lists", data(&nested("[", "]"))),
        ("nested objects", data(&nested(r#"{"a":"#, "}"))),
        ("open lists", data(&"[".repeat(1_000_000))),
        ("an open list", "[".repeat(1_000_000)),
        ("an open object", r#"{"a":"#.repeat(100_000)),
        (
            "members",
            format!("{{{}\"feed\":\"public.a\"}}", r#""x":1,"#.repeat(100_000)),
        ),
        (
            "the same member",
            format!("{{{}\"data\":1}}", r#""feed":"public.a","#.repeat(100_000)),
        ),
        ("a number", data(&"9".repeat(100_000)).replace('}', "x}")),
        (
            "an exponent",
            data("1e999999999999999999").replace("data\":", "data\": -"),
        ),
        ("a name", format!(r#"{{"{}":1}}"#, "n".repeat(1_000_000))),
        (
            "a feed",
            format!(r#"{{"feed":"{}","data":1}}"#, "n".repeat(1_000_000)),
        ),
        (
            "escapes",
            format!(
                r#"{{"feed":"public.a","type":"{}"}}"#,
                "\\u0000".repeat(100_000)
            ),
        ),
        ("data", data(&format!("\"{}\"", "x".repeat(1_000_001)))),
        (
            "base64",
            format!(
                r#"{{"feed":"public.a","encoding":"base64","data":"{}"}}"#,
                "A".repeat(2_000_000)
            ),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_larger_than_it_may_be_is_refused_and_costs_little() {
    let (program, address, mut healthy) = start(&[]).await;
    healthy.round().await;
    let before = program.resident();
    let attack = async {
        let mut wrong = Vec::new();
        for (what, request, expected) in requests() {
            let (status, answer) = answer(address, &request).await;
            if !expected.contains(&status) {
                wrong.push((what, answer.chars().take(300).collect::<String>()));
            }
        }
        for (what, line) in lines() {
            let body = format!("{line}\n{{\"feed\":\"public.b\",\"data\":\"next\"}}\n");
            let form = "Content-Type: application/x-ndjson\r\n";
            let (status, answer) = answer(address, &with("POST", "/feeds", form, &body)).await;
            let refused = answer.matches("\"status\":4").count() == 1;
            let next = answer.matches("\"feed\":\"public.b\"").count() == 1;
            if status != 200 || !refused || !next {
                wrong.push((what, answer.chars().take(900).collect::<String>()));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    };
    healthy.beside(attack).await;
    let grown = program.resident().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KiB");
}
