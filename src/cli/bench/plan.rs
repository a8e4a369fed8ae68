//! Who publishes what, and who is to receive it.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The feeds, publishers and readers of a run, all known by their numbers.
///
/// Feeds stand in a square, `bench.<run>.<row>.<column>`, so that there is something for wildcards. Each feed
/// belongs to one publisher; where there are more publishers than feeds, each publisher has one feed.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) run: u32,
    pub(super) readers: usize,
    feeds: u32,
    publishers: u32,
    columns: u32,
    /// By reader; empty where each reads the one feed that its number falls on.
    sets: Vec<Set>,
    /// How many events each track has that the server has acknowledged.
    acknowledged: Vec<AtomicU32>,
}

/// What each reader asks for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Interest {
    /// One feed: reader `r` feed `r` modulo their number.
    Feed,
    /// So many patterns of its own, which match some of the feeds.
    Some(usize),
    /// So many patterns of its own, two at least, which together match every feed.
    All(usize),
}

/// What a reader with patterns asks for.
#[derive(Debug, Default)]
struct Set {
    patterns: Vec<String>,
    /// The feeds that these match, sorted.
    feeds: Vec<u32>,
}

impl Plan {
    pub(super) fn new(
        run: u32,
        readers: usize,
        feeds: u32,
        publishers: u32,
        interest: Interest,
    ) -> Self {
        let columns = feeds.isqrt().max(1);
        let mut plan = Self {
            run,
            readers,
            feeds,
            publishers,
            columns,
            sets: Vec::new(),
            acknowledged: Vec::new(),
        };
        let set = |reader| match interest {
            Interest::Feed => None,
            Interest::Some(patterns) => Some(plan.set(reader, patterns)),
            Interest::All(patterns) => Some(plan.whole_set(reader, patterns)),
        };
        plan.sets = (0..readers).filter_map(set).collect();
        let tracks = feeds as usize * plan.tracks_per_feed();
        plan.acknowledged = (0..tracks).map(|_| AtomicU32::new(0)).collect();
        plan
    }

    pub(super) fn feeds(&self) -> u32 {
        self.feeds
    }

    pub(super) fn publishers(&self) -> u32 {
        self.publishers
    }

    pub(super) fn feed_name(&self, feed: u32) -> String {
        let (row, column) = (feed / self.columns, feed % self.columns);
        format!("bench.{:04x}.{row}.{column}", self.run)
    }

    fn rows(&self) -> u32 {
        self.feeds.div_ceil(self.columns)
    }

    /// Patterns of a reader's own: of four, two are names, one is a row and one a column.
    fn set(&self, reader: usize, patterns: usize) -> Set {
        let mut random = fastrand::Rng::with_seed(reader as u64);
        let mut set = Set::default();
        for number in 0..patterns {
            let (pattern, feeds) = match number % 4 {
                0 | 2 => {
                    let feed = random.u32(..self.feeds);
                    (self.feed_name(feed), vec![feed])
                }
                1 => self.row(random.u32(..self.rows())),
                _ => self.column(random.u32(..self.columns)),
            };
            set.patterns.push(pattern);
            set.feeds.extend(feeds);
        }
        set.feeds.sort_unstable();
        set.feeds.dedup();
        set
    }

    /// Patterns of a reader's own that match every feed, none of them covered by another, since a server may
    /// leave out such: rows; in place of most of them, where there is room, what is in the row, one by one;
    /// and at least one pattern that nobody else asks for, and nobody publishes to.
    fn whole_set(&self, reader: usize, patterns: usize) -> Set {
        let mut random = fastrand::Rng::with_seed(reader as u64);
        let mut rows: Vec<u32> = (0..self.rows()).collect();
        random.shuffle(&mut rows);
        let mut set = Vec::with_capacity(patterns);
        if rows.len() >= patterns {
            rows.clear();
            set.push(format!("bench.{:04x}.>", self.run));
        }
        while let Some(row) = rows.pop() {
            let (whole, feeds) = self.row(row);
            let has_room = set.len() + feeds.len() + rows.len() < patterns;
            match has_room && !rows.is_empty() {
                true => set.extend(feeds.iter().map(|&feed| self.one(feed, random.bool()))),
                false => set.push(whole),
            }
        }
        let own = |number| format!("bench.{:04x}-own.{reader}.{number}", self.run);
        set.extend((set.len()..patterns).map(own));
        Set {
            patterns: set,
            feeds: (0..self.feeds).collect(),
        }
    }

    /// A pattern of one feed: its name, or with a wildcard.
    fn one(&self, feed: u32, wildcard: bool) -> String {
        let name = self.feed_name(feed);
        match wildcard {
            true => name.replacen("bench", "*", 1),
            false => name,
        }
    }

    /// The pattern of a row, and its feeds.
    fn row(&self, row: u32) -> (String, Vec<u32>) {
        let first = row * self.columns;
        let last = (first + self.columns).min(self.feeds);
        let pattern = format!("bench.{:04x}.{row}.*", self.run);
        (pattern, (first..last).collect())
    }

    /// The pattern of a column, and its feeds.
    fn column(&self, column: u32) -> (String, Vec<u32>) {
        let pattern = format!("bench.{:04x}.*.{column}", self.run);
        let step = self.columns as usize;
        (pattern, (column..self.feeds).step_by(step).collect())
    }

    /// What a reader asks for: feeds or patterns.
    pub(super) fn asks_for(&self, reader: usize) -> Vec<String> {
        match self.sets.get(reader) {
            Some(set) => set.patterns.clone(),
            None => vec![self.feed_name(self.own_feed(reader))],
        }
    }

