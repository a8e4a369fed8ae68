//! The composition root: a whole replica, from its settings to its end.

mod access;
mod error;
mod parts;
mod reload;

pub use error::StartError;
pub use reload::{RELOADABLE, Reload};

use crate::auth::{Access, Authenticator};
use crate::config::Settings;
use crate::http::{
    Bounds, Credentials, Drain, Part, Server, Service, Stall, Tls, Watch, examples, router,
};
use crate::hub::{End, Hub, Shards};
use crate::metrics::{
    Bounded, Budgets, Connections, HubCounters, Metrics, Refused, Reloads, Requests,
    StreamCounters, WebSocketCounters,
};
use crate::publish::Publisher;
use crate::revoke::Revoker;
use crate::wire::Closing;
use access::{access, admin_access};
use axum::Router;
use parking_lot::RwLock;
use parts::{
    Clients, admin_server, body_budget, check_data, hub_limits, log, message_budget, name,
    page_budget, scheme,
};
use prometheus_client::metrics::counter::Counter;
use reload::Routers;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// A replica that listens and does not serve yet.
#[derive(Debug)]
pub struct App {
    server: Server,
    router: Arc<RwLock<Router>>,
    reload: Reload,
    /// The listener for operators, where they have one of their own.
    admin: Option<(Server, Arc<RwLock<Router>>)>,
    base: Arc<str>,
    hub: Hub,
    shards: Arc<Shards>,
    ending: watch::Sender<Option<End>>,
    watch: Watch,
    revoker: Revoker,
    connections: Connections,
    drain: Duration,
    access: Arc<Access>,
    tls: Option<Tls>,
}

/// How a replica is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// Its streams are closed one after the other, over most of the drain time: so the replicas that their clients
    /// go to are not stormed.
    Spread,
    /// Its streams are all closed at once.
    AtOnce,
}

/// The part of the drain time over which streams are closed; the rest is for those who are slow to take that.
const SPREAD: f64 = 0.8;
/// The part of it after which the listener is closed though streams are open still; the rest is for requests.
const LISTENING: f64 = 0.9;

