//! Appending: one publish, one acknowledgement.

use super::link::Failure;
use super::message::{allowed, headers};
use super::{Append, AppendError, Appended, Shared};
use crate::event::Data;
use crate::log::keys::digest;
use serde::Deserialize;
use std::fmt::Write;

/// The code of JetStream's error for a message over the stream's `max_msg_size`.
const MESSAGE_TOO_LARGE: u64 = 10054;

#[derive(Deserialize)]
struct Ack {
    #[serde(default)]
    stream: String,
    #[serde(default)]
    seq: u64,
    #[serde(default)]
    duplicate: bool,
    error: Option<super::api::ServerError>,
}

pub(super) async fn append(shared: &Shared, append: Append) -> Result<Appended, AppendError> {
    let appended = attempt(shared, append).await;
    if let Err(AppendError::NotStored(_) | AppendError::Unknown(_)) = &appended {
        // Maybe the stream is not what it was.
        shared.nudge.notify_one();
    }
    appended
}

async fn attempt(shared: &Shared, append: Append) -> Result<Appended, AppendError> {
    let Append {
        message,
        idempotency_key,
    } = append;
    // Before anything else: what is handed over without a connection is stored after the next connect,
    // however long ago its publisher was told that it failed.
    let link = &shared.api.link;
    link.answering().map_err(AppendError::NotStored)?;
    if !allowed(&shared.prefix, &message.feed) {
        return Err(AppendError::NotStored(format!(
            "the feed `{}` can't be a subject: none has U+FFFD in it, and where there is no prefix, what begins with `$` or `_` is one of NATS's own",
            message.feed
        )));
    }
    let id = idempotency_key.map(|key| message_id(message.feed.as_str(), &key));
    let (headers, bytes) = headers(&message, id.as_deref()).map_err(AppendError::NotStored)?;
    let Data::Bytes(data) = message.data else {
        return Err(AppendError::NotStored("it has no data to store".to_owned()));
    };
    let (bytes, max) = (bytes + data.len(), shared.max_message());
    if bytes > max {
        return Err(AppendError::TooLarge { bytes, max });
    }
    let Ok(_permit) = shared.appends.try_acquire() else {
        let text = "too many events wait for NATS to acknowledge them; try again later";
        return Err(AppendError::NotStored(text.to_owned()));
    };
    let subject = format!("{}{}", shared.prefix, message.feed);
    let answer = link.ask(subject.clone(), headers, data).await;
    let answer = answer.map_err(|failure| explain(&subject, &failure))?;
    let ack: Ack = serde_json::from_slice(&answer.payload).map_err(|_| {
        AppendError::Unknown(format!(
            "somebody who is not JetStream answered on `{subject}`"
        ))
    })?;
    acknowledged(shared, &subject, ack, bytes, max)
}

fn acknowledged(
    shared: &Shared,
    subject: &str,
    ack: Ack,
    bytes: usize,
    max: usize,
) -> Result<Appended, AppendError> {
    match ack.error {
        Some(error) if error.err_code == MESSAGE_TOO_LARGE => {
            Err(AppendError::TooLarge { bytes, max })
        }
        Some(error) => Err(AppendError::NotStored(format!(
            "JetStream refused it: {} (error {})",
            error.description, error.err_code
        ))),
        None if *ack.stream != *shared.api.stream => Err(AppendError::NotStored(format!(
            "the stream `{}` takes in `{subject}`, not `{}`",
            ack.stream.escape_debug(),
            shared.api.stream
        ))),
        None if ack.seq == 0 => Err(AppendError::Unknown(
            "JetStream acknowledged it without a sequence".to_owned(),
        )),
        None => Ok(Appended {
            sequence: ack.seq,
            repeated: ack.duplicate,
        }),
    }
}

fn explain(subject: &str, failure: &Failure) -> AppendError {
    let text = failure.to_string();
    match failure {
        Failure::NotConnected(_) | Failure::Invalid(_) | Failure::Refused(_) => {
            AppendError::NotStored(text)
        }
        Failure::NoResponders => AppendError::NotStored(format!(
            "no stream takes in `{subject}`, or it has no leader"
        )),
        Failure::Deaf(_) | Failure::TimedOut(_) | Failure::Cut => AppendError::Unknown(text),
    }
}

/// The lower-case hexadecimal form of the first 16 bytes of the digest: as good as all 32 against chance, and half
/// as much to store with each event.
fn message_id(feed: &str, key: &str) -> String {
    let digest = digest(feed, key);
    digest[..16].iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
