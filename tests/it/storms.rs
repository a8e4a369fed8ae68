//! Ten thousand clients that come back at once.

use crate::nats_server::{NatsServer, Version};
use crate::program::Program;
use crate::replica::{Receipt, within};
use reqwest::Client;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore};
use tokio::task::JoinSet;

const CLIENTS: usize = 10_000;
/// How many connects may be under way at once: the listener's backlog.
const AT_ONCE: usize = 4_096;

/// Two storms at once would need more open files than a machine may allow.
static ALONE: Mutex<()> = Mutex::const_new(());

on_both!(
    ten_thousand_who_come_back_after_a_restart_are_served_from_the_window,
    who_come_back_from_behind_the_window_share_what_is_read_of_the_log,
    those_who_are_too_many_are_told_to_come_back,
);

/// The program on a stream, once it is ready.
async fn start(nats: &NatsServer, arguments: &[&str]) -> (Program, SocketAddr) {
    let url = nats.url();
    let all = ["--listen", "127.0.0.1:0", "--nats", &url];
    let mut program = Program::start(&[&all, arguments].concat());
    let address = program.address().await;
    while !program.complaint().await.contains("following the log") {}
    (program, address)
}

/// Publishes so many events; returns their ids.
async fn publish(address: SocketAddr, count: usize) -> Vec<String> {
    let lines = (0..count).map(|number| format!("{{\"feed\":\"a\",\"data\":\"{number}\"}}\n"));
    let request = Client::new()
        .post(format!("http://{address}/feeds"))
        .header("Content-Type", "application/x-ndjson")
        .body(lines.collect::<String>());
    let answer = request.send().await.expect("an answer").text().await;
    let id = |line: &str| serde_json::from_str::<Receipt>(line).expect("a receipt").id;
    answer.expect("a body").lines().map(id).collect()
}

/// What all clients have read when each has come to where `until` is satisfied.
async fn storm(
    clients: usize,
    address: SocketAddr,
    id: &str,
    until: impl Fn(&str) -> bool + Send + Sync + 'static,
) -> Vec<String> {
    let (until, connecting) = (Arc::new(until), Arc::new(Semaphore::new(AT_ONCE)));
    let mut storm = JoinSet::new();
    for _ in 0..clients {
        let request = format!(
            "GET /feeds/* HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nLast-Event-ID: {id}\r\n\r\n"
        );
        let (until, connecting) = (until.clone(), connecting.clone());
        storm.spawn(async move {
            let permit = connecting.acquire().await;
            let mut socket = TcpStream::connect(address).await.expect("a connection");
            socket
                .write_all(request.as_bytes())
                .await
                .expect("a server");
            let (mut text, mut permit) = (String::new(), Some(permit));
            while !until(&text) {
                let mut buffer = [0; 4096];
                let count = socket.read(&mut buffer).await.expect("bytes");
                assert!(count > 0, "the stream ended after {text}");
                text.push_str(std::str::from_utf8(&buffer[..count]).expect("ASCII"));
                drop(permit.take());
            }
            (text, socket) // open until all have come
        });
    }
    let all = within("all clients to be served", storm.join_all()).await;
    all.into_iter().map(|(text, _)| text).collect()
}

fn events(text: &str) -> Vec<String> {
    let lines = text.lines().filter_map(|line| line.strip_prefix("data: "));
    lines
        .filter(|data| !data.starts_with('{'))
        .map(str::to_owned)
        .collect()
}

async fn metric(address: SocketAddr, name: &str) -> u64 {
    let url = format!("http://{address}/metrics");
    let text = reqwest::get(url)
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(&format!("{name} ")));
    value
        .unwrap_or_else(|| panic!("no {name}"))
        .parse()
        .expect("a number")
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Whether all events up to this number have come whole.
fn up_to(last: usize) -> impl Fn(&str) -> bool {
    let end = format!("data: {last}\n\n");
    move |text| text.contains(&end)
}

async fn ten_thousand_who_come_back_after_a_restart_are_served_from_the_window(version: Version) {
    let _alone = ALONE.lock().await;
    let files = rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    assert!(
        files as usize > CLIENTS + 1000,
        "only {files} files may be open (ulimit -Hn)"
    );
    let nats = NatsServer::start(version);
    let (before, address) = start(&nats, &[]).await;
    let ids = publish(address, 50).await;
    before.signal("KILL").await;
    let (_after, address) = start(&nats, &[]).await;
    for text in storm(CLIENTS, address, &ids[29], up_to(49)).await {
        assert_eq!(events(&text), numbers(30..50));
    }
    assert_eq!(metric(address, "tidings_cold_reads_total").await, 0);
    assert_eq!(metric(address, "tidings_gaps_total").await, 0);
}

async fn who_come_back_from_behind_the_window_share_what_is_read_of_the_log(version: Version) {
    let nats = NatsServer::start(version);
    let (_program, address) = start(&nats, &["--window-events", "10"]).await;
    let ids = publish(address, 50).await;
    for text in storm(1000, address, &ids[9], up_to(49)).await {
        assert_eq!(events(&text), numbers(10..50));
    }
    // One would do; what is read while others come may end before what they need.
    let reads = metric(address, "tidings_cold_reads_total").await;
    assert!((1..=3).contains(&reads), "{reads} reads for 1,000 clients");
}

async fn those_who_are_too_many_are_told_to_come_back(version: Version) {
    let nats = NatsServer::start(version);
    let (_program, address) = start(&nats, &["--max-streams", "100"]).await;
    let ids = publish(address, 5).await;
    let is_refused = |text: &str| text.contains("tidings-refused: overload\r\n");
    let served = up_to(4);
    let texts = storm(1000, address, &ids[0], move |text| {
        served(text) || is_refused(text) && text.ends_with("{\"reason\":\"overload\"}\n\n")
    })
    .await;
    let (refused, served): (Vec<_>, Vec<_>) = texts.iter().partition(|text| is_refused(text));
    assert_eq!((refused.len(), served.len()), (900, 100));
    for text in refused {
        assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
        assert!(
            text.contains("retry: ") && text.contains(&format!("id: {}\n", ids[0])),
            "{text}"
        );
        let closing = format!(
            "event: hub:closing\nid: {}\ndata: {{\"reason\":\"overload\"}}\n\n",
            ids[0]
        );
        assert!(text.ends_with(&closing), "{text}");
        assert!(events(text).is_empty());
    }
    for text in served {
        assert_eq!(events(text), numbers(1..5));
    }
}
