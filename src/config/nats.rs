//! How NATS is reached, and the stream on it.

use super::number::{bytes, whole};
use crate::auth::Secret;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The NATS servers, and the JetStream stream that is the log.
#[derive(Clone, clap::Args)]
#[command(next_help_heading = "NATS")]
pub struct NatsSettings {
    /// NATS servers, comma-separated; without it and without --data the log is in memory.
    ///
    /// As in `nats://host:4222`, or `tls://host:4222` for TLS. A user and password, or a token, may stand
    /// before the host; several servers are then given the same.
    #[arg(
        long = "nats",
        env = "TIDINGS_NATS",
        value_name = "URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub servers: Vec<String>,

    /// A credentials file (JWT and NKey seed); read anew at each connect.
    #[arg(long = "nats-creds", env = "TIDINGS_NATS_CREDS", value_name = "FILE")]
    pub credentials: Option<PathBuf>,

    /// A file that holds a user's NKey seed; read anew at each connect.
    #[arg(long = "nats-nkey", env = "TIDINGS_NATS_NKEY", value_name = "FILE")]
    pub nkey: Option<PathBuf>,

    /// User name, with --nats-password or --nats-password-file.
    #[arg(
        long = "nats-user",
        env = "TIDINGS_NATS_USER",
        value_name = "NAME",
        requires = "password_or_file",
        conflicts_with_all = ["token", "token_file"]
    )]
    pub user: Option<String>,

    /// Password, with --nats-user. Better given as a file than on the command line.
    #[arg(
        long = "nats-password",
        env = "TIDINGS_NATS_PASSWORD",
        value_name = "TEXT",
        requires = "user",
        group = "password_or_file",
        hide_env_values = true
    )]
    pub password: Option<Secret>,

    /// A file with the password; read anew at each connect.
    #[arg(
        long = "nats-password-file",
        env = "TIDINGS_NATS_PASSWORD_FILE",
        value_name = "FILE",
        requires = "user",
        group = "password_or_file"
    )]
    pub password_file: Option<PathBuf>,

    /// Token. Better given as a file than on the command line.
    #[arg(
        long = "nats-token",
        env = "TIDINGS_NATS_TOKEN",
        value_name = "TEXT",
        hide_env_values = true
    )]
    pub token: Option<Secret>,

    /// A file with the token; read anew at each connect.
    #[arg(
        long = "nats-token-file",
        env = "TIDINGS_NATS_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "token"
    )]
    pub token_file: Option<PathBuf>,

    /// Requires TLS, with the system's certificate authorities.
    #[arg(long = "nats-tls", env = "TIDINGS_NATS_TLS")]
    pub tls: bool,

    /// A certificate authority of one's own, as a PEM file; implies --nats-tls.
    #[arg(long = "nats-ca", env = "TIDINGS_NATS_CA", value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// A client certificate, as a PEM file, with --nats-key.
    #[arg(
        long = "nats-cert",
        env = "TIDINGS_NATS_CERT",
        value_name = "FILE",
        requires = "key"
    )]
    pub cert: Option<PathBuf>,

    /// The client certificate's private key, as a PEM file.
    #[arg(
        long = "nats-key",
        env = "TIDINGS_NATS_KEY",
        value_name = "FILE",
        requires = "cert"
    )]
    pub key: Option<PathBuf>,

    /// The JetStream domain.
    #[arg(long = "nats-domain", env = "TIDINGS_NATS_DOMAIN", value_name = "NAME")]
    pub domain: Option<String>,

    /// Prefix of the inboxes that replies come to.
    #[arg(
        long = "nats-inbox",
        env = "TIDINGS_NATS_INBOX",
        value_name = "PREFIX",
        default_value = "_INBOX"
    )]
    pub inbox_prefix: String,

    /// What a subject has before the feed's name, without the dot; empty for none, which takes an existing stream.
    #[arg(
        long = "nats-prefix",
        env = "TIDINGS_NATS_PREFIX",
        value_name = "PREFIX",
        default_value = "feeds"
    )]
    pub prefix: String,

    /// The stream.
    #[arg(
        long = "nats-stream",
        env = "TIDINGS_NATS_STREAM",
        value_name = "NAME",
        default_value = "TIDINGS"
    )]
    pub stream: String,

    /// Whether to create the stream where there is none.
    #[arg(
        long = "nats-create",
        env = "TIDINGS_NATS_CREATE",
        value_name = "WHEN",
        default_value = "missing"
    )]
    pub create: CreateStream,

    /// Replicas of a stream that is created, 1 to 5.
    #[arg(long = "nats-replicas", env = "TIDINGS_NATS_REPLICAS", value_name = "N", default_value_t = 1, value_parser = whole::<u8>(1..=5, ""))]
    pub replicas: u8,

    /// How long a stream that is created keeps an event, in hours; 0 for ever.
    #[arg(
        long = "nats-max-age",
        env = "TIDINGS_NATS_MAX_AGE",
        value_name = "HOURS",
        default_value_t = 72, value_parser = whole::<u32>(0..=u32::MAX.into(), "hours"))]
    pub max_age_hours: u32,

    /// How many bytes a stream that is created keeps; 0 for no limit.
    #[arg(long = "nats-max-bytes", env = "TIDINGS_NATS_MAX_BYTES", value_name = "BYTES", default_value_t = 10 << 30, value_parser = bytes::<u64>(0))]
    pub max_bytes: u64,

    /// How long NATS may take to answer, in seconds.
    #[arg(long = "nats-timeout", env = "TIDINGS_NATS_TIMEOUT", value_name = "SECONDS", default_value_t = 5, value_parser = whole::<u16>(1..=300, "seconds"))]
    pub timeout_seconds: u16,
}

/// Whether the hub creates its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CreateStream {
    /// Where there is none.
    Missing,
    /// Never: someone else does.
    Never,
}

impl NatsSettings {
    /// How long NATS may take to answer.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_seconds.into())
    }

    /// The servers as they may be shown.
    pub fn shown_servers(&self) -> String {
        let servers: Vec<String> = self.servers.iter().map(|url| shown_url(url)).collect();
        servers.join(", ")
    }
}

/// Without what may stand before a host.
impl fmt::Debug for NatsSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers: Vec<String> = self.servers.iter().map(|url| shown_url(url)).collect();
        f.debug_struct("NatsSettings")
            .field("servers", &servers)
            .field("credentials", &self.credentials)
            .field("nkey", &self.nkey)
            .field("user", &self.user)
            .field("password", &self.password)
            .field("password_file", &self.password_file)
            .field("token", &self.token)
            .field("token_file", &self.token_file)
            .field("tls", &self.tls)
            .field("ca", &self.ca)
            .field("cert", &self.cert)
            .field("key", &self.key)
            .field("domain", &self.domain)
            .field("inbox_prefix", &self.inbox_prefix)
            .field("prefix", &self.prefix)
            .field("stream", &self.stream)
            .field("create", &self.create)
            .field("replicas", &self.replicas)
            .field("max_age_hours", &self.max_age_hours)
            .field("max_bytes", &self.max_bytes)
            .field("timeout_seconds", &self.timeout_seconds)
            .finish()
    }
}

/// A URL as it may be shown: without the user, password or token before its host, and without what comes after its path.
pub fn shown_url(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), url),
    };
    let path = rest.split(['?', '#']).next().unwrap_or(rest);
    let shown = match path.rsplit_once('@') {
        // The last `@`: what is no valid URL may have a bare one in its password.
        Some((_, host)) => host,
        // Or a bare `?`.
        None if rest.contains('@') => "…",
        None => path,
    };
    format!("{scheme}{shown}")
}
