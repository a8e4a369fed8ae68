//! What a run has found, as JSON and as text.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt;

/// All of it. What was not measured is left out.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) readers: usize,
    pub(super) feeds: u32,
    pub(super) publishers: u32,
    pub(super) connect: Connect,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<Memory>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) publish: Option<Publish>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) deliveries: Option<Deliveries>,
    /// From an event's sending to its coming, taken on every 16th connection, in ms.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delay_ms: Option<Spread>,
    pub(super) cpu: Cpu,
}

/// How the readers connected.
#[derive(Debug, Serialize)]
pub(super) struct Connect {
    pub(super) open: usize,
    /// Readers that got no stream.
    pub(super) failed: usize,
    /// Why the first one failed that did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trouble: Option<String>,
    /// Streams that the server has ended.
    pub(super) closed: usize,
    /// From the first connect to the last answer's head; with pauses, where memory was read in between.
    pub(super) seconds: f64,
    /// From a connect to its answer's head.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) head_ms: Option<Spread>,
}

/// The server's resident memory.
#[derive(Debug, Serialize)]
pub(super) struct Memory {
    pub(super) before_kib: u64,
    pub(super) points: Vec<Point>,
    /// The growth from the first point to the last, for each reader in between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) further_kib_per_reader: Option<f64>,
    /// With all readers gone.
    pub(super) after_kib: u64,
}

/// The memory with so many readers.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Point {
    pub(super) readers: usize,
    pub(super) kib: u64,
    /// All growth since before the first reader, for each reader.
    pub(super) kib_per_reader: f64,
}

/// What the publishers did.
#[derive(Debug, Serialize)]
pub(super) struct Publish {
    pub(super) acknowledged: u64,
    pub(super) failed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) trouble: Option<String>,
    pub(super) seconds: f64,
    pub(super) per_second: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ack_ms: Option<Spread>,
}

/// What the readers received.
#[derive(Debug, Serialize)]
pub(super) struct Deliveries {
    pub(super) expected: u64,
    pub(super) received: u64,
    pub(super) lost: u64,
    pub(super) duplicates: u64,
    /// Events that came after one that the same publisher had published later on the same feed.
    pub(super) out_of_order: u64,
    /// Events of feeds that the reader did not ask for.
    pub(super) strays: u64,
    /// From the first publish, or with a resume from the first connect, to the last delivery.
    pub(super) seconds: f64,
    pub(super) per_second: f64,
}

/// Processor time.
#[derive(Debug, Serialize)]
pub(super) struct Cpu {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_us_per_connect: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_us_per_delivery: Option<f64>,
    /// With all its deliveries.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_us_per_publish: Option<f64>,
    /// The benchmark's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) own_us_per_delivery: Option<f64>,
}

/// How values are spread.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Spread {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

impl Report {
    /// Whether all went as it should: nothing failed, and each event came once, in order, to those who asked for it.
    pub(super) fn is_clean(&self) -> bool {
        let published = self
            .publish
            .as_ref()
            .is_none_or(|publish| publish.failed == 0);
        let delivered = self.deliveries.as_ref().is_none_or(Deliveries::is_clean);
        self.connect.failed == 0 && published && delivered
    }
}

impl Deliveries {
    fn is_clean(&self) -> bool {
        let wrong = [self.lost, self.duplicates, self.out_of_order, self.strays];
        wrong.iter().all(|count| *count == 0)
    }
}

impl Spread {
    /// Of microseconds, in milliseconds; of none there is none.
    pub(super) fn of(micros: &Histogram<u64>) -> Option<Self> {
        let ms = |micros: u64| micros as f64 / 1e3;
        let at = |quantile| ms(micros.value_at_quantile(quantile));
        (!micros.is_empty()).then(|| Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: ms(micros.max()),
        })
    }
}

impl Memory {
    pub(super) fn new(before_kib: u64, points: Vec<Point>, after_kib: u64) -> Self {
        let further = match &*points {
            [first, .., last] if last.readers > first.readers => {
                let readers = (last.readers - first.readers) as f64;
                Some((last.kib as f64 - first.kib as f64) / readers)
            }
            _ => None,
        };
        Self {
            before_kib,
            points,
            further_kib_per_reader: further,
            after_kib,
        }
    }

