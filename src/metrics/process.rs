//! What the system tells of this process, under the names that Prometheus' own libraries use.

use super::gauge;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

/// What is looked up of the process when the metrics are asked for.
#[derive(Debug)]
pub(super) struct Process {
    /// In seconds since the Unix epoch.
    started: u64,
}

impl Process {
    /// Of a process that begins now.
    pub(super) fn new() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            started: since.unwrap_or_default().as_secs(),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let to = &mut to;
        gauge(
            to,
            "process_start_time_seconds",
            "When this server began, in seconds since the Unix epoch",
            self.started,
        )?;
        if let Some(bytes) = resident_bytes() {
            gauge(
                to,
                "process_resident_memory_bytes",
                "Resident memory of the process in bytes (Linux)",
                bytes,
            )?;
        }
        if let Some(files) = open_files() {
            gauge(
                to,
                "process_open_fds",
                "Open files of the process, sockets among them (Linux 6.2 and newer)",
                files,
            )?;
        }
        if let Ok((soft, _)) = rlimit::getrlimit(rlimit::Resource::NOFILE) {
            gauge(
                to,
                "process_max_fds",
                "How many files the process may have open",
                soft,
            )?;
        }
        Ok(())
    }
}

fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// The size that the folder of open files has tells how many there are, without reading a hundred thousand names.
/// Older kernels say 0.
fn open_files() -> Option<u64> {
    let folder = fs::metadata("/proc/self/fd").ok()?;
    Some(folder.len()).filter(|files| *files > 0)
}
