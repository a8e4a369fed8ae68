//! Programs that the tests run beside ours, and deadlines for what is awaited of them.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::time::Duration;

/// Far beyond what anything here takes on a busy machine of two cores.
const DEADLINE: Duration = Duration::from_secs(120);

/// Awaits `future`; where it does not come about, fails with what was awaited and what was got so far.
///
/// # Panics
/// When the deadline has passed.
pub(crate) async fn within<T>(
    awaited: &str,
    future: impl Future<Output = T>,
    so_far: impl FnOnce() -> String,
) -> T {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("no {awaited} within {DEADLINE:?}; {}", so_far()),
    }
}

/// A loopback address that nobody else takes, even while nobody listens on it: for a server that will be started
/// again where it was. Other listeners and all outgoing connections are on 127.0.0.1.
pub(crate) fn address_of_its_own() -> SocketAddr {
    let [a, b, c] = std::array::from_fn(|_| fastrand::u8(1..=254));
    let free = TcpListener::bind((Ipv4Addr::new(127, a, b, c), 0)).expect("a free port");
    free.local_addr().expect("its address")
}

/// A path that `tests/run` has put into this variable, for this run or an earlier one.
///
/// # Panics
/// Where there is none: a test that needs a program is never skipped for want of it.
pub(crate) fn program(variable: &str) -> OsString {
    std::env::var_os(variable)
        .or_else(|| kept(variable))
        .unwrap_or_else(|| panic!("{variable} is not set; tests/run finds or installs it"))
}

fn kept(variable: &str) -> Option<OsString> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(".cache/tests.env");
    let text = std::fs::read_to_string(file).ok()?;
    text.lines()
        .filter_map(|line| line.split_once('='))
        .find(|&(name, _)| name == variable)
        .map(|(_, value)| value.into())
}