    fn own_feed(&self, reader: usize) -> u32 {
        u32::try_from(reader % self.feeds as usize).expect("feeds are counted in a u32")
    }

    fn feeds_of(&self, reader: usize) -> impl Iterator<Item = u32> {
        let set = self.sets.get(reader);
        let own = set.is_none().then(|| self.own_feed(reader));
        own.into_iter()
            .chain(set.into_iter().flat_map(|set| set.feeds.iter().copied()))
    }
}

/// Tracks: the events of one publisher on one feed.
impl Plan {
    fn tracks_per_feed(&self) -> usize {
        self.publishers.div_ceil(self.feeds) as usize
    }

    /// How many tracks a reader has.
    pub(super) fn tracks_of(&self, reader: usize) -> usize {
        self.feeds_of(reader).count() * self.tracks_per_feed()
    }

    /// The place of a track among the reader's own; `None` where it did not ask for it.
    pub(super) fn track(&self, reader: usize, feed: u32, publisher: u32) -> Option<usize> {
        let place = match self.sets.get(reader) {
            Some(set) => set.feeds.binary_search(&feed).ok()?,
            None => (self.own_feed(reader) == feed).then_some(0)?,
        };
        Some(place * self.tracks_per_feed() + (publisher / self.feeds) as usize)
    }

    /// The feed and number of a publisher's events, one after the other.
    pub(super) fn event(&self, publisher: u32, count: u32) -> (u32, u32) {
        if self.feeds < self.publishers {
            return (publisher % self.feeds, count + 1);
        }
        let own = (self.feeds - publisher).div_ceil(self.publishers);
        (publisher + self.publishers * (count % own), count / own + 1)
    }

    /// Notes that the server has taken an event.
    pub(super) fn acknowledge(&self, feed: u32, publisher: u32) {
        let track = feed as usize * self.tracks_per_feed() + (publisher / self.feeds) as usize;
        self.acknowledged[track].fetch_add(1, Relaxed);
    }

    /// How many events a reader is to receive by now.
    pub(super) fn expected(&self, reader: usize) -> u64 {
        let tracks = self.tracks_per_feed();
        let of_feed = |feed: u32| {
            let first = feed as usize * tracks;
            self.acknowledged[first..first + tracks]
                .iter()
                .map(|count| u64::from(count.load(Relaxed)))
                .sum::<u64>()
        };
        self.feeds_of(reader).map(of_feed).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Feed, Pattern, Patterns};
    use std::collections::{HashMap, HashSet};

    #[test]
    fn numbers_rise_by_one_on_each_feed_of_a_publisher() {
        for (feeds, publishers) in [(1, 1), (1, 3), (2, 5), (7, 3), (64, 64), (5, 1)] {
            let plan = Plan::new(0, 0, feeds, publishers, Interest::Feed);
            let mut last = HashMap::new();
            let mut seen = HashSet::new();
            for publisher in 0..publishers {
                for count in 0..40 {
                    let (feed, number) = plan.event(publisher, count);
                    let before = last.insert((feed, publisher), number).unwrap_or(0);
                    assert_eq!(number, before + 1);
                    seen.insert(feed);
                }
            }
            assert_eq!(seen.len(), feeds as usize, "{publishers} publishers");
        }
    }

    #[test]
    fn a_reader_expects_what_was_acknowledged_on_its_feeds() {
        let plan = Plan::new(0, 6, 2, 4, Interest::Feed);
        for publisher in 0..4 {
            let (feed, _) = plan.event(publisher, 0);
            plan.acknowledge(feed, publisher);
        }
        plan.acknowledge(1, 3);
        assert_eq!((plan.expected(0), plan.expected(5)), (2, 3));
        let mut tracks = [plan.track(5, 1, 1), plan.track(5, 1, 3)];
        tracks.sort();
        assert_eq!(tracks, [Some(0), Some(1)]);
        assert_eq!(plan.track(5, 0, 0), None);
    }

    #[test]
    fn a_set_lists_the_feeds_that_its_patterns_match() {
        for (feeds, interest) in [
            (90, Interest::Some(4)),
            (90, Interest::All(20)),
            (20, Interest::All(20)),
            (20, Interest::All(2)),
            (1, Interest::All(5)),
        ] {
            let plan = Plan::new(7, 50, feeds, 1, interest);
            let mut different = HashSet::new();
            for reader in 0..50 {
                let patterns = plan.asks_for(reader);
                let parsed: Vec<Pattern> =
                    patterns.iter().map(|one| one.parse().unwrap()).collect();
                for number in 0..feeds {
                    let feed: Feed = plan.feed_name(number).parse().unwrap();
                    let matched = parsed.iter().any(|pattern| pattern.matches(&feed));
                    assert_eq!(plan.track(reader, number, 0).is_some(), matched);
                }
                different.insert(patterns);
            }
            assert_eq!(different.len(), 50);
        }
    }

    #[test]
    fn a_whole_set_matches_every_feed_with_as_many_patterns_as_asked_for() {
        for (feeds, patterns) in [(20, 20), (20, 2), (1, 5), (1000, 7)] {
            let plan = Plan::new(7, 30, feeds, 1, Interest::All(patterns));
            for reader in 0..30 {
                let asked = plan.asks_for(reader);
                assert!(asked.iter().any(|pattern| pattern.contains(['*', '>'])));
                let parsed = asked.iter().map(|one| one.parse().unwrap()).collect();
                let set = Patterns::new(parsed, patterns).unwrap();
                assert_eq!(set.iter().count(), patterns, "{asked:?}");
                assert_eq!(plan.tracks_of(reader), feeds as usize);
            }
        }
    }
}
