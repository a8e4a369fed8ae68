//! The log on NATS: reachable, JetStream on, and a stream that fits.

use super::Finding;
use crate::config::Settings;
use crate::log::JetStreamLog;

pub(super) async fn look(settings: &Settings) -> Finding {
    let (nats, stream) = (settings.nats.shown_servers(), &settings.nats.stream);
    let log = JetStreamLog::new(settings.nats.clone(), settings.limits.max_event_bytes);
    let looked = match &log {
        Ok(log) => log.look().await,
        Err(error) => Err(error.clone()),
    };
    match looked {
        Err(error) => Finding::fail(format!("NATS: {error}"), ""),
        Ok(None) => {
            let replicas = match settings.nats.replicas {
                1 => String::new(),
                // Who may not ask for the servers of the cluster can't know how many there are.
                more => format!(", which takes {more} NATS servers (--nats-replicas)"),
            };
            Finding::ok(format!(
                "NATS: {nats} is reached; there is no stream `{stream}` yet, and the server creates it{replicas}"
            ))
        }
        Ok(Some(bounds)) => Finding::ok(format!(
            "NATS: {nats} is reached, and the stream `{stream}` fits; its last sequence is {}",
            bounds.last.sequence()
        )),
    }
}
