//! A whole replica inside the test process.

use crate::certificates::{Certificates, Duplex, EC};
use clap::Parser;
use std::net::SocketAddr;
use std::time::Duration;
use tidings::app::{App, Reload, Shutdown};
use tidings::config::Settings;
use tidings::event::Position;
use tidings::hub::{Hub, Status};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a test waits for what has to come. Reaching it is a failure.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// A replica on a free loopback port, ended when dropped.
pub(crate) struct Replica {
    pub(crate) address: SocketAddr,
    /// Those that it is trusted by, where it speaks TLS.
    pub(crate) certificates: Option<Certificates>,
    /// Where operators have a listener of their own.
    pub(crate) admin: Option<SocketAddr>,
    hub: Hub,
    reload: Reload,
    stop: Option<oneshot::Sender<Shutdown>>,
    running: JoinHandle<()>,
}

#[derive(Parser)]
#[command(args_override_self = true)]
struct Arguments {
    #[command(flatten)]
    settings: Settings,
}

/// What was published, as the server tells it.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Receipt {
    pub(crate) id: String,
    pub(crate) feed: String,
}

pub(crate) fn settings(arguments: &[&str]) -> Settings {
    let defaults = [
        "test",
        "--listen",
        "127.0.0.1:0",
        "--retry",
        "50",
        // A NATS server takes no stream that may grow beyond its disk.
        "--nats-max-bytes",
        "100000000",
    ];
    let all = defaults.iter().chain(arguments);
    Arguments::try_parse_from(all).expect("settings").settings
}

impl Replica {
    /// A replica with these arguments beside a free port and a short `retry:`, once it is ready.
    pub(crate) async fn start(arguments: &[&str]) -> Self {
        let replica = Self::start_unready(arguments);
        replica.ready().await;
        replica
    }

    /// The same, with TLS.
    pub(crate) async fn with_tls(arguments: &[&str]) -> Self {
        let certificates = Certificates::new();
        let issued = certificates.issue("server", EC);
        let mut replica = Self::start_unready(&[&issued.options(), arguments].concat());
        replica.certificates = Some(certificates);
        replica.ready().await;
        replica
    }

    async fn ready(&self) {
        let mut status = self.hub.status();
        within(
            "the replica to be ready",
            status.wait_for(|status| *status == Status::Live),
        )
        .await
        .expect("the hub");
    }

    /// The same, not waiting for anything.
    pub(crate) fn start_unready(arguments: &[&str]) -> Self {
        let app = App::bind(&settings(arguments)).expect("a replica");
        let address = app.local_addr().expect("its address");
        let admin = app.admin_addr().expect("its address");
        let hub = app.hub().clone();
        let reload = app.reload();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(app.run(async { stopped.await.unwrap_or(Shutdown::AtOnce) }));
        Self {
            address,
            certificates: None,
            admin,
            hub,
            reload,
            stop: Some(stop),
            running,
        }
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    pub(crate) fn reload(&self) -> &Reload {
        &self.reload
    }

    pub(crate) fn url(&self, path: &str) -> String {
        match self.certificates {
            Some(_) => format!("https://{}{path}", self.address),
            None => format!("http://{}{path}", self.address),
        }
    }

    /// Those who ask it over HTTP.
    pub(crate) fn client(&self) -> reqwest::ClientBuilder {
        let client = reqwest::Client::builder();
        match &self.certificates {
            Some(certificates) => certificates.trusted_by(client),
            None => client,
        }
    }

    /// A connection to it, within TLS where it speaks that.
    pub(crate) async fn over(&self, tcp: TcpStream) -> Box<dyn Duplex> {
        match &self.certificates {
            Some(all) => Box::new(within("TLS", all.connect(tcp, &[])).await.expect("TLS")),
            None => Box::new(tcp),
        }
    }

    /// Publishes `data` and returns its id.
    pub(crate) async fn publish(&self, feed: &str, data: impl Into<reqwest::Body>) -> Position {
        let client = self.client().build().expect("a client");
        let request = client.post(self.url(&format!("/feeds/{feed}"))).body(data);
        let response = request.send().await.expect("an answer");
        assert_eq!(response.status(), 201);
        let receipt: Receipt =
            serde_json::from_slice(&response.bytes().await.expect("a body")).expect("a receipt");
        assert_eq!(receipt.feed, feed);
        receipt.id.parse().expect("an id")
    }

    /// Tells it to end, with its streams all at once, and waits until it has.
    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.ended().await;
    }

    /// Tells it to end, with its streams one after the other.
    pub(crate) fn drain(&mut self) {
        let stop = self.stop.take().expect("it was not told before");
        stop.send(Shutdown::Spread).expect("it runs");
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(mut self) {
        within("the replica to end", &mut self.running)
            .await
            .expect("no panic");
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// Waits for something that has to come.
pub(crate) async fn within<F: IntoFuture>(what: &str, future: F) -> F::Output {
    match tokio::time::timeout(DEADLINE, future.into_future()).await {
        Ok(output) => output,
        Err(_) => panic!("waited {DEADLINE:?} for {what}"),
    }
}
