//! A log, its hub, and what becomes of them.

use super::line::{Known, Line};
use super::readers::Subject;
use super::told::Told;
use crate::event::Position;
use crate::hub::{Hub, HubLimits, Status, WindowLimits};
use crate::log::{Bounds, FaultyLog, Log, MemoryLimits};
use fastrand::Rng;
use std::fmt::Debug;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Far longer than anything takes, by the clock of the test.
const LONG: Duration = Duration::from_secs(3600);
/// How many copies of the log there are at once, to come back to.
const BACKUPS: usize = 3;

pub(super) struct World {
    pub(super) rng: Rng,
    limits: MemoryLimits,
    known: Known,
    backups: Vec<Known>,
    pub(super) faulty: FaultyLog,
    pub(super) hub: Hub,
    follower: JoinHandle<()>,
    pub(super) told: Told,
    pub(super) readers: Vec<Subject>,
    /// How the hub stood to the log when it was last looked at, or when the connection was cut.
    session: u64,
    head: Position,
    floor: Position,
    created: u64,
    /// Whether the hub follows the log as it is.
    pub(super) current: bool,
    /// Whether the log became another while the follower was looking at it.
    mixed: bool,
}

impl Drop for World {
    fn drop(&mut self) {
        self.follower.abort();
    }
}

/// Waits for what can't fail to come.
pub(super) async fn within<T>(what: impl Debug, wait: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(LONG, wait).await;
    waited.unwrap_or_else(|_| panic!("waited in vain for {what:?}"))
}

impl World {
    pub(super) async fn new(mut rng: Rng) -> Self {
        let limits = MemoryLimits {
            bytes: 1 << 30,
            events: [1, 3, 20, 200, 100_000][rng.usize(..5)],
            keys: 1,
        };
        let hub_limits = HubLimits {
            window: WindowLimits {
                bytes: [3_000, 1 << 30][rng.usize(..2)],
                events: [1, 2, 10, 100, 100_000][rng.usize(..5)],
            },
            cold_bytes: 1 << 20,
            // One that was forked comes back with a place of its own.
            readers: 2 * super::readers::READERS,
        };
        let mut known = Known::empty([1, 1, 50][rng.usize(..3)], limits);
        for _ in 0..[0, 0, 5, 5, 5, 5000][rng.usize(..6)] {
            known.append(&mut rng).await;
        }
        let faulty = FaultyLog::new(known.log.clone(), rng.fork());
        let hub = Hub::new(Log::Faulty(faulty.clone()), hub_limits, Default::default());
        let following = hub.clone();
        let follower = tokio::spawn(async move {
            following.follow().await;
        });
        let mut status = hub.status();
        let live = status.wait_for(|status| *status == Status::Live);
        within("the hub to follow", live).await.expect("the hub");
        let told = Told {
            line: known.line.clone(),
            log: known.line.clone(),
            passed: Vec::new(),
            first: known.line.first,
            changes: Vec::new(),
            oldest: None,
            head: Position::START,
        };
        let mut world = Self {
            rng,
            limits,
            created: known.bounds().await.created,
            known,
            backups: Vec::new(),
            faulty,
            hub,
            follower,
            told,
            readers: Vec::new(),
            session: 1,
            head: Position::START,
            floor: Position::START,
            current: true,
            mixed: false,
        };
        world.settle().await;
        world
    }

    pub(super) async fn step(&mut self) {
        match self.rng.u8(..100) {
            0..28 => {
                self.append(1).await;
                match self.rng.u8(..3) {
                    0 => {}
                    1 => tokio::task::yield_now().await,
                    _ => self.settle().await,
                }
            }
            28..31 => self.append(40).await, // more than the follower has a chance to see, where few are kept
            31..34 => self.change().await,
            34..35 => self.go_away(),
            35..37 => self.faulty.come_back(),
            37..39 => self.wait().await,
            _ => self.step_of_readers().await,
        }
    }

    async fn append(&mut self, most: usize) {
        for _ in 0..=self.rng.usize(..most) {
            let event = self.known.append(&mut self.rng).await;
            if self.is_looked_at() {
                self.mixed = true; // it may have lost what the follower looks for
            }
            let first = self.known.line.first;
            self.told.first = self.told.first.max(first);
            self.told.log.push(event.clone(), first);
            if self.current {
                self.told.line.push(event, first);
            }
        }
    }

    /// Whether the follower is about to find out what the log is.
    fn is_looked_at(&self) -> bool {
        !self.faulty.is_away() && self.hub.shared.session.borrow().is_none()
    }

    fn go_away(&mut self) {
        self.observe();
        self.cut();
        self.faulty.go_away();
    }

    /// Some time passes.
    async fn wait(&mut self) {
        let most = [0, 10, 100, 1000, 5000][self.rng.usize(..5)];
        let some = Duration::from_millis(self.rng.u64(..=most));
        tokio::time::sleep(some).await;
        self.observe();
    }

    /// The connection is about to be cut.
    fn cut(&mut self) {
        let usage = self.hub.usage();
        self.mixed |= self.is_looked_at();
        (self.head, self.floor) = (usage.head, usage.floor);
        self.current = false;
    }

