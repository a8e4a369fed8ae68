//! What one address may have open, as far as it is known who comes from where.

use super::{metric, open, served};
use crate::call::{get, post};
use crate::network::{Cable, is_own};
use crate::raw::Raw;
use crate::replica::{Replica, within};
use crate::websocket::Client as Socket;
use reqwest::Client;
use reqwest::header::HeaderValue;
use std::process::Stdio;

const LINES: &str = "application/x-ndjson";
const BOTH: [&str; 2] = [
    "--trusted-proxies=127.0.0.0/8",
    "--max-connections-per-address=2",
];

fn from(address: &str) -> [(&'static str, &str); 1] {
    [("X-Forwarded-For", address)]
}

#[tokio::test]
async fn one_address_has_so_many_streams_and_others_have_theirs() {
    let replica = Replica::start(&BOTH).await;
    let ann = from("198.51.100.7");
    let first = open(&replica, "/feeds/a", "text/event-stream", &ann).await;
    let _second = open(&replica, "/feeds/b", LINES, &ann).await;
    // An EventSource would not come back after any other status.
    let third = open(&replica, "/feeds/a", "text/event-stream", &ann).await;
    assert_eq!(third.status(), 200);
    assert_eq!(third.headers()["tidings-refused"], "limit");
    let text = within("its end", third.text()).await.expect("a body");
    assert!(
        text.contains("event: hub:closing\ndata: {\"reason\":\"limit\"}"),
        "{text}"
    );
    for accept in [LINES, "application/json"] {
        let refused = get(&replica, "/feeds/a?", &[("Accept", accept), ann[0]]).await;
        let detail = refused.problem(429);
        assert!(
            detail.contains("198.51.100.7") && detail.contains("--max-connections-per-address"),
            "{detail}"
        );
        assert_eq!(refused.header("retry-after"), Some("10"));
        assert_eq!(refused.json()["retry_after"], 10);
    }
    assert_eq!(Socket::open(&replica, &ann).await.err(), Some(429));
    let other = open(&replica, "/feeds/a", LINES, &from("198.51.100.8")).await;
    assert_eq!(other.status(), 200);
    assert_eq!(
        metric(&replica, "tidings_address_streams_refused_total").await,
        4
    );
    let told = get(&replica, "/explain?feed=a", &ann).await.json();
    assert_eq!(told["limits"]["address"]["open"], 2, "{told}");
    assert_eq!(told["limits"]["address"]["max"], 2, "{told}");
    drop(first);
    served(&replica, "/feeds/a", &ann).await;
}

#[tokio::test]
async fn no_byte_of_a_client_s_own_frees_it_from_what_is_counted() {
    for (header, value, detail) in [
        (
            "x-forwarded-for",
            &b"\xff, 198.51.100.7"[..],
            "198.51.100.7",
        ),
        ("forwarded", b"for=\"x, for=198.51.100.7", "198.51.100.7"),
        // What the proxy itself has said so that it can't be read is the proxy's.
        ("x-forwarded-for", b"198.51.100.7, unknown", "127.0.0.1"),
        ("forwarded", b"for=198.51.100.7, for=_hidden", "127.0.0.1"),
    ] {
        let named = format!("--forwarded-header={header}");
        let replica = Replica::start(&[&BOTH[..], &[&named]].concat()).await;
        let ask = async || {
            let value = HeaderValue::from_bytes(value).expect("a header");
            let request = Client::new().get(replica.url("/feeds/a"));
            let request = request.header("Accept", LINES).header(header, value);
            within("the head", request.send()).await.expect("an answer")
        };
        let _open = (ask().await, ask().await);
        let refused = ask().await;
        assert_eq!(refused.status(), 429, "{header}");
        let text = refused.text().await.expect("a body");
        assert!(text.contains(detail), "{text}");
    }
}

#[tokio::test]
async fn a_websocket_and_a_waiting_poll_count_too_and_give_back_what_they_had() {
    let replica = Replica::start(&BOTH).await;
    let ann = from("198.51.100.7");
    let socket = Socket::open(&replica, &ann).await.expect("a WebSocket");
    let _other = open(&replica, "/feeds/a", LINES, &ann).await;
    let refused = get(
        &replica,
        "/feeds/a?wait=50",
        &[("Accept", "application/json"), ann[0]],
    )
    .await;
    refused.problem(429);
    drop(socket);
    drop(served(&replica, "/feeds/a", &ann).await);
    served(&replica, "/feeds/a", &ann).await;
}

#[tokio::test]
async fn whoever_is_no_trusted_proxy_is_not_believed() {
    let replica = Replica::start(&["--max-connections-per-address=1"]).await;
    // This machine is not counted, and what it says of others is not heard.
    let mut all = Vec::new();
    for _ in 0..3 {
        let response = open(&replica, "/feeds/a", LINES, &from("198.51.100.7")).await;
        assert_eq!(response.status(), 200);
        all.push(response);
    }
}

#[tokio::test]
async fn a_client_can_not_write_itself_another_address() {
    let replica = Replica::start(&[BOTH[0], "--max-connections-per-address=1"]).await;
    let _first = open(&replica, "/feeds/a", LINES, &from("6.6.6.6, 198.51.100.7")).await;
    let forged = [
        ("X-Forwarded-For", "7.7.7.7"),
        ("X-Forwarded-For", "198.51.100.7"),
        ("Forwarded", "for=8.8.8.8"),
    ];
    get(
        &replica,
        "/feeds/a",
        &[&[("Accept", LINES)], &forged[..]].concat(),
    )
    .await
    .problem(429);
}

#[tokio::test]
async fn the_standard_s_header_is_heard_where_it_is_named() {
    let more = [
        BOTH[0],
        "--max-connections-per-address=1",
        "--forwarded-header=forwarded",
    ];
    let replica = Replica::start(&more).await;
    let ann = [("Forwarded", "for=\"[2001:db8::1]:4711\";proto=https")];
    let _first = open(&replica, "/feeds/a", LINES, &ann).await;
    // Of the same network.
    let near = [("Accept", LINES), ("Forwarded", "For=\"[2001:db8::2]\"")];
    let detail = get(&replica, "/feeds/a", &near).await.problem(429);
    assert!(detail.contains("2001:db8::/64"), "{detail}");
    let far = [
        ("Forwarded", "for=\"[2001:db8:1::1]\""),
        ("X-Forwarded-For", "2001:db8::1"),
    ];
    assert_eq!(open(&replica, "/feeds/a", LINES, &far).await.status(), 200);
}

/// A connection takes a place before anything is sent on it, so that one address can't take them all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_so_many_connections() {
    if !is_own("limits::addresses::one_address_has_so_many_connections").await {
        return;
    }
    let cable = Cable::lay();
    let listen = format!("{}:0", Cable::NEAR);
    let more = [
        "--listen",
        &listen,
        "--anonymous-subscribe=>",
        "--max-connections-per-address=2",
    ];
    let replica = Replica::start(&more).await;
    // From here it is another address, and so is each end of the cable.
    let far = |path: &str| {
        let mut command = cable.far_command();
        let url = format!("http://{}{path}", replica.address);
        command.extend(["curl", "-sN", "-i", "-m", "30", url.as_str()].map(Into::into));
        tokio::process::Command::new(&command[0])
            .args(&command[1..])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("curl")
    };
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut curl = far("/feeds/a");
        let mut out = curl.stdout.take().expect("piped");
        let mut first = [0; 15];
        within(
            "an answer",
            tokio::io::AsyncReadExt::read_exact(&mut out, &mut first),
        )
        .await
        .expect("a head");
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        open.push((curl, out));
    }
    let refused = within("an end", far("/livez").wait_with_output())
        .await
        .expect("curl");
    let text = String::from_utf8(refused.stdout).expect("text");
    assert!(
        text.starts_with("HTTP/1.1 429 ") && text.contains("--max-connections-per-address"),
        "{text}"
    );
    // Others have theirs.
    assert_eq!(get(&replica, "/livez", &[]).await.status, 200);
    assert_eq!(
        metric(&replica, "tidings_address_connections_refused_total").await,
        1
    );
}

