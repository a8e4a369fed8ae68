//! The connection as the log sees it: whether it stands, since when, why not, and questions over it.

use super::notes::Notes;
use crate::log::LogError;
use async_nats::client::{RequestErrorKind, Statistics};
use async_nats::connection::State;
use async_nats::{Client, HeaderMap, Message, Request, Subscriber};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Longer than those who follow a stream wait before they ask again.
const NOBODY_ASKS: Duration = Duration::from_secs(4);
/// How often a connection's state is looked at where no event tells of it: the client drops events
/// when many come at once.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Whether NATS can be reached right now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// It can.
    Connected,
    /// It can't, and is tried again all the while; the text says why, as far as it is known.
    Disconnected(String),
}

/// Which of the connections, by its client and counted from 1: what was known over one may not hold over the
/// next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch {
    client: u64,
    connection: u64,
}

/// Makes a client, as the first one was made.
pub(super) type Make = dyn Fn() -> Result<Client, LogError> + Send + Sync;

/// The client that is used now.
struct Current {
    client: Client,
    statistics: Arc<Statistics>,
    /// Rises from client to client.
    number: u64,
    /// How often the clients before it were connected.
    earlier: u64,
}

impl Current {
    fn connects(&self) -> u64 {
        self.earlier + self.statistics.connects.load(Ordering::Relaxed)
    }
}

/// A client with what it has been told.
#[derive(Clone)]
pub(super) struct Link {
    current: Arc<RwLock<Current>>,
    make: Arc<Make>,
    notes: Arc<Notes>,
    /// How long an answer may take.
    pub(super) timeout: Duration,
    answers: Arc<Answers>,
    /// Gone once no link is left, which ends the attempts to connect.
    _alive: Arc<()>,
}

/// The questions that were answered, and what is known of those that were not.
struct Answers {
    given: AtomicU64,
    /// How many had been given when last the time for one was over without any, and when that was.
    missed: Mutex<(u64, Instant)>,
}

/// Why a question got no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// There was no connection to begin with.
    NotConnected(String),
    /// The subject, the headers or the size are not ones that can be sent.
    Invalid(String),
    /// Nobody listens on the subject.
    NoResponders,
    /// The server forbids the subject, and nothing was passed on.
    Refused(String),
    /// The server forbids the inbox for the answer; the question itself may have arrived.
    Deaf(String),
    /// No answer in time.
    TimedOut(Duration),
    /// The connection was cut before the answer came.
    Cut,
}

impl Link {
    pub(super) fn new(
        make: Arc<Make>,
        notes: Arc<Notes>,
        timeout: Duration,
        alive: Arc<()>,
    ) -> Result<Self, LogError> {
        let client = make()?;
        let current = Current {
            statistics: client.statistics(),
            client,
            number: 1,
            earlier: 0,
        };
        Ok(Self {
            current: Arc::new(RwLock::new(current)),
            make,
            notes,
            timeout,
            answers: Arc::new(Answers {
                given: AtomicU64::new(1),
                missed: Mutex::new((0, Instant::now())),
            }),
            _alive: alive,
        })
    }

    pub(super) fn client(&self) -> Client {
        self.current.read().client.clone()
    }

    /// Puts another client in the place of one that has died, over which `died` was: async-nats panics, and its
    /// task with it, over some messages that anybody may publish (a bare CR in a header).
    pub(super) fn replace(&self, died: Epoch) {
        let mut current = self.current.write();
        if current.number != died.client {
            return; // another has seen it too
        }
        match (self.make)() {
            Ok(client) => {
                tracing::warn!("the NATS client has died, and is replaced");
                *current = Current {
                    statistics: client.statistics(),
                    client,
                    number: died.client + 1,
                    earlier: current.connects(),
                };
            }
            Err(error) => {
                tracing::error!(%error, "the NATS client has died, and can't be replaced")
            }
        }
    }

    /// The connection that stands now, or why there is none.
    pub(super) fn current(&self) -> Result<Epoch, String> {
        let current = self.current.read();
        match current.client.connection_state() {
            State::Connected => Ok(Epoch {
                client: current.number,
                connection: current.statistics.connects.load(Ordering::Relaxed),
            }),
            State::Pending | State::Disconnected => Err(self.notes.problem()),
        }
    }

    /// How often a connection has come about.
    pub(super) fn connects(&self) -> u64 {
        self.current.read().connects()
    }

    /// Whether NATS can be reached right now.
    pub(super) fn state(&self) -> ConnectionState {
        match self.current() {
            Ok(_) => ConnectionState::Connected,
            Err(reason) => ConnectionState::Disconnected(reason),
        }
    }

