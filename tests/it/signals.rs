//! The program's beginning and end, as a shell or an init system sees them.

use crate::nats_server::{NatsServer, Version};
use crate::program::Program;
use crate::raw::Raw;
use crate::replica::within;
use std::net::{SocketAddr, TcpListener};
use tidings::event::Position;

/// A server on a free port, once it is ready, and where it listens.
async fn serve(arguments: &[&str]) -> (Program, SocketAddr) {
    let mut server = Program::start(&[&["--listen", "127.0.0.1:0"], arguments].concat());
    let address = server.address().await;
    let ready = format!("http://{address}/readyz");
    let is_ready = async || reqwest::get(&ready).await.expect("an answer").status() == 200;
    within("the server to be ready", async {
        while !is_ready().await {}
    })
    .await;
    (server, address)
}

#[tokio::test]
async fn the_first_lines_say_what_is_promised_and_what_to_try() {
    let mut server = Program::start(&["--listen", "127.0.0.1:0"]);
    let mut lines = Vec::new();
    for _ in 0..5 {
        lines.push(server.line().await);
    }
    assert_eq!(lines[0], format!("tidings {}", tidings::version::BUILD));
    assert!(
        lines[1].starts_with("log:       in memory (accepted means: "),
        "{lines:?}"
    );
    let url = lines[2].strip_prefix("listening: ").expect("an address");
    let url = url
        .strip_suffix(", for this machine alone")
        .expect("for whom");
    assert_eq!(
        lines[3],
        format!("try:       curl -N '{url}/feeds/orders.*'")
    );
    assert_eq!(
        lines[4],
        format!("           curl -d '{{\"n\":1}}' '{url}/feeds/orders.eu'")
    );
    let answer = reqwest::get(format!("{url}/livez"))
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
}

/// The first lines, up to one that has this in it.
async fn lines_until(server: &mut Program, last: &str) -> Vec<String> {
    let mut lines = vec![server.line().await];
    while !lines.iter().any(|line| line.contains(last)) {
        lines.push(server.line().await);
    }
    lines
}

#[tokio::test]
async fn what_it_says_to_try_is_what_everyone_may_do() {
    let mut server = Program::start(&[
        "--listen=0.0.0.0:0",
        "--anonymous-subscribe=public.>",
        "--anonymous-publish=in.*",
    ]);
    let lines = lines_until(&mut server, "curl -d").await;
    let (_, port) = lines[2].split_once("0.0.0.0:").expect("an address");
    let (port, _) = port.split_once(',').expect("for whom");
    let url = format!("http://127.0.0.1:{port}/feeds");
    assert_eq!(lines[3], format!("try:       curl -N '{url}/public.%3E'"));
    let publish = format!("           curl -d '{{\"n\":1}}' '{url}/in.eu'");
    assert_eq!(lines[4], publish);
}

#[tokio::test]
async fn without_nats_it_says_at_once_where_it_looks_for_it_and_logs_no_password() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nobody.local_addr().unwrap();
    drop(nobody);
    let nats = format!("nats://alice:s3cret@{address}");
    let mut server = Program::start(&["--listen=localhost:0", "--nats-timeout=1", "--nats", &nats]);
    let lines = lines_until(&mut server, "listening").await;
    assert_eq!(
        lines[2],
        format!("           connecting to nats://{address}")
    );
    let complaint = server.complaint().await;
    let once = format!("at nats://{address}: ");
    assert_eq!(complaint.matches(&*once).count(), 1, "{complaint}");
    assert_eq!(complaint.matches("nats://").count(), 1, "{complaint}");
    server.signal("TERM").await;
    let ended = server.end().await;
    assert!(!ended.err.contains("async_nats"), "{ended:?}");
    assert!(!ended.err.contains("s3cret"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_nats_would_not_take_are_told_at_the_start_and_are_413() {
    let nats = NatsServer::start(Version::V2_9);
    let (mut server, address) = serve(&["--nats", &nats.url(), "--max-event-bytes=2000000"]).await;
    let mut complaint = server.complaint().await;
    while !complaint.contains("WARN") {
        complaint = server.complaint().await;
    }
    let expected = ["--max-event-bytes", "(max_payload)", "1048576"];
    let says = |word: &&str| complaint.contains(*word);
    assert!(expected.iter().all(says), "{complaint}");
    let request = reqwest::Client::new()
        .post(format!("http://{address}/feeds/a"))
        .body(vec![b'x'; 1_500_000]);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), 413);
    let detail = answer.text().await.expect("a body");
    assert!(detail.contains("max_payload"), "{detail}");
}

