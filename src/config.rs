//! Settings: one small struct a concern, each field with its flag, its variable and its default.

mod admin;
mod auth;
mod clients;
mod data;
mod nats;
pub(crate) mod number;
mod tls;
mod websocket;

pub use admin::AdminSettings;
pub use auth::AuthSettings;
pub use clients::{ClientSettings, ForwardedHeader};
pub use data::DataSettings;
pub use nats::{CreateStream, NatsSettings, shown_url};
pub use tls::TlsSettings;
pub use websocket::WebSocketSettings;

use crate::event::{InvalidName, Pattern};
use crate::wire::Closing;
use number::{bytes, count, whole};
use std::net::SocketAddr;
use std::time::Duration;

/// What each budget of what is sent or comes is by itself, in bytes: more where the largest event takes more.
pub(crate) const BUDGET: usize = 64 << 20;

/// All that a server is told.
#[derive(Clone, Debug, clap::Args)]
pub struct Settings {
    /// See there.
    #[command(flatten)]
    pub listen: ListenSettings,
    /// See there.
    #[command(flatten)]
    pub tls: TlsSettings,
    /// See there.
    #[command(flatten)]
    pub auth: AuthSettings,
    /// See there.
    #[command(flatten)]
    pub admin: AdminSettings,
    /// See there.
    #[command(flatten)]
    pub streams: StreamSettings,
    /// See there.
    #[command(flatten)]
    pub websockets: WebSocketSettings,
    /// See there.
    #[command(flatten)]
    pub limits: LimitSettings,
    /// See there.
    #[command(flatten)]
    pub clients: ClientSettings,
    /// See there.
    #[command(flatten)]
    pub memory: MemorySettings,
    /// See there.
    #[command(flatten)]
    pub data: DataSettings,
    /// See there.
    #[command(flatten)]
    pub nats: NatsSettings,
}

/// Where the server listens, and to whom.
#[derive(Clone, Debug, clap::Args)]
pub struct ListenSettings {
    /// The address to listen on. One that is not loopback needs authentication, or one of the --anonymous options,
    /// which say what is meant for everyone.
    #[arg(
        long,
        env = "TIDINGS_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080",
        value_parser = parse_address
    )]
    pub listen: SocketAddr,

    /// Feeds that everyone may read, as a pattern; may be given several times (in the variable: separated
    /// by commas). With this, or another option of the kind, they may do nothing else.
    #[arg(
        long,
        env = "TIDINGS_ANONYMOUS_SUBSCRIBE",
        value_name = "PATTERN",
        value_delimiter = ',',
        value_parser = parse_pattern
    )]
    pub anonymous_subscribe: Vec<Pattern>,

    /// Feeds that everyone may publish to, likewise.
    #[arg(
        long,
        env = "TIDINGS_ANONYMOUS_PUBLISH",
        value_name = "PATTERN",
        value_delimiter = ',',
        value_parser = parse_pattern
    )]
    pub anonymous_publish: Vec<Pattern>,

    /// What everyone may request of backends, likewise.
    #[arg(
        long,
        env = "TIDINGS_ANONYMOUS_REQUEST",
        value_name = "PATTERN",
        value_delimiter = ',',
        value_parser = parse_pattern
    )]
    pub anonymous_request: Vec<Pattern>,

    /// Origins whose pages may use this server, as in `https://app.example.com`; may be given several times (in the
    /// variable: separated by commas). Without it, pages of all may, but not with a cookie.
    #[arg(
        long,
        env = "TIDINGS_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ',',
        value_parser = parse_origin
    )]
    pub allow_origin: Vec<String>,

    /// The path below which a proxy mounts this server without taking it off, as in `/tidings`. Everything is below it then.
    #[arg(long, env = "TIDINGS_BASE_PATH", value_name = "PATH", value_parser = parse_base_path)]
    pub base_path: Option<String>,

    /// How long open streams and requests have to end after SIGTERM or SIGINT, in seconds. After SIGTERM the streams are
    /// closed one after the other over most of it.
    #[arg(long = "drain", env = "TIDINGS_DRAIN", value_name = "SECONDS", default_value_t = 25, value_parser = whole::<u16>(0..=3600, "seconds"))]
    pub drain_seconds: u16,
}

/// An address to listen on; `localhost` is 127.0.0.1, whatever the system makes of it.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let address = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    let wrong = |_| "it is an IP address and port, as in 127.0.0.1:8080".to_owned();
    address.parse().map_err(wrong)
}

/// A path in front of all others: empty, or segments that stand in a URL and in a shell as they are.
fn parse_base_path(text: &str) -> Result<String, String> {
    let path = text.trim_end_matches('/');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let is_segment =
        |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(plain);
    let is_path = |rest: &str| rest.split('/').all(is_segment);
    match path.is_empty() || path.strip_prefix('/').is_some_and(is_path) {
        true => Ok(path.to_owned()),
        false => Err(
            "it begins with `/`, and its segments are of letters, digits, `-`, `.`, `_` and `~`, as in /tidings"
                .to_owned(),
        ),
    }
}

