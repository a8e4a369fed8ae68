//! A replica from its settings: its parts, and how they hang together.

use super::access::{access, admin_access};
use super::parts::{Clients, admin_server, budgets, hub_limits, log, name, scheme};
use super::reload::{Reload, Routers};
use super::{App, StartError};
use crate::auth::Access;
use crate::config::Settings;
use crate::http::{Bounds, Credentials, Paces, Part, Server, Service, Stall, Tls, Watch, router};
use crate::hub::{End, Hub, Shards};
use crate::metrics::{
    Bounded, Budgets, Connections, HubCounters, Metrics, Refused, Reloads, Requests,
    StreamCounters, WebSocketCounters,
};
use crate::publish::Publisher;
use crate::revoke::Revoker;
use parking_lot::RwLock;
use prometheus_client::metrics::counter::Counter;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// What a replica is made of.
struct Parts {
    replica: Arc<str>,
    trust: Trust,
    tls: Option<Tls>,
    connections: Connections,
    clients: Clients,
    budgets: Budgets,
    counts: Counts,
    watch: Watch,
    hub: Hub,
    shards: Arc<Shards>,
    publisher: Publisher,
    revoker: Revoker,
}

/// Who may do what.
struct Trust {
    access: Arc<Access>,
    /// What may be done without credentials on the listener for operators.
    operators: Access,
    credentials: Arc<Credentials>,
}

/// What is counted where it happens.
#[derive(Default)]
struct Counts {
    hub: HubCounters,
    streams: StreamCounters,
    websockets: WebSocketCounters,
    requests: Requests,
    refused: Refused,
    reloads: Reloads,
}

impl App {
    /// Binds the listener and sets everything up; needs a tokio runtime. The log may be out of reach still.
    pub fn bind(settings: &Settings) -> Result<Self, StartError> {
        let parts = Parts::new(settings)?;
        let (server, admin) = parts.listen(settings)?;
        let ending = watch::Sender::new(None);
        let part = match admin {
            Some(_) => Part::Clients,
            None => Part::Whole,
        };
        let service = parts.service(settings, part, ending.subscribe());
        let shared = |service| Arc::new(RwLock::new(router(service)));
        let operators = service.for_operators(parts.trust.operators);
        let admin = admin.map(|server| (server, shared(operators)));
        let admin_listen = settings.admin.admin_listen;
        let routers = Routers {
            router: shared(service.clone()),
            address: settings.listen.listen,
            operators: admin_listen.zip(admin.as_ref().map(|(_, router)| router.clone())),
        };
        Ok(Self {
            server,
            router: routers.router.clone(),
            base: service.base.clone(),
            reload: Reload::new(service, parts.clients, routers, parts.counts.reloads),
            admin,
            hub: parts.hub,
            shards: parts.shards,
            ending,
            watch: parts.watch,
            revoker: parts.revoker,
            connections: parts.connections,
            drain: seconds(settings.listen.drain_seconds),
            access: parts.trust.access,
            tls: parts.tls,
        })
    }
}

impl Trust {
    fn new(settings: &Settings) -> Result<Self, StartError> {
        let listen = &settings.listen;
        let access = Arc::new(access(settings, listen.listen)?);
        let operators = admin_access(settings, settings.admin.admin_listen, &access)?;
        let origins = listen.allow_origin.clone();
        Ok(Self {
            credentials: Arc::new(Credentials::new(&settings.auth, &access, origins)?),
            access,
            operators,
        })
    }
}

impl Parts {
    fn new(settings: &Settings) -> Result<Self, StartError> {
        let limits = &settings.limits;
        let replica: Arc<str> = name().into();
        let trust = Trust::new(settings)?;
        let tls = Tls::open(settings.tls.clone())?;
        let clients = Clients::new(&settings.clients);
        let budgets = budgets(settings)?;
        let counts = Counts::default();
        let hub = Hub::new(
            log(settings)?,
            hub_limits(&settings.memory, limits),
            counts.hub.clone(),
        );
        let shards = hub
            .shards(settings.streams.shards(), settings.streams)
            .map_err(StartError::Shards)?;
        let shards = Arc::new(shards);
        let revoker = Revoker {
            replica: replica.clone(),
            seats: clients.seats.clone(),
            shards: shards.clone(),
            revoked: trust.credentials.revoked().clone(),
            log: hub.log().clone(),
            ended: Counter::default(),
        };
        Ok(Self {
            replica,
            trust,
            tls,
            connections: Connections::new(limits.max_connections),
            clients,
            budgets,
            watch: Watch::new(stall(settings, &counts)),
            counts,
            publisher: Publisher::new(hub.clone(), limits.max_event_bytes, limits.max_publishes),
            hub,
            shards,
            revoker,
        })
    }

