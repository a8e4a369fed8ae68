//! What a request's URL says: the parameters of its query, and the name in its path.

use super::Service;
use super::credentials::ACCESS_TOKEN;
use super::problem::Problem;
use crate::auth::NotTaken;
use axum::extract::{FromRequestParts, Path, Query};
use http::Uri;
use http::request::Parts;
use percent_encoding::percent_decode_str;

/// The query's parameters, in order.
pub(super) struct Params(pub(super) Vec<(String, String)>);

/// Without a token, where the URL may have one: it is no parameter of any route.
impl FromRequestParts<Service> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        let mut params = Self::read(&parts.uri)?;
        if service.credentials.in_query_of(&parts.method) {
            params.0.retain(|(name, _)| name != ACCESS_TOKEN);
        }
        Ok(params)
    }
}

impl Params {
    pub(super) fn read(uri: &Uri) -> Result<Self, Problem> {
        check_encoding("query", uri.query().unwrap_or_default())?;
        match Query::try_from_uri(uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(Problem::bad_request(format!(
                "the query can't be read: {error}"
            ))),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let named = self.0.iter().find(|(one, _)| one == name);
        named.map(|(_, value)| value.as_str())
    }

    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.0.iter().filter(move |(one, _)| one == name);
        named.map(|(_, value)| value.as_str())
    }

    /// What is on with `1`, and off with `0` or where it is not named.
    pub(super) fn switch(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("0") => Ok(false),
            Some("1") => Ok(true),
            Some(_) => Err(Problem::bad_request(format!("`{name}` is 1 or 0"))),
        }
    }

    /// Refuses a name that is none of these: one that is misspelt would be missed silently. `_` is let pass,
    /// which libraries add to get past caches.
    pub(super) fn check(&self, known: &[&str]) -> Result<(), Problem> {
        let is_known = |name: &str| name == "_" || known.contains(&name);
        match self.0.iter().find(|(name, _)| !is_known(name)) {
            Some((name, _)) => Err(unknown(name, known)),
            None => self.check_once(),
        }
    }

    /// Refuses what is there twice. Where all names are known that is found after a few.
    fn check_once(&self) -> Result<(), Problem> {
        let mut names = self.0.iter().map(|(name, _)| name).enumerate();
        let twice = names.find(|(at, name)| {
            let mut earlier = self.0[..*at].iter().map(|(name, _)| name);
            *name != "feed" && earlier.any(|one| one == *name)
        });
        match twice {
            None => Ok(()),
            Some((_, name)) => Err(Problem::bad_request(format!(
                "`{name}` is there twice; only `feed` may be"
            ))),
        }
    }
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    if name == ACCESS_TOKEN {
        return Problem::bad_request(NotTaken::Url.to_string());
    }
    let name = name.escape_debug();
    Problem::bad_request(match known {
        [] => format!(
            "`{name}` is no parameter: there are none here; what a publish says of its event is in headers, and what a WebSocket subscribes to is in its messages"
        ),
        known => {
            let known = known.join("`, `");
            format!("`{name}` is no parameter; there are `{known}`")
        }
    })
}

/// The feed or pattern that the path names.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        check_encoding("path", parts.uri.path())?;
        match Path::from_request_parts(parts, state).await {
            Ok(Path(name)) => Ok(Self(name)),
            Err(error) => Err(Problem::bad_request(format!(
                "the path can't be read: {error}"
            ))),
        }
    }
}

/// Refuses what decoders differ about: a `%` without two hexadecimal digits (RFC 3986, section 2.1), and
/// bytes that are not UTF-8.
fn check_encoding(part: &str, text: &str) -> Result<(), Problem> {
    for after in text.split('%').skip(1) {
        let digits = after.as_bytes().get(..2);
        if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
            return Err(Problem::bad_request(format!(
                "the {part} has a `%` without two hexadecimal digits after it; a `%` of its own is written as `%25`"
            )));
        }
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(_) => Ok(()),
        Err(_) => Err(Problem::bad_request(format!(
            "the {part} is not UTF-8 once it is decoded"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::in_url;
    use super::*;
    use proptest::prelude::*;

    fn read(query: &str) -> Option<Vec<(String, String)>> {
        let uri = Uri::builder().path_and_query(format!("/feeds?{query}"));
        Params::read(&uri.build().ok()?).ok().map(|params| params.0)
    }

    proptest! {
        #[test]
        fn parameters_are_read_as_they_were_written(
            pairs in prop::collection::vec(("\\PC{1,5}", "\\PC{0,8}"), 1..5),
        ) {
            let query: Vec<_> = pairs
                .iter()
                .map(|(name, value)| format!("{}={}", in_url(name), in_url(value)))
                .collect();
            prop_assert_eq!(read(&query.join("&")), Some(pairs));
        }

        #[test]
        fn a_query_is_refused_or_every_decoder_would_read_it_alike(
            query in "([a-f0-9=&+;]|%[0-9a-fA-F]{2}|%|[!-~&&[^#]]){0,30}",
        ) {
            let Some(pairs) = read(&query) else {
                return Ok(());
            };
            let strict = |text: &str| {
                let spaced = text.replace('+', " ");
                percent_decode_str(&spaced).decode_utf8().map(|text| text.into_owned()).ok()
            };
            let parts = query.split('&').filter(|part| !part.is_empty());
            let expected: Option<Vec<_>> = parts
                .map(|part| part.split_once('=').unwrap_or((part, "")))
                .map(|(name, value)| Some((strict(name)?, strict(value)?)))
                .collect();
            prop_assert_eq!(Some(pairs), expected);
        }
    }
}
