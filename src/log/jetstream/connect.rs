//! From settings to a connection: addresses, credentials and TLS, each wrong one named by its setting.

use super::OUTSTANDING_APPENDS;
use super::link::Link;
use super::notes::Notes;
use crate::auth::Secret;
use crate::config::{NatsSettings, shown_url};
use crate::log::LogError;
use crate::pem;
use async_nats::rustls::crypto::aws_lc_rs;
use async_nats::rustls::{ClientConfig, RootCertStore};
use async_nats::{Auth, AuthError, Client, ConnectOptions, ServerAddr};
use futures::FutureExt;
use nkeys::{KeyPair, KeyPairType};
use percent_encoding::percent_decode_str;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often the server is asked for a sign of life; after two without an answer the connection is cut.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// The longest pause between two attempts to connect.
const MAX_RETRY_PAUSE: Duration = Duration::from_secs(2);
/// The pause once nobody wants the connection any more: async-nats can't be told to give up.
const ABANDONED: Duration = Duration::from_secs(86_400 * 365);
/// Messages that one subscription holds before the client drops some (and the consumer's sequence
/// shows it). Flow control lets the server send 32 MiB ahead, each message counted with its reply
/// subject of at least 60 bytes, so that this is never reached.
const SUBSCRIPTION_MESSAGES: usize = 1 << 19;

/// How the hub says who it is. Files are read anew at each connect, for rotated secrets.
#[derive(Clone)]
enum Identity {
    Nobody,
    User { name: String, password: Word },
    Token(Word),
    Credentials(PathBuf),
    NKey(PathBuf),
}

/// A password or a token.
#[derive(Clone)]
enum Word {
    Given(Secret),
    File(PathBuf),
}

/// Starts to connect in the background, for as long as it takes.
pub(super) fn connect(settings: &NatsSettings) -> Result<Link, LogError> {
    if tokio::runtime::Handle::try_current().is_err() {
        return Err(wrong("--nats", "it needs a tokio runtime to connect in"));
    }
    check_names(settings)?;
    let (servers, embedded) = servers(settings)?;
    let identity = identity(settings, embedded)?;
    let notes = Notes::new(settings);
    let alive = Arc::new(());
    // A name, a file or an address that can't be right is told before anything is tried.
    let tls = tls(settings, &servers)?;
    let made = (settings.clone(), notes.clone(), Arc::downgrade(&alive));
    let make = move || {
        let (settings, notes, alive) = &made;
        client(
            settings,
            &servers,
            identity.clone(),
            tls.clone(),
            notes,
            alive.clone(),
        )
    };
    Link::new(Arc::new(make), notes, settings.timeout(), alive)
}

fn client(
    settings: &NatsSettings,
    servers: &[ServerAddr],
    identity: Identity,
    tls: ClientConfig,
    notes: &Arc<Notes>,
    alive: Weak<()>,
) -> Result<Client, LogError> {
    let answer =
        move |nonce: Vec<u8>| std::future::ready(identity.answer(&nonce).map_err(AuthError::new));
    let options = ConnectOptions::with_auth_callback(answer)
        .name("tidings")
        .retry_on_initial_connect()
        .connection_timeout(settings.timeout())
        .ping_interval(PING_INTERVAL)
        .subscription_capacity(SUBSCRIPTION_MESSAGES)
        .client_capacity(2 * OUTSTANDING_APPENDS)
        .custom_inbox_prefix(&settings.inbox_prefix)
        .require_tls(wants_tls(settings))
        .tls_client_config(tls);
    let options = with_notes(options, notes, alive);
    // With `retry_on_initial_connect` it never waits.
    match options.connect(servers).now_or_never() {
        Some(Ok(client)) => Ok(client),
        Some(Err(error)) => Err(wrong("--nats", &error.to_string())),
        None => Err(wrong("--nats", "the client waits where it should not")),
    }
}

