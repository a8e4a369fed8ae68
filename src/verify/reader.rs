//! A reader: connects, reads, is cut off or cuts itself off, and comes back, for ever.

use super::checker::Heard;
use super::connection::{self, Connection};
use super::plan::Interest;
use super::shared::{Account, Phase, Shared, count};
use crate::wire::{Block, Parser};
use anyhow::{bail, ensure};
use fastrand::Rng;
use http::{StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Bytes;
use reqwest::Url;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// How long a connect may take, with the head of the answer.
const CONNECT: Duration = Duration::from_secs(10);
/// When to come back where no server has said so. Every pause is up to half as long again.
const RETRY: Duration = Duration::from_millis(500);
/// The longest pause between two attempts, to which it doubles while they fail; more only where a server says so.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// The longest pause of a slow reader.
const SLOW_PAUSE: Duration = Duration::from_millis(500);
/// How often a reader goes elsewhere when it comes back, where it can.
const MOVES: f64 = 0.9;

pub(super) struct Reader {
    shared: Arc<Shared>,
    number: u32,
    random: Rng,
    /// The replica that it reads from.
    replica: usize,
    /// The id from which to go on, once there is one.
    id: Option<String>,
    retry: Duration,
    /// Connects in a row that led to no stream.
    failures: u32,
    has_heard: bool,
}

/// Why a stream is read no more.
enum Left {
    /// The reader has had enough of it.
    Cut,
    Ended,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>, number: u32, mut random: Rng) -> Self {
        let replica = random.usize(..shared.plan.replicas.len());
        Self {
            shared,
            number,
            random,
            replica,
            id: None,
            retry: RETRY,
            failures: 0,
            has_heard: false,
        }
    }

    fn account(&self) -> &Account {
        &self.shared.readers[self.number as usize]
    }

    fn interest(&self) -> &Interest {
        &self.shared.layout.readers[self.number as usize]
    }

    /// Never ends.
    pub(super) async fn run(mut self) {
        loop {
            let visited = self.visit().await;
            self.account().is_connected.store(false, Relaxed);
            let counts = &self.shared.counts;
            match visited {
                Ok(Left::Cut) => count(&counts.cuts),
                Ok(Left::Ended) => count(&counts.ends),
                Err(error) => {
                    count(&counts.failures);
                    self.failures += 1;
                    *self.account().trouble.lock() = Some(format!("{error:#}"));
                }
            }
            sleep(self.pause()).await;
            if self.random.f64() < MOVES {
                let others = self.shared.plan.replicas.len().max(2) - 1;
                self.replica += 1 + self.random.usize(..others);
                self.replica %= self.shared.plan.replicas.len();
            }
        }
    }

    fn pause(&mut self) -> Duration {
        let doubled = self.retry * (1 << self.failures.saturating_sub(1).min(10));
        let longest = LONGEST_PAUSE.max(self.retry);
        doubled.min(longest).mul_f64(1.0 + self.random.f64() / 2.0)
    }

    /// One connection. An error is one that led to no stream.
    async fn visit(&mut self) -> anyhow::Result<Left> {
        let connection = match timeout(CONNECT, self.open()).await {
            Ok(connection) => connection?,
            Err(_) => bail!("no answer within {CONNECT:?}"),
        };
        let response = &connection.response;
        ensure!(
            response.status() == StatusCode::OK,
            "answered with {}",
            response.status()
        );
        let kind = response.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        ensure!(
            kind.starts_with("text/event-stream"),
            "answered with no event stream; is it a Tidings server?"
        );
        if let Some(reason) = response.headers().get("tidings-refused") {
            let reason = reason.to_str().unwrap_or_default().to_owned();
            self.read(connection, None).await?;
            bail!("told to come back: {reason}");
        }
        count(&self.shared.counts.connections);
        self.failures = 0;
        self.account().is_connected.store(true, Relaxed);
        let cut = self.shared.plan.cut.map(|mean| {
            // A time that knows nothing of the time before: -ln of an even chance, at most some 37 means.
            let stay = -(1.0 - self.random.f64()).ln();
            Instant::now() + mean.mul_f64(stay)
        });
        self.read(connection, cut).await
    }

    async fn open(&self) -> anyhow::Result<Connection> {
        let interest = self.interest();
        let mut url: Url = self.shared.plan.replicas[self.replica].clone();
        let path = url.path_segments_mut();
        let mut path = path.map_err(|()| anyhow::anyhow!("it is no URL of a server"))?;
        path.pop_if_empty().push("feeds");
        if let [pattern] = &interest.patterns[..] {
            path.push(pattern.as_str());
        }
        drop(path);
        if interest.patterns.len() > 1 {
            let feeds = interest.patterns.iter().map(|one| ("feed", one.as_str()));
            url.query_pairs_mut().extend_pairs(feeds);
        }
        if interest.envelope {
            url.query_pairs_mut().append_pair("envelope", "1");
        }
        let headers = &self.shared.plan.headers;
        connection::open(&url, headers, self.id.as_deref(), interest.is_slow).await
    }

    /// Reads until the stream ends, breaks or is silent, or the reader has had enough.
    async fn read(
        &mut self,
        mut connection: Connection,
        cut: Option<Instant>,
    ) -> anyhow::Result<Left> {
        let shared = self.shared.clone();
        let body = connection.response.body_mut();
        let mut parser = Parser::default();
        let enough = async {
            match cut {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let mut enough = std::pin::pin!(enough);
        loop {
            let is_settling = shared.has_reached(Phase::Settling);
            let pause = match self.interest().is_slow && !is_settling {
                true => SLOW_PAUSE.mul_f64(self.random.f64()),
                false => Duration::ZERO,
            };
            let next = async {
                if !pause.is_zero() {
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = shared.reaches(Phase::Settling) => {}
                    }
                }
                timeout(shared.plan.silence, body.frame()).await
            };
            let frame = tokio::select! {
                () = &mut enough, if !is_settling => return Ok(Left::Cut),
                frame = next => frame,
            };
            let Ok(Some(Ok(frame))) = frame else {
                return Ok(Left::Ended);
            };
            if let Ok(bytes) = frame.into_data() {
                self.take(&mut parser, &bytes)?;
            }
        }
    }

    fn take(&mut self, parser: &mut Parser, bytes: &Bytes) -> anyhow::Result<()> {
        let mut blocks = Vec::new();
        let read = parser.read(bytes, &mut blocks);
        self.hear(&blocks);
        if let Some(id) = parser.last_id().filter(|id| !id.is_empty()) {
            self.id = Some(id.to_owned());
        }
        self.retry = parser.retry().unwrap_or(self.retry);
        Ok(read?)
    }

    fn hear(&mut self, blocks: &[Block]) {
        let shared = self.shared.clone();
        let counts = &shared.counts;
        let mut checker = shared.readers[self.number as usize].checker.lock();
        for block in blocks {
            let had_begun = checker.has_begun();
            match checker.hear(block) {
                Heard::Event => {
                    count(&counts.deliveries);
                    if !std::mem::replace(&mut self.has_heard, true) {
                        count(&counts.heard);
                    }
                }
                Heard::Gap => count(&counts.gaps),
                Heard::Reset => count(&counts.resets),
                Heard::Other => {}
            }
            if !had_begun && checker.has_begun() {
                count(&counts.begun);
            }
        }
    }
}
