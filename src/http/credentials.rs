//! Who calls: the credentials that a request bears.

use super::origins::Origins;
use super::problem::Problem;
use super::{Params, Service};
use crate::auth::{
    Access, AuthError, Authenticator, Caller, NotTaken, Revoked, Secret, Unauthorized,
};
use crate::config::AuthSettings;
use axum::extract::FromRequestParts;
use http::header::{self, HeaderName};
use http::request::Parts;
use http::{HeaderMap, Method, Uri};

/// The parameter of a URL that may have a token (RFC 6750, section 2.3).
pub(super) const ACCESS_TOKEN: &str = "access_token";

/// Where many APIs have keys, and this one has none.
const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Where credentials may stand in a request, and who they show.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    authenticator: Authenticator,
    cookie: Option<String>,
    query: bool,
    origins: Origins,
}

/// Where in a request credentials were.
enum Place {
    Sent(Secret),
    /// Sent by a browser for whichever page.
    Cookie(Secret),
}

impl Credentials {
    /// Those that the settings name. `access` is what may be done without, and `allow_origin` names whose pages may use
    /// the server.
    pub(crate) fn new(
        settings: &AuthSettings,
        access: &Access,
        allow_origin: Vec<String>,
    ) -> Result<Self, AuthError> {
        let authenticator = Authenticator::new(settings, access)?;
        Ok(Self::with(authenticator, settings, allow_origin))
    }

    /// The same by other settings, with what was revoked until now.
    pub(crate) fn renewed(
        &self,
        settings: &AuthSettings,
        access: &Access,
        allow_origin: Vec<String>,
    ) -> Result<Self, AuthError> {
        let authenticator = self.authenticator.renewed(settings, access)?;
        Ok(Self::with(authenticator, settings, allow_origin))
    }

    fn with(
        authenticator: Authenticator,
        settings: &AuthSettings,
        allow_origin: Vec<String>,
    ) -> Self {
        let cookie = settings.jwt_cookie.clone();
        Self {
            authenticator,
            origins: Origins::new(allow_origin, cookie.is_some()),
            cookie,
            query: settings.jwt_query,
        }
    }

    /// The names of API keys that the next ones do not take any more, or for something else.
    pub(crate) fn gone(&self, next: &Self) -> Vec<String> {
        self.authenticator.gone(&next.authenticator)
    }

    /// The same on a listener where something else may be done without any.
    pub(crate) fn with_access(&self, access: &Access) -> Self {
        Self {
            authenticator: self.authenticator.with_access(access),
            ..self.clone()
        }
    }

    /// Whether any are taken at all.
    pub(crate) fn are_taken(&self) -> bool {
        !self.authenticator.is_open()
    }

    /// Whether something may be done without any.
    pub(super) fn takes_nothing(&self) -> bool {
        self.authenticator.takes_nothing()
    }

    /// Whether the URL of a request of this method may have one.
    pub(super) fn in_query_of(&self, method: &Method) -> bool {
        self.query && matches!(*method, Method::GET | Method::HEAD)
    }

    pub(super) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The subjects whose credentials of before are taken no more.
    pub(crate) fn revoked(&self) -> &Revoked {
        self.authenticator.revoked()
    }

    /// Who shows this, or nothing.
    pub(super) async fn caller(&self, shown: Option<&str>) -> Result<Caller, Unauthorized> {
        self.authenticator.caller(shown).await
    }

    /// Who sends a request that shows this, or nothing: then whatever it has in the place of credentials is told of where
    /// these are needed.
    pub(super) async fn sender(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        shown: Option<Secret>,
    ) -> Result<Caller, Unauthorized> {
        let shown = shown.as_ref().map(Secret::expose);
        match self.caller(shown).await {
            Ok(caller) if shown.is_none() => Ok(caller.having_shown(not_taken(uri, headers))),
            Err(Unauthorized::Missing(_)) => Err(Unauthorized::Missing(not_taken(uri, headers))),
            caller => caller,
        }
    }

    /// Whether a caller whom these have let in would be let in still, by those that hold `now`: to be asked once his
    /// connection can be found by whoever ends those of his subject.
    pub(super) fn still(&self, now: &Self, caller: &Caller) -> Result<(), Unauthorized> {
        self.authenticator.still(&now.authenticator, caller)
    }

    /// What a request shows. A cookie is taken where no page of elsewhere can have had it sent; for what is `safe` that
    /// takes less.
    pub(super) fn shown(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        method: &Method,
        safe: bool,
    ) -> Result<Option<Secret>, Problem> {
        if !self.are_taken() {
            return Ok(None);
        }
        match self.place(uri, headers, method)? {
            None => Ok(None),
            Some(Place::Sent(secret)) => Ok(Some(secret)),
            Some(Place::Cookie(secret)) => {
                self.origins.check_cookie(uri, headers, safe)?;
                Ok(Some(secret))
            }
        }
    }

    fn place(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        method: &Method,
    ) -> Result<Option<Place>, Problem> {
        if let Some(secret) = bearer(headers)? {
            return Ok(Some(Place::Sent(secret)));
        }
        if self.in_query_of(method)
            && let Some(secret) = in_query(uri)?
        {
            return Ok(Some(Place::Sent(secret)));
        }
        let cookie = self.cookie.as_ref().and_then(|name| cookie(headers, name));
        Ok(cookie.map(Place::Cookie))
    }
}

/// A token in the header `Authorization` (RFC 6750, section 2.1). Other schemes may be meant for a proxy.
fn bearer(headers: &HeaderMap) -> Result<Option<Secret>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Problem::bad_request(
            "a request has one `Authorization` header at most",
        ));
    }
    let text = value.to_str().map_err(|_| {
        Problem::bad_request("the header `Authorization` has other characters than ASCII has")
    })?;
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    let token = scheme.eq_ignore_ascii_case("bearer").then(|| token.trim());
    Ok(token.map(|token| Secret::from(token.to_owned())))
}

