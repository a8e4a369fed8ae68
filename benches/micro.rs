//! What single steps cost: bytes on the wire, matching, and the way through the hub.
//!
//!     cargo bench --bench micro

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use futures::executor::block_on;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use tidings::clients::{Permit, Seat};
use tidings::config::StreamSettings;
use tidings::event::{Event, Feed, Message, Pattern, Patterns, Position, Timestamp};
use tidings::hub::{Handed, Hub, HubLimits, Reader, Signal, Start, Status, WindowLimits};
use tidings::log::{Append, Log, MemoryLimits, MemoryLog};
use tidings::metrics::{HubCounters, Kind, OpenStream, Protocol, StreamCounters, Transport};
use tidings::wire::{self, Chunk, Form};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;

/// Events that go through the hub at once.
const EVENTS: usize = 1000;

fn main() {
    divan::main();
}

fn event(size: usize) -> Event {
    let time = Timestamp::from_nanos(1_795_000_000_123_456_789);
    Event {
        position: Position::new(48_213, time),
        time,
        message: Message::new(feed(42), "x".repeat(size)),
    }
}

fn feed(number: usize) -> Feed {
    let name = format!("orders.{}.{number}", number % 32);
    name.parse().expect("a feed")
}

fn patterns(text: &str) -> Patterns {
    text.parse::<Pattern>().expect("a pattern").into()
}

#[divan::bench(args = [64, 1024, 65_536])]
fn encode_sse(bencher: Bencher<'_, '_>, size: usize) {
    let event = event(size);
    bencher.bench(|| wire::encode(Form::Sse, black_box(&event), Position::START));
}

#[divan::bench(args = [64, 1024, 65_536])]
fn encode_envelope(bencher: Bencher<'_, '_>, size: usize) {
    let event = event(size);
    bencher.bench(|| wire::encode(Form::SseEnvelope, black_box(&event), Position::START));
}

#[divan::bench(args = [64, 1024, 65_536])]
fn frame_as_chunk(bencher: Bencher<'_, '_>, size: usize) {
    let payload = vec![b'x'; size];
    bencher.bench(|| Chunk::new(black_box(&payload)));
}

#[divan::bench]
fn parse_event_id() -> Position {
    let text = black_box("48213-k3f9xq");
    text.parse().expect("a position")
}

#[divan::bench(args = ["orders.10.42", "orders.*.42", "orders.>", "*.*.*", "invoices.>"])]
fn match_pattern(bencher: Bencher<'_, '_>, text: &str) {
    let (pattern, feed) = (patterns(text), feed(42));
    bencher.bench(|| black_box(&pattern).matches(black_box(&feed)));
}

/// A hub on a log in memory, with its follower.
struct Replica {
    runtime: Runtime,
    hub: Hub,
}

impl Replica {
    fn start() -> Self {
        let log = Log::Memory(MemoryLog::new(MemoryLimits {
            bytes: 1 << 30,
            events: 100_000,
            keys: 1,
        }));
        let limits = HubLimits {
            window: WindowLimits {
                bytes: 1 << 30,
                events: 100_000,
            },
            cold_bytes: 32 << 20,
            readers: 100_000,
        };
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let hub = Hub::new(log, limits, HubCounters::default());
        runtime.spawn(hub.clone().follow());
        block_on(hub.status().wait_for(|status| *status == Status::Live)).expect("the hub");
        Self { runtime, hub }
    }

    fn join(&self, patterns: Patterns, start: Start) -> Reader {
        let joined = self.runtime.block_on(self.hub.join(patterns, start));
        joined.expect("a place").reader
    }

    /// Appends `EVENTS` events, over so many feeds in turn.
    fn append(&self, feeds: &[Feed]) {
        for feed in feeds.iter().cycle().take(EVENTS) {
            self.append_one(feed);
        }
    }

    fn append_one(&self, feed: &Feed) {
        let append = Append {
            message: Message::new(feed.clone(), "x".repeat(64)),
            idempotency_key: None,
        };
        block_on(self.hub.log().append(append)).expect("it is stored");
    }

    /// Waits until `count` events have come.
    fn receive(&self, reader: &mut Reader, count: usize) {
        let mut received = 0;
        while received < count {
            if let Signal::Events(events) = self.runtime.block_on(reader.next()) {
                received += events.len();
            }
        }
    }
}

