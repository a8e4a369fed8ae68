//! Clients that take their time: with a head, with a body, and ten thousand at once.

use super::{all_gone, start};
use crate::connections::metrics;
use crate::raw::Raw;
use crate::replica::within;
use std::io::ErrorKind;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

/// What a browser says before it says anything else.
const HALF: &str = "GET /feeds/public.health HTTP/1.1\r\nHost: localhost\r\nUser-Agent: ";

/// Two of them at once would need more open files than a machine may allow.
static ALONE: Mutex<()> = Mutex::const_new(());

/// A request that is sent a byte at a time and never ends.
struct Drip {
    socket: TcpStream,
    /// What is sent first, at once.
    endless: &'static [u8],
    sent: usize,
    answer: Vec<u8>,
    ended: bool,
}

impl Drip {
    async fn begin(address: SocketAddr, begun: &str, endless: &'static [u8]) -> Self {
        let mut socket = TcpStream::connect(address).await.expect("a connection");
        let begun = socket.write_all(begun.as_bytes()).await;
        begun.expect("a server");
        Self {
            socket,
            endless,
            sent: 0,
            answer: Vec::new(),
            ended: false,
        }
    }

    /// Sends one byte more, and takes what has come.
    fn go_on(&mut self) {
        let byte = self.endless[self.sent % self.endless.len()];
        // Where that can't be done there may be an answer yet.
        if self.socket.try_write(&[byte]).is_ok() {
            self.sent += 1;
        }
        match self.socket.try_read_buf(&mut self.answer) {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => self.ended = true,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_a_head_or_a_body_a_byte_at_a_time_is_cut_off_when_his_time_is_over() {
    let times = ["--head-timeout", "1", "--body-timeout", "1"];
    let (_program, address, mut healthy) = start(&times).await;
    let post = "POST /feeds/public.a HTTP/1.1\r\nHost: localhost\r\n";
    let batch = "POST /feeds HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n";
    let mut drips = Vec::new();
    for _ in 0..20 {
        for (begun, endless, status) in [
            (
                String::new(),
                &b"GET /feeds/aaaaaaaaaaaaaaaaaaaaaaaa"[..],
                None,
            ),
            (HALF.to_owned(), b"a", None),
            (HALF.to_owned(), b"a\r\nX: ", None),
            (
                format!("{post}Content-Length: 100000\r\n\r\n"),
                b"a",
                Some("408"),
            ),
            (
                format!("{batch}Content-Length: 100000\r\n\r\n"),
                b"\n",
                Some("408"),
            ),
            (
                format!("{post}Transfer-Encoding: chunked\r\n\r\n"),
                b"1\r\na\r\n",
                Some("408"),
            ),
            (
                format!("{post}Transfer-Encoding: chunked\r\n\r\n"),
                b"0",
                Some("408"),
            ),
        ] {
            drips.push((Drip::begin(address, &begun, endless).await, status));
        }
    }
    // Each of his rounds is their beat.
    within("all to be cut off", async {
        while drips.iter().any(|(drip, _)| !drip.ended) {
            healthy.round().await;
            for (drip, _) in drips.iter_mut().filter(|(drip, _)| !drip.ended) {
                drip.go_on();
            }
        }
    })
    .await;
    for (drip, status) in drips {
        assert!(drip.sent > 0);
        let answer = String::from_utf8_lossy(&drip.answer);
        assert_eq!(answer.split(' ').nth(1), status, "{answer}");
        assert_eq!(
            status.is_some(),
            answer.contains("connection: close"),
            "{answer}"
        );
    }
    all_gone(address).await;
}

/// Many that have begun a request and say no more.
async fn half_open(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    let mut all = Vec::new();
    for _ in 0..count {
        let connected = within("a connection", TcpStream::connect(address)).await;
        let mut socket = connected.expect("a connection");
        socket.write_all(HALF.as_bytes()).await.expect("a server");
        all.push(socket);
    }
    all
}

/// Waits until the server has ended each.
async fn ended(all: Vec<TcpStream>) {
    for mut socket in all {
        let mut rest = Vec::new();
        // It may be a reset too.
        let _ = within("the end", socket.read_to_end(&mut rest)).await;
        assert_eq!(rest, b"", "{}", String::from_utf8_lossy(&rest));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_who_never_end_their_heads_are_ended_and_others_are_served_meanwhile() {
    let _alone = ALONE.lock().await;
    rlimit::increase_nofile_limit(u64::MAX).expect("a limit");
    let (_program, address, mut healthy) = start(&["--head-timeout", "3"]).await;
    healthy
        .beside(async {
            ended(half_open(address, 10_000).await).await;
            all_gone(address).await;
        })
        .await;
    let samples = metrics(address).await;
    assert!(samples["tidings_http_connections_accepted_total"] > 10_000);
    assert_eq!(samples["tidings_http_accept_errors_total"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_they_take_all_places_who_has_one_is_served_and_who_waits_gets_one() {
    let limits = ["--head-timeout", "2", "--max-connections", "50"];
    let (_program, address, mut healthy) = start(&limits).await;
    healthy
        .beside(async {
            let all = half_open(address, 150).await;
            let livez = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
            let mut waiting = Raw::send(address, livez).await;
            assert_eq!(waiting.head().await.status, "HTTP/1.1 200 OK");
            ended(all).await;
        })
        .await;
    all_gone(address).await;
    assert!(metrics(address).await["tidings_http_connections_full_total"] > 0);
}
