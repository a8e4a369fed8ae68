//! A proxy with its file of deploy/, and three replicas behind it.

use super::{read, rewritten};
use crate::certificates::{Certificates, EC, text};
use crate::proxy::{Kind, NGINX_PROCESS, Proxy, nginx_folders};
use crate::replica::within;
use crate::tools::address_of_its_own;
use reqwest::{Client, RequestBuilder};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// As many as a machine for tests has files for.
const MAXCONN: (&str, &str) = ("maxconn 100000", "maxconn 400");

/// Where a proxy listens, with TLS and without.
#[derive(Clone, Copy)]
pub(super) struct Doors {
    pub(super) tls: SocketAddr,
    pub(super) clear: SocketAddr,
}

impl Doors {
    pub(super) fn of_their_own() -> Self {
        Self {
            tls: address_of_its_own(),
            clear: address_of_its_own(),
        }
    }
}

/// A proxy, and those who trust its certificate. Dropping it ends it.
pub(super) struct Front {
    pub(super) doors: Doors,
    pub(super) certificates: Certificates,
    client: Client,
    _proxy: Proxy,
}

impl Front {
    pub(super) async fn start(kind: Kind, doors: Doors, replicas: [SocketAddr; 3]) -> Self {
        let certificates = Certificates::new();
        let config = config(kind, doors, &certificates);
        let proxy = Proxy::with(kind, doors.tls, &behind(&config, replicas)).await;
        let client = certificates
            .trusted_by(Client::builder().no_proxy())
            .resolve("localhost", doors.tls)
            .build()
            .expect("a client");
        Self {
            doors,
            certificates,
            client,
            _proxy: proxy,
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.doors.tls.port())
    }

    pub(super) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(self.url(path))
    }

    /// Publishes, and returns the id. Where it is not known to be stored, as from a proxy whose replica has just gone, it
    /// is repeated under the same key.
    pub(super) async fn publish(&self, feed: &str, data: &str) -> String {
        let url = self.url(&format!("/feeds/{feed}"));
        let published = async {
            loop {
                let request = self.client.post(&url).header("Idempotency-Key", data);
                let response = request.body(data.to_owned()).send().await;
                let response = response.expect("an answer");
                let status = response.status();
                let body = response.text().await.expect("a body");
                match status.as_u16() {
                    200 | 201 => return body,
                    502 | 503 => {}
                    _ => panic!("{status}: {body}"),
                }
            }
        };
        let body = within("a publish", published).await;
        let receipt: crate::replica::Receipt = serde_json::from_str(&body).expect("a receipt");
        receipt.id
    }

    /// A connection for HTTP/1.1, as browsers make for a WebSocket.
    pub(super) async fn connect(&self) -> TlsStream<TcpStream> {
        let tcp = TcpStream::connect(self.doors.tls).await;
        let tcp = tcp.expect("a connection");
        let tls = self.certificates.connect(tcp, &["http/1.1"]);
        within("TLS", tls).await.expect("TLS")
    }
}

/// These replicas in the place of those that the file names.
pub(super) fn behind(config: &str, replicas: [SocketAddr; 3]) -> String {
    let named = ["tidings-1:8080", "tidings-2:8080", "tidings-3:8080"];
    let found = replicas.map(|address| address.to_string());
    let words = [0, 1, 2].map(|n| (named[n], found[n].as_str()));
    rewritten(config, &words)
}

fn config(kind: Kind, doors: Doors, certificates: &Certificates) -> String {
    let issued = certificates.issue("server", EC);
    let (cert, key) = (text(&issued.cert), text(&issued.key));
    let (tls, clear) = (doors.tls.to_string(), doors.clear.to_string());
    match kind {
        Kind::Nginx(_) => {
            let folders = format!("http {{\n{}", nginx_folders());
            let config = rewritten(
                &read("nginx.conf"),
                &[
                    ("http {\n", &folders),
                    ("listen 80;", &format!("listen {clear};")),
                    ("listen 443 ", &format!("listen {tls} ")),
                    ("events.example.com", "localhost"),
                    ("/etc/tls/tls.crt", cert),
                    ("/etc/tls/tls.key", key),
                ],
            );
            // Whoever is root in a namespace has no other users there.
            format!("user root;\n{NGINX_PROCESS}{config}")
        }
        Kind::Haproxy(_) => {
            let both = certificates.path("both.pem");
            let parts = [cert, key].map(|path| std::fs::read(path).expect("a file"));
            std::fs::write(&both, parts.concat()).expect("a file");
            rewritten(
                &read("haproxy.cfg"),
                &[
                    MAXCONN,
                    ("bind :80\n", &format!("bind {clear}\n")),
                    ("bind :443 ", &format!("bind {tls} ")),
                    ("/etc/tls/tls.pem", text(&both)),
                ],
            )
        }
        // By itself it would ask an authority, and take port 80 to show that it may.
        Kind::Caddy(_) => {
            let (ip, port) = (doors.tls.ip(), doors.tls.port());
            let site = format!("localhost:{port} {{\n\tbind {ip}\n\ttls {cert} {key}\n");
            let more = "\n\tadmin off\n\tauto_https disable_redirects\n";
            rewritten(
                &read("Caddyfile"),
                &[
                    ("\n\tgrace_period", &format!("{more}\tgrace_period")),
                    ("events.example.com {\n", &site),
                ],
            )
        }
    }
}

/// deploy/haproxy.cfg without TLS, for those who speak none.
pub(super) async fn haproxy_in_the_clear(replicas: [SocketAddr; 3]) -> Proxy {
    let doors = Doors::of_their_own();
    let config = rewritten(
        &read("haproxy.cfg"),
        &[
            MAXCONN,
            ("bind :80\n", &format!("bind {}\n", doors.clear)),
            (
                "bind :443 ssl crt /etc/tls/tls.pem alpn h2,http/1.1",
                &format!("bind {}", doors.tls),
            ),
        ],
    );
    let config = behind(&config, replicas);
    Proxy::with(crate::proxy::HAPROXY, doors.tls, &config).await
}
