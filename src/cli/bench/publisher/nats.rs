//! Publishing over NATS, acknowledged by JetStream.

use super::{Due, Schedule, Tally};
use anyhow::Context as _;
use async_nats::jetstream::{self, Context};
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use std::time::Duration;

/// How long a connect may take.
const CONNECT: Duration = Duration::from_secs(5);

/// What a publish looks like.
#[derive(Clone, Debug)]
pub(in crate::cli::bench) struct NatsTarget {
    pub(in crate::cli::bench) server: String,
    /// The subject, in which `{feed}` stands for the feed.
    pub(in crate::cli::bench) subject: String,
    /// Events without an acknowledgement at a time, for each publisher.
    pub(in crate::cli::bench) in_flight: usize,
}

pub(super) async fn run(schedule: &Schedule, target: &NatsTarget) -> Tally {
    let publishers =
        (0..schedule.plan.publishers()).map(|publisher| publish(schedule, target, publisher));
    let mut sum = Tally::new();
    for tally in join_all(publishers).await {
        sum.add(tally);
    }
    sum
}

async fn publish(schedule: &Schedule, target: &NatsTarget, publisher: u32) -> Tally {
    let mut tally = Tally::new();
    let log = match connect(target).await {
        Ok(log) => log,
        Err(error) => {
            tally.fail(&error);
            return tally;
        }
    };
    let mut under_way = FuturesUnordered::new();
    for due in schedule.of(publisher) {
        let wait = schedule.clock.until(due.at);
        let mut sleep = std::pin::pin!(tokio::time::sleep(wait));
        let mut waits = !wait.is_zero();
        while waits || under_way.len() >= target.in_flight {
            tokio::select! {
                () = &mut sleep, if waits => waits = false,
                Some((due, began, result)) = under_way.next(), if !under_way.is_empty() => {
                    schedule.settle(&mut tally, &due, began, result);
                }
            }
        }
        if tally.gives_up() {
            break;
        }
        let feed = schedule.plan.feed_name(due.feed);
        let subject = target.subject.replace("{feed}", &feed);
        let began = schedule.clock.micros();
        let data = schedule.data(&due, began);
        match log.publish(subject, data.into()).await {
            Ok(ack) => under_way.push(async move { settled(due, began, ack.await) }),
            Err(error) => schedule.settle(&mut tally, &due, began, Err(error.into())),
        }
    }
    while let Some((due, began, result)) = under_way.next().await {
        schedule.settle(&mut tally, &due, began, result);
    }
    tally
}

fn settled(
    due: Due,
    began: u64,
    result: Result<jetstream::publish::PublishAck, jetstream::context::PublishError>,
) -> (Due, u64, anyhow::Result<()>) {
    let result = result
        .map(|_| ())
        .context("no stream acknowledged an event");
    (due, began, result)
}

async fn connect(target: &NatsTarget) -> anyhow::Result<Context> {
    let client = async_nats::ConnectOptions::new()
        .connection_timeout(CONNECT)
        .connect(&target.server)
        .await
        .with_context(|| format!("{} can't be reached", target.server))?;
    Ok(jetstream::new(client))
}
