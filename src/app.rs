//! The composition root: a whole replica, from its settings to its end.

mod access;
mod bind;
mod error;
mod parts;
mod reload;

pub use error::StartError;
pub use reload::{RELOADABLE, Reload};

use crate::auth::{Access, Authenticator};
use crate::config::Settings;
use crate::http::{Drain, Server, Tls, Watch, examples};
use crate::hub::{End, Hub, Shards};
use crate::metrics::Connections;
use crate::revoke::Revoker;
use crate::wire::Closing;
use access::{access, admin_access};
use axum::Router;
use parking_lot::RwLock;
use parts::{budgets, check_data, scheme};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

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
        tracing::info!("stopped");
    }
}

/// Refuses settings that contradict each other. Begins to fetch an issuer's keys, for which it needs a tokio runtime.
pub fn check(settings: &Settings) -> Result<(), StartError> {
    let access = access(settings, settings.listen.listen)?;
    admin_access(settings, settings.admin.admin_listen, &access)?;
    Authenticator::new(&settings.auth, &access)?;
    budgets(settings)?;
    check_data(&settings.data, settings.limits.max_event_bytes)
}
