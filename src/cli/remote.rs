//! The server that `publish` and `tail` talk to.

use super::printable;
use crate::auth::Secret;
use crate::config::shown_url;
use anyhow::{Context, ensure};
use clap::Args;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Response, Url};
use serde::Deserialize;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is silent before the system asks whether the other side is still there.
const KEEPALIVE: Duration = Duration::from_secs(20);
/// The most that is read of an answer which says what went wrong, in bytes.
const MAX_PROBLEM_BYTES: usize = 64 << 10;

/// Where the server is.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The server, and the path below which it is mounted if there is one.
    #[arg(
        long,
        env = "TIDINGS_URL",
        value_name = "URL",
        default_value = "http://127.0.0.1:8080",
        value_parser = parse_url
    )]
    url: Url,

    /// A token or an API key to show. Better given as a file than on the command line.
    #[arg(
        long,
        env = "TIDINGS_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    token: Option<Secret>,

    /// A file with the same.
    #[arg(
        long,
        env = "TIDINGS_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "token"
    )]
    token_file: Option<PathBuf>,

    /// The authorities whose certificates are taken from a server with https, as PEM; in place of those that the system
    /// trusts.
    #[arg(long, env = "TIDINGS_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
}

/// What is read of an RFC 9457 problem, or of what `/readyz` answers.
#[derive(Deserialize)]
struct Problem {
    #[serde(alias = "reason")]
    detail: String,
}

impl Remote {
    /// The server at `url`, with what is to be shown to it.
    pub(super) fn new(url: Url, token: Option<Secret>, token_file: Option<PathBuf>) -> Self {
        Self {
            url,
            token,
            token_file,
            ca: None,
        }
    }

    /// A client for it. A server on this machine is reached directly, whatever proxy is set.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let mut client = Client::builder()
            .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .tcp_keepalive(KEEPALIVE);
        if self.is_local() {
            client = client.no_proxy();
        }
        let token = match (&self.token, &self.token_file) {
            (None, Some(path)) => Some(Secret::read_once(path)?),
            (token, _) => token.clone(),
        };
        if let Some(token) = &token {
            client = client.default_headers(authorization(token)?);
        }
        if let Some(ca) = &self.ca {
            let wrong = || format!("--ca: `{}`", ca.display());
            client = client.tls_certs_only(authorities(ca).with_context(wrong)?);
        }
        client.build().context("no HTTP client can be made")
    }

    fn is_local(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    }

    /// The URL of all feeds, or of one.
    pub(super) fn feeds(&self, feed: Option<&str>) -> Url {
        self.below(["feeds"].into_iter().chain(feed))
    }

    /// The URL that tells whether it is ready.
    pub(super) fn readiness(&self) -> Url {
        self.below(["readyz"])
    }

    fn below<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        url
    }

    /// Why a request failed, by the innermost of its reasons, as in `Connection refused`.
    pub(super) fn cause(&self, error: &reqwest::Error) -> String {
        let mut cause: &dyn Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        let cause = cause.to_string();
        let is = |named: &str| self.url.scheme() == "https" && cause.contains(named);
        if is("InvalidContentType") {
            // What rustls makes of an answer in plain HTTP.
            "the server does not speak TLS there; its address begins with http://".to_owned()
        } else if is("UnknownIssuer") {
            "the server's certificate is of an authority that is not trusted here; --ca names one"
                .to_owned()
        } else {
            printable(&cause).into_owned()
        }
    }

    /// The server as it may be shown.
    pub(super) fn shown(&self) -> String {
        shown_url(self.url.as_str().trim_end_matches('/'))
    }
}

fn authorities(file: &Path) -> anyhow::Result<Vec<Certificate>> {
    let found = Certificate::from_pem_bundle(&std::fs::read(file)?)?;
    ensure!(!found.is_empty(), "it has no certificate in PEM form");
    Ok(found)
}

fn authorization(token: &Secret) -> anyhow::Result<HeaderMap> {
    let value = format!("Bearer {}", token.expose().trim());
    let mut value =
        HeaderValue::try_from(value).context("--token is neither a token nor an API key")?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(AUTHORIZATION, value)]))
}

/// A server's address, and the path below which it is mounted if there is one.
pub(super) fn parse_url(text: &str) -> Result<Url, String> {
    // `127.0.0.1:8080` is no URL, and `localhost:8080` is one of another kind.
    if !text.starts_with("http://") && !text.starts_with("https://") {
        let text = "it begins with http:// or https://, as in http://127.0.0.1:8080";
        return Err(text.to_owned());
    }
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    match url.query().is_none() && url.fragment().is_none() {
        true => Ok(url),
        false => Err("it is the server's address, without `?` or `#`".to_owned()),
    }
}

/// What a server answered that did not do what it was asked, on one line.
pub(super) async fn refusal(response: Response) -> String {
    let status = response.status();
    match detail(response).await {
        Some(detail) => format!("{status}: {}", printable(&detail)),
        None => status.to_string(),
    }
}

async fn detail(mut response: Response) -> Option<String> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await
        && body.len() + chunk.len() <= MAX_PROBLEM_BYTES
    {
        body.extend_from_slice(&chunk);
    }
    let problem: Problem = serde_json::from_slice(&body).ok()?;
    Some(problem.detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feeds(url: &str, feed: Option<&str>) -> String {
        let url = parse_url(url).unwrap();
        Remote::new(url, None, None).feeds(feed).into()
    }

    #[test]
    fn a_server_may_be_mounted_below_a_path() {
        for url in ["http://h:1", "http://h:1/"] {
            assert_eq!(feeds(url, None), "http://h:1/feeds");
        }
        for url in ["https://h/a/b", "https://h/a/b/"] {
            assert_eq!(feeds(url, Some("x.y")), "https://h/a/b/feeds/x.y");
        }
    }

    #[test]
    fn a_feed_is_one_segment_of_the_path_whatever_it_is_called() {
        assert_eq!(
            feeds("http://h", Some("a%2e?b#c.ü")),
            "http://h/feeds/a%252e%3Fb%23c.%C3%BC"
        );
    }

    #[test]
    fn what_is_no_server_address_is_refused() {
        for url in [
            "",
            "h:1",
            "127.0.0.1:8080",
            "ftp://h",
            "http://h/?a",
            "http://h/#a",
        ] {
            assert!(parse_url(url).is_err(), "{url}");
        }
    }
}
