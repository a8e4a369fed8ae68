//! The server that `publish` and `tail` talk to, and what all commands show to one and trust it by.

use super::printable;
use crate::auth::Secret;
use crate::config::shown_url;
use crate::pem;
use anyhow::{Context, ensure};
use clap::Args;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, ClientBuilder, Response, Url};
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

    #[command(flatten)]
    credential: Credential,

    #[command(flatten)]
    trust: Trust,

    /// Whether it is reached directly, whatever proxy is set.
    #[arg(skip)]
    is_direct: bool,
}

/// What is shown to a server. The ids are unlike those of a server's own settings, beside which `doctor` has them.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Credential {
    /// A token or an API key to show. Better given as a file than on the command line.
    #[arg(
        long = "token",
        env = "TIDINGS_TOKEN",
        value_name = "TOKEN",
        hide_env_values = true
    )]
    shown_token: Option<Secret>,

    /// A file with the same.
    #[arg(
        long = "token-file",
        env = "TIDINGS_TOKEN_FILE",
        value_name = "FILE",
        conflicts_with = "shown_token"
    )]
    shown_token_file: Option<PathBuf>,
}

/// Whose word is taken for who a server is.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct Trust {
    /// The authorities whose certificates are taken from a server with https, as PEM; in place of those that the system
    /// trusts.
    #[arg(long = "ca", env = "TIDINGS_CA", value_name = "FILE")]
    pub(super) trusted: Option<PathBuf>,
}

impl Credential {
    /// The header that shows it; `None` where there is nothing to show. Reads the file, which may be a pipe: once.
    pub(super) fn header(&self) -> anyhow::Result<Option<HeaderValue>> {
        let (token, option) = match (&self.shown_token, &self.shown_token_file) {
            (Some(token), _) => (token.clone(), "--token".to_owned()),
            (None, Some(path)) => {
                let option = format!("--token-file: `{}`", path.display());
                (Secret::read_once(path)?, option)
            }
            (None, None) => return Ok(None),
        };
        let token = token.expose().trim();
        ensure!(
            !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()),
            "{option} is neither a token nor an API key, which are one word of ASCII characters"
        );
        let mut value = HeaderValue::try_from(format!("Bearer {token}"))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl Remote {
    /// What is to be shown in place of what a client was made with: what the file has by now. `None` where there is none, or it
    /// can't be read again.
    pub(super) fn renewed(&self) -> anyhow::Result<Option<HeaderValue>> {
        let file = self.credential.shown_token_file.as_deref();
        match file.is_some_and(|path| !path.exists() || path.is_file()) {
            true => self.credential.header(),
            false => Ok(None),
        }
    }

    /// The server at `url`.
    pub(super) fn new(url: Url, credential: Credential, trust: Trust) -> Self {
        Self {
            url,
            credential,
            trust,
            is_direct: false,
        }
    }

    /// The same, whatever proxy is set.
    pub(super) fn direct(self) -> Self {
        Self {
            is_direct: true,
            ..self
        }
    }

    /// A client for it. A server on this machine is reached directly, whatever proxy is set.
    pub(super) fn client(&self) -> anyhow::Result<Client> {
        let headers = self.credential.header()?;
        let headers = HeaderMap::from_iter(headers.map(|value| (AUTHORIZATION, value)));
        let mut client = self.builder(headers.clone())?.build();
        if client.is_err() && self.url.scheme() == "http" {
            // A system without any authorities, as in an image of nothing but this program: none is asked here.
            client = self.builder(headers)?.tls_certs_only([]).build();
        }
        client.context("no HTTP client can be made")
    }

    fn builder(&self, headers: HeaderMap) -> anyhow::Result<ClientBuilder> {
        let mut client = Client::builder()
            .default_headers(headers)
            .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .tcp_keepalive(KEEPALIVE);
        if self.is_direct || self.is_local() {
            client = client.no_proxy();
        }
        if let Some(ca) = &self.trust.trusted {
            let wrong = || format!("--ca: `{}`", ca.display());
            client = client.tls_certs_only(authorities(ca).with_context(wrong)?);
        }
        Ok(client)
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
        let cause = innermost(error);
        let is = |named: &str| self.url.scheme() == "https" && cause.contains(named);
        if is("InvalidContentType") {
            // What rustls makes of an answer in plain HTTP.
            "the server does not speak TLS there; its address begins with http://".to_owned()
        } else if is("UnknownIssuer") {
            "the server's certificate is of an authority that is not trusted here; --ca names one"
                .to_owned()
        } else if is("BadSignature") {
            let (trusted, change) = match self.trust.trusted.is_some() {
                true => ("that is trusted here (--ca)", ""),
                false => ("that this system trusts", "; --ca names another"),
            };
            format!(
                "the server's certificate is not issued by the authority {trusted}, though that one is called as its issuer is{change}"
            )
        } else if is("CaUsedAsEndEntity") {
            "the server's certificate is one of an authority (basicConstraints CA:TRUE); it needs one with CA:FALSE"
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

/// Whether a request failed by what does not pass by itself: the certificate, or that there is no TLS.
pub(super) fn is_for_good(error: &reqwest::Error) -> bool {
    let cause = innermost(error);
    cause.contains("invalid peer certificate") || cause.contains("InvalidContentType")
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn authorities(file: &Path) -> anyhow::Result<Vec<Certificate>> {
    let found = pem::certificates(&std::fs::read(file)?).map_err(anyhow::Error::msg)?;
    let found = found.iter().map(|one| Certificate::from_der(one));
    Ok(found.collect::<Result<_, _>>()?)
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
    crate::wire::detail(&body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feeds(url: &str, feed: Option<&str>) -> String {
        let url = parse_url(url).unwrap();
        Remote::new(url, Credential::default(), Trust::default())
            .feeds(feed)
            .into()
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
