//! One connection: its loop, and what it does for its client.

use super::answer::{self, Answer};
use super::authority::Authority;
use super::ended::Ended;
use super::message::{Asked, Op, Ref, Subscribe, Unread, members};
use super::socket::{Incoming, Socket};
use super::subscription::{Subscription, Subscriptions};
use crate::event::Trace;
use crate::http::Service;
use crate::http::client;
use crate::http::problem::Problem;
use crate::http::refusal;
use crate::http::stream::ended;
use crate::http::subscribe::closing;
use crate::hub::{Joined, Refusal, Status};
use crate::metrics::How;
use crate::publish::Share;
use crate::wire::Closing;
use futures::future::{BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use http::Method;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

/// How many messages in a row may be unreadable, or too many for their client's rate.
const UNHEARD: usize = 1000;
/// How long what is under way at the end may take to be answered.
const SETTLING: Duration = Duration::from_secs(2);

/// What has been done.
pub(super) enum Done {
    /// With what it holds until it is sent.
    Answer(Answer, Option<Share>),
    /// A subscription is ready to begin.
    Joined(Ref, Subscribe, Result<Joined, Refusal>),
    /// Nobody waits for it any more.
    Nothing,
}

/// A connection.
pub(super) struct Connection {
    pub(super) service: Service,
    pub(super) id: Arc<str>,
    pub(super) socket: Socket,
    pub(super) authority: Authority,
    pub(super) subscriptions: Subscriptions,
    /// The trace of what names none, as the request told it that has opened this.
    pub(super) trace: Option<Box<Trace>>,
    /// What the client waits for.
    under_way: FuturesUnordered<BoxFuture<'static, Done>>,
    /// How many messages in a row could not be read, or were too many.
    unheard: usize,
    /// When a message last came from the client, or could not be waited for.
    heard: Instant,
}

impl Connection {
    pub(super) fn new(
        service: Service,
        id: Arc<str>,
        socket: Socket,
        authority: Authority,
        trace: Option<Box<Trace>>,
    ) -> Self {
        Self {
            service,
            id,
            socket,
            authority,
            subscriptions: Subscriptions::default(),
            trace,
            under_way: FuturesUnordered::new(),
            unheard: 0,
            heard: Instant::now(),
        }
    }

    /// Serves the client until it goes, or the server does. At the server's end it stops wherever it is: a client that
    /// takes nothing does not hold that up.
    pub(super) async fn run(mut self) {
        let mut ending = self.service.ending.clone();
        let mut ends = None;
        let ended = tokio::select! {
            ended = self.serve() => ended,
            reason = ended(&mut ending, &mut ends) => Ended::Closing(reason),
        };
        let gone = async { while ending.changed().await.is_ok() {} };
        let counters = self.service.websocket_counters.clone();
        let how = ended.label();
        self.socket.open.ends(ended.reason());
        self.socket.open.is_of(self.authority.subject());
        tokio::select! {
            () = self.end(ended) => {}
            () = gone => {}
        }
        counters.ended.get_or_create(&How { code: how }).inc();
    }

    /// Says farewell, and closes the connection.
    async fn end(mut self, ended: Ended) {
        tracing::debug!(%ended, connection = %self.id, "a WebSocket ends");
        if let Ended::Closing(reason) = ended {
            // One that is lost by now has been told enough.
            let _ = tokio::time::timeout(SETTLING, self.settle(reason)).await;
        }
        // Nothing more is told, however long the client takes to take its leave.
        self.subscriptions = Subscriptions::default();
        self.socket.close(&ended).await;
    }

    /// Answers what is under way, and announces the end.
    async fn settle(&mut self, reason: Closing) -> Result<(), Ended> {
        if !self.socket.is_between_messages() {
            return Ok(());
        }
        while let Some(done) = self.under_way.next().await {
            if let Done::Answer(answer, _share) = done {
                self.answer(answer).await?;
            }
        }
        self.socket.text(answer::closing(reason)).await
    }

    async fn serve(&mut self) -> Ended {
        match self.serve_all().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        }
    }

    /// The loop. Each turn waits for one of:
    /// - a message of the client, unless as much is under way for it as may be;
    /// - something that it has asked for being done;
    /// - something that one of its subscriptions has to tell;
    /// - the end of its token, or of the time to show one;
    /// - the time for a ping;
    /// - the time when it has been silent for too long, or has begun a message and not ended it.
    ///
    /// All that is sent is waited for, so nothing piles up for a client that takes nothing: the socket fails when that
    /// goes on for too long.
    async fn serve_all(&mut self) -> Result<std::convert::Infallible, Ended> {
        self.socket.text(answer::connected(&self.id)).await?;
        self.refuse_early()?;
        let settings = self.service.websockets;
        let mut pings = interval_at(Instant::now() + settings.ping(), settings.ping());
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let listens = self.under_way.len() < settings.max_outstanding;
            let silent_at = self.silent_at();
            let due = self.message_due();
            tokio::select! {
                incoming = self.socket.next(), if listens => self.hear(incoming?).await?,
                Some(done) = self.under_way.next() => self.finish(done).await?,
                (mut subscription, heard) = self.subscriptions.next() => {
                    subscription.tell(heard, &mut self.socket).await?;
                    self.subscriptions.listen(subscription);
                }
                turn = self.authority.turn() => self.take_turn(turn).await?,
                _ = pings.tick() => self.socket.ping().await?,
                () = sleep_until(silent_at), if listens => self.last_look().await?,
                () = sleep_until(due.unwrap_or(silent_at)), if listens && due.is_some() => self.check_due().await?,
            }
            if !listens {
                self.heard = Instant::now();
            } else if self.under_way.len() >= settings.max_outstanding {
                self.service.websocket_counters.outstanding_full.inc();
            }
        }
    }

    /// When the client has been silent for too long, unless something of a message comes before.
    fn silent_at(&self) -> Instant {
        self.heard.max(self.socket.came()) + self.service.websockets.silence()
    }

    /// When the message that has begun has to be whole, as a body has to be over HTTP.
    fn message_due(&self) -> Option<Instant> {
        Some(self.socket.began()? + self.service.body_timeout)
    }

    /// A message that has come whole while there was no time to listen is not late.
    async fn check_due(&mut self) -> Result<(), Ended> {
        if let Some(incoming) = self.socket.next().now_or_never() {
            return self.hear(incoming?).await;
        }
        match self.message_due() {
            Some(due) if due <= Instant::now() => Err(Ended::policy(format!(
                "a message was not sent within {} s, as long as it may take",
                self.service.body_timeout.as_secs()
            ))),
            _ => Ok(()),
        }
    }

    /// Sends those away who come to a replica that can't serve them.
    fn refuse_early(&self) -> Result<(), Ended> {
        if let Some(end) = *self.service.ending.borrow() {
            return Err(Ended::Closing(end.reason));
        }
        match *self.service.hub.status().borrow() {
            Status::Starting { .. } => Err(Ended::Closing(Closing::Starting)),
            _ => Ok(()),
        }
    }

    /// What has come while there was no time to listen is no silence.
    async fn last_look(&mut self) -> Result<(), Ended> {
        match self.socket.next().now_or_never() {
            Some(incoming) => self.hear(incoming?).await,
            None if self.silent_at() > Instant::now() => Ok(()),
            None => Err(Ended::policy("the client is silent, and answers no ping")),
        }
    }

    async fn hear(&mut self, incoming: Incoming) -> Result<(), Ended> {
        self.heard = Instant::now();
        // That may have come at the same time, and goes first.
        if self.authority.is_revoked() {
            return Err(Ended::Closing(Closing::Revoked));
        }
        let max_patterns = self.service.max_patterns;
        let asked = match &incoming {
            Incoming::Text(text) => Asked::read(members(text.as_bytes()), None, max_patterns),
            Incoming::Binary(bytes) => {
                let at = memchr::memchr(b'\n', bytes);
                let (line, beside) =
                    at.map_or((&[][..], &[][..]), |at| (&bytes[..at], &bytes[at + 1..]));
                let no_line = |_| {
                    Ended::unsupported("a binary message begins with a line that is a JSON object")
                };
                let members = members(line).map_err(no_line)?;
                Asked::read(Ok(members), Some(beside), max_patterns)
            }
            // A ping is answered before more is read, so that the answers do not pile up.
            Incoming::Sign => return self.socket.flush().await,
        };
        drop(incoming);
        self.socket.shrink().await?;
        let rates = &self.service.message_rates;
        let account = self.authority.account();
        let room = client::take(rates, account.as_ref(), "send messages", "message");
        let unheard = match (asked, room) {
            (Ok(Asked { reference, op }), Ok(_)) => {
                self.unheard = 0;
                return self.begin(reference, op).await;
            }
            (Ok(Asked { reference, .. }), Err(problem)) => Unread {
                reference: Some(reference),
                problem,
            },
            (Err(unread), _) => unread,
        };
        self.unheard += 1;
        if self.unheard >= UNHEARD {
            return Err(Ended::policy(format!(
                "{UNHEARD} messages in a row could not be read, or came too fast"
            )));
        }
        let Unread { reference, problem } = unheard;
        self.refuse(reference.as_ref(), &problem).await
    }

    async fn begin(&mut self, reference: Ref, op: Op) -> Result<(), Ended> {
        let begun = match op {
            Op::Subscribe(asked) => self.subscribe(&reference, asked),
            Op::Unsubscribe(name) => return self.unsubscribe(&reference, &name).await,
            Op::Publish(message, key) => self.publish(&reference, *message, key),
            Op::Request(request) => self.request(&reference, request),
            Op::Auth(token) => return self.authenticate(&reference, token.as_ref()).await,
        };
        let mut begun = match begun {
            Ok(begun) => begun,
            Err(problem) => return self.refuse(Some(&reference), &problem).await,
        };
        // Publishes are handed to the log in their order by being begun in it.
        match futures::poll!(begun.as_mut()) {
            std::task::Poll::Ready(done) => self.finish(done).await,
            std::task::Poll::Pending => {
                self.under_way.push(begun);
                Ok(())
            }
        }
    }

    async fn finish(&mut self, done: Done) -> Result<(), Ended> {
        match done {
            Done::Answer(answer, _share) => self.answer(answer).await,
            Done::Joined(name, asked, Ok(joined)) => {
                let json = format!("{{\"id\":\"{}\"}}", joined.opening);
                let streams = self.service.streams;
                let subscription = Subscription::new(&name, &asked, joined, &self.id, streams);
                self.answer(answer::result(&name, &json)).await?;
                self.subscriptions.listen(subscription);
                Ok(())
            }
            Done::Joined(name, _, Err(refusal)) => {
                tracing::debug!(%refusal, "a subscription was told to come back");
                self.subscriptions.end(&name);
                self.refuse(Some(&name), &Problem::unavailable(closing(&refusal)))
                    .await
            }
            Done::Nothing => Ok(()),
        }
    }

    pub(super) async fn answer(&mut self, answer: Answer) -> Result<(), Ended> {
        match answer {
            Answer::Text(text) => self.socket.text(text).await,
            Answer::Binary(head, bytes) => self.socket.binary(&head, bytes).await,
        }
    }

    pub(super) async fn refuse(
        &mut self,
        reference: Option<&Ref>,
        problem: &Problem,
    ) -> Result<(), Ended> {
        let client = self.authority.client();
        let path = format!("{}/ws", self.service.base);
        refusal::tell(&self.service.refused, problem, client, &Method::GET, &path);
        self.answer(answer::error(reference, problem)).await
    }
}
