//! `GET /admin/status`: how this replica does, in one answer.

use super::{Operator, json};
use crate::event::Timestamp;
use crate::http::health::{Readiness, readiness};
use crate::http::problem::Problem;
use crate::http::{Params, Service};
use crate::hub::ShardStats;
use crate::log::{Bounds, ConnectionState, Log};
use crate::version::{COMMIT, VERSION};
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use serde_json::Number;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::time::timeout;

/// How long the log may take to say how far it reaches.
const PATIENCE: Duration = Duration::from_secs(1);

/// The whole answer.
#[derive(Serialize)]
struct Status<'a> {
    replica: &'a str,
    version: &'static str,
    /// That it was built from, where that is known.
    commit: Option<&'static str>,
    uptime_seconds: f64,
    /// As `/readyz` has it.
    #[serde(flatten)]
    readiness: Readiness,
    log: LogStatus,
    window: Window,
    bounds: Limits,
    shards: Vec<Shard>,
    /// Those of `/metrics`, by their names without the prefix.
    metrics: BTreeMap<String, Number>,
}

#[derive(Serialize)]
struct LogStatus {
    name: &'static str,
    promise: &'static str,
    /// Whether NATS is connected; `null` where the log is not on NATS.
    nats_connected: Option<bool>,
    /// Whether it has said in time how far it reaches; what follows is `null` where it has not.
    reached: bool,
    first_sequence: Option<u64>,
    last: Option<String>,
    /// How many sequences this replica is behind it.
    behind: Option<u64>,
}

/// What is at hand: what comes after `after`, up to `head`.
#[derive(Serialize)]
struct Window {
    after: String,
    head: String,
    /// The times of its first event and its last.
    oldest: Option<String>,
    newest: Option<String>,
    seconds: f64,
    events: usize,
    bytes: u64,
}

#[derive(Serialize)]
struct Limits {
    max_window_events: usize,
    max_window_bytes: u64,
    max_streams: usize,
    max_connections: usize,
    max_patterns: usize,
    max_event_bytes: usize,
}

#[derive(Serialize)]
struct Shard {
    connections: u64,
    deliveries_total: u64,
    writes_total: u64,
    written_bytes_total: u64,
    blocked_writes_total: u64,
}

pub(super) async fn status(
    _: Operator,
    State(service): State<Service>,
    params: Params,
) -> Result<Response, Problem> {
    params.check(&[])?;
    Ok(json(&Status {
        replica: &service.replica,
        version: VERSION,
        commit: Some(COMMIT).filter(|commit| !commit.is_empty()),
        uptime_seconds: service.started.elapsed().as_secs_f64(),
        readiness: readiness(&service, false).1,
        log: log(&service).await,
        window: window(&service),
        bounds: bounds(&service),
        shards: service.shards.stats().map(shard).collect(),
        metrics: service.metrics.values(),
    }))
}

async fn log(service: &Service) -> LogStatus {
    let log = service.hub.log();
    let nats_connected = match log {
        Log::JetStream(log) => Some(log.state() == ConnectionState::Connected),
        _ => None,
    };
    let bounds = match nats_connected {
        Some(false) => None,
        _ => timeout(PATIENCE, log.bounds()).await.ok(),
    };
    let bounds: Option<Bounds> = bounds.and_then(Result::ok);
    let head = service.hub.head();
    LogStatus {
        name: log.name(),
        promise: log.promise(),
        nats_connected,
        reached: bounds.is_some(),
        first_sequence: bounds.map(|bounds| bounds.first),
        last: bounds.map(|bounds| bounds.last.to_string()),
        behind: bounds.map(|bounds| bounds.last.sequence().saturating_sub(head)),
    }
}

fn window(service: &Service) -> Window {
    let usage = service.hub.usage();
    let reach = service.hub.reach();
    let (oldest, newest) = reach.times.unzip();
    let nanos = |time: Option<Timestamp>| time.map_or(0, Timestamp::nanos);
    let span = Duration::from_nanos(nanos(newest).saturating_sub(nanos(oldest)));
    Window {
        after: usage.floor.to_string(),
        head: usage.head.to_string(),
        oldest: oldest.map(|time| time.to_string()),
        newest: newest.map(|time| time.to_string()),
        seconds: span.as_secs_f64(),
        events: usage.events,
        bytes: usage.bytes,
    }
}

fn bounds(service: &Service) -> Limits {
    let hub = service.hub.limits();
    Limits {
        max_window_events: hub.window.events,
        max_window_bytes: hub.window.bytes,
        max_streams: service.max_streams,
        max_connections: service.max_connections,
        max_patterns: service.max_patterns,
        max_event_bytes: service.max_event_bytes,
    }
}

fn shard(stats: &ShardStats) -> Shard {
    Shard {
        connections: stats.connections.load(Relaxed),
        deliveries_total: stats.delivered.events(),
        writes_total: stats.writes.load(Relaxed),
        written_bytes_total: stats.delivered.bytes(),
        blocked_writes_total: stats.blocked.load(Relaxed),
    }
}