    pub(super) fn point(before_kib: u64, readers: usize, kib: u64) -> Point {
        let growth = kib as f64 - before_kib as f64;
        Point {
            readers,
            kib,
            kib_per_reader: growth / readers.max(1) as f64,
        }
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            p50,
            p90,
            p99,
            p999,
            max,
        } = self;
        write!(
            f,
            "p50 {p50:.2} · p90 {p90:.2} · p99 {p99:.2} · p99.9 {p999:.2} · max {max:.2} ms"
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Connect {
            open,
            failed,
            closed,
            seconds,
            head_ms,
            trouble,
        } = &self.connect;
        writeln!(
            f,
            "readers     {open} of {} open in {seconds:.2} s, {failed} failed, {closed} closed by the server; {} feeds, {} publishers",
            self.readers, self.feeds, self.publishers
        )?;
        spread_line(f, "head", head_ms.as_ref())?;
        trouble_line(f, trouble.as_deref())?;
        if let Some(memory) = &self.memory {
            memory.fmt(f)?;
        }
        if let Some(publish) = &self.publish {
            publish.fmt(f)?;
        }
        if let Some(deliveries) = &self.deliveries {
            deliveries.fmt(f)?;
        }
        spread_line(f, "delay", self.delay_ms.as_ref())?;
        self.cpu.fmt(f)
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "memory      {} KiB before the first reader",
            self.before_kib
        )?;
        for point in &self.points {
            writeln!(
                f,
                "  {:>8}  {} KiB: {:.2} KiB a reader",
                point.readers, point.kib, point.kib_per_reader
            )?;
        }
        if let Some(further) = self.further_kib_per_reader {
            writeln!(f, "  between   {further:.2} KiB a further reader")?;
        }
        writeln!(f, "  after     {} KiB", self.after_kib)
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "published   {} events in {:.2} s, {:.0}/s; {} failed",
            self.acknowledged, self.seconds, self.per_second, self.failed
        )?;
        spread_line(f, "ack", self.ack_ms.as_ref())?;
        trouble_line(f, self.trouble.as_deref())
    }
}

impl fmt::Display for Deliveries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "delivered   {} of {} in {:.2} s, {:.0}/s",
            self.received, self.expected, self.seconds, self.per_second
        )?;
        writeln!(
            f,
            "  wrong     {} lost, {} twice, {} out of order, {} not asked for",
            self.lost, self.duplicates, self.out_of_order, self.strays
        )
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: Option<f64>, of: &str| match value {
            Some(value) => writeln!(f, "{name:<11} {value:.2} µs {of}"),
            None => Ok(()),
        };
        let (connect, delivery) = (self.server_us_per_connect, self.server_us_per_delivery);
        line("connect cpu", connect, "of the server for each connect")?;
        line("event cpu", delivery, "of the server for each delivery")?;
        let own = self.own_us_per_delivery;
        line("bench cpu", own, "of this program for each delivery")
    }
}

fn spread_line(f: &mut fmt::Formatter<'_>, name: &str, spread: Option<&Spread>) -> fmt::Result {
    match spread {
        Some(spread) => writeln!(f, "  {name:<9} {spread}"),
        None => Ok(()),
    }
}

fn trouble_line(f: &mut fmt::Formatter<'_>, trouble: Option<&str>) -> fmt::Result {
    match trouble {
        Some(trouble) => writeln!(f, "  first failure: {trouble}"),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_for_each_reader_and_for_each_further_one() {
        let points = [(5000, 15_000), (15_000, 25_000)];
        let points = points.map(|(readers, kib)| Memory::point(10_000, readers, kib));
        assert_eq!(points[0].kib_per_reader, 1.0);
        assert_eq!(points[1].kib_per_reader, 1.0);
        let memory = Memory::new(10_000, points.to_vec(), 12_000);
        assert_eq!(memory.further_kib_per_reader, Some(1.0));
        let one = Memory::new(10_000, points[..1].to_vec(), 12_000);
        assert_eq!(one.further_kib_per_reader, None);
    }
}