#[tokio::test]
async fn sigterm_and_sigint_end_the_streams_in_good_order_and_the_program_with_0() {
    for signal in ["TERM", "INT"] {
        let (server, address) = serve(&["--drain", "2"]).await;
        let request = "GET /feeds/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut raw = Raw::send(address, request).await;
        assert_eq!(raw.head().await.status, "HTTP/1.1 200 OK");
        raw.body_until("\n\n").await;
        server.signal(signal).await;
        let closing = raw.body_until("\n\n").await;
        let (_, closing) = closing.split_once('\n').expect("a retry line");
        assert_eq!(
            closing,
            "event: hub:closing\nid: 0-0\ndata: {\"reason\":\"drain\"}\n\n"
        );
        assert_eq!(raw.chunk().await, None);
        assert_eq!(raw.rest().await, b"");
        let ended = server.end().await;
        assert_eq!(ended.code(), Some(0), "{ended:?}");
    }
}

/// A publisher that has sent half of its event: what keeps a server from ending.
async fn half_a_publish(address: SocketAddr) -> Raw {
    let request = "POST /feeds/a HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n";
    let mut raw = Raw::send(address, request).await;
    assert_eq!(raw.head().await.status, "HTTP/1.1 100 Continue");
    raw.write("12").await;
    raw
}

async fn draining(server: &mut Program) {
    while !server.complaint().await.contains("draining") {}
}

#[tokio::test]
async fn a_publish_under_way_is_finished_before_the_end() {
    let (mut server, address) = serve(&[]).await;
    let mut raw = half_a_publish(address).await;
    server.signal("TERM").await;
    draining(&mut server).await;
    raw.write("34").await;
    assert_eq!(raw.head().await.status, "HTTP/1.1 201 Created");
    let body = String::from_utf8(raw.rest().await).unwrap();
    let receipt: serde_json::Value = serde_json::from_str(&body).unwrap();
    let id: Position = receipt["id"].as_str().unwrap().parse().unwrap();
    assert_eq!(id.sequence(), 1);
    let ended = server.end().await;
    assert_eq!(ended.code(), Some(0));
    assert!(ended.err.ends_with("stopped\n"), "{ended:?}");
}

#[tokio::test]
async fn what_does_not_end_is_cut_off_when_the_drain_time_is_over() {
    let (mut server, address) = serve(&["--drain", "0"]).await;
    let mut raw = half_a_publish(address).await;
    server.signal("TERM").await;
    draining(&mut server).await;
    raw.rest().await;
    let ended = server.end().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert!(ended.err.contains("the drain time is over"), "{ended:?}");
    assert!(ended.err.contains("connections=1"), "{ended:?}");
}

#[tokio::test]
async fn sigint_ends_all_streams_at_once() {
    let (mut server, address) = serve(&["--drain", "3600"]).await;
    let mut raws = Vec::new();
    for _ in 0..20 {
        let request = "GET /feeds/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut raw = Raw::send(address, request).await;
        raw.head().await;
        raws.push(raw);
    }
    server.signal("INT").await;
    while !server
        .complaint()
        .await
        .contains("a second signal ends it at once")
    {}
    let told = server.complaint().await;
    assert!(told.contains("streams are closed over 0 s"), "{told}");
    assert!(told.contains("streams=20"), "{told}");
    for mut raw in raws {
        let rest = String::from_utf8(raw.rest().await).unwrap();
        assert!(rest.contains("event: hub:closing\n"), "{rest}");
    }
    assert_eq!(server.end().await.code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let (mut server, address) = serve(&["--drain", "3600"]).await;
    let _raw = half_a_publish(address).await;
    let request = "GET /feeds/a HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut stream = Raw::send(address, request).await;
    stream.head().await;
    stream.body_until("\n\n").await;
    server.signal("TERM").await;
    draining(&mut server).await;
    let publish = reqwest::Client::new().post(format!("http://{address}/feeds/a"));
    let answer = publish.body("x").send().await.expect("an answer");
    assert_eq!(answer.status(), 201);
    assert!(stream.body_until("\n\n").await.ends_with("data: x\n\n"));
    server.signal("INT").await;
    let ended = server.end().await;
    assert_eq!(ended.code(), Some(1));
    assert!(
        ended
            .err
            .ends_with("tidings: ended at once, on a second signal\n"),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_port_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ended = Program::run(&["--listen", &address], b"").await;
    assert_eq!((ended.code(), ended.out.as_str()), (Some(1), ""));
    let expected = format!("tidings: can't listen on {address}: Address already in use");
    assert!(ended.err.starts_with(&expected), "{}", ended.err);
    assert!(ended.err.contains("--listen"), "{}", ended.err);
}

#[tokio::test]
async fn an_address_that_others_reach_is_refused_before_anything_listens() {
    let ended = Program::run(&["--listen", "0.0.0.0:0"], b"").await;
    assert_eq!((ended.code(), ended.out.as_str()), (Some(2), ""));
    assert!(
        ended
            .err
            .starts_with("tidings: refusing to listen on 0.0.0.0:0"),
        "{}",
        ended.err
    );
}
