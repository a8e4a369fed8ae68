//! Certificates of an authority of the tests' own, made with openssl, and those who trust it.

use crate::tools::program;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// A connection, within TLS or not.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// An authority, in a folder of its own with all that it has issued.
pub(crate) struct Certificates {
    folder: TempDir,
}

/// A certificate for this machine, and its key.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// What openssl is told of a key.
pub(crate) const EC: &str = "ec";
pub(crate) const RSA: &str = "rsa:2048";

impl Certificates {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let all = Self { folder };
        let key = all.path("ca.key");
        let more = ["-addext", "keyUsage=critical,keyCertSign"];
        request(EC, "the tests' authority", 9, &key, &all.ca(), &more);
        all
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The authority's own certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// A certificate for `localhost` and 127.0.0.1, with a key of this kind. Its name is the files' and its subject's.
    pub(crate) fn issue(&self, name: &str, kind: &str) -> Issued {
        self.issue_for(1, name, kind)
    }

    /// The same for so many days.
    pub(crate) fn issue_for(&self, days: u32, name: &str, kind: &str) -> Issued {
        let cert = self.path(&format!("{name}.pem"));
        let key = self.path(&format!("{name}.key"));
        let (ca, ca_key) = (self.ca(), self.path("ca.key"));
        let more = [
            ["-CA", text(&ca)],
            ["-CAkey", text(&ca_key)],
            ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            ["-addext", "basicConstraints=critical,CA:FALSE"],
        ];
        request(kind, name, days, &key, &cert, &more.concat());
        Issued { cert, key }
    }

    /// A handshake of one who trusts this authority alone, and speaks these protocols.
    pub(crate) async fn connect(
        &self,
        tcp: TcpStream,
        protocols: &[&str],
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_file(self.ca()).expect("a certificate");
        roots.add(ca).expect("an authority");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|one| one.as_bytes().into()).collect();
        let name = ServerName::try_from("localhost").expect("a name");
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
    }

    /// Those who ask over HTTP, and trust this authority alone.
    pub(crate) fn trusted_by(&self, client: reqwest::ClientBuilder) -> reqwest::ClientBuilder {
        let ca = std::fs::read(self.ca()).expect("a file");
        client.tls_certs_only([reqwest::Certificate::from_pem(&ca).expect("a certificate")])
    }
}

impl Issued {
    /// What tells a server of them.
    pub(crate) fn options(&self) -> [&str; 4] {
        ["--tls-cert", text(&self.cert), "--tls-key", text(&self.key)]
    }

    /// The certificate itself.
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(&self.cert).expect("a certificate")
    }
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

fn request(kind: &str, name: &str, days: u32, key: &Path, cert: &Path, more: &[&str]) {
    let (subject, days) = (format!("/CN={name}"), days.to_string());
    let mut arguments = vec!["req", "-x509", "-nodes", "-days", &days, "-newkey", kind];
    if kind == EC {
        arguments.extend(["-pkeyopt", "ec_paramgen_curve:P-256"]);
    }
    arguments.extend(["-subj", &subject, "-keyout", text(key), "-out", text(cert)]);
    openssl(&[&arguments, more].concat());
}

/// Runs openssl, and returns what it prints.
pub(crate) fn openssl(arguments: &[&str]) -> String {
    let mut openssl = Command::new(program("TIDINGS_TEST_OPENSSL"));
    let output = openssl.args(arguments).output().expect("openssl");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}
