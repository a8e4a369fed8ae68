//! The machine: open files, backlog, address and clock.

use super::Finding;
use crate::config::Settings;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// Files that a server has open beside its connections, generously.
const BESIDE: u64 = 256;
/// With fewer open files than this a server is not worth starting.
const FEWEST: u64 = 1024;
/// The backlog that a server asks for.
const BACKLOG: u32 = 4096;
/// How long another program may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn look(settings: &Settings) -> Vec<Finding> {
    let backlog = std::fs::read_to_string("/proc/sys/net/core/somaxconn");
    let backlog = backlog.ok().and_then(|text| text.trim().parse().ok());
    let mut all = Vec::new();
    if let Ok((_, hard)) = rlimit::Resource::NOFILE.get() {
        all.push(open_files(hard, settings.limits.max_connections as u64));
    }
    all.extend(backlog.map(self::backlog));
    all.push(address(settings.listen.listen));
    all.extend(clock().await);
    all
}

fn open_files(hard: u64, connections: u64) -> Finding {
    let wanted = connections.saturating_add(BESIDE);
    if hard >= wanted {
        return Finding::ok(format!(
            "open files: {hard} may be open, for {connections} connections (--max-connections)"
        ));
    }
    let what = format!(
        "open files: {hard} may be open, and --max-connections is {connections}: the last ones can't be accepted"
    );
    let change = format!(
        "raise the hard limit to {wanted} (`LimitNOFILE=` in a systemd unit, `--ulimit nofile=` of a container), or lower --max-connections"
    );
    match hard < FEWEST {
        true => Finding::fail(what, change),
        false => Finding::warn(what, change),
    }
}

fn backlog(most: u32) -> Finding {
    match most >= BACKLOG {
        true => Finding::ok(format!(
            "backlog: up to {most} connects wait until they are accepted"
        )),
        false => Finding::warn(
            format!(
                "backlog: {most} connects wait until they are accepted, and the server asks for {BACKLOG}: more at once take seconds"
            ),
            format!("sysctl -w net.core.somaxconn={BACKLOG}"),
        ),
    }
}

fn address(address: SocketAddr) -> Finding {
    match TcpListener::bind(address) {
        Ok(_) => Finding::ok(format!("address: {address} is free (--listen)")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::ok(format!(
            "address: somebody listens on {address} already (--listen): a server that runs?"
        )),
        Err(error) => Finding::fail(
            format!("address: {address} can't be listened on: {error}"),
            "choose another with --listen",
        ),
    }
}

/// Whether the clock is kept right; `None` where nobody on this machine can say so.
async fn clock() -> Option<Finding> {
    let asked = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .kill_on_drop(true)
        .output();
    let answer = timeout(PATIENCE, asked).await.ok()?.ok()?;
    match answer.stdout.trim_ascii() {
        b"yes" => Some(Finding::ok("clock: it is kept right")),
        b"no" => Some(Finding::warn(
            "clock: nothing keeps it right; tokens begin and end by it",
            "run systemd-timesyncd or chrony",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn fewer_open_files_than_connections_are_told_and_very_few_fail() {
        for (hard, verdict) in [
            (1_000_000, Verdict::Ok),
            (20_000, Verdict::Warn),
            (512, Verdict::Fail),
        ] {
            assert_eq!(open_files(hard, 110_000).verdict, verdict, "{hard}");
        }
        assert_eq!(open_files(u64::MAX, u64::MAX).verdict, Verdict::Ok);
    }

    #[test]
    fn a_short_backlog_is_told() {
        assert_eq!(backlog(4096).verdict, Verdict::Ok);
        let short = backlog(128);
        assert_eq!(short.verdict, Verdict::Warn);
        assert!(short.to_string().ends_with("net.core.somaxconn=4096"));
    }
}
