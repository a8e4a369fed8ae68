//! TLS.

use std::path::PathBuf;

/// What the server proves with who it is.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
pub struct TlsSettings {
    /// The server's certificate and those that lead to its authority, in this order, as PEM. With it the server speaks
    /// TLS and nothing else, HTTP/1.1 and HTTP/2. It is read again when it changes.
    #[arg(long, env = "TIDINGS_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// The private key of the certificate, as PEM: PKCS#8, PKCS#1 or SEC1, without a passphrase. Likewise.
    #[arg(long, env = "TIDINGS_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}