fn with_notes(options: ConnectOptions, notes: &Arc<Notes>, alive: Weak<()>) -> ConnectOptions {
    let (events, pool) = (notes.clone(), notes.clone());
    options
        .event_callback(move |event| {
            events.event(&event);
            std::future::ready(())
        })
        // Only a look at the servers' last errors, which are told nowhere else; it chooses none.
        .reconnect_to_server_callback(move |servers, _| {
            pool.attempts(&servers);
            std::future::ready(None)
        })
        .reconnect_delay_callback(move |attempts| match alive.upgrade() {
            Some(_) => pause(attempts),
            None => ABANDONED,
        })
}

/// Doubles from 1 ms on, and is spread, so that replicas don't come back all at once.
fn pause(attempts: usize) -> Duration {
    let doubled = Duration::from_millis(1 << attempts.min(16));
    match attempts {
        0 | 1 => Duration::ZERO,
        _ => doubled
            .min(MAX_RETRY_PAUSE)
            .mul_f64(0.5 + fastrand::f64() / 2.0),
    }
}

/// Stream, prefix, inbox prefix and domain become parts of subjects.
fn check_names(settings: &NatsSettings) -> Result<(), LogError> {
    let plain = |text: &str, extra: &[char]| {
        let bad = |c: char| c.is_whitespace() || c.is_control() || extra.contains(&c);
        !text.is_empty() && text.len() <= 128 && !text.contains(bad)
    };
    let name = |text: &str| plain(text, &['.', '*', '>', '/', '\\']);
    let subject = |text: &str| plain(text, &['*', '>']) && text.split('.').all(|t| !t.is_empty());
    let tokens = "1 to 128 bytes of tokens joined by single dots, without `*`, `>` or white space";
    if !name(&settings.stream) {
        return Err(wrong(
            "--nats-stream",
            &format!(
                "`{}` is no stream name: 1 to 128 bytes without `.`, `*`, `>`, `/`, `\\` or white space",
                settings.stream.escape_debug()
            ),
        ));
    }
    let prefix = settings.prefix.as_str();
    if !prefix.is_empty() && !subject(prefix) {
        let text = format!("`{}` is no subject: {tokens}", prefix.escape_debug());
        return Err(wrong("--nats-prefix", &text));
    }
    if prefix.starts_with('$') {
        return Err(wrong(
            "--nats-prefix",
            "subjects that begin with `$` are the server's own",
        ));
    }
    if !subject(&settings.inbox_prefix) {
        let text = settings.inbox_prefix.escape_debug();
        let text = format!("`{text}` is no subject: {tokens}");
        return Err(wrong("--nats-inbox", &text));
    }
    match &settings.domain {
        Some(domain) if !name(domain) => Err(wrong(
            "--nats-domain",
            &format!("`{}` is no domain name", domain.escape_debug()),
        )),
        _ => Ok(()),
    }
}

/// The servers' addresses without user names, which the client's log lines would show, and those apart.
fn servers(settings: &NatsSettings) -> Result<(Vec<ServerAddr>, Option<Identity>), LogError> {
    let mut servers = Vec::new();
    let mut found: Option<(String, Option<String>)> = None;
    for text in settings.servers.iter().map(|text| text.trim()) {
        let address = address(text)?;
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        if let Some(user) = address.username() {
            let pair = (decoded(user), address.password().map(decoded));
            if found.as_ref().is_some_and(|other| *other != pair) {
                let text = "the servers are given different users; all of them get the same";
                return Err(wrong("--nats", text));
            }
            found = Some(pair);
        }
        let mut url = address.into_inner();
        let bare = url.set_username("").and_then(|()| url.set_password(None));
        bare.map_err(|()| wrong_address(text, "it names no host"))?;
        let bare = ServerAddr::from_url(url).map_err(|e| wrong("--nats", &e.to_string()))?;
        servers.push(bare);
    }
    if servers.is_empty() {
        let text = "it names no server; one looks like `nats://host:4222`";
        return Err(wrong("--nats", text));
    }
    let embedded = found.map(|(name, password)| match password {
        Some(password) => Identity::User {
            name,
            password: Word::Given(password.into()),
        },
        None => Identity::Token(Word::Given(name.into())),
    });
    Ok((servers, embedded))
}

