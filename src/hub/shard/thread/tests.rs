//! A shard that is moved by hand.

use super::*;
use crate::clients::{Permit, Seat};
use crate::event::{Data, Patterns, Position};
use crate::hub::shard::{Back, Errand};
use crate::hub::testing::{hub, publish};
use crate::hub::{Hub, Joined, Signal, Start};
use crate::metrics::{self, Kind, OpenStream, Protocol, StreamCounters, Transport};
use crate::wire::LAST_CHUNK;
use std::io::Read;
use std::net::TcpListener;
use tokio::sync::Semaphore;

/// More than a socket takes whose other end does not read.
const LARGE: usize = 8 << 20;

/// A shard without its thread: each test moves it by hand.
struct Bench {
    hub: Hub,
    shard: Shard,
    listener: TcpListener,
    places: Arc<Semaphore>,
}

impl Bench {
    async fn new() -> Self {
        Self::with_window(1 << 30).await
    }

    async fn with_window(bytes: u64) -> Self {
        let hub = hub(1 << 30, bytes).await;
        let settings = StreamSettings {
            heartbeat_seconds: 15,
            stall_timeout_seconds: 30,
            shards: None,
            retry_ms: 2000,
        };
        Self {
            shard: Shard::new(hub.shared.clone(), settings).unwrap(),
            hub,
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            places: Arc::new(Semaphore::new(100)),
        }
    }

    async fn publish(&self, bytes: usize) -> Position {
        self.publish_data(Data::Bytes(vec![b'x'; bytes].into()))
            .await
    }

    async fn publish_data(&self, data: Data) -> Position {
        publish(&self.hub, "a.b", data).await
    }

    /// A new connection, its number, and the client's end of it.
    async fn admit(&mut self) -> (usize, std::net::TcpStream) {
        self.admit_at(None).await
    }

    /// The same, of a reader that goes on after this position.
    async fn admit_at(&mut self, after: Option<Position>) -> (usize, std::net::TcpStream) {
        let patterns = Patterns::new(vec!["a.>".parse().unwrap()], 1).unwrap();
        let joined = self.hub.join(patterns, Start::Now).await.unwrap();
        let Joined {
            mut reader,
            place,
            opening,
        } = joined;
        if let Some(after) = after {
            reader.rewind(after);
        }
        let client = std::net::TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
        let (socket, _) = self.listener.accept().unwrap();
        socket.set_nonblocking(true).unwrap();
        let conn = self.shard.conns.vacant_key();
        self.shard.admit(Handed {
            term: None,
            socket,
            reader,
            place,
            seat: Seat::default(),
            permit: Permit::new(
                self.places.clone().try_acquire_owned().unwrap(),
                Seat::default(),
            ),
            form: Form::Sse,
            told: opening.parse().ok(),
            open: OpenStream::new(
                &StreamCounters::default(),
                Kind {
                    transport: Transport::Sse,
                    protocol: Protocol::Http11,
                },
                metrics::Reader::default(),
            ),
        });
        (conn, client)
    }

