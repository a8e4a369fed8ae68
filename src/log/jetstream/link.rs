//! The connection as the log sees it: whether it stands, since when, why not, and questions over it.

use crate::config::{NatsSettings, shown_url};
use crate::log::LogError;
use async_nats::client::{RequestErrorKind, Statistics};
use async_nats::connection::State;
use async_nats::{Client, Event, HeaderMap, Message, Request, Server, ServerError, Subscriber};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
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

/// What the client's callbacks have heard.
pub(super) struct Notes {
    news: watch::Sender<News>,
    /// The servers' addresses, as they may be shown.
    servers: String,
    inbox_prefix: String,
}

#[derive(Clone, Debug, Default)]
struct News {
    /// Why there is no connection, or why the last one ended, as a sentence.
    problem: Option<String>,
    /// The last "permissions violation", and how many there have been.
    refusal: (u64, String),
    /// The same for an inbox of ours, over this connection: no answer will ever come.
    inbox_refusal: Option<String>,
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

impl Notes {
    pub(super) fn new(settings: &NatsSettings) -> Arc<Self> {
        Arc::new(Self {
            news: watch::Sender::default(),
            servers: settings.shown_servers(),
            inbox_prefix: format!("\"{}.", settings.inbox_prefix),
        })
    }

    /// Takes in what the client has to say.
    pub(super) fn event(&self, event: &Event) {
        self.news.send_if_modified(|news| match event {
            Event::Connected => {
                news.problem = None;
                news.inbox_refusal = None;
                true
            }
            Event::Disconnected => {
                let cut = || unreachable(&self.servers, "the connection was cut");
                news.problem.get_or_insert_with(cut);
                true
            }
            Event::ServerError(ServerError::Other(text)) if is_refusal(text) => {
                if text.contains(&self.inbox_prefix) {
                    news.inbox_refusal = Some(text.clone());
                }
                news.refusal = (news.refusal.0 + 1, text.clone());
                true
            }
            Event::ServerError(error) => {
                news.problem = Some(unreachable(&self.servers, &error.to_string()));
                true
            }
            // Tells the kind alone; `attempts` may know more.
            Event::ClientError(error) => {
                let unknown = || unreachable(&self.servers, &error.to_string());
                news.problem.get_or_insert_with(unknown);
                true
            }
            _ => false,
        });
    }

    /// Takes in why the servers could not be reached, as the client knows it before its next attempt.
    pub(super) fn attempts(&self, servers: &[Server]) {
        let failed = |server: &Server| {
            let error = server.last_error.as_ref()?;
            Some(unreachable(&shown_url(server.addr.as_url_str()), error))
        };
        let failures: Vec<_> = servers.iter().filter_map(failed).collect();
        if !failures.is_empty() {
            self.news
                .send_modify(|news| news.problem = Some(failures.join("; ")));
        }
    }
}

/// That there is no connection to these servers, and why. The client gives a refused login no type of its own.
fn unreachable(servers: &str, error: &str) -> String {
    let lower = error.to_ascii_lowercase();
    let is_login = ["authorization violation", "failed signing nonce"]
        .iter()
        .any(|reason| lower.contains(reason));
    match is_login {
        true => format!("NATS refused the login at {servers}: {error}"),
        false => format!("NATS can't be reached at {servers}: {error}"),
    }
}

fn is_refusal(text: &str) -> bool {
    text.to_ascii_lowercase()
        .starts_with("permissions violation")
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
            State::Pending | State::Disconnected => {
                let news = self.notes.news.borrow();
                let problem = news.problem.clone();
                Err(problem.unwrap_or_else(|| unreachable(&self.notes.servers, "no answer yet")))
            }
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
                Err(unreachable(&self.notes.servers, &text))
            }
            false => Ok(()),
        }
    }

    /// Waits for a connection, no longer than the timeout.
    pub(super) async fn connected(&self) -> Result<Epoch, Failure> {
        let deadline = Instant::now() + self.timeout;
        let mut news = self.notes.news.subscribe();
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
        let mut news = self.notes.news.subscribe();
        while self.current() == Ok(epoch) {
            tokio::select! {
                _ = news.changed() => {}
                () = sleep(LOOK_INTERVAL) => {}
            }
        }
    }

    /// Waits until the server forbids `subject`, or forbids us to hear any answer.
    async fn refused(mut news: watch::Receiver<News>, before: u64, subject: &str) -> Failure {
        let quoted = format!("\"{subject}\"");
        loop {
            {
                let news = news.borrow_and_update();
                if let Some(text) = &news.inbox_refusal {
                    return Failure::Deaf(text.clone());
                }
                if news.refusal.0 > before && news.refusal.1.contains(&quoted) {
                    return Failure::Refused(news.refusal.1.clone());
                }
            }
            if news.changed().await.is_err() {
                std::future::pending::<()>().await;
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
        let news = self.notes.news.subscribe();
        let refusals = news.borrow().refusal.0;
        if let Some(text) = &news.borrow().inbox_refusal {
            return Err(Failure::Refused(text.clone()));
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
            failure = Self::refused(news, refusals, &subject) => Err(failure),
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
