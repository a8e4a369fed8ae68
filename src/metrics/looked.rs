//! What is looked up when the metrics are asked for.

use super::{
    Budgets, Connections, Delay, Delays, Delivered, StreamCounters, counter_of, gauge, gauge_of,
    log,
};
use crate::hub::{Hub, ShardStats, Shards, Status, Usage};
use crate::publish::BodyBudget;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::gauge::ConstGauge;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

/// See the module.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) delay: Arc<Delay>,
    pub(super) streams: StreamCounters,
    pub(super) hub: Hub,
    pub(super) shards: Arc<Shards>,
    pub(super) connections: Connections,
    pub(super) budgets: Budgets,
}

impl Collector for Looked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let to = &mut encoder;
        self.connections(to)?;
        self.budgets(to)?;
        let usage = self.hub.usage();
        memory(to, &usage)?;
        readers(to, &usage)?;
        self.follower(to, &usage)?;
        self.deliveries(to)?;
        self.shards(to)?;
        log::log(to, self.hub.log())
    }
}

impl Looked {
    fn connections(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        gauge(
            to,
            "http_connections",
            "Open connections, those of streams among them",
            self.connections.open() as u64,
        )?;
        gauge(
            to,
            "http_connections_max",
            "How many connections there may be (--max-connections)",
            self.connections.max as u64,
        )
    }

    fn budgets(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let Budgets {
            bodies,
            pages,
            messages,
        } = &self.budgets;
        let mut both = |budget: &BodyBudget, [name, max]: [&str; 2], [help, limit]: [&str; 2]| {
            gauge(to, name, help, budget.held() as u64)?;
            gauge(to, max, limit, budget.max() as u64)
        };
        both(
            bodies,
            ["publish_bytes", "publish_max_bytes"],
            [
                "Bytes that the bodies of publishes under way hold",
                "How many bytes they may hold together (--publish-bytes)",
            ],
        )?;
        both(
            pages,
            ["page_bytes", "page_max_bytes"],
            [
                "Bytes that the answers of polls hold until they are sent",
                "How many bytes they may hold together (--page-bytes)",
            ],
        )?;
        both(
            messages,
            ["websocket_bytes", "websocket_max_bytes"],
            [
                "Bytes that WebSockets hold of messages that have not come whole, requests and their answers",
                "How many bytes they may hold together (--websocket-bytes)",
            ],
        )
    }

    fn follower(&self, to: &mut DescriptorEncoder<'_>, usage: &Usage) -> Result<(), fmt::Error> {
        gauge(
            to,
            "head_sequence",
            "Sequence of the last event followed",
            usage.head.sequence(),
        )?;
        gauge(
            to,
            "floor_sequence",
            "Sequence before the first event in the window",
            usage.floor.sequence(),
        )?;
        gauge(
            to,
            "follower_pending_events",
            "Events that the log is known to hold after the last one followed",
            usage.pending,
        )?;
        let behind = ConstGauge::new(usage.behind.as_secs_f64());
        super::put(
            to,
            "follower_behind_seconds",
            "Seconds since the log was last followed, where it holds more or can't be followed; else 0",
            &behind,
        )?;
        let now = match (&*self.hub.status().borrow(), self.hub.log().trouble()) {
            (Status::Live, None) => "live",
            (Status::Starting { .. }, _) => "starting",
            (Status::Live, Some(_)) | (Status::Degraded { .. }, _) => "degraded",
        };
        let of = |status| ([("status", status)], u64::from(status == now));
        gauge_of(
            to,
            "status",
            "1 for how this replica stands to its log, as `/readyz` tells it: starting, live or degraded; 0 for the others",
            ["starting", "live", "degraded"].into_iter().map(of),
        )
    }

    fn deliveries(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let by_shards: Vec<&Delivered> = self.shards.stats().map(|one| &one.delivered).collect();
        self.streams.encode(to, &by_shards)?;
        let delays = self.shards.stats().map(|stats| &stats.delay);
        Delays::sum(delays.chain([&*self.delay])).encode(
            to,
            "delivery_delay_seconds",
            "Seconds from an event's coming from the log to its being written for a live reader, one observation for each delivery",
        )
    }

    fn shards(&self, to: &mut DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let each = |of: fn(&ShardStats) -> u64| {
            let numbered = self.shards.stats().enumerate();
            numbered.map(move |(number, stats)| ([("shard", number.to_string())], of(stats)))
        };
        gauge_of(
            to,
            "shard_connections",
            "Connections that a shard serves",
            each(|stats| stats.connections.load(Relaxed)),
        )?;
        counter_of(
            to,
            "shard_deliveries",
            "Events and notices written by a shard, one for each connection",
            each(|stats| stats.delivered.events()),
        )?;
        counter_of(
            to,
            "shard_writes",
            "Writes to sockets by a shard",
            each(|stats| stats.writes.load(Relaxed)),
        )?;
        counter_of(
            to,
            "shard_written_bytes",
            "Bytes written by a shard, chunk framing counted",
            each(|stats| stats.delivered.bytes()),
        )?;
        counter_of(
            to,
            "shard_blocked_writes",
            "Writes of a shard that a full socket cut short",
            each(|stats| stats.blocked.load(Relaxed)),
        )
    }
}

fn memory(to: &mut DescriptorEncoder<'_>, usage: &Usage) -> Result<(), fmt::Error> {
    gauge(
        to,
        "window_events",
        "Events in the window",
        usage.events as u64,
    )?;
    gauge(
        to,
        "window_max_events",
        "How many events the window may hold (--window-events)",
        usage.max_events as u64,
    )?;
    gauge(
        to,
        "window_bytes",
        "Bytes in the window, encoded forms and index counted",
        usage.bytes,
    )?;
    gauge(
        to,
        "window_max_bytes",
        "How many bytes the window may hold (--window-bytes)",
        usage.max_bytes,
    )?;
    gauge(
        to,
        "cold_bytes",
        "Bytes of what was read from the log for readers behind the window",
        usage.cold_bytes,
    )?;
    gauge(
        to,
        "cold_max_bytes",
        "How many bytes of that are kept for others (--cold-bytes)",
        usage.max_cold_bytes,
    )
}

fn readers(to: &mut DescriptorEncoder<'_>, usage: &Usage) -> Result<(), fmt::Error> {
    gauge(
        to,
        "feeds",
        "Feeds with an event in the window or a reader of their own",
        usage.feeds as u64,
    )?;
    gauge(
        to,
        "reader_groups",
        "Different sets of patterns that are read",
        usage.groups as u64,
    )?;
    gauge(
        to,
        "pattern_bytes",
        "Bytes of the patterns that are read, and of what finds them, about",
        usage.pattern_bytes as u64,
    )?;
    gauge(
        to,
        "readers",
        "Readers, over all transports",
        usage.readers as u64,
    )?;
    gauge(
        to,
        "readers_max",
        "How many readers there may be (--max-streams)",
        usage.max_readers as u64,
    )
}
