//! The hub, step by step, in one thread: what happens depends on the seed alone.

use super::{Model, Place, Welcome, patience, patterns, some_id};
use crate::replica::within;
use crate::seed;
use fastrand::Rng;
use futures::FutureExt;
use tidings::event::Position;
use tidings::hub::{
    self, Hub, HubLimits, Joined, NO_ID, Reader, Signal, Start, Status, WindowLimits,
};
use tidings::log::{Log, MemoryLimits, MemoryLog};
use tidings::metrics::HubCounters;
use tidings::wire::{Form, GapReason, Say};

const STEPS: usize = 40_000;
/// Steps until all begins anew, with other limits.
const LIFE: usize = 2_000;
const READERS: usize = 12;

struct World {
    rng: Rng,
    model: Model,
    log: Log,
    hub: Hub,
    readers: Vec<Subject>,
    follower: tokio::task::JoinHandle<()>,
}

struct Subject {
    reader: Reader,
    _place: hub::Place,
    place: Place,
}

impl Drop for World {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

impl World {
    async fn new(mut rng: Rng) -> Self {
        let kept = [1, 3, 20, 200, 100_000][rng.usize(..5)];
        let window_events = [1, 2, 10, 100, 100_000][rng.usize(..5)];
        let window_bytes = [3_000, 1 << 30][rng.usize(..2)];
        let log = Log::Memory(MemoryLog::new(MemoryLimits {
            bytes: 1 << 30,
            events: kept,
            keys: 10,
        }));
        let limits = HubLimits {
            window: WindowLimits {
                bytes: window_bytes,
                events: window_events,
            },
            cold_bytes: 32 << 20,
            readers: READERS,
        };
        let mut model = Model::new(kept);
        for _ in 0..[0, 5, 6000][rng.usize(..3)] {
            model.append(&log, &mut rng).await;
        }
        let hub = Hub::new(log.clone(), limits, HubCounters::default());
        let following = hub.clone();
        let follower = tokio::spawn(async move {
            following.follow().await;
        });
        let mut status = hub.status();
        let live = status.wait_for(|status| *status == Status::Live);
        within("the hub to follow", live).await.expect("the hub");
        Self {
            rng,
            model,
            log,
            hub,
            readers: Vec::new(),
            follower,
        }
    }

    async fn step(&mut self) {
        match self.rng.u8(..100) {
            0..35 => {
                self.append(1).await;
                if self.rng.u8(..3) > 0 {
                    self.settle().await;
                }
            }
            35..38 => self.append(40).await, // more than the follower has a chance to see, where few are kept
            38..50 => self.join().await,
            50..80 => self.listen().await,
            80..88 => self.glance(),
            88..94 => self.move_on(),
            94..97 => self.come_back().await,
            _ => self.leave(),
        }
    }

    async fn append(&mut self, most: usize) {
        for _ in 0..=self.rng.usize(..most) {
            self.model.append(&self.log, &mut self.rng).await;
        }
    }