impl App {
    /// Binds the listener and sets everything up; needs a tokio runtime. The log may be out of reach still.
    pub fn bind(settings: Settings) -> Result<Self, StartError> {
        let address = settings.listen.listen;
        let limits = settings.limits;
        let memory = settings.memory;
        let access = Arc::new(access(&settings, address)?);
        let admin_listen = settings.admin.admin_listen;
        let admin_access = admin_access(&settings, admin_listen, &access)?;
        let origins = settings.listen.allow_origin;
        let credentials = Arc::new(Credentials::new(&settings.auth, &access, origins)?);
        let refused = Refused::default();
        let tls = Tls::open(settings.tls)?;
        let connections = Connections::new(limits.max_connections);
        let clients = Clients::new(&settings.clients);
        let bodies = body_budget(&limits)?;
        let pages = page_budget(&limits);
        let messages = message_budget(&settings.websockets, &limits);
        let head_timeout = Duration::from_secs(limits.head_timeout_seconds.into());
        let log = log(
            settings.data,
            settings.nats,
            &memory,
            limits.max_event_bytes,
        )?;
        let counters = HubCounters::default();
        let stall = Stall {
            after: settings.streams.stall_timeout(),
            count: counters.stalled.clone(),
        };
        let bounds = Bounds {
            head_timeout,
            max_head: limits.max_head_bytes,
            max_http2_streams: limits.max_http2_streams,
            stall: stall.clone(),
        };
        let (places, door) = (connections.clone(), clients.door.clone());
        let server = Server::bind(address, places, door.clone(), bounds.clone(), tls.clone())
            .map_err(|error| StartError::Listen { address, error })?;
        let admin = admin_server(admin_listen, door, bounds, tls.clone())?;
        let watch = Watch::new(stall);
        let hub = Hub::new(log, hub_limits(&memory, &limits), counters.clone());
        let shards = hub
            .shards(settings.streams.shards(), settings.streams)
            .map_err(StartError::Shards)?;
        let shards = Arc::new(shards);
        let publisher = Publisher::new(hub.clone(), limits.max_event_bytes, limits.max_publishes);
        let replica: Arc<str> = name().into();
        let websockets = WebSocketCounters::default();
        let revoker = Revoker {
            replica: replica.clone(),
            seats: clients.seats.clone(),
            shards: shards.clone(),
            revoked: credentials.revoked().clone(),
            log: hub.log().clone(),
            ended: Counter::default(),
        };
        let (streams, requests) = (StreamCounters::default(), Requests::default());
        let reloads = Reloads::new();
        let metrics = Metrics::new(
            &counters,
            &streams,
            hub.clone(),
            shards.clone(),
            connections.clone(),
            &publisher,
            Budgets {
                bodies: bodies.clone(),
                pages: pages.clone(),
                messages: messages.clone(),
            },
        )
        .with_websockets(&websockets)
        .with_clients(&Bounded {
            connections: &clients.door.seats,
            seats: &clients.seats,
            publishes: &clients.publish_rates,
            messages: &clients.message_rates,
            revoked: &revoker.ended,
        })
        .with_requests(&requests)
        .with_refused(&refused)
        .with_tls(tls.as_ref().map(Tls::counters))
        .with_reloads(&reloads)
        .with_name(&replica);
        let ending = watch::Sender::new(None);
        let base: Arc<str> = settings.listen.base_path.unwrap_or_default().into();
        let service = Service {
            part: match admin {
                Some(_) => Part::Clients,
                None => Part::Whole,
            },
            base: base.clone(),
            console: settings.admin.console,
            started: Instant::now(),
            max_connections: connections.max,
            publisher,
            hub: hub.clone(),
            access: access.clone(),
            renewing: Arc::new(RwLock::new(credentials.clone())),
            credentials,
            shards: shards.clone(),
            streams: settings.streams,
            websockets: settings.websockets,
            websocket_counters: websockets,
            ending: ending.subscribe(),
            watch: watch.clone(),
            metrics: Arc::new(metrics),
            proxies: clients.door.proxies.clone(),
            refused,
            seats: clients.seats.clone(),
            publish_rates: clients.publish_rates.clone(),
            message_rates: clients.message_rates.clone(),
            revoker: revoker.clone(),
            scheme: scheme(tls.as_ref()),
            stream_counters: streams,
            requests_answered: requests,
            replica,
            max_streams: limits.max_streams,
            max_patterns: limits.max_patterns,
            max_event_bytes: limits.max_event_bytes,
            max_batch_bytes: limits.max_batch_bytes,
            head_timeout,
            body_timeout: Duration::from_secs(limits.body_timeout_seconds.into()),
            request_timeout: Duration::from_secs(limits.request_timeout_seconds.into()),
            bodies,
            pages,
            messages,
            requests: Arc::new(Semaphore::new(limits.max_publishes)),
        };
        let shared = |service| Arc::new(RwLock::new(router(service)));
        let admin = admin.map(|server| (server, shared(service.for_operators(admin_access))));
        let routers = Routers {
            router: shared(service.clone()),
            address,
            operators: admin_listen.zip(admin.as_ref().map(|(_, router)| router.clone())),
        };
        Ok(Self {
            server,
            router: routers.router.clone(),
            reload: Reload::new(service, clients, routers, reloads),
            admin,
            base,
            hub,
            shards,
            ending,
            watch,
            revoker,
            connections,
            drain: Duration::from_secs(settings.listen.drain_seconds.into()),
            access,
            tls,
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.server.local_addr()
    }

    /// How it is spoken to: `https` with TLS, and `http` without.
    pub fn scheme(&self) -> &'static str {
        scheme(self.tls.as_ref())
    }

    /// Where it listens for operators, if they have a listener of their own.
    pub fn admin_addr(&self) -> io::Result<Option<SocketAddr>> {
        let admin = self.admin.as_ref();
        admin.map(|(server, _)| server.local_addr()).transpose()
    }

    /// The path below which everything is: empty, or without a slash at its end.
    pub fn base_path(&self) -> &str {
        &self.base
    }

    /// Its hub.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// What changes its settings while it runs.
    pub fn reload(&self) -> Reload {
        self.reload.clone()
    }

    /// What everyone may do.
    pub fn access(&self) -> &Access {
        &self.access
    }

    /// Commands that a newcomer on this machine can try, within what everyone may do.
    pub fn examples(&self) -> io::Result<Vec<String>> {
        let mut address = self.local_addr()?;
        match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        let url = format!("{}://{address}{}", self.scheme(), self.base);
        // A certificate is hardly ever for an address.
        let curl = if self.tls.is_some() {
            "curl -k"
        } else {
            "curl"
        };
        Ok(examples(&self.access, curl, &url))
    }

    /// Serves until `shutdown` is done, then has every stream and request end as it says. Meanwhile all is served as
    /// before, but `/readyz` is 503 and new streams are told to come back. Returns when all have ended, or when the
    /// drain time is over.
    pub async fn run(self, shutdown: impl Future<Output = Shutdown>) {
        let follower = tokio::spawn(self.hub.clone().follow());
        let watch = tokio::spawn(self.watch.run());
        let revoking = tokio::spawn(self.revoker.listen());
        let tls = self.tls.map(|tls| tokio::spawn(tls.watch()));
        let drain = watch::Sender::new(Drain::No);
        let mut serving = tokio::spawn(self.server.serve(self.router, drain.subscribe()));
        // Operators look on until the end: whoever does still is cut off then.
        let looked_at = watch::Sender::new(Drain::No);
        let admin = self
            .admin
            .map(|(server, router)| tokio::spawn(server.serve(router, looked_at.subscribe())));
        let spread = match shutdown.await {
            Shutdown::Spread => self.drain.mul_f64(SPREAD),
            Shutdown::AtOnce => Duration::ZERO,
        };
        tracing::info!(
            streams = self.hub.usage().readers,
            "draining: open streams are closed over {} s",
            spread.as_secs_f64()
        );
        let end = End::new(Closing::Drain, spread);
        self.ending.send_replace(Some(end));
        self.shards.end(end);
        let ended = async {
            let listening = self.drain.mul_f64(LISTENING);
            // Those that are open after that are cut off in the end.
            let _ = tokio::time::timeout(listening, self.hub.vacant()).await;
            drain.send_replace(Drain::Yes);
            (&mut serving).await
        };
        if tokio::time::timeout(self.drain, ended).await.is_err() {
            tracing::warn!(
                connections = self.connections.open(),
                "the drain time is over; what is still open is cut off"
            );
            drain.send_replace(Drain::Over);
            serving.abort();
        }
        follower.abort();
        watch.abort();
        revoking.abort();
        if let Some(tls) = tls {
            tls.abort();
        }
        if let Some(serving) = admin {
            serving.abort();
            // An error is that it was: its listener is closed then.
            let _ = serving.await;
        }
    }
}

/// Refuses settings that contradict each other. Begins to fetch an issuer's keys, for which it needs a tokio runtime.
pub fn check(settings: &Settings) -> Result<(), StartError> {
    let access = access(settings, settings.listen.listen)?;
    Authenticator::new(&settings.auth, &access)?;
    body_budget(&settings.limits)?;
    check_data(&settings.data, settings.limits.max_event_bytes)
}
