//! What a run does, and the feeds and readers that it has.

use super::form::Form;
use super::mark::Mark;
use crate::event::{Feed, Pattern, Patterns};
use fastrand::Rng;
use http::HeaderMap;
use reqwest::Url;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The most that there may be of readers times publishers times feeds: 16 bytes are kept for each.
const MAX_TRACKS: u64 = 64_000_000;
/// The largest padding, in bytes.
const MAX_PADDING: usize = 900_000;

/// What a run does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The replicas, each as in `http://127.0.0.1:8080`, and the path below which it is mounted if there is one.
    pub replicas: Vec<Url>,
    /// The NATS server through which every other publisher publishes; without it all do so over HTTP.
    pub nats: Option<NatsTarget>,
    /// Headers of one's own, sent with every request.
    pub headers: HeaderMap,
    /// A file with the authorities, as PEM, whose certificates are taken from replicas with https, in place of those that
    /// the system trusts.
    pub ca: Option<PathBuf>,
    /// Publishers, each of which sends one event after the other.
    pub publishers: u32,
    /// Feeds, all of which every publisher publishes to.
    pub feeds: u32,
    /// Readers.
    pub readers: u32,
    /// Events a second, by all publishers together.
    pub rate: f64,
    /// After how many events the publishers stop by themselves.
    pub events: Option<u64>,
    /// The largest padding of an event, in bytes; each has another.
    pub padding: usize,
    /// How long a reader stays on a connection, on average, until it cuts itself off; without it, for ever.
    pub cut: Option<Duration>,
    /// How many of the readers read slowly, from 0 to 1.
    pub slow: f64,
    /// The forms in which they ask: one of these by chance, each time anew.
    pub forms: Vec<Form>,
    /// How long to wait at the end for what has not come.
    pub settle: Duration,
    /// After how long without a byte a reader takes its connection for dead.
    pub silence: Duration,
    /// How long a publisher repeats an event until it gives up: less than the two minutes for which keys are
    /// remembered.
    pub patience: Duration,
    /// The first tokens of all feeds, to which the run adds a name of its own.
    pub prefix: String,
    /// Where all chance comes from.
    pub seed: u64,
}

/// How JetStream is published to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsTarget {
    /// The server, as in `nats://127.0.0.1:4222`.
    pub server: String,
    /// The subject, in which `{feed}` stands for the feed.
    pub subject: String,
}

/// Why a plan can't be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPlan {
    /// There is no replica to read from.
    #[error("no replica is named")]
    NoReplica,
    /// Readers could ask for nothing.
    #[error("no form is named")]
    NoForm,
    /// Nothing would be published, or nobody would read it.
    #[error("there is at least one publisher, one feed and one reader")]
    Nothing,
    /// More than can be kept account of.
    #[error(
        "readers times publishers times feeds are {0}; at most {MAX_TRACKS} are kept account of"
    )]
    TooMany(u64),
    /// It is no number of events.
    #[error("the rate is more than 0 events a second")]
    Rate,
    /// It is no share.
    #[error("the share of slow readers is from 0 to 1")]
    Slow,
    /// Too much for an event.
    #[error("the padding has {0} bytes; at most {MAX_PADDING} are allowed")]
    Padding(usize),
    /// No feed could be named so.
    #[error("the prefix is no feed: {0}")]
    Prefix(crate::event::InvalidName),
    /// The place for the feed is missing.
    #[error("the subject `{0}` has no place for the feed: {{feed}}")]
    Subject(String),
}

impl NatsTarget {
    /// JetStream on this server, with the prefix that a server has by default.
    pub fn new(server: impl Into<String>) -> Self {
        Self {
            server: server.into(),
            subject: "feeds.{feed}".to_owned(),
        }
    }
}

impl Plan {
    /// A plan for these replicas, with the defaults of `tidings verify` and a seed by chance.
    pub fn new(replicas: Vec<Url>) -> Self {
        Self {
            replicas,
            nats: None,
            headers: HeaderMap::new(),
            ca: None,
            publishers: 4,
            feeds: 9,
            readers: 50,
            rate: 100.0,
            events: None,
            padding: 200,
            cut: Some(Duration::from_secs(5)),
            slow: 0.1,
            forms: Form::ALL.to_vec(),
            settle: Duration::from_secs(30),
            silence: Duration::from_secs(45),
            patience: Duration::from_secs(90),
            prefix: "verify".to_owned(),
            seed: fastrand::u64(..),
        }
    }

    /// The same for replicas on this machine.
    ///
    /// # Panics
    /// Never: every address makes a URL.
    pub fn at(addresses: &[SocketAddr]) -> Self {
        let url = |address| format!("http://{address}").parse();
        Self::new(addresses.iter().flat_map(url).collect())
    }