fn address(text: &str) -> Result<ServerAddr, LogError> {
    if text.is_empty() {
        let text = "it is empty, as the option or as TIDINGS_NATS; name a server, as in `nats://host:4222`, or leave it out for a log in memory";
        return Err(wrong("--nats", text));
    }
    let address: ServerAddr = text.parse().map_err(|error: std::io::Error| {
        wrong_address(text, &format!("{error}; one looks like `nats://host:4222`"))
    })?;
    if !matches!(address.scheme(), "nats" | "tls") {
        return Err(wrong_address(text, "it begins with `nats://` or `tls://`"));
    }
    match address.host().is_empty() {
        true => Err(wrong_address(text, "it names no host")),
        false => Ok(address),
    }
}

fn wrong_address(text: &str, reason: &str) -> LogError {
    wrong("--nats", &format!("`{}`: {reason}", shown_url(text)))
}

fn identity(settings: &NatsSettings, embedded: Option<Identity>) -> Result<Identity, LogError> {
    let mut found = Vec::new();
    if let Some(path) = &settings.credentials {
        found.push(("--nats-creds", Identity::Credentials(path.clone())));
    }
    if let Some(path) = &settings.nkey {
        found.push(("--nats-nkey", Identity::NKey(path.clone())));
    }
    let password = Word::of(&settings.password, &settings.password_file);
    match (settings.user.clone(), password) {
        (Some(name), Some(password)) => {
            let setting = password.setting("--nats-user", "--nats-password-file");
            found.push((setting, Identity::User { name, password }));
        }
        (Some(_), None) => return Err(wrong("--nats-user", "it needs --nats-password too")),
        (None, Some(_)) => return Err(wrong("--nats-password", "it needs --nats-user too")),
        (None, None) => {}
    }
    if let Some(token) = Word::of(&settings.token, &settings.token_file) {
        let setting = token.setting("--nats-token", "--nats-token-file");
        found.push((setting, Identity::Token(token)));
    }
    if let Some(embedded) = embedded {
        found.push(("a user within --nats", embedded));
    }
    if found.len() > 1 {
        let names: Vec<_> = found.iter().map(|(name, _)| *name).collect();
        let text = format!("only one of {} can be given", names.join(", "));
        return Err(LogError::Unavailable(text));
    }
    let Some((setting, identity)) = found.pop() else {
        return Ok(Identity::Nobody);
    };
    // A file that can't be read is a mistake of now, not one of the first connect.
    identity.answer(b"").map_err(|text| wrong(setting, &text))?;
    Ok(identity)
}

impl Word {
    fn of(given: &Option<Secret>, file: &Option<PathBuf>) -> Option<Self> {
        let file = file.clone().map(Self::File);
        given.clone().map(Self::Given).or(file)
    }

    /// Which setting it is of: `given`, or `file` where it is in one.
    fn setting(&self, given: &'static str, file: &'static str) -> &'static str {
        match self {
            Self::Given(_) => given,
            Self::File(_) => file,
        }
    }

    fn read(&self) -> Result<String, String> {
        let read = match self {
            Self::Given(secret) => Ok(secret.clone()),
            Self::File(path) => Secret::read(path).map_err(|error| error.to_string()),
        };
        read.map(|secret| secret.expose().to_owned())
    }
}

impl Identity {
    /// What the server is told, its nonce signed with the file's key. Errors never have the file's text.
    fn answer(&self, nonce: &[u8]) -> Result<Auth, String> {
        let mut auth = Auth::new();
        match self {
            Self::Nobody => {}
            Self::User { name, password } => {
                auth.username = Some(name.clone());
                auth.password = Some(password.read()?);
            }
            Self::Token(token) => auth.token = Some(token.read()?),
            Self::Credentials(path) => sign(&mut auth, nonce, path, true)?,
            Self::NKey(path) => sign(&mut auth, nonce, path, false)?,
        }
        Ok(auth)
    }
}