#[tokio::test]
async fn bodies_of_one_address_leave_room_for_those_of_others() {
    let replica = Replica::start(&[
        "--trusted-proxies=127.0.0.0/8",
        "--publish-bytes=4000000",
        "--max-batch-bytes=1000000",
    ])
    .await;
    let head = "POST /feeds/a HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 198.51.100.7\r\nContent-Length: 995000\r\n\r\n";
    let mut unfinished = Raw::send(replica.address, head).await;
    unfinished.write(&"x".repeat(990_000)).await;
    within("it to be held", async {
        while metric(&replica, "tidings_publish_bytes ").await < 990_000 {}
    })
    .await;
    let body = "x".repeat(12_000);
    let refused = post(&replica, "/feeds/a", &from("198.51.100.7"), body.clone()).await;
    let detail = refused.problem(429);
    assert!(detail.contains("one client may, 1000000 bytes"), "{detail}");
    assert_eq!(refused.header("retry-after"), Some("2"));
    let others = from("198.51.100.8");
    assert_eq!(
        post(&replica, "/feeds/a", &others, body.clone())
            .await
            .status,
        201
    );
    // With the first one done there is room again.
    unfinished.write(&"x".repeat(5000)).await;
    assert_eq!(unfinished.head().await.status, "HTTP/1.1 201 Created");
    let own = from("198.51.100.7");
    assert_eq!(post(&replica, "/feeds/a", &own, body).await.status, 201);
}
