//! The stream: created where there is none, adopted where there is one and it fits.

use super::api::{Api, ApiError, StreamConfig, StreamInfo};
use crate::config::{CreateStream, NatsSettings};
use crate::log::LogError;
use serde::Serialize;
use std::time::Duration;

/// The duplicate window of a stream that is created, and the shortest of one that fits: for this long a repeated
/// idempotency key is the same event.
const DUPLICATE_WINDOW: Duration = crate::log::keys::DUPLICATE_WINDOW;
/// Codes of JetStream's errors (`errors.json` of nats-server): another replica was first.
const ALREADY_THERE: u64 = 10058;
const SUBJECTS_OVERLAP: u64 = 10065;
const NO_REPLICAS: [u64; 2] = [10005, 10074];
const NO_SPACE: [u64; 5] = [10002, 10023, 10028, 10047, 10113];
const BYTES_TOO_MANY: u64 = 10120;

/// How often it is looked whether a stream has come about, and the time in between.
const LOOKS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// A new stream. What is not named here is the server's default.
#[derive(Serialize)]
struct NewStream<'a> {
    name: &'a str,
    description: &'a str,
    subjects: [String; 1],
    retention: &'a str,
    discard: &'a str,
    storage: &'a str,
    max_consumers: i64,
    max_msgs: i64,
    max_msgs_per_subject: i64,
    max_msg_size: i64,
    max_bytes: i64,
    max_age: u64,
    num_replicas: u8,
    duplicate_window: u64,
    deny_delete: bool,
}

/// The stream where there is one; `None` where it is to be created.
pub(super) async fn look(
    api: &Api,
    settings: &NatsSettings,
) -> Result<Option<StreamInfo>, LogError> {
    match described(api).await {
        Ok(info) => return Ok(Some(info)),
        Err(error) if error.no_stream() => {}
        Err(error) => return Err(api.explain("describe the stream", &error)),
    }
    let stream = &settings.stream;
    if settings.create == CreateStream::Never {
        return Err(LogError::Unavailable(format!(
            "there is no stream `{stream}`, and --nats-create never says not to create it"
        )));
    }
    if settings.prefix.is_empty() {
        return Err(LogError::Unavailable(format!(
            "there is no stream `{stream}`, and with an empty --nats-prefix none is created, since `>` would take in NATS's own subjects: create it with the subjects that are to be feeds, or give a prefix"
        )));
    }
    Ok(None)
}

/// The stream, created where there is none and that is allowed.
pub(super) async fn find(api: &Api, settings: &NatsSettings) -> Result<StreamInfo, LogError> {
    if let Some(info) = look(api, settings).await? {
        return Ok(info);
    }
    let stream = &settings.stream;
    match api.create_stream(&new_stream(settings)).await {
        Ok(()) => tracing::info!(stream, "created the stream"),
        Err(ApiError::Server(error)) if error.err_code == ALREADY_THERE => {}
        Err(error) => return Err(not_created(api, settings, &error)),
    }
    let info = described(api).await;
    info.map_err(|error| api.explain("describe the stream", &error))
}

/// The stream as it is once it has come about: while another replica creates it, nats-server 2.9 describes it without
/// the time at which it was created, and that is what tells it from a later one.
async fn described(api: &Api) -> Result<StreamInfo, ApiError> {
    let mut info = api.stream_info().await?;
    for _ in 0..LOOKS {
        if info.created() > 0 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
        info = api.stream_info().await?;
    }
    Ok(info)
}

fn new_stream(settings: &NatsSettings) -> NewStream<'_> {
    NewStream {
        name: &settings.stream,
        description: "Events of Tidings",
        subjects: [format!("{}.>", settings.prefix)],
        retention: "limits",
        discard: "old",
        storage: "file",
        max_consumers: -1,
        max_msgs: -1,
        max_msgs_per_subject: -1,
        max_msg_size: -1,
        max_bytes: match settings.max_bytes {
            0 => -1,
            bytes => i64::try_from(bytes).unwrap_or(i64::MAX),
        },
        max_age: u64::from(settings.max_age_hours) * 3600 * 1_000_000_000,
        num_replicas: settings.replicas,
        duplicate_window: nanos(DUPLICATE_WINDOW),
        deny_delete: true,
    }
}

fn not_created(api: &Api, settings: &NatsSettings, error: &ApiError) -> LogError {
    let doing = format!("create the stream `{}`", settings.stream);
    let LogError::Unavailable(text) = api.explain(&doing, error);
    let ApiError::Server(server) = error else {
        return LogError::Unavailable(text);
    };
    let advice = match server.err_code {
        SUBJECTS_OVERLAP => format!(
            "another stream has subjects under `{}.>` already: name that stream with --nats-stream, or choose another --nats-prefix",
            settings.prefix
        ),
        code if NO_REPLICAS.contains(&code) => format!(
            "--nats-replicas is {}; this NATS can't keep that many copies",
            settings.replicas
        ),
        code if NO_SPACE.contains(&code) || code == BYTES_TOO_MANY => format!(
            "--nats-max-bytes is {}; the server or the account allows less: give what it has",
            settings.max_bytes
        ),
        _ => return LogError::Unavailable(text),
    };
    LogError::Unavailable(format!(
        "JetStream would not {doing}: {} (error {}): {advice}",
        server.description, server.err_code
    ))
}