/// What a request without credentials has in their place.
fn not_taken(uri: &Uri, headers: &HeaderMap) -> NotTaken {
    let in_url = || Params::read(uri).is_ok_and(|params| params.get(ACCESS_TOKEN).is_some());
    if headers.contains_key(header::AUTHORIZATION) {
        NotTaken::Authorization
    } else if headers.contains_key(X_API_KEY) {
        NotTaken::XApiKey
    } else if in_url() {
        NotTaken::Url
    } else {
        NotTaken::Nothing
    }
}

/// A token in the URL's query (RFC 6750, section 2.3).
fn in_query(uri: &Uri) -> Result<Option<Secret>, Problem> {
    let params = Params::read(uri)?;
    let mut tokens = params.all(ACCESS_TOKEN);
    let token = tokens.next();
    match tokens.next() {
        Some(_) => Err(Problem::bad_request(
            "the query has `access_token` more than once",
        )),
        None => Ok(token.map(|token| Secret::from(token.to_owned()))),
    }
}

/// A token in a cookie (RFC 6265, section 4.2.1), the first of its name. One that is empty is none.
fn cookie(headers: &HeaderMap, name: &str) -> Option<Secret> {
    let fields = headers.get_all(header::COOKIE).iter();
    // Others may have any bytes in theirs.
    let mut pairs = fields
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b';'))
        .filter_map(|pair| std::str::from_utf8(pair).ok())
        .filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(one, value)| *one == name && !value.is_empty())?;
    let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    Some(Secret::from(unquoted.unwrap_or(value).to_owned()))
}

impl FromRequestParts<Service> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        let safe = parts.method.is_safe();
        let credentials = &service.credentials;
        let shown = credentials.shown(&parts.uri, &parts.headers, &parts.method, safe)?;
        let caller = credentials.sender(&parts.uri, &parts.headers, shown).await;
        caller.map_err(Problem::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in all {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn text(secret: Option<Secret>) -> Option<String> {
        secret.map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn a_bearer_token_is_taken_and_other_schemes_are_let_pass() {
        let of = |value| text(bearer(&headers(&[("authorization", value)])).unwrap());
        assert_eq!(of("Bearer a.b.c").as_deref(), Some("a.b.c"));
        assert_eq!(of("bEARER  a.b.c ").as_deref(), Some("a.b.c"));
        assert_eq!(of("Bearer").as_deref(), Some(""));
        assert_eq!(of("Basic dTpw"), None);
        assert_eq!(of("Bearers a"), None);
        let twice = headers(&[("authorization", "Bearer a"), ("authorization", "Basic b")]);
        assert_eq!(bearer(&twice).unwrap_err().status, 400);
    }

    #[test]
    fn a_cookie_is_taken_by_its_whole_name() {
        let of = |value| text(cookie(&headers(&[("cookie", value)]), "token"));
        assert_eq!(of("a=b; token=x.y=; c").as_deref(), Some("x.y="));
        assert_eq!(of("token=\"x\"").as_deref(), Some("x"));
        assert_eq!(of("token=; token=x; token=y").as_deref(), Some("x"));
        for none in ["xtoken=x", "token", "Token=x", ""] {
            assert_eq!(of(none), None, "{none}");
        }
        let others = HeaderValue::from_bytes(b"\xc3\xa9=x; token=y; \xff").unwrap();
        let map = HeaderMap::from_iter([(header::COOKIE, others)]);
        assert_eq!(text(cookie(&map, "token")).as_deref(), Some("y"));
    }

    #[test]
    fn a_query_has_one_token() {
        let of = |uri| in_query(&Uri::from_static(uri)).map(text);
        assert_eq!(
            of("/?a=b&access_token=x.y").unwrap().as_deref(),
            Some("x.y")
        );
        assert_eq!(of("/?a=b").unwrap(), None);
        assert_eq!(
            of("/?access_token=x&access_token=y").unwrap_err().status,
            400
        );
    }

    proptest! {
        #[test]
        fn a_cookie_is_the_first_of_its_name_that_has_a_value(
            pairs in prop::collection::vec(("token|id|tokens|Token", "[a-zA-Z0-9._=-]{0,6}"), 0..6),
            fields in 1usize..3,
        ) {
            let expected = pairs.iter().find(|(name, value)| name == "token" && !value.is_empty());
            let mut map = HeaderMap::new();
            for field in pairs.chunks(pairs.len().div_ceil(fields).max(1)) {
                let field: Vec<_> = field.iter().map(|(name, value)| format!("{name}={value}")).collect();
                map.append(header::COOKIE, HeaderValue::from_str(&field.join("; ")).unwrap());
            }
            prop_assert_eq!(text(cookie(&map, "token")), expected.map(|(_, value)| value.clone()));
        }

        #[test]
        fn whatever_bytes_come_what_is_taken_is_a_part_of_them(
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"Beartoken=; \"".to_vec())], 0..60),
            prefix in "(bearer |token=)?",
        ) {
            let bytes = [prefix.as_bytes(), &bytes].concat();
            let Ok(value) = HeaderValue::from_bytes(&bytes) else {
                return Ok(());
            };
            let map = HeaderMap::from_iter([(header::AUTHORIZATION, value.clone()), (header::COOKIE, value)]);
            let whole = String::from_utf8_lossy(&bytes);
            let from_header = bearer(&map).ok().flatten();
            for taken in [text(from_header), text(cookie(&map, "token"))].into_iter().flatten() {
                prop_assert!(whole.contains(&taken), "{}", taken);
            }
        }
    }
}
