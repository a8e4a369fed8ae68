//! A thread of readers over HTTP/2 with prior knowledge: a task for each, on a runtime of the thread's own.

mod reader;

use super::share::Share;
use super::{Order, Tally};
use crate::cli::bench::ledger::Ledger;
use crate::cli::bench::mark::{Mark, Scanner};
use parking_lot::Mutex;
use reader::{Connection, Reader};
use std::io;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;

pub(super) struct Thread {
    runtime: Runtime,
    orders: UnboundedReceiver<Order>,
    readers: Arc<Readers>,
}

/// What the tasks of a thread share.
struct Readers {
    share: Share,
    /// On each connection.
    streams: usize,
    scanner: Scanner,
    books: Mutex<Books>,
}

struct Books {
    tally: Tally,
    /// By place in the share.
    ledgers: Vec<Ledger>,
}

impl Thread {
    /// Each connection carries so many `streams`.
    pub(super) fn new(
        share: Share,
        streams: usize,
        orders: UnboundedReceiver<Order>,
    ) -> io::Result<Self> {
        let books = Books {
            tally: Tally::new(),
            ledgers: Vec::new(),
        };
        Ok(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            orders,
            readers: Arc::new(Readers {
                share,
                streams,
                scanner: Scanner::new(),
                books: Mutex::new(books),
            }),
        })
    }

    pub(super) fn run(self) -> Tally {
        let opening = open(self.readers.clone(), self.orders);
        self.runtime.block_on(opening);
        // With it go the tasks and their connections.
        drop(self.runtime);
        self.readers.report()
    }
}

/// Opens readers as it is told, until it is told to end.
async fn open(readers: Arc<Readers>, mut orders: UnboundedReceiver<Order>) {
    let places = Arc::new(Semaphore::new(readers.share.target.at_once));
    let mut connection = Arc::new(Connection::new());
    let (mut index, mut through, mut id) = (0, 0, None);
    loop {
        let is_due = readers.share.reader(index) < through;
        tokio::select! {
            order = orders.recv() => match order {
                Some(Order::Open { through: more, id: after }) => (through, id) = (more, after),
                Some(Order::End) | None => return,
            },
            place = places.clone().acquire_owned(), if is_due => {
                if index % readers.streams == 0 {
                    connection = Arc::default();
                }
                let reader = Reader::new(readers.clone(), index, connection.clone());
                let place = place.expect("it is never closed");
                tokio::spawn(reader.run(id.clone(), place));
                index += 1;
            }
        }
    }
}

impl Readers {
    /// Counts the marks in `bytes`, and returns how many of the last bytes are to come again.
    fn receive(&self, index: usize, bytes: &[u8]) -> usize {
        let Books { tally, ledgers } = &mut *self.books.lock();
        let mut count = self.share.count(self.share.reader(index), tally);
        let add = |mark: Mark| count.add(&mut ledgers[index], mark);
        let hold = self.scanner.scan(bytes, add);
        self.share.received(count.received);
        hold
    }

    fn report(&self) -> Tally {
        let Books { tally, ledgers } = &mut *self.books.lock();
        for (index, ledger) in ledgers.iter().enumerate() {
            tally.lost += self.share.lost(index, Some(ledger));
        }
        std::mem::replace(tally, Tally::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::bench::clock::Clock;
    use crate::cli::bench::plan::{Interest, Plan};
    use crate::cli::bench::progress::Line;
    use crate::cli::bench::subscribers::{Subscribers, Target, Way};
    use crate::cli::bench::template::UrlTemplate;
    use axum::body::Body;
    use axum::{Router, routing::get};
    use futures::stream;
    use std::convert::Infallible;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    const EVENTS: u32 = 50;

    /// A server that sends `text` in pieces of five bytes.
    async fn serve(text: String) -> UrlTemplate {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let answer = move || {
            let pieces = text.as_bytes().chunks(5).map(<[u8]>::to_vec);
            let pieces: Vec<_> = pieces.map(Ok::<_, Infallible>).collect();
            async { Body::from_stream(stream::iter(pieces)) }
        };
        let router = Router::new().route("/", get(answer));
        tokio::spawn(async { axum::serve(listener, router).await });
        UrlTemplate::parse(&url).unwrap()
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn marks_are_found_that_frames_cut_in_two() {
        let plan = Arc::new(Plan::new(1, 3, 1, 1, Interest::Feed));
        let mark = |number| Mark {
            run: 1,
            feed: 0,
            publisher: 0,
            number,
            sent: 0,
        };
        let events = (1..=EVENTS).map(|number| format!("data: {}\n\n", mark(number).payload(0)));
        let target = Target {
            url: serve(events.collect()).await,
            headers: "X-Test: 1\r\n".to_owned(),
            at_once: 3,
            way: Way::Http2 { streams: 2 },
        };
        (0..EVENTS).for_each(|_| plan.acknowledge(0, 0));
        let subscribers = Subscribers::start(&plan, &target, Clock::start(), 1).unwrap();
        let progress = subscribers.progress.clone();
        subscribers.open(3, None).unwrap();
        let ended = || progress.closed.load(Relaxed) as u64;
        assert!(Line::new().wait("ended", 3, Duration::from_secs(10), ended));
        let tally = subscribers.end().unwrap();
        assert_eq!(progress.received.load(Relaxed), u64::from(3 * EVENTS));
        assert_eq!((tally.lost, tally.late, tally.duplicates), (0, 0, 0));
    }
}