    /// The log becomes another, or only the connection is cut.
    async fn change(&mut self) {
        if self.rng.u8(..3) == 0 {
            self.go_away();
        }
        let (first, last) = (self.known.line.first, self.known.line.last());
        let end = self.rng.u64(first - 1..=last);
        let next = match self.rng.u8(..8) {
            0 => Known::empty(1, self.limits),
            1 => Known::empty(self.rng.u64(1..=last + 10), self.limits),
            2 => self.known.part(first, end),
            3 => self.known.part(self.rng.u64(first..=end + 1), end),
            4 => self.known.part(self.rng.u64(first..=last + 1), last),
            5 if !self.backups.is_empty() => {
                let index = self.rng.usize(..self.backups.len());
                self.backups.swap_remove(index)
            }
            6 if self.backups.len() < BACKUPS => {
                return self.backups.push(self.known.part(first, last));
            }
            _ => {
                self.observe();
                self.cut();
                return self.faulty.cut();
            }
        };
        self.observe();
        self.cut();
        self.known = next;
        let passed = std::mem::replace(&mut self.told.log, self.known.line.clone());
        self.told.passed.push(passed);
        self.told.first = self.told.first.max(self.known.line.first);
        self.faulty.replace(self.known.log.clone());
        let most = [1, 3, 60, 200][self.rng.usize(..4)];
        if self.rng.bool() {
            self.append(most).await; // before it is looked at
        }
    }

    /// Takes in what the follower has found. What follows is up to it until then.
    pub(super) fn observe(&mut self) {
        let window = self.hub.shared.window.read();
        self.told.oldest = window.position(0);
        self.told.head = window.head();
        let changes = window.changes_since(self.told.changes.len() as u64);
        drop(window);
        let session = self.hub.shared.session.borrow().map_or(0, |it| it.number);
        if changes.is_empty() && (session <= self.session || self.current) {
            return;
        }
        let bounds = self.faulty.reaches();
        let expected = self.expected(&bounds);
        if !self.mixed {
            let found = changes.first().copied();
            assert_eq!(
                found, expected,
                "{bounds:?} after {} from {}",
                self.head, self.floor
            );
            assert!(changes.len() < 2, "{changes:?}");
        }
        for &(shared, _) in &changes {
            self.head = shared;
            self.floor = match self.floor.sequence() > shared.sequence() {
                true => shared,
                false => self.floor,
            };
        }
        if let Some((shared, _)) = changes.iter().copied().rfind(|(_, anew)| *anew) {
            self.floor = shared;
        }
        self.told.changes.extend(changes);
        if session > self.session && self.faulty.is_followed() {
            self.begin_session(session, &bounds);
        }
    }

    fn begin_session(&mut self, session: u64, bounds: &Bounds) {
        let held = self.told.log.held(self.head.sequence());
        let is_other = held.is_some_and(|held| held != self.head);
        assert!(
            !is_other || self.head == Position::START,
            "{bounds:?} has {held:?}, not {}",
            self.head
        );
        let through = self.head.sequence();
        self.told.line = self.told.line.onto(through, &self.told.log);
        if !self.told.line.agrees(&self.told.log, through) {
            // Both have other events where all have expired: nobody can tell.
            self.told.log = self.told.line.clone();
            self.known.line = self.told.line.clone();
            self.backups.clear();
        }
        self.session = session;
        self.created = bounds.created;
        self.current = true;
        self.mixed = false;
    }

    /// What the follower is to find, where it looks at the log as it is: the last position that both share, and
    /// whether that is none.
    fn expected(&self, bounds: &Bounds) -> Option<(Position, bool)> {
        let (head, log) = (self.head, &self.told.log);
        let held = log.held(head.sequence());
        let is_shared = head == Position::START
            || match bounds.last.sequence().cmp(&head.sequence()) {
                std::cmp::Ordering::Less => false,
                _ if held.is_some() => held == Some(head),
                std::cmp::Ordering::Equal if bounds.last.has_check() && head.has_check() => {
                    bounds.last == head
                }
                _ => bounds.created == self.created,
            };
        if is_shared {
            return None;
        }
        let is_held = |position: &Position| log.held(position.sequence()) == Some(*position);
        let within = self.floor.sequence() + 1..=head.sequence();
        let mut window = within.rev().filter_map(|at| self.told.line.at(at));
        let shared = window.find(|event| is_held(&event.position));
        let shared = shared.map(|event| event.position);
        let shared = shared.or(Some(self.floor).filter(is_held));
        let anew = shared.is_none();
        Some((shared.unwrap_or(Position::before(log.first)), anew))
    }

    /// Waits until the hub has followed everything, where it can.
    pub(super) async fn settle(&mut self) {
        if self.faulty.is_away() {
            return self.observe();
        }
        let last = self.told.log.last();
        let status = (self.hub.usage(), last, self.told.log.first);
        within(("the hub to follow", status), async {
            self.faulty.until_followed().await;
            let mut head = self.hub.shared.head.subscribe();
            let reached = head.wait_for(|head| *head == last).await;
            assert!(reached.is_ok());
        })
        .await;
        self.observe();
        assert!(self.current);
        self.told.first = self.told.log.first;
    }

    /// All readers hear all that there is for them, and nothing more.
    pub(super) async fn end(mut self) {
        self.faulty.come_back();
        self.settle().await;
        self.listen_all().await;
        let usage = self.hub.usage();
        assert_eq!((usage.readers, usage.groups), (0, 0));
        assert!(usage.feeds <= usage.events, "{usage:?}");
    }

    /// The events that were of the log once, as far as copies of it know.
    pub(super) fn lines(&self) -> impl Iterator<Item = &Line> {
        let backups = self.backups.iter().map(|known| &known.line);
        [&self.told.line, &self.told.log].into_iter().chain(backups)
    }
}
