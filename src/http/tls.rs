//! TLS: handshakes, and a certificate that is changed while connections go on.

mod certificate;

pub(crate) use certificate::Certificate;

use super::handoff::Socket;
use super::transport::Transport;
use crate::auth::secret::read_file;
use crate::config::TlsSettings;
use crate::metrics::{Reason, TlsCounters};
use crate::pem;
use parking_lot::{Mutex, RwLock};
use sha2::{Digest, Sha256};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};

/// How often the files are looked at. Told by what is in them, a change is seen however it comes about: files written
/// anew, renamed, or reached by way of links that are, as Kubernetes mounts secrets.
const LOOK: Duration = Duration::from_secs(2);

/// What is spoken within TLS, as ALPN names it (RFC 7301).
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why TLS can't be spoken.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The first setting is given, and the second is not.
    #[error("{0} needs {1} too")]
    Half(&'static str, &'static str),
    /// A file can't be read, or what has to be in it is not.
    #[error("{setting}: `{}`: {reason}", path.display())]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Certificate and key can be read, and not be used together.
    #[error("--tls-cert and --tls-key: {0}")]
    Pair(String),
}

/// The listener's certificate and key. Cloning it gives another handle.
#[derive(Clone)]
pub(crate) struct Tls(Arc<Shared>);

struct Shared {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
    /// The files as they were when they were last looked at, whether they could be used or not.
    seen: Mutex<Seen>,
    counters: TlsCounters,
}

/// A hash of both files, or why one can't be read.
type Seen = Result<[u8; 32], String>;

/// What is in the files.
struct Files {
    cert: Vec<u8>,
    key: Vec<u8>,
}

/// What connections are accepted with, and when its certificate runs out.
struct Loaded {
    config: ServerConfig,
    not_after: Option<u64>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files; `None` where the settings name none.
    pub(crate) fn open(settings: TlsSettings) -> Result<Option<Self>, TlsError> {
        let Some((cert, key)) = paths(settings)? else {
            return Ok(None);
        };
        let files = Files::read(&cert, &key)?;
        let loaded = files.load(&cert, &key)?;
        let counters = TlsCounters::default();
        announce(loaded.not_after, &counters);
        Ok(Some(Self(Arc::new(Shared {
            current: RwLock::new(Arc::new(loaded.config)),
            seen: Mutex::new(Ok(files.hash())),
            cert,
            key,
            counters,
        }))))
    }

    /// What would be shown to clients, the server's own certificate first, where certificate and key can be used; nothing
    /// where the settings name none.
    pub(crate) fn look(settings: TlsSettings) -> Result<Vec<Certificate>, TlsError> {
        let Some((cert, key)) = paths(settings)? else {
            return Ok(Vec::new());
        };
        let files = Files::read(&cert, &key)?;
        files.load(&cert, &key)?;
        let unreadable = || wrong("--tls-cert", &cert, "a certificate can't be read");
        let chain = files.chain(&cert)?;
        let chain = chain.iter().map(|der| Certificate::read(der));
        chain.map(|one| one.ok_or_else(unreadable)).collect()
    }

    pub(crate) fn counters(&self) -> &TlsCounters {
        &self.0.counters
    }

    /// Takes the files over where they have changed: handshakes from now on see the new certificate, and connections
    /// go on as they are. What can't be used is told once, and changes nothing. Reads files: not for async code.
    pub(crate) fn reload(&self) {
        let shared = &*self.0;
        let mut seen = shared.seen.lock();
        let files = Files::read(&shared.cert, &shared.key);
        let found = match &files {
            Ok(files) => Ok(files.hash()),
            Err(error) => Err(error.to_string()),
        };
        if *seen == found {
            return;
        }
        *seen = found;
        match files.and_then(|files| files.load(&shared.cert, &shared.key)) {
            Ok(loaded) if has_expired(loaded.not_after) && !self.has_expired() => {
                shared.counters.reloads_failed.inc();
                tracing::warn!(
                    "the TLS certificate has changed, and the new one has expired already; the one before is kept"
                );
            }
            Ok(loaded) => {
                *shared.current.write() = Arc::new(loaded.config);
                tracing::info!(
                    "the TLS certificate has changed: new connections are shown the new one"
                );
                announce(loaded.not_after, &shared.counters);
            }
            Err(error) => {
                shared.counters.reloads_failed.inc();
                tracing::error!(%error, "the TLS certificate has changed and can't be used; the one before is kept");
            }
        }
    }

    /// Whether the certificate that is in force has.
    fn has_expired(&self) -> bool {
        let end = self.0.counters.not_after.get();
        has_expired(u64::try_from(end).ok().filter(|end| *end > 0))
    }

