//! The composition root: a whole replica, from its settings to its end.

use crate::auth::{Access, AuthError};
use crate::clients::{Proxies, Rates, SeatLimits, Seats};
use crate::config::{
    ClientSettings, DataSettings, LimitSettings, MemorySettings, NatsSettings, Settings,
    WebSocketSettings,
};
use crate::http::{
    Bounds, Credentials, Door, Drain, Part, Server, Service, Stall, Tls, TlsError, Watch, examples,
    max_message, router,
};
use crate::hub::{End, Hub, HubLimits, Shards, WindowLimits};
use crate::log::{DiskError, DiskLog, JetStreamLog, Log, LogError, MemoryLimits, MemoryLog};
use crate::metrics::{
    Bounded, Budgets, Connections, HubCounters, Metrics, Requests, StreamCounters,
    WebSocketCounters,
};
use crate::publish::{BodyBudget, Publisher};
use crate::revoke::Revoker;
use crate::wire::Closing;
use axum::Router;
use prometheus_client::metrics::counter::Counter;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, watch};

/// A replica that listens and does not serve yet.
#[derive(Debug)]
pub struct App {
    server: Server,
    router: Router,
    /// The listener for operators, where they have one of their own.
    admin: Option<(Server, Router)>,
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

/// What an envelope takes at most beside its data: names, types and keys have their bounds.
const ENVELOPE: usize = 16 << 10;

/// Why a replica can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address that others can reach, with nothing said to be meant for them.
    #[error(
        "refusing to listen on {0}, which other machines can reach, without authentication. Say whose tokens or keys are taken, with --jwt-key-file, --jwks-url or --api-keys-file, or what is meant for everyone, with --anonymous-subscribe PATTERN and --anonymous-publish PATTERN, or listen on 127.0.0.1"
    )]
    Exposed(SocketAddr),
    /// The same of the listener for operators.
    #[error(
        "refusing to listen on {0} for operators (--admin-listen), which other machines can reach, without authentication. Say whose tokens or keys are taken, with --jwt-key-file, --jwks-url or --api-keys-file, or, where operators alone reach it, set --anonymous-admin, or listen on 127.0.0.1"
    )]
    AdminExposed(SocketAddr),
    /// Authentication can't be set up as told.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// TLS can't be spoken as told.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address can't be listened on.
    #[error("can't listen on {address}: {error}{}", other_port(error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The same of the listener for operators.
    #[error(
        "can't listen on {address} for operators: {error}; choose another address or port with --admin-listen"
    )]
    AdminListen {
        /// The address.
        address: SocketAddr,
        /// Why.
        error: io::Error,
    },
    /// The largest body would never be taken.
    #[error(
        "--publish-bytes {bytes} is less than the largest body that may come, {body} bytes (--max-batch-bytes, --max-event-bytes): it would never be taken"
    )]
    PublishBytes {
        /// What all bodies may hold.
        bytes: usize,
        /// What one may.
        body: usize,
    },
    /// The threads that serve streams can't be started.
    #[error("can't start the threads that serve streams (--shards): {0}")]
    Shards(io::Error),
    /// The log on disk would not hold an event.
    #[error(
        "--data-max-bytes {bytes} is less than twice the largest event, {event} bytes (--max-event-bytes): the log would not hold what it is given"
    )]
    DataBytes {
        /// What the log holds.
        bytes: u64,
        /// The largest event.
        event: usize,
    },
    /// The folder can't be used for the log.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The log can't be set up as told.
    #[error(transparent)]
    Log(#[from] LogError),
}

fn other_port(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "; choose another address or port with --listen",
        _ => "",
    }
}

