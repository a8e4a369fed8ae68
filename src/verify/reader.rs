//! A reader: connects, reads, is cut off or cuts itself off, and comes back, for ever.

mod poll;

use super::checker::Heard;
use super::connection::{self, Connection};
use super::form::{Form, Reading, Told};
use super::plan::Interest;
use super::shared::{Account, Phase, Shared, count, refusal};
use anyhow::{Context, bail, ensure};
use fastrand::Rng;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use reqwest::Url;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::{sleep, timeout};

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
/// What is read at most of why it does not, in bytes.
const MAX_PROBLEM_BYTES: usize = 64 << 10;
/// Where a server says why it serves nobody now.
const REFUSED: &str = "tidings-refused";

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

/// Why a stream is read no more, or nothing polled for.
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

    /// One connection. An error is one that led to nothing.
    async fn visit(&mut self) -> anyhow::Result<Left> {
        let form = *self
            .random
            .choice(&self.shared.plan.forms)
            .context("no form")?;
        let stay = self.shared.plan.cut.map(|mean| {
            // A time that knows nothing of the time before: -ln of an even chance, at most some 37 means.
            mean.mul_f64(-(1.0 - self.random.f64()).ln())
        });
        let enough = async {
            match stay {
                Some(stay) => sleep(stay).await,
                None => std::future::pending().await,
            }
        };
        match form {
            Form::Poll => self.poll(std::pin::pin!(enough)).await,
            form => self.stream(form, std::pin::pin!(enough)).await,
        }
    }

    async fn stream(
        &mut self,
        form: Form,
        enough: Pin<&mut impl Future<Output = ()>>,
    ) -> anyhow::Result<Left> {
        let asking = async {
            let mut connection = self.connect().await?;
            let (url, headers) = (self.url(form)?, self.headers(form));
            let response = connection.ask(&url, headers).await?;
            anyhow::Ok((connection, checked(response, form).await?))
        };
        let Ok(asked) = timeout(CONNECT, asking).await else {
            bail!("no answer within {CONNECT:?}");
        };
        let (_connection, response) = asked?;
        if let Some(reason) = response.headers().get(REFUSED) {
            let reason = reason.to_str().unwrap_or_default().to_owned();
            self.read(response, form, std::pin::pin!(std::future::pending()))
                .await?;
            bail!("told to come back: {reason}");
        }
        self.has_come_in();
        self.read(response, form, enough).await
    }

    fn has_come_in(&mut self) {
        count(&self.shared.counts.connections);
        self.failures = 0;
        self.account().is_connected.store(true, Relaxed);
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let replica = &self.shared.plan.replicas[self.replica];
        connection::open(replica, &self.shared.tls, self.interest().is_slow).await
    }

    fn url(&self, form: Form) -> anyhow::Result<Url> {
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
        if form == Form::SseEnvelope {
            url.query_pairs_mut().append_pair("envelope", "1");
        }
        Ok(url)
    }

    fn headers(&self, form: Form) -> HeaderMap {
        let mut headers = self.shared.plan.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static(form.media()));
        let id = self.id.as_ref().and_then(|id| id.parse().ok());
        if let Some(id) = id {
            headers.insert("last-event-id", id);
        }
        headers
    }

    /// Reads until the stream ends, breaks or is silent, or the reader has had enough.
    async fn read(
        &mut self,
        response: Response<Incoming>,
        form: Form,
        mut enough: Pin<&mut impl Future<Output = ()>>,
    ) -> anyhow::Result<Left> {
        let shared = self.shared.clone();
        let mut body = response.into_body();
        let mut reading = Reading::new(form);
        loop {
            let is_settling = shared.has_reached(Phase::Settling);
            let pause = self.pause_if_slow();
            let next = async {
                linger(&shared, pause).await;
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
                let mut told = Vec::new();
                let read = reading.read(&bytes, &mut told);
                self.hear(&told);
                self.retry = reading.retry().unwrap_or(self.retry);
                read?;
            }
        }
    }

    fn pause_if_slow(&mut self) -> Duration {
        let is_settling = self.shared.has_reached(Phase::Settling);
        match self.interest().is_slow && !is_settling {
            true => SLOW_PAUSE.mul_f64(self.random.f64()),
            false => Duration::ZERO,
        }
    }

    fn hear(&mut self, told: &[Told]) {
        let shared = self.shared.clone();
        let counts = &shared.counts;
        let mut checker = shared.readers[self.number as usize].checker.lock();
        for one in told {
            if !one.id.is_empty() {
                self.id = Some(one.id.clone());
            }
            let had_begun = checker.has_begun();
            match checker.hear(one) {
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

/// An answer, where it is one in this form.
async fn checked(response: Response<Incoming>, form: Form) -> anyhow::Result<Response<Incoming>> {
    let text = |name| {
        let value: Option<&HeaderValue> = response.headers().get(name);
        value
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    };
    let (status, why) = (response.status(), text(REFUSED));
    ensure!(
        status == StatusCode::OK || why.is_empty(),
        "told to come back: {why}"
    );
    if status != StatusCode::OK {
        let body = Limited::new(response.into_body(), MAX_PROBLEM_BYTES).collect();
        let body = body.await.map(|body| body.to_bytes()).unwrap_or_default();
        bail!("answered with {}", refusal(status, &body));
    }
    let (media, expected) = (text(header::CONTENT_TYPE.as_str()), form.media());
    ensure!(
        media.starts_with(expected),
        "answered with {media:?} for {expected}; is it a Tidings server?"
    );
    Ok(response)
}

/// Pauses, but not beyond the beginning of the end.
async fn linger(shared: &Shared, pause: Duration) {
    if !pause.is_zero() {
        tokio::select! {
            () = sleep(pause) => {}
            () = shared.reaches(Phase::Settling) => {}
        }
    }
}
