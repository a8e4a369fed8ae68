//! A run, step by step.

use super::clock::Clock;
use super::half_open::HalfOpen;
use super::mark;
use super::plan::Plan;
use super::process::{self, Processes};
use super::progress::Line;
use super::publisher::{self, Schedule};
use super::report::{Connect, Cpu, Deliveries, Memory, Point, Publish, Report, Spread};
use super::subscribers::{self, Progress, Subscribers};
use super::{Bench, Ends, probe, stalled};
use anyhow::bail;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;
use tokio::runtime::Handle;

/// How long nothing may happen while readers connect.
const CONNECTING: Duration = Duration::from_secs(30);

struct Run<'a> {
    bench: &'a Bench,
    ends: Ends,
    plan: Arc<Plan>,
    clock: Clock,
    line: Line,
    server: Option<Processes>,
    runtime: &'a Handle,
}

/// Processor time, of the server and of this program.
#[derive(Clone, Copy, Debug)]
struct Spent {
    server: Option<Duration>,
    own: Duration,
}

/// What a step took.
#[derive(Clone, Copy, Debug)]
struct Step {
    began: u64,
    server: Option<Duration>,
    own: Duration,
}

/// What the steps have found.
#[derive(Debug)]
struct Seen {
    /// The memory before the first reader.
    before: Option<u64>,
    points: Vec<Point>,
    connecting: Step,
    published: Option<publisher::Tally>,
    receiving: Option<Step>,
}

pub(super) fn run(bench: &Bench, runtime: &Handle) -> anyhow::Result<Report> {
    bench.check()?;
    process::make_room_for(bench.connections())?;
    let readers = bench.readers as usize;
    let plan = Plan::new(
        fastrand::u32(..mark::MAX_RUN),
        readers,
        bench.feeds(),
        bench.publishers,
        bench.interest(),
    );
    let run = Run {
        bench,
        ends: bench.ends()?,
        plan: Arc::new(plan),
        clock: Clock::start(),
        line: Line::new(),
        server: Processes::new(&bench.pid)?,
        runtime,
    };
    match bench.resume_events {
        Some(events) => run.resume(events),
        None => run.live(),
    }
}

impl Run<'_> {
    /// Connects, then publishes.
    fn live(self) -> anyhow::Result<Report> {
        let subscribers = self.subscribers()?;
        let before = self.memory()?;
        let (points, connecting) = self.connect(&subscribers, before, None)?;
        let _stalled = stalled::open(self.bench.stalled, &self.plan, &self.ends.readers)?;
        let _half_open = HalfOpen::begin(self.bench.half_open, &self.ends.readers)?;
        let mut seen = Seen {
            before,
            points,
            connecting,
            published: None,
            receiving: None,
        };
        self.rest();
        if !self.bench.idle {
            let step = self.begin()?;
            seen.published = Some(self.publish(self.bench.events)?);
            self.receive(&subscribers.progress);
            seen.receiving = Some(self.end(step)?);
        }
        self.report(subscribers, seen)
    }

    /// Publishes, then has the readers come back for it.
    fn resume(self, events: u32) -> anyhow::Result<Report> {
        let publisher::Target::Http(http) = &self.ends.publishers else {
            bail!("--resume-events publishes over HTTP");
        };
        let id = probe::id_before(&self.plan, &self.ends.readers, http, self.clock)?;
        let published = self.publish(events.saturating_mul(self.plan.feeds()))?;
        let subscribers = self.subscribers()?;
        let before = self.memory()?;
        let step = self.begin()?;
        let (points, connecting) = self.connect(&subscribers, before, Some(&id))?;
        self.receive(&subscribers.progress);
        let seen = Seen {
            before,
            points,
            connecting,
            published: Some(published),
            receiving: Some(self.end(step)?),
        };
        self.report(subscribers, seen)
    }

    fn subscribers(&self) -> anyhow::Result<Subscribers> {
        let threads = self.bench.threads.into();
        Ok(Subscribers::start(
            &self.plan,
            &self.ends.readers,
            self.clock,
            threads,
        )?)
    }

    fn rest(&self) {
        std::thread::sleep(Duration::from_secs_f64(self.bench.rest));
    }

    fn memory(&self) -> anyhow::Result<Option<u64>> {
        self.server
            .as_ref()
            .map(Processes::resident_kib)
            .transpose()
    }

    /// Opens all readers, and reads the memory where that was asked for and at the end.
    fn connect(
        &self,
        subscribers: &Subscribers,
        before: Option<u64>,
        id: Option<&str>,
    ) -> anyhow::Result<(Vec<Point>, Step)> {
        let progress = &subscribers.progress;
        let mut points = Vec::new();
        let step = self.begin()?;
        for through in stops(&self.bench.memory_at, self.plan.readers) {
            subscribers.open(through, id)?;
            self.line.wait("connected", through as u64, CONNECTING, || {
                (progress.open.load(Relaxed) + progress.failed.load(Relaxed)) as u64
            });
            let Some(before) = before.filter(|_| id.is_none()) else {
                continue;
            };
            self.rest();
            if let Some(kib) = self.memory()? {
                let open = progress.open.load(Relaxed);
                points.push(Memory::point(before, open, kib));
            }
        }
        Ok((points, self.end(step)?))
    }

    fn publish(&self, events: u32) -> anyhow::Result<publisher::Tally> {
        let sent = Arc::new(AtomicU32::new(0));
        let began = self.clock.micros();
        let ends = self
            .bench
            .seconds
            .map_or(u64::MAX, |seconds| began + (seconds * 1e6) as u64);
        let schedule = Schedule {
            plan: self.plan.clone(),
            clock: self.clock,
            events,
            rate: self.bench.rate,
            payload: self.bench.payload,
            began,
            ends,
            sent: sent.clone(),
        };
        std::thread::scope(|scope| {
            let publishing = scope.spawn(|| schedule.run(&self.ends.publishers, self.runtime));
            self.line.wait(
                "published",
                events.into(),
                Duration::MAX,
                || match publishing.is_finished() {
                    true => u64::MAX,
                    false => sent.load(Relaxed).into(),
                },
            );
            match publishing.join() {
                Ok(tally) => Ok(tally),
                Err(_) => bail!("the publishers have panicked"),
            }
        })
    }

    /// Waits until everything that was published has been received, or nothing comes any more.
    fn receive(&self, progress: &Progress) {
        let patience = Duration::from_secs_f64(self.bench.patience);
        self.line.wait("received", self.expected(), patience, || {
            progress.received.load(Relaxed)
        });
    }

    fn expected(&self) -> u64 {
        (0..self.plan.readers)
            .map(|reader| self.plan.expected(reader))
            .sum()
    }

    fn spent(&self) -> anyhow::Result<Spent> {
        Ok(Spent {
            server: self.server.as_ref().map(Processes::cpu).transpose()?,
            own: Processes::this().cpu()?,
        })
    }

    fn begin(&self) -> anyhow::Result<Step> {
        let Spent { server, own } = self.spent()?;
        let began = self.clock.micros();
        Ok(Step { began, server, own })
    }

    fn end(&self, step: Step) -> anyhow::Result<Step> {
        let Spent { server, own } = self.spent()?;
        let since = |before: Duration, now: Duration| now.saturating_sub(before);
        Ok(Step {
            began: step.began,
            server: step
                .server
                .zip(server)
                .map(|(before, now)| since(before, now)),
            own: since(step.own, own),
        })
    }

    fn report(self, subscribers: Subscribers, seen: Seen) -> anyhow::Result<Report> {
        let progress = subscribers.progress.clone();
        let tally = subscribers.end()?;
        if self.server.is_some() {
            self.rest();
        }
        let after = self.memory()?;
        let received = progress.received.load(Relaxed);
        let deliveries = seen.receiving.map(|step| {
            let seconds = seconds(step.began, progress.last_received.load(Relaxed));
            Deliveries {
                expected: self.expected(),
                received,
                lost: tally.lost,
                duplicates: tally.duplicates,
                out_of_order: tally.late,
                strays: tally.strays,
                seconds,
                per_second: rate(received, seconds),
            }
        });
        Ok(Report {
            readers: self.plan.readers,
            feeds: self.plan.feeds(),
            publishers: self.plan.publishers(),
            connect: connected(&tally, &progress, seen.connecting.began),
            cpu: cpu(&seen, &progress),
            memory: seen
                .before
                .zip(after)
                .map(|(before, after)| Memory::new(before, seen.points, after)),
            delay_ms: Spread::of(&tally.delay),
            deliveries,
            publish: seen.published.map(published),
        })
    }
}

