//! What the log counts.

use super::{counter, gauge};
use crate::log::{ConnectionState, DiskCounters, Held, JetStreamLog, Log, LogCounters};
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::sync::atomic::Ordering::Relaxed;

pub(super) fn log(to: &mut DescriptorEncoder<'_>, log: &Log) -> Result<(), fmt::Error> {
    if let Some(held) = log.held() {
        own(to, held)?;
    }
    if let Log::Disk(log) = log {
        disk(to, &log.counters())?;
    }
    if let Log::JetStream(log) = log {
        nats(to, log)?;
    }
    match log.counters() {
        Some(counters) => from_nats(to, &counters),
        None => Ok(()),
    }
}

fn nats(to: &mut DescriptorEncoder<'_>, log: &JetStreamLog) -> Result<(), fmt::Error> {
    gauge(
        to,
        "nats_connected",
        "1 where the connection to NATS stands, 0 where it does not",
        u64::from(log.state() == ConnectionState::Connected),
    )?;
    counter(
        to,
        "nats_connects",
        "Connections to NATS that came about, the first one among them",
        log.connects(),
    )
}

fn from_nats(to: &mut DescriptorEncoder<'_>, log: &LogCounters) -> Result<(), fmt::Error> {
    counter(
        to,
        "log_skipped_subjects",
        "Messages on a NATS subject that is no valid feed",
        log.skipped_subjects.load(Relaxed),
    )?;
    counter(
        to,
        "log_dropped_types",
        "Events from NATS whose type may not be sent",
        log.dropped_types.load(Relaxed),
    )?;
    counter(
        to,
        "log_dropped_keys",
        "Events from NATS whose key may not be sent",
        log.dropped_keys.load(Relaxed),
    )?;
    counter(
        to,
        "log_unreadable_messages",
        "NATS messages that had to be fetched singly, for their headers or subject",
        log.unreadable_messages.load(Relaxed),
    )
}

fn own(to: &mut DescriptorEncoder<'_>, held: Held) -> Result<(), fmt::Error> {
    gauge(
        to,
        "log_events",
        "Events in the log of this server",
        held.events,
    )?;
    gauge(to, "log_bytes", "Bytes of these events", held.bytes)?;
    gauge(
        to,
        "log_max_bytes",
        "How many bytes they may have (--memory-bytes, or --data-max-bytes)",
        held.max_bytes,
    )?;
    counter(
        to,
        "log_keys_forgotten",
        "Idempotency keys forgotten before their time because of --memory-keys",
        held.keys_forgotten,
    )
}

fn disk(to: &mut DescriptorEncoder<'_>, counters: &DiskCounters) -> Result<(), fmt::Error> {
    counter(
        to,
        "log_commits",
        "Transactions of the log on disk, each with one wait for the disk",
        counters.commits.get(),
    )?;
    counter(
        to,
        "log_failures",
        "Transactions and reads of the log on disk that failed",
        counters.failures.get(),
    )?;
    counter(
        to,
        "log_damaged_reads",
        "Reads of the log on disk that met damaged events",
        counters.damaged.get(),
    )
}
