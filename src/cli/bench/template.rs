//! URLs and bodies with places to fill in, so that other servers can be driven too.

use crate::http::in_url;
use anyhow::{Context, bail, ensure};
use http::Uri;
use std::net::{SocketAddr, ToSocketAddrs};

/// A URL in which `{feed}` stands for a feed or pattern and `{query}` for several, as `feed=P1&feed=P2`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UrlTemplate {
    /// The server.
    pub(super) address: SocketAddr,
    /// As the `Host` header names it.
    pub(super) authority: String,
    path: String,
}

impl UrlTemplate {
    /// Reads a template, and looks its host up.
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        let rest = text.strip_prefix("http://").with_context(|| {
            format!("`{text}` does not begin with http://, and bench speaks no TLS")
        })?;
        let (authority, path) = match rest.find(['/', '?']) {
            Some(end) => rest.split_at(end),
            None => (rest, "/"),
        };
        let uri: Uri = format!("http://{authority}/")
            .parse()
            .with_context(|| format!("`{authority}` in `{text}` is no host"))?;
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(80);
        let mut found = (host, port)
            .to_socket_addrs()
            .with_context(|| format!("`{host}` in `{text}` was not found"))?;
        let address = found.next().context("a name without an address")?;
        ensure!(
            !path.contains(|c: char| c.is_whitespace() || c.is_control()),
            "`{text}` has white space in it"
        );
        Ok(Self {
            address,
            authority: authority.to_owned(),
            path: match path.starts_with('?') {
                true => format!("/{path}"),
                false => path.to_owned(),
            },
        })
    }

    /// The one of a place below it.
    pub(super) fn below(self, place: &str) -> Self {
        let path = format!("{}{place}", self.path.trim_end_matches('/'));
        Self { path, ..self }
    }

    /// Whether what is sent there stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        self.address.ip().is_loopback()
    }

    /// Whether it makes a difference which feed is asked for.
    pub(super) fn names_feeds(&self) -> bool {
        self.path.contains("{feed}") || self.path.contains("{query}")
    }

    /// The target of a request about these feeds or patterns.
    pub(super) fn target<'a>(&self, feeds: impl Iterator<Item = &'a str> + Clone) -> String {
        let first = feeds.clone().next().unwrap_or_default();
        let first = in_url(first).to_string();
        let query = feeds.map(|feed| format!("feed={}", in_url(feed)));
        let query = query.collect::<Vec<_>>().join("&");
        self.path
            .replace("{feed}", &first)
            .replace("{query}", &query)
    }
}

/// A body in which `{data}` stands for the payload and `{feed}` for the feed.
#[derive(Clone, Debug)]
pub(super) struct BodyTemplate(String);

impl BodyTemplate {
    pub(super) fn parse(text: &str) -> anyhow::Result<Self> {
        ensure!(
            text.contains("{data}"),
            "the body `{text}` has no place for the payload: `{{data}}`"
        );
        Ok(Self(text.to_owned()))
    }

    pub(super) fn fill(&self, feed: &str, data: &str) -> String {
        self.0.replace("{feed}", feed).replace("{data}", data)
    }
}

/// Header lines, each `Name: value`, as they are sent.
pub(super) fn headers(lines: &[String]) -> anyhow::Result<String> {
    let mut out = String::new();
    for line in lines {
        match line.split_once(':') {
            Some((name, value)) if !name.trim().is_empty() && !line.contains(['\r', '\n']) => {
                out.push_str(&format!("{}: {}\r\n", name.trim(), value.trim()));
            }
            _ => bail!("`{line}` is no header; write `Name: value`"),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_its_server_and_its_feeds() {
        let url = UrlTemplate::parse("http://127.0.0.1:8001/sub/{feed}?x=1").unwrap();
        assert_eq!(url.address, "127.0.0.1:8001".parse().unwrap());
        assert_eq!(url.authority, "127.0.0.1:8001");
        assert_eq!(url.target(["a.b"].into_iter()), "/sub/a.b?x=1");
        for (base, target) in [
            ("http://localhost", "/feeds/a"),
            ("http://localhost/", "/feeds/a"),
            ("http://localhost/b/", "/b/feeds/a"),
        ] {
            let url = UrlTemplate::parse(base).unwrap().below("/feeds/{feed}");
            assert_eq!(url.target(["a"].into_iter()), target, "{base}");
        }
        let url = UrlTemplate::parse("http://localhost?{query}").unwrap();
        assert_eq!(url.address.port(), 80);
        assert_eq!(
            url.target(["a.*", "b.>"].into_iter()),
            "/?feed=a.*&feed=b.%3E"
        );
    }

    #[test]
    fn what_is_no_url_is_refused_with_the_reason() {
        for text in [
            "https://localhost/",
            "localhost:80",
            "http://:/",
            "http://a b/",
        ] {
            assert!(UrlTemplate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn only_loopback_is_local() {
        let is_local = |text| UrlTemplate::parse(text).unwrap().is_local();
        assert!(is_local("http://127.3.2.1/"));
        assert!(is_local("http://[::1]:8080/"));
        assert!(!is_local("http://192.0.2.1/"));
    }

    #[test]
    fn braces_of_json_stay_as_they_are() {
        let body = BodyTemplate::parse(r#"{"to":"{feed}","data":"{data}"}"#).unwrap();
        assert_eq!(body.fill("a", "x"), r#"{"to":"a","data":"x"}"#);
        assert!(BodyTemplate::parse("{date}").is_err());
    }

    #[test]
    fn header_lines_are_checked() {
        let lines = ["Accept:text/event-stream".to_owned()];
        assert_eq!(headers(&lines).unwrap(), "Accept: text/event-stream\r\n");
        assert!(headers(&["nothing".to_owned()]).is_err());
        assert!(headers(&["a: b\r\nc: d".to_owned()]).is_err());
    }
}
