//! A reader as the body of a response.

use super::pace::Paced;
use crate::clients::Seat;
use crate::config::StreamSettings;
use crate::event::Position;
use crate::hub::{Due, End, Joined, Place, Reader, Signal, Term, heartbeat};
use crate::metrics::OpenStream;
use crate::wire::{self, Closing, Form};
use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

/// When streams are to end, and why.
pub(super) type Ending = watch::Receiver<Option<End>>;

/// A stream of events.
pub(super) struct Stream {
    reader: Reader,
    _place: Place,
    form: Form,
    settings: StreamSettings,
    ending: Ending,
    /// When it ends by itself, once that is known.
    ends: Option<Instant>,
    lease: Lease,
    /// The last id told to the client, unless that was no position.
    told: Option<Position>,
    opening: Option<Bytes>,
    /// What was heard and is not sent yet, from this of its events on.
    rest: Option<(Signal, usize)>,
    ended: bool,
}

/// What it has and is counted as until it ends.
pub(super) struct Lease {
    pub(super) term: Option<Term>,
    pub(super) seat: Seat,
    pub(super) open: OpenStream,
    pub(super) pace: Paced,
}

impl Stream {
    pub(super) fn new(
        joined: Joined,
        form: Form,
        settings: StreamSettings,
        ending: Ending,
        lease: Lease,
    ) -> Self {
        let opening = wire::opening(form, settings.retry(), Some(&joined.opening));
        Self {
            reader: joined.reader,
            _place: joined.place,
            form,
            settings,
            ending,
            ends: None,
            lease,
            told: joined.opening.parse().ok(),
            opening: Some(opening.into()),
            rest: None,
            ended: false,
        }
    }

    /// What it sends, piece by piece, to its end or the server's.
    pub(super) fn into_pieces(self) -> impl futures::Stream<Item = Bytes> + Send {
        futures::stream::unfold(self, async |mut stream| {
            stream.lease.pace.asked();
            let bytes = stream.next().await?;
            stream.lease.pace.given(stream.told);
            Some((bytes, stream))
        })
    }

    async fn next(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        if let Some(opening) = self.opening.take() {
            self.lease.open.delivered(0, opening.len() as u64);
            return Some(opening);
        }
        let silence = Instant::now() + self.settings.heartbeat();
        // What is left stays where it is until it is its turn: what comes due goes before it.
        let heard = async {
            match self.rest.take() {
                Some(rest) => rest,
                None => (self.reader.next().await, 0),
            }
        };
        let (bytes, told, count) = tokio::select! {
            biased;
            reason = ended(&mut self.ending, &mut self.ends) => {
                (self.close(reason), self.told, 0)
            }
            () = self.lease.seat.revoked() => (self.close(Closing::Revoked), self.told, 0),
            due = due(&mut self.lease.term) => (self.come_due(due), self.told, 0),
            (signal, from) = heard => {
                let piece = signal.piece(self.form, from);
                if piece.next.is_none() {
                    self.reader.observe(&signal);
                }
                self.rest = piece.next.map(|next| (signal, next));
                (piece.bytes, piece.id, piece.count)
            }
            () = tokio::time::sleep_until(silence) => {
                let (bytes, told) = heartbeat(self.form, self.reader.live_position(), self.told);
                (bytes, told, 0)
            }
        };
        self.told = told;
        self.lease.open.delivered(count as u64, bytes.len() as u64);
        Some(bytes)
    }
}

impl Stream {
    /// Its last piece.
    fn close(&mut self, reason: Closing) -> Bytes {
        self.ended = true;
        self.lease.open.closes(reason);
        let id = self.told.map(|id| id.to_string());
        let retry = self.settings.retry_after(reason);
        wire::closing(self.form, retry, id.as_deref(), reason).into()
    }

    fn come_due(&mut self, due: Due) -> Bytes {
        match due {
            Due::Soon(seconds) => {
                let id = self.told.map(|id| id.to_string());
                wire::expiring(self.form, id.as_deref(), seconds).into()
            }
            Due::Over => self.close(Closing::Token),
        }
    }
}

/// The next that comes due of a caller's term, or never. Cancel-safe.
pub(super) async fn due(term: &mut Option<Term>) -> Due {
    match term {
        Some(term) => term.next().await,
        None => std::future::pending().await,
    }
}

/// Waits for a stream's moment to end, which it chooses once. Cancel-safe.
pub(super) async fn ended(ending: &mut Ending, ends: &mut Option<Instant>) -> Closing {
    let end = match ending.wait_for(Option::is_some).await {
        Ok(end) => *end,
        Err(_) => None, // the server itself is gone
    };
    let Some(end) = end else {
        return Closing::Drain;
    };
    tokio::time::sleep_until(*ends.get_or_insert_with(|| end.moment())).await;
    end.reason
}
