//! What replicas tell each other: over a subject of their own, which no stream has to have.

use super::Shared;
use crate::log::Told;
use async_nats::Subscriber;
use bytes::Bytes;
use futures::StreamExt;
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout_at};

/// How long replicas may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) async fn tell(shared: &Shared, text: Bytes) -> Result<Vec<Bytes>, String> {
    let link = &shared.api.link;
    link.answering()?;
    let (inbox, mut answers) = link.inbox().await.map_err(|failure| failure.to_string())?;
    let client = link.client();
    let sent = client.publish_with_reply(subject(shared), inbox, text);
    sent.await.map_err(|error| error.to_string())?;
    let deadline = Instant::now() + PATIENCE;
    let mut all = Vec::new();
    while let Ok(Some(answer)) = timeout_at(deadline, answers.next()).await {
        // A server tells so that nobody listens.
        if answer.status.is_none() {
            all.push(answer.payload);
        }
    }
    match all.is_empty() {
        true => Err("no replica has answered over NATS; does it allow this server its subject `_TIDINGS.>`?".to_owned()),
        false => Ok(all),
    }
}

pub(super) async fn hear(shared: &Shared, answer: impl Fn(Told<'_>) -> Option<Bytes>) {
    let link = &shared.api.link;
    loop {
        let Ok(epoch) = link.connected().await else {
            continue; // it has waited
        };
        let client = link.client();
        match client.subscribe(subject(shared)).await {
            Ok(mut told) => tokio::select! {
                () = answer_all(shared, &mut told, &answer) => sleep(PAUSE).await,
                () = link.ended(epoch) => {}
            },
            Err(error) => {
                tracing::warn!(%error, "what other replicas say can't be heard");
                sleep(PAUSE).await;
            }
        }
    }
}

async fn answer_all(
    shared: &Shared,
    told: &mut Subscriber,
    answer: &impl Fn(Told<'_>) -> Option<Bytes>,
) {
    while let Some(message) = told.next().await {
        let answer = answer(Told(&message.payload));
        if let (Some(inbox), Some(answer)) = (message.reply, answer) {
            shared.api.link.say(inbox.to_string(), answer).await;
        }
    }
}

/// Where the replicas of a stream meet. What begins with `_` is never taken for an event.
fn subject(shared: &Shared) -> String {
    format!("_TIDINGS.{}.replicas", shared.api.stream)
}
