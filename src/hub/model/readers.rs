//! Readers, quick and slow, and the ways in which they are asked.

use super::told::Place;
use super::world::{World, within};
use crate::event::{Pattern, Patterns, Position};
use crate::hub::reader::Progress;
use crate::hub::{self, NO_ID, Reader, Refusal, Signal, Start};
use crate::wire::Say;
use fastrand::Rng;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::fmt::Debug;

pub(super) const READERS: usize = 12;
const PATTERNS: [&str; 12] = [
    "a", "a.b", "b.c.a", "none", "*", "a.*", "*.b", "*.*", "a.>", "b.>", "*.b.>", ">",
];

pub(super) struct Subject {
    asked: Asked,
    /// `None` for one that was forked.
    _place: Option<hub::Place>,
    place: Place,
}

/// Whether a reader is in the middle of what it was asked.
enum Asked {
    No(Reader),
    Yes(BoxFuture<'static, (Reader, Option<Signal>)>),
}

impl Asked {
    fn for_next(mut reader: Reader) -> Self {
        let next = async move {
            let signal = reader.next().await;
            (reader, Some(signal))
        };
        Self::Yes(next.boxed())
    }

    fn for_more(mut reader: Reader, through: u64) -> Self {
        let more = async move {
            let signal = reader.catch_up(through).await;
            (reader, signal)
        };
        Self::Yes(more.boxed())
    }
}

/// One to four patterns.
fn patterns(rng: &mut Rng) -> Patterns {
    let some = (0..=rng.usize(..4)).map(|_| PATTERNS[rng.usize(..PATTERNS.len())]);
    let some: Vec<Pattern> = some.map(|text| text.parse().unwrap()).collect();
    Patterns::new(some, 4).unwrap()
}

/// What a reader would be told now from what is at hand, and where it would be then.
fn foretold(reader: &Reader) -> (Option<Say>, Vec<Position>, Position) {
    let mut ahead = reader.fork();
    let (said, events) = match ahead.step() {
        Progress::Heard(Signal::Notice(notice)) => (Some(notice.say), Vec::new()),
        Progress::Heard(Signal::Events(entries)) => {
            let events = entries.iter().map(|entry| entry.position());
            (None, events.collect())
        }
        Progress::Live | Progress::Behind(_) => (None, Vec::new()),
    };
    (said, events, ahead.position())
}

impl World {
    pub(super) async fn step_of_readers(&mut self) {
        if self.readers.is_empty() || self.rng.u8(..6) == 0 {
            return match self.readers.len() < READERS {
                true => self.join().await,
                false => drop(self.pick()),
            };
        }
        let Some(subject) = self.pick() else { return };
        match self.rng.u8(..20) {
            0..6 => self.listen(subject).await,
            6..11 => self.glance(subject).await,
            11..15 => self.step_once(subject),
            15..16 => self.move_on(subject),
            16..17 => self.compare(subject),
            17..19 => self.come_back(subject).await,
            _ => {} // it leaves
        }
    }

    fn pick(&mut self) -> Option<Subject> {
        let count = self.readers.len();
        (count > 0).then(|| self.readers.swap_remove(self.rng.usize(..count)))
    }

    fn some_id(&mut self) -> String {
        let lines: Vec<_> = self.lines().collect();
        let line = lines[fastrand::usize(..lines.len())].clone();
        let sequence = self.rng.u64(1..=line.last() + 3);
        match (self.rng.u8(..8), line.at(sequence)) {
            (0, _) => "nonsense".to_owned(),
            (1, _) => format!("{sequence}-abcdef"),
            (2, _) if sequence > 1 => Position::before(sequence).to_string(),
            (3, _) => "0-0".to_owned(),
            (_, Some(event)) => event.position.to_string(),
            (_, None) => format!("{sequence}-zzzzzz"),
        }
    }

    async fn join(&mut self) {
        let patterns = patterns(&mut self.rng);
        match self.rng.u8(..6) {
            0 => self.join_live(patterns, Start::Now, 0).await,
            1 => {
                let count = self.rng.usize(..12);
                self.join_live(patterns, Start::Last(count), count).await;
            }
            2 => self.join_at(patterns, "0-0".to_owned(), Start::First).await,
            _ => {
                let id = self.some_id();
                let start = id.parse().map_or(Start::Unknown, Start::After);
                self.join_at(patterns, id, start).await;
            }
        }
    }

