//! The log on disk.

use super::number::{bytes, whole};
use crate::log::DiskLimits;
use std::path::PathBuf;
use std::time::Duration;

/// Where the log is on disk, and how much it holds.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Log on disk")]
pub struct DataSettings {
    /// A folder for the log, of this process alone: events are on disk before a publish is answered. Without it
    /// and without NATS the log is in memory.
    #[arg(
        long = "data",
        env = "TIDINGS_DATA",
        value_name = "FOLDER",
        conflicts_with = "servers"
    )]
    pub folder: Option<PathBuf>,

    /// How long the log keeps an event, in hours; 0 for ever.
    #[arg(
        long = "data-max-age",
        env = "TIDINGS_DATA_MAX_AGE",
        value_name = "HOURS",
        default_value_t = 72,
        requires = "folder", value_parser = whole::<u32>(0..=u32::MAX.into(), "hours"))]
    pub data_max_age_hours: u32,

    /// How many bytes of events the log keeps; 0 for no limit. The file takes up to twice as much.
    #[arg(long = "data-max-bytes", env = "TIDINGS_DATA_MAX_BYTES", value_name = "BYTES", default_value_t = 10 << 30, requires = "folder", value_parser = bytes::<u64>(0))]
    pub data_max_bytes: u64,

    /// How many events the log keeps; 0 for no limit.
    #[arg(
        long = "data-max-events",
        env = "TIDINGS_DATA_MAX_EVENTS",
        value_name = "N",
        default_value_t = 0,
        requires = "folder", value_parser = whole::<u64>(0..=u64::MAX, ""))]
    pub data_max_events: u64,

    /// How much of the file is kept in memory, in bytes.
    #[arg(long = "data-cache-bytes", env = "TIDINGS_DATA_CACHE_BYTES", value_name = "BYTES", default_value_t = 64 << 20, requires = "folder", value_parser = bytes::<usize>(1 << 20))]
    pub data_cache_bytes: usize,
}

impl DataSettings {
    /// How much the log holds, and so many idempotency keys.
    pub fn limits(&self, keys: usize) -> DiskLimits {
        let or_none = |limit: u64| if limit == 0 { u64::MAX } else { limit };
        let hours = u64::from(self.data_max_age_hours);
        DiskLimits {
            age: (hours > 0).then(|| Duration::from_secs(hours * 3600)),
            bytes: or_none(self.data_max_bytes),
            events: or_none(self.data_max_events),
            keys,
            cache_bytes: self.data_cache_bytes,
        }
    }
}