/// The numbers of readers at which to stop and read the memory: those asked for, and all.
fn stops(asked: &[usize], readers: usize) -> Vec<usize> {
    let mut stops: Vec<usize> = asked
        .iter()
        .copied()
        .filter(|&at| at < readers)
        .chain([readers])
        .collect();
    stops.sort_unstable();
    stops.dedup();
    stops
}

fn connected(tally: &subscribers::Tally, progress: &Progress, began: u64) -> Connect {
    Connect {
        open: progress.open.load(Relaxed),
        failed: progress.failed.load(Relaxed),
        trouble: progress.trouble.lock().take(),
        closed: progress.closed.load(Relaxed),
        seconds: seconds(began, progress.last_open.load(Relaxed)),
        head_ms: Spread::of(&tally.connect),
    }
}

fn published(tally: publisher::Tally) -> Publish {
    let seconds = seconds(tally.began, tally.ended);
    Publish {
        acknowledged: tally.acknowledged,
        failed: tally.failed,
        trouble: tally.trouble,
        seconds,
        per_second: rate(tally.acknowledged, seconds),
        ack_ms: Spread::of(&tally.ack),
    }
}

fn cpu(seen: &Seen, progress: &Progress) -> Cpu {
    let each = |time: Option<Duration>, count: u64| {
        let count = (count > 0).then_some(count as f64)?;
        Some(time?.as_secs_f64() * 1e6 / count)
    };
    let received = progress.received.load(Relaxed);
    let acknowledged = seen
        .published
        .as_ref()
        .map_or(0, |tally| tally.acknowledged);
    let server = seen.receiving.and_then(|step| step.server);
    Cpu {
        server_us_per_connect: each(seen.connecting.server, progress.open.load(Relaxed) as u64),
        server_us_per_delivery: each(server, received),
        server_us_per_publish: each(server, acknowledged),
        own_us_per_delivery: each(seen.receiving.map(|step| step.own), received),
    }
}

fn seconds(began: u64, ended: u64) -> f64 {
    ended.saturating_sub(began) as f64 / 1e6
}

fn rate(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_where_asked_and_with_all_readers() {
        assert_eq!(stops(&[], 10), [10]);
        assert_eq!(stops(&[20, 5, 10, 5], 10), [5, 10]);
    }
}
