//! A run, from its start to its report.

use super::plan::{InvalidPlan, Layout, Plan};
use super::publisher::Publisher;
use super::reader::Reader;
use super::report::Report;
use super::shared::{Phase, Progress, Shared};
use super::tally::{Example, Found, Tally};
use super::tls;
use fastrand::Rng;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How long publishers wait for the readers to begin.
const OPENING: Duration = Duration::from_secs(5);
/// How often to look how far a run is.
const LOOK: Duration = Duration::from_millis(5);
/// How often the readers' books are tidied.
const TIDY: Duration = Duration::from_millis(500);
/// How many times as long as readers may be without anything they have in all, at the end, where something comes.
const SETTLES: u32 = 10;

/// A run that is under way. Dropping it ends it.
#[derive(Debug)]
pub struct Run {
    shared: Arc<Shared>,
    publishers: JoinSet<()>,
    _readers: JoinSet<()>,
}

/// Why a run can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The plan is none.
    #[error(transparent)]
    Plan(#[from] InvalidPlan),
    /// There is no HTTP client.
    #[error("no HTTP client can be made: {0}")]
    Client(anyhow::Error),
    /// The authorities that replicas are to be trusted by can't be read.
    #[error("--ca: {0}")]
    Authorities(String),
}

impl Run {
    /// Starts readers and publishers. Nothing that is out of reach is an error: they come back to it for ever.
    ///
    /// To be called within a tokio runtime. Publishing begins once all readers were told where they begin, or
    /// after five seconds.
    pub fn start(plan: Plan) -> Result<Self, StartError> {
        let layout = Layout::new(&plan)?;
        let mut random = Rng::with_seed(plan.seed);
        let tls = tls::config(&plan).map_err(StartError::Authorities)?;
        let shared = Arc::new(Shared::new(plan, layout, tls));
        let mut publishers = JoinSet::new();
        for number in 0..shared.plan.publishers {
            let publisher = Publisher::new(shared.clone(), number, random.fork());
            publishers.spawn(publisher.map_err(StartError::Client)?.run());
        }
        let mut readers = JoinSet::new();
        for number in 0..shared.plan.readers {
            readers.spawn(Reader::new(shared.clone(), number, random.fork()).run());
        }
        readers.spawn(tidy(shared.clone()));
        readers.spawn(open(shared.clone()));
        Ok(Self {
            shared,
            publishers,
            _readers: readers,
        })
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        self.shared.counts.progress()
    }

    /// The sequence that every reader has come to, or is beyond; 0 while one has been told nothing.
    pub fn sequence(&self) -> u64 {
        let readers = self.shared.readers.iter();
        let come_to = readers.map(|account| account.checker.lock().sequence());
        come_to.min().unwrap_or(0)
    }

    /// All of its feeds, as a pattern.
    pub fn feeds(&self) -> String {
        format!(
            "{}.{:016x}.>",
            self.shared.plan.prefix, self.shared.layout.run
        )
    }

    /// Waits until it has come so far.
    pub async fn wait_for(&self, mut is_so: impl FnMut(&Progress) -> bool) {
        while !is_so(&self.progress()) {
            sleep(LOOK).await;
        }
    }

    /// Stops the publishers, waits until every reader has what it is due or nothing comes any more, and tells what came of
    /// it.
    pub async fn finish(mut self) -> Report {
        let settle = self.shared.plan.settle;
        self.shared.phase.send_replace(Phase::Stopping);
        let all = async { while self.publishers.join_next().await.is_some() {} };
        let in_time = timeout(settle, all).await.is_ok();
        self.shared.phase.send_replace(Phase::Settling);
        if !in_time {
            while self.publishers.join_next().await.is_some() {}
        }
        self.settle(settle).await;
        self.report()
    }

    /// Waits until every reader has what it is due, or nothing has come to any for as long as `patience`: one that was
    /// slow may have much to catch up with.
    async fn settle(&self, patience: Duration) {
        let began = Instant::now();
        let (mut before, mut since) = (self.progress().deliveries, began);
        while !self.is_complete()
            && since.elapsed() < patience
            && began.elapsed() < patience * SETTLES
        {
            sleep(LOOK * 4).await;
            let now = self.progress().deliveries;
            if now != before {
                (before, since) = (now, Instant::now());
            }
        }
    }

    fn is_complete(&self) -> bool {
        let was_published = self.progress().acknowledged > 0;
        self.shared.readers.iter().all(|account| {
            let mut checker = account.checker.lock();
            (checker.has_begun() || !was_published) && checker.is_complete()
        })
    }

    fn report(&self) -> Report {
        let shared = &self.shared;
        let mut tally = Tally::default();
        let mut unreached = Found::default();
        for (number, account) in shared.readers.iter().enumerate() {
            let mut checker = account.checker.lock();
            let outstanding = checker.outstanding();
            let is_missing = outstanding > 0 && !account.is_connected.load(Relaxed);
            match is_missing || !checker.has_begun() {
                true => unreached.note(|| Example {
                    reader: number as u32,
                    id: "-".to_owned(),
                    after: checker.last(),
                    what: format!(
                        "without a connection at the end, with {outstanding} events to come: {}",
                        account.trouble.lock().as_deref().unwrap_or("cut off")
                    ),
                }),
                false => checker.lose(),
            }
            tally.add(checker.finish());
        }
        Report {
            seed: shared.plan.seed,
            feeds: self.feeds(),
            progress: self.progress(),
            readers: shared.plan.readers.into(),
            tally,
            unreached,
            trouble: shared.trouble.lock().clone(),
        }
    }
}

async fn tidy(shared: Arc<Shared>) {
    loop {
        sleep(TIDY).await;
        shared.tidy();
    }
}

/// Has the publishers begin.
async fn open(shared: Arc<Shared>) {
    let all = u64::from(shared.plan.readers);
    let have_begun = async {
        while shared.counts.begun.load(Relaxed) < all {
            sleep(LOOK).await;
        }
    };
    let _ = timeout(OPENING, have_begun).await;
    shared.phase.send_if_modified(|phase| {
        let is_early = *phase == Phase::Opening;
        if is_early {
            *phase = Phase::Publishing;
        }
        is_early
    });
}
