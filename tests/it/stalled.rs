//! Clients that take nothing of what they are sent: closed after the stall timeout, and not before.

use crate::call::get;
use crate::certificates::Duplex;
use crate::replica::{Replica, within};
use crate::sse::Stream;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// By which version of HTTP a client asks, and whether shards serve it where they can.
#[derive(Clone, Copy)]
struct Way {
    version: &'static str,
    shards: &'static str,
    tls: bool,
}

/// Runs each claim on sockets that shards serve, and on those that the HTTP library does, in the clear and within TLS.
macro_rules! all_ways {
    ($($claim:ident),* $(,)?) => {
        all_ways!(handed_off, "1.1", "2", false, $($claim),*);
        all_ways!(by_hyper, "1.1", "0", false, $($claim),*);
        all_ways!(http_1_0, "1.0", "2", false, $($claim),*);
        all_ways!(within_tls, "1.1", "2", true, $($claim),*);
    };
    ($name:ident, $version:literal, $shards:literal, $tls:literal, $($claim:ident),*) => {
        mod $name {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $claim() {
                let way = super::Way { version: $version, shards: $shards, tls: $tls };
                super::$claim(way).await;
            })*
        }
    };
}

all_ways!(
    those_who_stall_are_closed_and_counted_and_go_on_where_they_were,
    one_that_takes_byte_after_byte_is_not_closed,
    one_that_stalls_and_closes_its_half_has_gone,
    one_that_stalls_at_the_end_does_not_hold_it_up,
);

/// What a segment on the way to a client holds, as over Ethernet. Over loopback it would be forty times as much, and
/// the buffers of a socket that much larger.
const SEGMENT: u32 = 1460;

pub(crate) async fn connect(replica: &Replica) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    SockRef::from(&socket).set_tcp_mss(SEGMENT).unwrap();
    let connected = within("a connection", socket.connect(replica.address)).await;
    connected.unwrap()
}

impl Way {
    async fn replica(self, arguments: &[&str]) -> Replica {
        let arguments = [&["--shards", self.shards], arguments].concat();
        match self.tls {
            true => Replica::with_tls(&arguments).await,
            false => Replica::start(&arguments).await,
        }
    }

