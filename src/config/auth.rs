//! Whose credentials are taken, and what they grant.

use crate::auth::key::{ALGORITHMS, Algorithm};
use crate::auth::{AuthError, ClaimGrant, Secret, Template};
use reqwest::Url;
use std::fmt;
use std::path::PathBuf;

/// Tokens, API keys, and what each may do.
#[derive(Clone, Default, clap::Args)]
#[command(next_help_heading = "Authentication")]
pub struct AuthSettings {
    /// The key of tokens (JWT): a public key as PEM or JWK, or a secret of 32 bytes or more, as text or as `base64:…`.
    /// Better given as a variable or a file than on the command line.
    #[arg(
        long,
        env = "TIDINGS_JWT_KEY",
        value_name = "KEY",
        hide_env_values = true,
        allow_hyphen_values = true // PEM begins so
    )]
    pub jwt_key: Option<Secret>,

    /// A file with the same, or with several public keys; may be given several times (in the variable: separated by
    /// commas). A key with a `kid` is for the tokens that name it.
    #[arg(
        long,
        env = "TIDINGS_JWT_KEY_FILE",
        value_name = "FILE",
        value_delimiter = ','
    )]
    pub jwt_key_file: Vec<PathBuf>,

    /// Where the issuer of the tokens serves its public keys (JWKS), with https. Needs --jwt-issuer and --jwt-audience.
    #[arg(
        long,
        env = "TIDINGS_JWKS_URL",
        value_name = "URL",
        value_parser = parse_jwks_url,
        hide_env_values = true
    )]
    pub jwks_url: Option<Url>,

    /// The algorithms of tokens: HS256, HS384, HS512, RS256, RS384, RS512, PS256, ES256, ES384, EdDSA. Without it
    /// each key is used with those that it is for.
    #[arg(
        long,
        env = "TIDINGS_JWT_ALGORITHMS",
        value_name = "NAMES",
        value_delimiter = ',',
        value_parser = parse_algorithm
    )]
    pub jwt_algorithms: Vec<Algorithm>,

    /// Whose tokens are taken: what their claim `iss` is. May be given several times (in the variable: separated by
    /// commas).
    #[arg(
        long,
        env = "TIDINGS_JWT_ISSUER",
        value_name = "ISSUER",
        value_delimiter = ',',
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    pub jwt_issuer: Vec<String>,

    /// For whom tokens have to be meant: what their claim `aud` names, likewise; `*` for anyone. Without it, tokens
    /// that name someone are refused.
    #[arg(
        long,
        env = "TIDINGS_JWT_AUDIENCE",
        value_name = "AUDIENCE",
        value_delimiter = ',',
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    pub jwt_audience: Vec<String>,

    /// A cookie in which a token may come too.
    #[arg(long, env = "TIDINGS_JWT_COOKIE", value_name = "NAME")]
    pub jwt_cookie: Option<String>,

    /// Takes tokens as the parameter `access_token` of a URL too. URLs are written to logs on their way.
    #[arg(long, env = "TIDINGS_JWT_QUERY")]
    pub jwt_query: bool,

    /// What every valid token may read, as a pattern in which `{sub}` and `{claim:NAME}` stand for claims; may be given
    /// several times (in the variable: separated by commas).
    #[arg(
        long,
        env = "TIDINGS_GRANT_SUBSCRIBE",
        value_name = "PATTERN",
        value_delimiter = ','
    )]
    pub grant_subscribe: Vec<Template>,

    /// What every valid token may publish to, likewise.
    #[arg(
        long,
        env = "TIDINGS_GRANT_PUBLISH",
        value_name = "PATTERN",
        value_delimiter = ','
    )]
    pub grant_publish: Vec<Template>,

    /// What every valid token may request, likewise.
    #[arg(
        long,
        env = "TIDINGS_GRANT_REQUEST",
        value_name = "PATTERN",
        value_delimiter = ','
    )]
    pub grant_request: Vec<Template>,

    /// What those may do whose token has a claim with a value, as in
    /// `role=admin:subscribe=orders.>;publish=orders.*,chat.>;admin`; may be given several times (in the variable:
    /// one a line).
    #[arg(
        long,
        env = "TIDINGS_GRANT_CLAIM",
        value_name = "CLAIM=VALUE:PERMISSIONS",
        value_delimiter = '\n'
    )]
    pub grant_claim: Vec<ClaimGrant>,

    /// A backend's key by its hash, and what it may do, as `tidings token --api-key NAME` prints it; may be given several
    /// times (in the variable: one a line).
    #[arg(
        long,
        env = "TIDINGS_API_KEY",
        value_name = "NAME:HASH:PERMISSIONS",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    pub api_key: Vec<Secret>,

    /// A file of these, one a line; lines that begin with `#` are comments.
    #[arg(long, env = "TIDINGS_API_KEYS_FILE", value_name = "FILE")]
    pub api_keys_file: Option<PathBuf>,
}