impl App {
    /// Binds the listener and sets everything up; needs a tokio runtime. The log may be out of reach still.
    pub fn bind(settings: Settings) -> Result<Self, StartError> {
        let address = settings.listen.listen;
        let limits = settings.limits;
        let memory = settings.memory;
        let access = Arc::new(access(&settings)?);
        let admin_access = admin_access(&settings, &access)?;
        let origins = settings.listen.allow_origin;
        let credentials = Arc::new(Credentials::new(&settings.auth, &access, origins)?);
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
            stall: stall.clone(),
        };
        let (places, door) = (connections.clone(), clients.door.clone());
        let server = Server::bind(address, places, door.clone(), bounds.clone(), tls.clone())
            .map_err(|error| StartError::Listen { address, error })?;
        let admin = admin_server(settings.admin.admin_listen, door, bounds, tls.clone())?;
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
        .with_credentials(credentials.refused())
        .with_tls(tls.as_ref().map(Tls::counters))
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
            credentials,
            shards: shards.clone(),
            streams: settings.streams,
            websockets: settings.websockets,
            websocket_counters: websockets,
            ending: ending.subscribe(),
            watch: watch.clone(),
            metrics: Arc::new(metrics),
            proxies: clients.door.proxies,
            seats: clients.seats,
            publish_rates: clients.publish_rates,
            message_rates: clients.message_rates,
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
        let admin = admin.map(|server| (server, router(service.for_operators(admin_access))));
        Ok(Self {
            server,
            router: router(service),
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

/// What each client may have and do.
struct Clients {
    door: Door,
    seats: Seats,
    publish_rates: Rates,
    message_rates: Rates,
}

impl Clients {
    fn new(settings: &ClientSettings) -> Self {
        let limits = SeatLimits {
            address: settings.max_connections_per_address,
            subject: settings.max_connections_per_subject,
        };
        let proxies = Proxies::new(settings.trusted_proxies.clone(), settings.forwarded_header);
        Self {
            door: Door {
                seats: Seats::new(limits),
                proxies: Arc::new(proxies),
            },
            seats: Seats::new(limits),
            publish_rates: Rates::new(settings.publish_rate, settings.publish_burst),
            message_rates: Rates::new(settings.message_rate, settings.message_burst),
        }
    }
}

fn scheme(tls: Option<&Tls>) -> &'static str {
    if tls.is_some() { "https" } else { "http" }
}

/// The connections that operators may have on a listener of their own.
const ADMIN_CONNECTIONS: usize = 1000;

/// The listener for operators: with places of its own, so that it is there when clients take all of theirs.
fn admin_server(
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
fn name() -> String {
    let letter = |_| fastrand::alphanumeric().to_ascii_lowercase();
    "r-".chars().chain((0..8).map(letter)).collect()
}

fn hub_limits(memory: &MemorySettings, limits: &LimitSettings) -> HubLimits {
    HubLimits {
        window: WindowLimits {
            bytes: memory.window_bytes,
            events: usize::try_from(memory.window_events).unwrap_or(usize::MAX),
        },
        cold_bytes: memory.cold_bytes,
        readers: limits.max_streams,
    }
}

fn body_budget(limits: &LimitSettings) -> Result<BodyBudget, StartError> {
    let bytes = limits.publish_bytes;
    let body = limits.max_batch_bytes.max(limits.max_event_bytes);
    match bytes < body {
        true => Err(StartError::PublishBytes { bytes, body }),
        false => Ok(BodyBudget::new(bytes)),
    }
}

/// What pages may hold: at least the largest event as JSON, each of whose bytes may take six there.
fn page_budget(limits: &LimitSettings) -> BodyBudget {
    let event = limits.max_event_bytes.saturating_mul(6);
    BodyBudget::new(limits.page_bytes.max(event.saturating_add(ENVELOPE)))
}

/// What messages on their way may hold: at least one that is as large as may be.
fn message_budget(websockets: &WebSocketSettings, limits: &LimitSettings) -> BodyBudget {
    let message = max_message(limits.max_event_bytes).saturating_mul(2);
    BodyBudget::new(websockets.websocket_bytes.max(message))
}

fn log(
    data: DataSettings,
    nats: NatsSettings,
    memory: &MemorySettings,
    max_event_bytes: usize,
) -> Result<Log, StartError> {
    let disk = data.limits(memory.memory_keys);
    if let Some(folder) = data.folder {
        if disk.bytes / 2 < max_event_bytes as u64 {
            let (bytes, event) = (disk.bytes, max_event_bytes);
            return Err(StartError::DataBytes { bytes, event });
        }
        return Ok(Log::Disk(DiskLog::open(folder, disk)?));
    }
    match nats.servers.is_empty() {
        true => Ok(Log::Memory(MemoryLog::new(memory_limits(memory)))),
        false => Ok(Log::JetStream(JetStreamLog::new(nats, max_event_bytes)?)),
    }
}

fn memory_limits(memory: &MemorySettings) -> MemoryLimits {
    MemoryLimits {
        bytes: memory.memory_bytes,
        events: memory.memory_events,
        keys: memory.memory_keys,
    }
}

/// What those may do of whom nothing is known: what is meant for everyone, or else, without authentication, all on this
/// machine alone.
fn access(settings: &Settings) -> Result<Access, StartError> {
    let listen = &settings.listen;
    let anonymous = [
        &listen.anonymous_subscribe,
        &listen.anonymous_publish,
        &listen.anonymous_request,
    ];
    if anonymous.iter().any(|patterns| !patterns.is_empty()) {
        return Ok(Access::Anonymous {
            subscribe: listen.anonymous_subscribe.clone(),
            publish: listen.anonymous_publish.clone(),
            request: listen.anonymous_request.clone(),
            admin: false,
        });
    }
    match (settings.auth.is_given(), listen.listen.ip().is_loopback()) {
        (true, _) => Ok(Access::Nothing),
        (false, true) => Ok(Access::Local),
        (false, false) => Err(StartError::Exposed(listen.listen)),
    }
}

/// The same on the listener for operators: what everyone may do, or, without authentication, all on this machine alone.
fn admin_access(settings: &Settings, clients: &Access) -> Result<Access, StartError> {
    let (admin, guarded) = (&settings.admin, settings.auth.is_given());
    match admin.admin_listen {
        Some(address) if !guarded && address.ip().is_loopback() => Ok(Access::Local),
        Some(address) if !guarded && !admin.anonymous_admin => {
            Err(StartError::AdminExposed(address))
        }
        _ => Ok(clients.with_admin(admin.anonymous_admin)),
    }
}
