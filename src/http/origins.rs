//! Which pages may use the server: those of the origins that were allowed, and its own.

use super::problem::Problem;
use super::refusal::Refusal;
use http::header::{self, HeaderName};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, StatusCode, Uri};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Origins whose pages are allowed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Origins {
    /// Without any, all may read with what they show themselves, and none with a cookie.
    listed: Vec<String>,
    /// Whether a cookie authenticates.
    cookies: bool,
}

impl Origins {
    pub(crate) fn new(listed: Vec<String>, cookies: bool) -> Self {
        Self { listed, cookies }
    }

    /// Whether an origin is one of those that are listed.
    pub(super) fn lists(&self, origin: &str) -> bool {
        self.listed.iter().any(|one| one == origin)
    }

    /// Adds what tells browsers that a page of this origin may read the answer (Fetch, section 3.3).
    pub(super) fn allow(&self, headers: &mut HeaderMap, origin: Option<HeaderValue>) -> bool {
        if self.listed.is_empty() {
            let all = HeaderValue::from_static("*");
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, all);
            return true;
        }
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(origin) = origin.filter(|one| one.to_str().is_ok_and(|one| self.lists(one)))
        else {
            return false;
        };
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.cookies {
            let allowed = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, allowed);
        }
        true
    }

    /// Refuses what a page of elsewhere has had a browser send along with a cookie. What is `safe` only reads, and no page
    /// can read the answer that may not; all else has to say where it comes from.
    pub(super) fn check_cookie(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        safe: bool,
    ) -> Result<(), Problem> {
        if headers.contains_key(header::ORIGIN) {
            return match self.allows(uri, headers) {
                true => Ok(()),
                false => Err(refused("its `Origin` is neither this server nor allowed")),
            };
        }
        let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
        match site {
            Some(b"same-origin") => Ok(()),
            None | Some(b"none") if safe => Ok(()),
            Some(_) if safe => Err(refused("it comes from another site")),
            _ => Err(refused("it bears no `Origin`")),
        }
    }

    /// Refuses a WebSocket of a page that may not use this server, where that is said: CORS does not hold for them.
    pub(super) fn check_socket(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let from_page = headers.contains_key(header::ORIGIN);
        match from_page && !self.listed.is_empty() && !self.allows(uri, headers) {
            true => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "pages of this `Origin` may not use this server: those that may are named with --allow-origin",
            )
            .refusing(Refusal::origin("websocket"))),
            false => Ok(()),
        }
    }

    /// Whether the one origin that is named is listed, or is the server itself, by whatever name it was called.
    fn allows(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let origin = origins.next().and_then(|origin| origin.to_str().ok());
        let Some(origin) = origin.filter(|_| origins.next().is_none()) else {
            return false;
        };
        let host = headers.get(header::HOST);
        let host = host.and_then(|host| host.to_str().ok());
        let called = uri.authority().map(Authority::as_str).or(host);
        let authority = origin
            .strip_prefix("https://")
            .or_else(|| origin.strip_prefix("http://"));
        let is_own = match (authority, called) {
            (Some(authority), Some(called)) => authority.eq_ignore_ascii_case(called),
            _ => false,
        };
        is_own || self.lists(origin)
    }
}

fn refused(reason: &str) -> Problem {
    let detail = format!(
        "a cookie does not authenticate this request: {reason}; pages that may use this server are named with --allow-origin"
    );
    Problem::new(StatusCode::FORBIDDEN, detail).refusing(Refusal::origin("cookie"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LISTED: &str = "https://app.example";

    fn check(headers: &[(&'static str, &'static str)], safe: bool) -> bool {
        let origins = Origins::new(vec![LISTED.to_owned()], true);
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let uri = Uri::from_static("/feeds/a");
        origins.check_cookie(&uri, &map, safe).is_ok()
    }

    #[test]
    fn a_cookie_counts_for_pages_of_the_server_and_for_those_that_are_allowed() {
        let host = ("host", "tidings.example:8443");
        for origin in [LISTED, "https://tidings.example:8443"] {
            assert!(check(&[host, ("origin", origin)], false), "{origin}");
        }
        for origin in [
            "https://evil.example",
            "https://tidings.example",
            "https://app.example.evil",
            "null",
            "",
        ] {
            for safe in [true, false] {
                assert!(!check(&[host, ("origin", origin)], safe), "{origin}");
            }
        }
        assert!(!check(
            &[host, ("origin", LISTED), ("origin", LISTED)],
            false
        ));
    }

    #[test]
    fn without_an_origin_a_cookie_may_read_and_not_change() {
        assert!(check(&[], true) && !check(&[], false));
        for (site, reads, changes) in [
            ("same-origin", true, true),
            ("none", true, false),
            ("same-site", false, false),
            ("cross-site", false, false),
        ] {
            let header = [("sec-fetch-site", site)];
            assert_eq!(
                (check(&header, true), check(&header, false)),
                (reads, changes)
            );
        }
    }

    proptest! {
        #[test]
        fn a_cookie_counts_just_where_the_origin_is_listed_or_the_host_itself(
            origin in prop_oneof![
                "(https?://)?(app\\.example|tidings\\.example|TIDINGS\\.example)(:8443|:443|\\.|/|@evil\\.example|\\.evil\\.example)?",
                "[ -~]{0,30}",
            ],
            safe in any::<bool>(),
        ) {
            const HOST: &str = "tidings.example:8443";
            let authority = origin.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
            let expected = origin == LISTED || authority.is_some_and(|(_, one)| one.eq_ignore_ascii_case(HOST));
            let origins = Origins::new(vec![LISTED.to_owned()], true);
            let mut map = HeaderMap::from_iter([(header::HOST, HeaderValue::from_static(HOST))]);
            map.insert(header::ORIGIN, HeaderValue::from_str(&origin).unwrap());
            let uri = Uri::from_static("/feeds/a");
            prop_assert_eq!(origins.check_cookie(&uri, &map, safe).is_ok(), expected);
            prop_assert_eq!(origins.check_socket(&uri, &map).is_ok(), expected);
        }
    }
}