    /// Whether it can be run.
    pub fn check(&self) -> Result<(), InvalidPlan> {
        let counts = [self.publishers, self.feeds, self.readers];
        let tracks: u64 = counts.iter().fold(1, |product: u64, &count| {
            product.saturating_mul(count.into())
        });
        let subject = self.nats.as_ref().map(|nats| &nats.subject);
        let wrong = match () {
            () if self.replicas.is_empty() => InvalidPlan::NoReplica,
            () if tracks == 0 => InvalidPlan::Nothing,
            () if tracks > MAX_TRACKS => InvalidPlan::TooMany(tracks),
            () if !(self.rate > 0.0 && self.rate.is_finite()) => InvalidPlan::Rate,
            () if !(0.0..=1.0).contains(&self.slow) => InvalidPlan::Slow,
            () if self.forms.is_empty() => InvalidPlan::NoForm,
            () if self.padding > MAX_PADDING => InvalidPlan::Padding(self.padding),
            () if subject.is_some_and(|subject| !subject.contains("{feed}")) => {
                InvalidPlan::Subject(subject.cloned().unwrap_or_default())
            }
            () => {
                return feed_name(&self.prefix, u64::MAX, u32::MAX, u32::MAX)
                    .parse::<Feed>()
                    .map(|_| ())
                    .map_err(InvalidPlan::Prefix);
            }
        };
        Err(wrong)
    }
}

fn feed_name(prefix: &str, run: u64, row: u32, column: u32) -> String {
    format!("{prefix}.{run:016x}.{row}.{column}")
}

/// The feeds of a run, and who reads and writes them.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) run: u64,
    pub(super) publishers: u32,
    /// By number. They stand in a square of rows and columns, so that there is something for wildcards.
    pub(super) feeds: Vec<Feed>,
    /// What each reader asks for.
    pub(super) readers: Vec<Interest>,
}

/// What a reader asks for.
#[derive(Debug)]
pub(super) struct Interest {
    /// As it asks: one pattern may cover another, and two may match the same feed.
    pub(super) patterns: Vec<Pattern>,
    /// The numbers of the feeds that these match, sorted.
    pub(super) feeds: Vec<u32>,
    pub(super) is_slow: bool,
}

impl Layout {
    /// The run's name is never drawn from the seed: two runs of one seed must not meet.
    pub(super) fn new(plan: &Plan) -> Result<Self, InvalidPlan> {
        plan.check()?;
        let run = Rng::new().u64(..);
        let columns = plan.feeds.isqrt().max(1);
        let name = |feed| feed_name(&plan.prefix, run, feed / columns, feed % columns);
        let feeds = (0..plan.feeds)
            .map(|feed| name(feed).parse())
            .collect::<Result<Vec<Feed>, _>>()
            .map_err(InvalidPlan::Prefix)?;
        let mut random = Rng::with_seed(plan.seed);
        let interest = |number| Interest::draw(plan, run, &feeds, number, &mut random);
        let readers = (0..plan.readers)
            .map(interest)
            .collect::<Result<Vec<_>, _>>()
            .map_err(InvalidPlan::Prefix)?;
        Ok(Self {
            run,
            publishers: plan.publishers,
            feeds,
            readers,
        })
    }

    pub(super) fn tracks(&self) -> usize {
        self.feeds.len() * self.publishers as usize
    }

    /// The track of a publisher on a feed.
    pub(super) fn track(&self, feed: u32, publisher: u32) -> usize {
        feed as usize * self.publishers as usize + publisher as usize
    }

    pub(super) fn mark(&self, track: usize, number: u32) -> Mark {
        let publishers = self.publishers as usize;
        Mark {
            run: self.run,
            publisher: (track % publishers) as u32,
            feed: (track / publishers) as u32,
            number,
        }
    }
}

impl Interest {
    /// In turn a feed, a row, all feeds, and several patterns that may overlap.
    fn draw(
        plan: &Plan,
        run: u64,
        feeds: &[Feed],
        number: u32,
        random: &mut Rng,
    ) -> Result<Self, crate::event::InvalidName> {
        let columns = plan.feeds.isqrt().max(1);
        let mut one = |kind| {
            let (feed, prefix) = (random.u32(..plan.feeds), &plan.prefix);
            let text = match kind {
                0 => feeds[feed as usize].to_string(),
                1 => format!("{prefix}.{run:016x}.{}.*", feed / columns),
                2 => format!("{prefix}.{run:016x}.>"),
                _ => format!("{prefix}.{run:016x}.*.{}", feed % columns),
            };
            text.parse::<Pattern>()
        };
        let patterns = match number % 4 {
            3 => vec![one(0)?, one(1)?, one(3)?, one(0)?],
            kind => vec![one(kind)?],
        };
        // There is at least one, and as many as there are may be.
        let set = Patterns::new(patterns.clone(), patterns.len());
        let matches = |feed: &&Feed| set.as_ref().is_ok_and(|set| set.matches(feed));
        let all = (0..plan.feeds).zip(feeds);
        Ok(Self {
            feeds: all
                .filter(|(_, feed)| matches(feed))
                .map(|(number, _)| number)
                .collect(),
            patterns,
            is_slow: random.f64() < plan.slow,
        })
    }
}
