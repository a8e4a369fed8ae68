//! What Linux tells about a process, and the limit of open files.

use anyhow::{Context, ensure};
use std::fs;
use std::time::Duration;

/// The unit of times in `/proc/<pid>/stat`: fixed for user space (`man 5 proc`, `USER_HZ`).
const TICK: Duration = Duration::from_millis(10);
/// Files open beside those that a run needs for its connections.
const SPARE_FILES: u64 = 64;

/// The processes of a server, measured together.
#[derive(Clone, Debug, Default)]
pub(super) struct Processes(Vec<u32>);

impl Processes {
    pub(super) fn new(pids: &[u32]) -> anyhow::Result<Option<Self>> {
        let processes = Self(pids.to_vec());
        if pids.is_empty() {
            return Ok(None);
        }
        processes.resident_kib()?;
        Ok(Some(processes))
    }

    /// This process.
    pub(super) fn this() -> Self {
        Self(vec![std::process::id()])
    }

    /// The processor time they have used, the system's on their behalf included.
    pub(super) fn cpu(&self) -> anyhow::Result<Duration> {
        let ticks = self.0.iter().map(|pid| {
            let stat = read(*pid, "stat")?;
            cpu_ticks(&stat).with_context(|| format!("/proc/{pid}/stat is not as expected"))
        });
        let ticks = ticks.sum::<anyhow::Result<u32>>()?;
        Ok(TICK * ticks)
    }

    /// Their resident memory in KiB.
    pub(super) fn resident_kib(&self) -> anyhow::Result<u64> {
        let sizes = self.0.iter().map(|pid| {
            let status = read(*pid, "status")?;
            resident_kib(&status).with_context(|| format!("/proc/{pid}/status names no VmRSS"))
        });
        sizes.sum()
    }
}

fn read(pid: u32, file: &str) -> anyhow::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/{file}"))
        .with_context(|| format!("process {pid} can't be measured; is it running?"))
}

/// `utime` and `stime`, the 14th and 15th fields. The second, a name in parentheses, may hold anything.
fn cpu_ticks(stat: &str) -> Option<u32> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_ascii_whitespace().skip(11);
    let mut time = || times.next()?.parse::<u32>().ok();
    Some(time()? + time()?)
}

fn resident_kib(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Raises the limit of open files so that there can be so many connections.
pub(in crate::cli) fn make_room_for(connections: u64) -> anyhow::Result<()> {
    let needed = connections + SPARE_FILES;
    let (_, hard) = rlimit::getrlimit(rlimit::Resource::NOFILE)?;
    let raised = rlimit::increase_nofile_limit(hard)?;
    ensure!(
        raised >= needed,
        "{connections} connections need {needed} open files, and this process may have {raised}: \
         raise the hard limit, as root with `ulimit -Hn {needed}`, `LimitNOFILE=` in a systemd unit or \
         `--ulimit nofile={needed}` for a container (the server needs as many)"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_and_spaces_does_not_shift_the_times() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 120 34 0 0 20 0";
        assert_eq!(cpu_ticks(stat), Some(154));
    }

    #[test]
    fn this_process_can_be_measured() {
        let this = Processes::this();
        assert!(this.resident_kib().unwrap() > 100);
        this.cpu().unwrap();
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error_at_the_start() {
        assert!(Processes::new(&[u32::MAX]).is_err());
    }
}
