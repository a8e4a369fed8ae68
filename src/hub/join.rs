//! Where a new reader begins.

use super::reader::Reader;
use super::status::Status;
use super::window::{Cursor, Lookup};
use super::{Place, Shared};
use crate::event::{Patterns, Position};
use crate::log::LogError;
use std::sync::Arc;

/// The id told first to a client whose own was none: it is none either, so that a client which is cut off
/// before it hears of the reset hears of it when it comes back.
pub const NO_ID: &str = "0-000000";

/// Where a reader wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// With what comes next.
    Now,
    /// With the first event that the log holds.
    First,
    /// After this position.
    After(Position),
    /// After something that is no position: to be told so, and to begin with the first event.
    Unknown,
    /// With the newest so many events of its patterns, as far as the window reaches.
    Last(usize),
}

/// Why a reader can't join now. It may later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// As many readers as may be are there.
    #[error("this replica serves as many readers as it may ({max})")]
    Overload {
        /// How many that is.
        max: usize,
    },
    /// The window is not warm yet.
    #[error("this replica is starting: {0}")]
    Starting(String),
    /// The log has to be asked, and can't be.
    #[error("the log can't be asked where to begin: {0}")]
    Unavailable(String),
}

impl From<LogError> for Refusal {
    fn from(LogError::Unavailable(reason): LogError) -> Self {
        Self::Unavailable(reason)
    }
}

/// A reader that has joined.
#[derive(Debug)]
pub struct Joined {
    /// The reader.
    pub reader: Reader,
    /// Its place among those that there may be.
    pub place: Place,
    /// The id to tell the client first, with which it would join just so again.
    pub opening: String,
}

/// Where the log was found to go on for a reader, as long as it does not change.
struct Beginning {
    after: Position,
    opening: String,
    reset: bool,
    generation: u64,
}

impl Shared {
    pub(super) async fn join(
        self: &Arc<Self>,
        patterns: Patterns,
        start: Start,
    ) -> Result<Joined, Refusal> {
        if let Status::Starting { reason } = &*self.status.borrow() {
            return Err(Refusal::Starting(reason.clone()));
        }
        let place = Place::take(self)?;
        let (cursor, opening, reset) = match start {
            Start::Now => self.join_last(&patterns, 0),
            Start::Last(count) => self.join_last(&patterns, count),
            start => self.join_at(&patterns, start).await?,
        };
        let reader = Reader::new(self.clone(), patterns, cursor, reset);
        Ok(Joined {
            reader,
            place,
            opening,
        })
    }

    fn join_last(&self, patterns: &Patterns, count: usize) -> (Cursor, String, bool) {
        let cursor = self.window.write().join_last(patterns, count);
        let opening = cursor.known().to_string();
        (cursor, opening, false)
    }

    async fn join_at(
        &self,
        patterns: &Patterns,
        start: Start,
    ) -> Result<(Cursor, String, bool), Refusal> {
        loop {
            let beginning = self.beginning(start).await?;
            let mut window = self.window.write();
            if window.generation() == beginning.generation {
                let cursor = window.join(patterns, beginning.after);
                return Ok((cursor, beginning.opening, beginning.reset));
            }
        }
    }

    async fn beginning(&self, start: Start) -> Result<Beginning, Refusal> {
        let generation = self.window.read().generation();
        let of = |after: Position, opening: String, reset: bool| Beginning {
            after,
            opening,
            reset,
            generation,
        };
        match start {
            Start::After(position) if self.is_ours(position).await? => {
                Ok(of(position, position.to_string(), false))
            }
            Start::After(foreign) => Ok(of(self.first().await?, foreign.to_string(), true)),
            Start::Unknown => Ok(of(self.first().await?, NO_ID.to_owned(), true)),
            Start::First | Start::Now | Start::Last(_) => {
                let first = self.first().await?;
                Ok(of(first, first.to_string(), false))
            }
        }
    }

    /// The position before the first event that the log holds.
    async fn first(&self) -> Result<Position, LogError> {
        Ok(Position::before(self.log.bounds().await?.first))
    }

    /// Whether a position is of this log: by the window where it can tell, else by the log's own word.
    async fn is_ours(&self, position: Position) -> Result<bool, Refusal> {
        let lookup = self.window.read().lookup(position);
        match lookup {
            Lookup::Ours => Ok(true),
            Lookup::Foreign => Ok(false),
            Lookup::Unknown => Ok(self.log_has(position).await?),
            // Where the log confirms it, the reader waits at its place until the follower has passed that: which
            // may be never, if what stands there is of others.
            Lookup::Ahead => Ok(self.reaches(position).await? && self.log_has(position).await?),
        }
    }

    async fn reaches(&self, position: Position) -> Result<bool, LogError> {
        let end = self.log.bounds().await?.last;
        Ok(position.sequence() <= end.sequence())
    }

    /// What stood at its place and is gone can't be told from what never did; then what is missing is a gap.
    async fn log_has(&self, position: Position) -> Result<bool, LogError> {
        let found = self.log.position_at(position.sequence()).await?;
        Ok(found.is_none_or(|found| found == position))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Data;
    use crate::hub::testing::{hub, publish};
    use crate::hub::{Hub, Signal};
    use crate::wire::Say;

    async fn join(hub: &Hub, start: Start) -> Joined {
        let patterns = Patterns::new(vec!["a".parse().unwrap()], 1).unwrap();
        hub.join(patterns, start).await.unwrap()
    }

    #[tokio::test]
    async fn the_start_of_the_log_is_an_id_even_where_the_window_reaches_further_back() {
        let hub = hub(2, 1 << 20).await;
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(publish(&hub, "a", Data::Bytes("1".into())).await);
        }
        let opening = join(&hub, Start::First).await.opening;
        assert_eq!(opening, "2-000000");
        let mut again = join(&hub, Start::After(opening.parse().unwrap())).await;
        let Signal::Events(entries) = again.reader.next().await else {
            panic!("the two events that the log holds");
        };
        let found: Vec<_> = entries.iter().map(|entry| entry.position()).collect();
        assert_eq!(found, ids[2..]);
        // Where the log holds an event, it is not of this log still.
        let mut foreign = join(&hub, Start::After(Position::before(4))).await;
        let Signal::Notice(notice) = foreign.reader.next().await else {
            panic!("a reset");
        };
        assert_eq!(notice.say, Say::Reset {});
    }
}