    /// A connection with small buffers on which the feed `a` was asked for, and of which nothing was read.
    async fn ask(self, replica: &Replica) -> Box<dyn Duplex> {
        let mut client = replica.over(connect(replica).await).await;
        let version = self.version;
        let request = format!("GET /feeds/a HTTP/{version}\r\nHost: localhost\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        client
    }
}

/// Reads byte after byte until there is `end`, and so many bytes at least.
async fn read_bytes(client: &mut dyn Duplex, text: &mut Vec<u8>, count: usize, end: &str) {
    let enough = text.len() + count;
    while text.len() < enough || !text.ends_with(end.as_bytes()) {
        text.push(within("a byte", client.read_u8()).await.unwrap());
    }
}

/// An event that is more than a socket's buffers take together with a few others.
fn large(n: usize) -> String {
    format!("{n} {}", "x".repeat(100_000))
}

/// The ids and numbers of the large events that came whole in a stream's bytes.
fn whole_events(text: &[u8]) -> Vec<(String, usize)> {
    let text = String::from_utf8_lossy(text);
    let mut blocks: Vec<&str> = text.split("\n\n").collect();
    blocks.pop(); // what was cut off
    let event = |block: &&str| {
        let (_, event) = block.rsplit_once("id: ")?;
        let (id, data) = event.split_once("\ndata: ")?;
        let number = data.split_once(" x")?.0.parse().ok()?;
        Some((id.to_owned(), number))
    };
    blocks.iter().filter_map(event).collect()
}

pub(crate) async fn readers(replica: &Replica, count: usize) {
    within("the number of readers", async {
        while replica.hub().usage().readers != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn stalled(replica: &Replica) -> usize {
    let metrics = get(replica, "/metrics", &[]).await.text;
    let value = |line: &str| line.strip_prefix("tidings_stalled_total ")?.parse().ok();
    metrics.lines().find_map(value).expect("the metric")
}

/// Waits until so many were counted.
pub(crate) async fn counted(replica: &Replica, count: usize) {
    within("those who stall to be counted", async {
        while stalled(replica).await != count {}
    })
    .await;
}

/// Checks that a client which got these bytes comes back, and has all up to event `last` then, each once.
async fn goes_on(replica: &Replica, text: &[u8], last: usize) {
    let got = whole_events(text);
    let numbers: Vec<usize> = got.iter().map(|(_, number)| *number).collect();
    assert_eq!(numbers, (0..got.len()).collect::<Vec<_>>());
    let id = got.last().map_or("0-0", |(id, _)| id.as_str());
    let (mut back, _) = Stream::resume(replica, "/feeds/a", id).await;
    for n in got.len()..=last {
        assert_eq!(back.data(1).await, [large(n)]);
    }
}

async fn those_who_stall_are_closed_and_counted_and_go_on_where_they_were(way: Way) {
    let replica = way.replica(&["--stall-timeout", "1"]).await;
    let mut clients: Vec<(Box<dyn Duplex>, Vec<u8>)> = Vec::new();
    for _ in 0..3 {
        clients.push((way.ask(&replica).await, Vec::new()));
    }
    readers(&replica, 3).await;
    let (mut healthy, _) = Stream::open(&replica, "/feeds/a").await;
    // The first never reads; one stalls after the head, and one within an event.
    for (client, text) in &mut clients[1..] {
        read_bytes(client, text, 1, "data: {}\n\n").await;
    }
    let last = 29;
    for n in 0..=last {
        replica.publish("a", large(n)).await;
        assert_eq!(healthy.data(1).await, [large(n)]);
        if n == 0 {
            let (client, text) = &mut clients[2];
            read_bytes(client, text, 5000, "x").await;
        }
    }
    counted(&replica, 3).await;
    readers(&replica, 1).await;
    for (mut client, mut text) in clients {
        // It ends in whatever way, without what was left.
        let _ = within("the end", client.read_to_end(&mut text)).await;
        assert!(whole_events(&text).len() < last);
        goes_on(&replica, &text, last).await;
    }
    replica.publish("a", "live").await;
    assert_eq!(healthy.data(1).await, ["live"]);
}

/// How long it was so is told by others, who stall: each for the whole timeout.
async fn one_that_takes_byte_after_byte_is_not_closed(way: Way) {
    // Long enough that a busy machine lets it take something in between.
    let replica = way.replica(&["--stall-timeout", "3"]).await;
    let mut slow = way.ask(&replica).await;
    readers(&replica, 1).await;
    let (mut healthy, _) = Stream::open(&replica, "/feeds/a").await;
    let mut text = Vec::new();
    let mut last = 0;
    let stalls = way.ask(&replica).await;
    readers(&replica, 3).await;
    while stalled(&replica).await < 1 {
        replica.publish("a", large(last)).await;
        assert_eq!(healthy.data(1).await, [large(last)]);
        last += 1;
        read_bytes(&mut slow, &mut text, 4000, "").await;
    }
    readers(&replica, 2).await;
    drop(stalls);
    // It had to be far behind for this to say anything.
    assert!(text.len() < last * 50_000);
    let end = replica.publish("a", "the end").await;
    let mut buffer = vec![0; 65_536];
    let end = format!("id: {end}\ndata: the end\n\n");
    while !String::from_utf8_lossy(&text[text.len().saturating_sub(200)..]).contains(&end) {
        let count = within("the rest", slow.read(&mut buffer)).await.unwrap();
        assert_ne!(count, 0);
        text.extend_from_slice(&buffer[..count]);
    }
    let numbers = whole_events(&text).into_iter().map(|(_, number)| number);
    assert_eq!(numbers.collect::<Vec<_>>(), (0..last).collect::<Vec<_>>());
}

async fn one_that_stalls_and_closes_its_half_has_gone(way: Way) {
    let replica = way.replica(&["--stall-timeout", "3600"]).await;
    let mut client = way.ask(&replica).await;
    readers(&replica, 1).await;
    for n in 0..10 {
        replica.publish("a", large(n)).await;
    }
    client.shutdown().await.unwrap();
    readers(&replica, 0).await;
    assert_eq!(stalled(&replica).await, 0);
    let mut text = Vec::new();
    let _ = within("the end", client.read_to_end(&mut text)).await;
    goes_on(&replica, &text, 9).await;
}

async fn one_that_stalls_at_the_end_does_not_hold_it_up(way: Way) {
    let arguments = ["--stall-timeout", "1", "--drain", "3600"];
    let replica = way.replica(&arguments).await;
    let _client = way.ask(&replica).await;
    readers(&replica, 1).await;
    for n in 0..10 {
        replica.publish("a", large(n)).await;
    }
    replica.stop().await;
}

mod http_2 {
    use super::*;

    const CLEAR: Way = Way {
        version: "2",
        shards: "2",
        tls: false,
    };
    const TLS: Way = Way { tls: true, ..CLEAR };

    #[tokio::test(flavor = "multi_thread")]
    async fn a_stream_that_is_not_taken_ends_and_others_of_its_connection_go_on() {
        others_go_on(CLEAR).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn within_tls_too() {
        others_go_on(TLS).await;
    }

    async fn others_go_on(way: Way) {
        let replica = way.replica(&["--stall-timeout", "1"]).await;
        let client = replica
            .client()
            .http2_prior_knowledge()
            .http2_initial_stream_window_size(65_535);
        let client = client.build().unwrap();
        let ask = || client.get(replica.url("/feeds/a"));
        let (mut healthy, _) = Stream::begin(ask()).await;
        let mut left = ask().send().await.unwrap();
        readers(&replica, 2).await;
        let last = 9;
        for n in 0..=last {
            replica.publish("a", large(n)).await;
            assert_eq!(healthy.data(1).await, [large(n)]);
        }
        counted(&replica, 1).await;
        readers(&replica, 1).await;
        let mut text = Vec::new();
        // It is not to be taken for whole.
        while let Some(bytes) = match within("more", left.chunk()).await {
            Ok(bytes) => Some(bytes.expect("an error at the end")),
            Err(_) => None,
        } {
            text.extend_from_slice(&bytes);
        }
        goes_on(&replica, &text, last).await;
        replica.publish("a", "live").await;
        assert_eq!(healthy.data(1).await, ["live"]);
    }

    /// A frame of HTTP/2 (RFC 9113, section 4.1) on stream 0 or 1.
    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
        frame.extend_from_slice(payload);
        frame
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_connection_that_never_reads_ends() {
        never_read(CLEAR).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn one_within_tls_ends_too() {
        never_read(TLS).await;
    }

    /// One that reads the connection and grants nothing for its answer.
    #[tokio::test(flavor = "multi_thread")]
    async fn any_answer_that_is_not_taken_is_let_go_and_its_connection_ends() {
        let replica = CLEAR.replica(&["--stall-timeout", "1", "--head-timeout", "1"]);
        let replica = replica.await;
        let mut client = replica.over(connect(&replica).await).await;
        // GET http://localhost/metrics.
        let head = [&b"\x82\x86\x04\x08/metrics"[..], b"\x01\x09localhost"].concat();
        let request = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]),
            frame(1, 5, 1, &head),
        ];
        client.write_all(&request.concat()).await.unwrap();
        let mut read = Vec::new();
        let _ = within("its end", client.read_to_end(&mut read)).await;
        assert_eq!(stalled(&replica).await, 1);
    }

    async fn never_read(way: Way) {
        let replica = way.replica(&["--stall-timeout", "1"]).await;
        let mut client = replica.over(connect(&replica).await).await;
        let plenty = 0x7fff_0000_u32.to_be_bytes();
        let window = [&[0, 4][..], &plenty].concat();
        // GET http://localhost/feeds/a, in HPACK's static table and literals (RFC 7541, section 6).
        let head = [&b"\x82\x86\x04\x08/feeds/a"[..], b"\x01\x09localhost"].concat();
        let request = [
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            frame(4, 0, 0, &window),
            frame(8, 0, 0, &plenty),
            frame(1, 5, 1, &head),
        ];
        client.write_all(&request.concat()).await.unwrap();
        readers(&replica, 1).await;
        for n in 0..30 {
            replica.publish("a", large(n)).await;
        }
        readers(&replica, 0).await;
        // The connection counts, and its stream may too.
        assert!((1..=2).contains(&stalled(&replica).await));
    }
}

/// How many of each kind.
const MANY: usize = 1000;

/// Reads events of a stream until the last of so many, and checks their order.
async fn read_all(mut client: Box<dyn Duplex>, count: usize) {
    let (mut buffer, mut line, mut next) = (vec![0; 65_536], Vec::new(), 0);
    while next < count {
        let read = client.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0);
        for &byte in &buffer[..read] {
            match byte {
                b'\n' => {
                    let text = std::str::from_utf8(&line).unwrap();
                    if let Some(data) = text.strip_prefix("data: ").filter(|data| *data != "{}") {
                        assert_eq!(data.split_once(' ').unwrap().0, next.to_string());
                        next += 1;
                    }
                    line.clear();
                }
                byte => line.push(byte),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_who_stall_are_no_harm_to_a_thousand_who_do_not() {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    let window = 200_000;
    let window_bytes = window.to_string();
    // Those who read may have to wait for their turn on a busy machine.
    let arguments = ["--stall-timeout", "5", "--window-bytes", &window_bytes];
    let replica = Replica::start(&arguments).await;
    let way = Way {
        version: "1.1",
        shards: "2",
        tls: false,
    };
    let count = 60;
    let (mut stalling, mut healthy) = (Vec::new(), Vec::new());
    for _ in 0..MANY {
        stalling.push(way.ask(&replica).await);
        healthy.push(tokio::spawn(read_all(way.ask(&replica).await, count)));
    }
    readers(&replica, 2 * MANY).await;
    for n in 0..count {
        replica
            .publish("a", format!("{n} {}", "x".repeat(8000)))
            .await;
        let usage = replica.hub().usage();
        assert!(
            usage.bytes <= window && usage.cold_bytes <= 33 << 20,
            "{usage:?}"
        );
    }
    for reading in &mut healthy {
        within("those who read to have all", reading).await.unwrap();
    }
    readers(&replica, 0).await;
    assert_eq!(stalled(&replica).await, MANY);
    drop(stalling);
}