/// From the log's append through the window to one reader that is live, past so many others of other
/// patterns whom each event is looked up for.
#[divan::bench(args = [0, 1000, 10_000], sample_count = 20)]
fn append_to_live_reader(bencher: Bencher<'_, '_>, others: usize) {
    let replica = Replica::start();
    let _others: Vec<Reader> = (0..others)
        .map(|number| replica.join(patterns(&format!("orders.*.{number}")), Start::Now))
        .collect();
    let mut reader = replica.join(patterns("orders.>"), Start::Now);
    let feeds: Vec<Feed> = (0..100).map(feed).collect();
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        replica.append(&feeds);
        replica.receive(&mut reader, EVENTS);
    });
}

/// Steps of a reader that comes back, over a window of its own events or of others' too.
#[divan::bench(args = ["orders.0.0", "orders.*.0", "orders.>"], sample_count = 50)]
fn catch_up_from_window(bencher: Bencher<'_, '_>, text: &str) {
    let replica = Replica::start();
    let mut first = replica.join(patterns("orders.>"), Start::Now);
    let feeds: Vec<Feed> = (0..10).map(feed).collect();
    for _ in 0..50 {
        replica.append(&feeds);
        replica.receive(&mut first, EVENTS);
    }
    let one_feed = text != "orders.>";
    let count = if one_feed {
        50 * EVENTS / 10
    } else {
        50 * EVENTS
    };
    bencher
        .counter(ItemsCount::new(count))
        .with_inputs(|| replica.join(patterns(text), Start::First))
        .bench_local_values(|mut reader| replica.receive(&mut reader, count));
}

/// What has gathered for a reader, joined in one piece for one write.
#[divan::bench(args = [1, 16, 256])]
fn join_frames(bencher: Bencher<'_, '_>, events: usize) {
    let replica = Replica::start();
    let mut reader = replica.join(patterns("orders.>"), Start::Now);
    replica.append(&[feed(0)]);
    replica.receive(&mut reader, EVENTS);
    let mut newest = replica.join(patterns("orders.>"), Start::Last(events));
    let signal = replica.runtime.block_on(newest.next());
    bencher
        .counter(ItemsCount::new(events))
        .bench_local(|| black_box(&signal).piece(Form::Sse, 0));
}

/// One event through the window and a shard to so many sockets on loopback, and out of them.
#[divan::bench(args = [1, 64, 512], sample_count = 50)]
fn fan_out_by_a_shard(bencher: Bencher<'_, '_>, readers: usize) {
    let replica = Replica::start();
    let _runtime = replica.runtime.enter();
    let streams = StreamSettings {
        heartbeat_seconds: 3600,
        stall_timeout_seconds: 30,
        shards: None,
        retry_ms: 2000,
    };
    let shards = replica.hub.shards(1, streams).expect("a shard");
    let places = Arc::new(Semaphore::new(readers));
    let mut clients: Vec<TcpStream> = (0..readers)
        .map(|_| {
            let (client, socket) = connection();
            let joined = replica.hub.join(patterns("orders.>"), Start::Now);
            let joined = replica.runtime.block_on(joined).expect("a place");
            let permit = places.clone().try_acquire_owned().expect("a permit");
            shards.serve(Handed {
                socket,
                reader: joined.reader,
                place: joined.place,
                permit: Permit::new(permit, Seat::default()),
                seat: Seat::default(),
                form: Form::Sse,
                told: None,
                term: None,
                open: OpenStream::new(
                    &StreamCounters::default(),
                    Kind {
                        transport: Transport::Sse,
                        protocol: Protocol::Http11,
                    },
                    tidings::metrics::Reader::default(),
                ),
            });
            client
        })
        .collect();
    let mut frame = [0; 4096];
    bencher.counter(ItemsCount::new(readers)).bench_local(|| {
        replica.append_one(&feed(0));
        for client in &mut clients {
            // A frame is one write, and small: it comes whole.
            assert!(client.read(&mut frame).expect("a frame") > 0);
        }
    });
}

/// Both ends of a connection, the second as a server hands it on.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("its address");
    let client = TcpStream::connect(address).expect("a connection");
    let (socket, _) = listener.accept().expect("a connection");
    socket.set_nonblocking(true).expect("a socket");
    (client, socket)
}