/// Signs the nonce with the seed in a file, which has a user's JWT too where it is one of credentials.
fn sign(auth: &mut Auth, nonce: &[u8], path: &Path, credentials: bool) -> Result<(), String> {
    let file = path.display();
    let text = Secret::read(path).map_err(|error| error.to_string())?;
    let text = text.expose();
    let (jwt, seed) = match credentials {
        true => match (block(text, "USER JWT"), block(text, "SEED")) {
            (Some(jwt), Some(seed)) => (Some(jwt.to_owned()), seed),
            _ => return Err(format!("`{file}`: it has no user JWT and NKey seed in it")),
        },
        false => (None, block(text, "SEED").unwrap_or(text.trim())),
    };
    let pair = KeyPair::from_seed(seed)
        .ok()
        .filter(|pair| pair.key_pair_type() == KeyPairType::User)
        .ok_or_else(|| format!("`{file}`: it has no valid seed of a user's NKey (`SU…`)"))?;
    let signature = pair
        .sign(nonce)
        .map_err(|_| format!("`{file}`: its NKey can't sign"))?;
    auth.nkey = jwt.is_none().then(|| pair.public_key());
    auth.jwt = jwt;
    auth.signature = Some(signature);
    Ok(())
}

/// The line under `-----BEGIN … <name>-----` in a credentials file.
fn block<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().map(str::trim);
    lines.find(|line| line.contains("BEGIN") && line.contains(name))?;
    lines.find(|line| !line.is_empty())
}

fn wants_tls(settings: &NatsSettings) -> bool {
    settings.tls || settings.ca.is_some() || settings.cert.is_some()
}

/// Always given to the client, with its provider named: rustls panics where it has to choose one and there are two.
fn tls(settings: &NatsSettings, servers: &[ServerAddr]) -> Result<ClientConfig, LogError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong("--nats-tls", &error.to_string()))?
        .with_root_certificates(roots(settings, servers)?);
    let (Some(cert), Some(key)) = (&settings.cert, &settings.key) else {
        return match (&settings.cert, &settings.key) {
            (Some(_), None) => Err(wrong("--nats-cert", "it needs --nats-key too")),
            (None, Some(_)) => Err(wrong("--nats-key", "it needs --nats-cert too")),
            _ => Ok(builder.with_no_client_auth()),
        };
    };
    let chain = from_file("--nats-cert", cert, pem::certificates)?;
    let key = from_file("--nats-key", key, pem::private_key)?;
    builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| wrong("--nats-cert and --nats-key", &error.to_string()))
}

fn roots(settings: &NatsSettings, servers: &[ServerAddr]) -> Result<RootCertStore, LogError> {
    if let Some(ca) = &settings.ca {
        return from_file("--nats-ca", ca, pem::authorities);
    }
    let mut roots = RootCertStore::empty();
    // Also without a wish for TLS: the server may demand it.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let wanted = settings.tls || servers.iter().any(ServerAddr::tls_required);
    match wanted && roots.is_empty() {
        true => Err(wrong(
            "--nats-tls",
            "this system has no certificate authorities; give them with --nats-ca",
        )),
        false => Ok(roots),
    }
}

/// What a setting's file in PEM form holds.
fn from_file<T>(
    setting: &str,
    path: &Path,
    read: impl FnOnce(&[u8]) -> Result<T, String>,
) -> Result<T, LogError> {
    let reason = |error: String| wrong(setting, &format!("`{}`: {error}", path.display()));
    let file = std::fs::read(path).map_err(|error| reason(error.to_string()))?;
    read(&file).map_err(reason)
}

fn wrong(setting: &str, reason: &str) -> LogError {
    LogError::Unavailable(format!("{setting}: {reason}"))
}