    /// Waits until the hub has followed everything.
    async fn settle(&self) {
        let last = self.model.last();
        within("the hub to follow", async {
            while self.hub.usage().head.sequence() < last {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn join(&mut self) {
        if self.readers.len() == READERS {
            return self.leave();
        }
        let patterns = patterns(&mut self.rng);
        let usage = self.hub.usage();
        let (head, floor) = (usage.head.sequence(), usage.floor.sequence());
        let mut place = Place {
            patterns: patterns.clone(),
            at: head,
            id: String::new(),
        };
        let (start, welcome) = match self.rng.u8(..6) {
            0 => (Start::Now, Welcome::Welcome),
            1 => (Start::First, Welcome::Welcome),
            2 => (Start::Last(self.rng.usize(..12)), Welcome::Welcome),
            _ => {
                let id = some_id(&self.model, &mut self.rng);
                let start = id.parse().map_or(Start::Unknown, Start::After);
                // What is ahead of the hub is waited for, and the window may have moved on by then.
                self.settle().await;
                let floor = self.hub.usage().floor.sequence();
                (start, self.model.welcome(&id, floor))
            }
        };
        let joined = self.hub.join(patterns, start).await.expect("there is room");
        place.id.clone_from(&joined.opening);
        let opening = joined.opening.parse::<Position>();
        match start {
            Start::Unknown => assert_eq!(joined.opening, NO_ID),
            Start::After(id) => {
                assert_eq!(joined.opening, id.to_string());
                place.at = id.sequence();
            }
            Start::First => {
                place.at = self.model.first() - 1;
                assert_eq!(opening, Ok(Position::before(self.model.first())));
            }
            Start::Now => {
                self.model.check_position(opening.unwrap());
                assert_eq!(opening.unwrap().sequence(), head);
            }
            Start::Last(count) => {
                self.model.check_position(opening.unwrap());
                place.at = opening.unwrap().sequence();
                let at_hand = self.model.between(&place.patterns, floor, head).count();
                let begins_with = self.model.between(&place.patterns, place.at, head).count();
                assert_eq!(begins_with, at_hand.min(count), "{place:?}");
            }
        }
        let mut subject = subject(joined, place);
        if welcome == Welcome::Reset {
            let signal = subject
                .reader
                .next()
                .now_or_never()
                .expect("a reset at once");
            let Signal::Notice(notice) = signal else {
                panic!("{signal:?}")
            };
            assert_eq!(notice.say, Say::Reset {});
            self.model.hear_reset(&mut subject.place, notice.id);
        }
        self.readers.push(subject);
    }

    /// A reader listens until it has heard all that there is for it.
    async fn listen(&mut self) {
        self.settle().await;
        let mut patience = patience(&mut self.rng);
        let Some(subject) = self.rng.choice(&mut self.readers) else {
            return;
        };
        while self.model.is_pending(&subject.place) && patience > 0 {
            patience -= 1;
            let signal = within("what is to come", subject.reader.next()).await;
            hear(&self.model, &mut subject.place, &signal);
        }
    }

    /// A reader is asked once and then left alone, in the middle of whatever it was about to do.
    fn glance(&mut self) {
        let Some(subject) = self.rng.choice(&mut self.readers) else {
            return;
        };
        if let Some(signal) = subject.reader.next().now_or_never() {
            hear(&self.model, &mut subject.place, &signal);
        }
    }

    /// A reader for which nothing has come for long is told how far the log is.
    fn move_on(&mut self) {
        let head = self.hub.usage().head;
        let Some(subject) = self.rng.choice(&mut self.readers) else {
            return;
        };
        if let Some(id) = subject.reader.live_position() {
            let place = &mut subject.place;
            assert!(
                id == head || id.to_string() == place.id,
                "{place:?}: {id}, not {head}"
            );
            let missed = self
                .model
                .between(&place.patterns, place.at, id.sequence())
                .next();
            assert!(missed.is_none(), "{place:?} has not been told {missed:?}");
            self.model.hear_position(place, id);
        }
    }

    /// A reader is cut off, and comes back with the last id that it was told.
    async fn come_back(&mut self) {
        self.settle().await;
        if self.readers.is_empty() {
            return;
        }
        let index = self.rng.usize(..self.readers.len());
        let place = self.readers.swap_remove(index).place;
        let start = place.id.parse().map_or(Start::Unknown, Start::After);
        let floor = self.hub.usage().floor.sequence();
        let welcome = self.model.welcome(&place.id, floor);
        let joined = self
            .hub
            .join(place.patterns.clone(), start)
            .await
            .expect("there is room");
        assert_eq!(joined.opening, place.id);
        let mut subject = subject(joined, place);
        if welcome == Welcome::Reset {
            let signal = subject
                .reader
                .next()
                .now_or_never()
                .expect("a reset at once");
            hear(&self.model, &mut subject.place, &signal);
        }
        self.readers.push(subject);
    }

    fn leave(&mut self) {
        if !self.readers.is_empty() {
            let index = self.rng.usize(..self.readers.len());
            self.readers.swap_remove(index);
        }
    }

    /// All readers hear all that there is for them, and nothing more.
    async fn end(mut self) {
        self.settle().await;
        for subject in &mut self.readers {
            while self.model.is_pending(&subject.place) {
                let signal = within("what is to come", subject.reader.next()).await;
                hear(&self.model, &mut subject.place, &signal);
            }
            for _ in 0..20 {
                tokio::task::yield_now().await;
                if let Some(signal) = subject.reader.next().now_or_never() {
                    hear(&self.model, &mut subject.place, &signal);
                }
            }
        }
        self.readers.clear();
        let usage = self.hub.usage();
        assert_eq!((usage.readers, usage.groups), (0, 0));
        assert!(usage.feeds <= usage.events, "{usage:?}");
    }
}

fn subject(joined: Joined, place: Place) -> Subject {
    Subject {
        reader: joined.reader,
        _place: joined.place,
        place,
    }
}

fn hear(model: &Model, place: &mut Place, signal: &Signal) {
    match signal {
        Signal::Events(entries) => {
            assert!(!entries.is_empty());
            for entry in entries {
                let id = entry.position().to_string();
                let payload = entry.encoded(Form::Sse).payload();
                let block = std::str::from_utf8(&payload).unwrap();
                let data = block.strip_prefix(&format!("id: {id}\ndata: "));
                let data = data
                    .and_then(|rest| rest.strip_suffix("\n\n"))
                    .expect("a block");
                let feed = entry.event().message.feed.as_str();
                model.hear_event(place, &id, Some(feed), data);
            }
        }
        Signal::Notice(notice) => match notice.say {
            Say::Gap {
                after,
                before,
                reason,
            } => {
                assert_eq!(reason, GapReason::Expired);
                model.hear_gap(place, notice.id, after, before);
            }
            Say::Reset {} => model.hear_reset(place, notice.id),
            Say::Position {} => panic!("{notice:?}"),
        },
    }
}

#[tokio::test]
async fn every_reader_is_told_exactly_what_the_model_says() {
    let mut rng = seed::rng();
    for _ in 0..STEPS / LIFE {
        let mut world = World::new(rng.fork()).await;
        for _ in 0..LIFE {
            world.step().await;
        }
        world.end().await;
    }
}