/// An origin as browsers write it (RFC 6454, section 6.2): scheme, host and port, and nothing else.
fn parse_origin(text: &str) -> Result<String, String> {
    let text = text.trim().to_ascii_lowercase();
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte);
    match host.is_some_and(|host| !host.is_empty() && host.bytes().all(plain)) {
        true => Ok(text),
        false => Err(
            "it is a scheme, a host and a port where it is not the usual one, as in https://app.example.com"
                .to_owned(),
        ),
    }
}

/// A pattern as a shell passes it on.
pub(crate) fn parse_pattern(text: &str) -> Result<Pattern, String> {
    let hint = match text.ends_with('.') {
        true => "; did the shell take a `>`? Quote the pattern, as in 'orders.>'",
        false => "",
    };
    text.parse()
        .map_err(|error: InvalidName| format!("{error}{hint}"))
}

/// How streams behave.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Streams")]
pub struct StreamSettings {
    /// After how many seconds of silence a stream shows a sign of life; each time spread by ±20 %.
    #[arg(long = "heartbeat", env = "TIDINGS_HEARTBEAT", value_name = "SECONDS", default_value_t = 15, value_parser = whole::<u16>(1..=3600, "seconds"))]
    pub heartbeat_seconds: u16,

    /// Threads that serve HTTP/1.1 streams straight from the sockets; 0 to serve them as all others, through
    /// the HTTP library. By default one for each core.
    #[arg(long, env = "TIDINGS_SHARDS", value_name = "N", value_parser = whole::<u16>(0..=1024, ""))]
    pub shards: Option<u16>,

    /// How long a client may take nothing of what it is sent, in seconds; then its stream is closed, and it goes on
    /// from its last id when it comes back.
    #[arg(long = "stall-timeout", env = "TIDINGS_STALL_TIMEOUT", value_name = "SECONDS", default_value_t = 30, value_parser = whole::<u16>(1..=3600, "seconds"))]
    pub stall_timeout_seconds: u16,

    /// After how many milliseconds a client comes back that was cut off; for each spread by ±50 %.
    #[arg(long = "retry", env = "TIDINGS_RETRY", value_name = "MS", default_value_t = 2000, value_parser = whole::<u32>(10..=3_600_000, "milliseconds"))]
    pub retry_ms: u32,
}

/// Bounds on what others may ask for.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitSettings {
    /// The largest event, in bytes of its data. With NATS, its `max_payload` is a limit too.
    #[arg(
        long,
        env = "TIDINGS_MAX_EVENT_BYTES",
        value_name = "BYTES",
        default_value_t = 1_000_000,
        value_parser = bytes::<usize>(1))]
    pub max_event_bytes: usize,

    /// The largest batch of events in one POST, in bytes.
    #[arg(long, env = "TIDINGS_MAX_BATCH_BYTES", value_name = "BYTES", default_value_t = 16 << 20, value_parser = bytes::<usize>(1))]
    pub max_batch_bytes: usize,

    /// What the bodies of all publishes under way may hold together, in bytes: at least as much as a batch and
    /// an event may have. Where it is used up, publishes are answered with 503.
    #[arg(long, env = "TIDINGS_PUBLISH_BYTES", value_name = "BYTES", default_value_t = 128 << 20, value_parser = bytes::<usize>(1))]
    pub publish_bytes: usize,

    /// What the answers of all polls may hold together until they are sent, in bytes: at least as much as the largest
    /// event as JSON, of six bytes for each and 16 KiB; by itself it is. Where it is used up, polls are answered with 503.
    #[arg(long, env = "TIDINGS_PAGE_BYTES", value_name = "BYTES", default_value_t = BUDGET, value_parser = bytes::<usize>(1))]
    pub page_bytes: usize,

    /// Patterns that one stream may ask for.
    #[arg(
        long,
        env = "TIDINGS_MAX_PATTERNS",
        value_name = "N",
        default_value_t = 100,
        value_parser = count::<usize>(1)
    )]
    pub max_patterns: usize,

    /// Streams open at once; 0 refuses all. Those who come later are told to come back.
    #[arg(
        long,
        env = "TIDINGS_MAX_STREAMS",
        value_name = "N",
        default_value_t = 100_000,
        value_parser = count::<usize>(0)
    )]
    pub max_streams: usize,

    /// Connections open at once. Later ones wait in the listener's backlog.
    #[arg(
        long,
        env = "TIDINGS_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = 110_000,
        value_parser = count::<usize>(1)
    )]
    pub max_connections: usize,

    /// Publishes under way at once; 0 refuses all. More are answered with 503.
    #[arg(
        long,
        env = "TIDINGS_MAX_PUBLISHES",
        value_name = "N",
        default_value_t = 1024,
        value_parser = count::<usize>(0)
    )]
    pub max_publishes: usize,

    /// The largest head of a request, its URL and headers, in bytes; the same for a header list over HTTP/2.
    #[arg(long, env = "TIDINGS_MAX_HEAD_BYTES", value_name = "BYTES", default_value_t = 32 << 10, value_parser = whole::<u32>(8192..=1 << 20, "bytes"))]
    pub max_head_bytes: u32,

    /// Requests and streams at once on one HTTP/2 connection; its client is told, and has the next ones wait.
    #[arg(long, env = "TIDINGS_MAX_HTTP2_STREAMS", value_name = "N", default_value_t = 250, value_parser = whole::<u32>(1..=100_000, ""))]
    pub max_http2_streams: u32,

    /// How long a client may take for the head of a request, and leave a connection without any, in seconds; then it is
    /// closed.
    #[arg(long = "head-timeout", env = "TIDINGS_HEAD_TIMEOUT", value_name = "SECONDS", default_value_t = 10, value_parser = whole::<u16>(1..=3600, "seconds"))]
    pub head_timeout_seconds: u16,

    /// How long a publisher may take to send a body, in seconds; then it is answered with 408. One that takes
    /// nothing of a batch's answer for as long is cut off.
    #[arg(long = "body-timeout", env = "TIDINGS_BODY_TIMEOUT", value_name = "SECONDS", default_value_t = 30, value_parser = whole::<u16>(1..=3600, "seconds"))]
    pub body_timeout_seconds: u16,

    /// How long a request may take in all until its answer begins, in seconds; then it is answered with 503, or a publish
    /// with 504.
    #[arg(long = "request-timeout", env = "TIDINGS_REQUEST_TIMEOUT", value_name = "SECONDS", default_value_t = 120, value_parser = whole::<u16>(1..=3600, "seconds"))]
    pub request_timeout_seconds: u16,
}