    fn is_common(&self, conn: usize) -> bool {
        let group = self.shard.conns[conn].group;
        self.shard.groups[group as usize].common.is_some()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_does_not_merge_with_one_that_falls_behind_at_that_moment() {
    let mut bench = Bench::new().await;
    let (slow, _client) = bench.admit().await;
    assert!(bench.is_common(slow));
    // The shard has not heard of it yet when the next reader comes.
    bench.publish(LARGE).await;
    let (quick, _other) = bench.admit().await;
    assert!(bench.shard.conns[slow].is_blocked());
    let of = |conn: usize| bench.shard.conns[conn].group;
    assert_ne!(of(slow), of(quick));
    assert!(bench.is_common(quick));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_takes_no_heartbeat_is_sent_no_torn_chunk_when_its_reader_is_back() {
    let mut bench = Bench::new().await;
    let (conn, mut client) = bench.admit().await;
    let group = bench.shard.conns[conn].group;
    // Its reader is away when a heartbeat is due.
    let known = &mut bench.shard.groups[group as usize];
    let serial = known.serial;
    let mut reader = known.reader.take().unwrap();
    // Fill the socket to the brim; what fits no more is dropped. The kernel may still move some of it on, so that there
    // is room for a heartbeat once more.
    let filler = vec![b'-'; LARGE];
    while !bench.shard.conns[conn].is_blocked() {
        while bench.shard.conns[conn].write(&filler) == Written::All {}
        bench.shard.heartbeat(conn);
    }
    let last = bench.publish(3).await;
    let signal = Some(reader.next().await);
    bench.shard.back(Back {
        group: group as usize,
        serial,
        found: Some((reader, signal)),
    });
    // The client reads on.
    client
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut text = Vec::new();
    for _ in 0..3 {
        let _ = client.read_to_end(&mut text);
        bench.shard.on_event(conn, false, true);
    }
    let text = String::from_utf8(text).unwrap();
    let heartbeat = "2\r\n:\n\r\n";
    let event = format!("id: {last}\ndata: xxx\n\n");
    let tail = format!("{heartbeat}{:x}\r\n{event}\r\n", event.len());
    let before = text
        .strip_suffix(&tail)
        .expect("the heartbeat, and then the event");
    assert_eq!(before.replace(heartbeat, "").trim_matches('-'), "");
    assert!(bench.is_common(bench.shard.conns.iter().next().unwrap().0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_is_gone_when_the_streams_end_is_no_harm() {
    let mut bench = Bench::new().await;
    let (one, _client) = bench.admit().await;
    let group = bench.shard.conns[one].group;
    // The reader of the common group is away, and another connection waits for it.
    let away = bench.shard.groups[group as usize].reader.take();
    let (other, client) = bench.admit().await;
    assert_eq!(
        bench.shard.groups[group as usize].waiting,
        [bench.shard.conns[other].group]
    );
    drop(client);
    bench.publish(LARGE).await;
    while bench.shard.conns[other].write(b"?") != Written::Gone {}
    bench
        .shard
        .end_all(End::new(Closing::Drain, Duration::ZERO));
    assert_eq!(bench.shard.desk.stats.connections.load(Relaxed), 0);
    drop(away);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_is_ahead_of_what_was_followed_waits_in_peace() {
    let mut bench = Bench::new().await;
    let (one, mut client) = bench.admit().await;
    let (ahead, mut other) = bench.admit_at(Some(Position::before(3))).await;
    assert!(bench.shard.unfinished.is_empty());
    let common = bench.shard.conns[one].group;
    let mut ids = Vec::new();
    for followed in 0..3 {
        assert_eq!(bench.shard.conns[ahead].group == common, followed == 2);
        ids.push(bench.publish(1).await);
        bench.shard.advance_all(common);
        assert!(bench.shard.unfinished.is_empty());
    }
    let text = |client: &mut std::net::TcpStream| {
        client
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let mut text = String::new();
        let _ = client.read_to_string(&mut text);
        let of = text.lines().filter_map(|line| line.strip_prefix("id: "));
        of.map(|id| id.parse().unwrap()).collect::<Vec<Position>>()
    };
    assert_eq!(text(&mut client), ids);
    assert_eq!(text(&mut other), ids[2..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn those_whose_reader_is_lost_are_cut_off_and_those_who_waited_for_it_go_on() {
    let mut bench = Bench::new().await;
    let (one, mut client) = bench.admit().await;
    let group = bench.shard.conns[one].group;
    let known = &mut bench.shard.groups[group as usize];
    let (serial, lost) = (known.serial, known.reader.take());
    let (other, _kept) = bench.admit().await;
    assert!(!bench.is_common(other));
    drop(lost);
    drop(Errand::new(
        bench.shard.desk.clone(),
        group as usize,
        serial,
    ));
    let orders = std::mem::take(&mut *bench.shard.desk.inbox.lock());
    orders
        .into_iter()
        .for_each(|order| bench.shard.on_order(order));
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert!(bench.is_common(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_socket_is_left_no_bytes_of_its_own() {
    let mut bench = Bench::new().await;
    let (slow, _client) = bench.admit().await;
    bench.publish(LARGE).await;
    bench.publish(1).await;
    let group = bench.shard.conns[slow].group;
    bench.shard.advance_all(group);
    assert!(bench.shard.conns[slow].is_blocked());
    bench
        .shard
        .end_all(End::new(Closing::Drain, Duration::ZERO));
    let patterns = Patterns::new(vec!["a.>".parse().unwrap()], 1).unwrap();
    let mut joined = bench.hub.join(patterns, Start::Last(2)).await.unwrap();
    let Signal::Events(entries) = joined.reader.next().await else {
        panic!("the two events");
    };
    let shared = entries[0].encoded(Form::Sse).framed().as_ptr_range();
    let [rest, end] = bench.shard.conns[slow].left.make_contiguous() else {
        panic!("the rest of an event, and the end");
    };
    assert!(shared.contains(&rest.as_ptr()));
    assert!(end.ends_with(LAST_CHUNK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_counts_for_each_client_that_is_told() {
    let mut bench = Bench::new().await;
    let (one, _client) = bench.admit().await;
    let (other, _other) = bench.admit().await;
    let group = bench.shard.conns[one].group;
    assert_eq!(group, bench.shard.conns[other].group);
    bench.publish(1).await;
    bench.publish_data(Data::Oversize { bytes: 9 }).await;
    bench.shard.advance_all(group);
    assert_eq!(bench.hub.shared.counters.gaps.get(), 2);
    // Their sockets take no more than a part of the first; the gap waits.
    bench.publish(LARGE).await;
    bench.publish_data(Data::Oversize { bytes: 9 }).await;
    bench.shard.advance_all(group);
    assert_eq!(bench.hub.shared.counters.gaps.get(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_window_makes_room_for_what_a_shard_encodes() {
    let size = 1 << 20;
    let limit = 4 * size as u64;
    let mut bench = Bench::with_window(limit).await;
    let (conn, mut client) = bench.admit().await;
    let group = bench.shard.conns[conn].group;
    client.set_nonblocking(true).unwrap();
    for _ in 0..6 {
        bench.publish(size).await;
        bench.shard.advance_all(group);
        assert!(bench.hub.usage().bytes <= limit);
        while bench.shard.conns[conn].is_blocked() {
            let _ = std::io::copy(&mut client, &mut std::io::sink());
            bench.shard.on_event(conn, false, true);
        }
    }
}
