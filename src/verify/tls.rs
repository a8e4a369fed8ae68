//! TLS towards the replicas: for readers, whose sockets are their own, and for publishers alike.

use super::plan::Plan;
use crate::auth::secret::read_file;
use crate::pem;
use reqwest::Url;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What is spoken with replicas whose URL begins with https. An error says what is wrong with the plan's authorities.
pub(super) fn config(plan: &Plan) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder
        .with_root_certificates(roots(plan)?)
        .with_no_client_auth())
}

fn roots(plan: &Plan) -> Result<RootCertStore, String> {
    if let Some(path) = &plan.ca {
        let wrong = |reason: String| format!("`{}`: {reason}", path.display());
        let file = read_file(path).map_err(|error| wrong(error.reason))?;
        return pem::authorities(&file).map_err(wrong);
    }
    let mut roots = RootCertStore::empty();
    if plan.replicas.iter().any(is_https) {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(roots)
}

fn is_https(url: &Url) -> bool {
    url.scheme() == "https"
}