/// What is held in memory.
#[derive(Clone, Copy, Debug, clap::Args)]
#[command(next_help_heading = "Memory")]
pub struct MemorySettings {
    /// The newest events that are kept at hand for readers, in bytes with everything they need.
    #[arg(long, env = "TIDINGS_WINDOW_BYTES", value_name = "BYTES", default_value_t = 64 << 20, value_parser = bytes::<u64>(1))]
    pub window_bytes: u64,

    /// The same, in events.
    #[arg(long, env = "TIDINGS_WINDOW_EVENTS", value_name = "N", default_value_t = 200_000, value_parser = whole::<u64>(1..=u64::MAX, ""))]
    pub window_events: u64,

    /// What was read of the log for readers behind the window and is kept for others, in bytes; beside it up to 8
    /// reads of some 4 MiB each are under way.
    #[arg(long, env = "TIDINGS_COLD_BYTES", value_name = "BYTES", default_value_t = 32 << 20, value_parser = bytes::<u64>(0))]
    pub cold_bytes: u64,

    /// Without NATS and --data: how much the log in memory holds, in bytes.
    #[arg(long, env = "TIDINGS_MEMORY_BYTES", value_name = "BYTES", default_value_t = 256 << 20, value_parser = bytes::<usize>(1))]
    pub memory_bytes: usize,

    /// The same, in events.
    #[arg(
        long,
        env = "TIDINGS_MEMORY_EVENTS",
        value_name = "N",
        default_value_t = 1_000_000,
        value_parser = whole::<usize>(1..=u64::MAX, ""))]
    pub memory_events: usize,

    /// Without NATS: how many idempotency keys are remembered at once, within their two minutes.
    #[arg(
        long,
        env = "TIDINGS_MEMORY_KEYS",
        value_name = "N",
        default_value_t = 1_000_000,
        value_parser = whole::<usize>(1..=u64::MAX, ""))]
    pub memory_keys: usize,
}

impl StreamSettings {
    /// How many shards there are.
    pub fn shards(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, |cores| cores.get());
        self.shards.map_or_else(cores, usize::from)
    }

    /// How long a stream is silent before it shows a sign of life, this time.
    pub fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.heartbeat_seconds.into()).mul_f64(0.8 + 0.4 * fastrand::f64())
    }

    /// The shortest and the longest that this can be.
    pub fn heartbeat_bounds(&self) -> (Duration, Duration) {
        let period = Duration::from_secs(self.heartbeat_seconds.into());
        (period.mul_f64(0.8), period.mul_f64(1.2))
    }

    /// How long a client may take nothing of what it is sent.
    pub fn stall_timeout(&self) -> Duration {
        Duration::from_secs(self.stall_timeout_seconds.into())
    }

    /// The same where it is cut off for this reason: with another token it is to come back soon.
    pub fn retry_after(&self, reason: Closing) -> u32 {
        match reason {
            Closing::Token => fastrand::u32(100..=500),
            _ => self.retry(),
        }
    }

    /// When a client comes back that is cut off, in milliseconds: for each another.
    pub fn retry(&self) -> u32 {
        fastrand::u32(self.retry_ms - self.retry_ms / 2..=self.retry_ms + self.retry_ms / 2)
    }
}