/// What can't be asked of a stream that is there: all that does not fit, each with what would be right.
pub(super) fn check(config: &StreamConfig, settings: &NatsSettings) -> Result<(), LogError> {
    let mut misfits = Vec::new();
    let mut need = |fits: bool, text: String| {
        if !fits {
            misfits.push(text);
        }
    };
    need(
        config.retention == "limits",
        format!(
            "its retention is `{}`; it must be `limits`",
            config.retention
        ),
    );
    need(
        config.max_msgs_per_subject <= 0,
        format!(
            "its max_msgs_per_subject is {}; there must be no such limit (-1), or events would go from between others",
            config.max_msgs_per_subject
        ),
    );
    let never = |name: &str| format!("its {name} is on; it must be off");
    need(!config.allow_rollup_hdrs, never("allow_rollup_hdrs"));
    need(!config.allow_msg_ttl, never("allow_msg_ttl"));
    need(!config.allow_msg_counter, never("allow_msg_counter"));
    need(!config.no_ack, never("no_ack"));
    need(
        !config.sealed,
        "it is sealed; it must take new events".to_owned(),
    );
    need(
        config.mirror.is_none(),
        "it is a mirror; it must be a stream of its own, since a mirror takes no events".to_owned(),
    );
    need(
        config.subject_transform.is_none(),
        "it has a subject_transform; it must have none, since that renames feeds".to_owned(),
    );
    need(
        config.duplicate_window >= i64::try_from(nanos(DUPLICATE_WINDOW)).unwrap_or(i64::MAX),
        format!(
            "its duplicate_window is {:?}; it must be {DUPLICATE_WINDOW:?} or more",
            Duration::from_nanos(config.duplicate_window.try_into().unwrap_or(0))
        ),
    );
    let ours = format!("{}.>", settings.prefix);
    let covered =
        settings.prefix.is_empty() || config.subjects.iter().any(|one| covers(one, &ours));
    need(
        covered,
        format!(
            "its subjects are [{}]; one of them must cover `{ours}`",
            config.subjects.join(", ")
        ),
    );
    if misfits.is_empty() {
        return Ok(());
    }
    Err(LogError::Unavailable(format!(
        "the stream `{}` does not fit: {}",
        settings.stream,
        misfits.join("; ")
    )))
}

/// What a consumer has to ask for where the stream has other subjects than ours.
pub(super) fn filter(config: &StreamConfig, prefix: &str) -> Option<String> {
    if prefix.is_empty() {
        return None;
    }
    let ours = format!("{prefix}.>");
    let sources = config.sources.as_ref().is_some_and(|all| !all.is_empty());
    let alone = !sources && config.subjects.iter().all(|one| covers(&ours, one));
    (!alone).then_some(ours)
}

/// Whether the subject `wide` has every subject of `narrow` in it; both may have wildcards.
fn covers(wide: &str, narrow: &str) -> bool {
    let mut narrow = narrow.split('.');
    for token in wide.split('.') {
        match (token, narrow.next()) {
            (">", theirs) => return theirs.is_some(),
            ("*", Some(theirs)) if theirs != ">" => {}
            (token, Some(theirs)) if token == theirs => {}
            _ => return false,
        }
    }
    narrow.next().is_none()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_covers_what_lies_within_it() {
        for (wide, narrow) in [
            (">", "feeds.>"),
            ("feeds.>", "feeds.>"),
            ("*.>", "feeds.>"),
            ("feeds.>", "feeds.*"),
            ("feeds.>", "feeds.a.b"),
        ] {
            assert!(covers(wide, narrow), "{wide} {narrow}");
        }
        for (wide, narrow) in [
            ("feeds.*", "feeds.>"),
            ("feeds", "feeds.>"),
            ("feeds.>", ">"),
            ("feeds.>", "feeds"),
            ("feeds.a.>", "feeds.>"),
            ("other.>", "feeds.>"),
        ] {
            assert!(!covers(wide, narrow), "{wide} {narrow}");
        }
    }

    #[test]
    fn a_consumer_filters_only_where_the_stream_has_more_than_ours() {
        let config = |subjects: &[&str]| StreamConfig {
            subjects: subjects.iter().map(|&s| s.to_owned()).collect(),
            ..StreamConfig::default()
        };
        assert_eq!(filter(&config(&["feeds.>"]), "feeds"), None);
        assert_eq!(filter(&config(&["feeds.>", "feeds.a"]), "feeds"), None);
        assert_eq!(filter(&config(&["a", "b"]), ""), None);
        let ours = Some("feeds.>".to_owned());
        assert_eq!(filter(&config(&["feeds.>", "orders.>"]), "feeds"), ours);
        assert_eq!(filter(&config(&[">"]), "feeds"), ours);
    }
}
