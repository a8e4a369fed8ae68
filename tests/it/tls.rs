//! The listener speaks TLS, and nothing else.

mod changes;
mod clients;
mod handshakes;
mod settings;

use crate::call::get;
use crate::replica::{Replica, within};
use tokio::net::TcpStream;

/// A connection with nothing said yet.
async fn tcp(replica: &Replica) -> TcpStream {
    let connected = within("a connection", TcpStream::connect(replica.address)).await;
    connected.expect("a connection")
}

/// What a metric is at.
async fn metric(replica: &Replica, name: &str) -> u64 {
    let text = get(replica, "/metrics", &[]).await.text;
    let value = |line: &str| {
        let value = line.strip_prefix(name)?.strip_prefix(' ')?;
        value.parse().ok()
    };
    // A label that was never counted is not there.
    text.lines().find_map(value).unwrap_or_default()
}

async fn metric_is(replica: &Replica, name: &str, wanted: u64) {
    within(name, async {
        while metric(replica, name).await != wanted {}
    })
    .await;
}

/// As it is counted why a handshake came to nothing.
fn failed(reason: &str) -> String {
    format!("tidings_tls_handshakes_failed_total{{reason=\"{reason}\"}}")
}
