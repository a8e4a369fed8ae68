//! The parts of a replica, each by its settings.

use super::StartError;
use crate::clients::{Proxies, Rates, SeatLimits, Seats};
use crate::config::{
    BUDGET, ClientSettings, DataSettings, LimitSettings, MemorySettings, Settings,
    WebSocketSettings,
};
use crate::http::{Bounds, Door, Server, Tls, max_message};
use crate::hub::{HubLimits, WindowLimits};
use crate::log::{DiskLog, JetStreamLog, Log, MemoryLimits, MemoryLog};
use crate::metrics::{Budgets, Connections};
use crate::publish::BodyBudget;
use std::net::SocketAddr;
use std::sync::Arc;

/// What an envelope takes at most beside its data: names, types and keys have their bounds.
const ENVELOPE: usize = 16 << 10;

/// What each client may have and do. Cloning it gives another handle.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    pub(super) door: Door,
    /// That of the listener for operators, who have connections of their own.
    pub(super) operators: Door,
    pub(super) seats: Seats,
    pub(super) publish_rates: Rates,
    pub(super) message_rates: Rates,
}

impl Clients {
    pub(super) fn new(settings: &ClientSettings) -> Self {
        let limits = seat_limits(settings);
        let proxies = Proxies::new(settings.trusted_proxies.clone(), settings.forwarded_header);
        let proxies = Arc::new(proxies);
        let door = || Door {
            seats: Seats::new(limits),
            proxies: proxies.clone(),
        };
        Self {
            door: door(),
            operators: door(),
            seats: Seats::new(limits),
            publish_rates: Rates::new(settings.publish_rate, settings.publish_burst),
            message_rates: Rates::new(settings.message_rate, settings.message_burst),
        }
    }

    /// Has others hold from now on; which proxies are trusted stays.
    pub(super) fn set(&self, settings: &ClientSettings) {
        let limits = seat_limits(settings);
        self.door.seats.set(limits);
        self.operators.seats.set(limits);
        self.seats.set(limits);
        let rates = &self.publish_rates;
        rates.set(settings.publish_rate, settings.publish_burst);
        let rates = &self.message_rates;
        rates.set(settings.message_rate, settings.message_burst);
    }
}

fn seat_limits(settings: &ClientSettings) -> SeatLimits {
    SeatLimits {
        address: settings.max_connections_per_address,
        subject: settings.max_connections_per_subject,
    }
}

pub(super) fn scheme(tls: Option<&Tls>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}

/// The connections that operators may have on a listener of their own.
const ADMIN_CONNECTIONS: usize = 1000;

/// The listener for operators: with places of its own, so that it is there when clients take all of theirs.
pub(super) fn admin_server(
    address: Option<SocketAddr>,
    door: Door,
    bounds: Bounds,
    tls: Option<Tls>,
) -> Result<Option<Server>, StartError> {
    let Some(address) = address else {
        return Ok(None);
    };
    let connections = Connections::new(ADMIN_CONNECTIONS);
    let server = Server::bind(address, connections, door, bounds, tls);
    let server = server.map_err(|error| StartError::AdminListen { address, error })?;
    Ok(Some(server))
}

/// A replica's name, unlike that of any other.
pub(super) fn name() -> String {
    let letter = |_| fastrand::alphanumeric().to_ascii_lowercase();
    "r-".chars().chain((0..8).map(letter)).collect()
}

pub(super) fn hub_limits(memory: &MemorySettings, limits: &LimitSettings) -> HubLimits {
    HubLimits {
        window: WindowLimits {
            bytes: memory.window_bytes,
            events: usize::try_from(memory.window_events).unwrap_or(usize::MAX),
        },
        cold_bytes: memory.cold_bytes,
        readers: limits.max_streams,
    }
}

/// Refuses a log on disk that would not hold an event.
pub(super) fn check_data(data: &DataSettings, event: usize) -> Result<(), StartError> {
    let bytes = data.limits(0).bytes;
    match data.folder.is_some() && bytes / 2 < event as u64 {
        true => Err(StartError::DataBytes { bytes, event }),
        false => Ok(()),
    }
}

/// What may be held at once of bodies.
pub(super) fn budgets(settings: &Settings) -> Result<Budgets, StartError> {
    Ok(Budgets {
        bodies: body_budget(&settings.limits)?,
        pages: page_budget(&settings.limits)?,
        messages: message_budget(&settings.websockets, &settings.limits)?,
    })
}

fn body_budget(limits: &LimitSettings) -> Result<BodyBudget, StartError> {
    let body = limits.max_batch_bytes.max(limits.max_event_bytes);
    check_bodies(limits.publish_bytes, body)?;
    Ok(BodyBudget::new(limits.publish_bytes))
}

/// Refuses a budget that would never take the largest body.
pub(super) fn check_bodies(bytes: usize, body: usize) -> Result<(), StartError> {
    let largest = "the largest body (--max-batch-bytes, --max-event-bytes)";
    check_budget("publish-bytes", bytes, largest, body)
}

/// What pages may hold: at least the largest event as JSON, each of whose bytes may take six there.
fn page_budget(limits: &LimitSettings) -> Result<BodyBudget, StartError> {
    let event = limits.max_event_bytes.saturating_mul(6);
    let least = event.saturating_add(ENVELOPE);
    let bytes = by_itself(limits.page_bytes, least);
    let largest = "the largest event as JSON (--max-event-bytes)";
    check_budget("page-bytes", bytes, largest, least)?;
    Ok(BodyBudget::new(bytes))
}

/// What messages on their way may hold: at least two that are as large as may be.
fn message_budget(
    websockets: &WebSocketSettings,
    limits: &LimitSettings,
) -> Result<BodyBudget, StartError> {
    let least = max_message(limits.max_event_bytes).saturating_mul(2);
    let bytes = by_itself(websockets.websocket_bytes, least);
    let largest = "two of the largest messages (--max-event-bytes)";
    check_budget("websocket-bytes", bytes, largest, least)?;
    Ok(BodyBudget::new(bytes))
}

/// A budget that nobody has set is what larger events take.
fn by_itself(bytes: usize, least: usize) -> usize {
    match bytes {
        BUDGET => BUDGET.max(least),
        set => set,
    }
}

fn check_budget(
    option: &'static str,
    bytes: usize,
    largest: &'static str,
    least: usize,
) -> Result<(), StartError> {
    match bytes < least {
        true => Err(StartError::Budget {
            option,
            bytes,
            largest,
            least,
        }),
        false => Ok(()),
    }
}

pub(super) fn log(settings: &Settings) -> Result<Log, StartError> {
    let (data, nats, memory) = (&settings.data, &settings.nats, &settings.memory);
    let max_event_bytes = settings.limits.max_event_bytes;
    check_data(data, max_event_bytes)?;
    if let Some(folder) = data.folder.clone() {
        let limits = data.limits(memory.memory_keys);
        return Ok(Log::Disk(DiskLog::open(folder, limits)?));
    }
    match nats.servers.is_empty() {
        true => Ok(Log::Memory(MemoryLog::new(memory_limits(memory)))),
        false => {
            let log = JetStreamLog::new(nats.clone(), max_event_bytes)?;
            Ok(Log::JetStream(log))
        }
    }
}

fn memory_limits(memory: &MemorySettings) -> MemoryLimits {
    MemoryLimits {
        bytes: memory.memory_bytes,
        events: memory.memory_events,
        keys: memory.memory_keys,
    }
}
