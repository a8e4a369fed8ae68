//! Publishing over NATS, acknowledged by JetStream.

use super::{Failure, Receipt, Sending};
use crate::verify::plan::NatsTarget;
use async_nats::jetstream::{self, Context};
use async_nats::{ConnectOptions, HeaderMap};
use std::time::Duration;

/// How long a connect may take, and an acknowledgement.
const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(5);

pub(super) struct Door {
    target: NatsTarget,
    log: Option<Context>,
}

impl Door {
    pub(super) fn new(target: NatsTarget) -> Self {
        Self { target, log: None }
    }

    /// A connection on which anything went wrong is left behind: what it has not sent yet might be sent after
    /// the stream has forgotten the first attempt.
    pub(super) async fn publish(&mut self, sending: &Sending) -> Result<Receipt, Failure> {
        let log = match self.log.take() {
            Some(log) => log,
            None => connect(&self.target).await?,
        };
        let receipt = send(&log, &self.target, sending).await?;
        self.log = Some(log);
        Ok(receipt)
    }
}

async fn connect(target: &NatsTarget) -> Result<Context, Failure> {
    let client = ConnectOptions::new()
        .name("tidings verify")
        .connection_timeout(CONNECT)
        .max_reconnects(1)
        .connect(&target.server)
        .await
        .map_err(again)?;
    Ok(jetstream::new(client))
}

async fn send(log: &Context, target: &NatsTarget, sending: &Sending) -> Result<Receipt, Failure> {
    let subject = target.subject.replace("{feed}", &sending.feed);
    let mut headers = HeaderMap::new();
    headers.insert("Nats-Msg-Id", sending.key.as_str());
    let sent = async {
        let data = sending.data.clone().into();
        let ack = log.publish_with_headers(subject, headers, data).await;
        ack.map_err(again)?.await.map_err(again)
    };
    match tokio::time::timeout(ANSWER, sent).await {
        Ok(ack) => Ok(Receipt {
            sequence: ack?.sequence,
            id: None,
        }),
        Err(_) => Err(Failure::Again("no stream acknowledged an event".to_owned())),
    }
}

fn again(error: impl std::fmt::Display) -> Failure {
    Failure::Again(format!("NATS: {error}"))
}