    /// A reader joins at the head, whatever becomes of the log.
    async fn join_live(&mut self, patterns: Patterns, start: Start, count: usize) {
        self.observe();
        let usage = self.hub.usage();
        let (floor, head) = (usage.floor.sequence(), usage.head.sequence());
        let joined = self.hub.join(patterns.clone(), start).now_or_never();
        let joined = joined.expect("at once").expect("there is room");
        let opening: Position = joined.opening.parse().unwrap();
        self.told.check(opening);
        let between = |after| self.told.line.between(&patterns, after, head).count();
        assert_eq!(between(opening.sequence()), between(floor).min(count));
        let place = self.place(patterns, opening, joined.opening);
        self.seat(joined.reader, Some(joined.place), place);
    }

    fn place(&self, patterns: Patterns, at: Position, id: String) -> Place {
        Place {
            patterns,
            at: at.sequence(),
            id,
            seen: self.told.changes.len(),
            reach: at.sequence(),
            vague: false,
            welcome: None,
        }
    }

    fn seat(&mut self, reader: Reader, seat: Option<hub::Place>, place: Place) {
        self.readers.push(Subject {
            asked: Asked::No(reader),
            _place: seat,
            place,
        });
    }

    /// A reader joins with an id, while the log is there, or is away as it was.
    async fn join_at(&mut self, patterns: Patterns, id: String, start: Start) {
        self.settle().await;
        let usage = self.hub.usage();
        let joined = self.hub.join(patterns.clone(), start).await;
        self.observe();
        let joined = match joined {
            Err(Refusal::Unavailable(_)) if self.faulty.is_away() => return,
            joined => joined.expect("there is room"),
        };
        let first = Position::before(self.told.log.first);
        let mut place = match start {
            Start::First => {
                assert_eq!(joined.opening, first.to_string());
                self.place(patterns, first, joined.opening)
            }
            Start::Unknown => {
                assert_eq!(joined.opening, NO_ID);
                self.place(patterns, first, joined.opening)
            }
            _ => {
                assert_eq!(joined.opening, id);
                self.place(patterns, id.parse().unwrap(), joined.opening)
            }
        };
        // While the log is away, what it holds can't be asked: the window alone has told.
        let foreign = start != Start::First && self.told.is_foreign(&id, usage.floor, usage.head);
        if foreign {
            place.at = first.sequence();
            place.welcome = Some(first);
        }
        self.seat(joined.reader, Some(joined.place), place);
    }

    /// A reader is cut off, and comes back with the last id that it was told.
    async fn come_back(&mut self, subject: Subject) {
        let place = subject.place;
        drop(subject.asked);
        drop(subject._place);
        let start = place.id.parse().map_or(Start::Unknown, Start::After);
        self.join_at(place.patterns, place.id, start).await;
    }

    /// A reader listens until it has heard all that there is for it, or a few times.
    async fn listen(&mut self, mut subject: Subject) {
        let mut patience = match self.rng.bool() {
            true => usize::MAX,
            false => self.rng.usize(..4),
        };
        self.settle().await;
        if self.faulty.is_away() {
            return self.readers.push(subject);
        }
        while self.told.is_pending(&subject.place) && patience > 0 {
            patience -= 1;
            subject = within(self.pending(&subject), self.hear_next(subject)).await;
        }
        self.readers.push(subject);
    }

    /// What a reader is to hear, for whom it does not.
    fn pending(&self, subject: &Subject) -> impl Debug + use<> {
        let usage = self.hub.usage();
        let place = &subject.place;
        let next = self.told.next(place);
        (
            place.clone(),
            next,
            self.told.log.first,
            usage.floor,
            usage.head,
        )
    }

    /// A reader is asked, in one of the ways there are, and heard.
    async fn hear_next(&mut self, mut subject: Subject) -> Subject {
        let asked = match (subject.asked, self.rng.bool()) {
            (Asked::No(reader), true) => Asked::for_next(reader),
            (Asked::No(mut reader), false) => match reader.step() {
                Progress::Heard(signal) => {
                    subject.asked = Asked::No(reader);
                    self.hear(&mut subject, &signal);
                    return subject;
                }
                Progress::Behind(through) => Asked::for_more(reader, through),
                Progress::Live => panic!("{:?} is live", subject.place),
            },
            (asked, _) => asked,
        };
        let Asked::Yes(asked) = asked else {
            unreachable!("it was asked");
        };
        let (reader, signal) = asked.await;
        subject.asked = Asked::No(reader);
        self.hear_if_any(&mut subject, signal);
        subject
    }

    /// A reader is told something, or has only read on in the log, past what is not for it.
    fn hear_if_any(&mut self, subject: &mut Subject, signal: Option<Signal>) {
        match signal {
            Some(signal) => self.hear(subject, &signal),
            None => {
                self.observe();
                self.told.passed_over(&mut subject.place);
            }
        }
    }