    /// Looks at the files until it is dropped. To be run once.
    pub(crate) async fn watch(self) -> Infallible {
        loop {
            tokio::time::sleep(LOOK).await;
            let tls = self.clone();
            // One that panicked has told so.
            let _ = tokio::task::spawn_blocking(move || tls.reload()).await;
        }
    }

    /// What a client says that has just connected, by `deadline`. Where that is no TLS, but may be HTTP, it is left for
    /// whoever answers that.
    pub(super) async fn accept(&self, socket: Socket, deadline: Instant) -> Accepted {
        let opened = timeout_at(deadline, self.shake_hands(socket, deadline)).await;
        let (reason, accepted) = match opened {
            Ok(Ok(Accepted::Tls(transport))) => return Accepted::Tls(transport),
            Ok(Ok(accepted)) => ("plaintext", accepted),
            Ok(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                (reason(&error), Accepted::Nothing)
            }
            Err(_) => {
                tracing::debug!("a TLS handshake took too long");
                ("timeout", Accepted::Nothing)
            }
        };
        let failed = &self.0.counters.failed;
        failed.get_or_create(&Reason { reason }).inc();
        accepted
    }

    async fn shake_hands(&self, socket: Socket, deadline: Instant) -> io::Result<Accepted> {
        // A handshake begins with the byte 22 (RFC 8446, section 5.1), and HTTP with a method or its preface.
        if socket.first_byte().await?.is_ascii_uppercase() {
            return Ok(Accepted::Clear(Transport::clear(socket, deadline)));
        }
        let config = self.0.current.read().clone();
        let stream = TlsAcceptor::from(config).accept(socket).await?;
        Ok(Accepted::Tls(Transport::tls(Box::new(stream), deadline)))
    }
}

/// What has become of a connection.
pub(super) enum Accepted {
    Tls(Transport),
    /// It may be HTTP without TLS.
    Clear(Transport),
    Nothing,
}

/// Why a handshake failed, as it is counted.
fn reason(error: &io::Error) -> &'static str {
    let said = error.get_ref().and_then(|error| error.downcast_ref());
    match said {
        Some(rustls::Error::AlertReceived(_)) => "refused",
        Some(_) => "protocol",
        None => "closed",
    }
}

fn announce(not_after: Option<u64>, counters: &TlsCounters) {
    let seconds = not_after.unwrap_or_default();
    counters
        .not_after
        .set(seconds.try_into().unwrap_or(i64::MAX));
    if has_expired(not_after) {
        tracing::warn!("the TLS certificate has expired: clients will refuse it");
    }
}

fn has_expired(not_after: Option<u64>) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    not_after.is_some_and(|end| now.is_ok_and(|now| now.as_secs() > end))
}

impl Files {
    fn read(cert: &Path, key: &Path) -> Result<Self, TlsError> {
        let read = |setting, path: &Path| {
            read_file(path).map_err(|error| wrong(setting, path, error.reason))
        };
        Ok(Self {
            cert: read("--tls-cert", cert)?,
            key: read("--tls-key", key)?,
        })
    }

    fn hash(&self) -> [u8; 32] {
        let one = |bytes: &[u8]| Sha256::digest(bytes);
        Sha256::digest([one(&self.cert), one(&self.key)].concat()).into()
    }

    fn chain(&self, cert: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        pem::certificates(&self.cert).map_err(|reason| wrong("--tls-cert", cert, reason))
    }

    fn load(&self, cert: &Path, key: &Path) -> Result<Loaded, TlsError> {
        let chain = self.chain(cert)?;
        let private = pem::private_key(&self.key);
        let private = private.map_err(|reason| wrong("--tls-key", key, reason))?;
        let not_after = not_after(&chain[0]);
        Ok(Loaded {
            config: config(chain, private)?,
            not_after,
        })
    }
}

/// The files of certificate and key, where there are both.
fn paths(settings: TlsSettings) -> Result<Option<(PathBuf, PathBuf)>, TlsError> {
    match (settings.tls_cert, settings.tls_key) {
        (Some(cert), Some(key)) => Ok(Some((cert, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(TlsError::Half("--tls-cert", "--tls-key")),
        (None, Some(_)) => Err(TlsError::Half("--tls-key", "--tls-cert")),
    }
}

fn wrong(setting: &'static str, path: &Path, reason: impl Into<String>) -> TlsError {
    TlsError::File {
        setting,
        path: path.to_owned(),
        reason: reason.into(),
    }
}

/// The provider is named, and the same that tokens and the HTTP client use: with none to choose from, rustls asks for
/// one that is set for the whole process.
fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, TlsError> {
    let pair = |error: rustls::Error| match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Pair("the key is not that of the first certificate".to_owned())
        }
        error => TlsError::Pair(error.to_string()),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(pair)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(config)
}

/// When a certificate runs out, in seconds since 1970.
fn not_after(certificate: &[u8]) -> Option<u64> {
    let end = Certificate::read(certificate)?.not_after;
    Some(end.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests;