impl AuthSettings {
    /// Whether tokens are taken.
    pub fn has_tokens(&self) -> bool {
        self.jwt_key.is_some() || !self.jwt_key_file.is_empty() || self.jwks_url.is_some()
    }

    /// Whether credentials of any kind are taken.
    pub fn is_given(&self) -> bool {
        self.has_tokens() || !self.api_key.is_empty() || self.api_keys_file.is_some()
    }

    /// Refuses what contradicts itself.
    pub(crate) fn check(&self) -> Result<(), AuthError> {
        let for_tokens = [
            ("jwt-algorithms", !self.jwt_algorithms.is_empty()),
            ("jwt-issuer", !self.jwt_issuer.is_empty()),
            ("jwt-audience", !self.jwt_audience.is_empty()),
            ("jwt-cookie", self.jwt_cookie.is_some()),
            ("jwt-query", self.jwt_query),
            ("grant-subscribe", !self.grant_subscribe.is_empty()),
            ("grant-publish", !self.grant_publish.is_empty()),
            ("grant-request", !self.grant_request.is_empty()),
            ("grant-claim", !self.grant_claim.is_empty()),
        ];
        let given = for_tokens.into_iter().find(|(_, is_given)| *is_given);
        if let Some((option, _)) = given.filter(|_| !self.has_tokens()) {
            return Err(AuthError::NoKey { option });
        }
        if self.jwks_url.is_some() {
            match (self.jwt_issuer.is_empty(), self.jwt_audience.is_empty()) {
                (true, _) => return Err(AuthError::NoIssuer),
                (_, true) => return Err(AuthError::NoAudience),
                _ => {}
            }
        }
        match &self.jwt_cookie {
            Some(name) if !is_cookie_name(name) => Err(AuthError::Cookie),
            _ => Ok(()),
        }
    }
}

/// A token of HTTP (RFC 9110, section 5.6.2).
fn is_cookie_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(allowed)
}

fn parse_jwks_url(text: &str) -> Result<Url, String> {
    let is_web = |url: &Url| matches!(url.scheme(), "https" | "http");
    let url = Url::parse(text).ok().filter(is_web);
    url.ok_or_else(|| {
        "it begins with https://, as in https://id.example.com/.well-known/jwks.json".to_owned()
    })
}

fn parse_algorithm(text: &str) -> Result<Algorithm, String> {
    let all = ALGORITHMS.iter().copied();
    let named = all.clone().find(|one| format!("{one:?}") == text.trim());
    named.ok_or_else(|| {
        let names: Vec<String> = all.map(|one| format!("{one:?}")).collect();
        format!("there are {}", names.join(", "))
    })
}

/// Without what stands in a URL before its host.
impl fmt::Debug for AuthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.jwks_url.as_ref();
        let url = url.map(|url| super::shown_url(url.as_str()));
        f.debug_struct("AuthSettings")
            .field("jwt_key", &self.jwt_key)
            .field("jwt_key_file", &self.jwt_key_file)
            .field("jwks_url", &url)
            .field("jwt_algorithms", &self.jwt_algorithms)
            .field("jwt_issuer", &self.jwt_issuer)
            .field("jwt_audience", &self.jwt_audience)
            .field("jwt_cookie", &self.jwt_cookie)
            .field("jwt_query", &self.jwt_query)
            .field("grant_subscribe", &self.grant_subscribe)
            .field("grant_publish", &self.grant_publish)
            .field("grant_request", &self.grant_request)
            .field("grant_claim", &self.grant_claim)
            .field("api_key", &self.api_key)
            .field("api_keys_file", &self.api_keys_file)
            .finish()
    }
}