    /// A reader is told something. At times its client takes but the beginning, and it goes back there; at times
    /// another one does, that was with it until then.
    fn hear(&mut self, subject: &mut Subject, signal: &Signal) {
        self.observe();
        let before = subject.place.clone();
        let mut taken = usize::MAX;
        if let (Signal::Events(entries), Asked::No(reader), 0) =
            (signal, &mut subject.asked, self.rng.u8(..4))
        {
            taken = self.rng.usize(1..=entries.len());
            let last = entries[taken - 1].position();
            if self.rng.bool() {
                reader.rewind(last);
            } else if self.readers.len() < READERS {
                let mut fork = reader.fork();
                fork.rewind(last);
                let mut place = before;
                self.told.hear(&mut place, signal, taken);
                self.seat(fork, None, place);
                taken = usize::MAX;
            } else {
                taken = usize::MAX;
            }
        }
        self.told.hear(&mut subject.place, signal, taken);
    }

    /// A reader is asked once and then left alone, in the middle of whatever it was about to do; at times it goes
    /// on with that the next time.
    async fn glance(&mut self, mut subject: Subject) {
        if self.rng.bool() {
            tokio::task::yield_now().await;
        }
        subject.asked = match (subject.asked, self.rng.bool()) {
            (Asked::No(mut reader), true) => {
                let signal = reader.next().now_or_never();
                self.observe();
                subject.asked = Asked::No(reader);
                match signal {
                    Some(signal) => self.hear(&mut subject, &signal),
                    None => self.told.hear_nothing(&mut subject.place),
                }
                return self.readers.push(subject);
            }
            (Asked::No(reader), false) => Asked::for_next(reader),
            (asked, _) => asked,
        };
        if let Asked::Yes(asked) = &mut subject.asked {
            let heard = asked.now_or_never();
            self.observe();
            if let Some((reader, signal)) = heard {
                subject.asked = Asked::No(reader);
                self.hear_if_any(&mut subject, signal);
            } else {
                self.told.asked(&mut subject.place);
            }
        }
        self.readers.push(subject);
    }

    /// A reader takes what is at hand, as a shard's do; what it has to read is read while others go on.
    fn step_once(&mut self, mut subject: Subject) {
        subject.asked = match subject.asked {
            Asked::No(mut reader) => match reader.step() {
                Progress::Heard(signal) => {
                    subject.asked = Asked::No(reader);
                    self.hear(&mut subject, &signal);
                    return self.readers.push(subject);
                }
                progress => {
                    self.observe();
                    self.told.hear_nothing(&mut subject.place);
                    match progress {
                        Progress::Behind(through) => Asked::for_more(reader, through),
                        _ => Asked::No(reader),
                    }
                }
            },
            asked => asked,
        };
        self.readers.push(subject);
    }

    /// A reader for which nothing has come for long is told how far the log is.
    fn move_on(&mut self, mut subject: Subject) {
        self.observe();
        if let Asked::No(reader) = &mut subject.asked
            && let Some(id) = reader.live_position()
        {
            let head = self.hub.usage().head;
            assert!(id == head || id.to_string() == subject.place.id, "{id}");
            self.told.hear_position(&mut subject.place, id);
        }
        self.readers.push(subject);
    }

    /// Readers that meet are told the same from then on.
    fn compare(&mut self, subject: Subject) {
        self.observe();
        if let Asked::No(reader) = &subject.asked {
            for other in &self.readers {
                if let Asked::No(known) = &other.asked
                    && known.group() == reader.group()
                    && known.meets(reader)
                {
                    let (one, other) = (&subject.place, &other.place);
                    assert!(self.told.meet(one, other), "{one:?} and {other:?}");
                    let (told, same) = (foretold(reader), foretold(known));
                    assert_eq!(told, same, "{one:?} and {other:?}");
                }
            }
        }
        self.readers.push(subject);
    }

    /// All readers hear all that there is for them, and nothing more, and leave.
    pub(super) async fn listen_all(&mut self) {
        while let Some(mut subject) = self.readers.pop() {
            while self.told.is_pending(&subject.place) {
                subject = within(self.pending(&subject), self.hear_next(subject)).await;
            }
            for _ in 0..20 {
                tokio::task::yield_now().await;
                if let Asked::No(reader) = &mut subject.asked
                    && let Some(signal) = reader.next().now_or_never()
                {
                    self.hear(&mut subject, &signal);
                }
            }
        }
    }
}
