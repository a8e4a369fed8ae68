//! Certificates that change while the server runs.

use super::{metric, metric_is, tcp};
use crate::certificates::{Certificates, EC, Issued, RSA, text};
use crate::replica::{Replica, within};
use crate::sse::Stream;
use std::fs;
use std::os::unix::fs::symlink;
use tokio_rustls::rustls::pki_types::CertificateDer;

const FAILED: &str = "tidings_tls_reloads_failed_total";
const NOT_AFTER: &str = "tidings_tls_certificate_not_after_timestamp_seconds";

/// A server whose files are links through a link to a folder, as Kubernetes mounts them.
struct Mounted {
    replica: Replica,
    /// How often another folder was put in its place.
    count: usize,
}

impl Mounted {
    async fn start(first: impl FnOnce(&Certificates) -> Issued) -> Self {
        let certificates = Certificates::new();
        let issued = first(&certificates);
        let files = Issued {
            cert: certificates.path("tls.crt"),
            key: certificates.path("tls.key"),
        };
        symlink("..data/tls.crt", &files.cert).expect("a link");
        symlink("..data/tls.key", &files.key).expect("a link");
        let folder = certificates.path("..first");
        lay(&folder, &read(&issued));
        symlink("..first", certificates.path("..data")).expect("a link");
        let mut replica = Replica::start(&files.options()).await;
        replica.certificates = Some(certificates);
        Self { replica, count: 0 }
    }

    fn certificates(&self) -> &Certificates {
        self.replica.certificates.as_ref().expect("TLS")
    }

    /// Puts other files in place of those that are there, at once.
    fn swap(&mut self, files: &Contents) {
        self.count += 1;
        let name = format!("..{}", self.count);
        let all = self.certificates();
        lay(&all.path(&name), files);
        let link = all.path("..link");
        symlink(&name, &link).expect("a link");
        fs::rename(&link, all.path("..data")).expect("a rename");
    }

    /// The certificate that a new connection is shown.
    async fn shown(&self) -> CertificateDer<'static> {
        let connected = self.certificates().connect(tcp(&self.replica).await, &[]);
        let client = within("a handshake", connected).await.expect("TLS");
        let (_, session) = client.get_ref();
        let chain = session.peer_certificates().expect("certificates");
        chain[0].clone()
    }

    async fn shows(&self, issued: &Issued) {
        let wanted = issued.der();
        within("the certificate to be shown", async {
            while self.shown().await != wanted {}
        })
        .await;
    }
}

/// What is in a certificate's file, and in its key's.
type Contents = (Vec<u8>, Vec<u8>);

fn read(issued: &Issued) -> Contents {
    let read = |path| fs::read(path).expect("a file");
    (read(&issued.cert), read(&issued.key))
}

fn lay(folder: &std::path::Path, (cert, key): &Contents) {
    fs::create_dir(folder).expect("a folder");
    fs::write(folder.join("tls.crt"), cert).expect("a file");
    fs::write(folder.join("tls.key"), key).expect("a file");
}

#[tokio::test]
async fn new_connections_see_a_new_certificate_and_open_ones_go_on() {
    let mut server = Mounted::start(|all| all.issue("first", EC)).await;
    let http1 = server.replica.client().http1_only().build().unwrap();
    let http2 = server
        .replica
        .client()
        .http2_prior_knowledge()
        .build()
        .unwrap();
    let url = server.replica.url("/feeds/a");
    let (mut one, _) = Stream::begin(http1.get(&url)).await;
    let (mut two, _) = Stream::begin(http2.get(&url)).await;
    let second = server.certificates().issue("second", RSA);
    assert_ne!(server.shown().await, second.der());
    server.swap(&read(&second));
    server.shows(&second).await;
    server.replica.publish("a", "after").await;
    assert_eq!(one.data(1).await, ["after"]);
    assert_eq!(two.data(1).await, ["after"]);
    assert_eq!(metric(&server.replica, FAILED).await, 0);
}

#[tokio::test]
async fn what_does_not_fit_changes_nothing_and_is_counted() {
    let mut server = Mounted::start(|all| all.issue("first", EC)).await;
    let first = server.shown().await;
    let second = server.certificates().issue("second", EC);
    let (cert, key) = read(&second);
    let (_, other_key) = read(&server.certificates().issue("third", EC));
    let half = |bytes: &[u8]| bytes[..bytes.len() / 2].to_vec();
    let broken = [
        (cert.clone(), other_key),
        (half(&cert), key.clone()),
        (cert.clone(), half(&key)),
        (Vec::new(), key.clone()),
        (
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
            key.clone(),
        ),
        (key.clone(), cert.clone()),
    ];
    for (count, contents) in broken.iter().enumerate() {
        server.swap(contents);
        metric_is(&server.replica, FAILED, count as u64 + 1).await;
        assert_eq!(server.shown().await, first);
    }
    fs::remove_file(server.certificates().path("..data/tls.key")).expect("a file");
    let count = broken.len() as u64 + 1;
    metric_is(&server.replica, FAILED, count).await;
    assert_eq!(server.shown().await, first);
    server.swap(&(cert, key));
    server.shows(&second).await;
    assert_eq!(metric(&server.replica, FAILED).await, count);
}

#[tokio::test]
async fn a_metric_tells_when_the_certificate_runs_out() {
    let mut server = Mounted::start(|all| all.issue("first", EC)).await;
    let end = |issued: &Issued| {
        let arguments = [
            "x509",
            "-noout",
            "-enddate",
            "-dateopt",
            "iso_8601",
            "-in",
            text(&issued.cert),
        ];
        let printed = crate::certificates::openssl(&arguments);
        let printed = printed
            .trim_end()
            .strip_prefix("notAfter=")
            .expect("a date");
        let form =
            time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
        let date = time::PrimitiveDateTime::parse(printed, form).expect("a date");
        u64::try_from(date.assume_utc().unix_timestamp()).expect("after 1970")
    };
    let all = server.certificates();
    let first = Issued {
        cert: all.path("first.pem"),
        key: all.path("first.key"),
    };
    assert_eq!(metric(&server.replica, NOT_AFTER).await, end(&first));
    let other = all.issue_for(5, "other", EC);
    server.swap(&read(&other));
    server.shows(&other).await;
    metric_is(&server.replica, NOT_AFTER, end(&other)).await;
    assert_ne!(end(&first), end(&other));
}