    /// That questions are answered: a connection that leads nowhere still stands for half a minute, and what the
    /// client is given until then arrives whenever the way is free again. Any question that is answered tells.
    pub(super) fn answering(&self) -> Result<(), String> {
        self.current()?;
        let Answers { given, missed } = &*self.answers;
        let (missed, since) = *missed.lock();
        // Where nobody asks any more, the next one to come is to try it.
        let is_lately = since.elapsed() < 2 * self.timeout + NOBODY_ASKS;
        match is_lately && given.load(Ordering::Relaxed) == missed {
            true => {
                let text = format!("no answer within {} s", self.timeout.as_secs());
                Err(self.notes.unreachable(&text))
            }
            false => Ok(()),
        }
    }

    /// Waits for a connection, no longer than the timeout.
    pub(super) async fn connected(&self) -> Result<Epoch, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut news = self.notes.news();
        loop {
            match self.current() {
                Ok(epoch) => return Ok(epoch),
                Err(reason) if Instant::now() >= deadline => {
                    return Err(Failure::NotConnected(reason));
                }
                Err(_) => {}
            }
            tokio::select! {
                _ = news.changed() => {}
                () = sleep(LOOK_INTERVAL) => {}
                () = sleep_until(deadline) => {}
            }
        }
    }

    /// Waits until the connection `epoch` is no longer the one that stands.
    pub(super) async fn ended(&self, epoch: Epoch) {
        let mut news = self.notes.news();
        while self.current() == Ok(epoch) {
            tokio::select! {
                _ = news.changed() => {}
                () = sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// Asks those who always answer, and waits for the one answer: no longer than the timeout, nor than the
    /// connection stands.
    pub(super) async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, Failure> {
        let before = self.answers.given.load(Ordering::Relaxed);
        let answer = self
            .ask_within(subject, headers, payload, self.timeout)
            .await;
        if let Err(Failure::TimedOut(_)) = answer {
            *self.answers.missed.lock() = (before, Instant::now());
        }
        answer
    }

    /// Asks anyone, likewise, and waits for so long.
    pub(super) async fn ask_within(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
        timeout: Duration,
    ) -> Result<Message, Failure> {
        let epoch = self.current().map_err(Failure::NotConnected)?;
        let client = self.client();
        let request = Request {
            payload: Some(payload),
            headers,
            // The deadline below also covers the wait for room in the client's queue.
            timeout: Some(None),
            inbox: None,
        };
        let deadline = Instant::now() + timeout;
        let given = &self.answers.given;
        let refusals = self.notes.refusals();
        if let Some(text) = refusals.of_inbox() {
            return Err(Failure::Refused(text));
        }
        tokio::select! {
            biased;
            answer = client.send_request(subject.clone(), request) => {
                let answer = answer.inspect(|_| {
                    given.fetch_add(1, Ordering::Relaxed);
                });
                answer.map_err(|error| match error.kind() {
                    RequestErrorKind::Other => {
                        self.replace(epoch);
                        Failure::Cut
                    }
                    RequestErrorKind::NoResponders => Failure::NoResponders,
                    RequestErrorKind::InvalidSubject | RequestErrorKind::MaxPayloadExceeded => {
                        Failure::Invalid(error.to_string())
                    }
                    RequestErrorKind::TimedOut => Failure::Cut,
                })
            }
            failure = refusals.of(&subject) => Err(failure),
            () = self.ended(epoch) => Err(Failure::Cut),
            () = sleep_until(deadline) => Err(Failure::TimedOut(timeout)),
        }
    }

    /// Says something that has no answer.
    pub(super) async fn say(&self, subject: String, payload: Bytes) {
        // It fails only where the client has ended, and then nobody is left to hear it.
        let _ = self.client().publish(subject, payload).await;
    }

    /// A fresh inbox, and what comes to it.
    pub(super) async fn inbox(&self) -> Result<(String, Subscriber), Failure> {
        let client = self.client();
        let inbox = client.new_inbox();
        match client.subscribe(inbox.clone()).await {
            Ok(subscriber) => Ok((inbox, subscriber)),
            Err(error) => Err(Failure::Invalid(error.to_string())),
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("servers", &self.notes.servers)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotConnected(reason) | Self::Invalid(reason) => f.write_str(reason),
            Self::NoResponders => f.write_str("nobody answers there"),
            Self::Refused(text) | Self::Deaf(text) => {
                write!(f, "NATS does not permit it to this user ({text})")
            }
            Self::TimedOut(timeout) => write!(f, "no answer within {} s", timeout.as_secs_f64()),
            Self::Cut => f.write_str("the connection to NATS was cut before the answer came"),
        }
    }
}