    /// The listener for clients, and that for operators where they have one of their own.
    fn listen(&self, settings: &Settings) -> Result<(Server, Option<Server>), StartError> {
        let address = settings.listen.listen;
        let bounds = Bounds {
            head_timeout: seconds(settings.limits.head_timeout_seconds),
            max_head: settings.limits.max_head_bytes,
            max_http2_streams: settings.limits.max_http2_streams,
            stall: stall(settings, &self.counts),
            watch: self.watch.clone(),
        };
        let (door, tls) = (&self.clients.door, &self.tls);
        let (places, bound) = (self.connections.clone(), bounds.clone());
        let server = Server::bind(address, places, door.clone(), bound, tls.clone())
            .map_err(|error| StartError::Listen { address, error })?;
        let admin = settings.admin.admin_listen;
        let door = self.clients.operators.clone();
        let admin = admin_server(admin, door, bounds, tls.clone())?;
        Ok((server, admin))
    }

    fn metrics(&self) -> Metrics {
        Metrics::new(
            &self.counts.hub,
            &self.counts.streams,
            self.hub.clone(),
            self.shards.clone(),
            self.connections.clone(),
            &self.publisher,
            self.budgets.clone(),
        )
        .with_websockets(&self.counts.websockets)
        .with_clients(&Bounded {
            connections: &self.clients.door.seats,
            seats: &self.clients.seats,
            publishes: &self.clients.publish_rates,
            messages: &self.clients.message_rates,
            revoked: &self.revoker.ended,
        })
        .with_requests(&self.counts.requests)
        .with_refused(&self.counts.refused)
        .with_tls(self.tls.as_ref().map(Tls::counters))
        .with_reloads(&self.counts.reloads)
        .with_name(&self.replica)
    }

    /// What the routes need.
    fn service(
        &self,
        settings: &Settings,
        part: Part,
        ending: watch::Receiver<Option<End>>,
    ) -> Service {
        let (clients, limits, trust) = (&self.clients, &settings.limits, &self.trust);
        Service {
            part,
            base: settings.listen.base_path.clone().unwrap_or_default().into(),
            console: settings.admin.console,
            started: Instant::now(),
            max_connections: self.connections.max,
            publisher: self.publisher.clone(),
            hub: self.hub.clone(),
            access: trust.access.clone(),
            renewing: Arc::new(RwLock::new(trust.credentials.clone())),
            credentials: trust.credentials.clone(),
            refused: self.counts.refused.clone(),
            shards: self.shards.clone(),
            streams: settings.streams,
            websockets: settings.websockets,
            websocket_counters: self.counts.websockets.clone(),
            ending,
            paces: Paces::default(),
            metrics: Arc::new(self.metrics()),
            proxies: clients.door.proxies.clone(),
            seats: clients.seats.clone(),
            publish_rates: clients.publish_rates.clone(),
            message_rates: clients.message_rates.clone(),
            revoker: self.revoker.clone(),
            scheme: scheme(self.tls.as_ref()),
            stream_counters: self.counts.streams.clone(),
            requests_answered: self.counts.requests.clone(),
            replica: self.replica.clone(),
            max_streams: limits.max_streams,
            max_patterns: limits.max_patterns,
            max_event_bytes: limits.max_event_bytes,
            max_batch_bytes: limits.max_batch_bytes,
            head_timeout: seconds(limits.head_timeout_seconds),
            body_timeout: seconds(limits.body_timeout_seconds),
            request_timeout: seconds(limits.request_timeout_seconds),
            bodies: self.budgets.bodies.clone(),
            pages: self.budgets.pages.clone(),
            messages: self.budgets.messages.clone(),
            requests: Arc::new(Semaphore::new(limits.max_publishes)),
        }
    }
}

fn stall(settings: &Settings, counts: &Counts) -> Stall {
    Stall {
        after: settings.streams.stall_timeout(),
        count: counts.hub.stalled.clone(),
    }
}

fn seconds(count: u16) -> Duration {
    Duration::from_secs(count.into())
}
