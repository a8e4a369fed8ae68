//! The readers: many connections on few threads.

mod http1;
mod http2;
mod share;
mod source;

use super::clock::Clock;
use super::plan::Plan;
use super::template::UrlTemplate;
use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use share::Share;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

/// How readers connect, and what they ask for.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) url: UrlTemplate,
    /// Header lines of one's own.
    pub(super) headers: String,
    /// How many connects may be under way at once.
    pub(super) at_once: usize,
    pub(super) way: Way,
}

/// By which version of HTTP readers connect.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// A connection for each.
    Http1,
    /// So many of a thread's readers on a connection.
    Http2 { streams: usize },
}

impl Target {
    /// What reader number `reader` asks for: path and query.
    fn path(&self, plan: &Plan, reader: usize) -> String {
        let asked = plan.asks_for(reader);
        self.url.target(asked.iter().map(String::as_str))
    }

    /// The same as a request over HTTP/1.1, with this `Last-Event-ID`.
    pub(super) fn request(&self, plan: &Plan, reader: usize, id: Option<&str>) -> String {
        let path = self.path(plan, reader);
        let mut request = format!(
            "GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n{}",
            self.url.authority, self.headers
        );
        if let Some(id) = id {
            request.push_str(&format!("Last-Event-ID: {id}\r\n"));
        }
        request.push_str("\r\n");
        request
    }
}

/// How far the readers have come, all threads together.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Readers whose answer has begun.
    pub(super) open: AtomicUsize,
    /// Readers that got no stream.
    pub(super) failed: AtomicUsize,
    /// Streams that the server has ended.
    pub(super) closed: AtomicUsize,
    /// Events received, repeated ones left out.
    pub(super) received: AtomicU64,
    /// When the last answer began, in microseconds since the run did.
    pub(super) last_open: AtomicU64,
    /// When the last event came.
    pub(super) last_received: AtomicU64,
    /// Why the first reader failed that did.
    pub(super) trouble: Mutex<Option<String>>,
}

/// What the readers have seen.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) duplicates: u64,
    pub(super) late: u64,
    /// Events of feeds that the reader did not ask for.
    pub(super) strays: u64,
    /// Events that were acknowledged to a publisher and not received by a reader that was to.
    pub(super) lost: u64,
    /// From an event's sending to its coming, in microseconds, on some of the connections.
    pub(super) delay: Histogram<u64>,
    /// From a connect to the answer's head, in microseconds.
    pub(super) connect: Histogram<u64>,
}

/// The running threads.
#[derive(Debug)]
pub(super) struct Subscribers {
    threads: Vec<Running>,
    pub(super) progress: Arc<Progress>,
}

#[derive(Debug)]
struct Running {
    orders: Orders,
    thread: JoinHandle<Tally>,
}

/// The way to tell a thread what to do.
#[derive(Debug)]
enum Orders {
    Http1(Sender<Order>, mio::Waker),
    Http2(UnboundedSender<Order>),
}

/// What a thread is told to do.
#[derive(Debug)]
enum Order {
    /// Open those of the readers up to this number that are its own, with this `Last-Event-ID`.
    Open {
        through: usize,
        id: Option<Arc<str>>,
    },
    /// Close everything, and report.
    End,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            duplicates: 0,
            late: 0,
            strays: 0,
            lost: 0,
            delay: histogram(),
            connect: histogram(),
        }
    }

    fn add(&mut self, other: &Self) {
        self.duplicates += other.duplicates;
        self.late += other.late;
        self.strays += other.strays;
        self.lost += other.lost;
        add(&mut self.delay, &other.delay);
        add(&mut self.connect, &other.connect);
    }
}

/// A histogram of microseconds up to an hour, exact to three digits.
pub(super) fn histogram() -> Histogram<u64> {
    Histogram::new_with_max(3_600_000_000, 3).expect("these bounds are allowed")
}

/// Adds one to another.
pub(super) fn add(sum: &mut Histogram<u64>, other: &Histogram<u64>) {
    sum.add(other).expect("both have the same bounds");
}

impl Subscribers {
    pub(super) fn start(
        plan: &Arc<Plan>,
        target: &Target,
        clock: Clock,
        threads: usize,
    ) -> io::Result<Self> {
        let progress = Arc::new(Progress::default());
        let start = |number| {
            Running::start(Share {
                number,
                threads,
                plan: plan.clone(),
                target: target.clone(),
                clock,
                progress: progress.clone(),
            })
        };
        Ok(Self {
            threads: (0..threads).map(start).collect::<io::Result<_>>()?,
            progress,
        })
    }

    /// Opens more readers, until there are `through`.
    pub(super) fn open(&self, through: usize, id: Option<&str>) -> anyhow::Result<()> {
        let id: Option<Arc<str>> = id.map(Into::into);
        for running in &self.threads {
            let id = id.clone();
            running.orders.send(Order::Open { through, id })?;
        }
        Ok(())
    }

    /// Closes all connections.
    pub(super) fn end(self) -> anyhow::Result<Tally> {
        let mut sum = Tally::new();
        for Running { orders, thread } in self.threads {
            orders.send(Order::End)?;
            let tally = thread
                .join()
                .ok()
                .context("a thread of readers has panicked")?;
            sum.add(&tally);
        }
        Ok(sum)
    }
}

impl Running {
    fn start(share: Share) -> io::Result<Self> {
        let builder = std::thread::Builder::new().name(format!("readers-{}", share.number));
        let (orders, thread) = match share.target.way {
            Way::Http1 => {
                let (tell, told) = channel();
                let (thread, waker) = http1::Thread::new(share, told)?;
                let thread = builder.spawn(move || thread.run())?;
                (Orders::Http1(tell, waker), thread)
            }
            Way::Http2 { streams } => {
                let (tell, told) = unbounded_channel();
                let thread = http2::Thread::new(share, streams, told)?;
                let thread = builder.spawn(move || thread.run())?;
                (Orders::Http2(tell), thread)
            }
        };
        Ok(Self { orders, thread })
    }
}

impl Orders {
    fn send(&self, order: Order) -> anyhow::Result<()> {
        let sent = match self {
            Self::Http1(tell, waker) => tell.send(order).is_ok() && waker.wake().is_ok(),
            Self::Http2(tell) => tell.send(order).is_ok(),
        };
        ensure!(sent, "a thread of readers has ended");
        Ok(())
    }
}

impl Progress {
    fn fail(&self, error: &anyhow::Error) {
        self.failed.fetch_add(1, Relaxed);
        self.trouble
            .lock()
            .get_or_insert_with(|| format!("{error:#}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_holds_microseconds_and_minutes() {
        let mut one = histogram();
        one.saturating_record(7);
        one.saturating_record(120_000_000);
        let mut sum = histogram();
        add(&mut sum, &one);
        assert_eq!(sum.value_at_quantile(0.5), 7);
        assert!(sum.max() >= 120_000_000);
    }
}
