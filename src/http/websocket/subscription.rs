//! The subscriptions of one connection.

use super::ended::Ended;
use super::message::{Ref, Subscribe};
use super::socket::Socket;
use crate::auth::Caller;
use crate::config::StreamSettings;
use crate::event::{Data, Patterns, Position};
use crate::hub::{Entry, Joined, Place, Reader, Signal};
use crate::wire::{self, Form, Notice, Say};
use bytes::Bytes;
use futures::future::{AbortHandle, Abortable, BoxFuture, FutureExt};
use futures::stream::{FuturesUnordered, StreamExt};
use hashbrown::HashMap;
use std::sync::Arc;
use tokio_tungstenite::tungstenite::protocol::frame::coding::Data as Frame;

/// A reader of the log, and what its client has been told.
pub(super) struct Subscription {
    name: Ref,
    /// What its messages begin with: its name.
    head: String,
    patterns: Patterns,
    reader: Reader,
    _place: Place,
    /// The last id told to the client, unless that was no position.
    told: Option<Position>,
    /// Whose events it leaves out.
    without: Option<Arc<str>>,
    /// Whether data that is not UTF-8 goes out in binary messages.
    binary: bool,
    settings: StreamSettings,
}

/// What a subscription has to tell.
pub(super) enum Heard {
    Signal(Signal),
    /// Nothing for a while; but it has come this far, where it is live.
    Quiet(Option<Position>),
}

/// What is known of one by its name.
struct Named {
    patterns: Patterns,
    end: AbortHandle,
    has_begun: bool,
}

type Listening = Abortable<BoxFuture<'static, (Subscription, Heard)>>;

/// All subscriptions of a connection. One that is told of is heard no more until it is
/// [listened to](Self::listen) again.
#[derive(Default)]
pub(super) struct Subscriptions {
    /// Those that are still to begin among them.
    named: HashMap<Ref, Named>,
    listening: FuturesUnordered<Listening>,
}

impl Subscriptions {
    pub(super) fn len(&self) -> usize {
        self.named.len()
    }

    pub(super) fn has(&self, name: &Ref) -> bool {
        self.named.contains_key(name)
    }

    /// Takes in the name of one that is still to begin, unless it is ended before.
    pub(super) fn name(&mut self, name: Ref, patterns: Patterns, end: AbortHandle) {
        let named = Named {
            patterns,
            end,
            has_begun: false,
        };
        self.named.insert(name, named);
    }

    /// Those of which this caller may not read all.
    pub(super) fn denied(&self, caller: &Caller) -> Vec<Ref> {
        let denied = |named: &Named| caller.subscribe(&named.patterns).is_err();
        let all = self.named.iter().filter(|(_, named)| denied(named));
        all.map(|(name, _)| name.clone()).collect()
    }

    /// Ends one, of which nothing is heard after that; whether it had begun, or nothing where there is none of this
    /// name.
    pub(super) fn end(&mut self, name: &Ref) -> Option<bool> {
        let Named { end, has_begun, .. } = self.named.remove(name)?;
        end.abort();
        Some(has_begun)
    }

    /// Begins to listen to one, or goes on.
    pub(super) fn listen(&mut self, subscription: Subscription) {
        let (end, registration) = AbortHandle::new_pair();
        let named = Named {
            patterns: subscription.patterns.clone(),
            end,
            has_begun: true,
        };
        self.named.insert(subscription.name.clone(), named);
        let next = Abortable::new(subscription.next().boxed(), registration);
        self.listening.push(next);
    }

    /// The next one that has something to tell, or never. Cancel-safe.
    pub(super) async fn next(&mut self) -> (Subscription, Heard) {
        loop {
            match self.listening.next().await {
                Some(Ok(heard)) => return heard,
                Some(Err(_aborted)) => {}
                None => std::future::pending().await,
            }
        }
    }
}

