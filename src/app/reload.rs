//! Settings that change while a replica runs.

use super::{StartError, access};
use crate::config::Settings;
use crate::http::{Service, router};
use crate::metrics::Reloads;
use axum::Router;
use parking_lot::{Mutex, RwLock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The options that can change while a replica runs. What the files of keys among them hold is read again too.
pub const RELOADABLE: [&str; 25] = [
    "allow-origin",
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
    "max-outstanding",
    "max-patterns",
    "max-subscriptions",
    "ping",
    "request-timeout",
];

/// Changes the settings of a replica that runs. Cloning it gives another handle.
#[derive(Clone, Debug)]
pub struct Reload(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// What requests are answered with from now on.
    service: Mutex<Service>,
    router: Arc<RwLock<Router>>,
    address: SocketAddr,
    reloads: Reloads,
}

impl Reload {
    pub(super) fn new(
        service: Service,
        router: Arc<RwLock<Router>>,
        address: SocketAddr,
        reloads: Reloads,
    ) -> Self {
        let service = Mutex::new(service);
        Self(Arc::new(Shared {
            service,
            router,
            address,
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
        let access = access(settings, self.0.address)?;
        let origins = settings.listen.allow_origin.clone();
        let credentials = service
            .credentials
            .renewed(&settings.auth, &access, origins)?;
        let credentials = Arc::new(credentials);
        let limits = &settings.limits;
        let (bytes, body) = (service.bodies.max(), limits.max_batch_bytes);
        if bytes < body {
            return Err(StartError::PublishBytes { bytes, body });
        }
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
        let gone = service.credentials.gone(&credentials);
        *next.renewing.write() = credentials;
        *self.0.router.write() = router(next.clone());
        for name in gone {
            next.revoker.end(&name);
        }
        *service = next;
        Ok(())
    }
}
