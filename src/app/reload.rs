//! Settings that change while a replica runs.

use super::StartError;
use super::access::{access, admin_access};
use super::parts::{Clients, check_bodies};
use crate::auth::Access;
use crate::config::Settings;
use crate::http::{Service, router};
use crate::metrics::Reloads;
use axum::Router;
use parking_lot::{Mutex, RwLock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The options that can change while a replica runs. What the files of keys among them hold is read again too.
pub const RELOADABLE: [&str; 32] = [
    "allow-origin",
    "anonymous-admin",
    "anonymous-publish",
    "anonymous-request",
    "anonymous-subscribe",
    "api-key",
    "api-keys-file",
    "body-timeout",
    "grant-claim",
    "grant-publish",
    "grant-request",
    "grant-subscribe",
    "jwks-url",
    "jwt-algorithms",
    "jwt-audience",
    "jwt-cookie",
    "jwt-issuer",
    "jwt-key",
    "jwt-key-file",
    "jwt-query",
    "max-batch-bytes",
    "max-connections-per-address",
    "max-connections-per-subject",
    "max-outstanding",
    "max-patterns",
    "max-subscriptions",
    "message-burst",
    "message-rate",
    "ping",
    "publish-burst",
    "publish-rate",
    "request-timeout",
];

/// Changes the settings of a replica that runs. Cloning it gives another handle.
#[derive(Clone, Debug)]
pub struct Reload(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What requests are answered with from now on.
    service: Mutex<Service>,
    clients: Clients,
    routers: Routers,
    reloads: Reloads,
}

/// What each listener serves its requests by, and where it is.
#[derive(Debug)]
pub(super) struct Routers {
    pub(super) address: SocketAddr,
    pub(super) router: Arc<RwLock<Router>>,
    /// The listener for operators, where they have one of their own.
    pub(super) operators: Option<(SocketAddr, Arc<RwLock<Router>>)>,
}

impl Reload {
    pub(super) fn new(
        service: Service,
        clients: Clients,
        routers: Routers,
        reloads: Reloads,
    ) -> Self {
        Self(Arc::new(Shared {
            service: Mutex::new(service),
            clients,
            routers,
            reloads,
        }))
    }

    /// Puts those of the settings into force that are [`RELOADABLE`]: all of them or, with an error, none. Requests under
    /// way and open streams go on as they have begun, but what an API key has opened that is taken no more, or for
    /// less: that ends. Needs a tokio runtime.
    pub fn apply(&self, settings: &Settings) -> Result<(), StartError> {
        let applied = self.try_apply(settings);
        match &applied {
            Ok(()) => self.0.reloads.applied(),
            Err(_) => self.refused(),
        }
        applied
    }

    /// Counts settings that could not even be read.
    pub fn refused(&self) {
        self.0.reloads.refused();
    }

    fn try_apply(&self, settings: &Settings) -> Result<(), StartError> {
        let mut service = self.0.service.lock();
        let routers = &self.0.routers;
        let access = access(settings, routers.address)?;
        let is_guarded = service.credentials.are_taken();
        if (is_guarded && !settings.auth.is_given())
            || (access == Access::Local && *service.access != Access::Local)
        {
            return Err(StartError::Unguarded);
        }
        let admin_listen = routers.operators.as_ref().map(|(address, _)| *address);
        let admin_access = admin_access(settings, admin_listen, &access)?;
        let origins = settings.listen.allow_origin.clone();
        let credentials = service
            .credentials
            .renewed(&settings.auth, &access, origins)?;
        let credentials = Arc::new(credentials);
        let limits = &settings.limits;
        check_bodies(service.bodies.max(), limits.max_batch_bytes)?;
        let next = Service {
            access: Arc::new(access),
            credentials: credentials.clone(),
            websockets: settings.websockets,
            max_patterns: limits.max_patterns,
            max_batch_bytes: limits.max_batch_bytes,
            body_timeout: Duration::from_secs(limits.body_timeout_seconds.into()),
            request_timeout: Duration::from_secs(limits.request_timeout_seconds.into()),
            ..service.clone()
        };
        self.0.clients.set(&settings.clients);
        let gone = service.credentials.gone(&credentials);
        *next.renewing.write() = credentials;
        *routers.router.write() = router(next.clone());
        if let Some((_, operators)) = &routers.operators {
            *operators.write() = router(next.for_operators(admin_access));
        }
        for name in gone {
            next.revoker.end(&name);
        }
        *service = next;
        Ok(())
    }
}