impl Subscription {
    pub(super) fn new(
        name: &Ref,
        asked: &Subscribe,
        joined: Joined,
        connection: &Arc<str>,
        settings: StreamSettings,
    ) -> Self {
        Self {
            name: name.clone(),
            head: format!("{{\"sub\":{name},"),
            patterns: asked.patterns.clone(),
            told: joined.opening.parse().ok(),
            reader: joined.reader,
            _place: joined.place,
            without: (!asked.echo).then(|| connection.clone()),
            binary: asked.binary,
            settings,
        }
    }

    async fn next(mut self) -> (Self, Heard) {
        let silence = tokio::time::sleep(self.settings.heartbeat());
        let signal = tokio::select! {
            signal = self.reader.next() => Some(signal),
            () = silence => None,
        };
        let heard = match signal {
            Some(signal) => Heard::Signal(signal),
            None => Heard::Quiet(self.reader.live_position()),
        };
        (self, heard)
    }

    /// Sends what was heard.
    pub(super) async fn tell(&mut self, heard: Heard, socket: &mut Socket) -> Result<(), Ended> {
        match heard {
            Heard::Signal(signal) => {
                self.pass_on(&signal, socket).await?;
                socket.flush().await?;
                self.reader.observe(&signal);
                return Ok(());
            }
            Heard::Quiet(Some(live)) if self.told != Some(live) => {
                self.position(live, socket).await?;
            }
            Heard::Quiet(_) => return Ok(()),
        }
        socket.flush().await
    }

    async fn pass_on(&mut self, signal: &Signal, socket: &mut Socket) -> Result<(), Ended> {
        let entries = match signal {
            Signal::Events(events) => &events[..],
            Signal::Notice(_) => &[],
        };
        let as_text = |entry: &Entry| !self.leaves_out(entry) && self.bytes(entry).is_none();
        let all = signal.each(Form::Lines, as_text);
        let mut left_out = None;
        for (at, told) in all.into_iter().enumerate() {
            let entry = entries.get(at).map(|entry| &**entry);
            if entry.is_some_and(|entry| self.leaves_out(entry)) {
                left_out = Some(told.id);
                continue;
            }
            let beside = entry.and_then(|entry| Some((entry, self.bytes(entry)?)));
            match beside {
                Some((entry, bytes)) => {
                    let envelope = self.envelope(entry);
                    socket.feed(Frame::Binary, &envelope, bytes).await?;
                }
                None => self.text(told.bytes, socket).await?,
            }
            socket.open.delivered(1, 0);
            (self.told, left_out) = (Some(told.id), None);
        }
        match left_out {
            Some(id) => self.position(id, socket).await,
            None => Ok(()),
        }
    }

    fn leaves_out(&self, entry: &Entry) -> bool {
        let connection = entry.event().message.connection.as_deref();
        self.without.is_some() && connection == self.without.as_deref()
    }

    /// An event's data, where that goes out in a binary message.
    fn bytes(&self, entry: &Entry) -> Option<Bytes> {
        match &entry.event().message.data {
            Data::Bytes(bytes) if self.binary && std::str::from_utf8(bytes).is_err() => {
                Some(bytes.clone())
            }
            _ => None,
        }
    }

    /// The line that stands before an event's data there.
    fn envelope(&self, entry: &Entry) -> String {
        let envelope = wire::head(entry.event());
        format!("{}{}\n", self.head, &envelope[1..])
    }

    /// Sends a line as a message: what it says, with the subscription's name in front.
    async fn text(&self, line: Bytes, socket: &mut Socket) -> Result<(), Ended> {
        let rest = line.slice(1..line.len() - 1);
        socket.feed(Frame::Text, &self.head, rest).await
    }

    async fn position(&mut self, id: Position, socket: &mut Socket) -> Result<(), Ended> {
        self.told = Some(id);
        let say = Say::Position {};
        let line = wire::notice(Form::Lines, &Notice { id, say });
        self.text(line, socket).await
    }
}
