//! From credentials to who calls.

#[cfg(test)]
mod tests;

use super::Access;
use super::api_key::{self, ApiKeys, InvalidApiKey};
use super::caller::Caller;
use super::claims::Claims;
use super::grants::{ClaimGrant, Grants, Permissions};
use super::jwks::Jwks;
use super::jwt::{Expected, LEEWAY, MAX_TOKEN_BYTES, Verifier};
use super::key::{InvalidKey, Key};
use super::revoked::Revoked;
use super::secret::{Secret, UnreadableFile};
use super::unauthorized::{NotTaken, Unauthorized};
use crate::config::AuthSettings;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Tells who calls. Without any authentication in the settings, everyone is one of whom nothing is known.
#[derive(Clone, Debug)]
pub struct Authenticator {
    tokens: Option<Verifier>,
    api_keys: ApiKeys,
    /// Whether there is nothing to show: without any setting of authentication.
    is_open: bool,
    granted: Granted,
    /// What those may do who show nothing; `None` where they have to.
    nobody: Option<Caller>,
    revoked: Revoked,
}

/// What a valid token is granted beside what it says itself.
#[derive(Clone, Debug, Default)]
struct Granted {
    all: Permissions,
    by_claim: Vec<ClaimGrant>,
}

/// Settings of authentication that can't be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A file can't be read.
    #[error("--{option}: {error}")]
    File {
        /// The option.
        option: &'static str,
        /// Why.
        error: UnreadableFile,
    },
    /// A key is none.
    #[error("the key of --{option}{} can't be used: {error}", shown(path))]
    Key {
        /// The option.
        option: &'static str,
        /// The file.
        path: Option<PathBuf>,
        /// Why.
        error: InvalidKey,
    },
    /// A file of API keys that may be empty because it could not be written.
    #[error(
        "--api-keys-file: {} is empty, which may be a mistake; where there is to be no API key any more, leave a line in it that begins with `#`",
        .0.display()
    )]
    NoApiKeys(PathBuf),
    /// An API key is none.
    #[error("--{option}{}: {error}", shown(path))]
    ApiKey {
        /// The option.
        option: &'static str,
        /// The file.
        path: Option<PathBuf>,
        /// Why.
        error: InvalidApiKey,
    },
    /// The issuer's keys would come over an open line.
    #[error(
        "--jwks-url has to be https (http only on this machine): who can change what comes from there can sign tokens"
    )]
    JwksUrl,
    /// No HTTP client can be made.
    #[error("no HTTP client can be made for --jwks-url: {0}")]
    Client(String),
    /// An option that needs another.
    #[error(
        "--{option} is for tokens, and there is no key for them: give --jwt-key, --jwt-key-file or --jwks-url"
    )]
    NoKey {
        /// The option.
        option: &'static str,
    },
    /// An issuer that is not named.
    #[error("--jwks-url needs --jwt-issuer: what `iss` is in the tokens that its keys sign")]
    NoIssuer,
    /// An issuer's keys sign tokens for others too.
    #[error(
        "--jwks-url needs --jwt-audience: an issuer signs tokens for many services, and each would be taken (--jwt-audience '*' does take all)"
    )]
    NoAudience,
    /// An algorithm that nothing can be done with.
    #[error("--jwt-algorithms has {0}, which none of the keys is for")]
    NoKeyFor(String),
    /// A key that is left with no algorithm.
    #[error(
        "--jwt-algorithms leaves the key of --{option}{} with none of its own: {own}",
        shown(path)
    )]
    NoAlgorithm {
        /// The option.
        option: &'static str,
        /// The file.
        path: Option<PathBuf>,
        /// What it could be used with.
        own: String,
    },
    /// A cookie's name that is none.
    #[error("--jwt-cookie is no name of a cookie (RFC 6265, section 4.1.1)")]
    Cookie,
}

fn shown(path: &Option<PathBuf>) -> String {
    let path = path.as_ref().map(|path| format!(" {}", path.display()));
    path.unwrap_or_default()
}

/// What those may do who show nothing; `None` where they have to.
fn nobody(is_open: bool, access: &Access) -> Option<Caller> {
    match access {
        Access::Local | Access::Nothing if !is_open => None,
        access if is_open => Some(Caller::from(access)),
        access => Some(Caller::from(access).who_may_show_more()),
    }
}

impl Authenticator {
    /// One that does as the settings say. `access` is what those may do of whom nothing is known. With authentication
    /// [`Access::Local`] is none: who shows nothing is refused, on this machine too. Begins to fetch an issuer's keys,
    /// for which it needs a tokio runtime.
    pub fn new(settings: &AuthSettings, access: &Access) -> Result<Self, AuthError> {
        Self::with(settings, access, None, Revoked::default())
    }

    /// The same by other settings: what was revoked stays so, and the keys of an issuer who stays the same are kept.
    pub fn renewed(&self, settings: &AuthSettings, access: &Access) -> Result<Self, AuthError> {
        let jwks = self.tokens.as_ref().and_then(|tokens| tokens.jwks.clone());
        Self::with(settings, access, jwks, self.revoked.clone())
    }

    fn with(
        settings: &AuthSettings,
        access: &Access,
        jwks: Option<Arc<Jwks>>,
        revoked: Revoked,
    ) -> Result<Self, AuthError> {
        settings.check()?;
        let tokens = verifier(settings, jwks)?;
        let api_keys = api_keys(settings)?;
        // A file of API keys without any lets nobody in.
        let is_open = !settings.is_given();
        Ok(Self {
            tokens,
            api_keys,
            is_open,
            granted: Granted {
                all: Permissions {
                    subscribe: settings.grant_subscribe.clone(),
                    publish: settings.grant_publish.clone(),
                    request: settings.grant_request.clone(),
                    admin: false,
                },
                by_claim: settings.grant_claim.clone(),
            },
            nobody: nobody(is_open, access),
            revoked,
        })
    }

    /// The subjects whose credentials of before are taken no more.
    pub fn revoked(&self) -> &Revoked {
        &self.revoked
    }

    /// The same, with the same keys, where something else may be done by those of whom nothing is known.
    #[must_use]
    pub fn with_access(&self, access: &Access) -> Self {
        Self {
            nobody: nobody(self.is_open(), access),
            ..self.clone()
        }
    }

    /// The names of API keys that the next ones do not take any more, or for something else.
    pub fn gone(&self, next: &Self) -> Vec<String> {
        self.api_keys.gone(&next.api_keys)
    }

    /// Whether there is anything to show.
    pub fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether something may be done without showing anything.
    pub fn takes_nothing(&self) -> bool {
        self.nobody.is_some()
    }

    /// Who calls with this token or API key, or without any. Where there is no authentication, what is shown is left
    /// alone: it may be meant for a proxy in front.
    pub async fn caller(&self, shown: Option<&str>) -> Result<Caller, Unauthorized> {
        let Some(shown) = shown.filter(|_| !self.is_open()) else {
            return self
                .nobody
                .clone()
                .ok_or(Unauthorized::Missing(NotTaken::Nothing));
        };
        if shown.len() > MAX_TOKEN_BYTES {
            return Err(Unauthorized::TooLong(shown.len()));
        }
        if let Some(key) = self.api_keys.find(shown) {
            self.check_revoked(Some(key.name()), None)?;
            let backend = Caller::backend(key.name(), key.grants());
            return Ok(backend.beside(self.nobody.as_ref()));
        }
        match &self.tokens {
            Some(tokens) if shown.contains('.') => {
                let token = tokens.verify(shown).await?;
                let grants = self.granted.to(&token.claims)?;
                let subject = token.claims.text("sub").filter(|sub| !sub.is_empty());
                // It goes into headers of NATS messages, as the events' sender.
                if subject
                    .as_ref()
                    .is_some_and(|sub| sub.contains(char::is_control))
                {
                    return Err(Unauthorized::WrongKind("sub"));
                }
                self.check_revoked(subject.as_deref(), token.issued)?;
                let caller = Caller::known(subject.as_deref(), grants, Some(token.expires));
                Ok(caller.issued_at(token.issued).beside(self.nobody.as_ref()))
            }
            tokens => Err(Unauthorized::Unknown(tokens.is_some())),
        }
    }

    /// Whether a caller whom it has let in would be let in still: his token may have run out since, his subject have been
    /// revoked, or his API key be one that those do not take who let in `now`.
    pub fn still(&self, now: &Self, caller: &Caller) -> Result<(), Unauthorized> {
        let since = |end| SystemTime::now().duration_since(end).ok();
        if let Some(since) = caller.expires().and_then(since) {
            return Err(Unauthorized::Expired((since + LEEWAY).as_secs()));
        }
        self.check_revoked(caller.subject(), caller.issued())?;
        match caller.subject().filter(|_| caller.is_backend()) {
            Some(name) if !self.api_keys.stays(&now.api_keys, name) => {
                Err(Unauthorized::Unknown(now.tokens.is_some()))
            }
            _ => Ok(()),
        }
    }

    fn check_revoked(
        &self,
        subject: Option<&str>,
        issued: Option<SystemTime>,
    ) -> Result<(), Unauthorized> {
        let now = SystemTime::now();
        match subject.filter(|subject| self.revoked.holds(subject, issued, now)) {
            Some(subject) => Err(Unauthorized::Revoked(subject.into())),
            None => Ok(()),
        }
    }
}

impl Granted {
    /// What a token's own claim grants, and the settings.
    fn to(&self, claims: &Claims) -> Result<Grants, Unauthorized> {
        let mut grants = Grants::default();
        if let Some(own) = claims.get("tidings") {
            Permissions::of_claim(own)?.grant(claims, &mut grants);
            grants.overlooked.pass_over(Permissions::unknown(own));
        }
        self.all.grant(claims, &mut grants);
        let held = self
            .by_claim
            .iter()
            .filter(|one| claims.has(&one.claim, &one.value));
        held.for_each(|one| one.permissions.grant(claims, &mut grants));
        Ok(grants)
    }
}

/// What checks tokens. The keys of an issuer that are there already are kept where they are those that are meant.
fn verifier(
    settings: &AuthSettings,
    jwks: Option<Arc<Jwks>>,
) -> Result<Option<Verifier>, AuthError> {
    if !settings.has_tokens() {
        return Ok(None);
    }
    let keys = keys(settings)?;
    for algorithm in &settings.jwt_algorithms {
        let is_secret = format!("{algorithm:?}").starts_with("HS");
        let fetched = settings.jwks_url.is_some() && !is_secret;
        if !fetched && !keys.iter().any(|key| key.algorithms().contains(algorithm)) {
            return Err(AuthError::NoKeyFor(format!("{algorithm:?}")));
        }
    }
    let jwks = match &settings.jwks_url {
        Some(url) => {
            // Also where other algorithms are allowed now: the issuer may be away.
            match jwks.filter(|jwks| jwks.is_of(url)) {
                Some(jwks) => Some(jwks),
                None => Some(Jwks::new(url)?),
            }
        }
        None => None,
    };
    if let Some(jwks) = &jwks {
        jwks.start();
    }
    let expected = Expected {
        issuers: settings.jwt_issuer.clone(),
        audiences: settings.jwt_audience.clone(),
    };
    Ok(Some(Verifier {
        keys,
        jwks,
        allowed: settings.jwt_algorithms.clone(),
        expected,
    }))
}

/// The keys that are given, each with those of its algorithms that are allowed.
fn keys(settings: &AuthSettings) -> Result<Vec<Key>, AuthError> {
    let mut all = Vec::new();
    if let Some(text) = &settings.jwt_key {
        all.extend(keys_of(settings, "jwt-key", None, text)?);
    }
    for path in &settings.jwt_key_file {
        let text = read("jwt-key-file", path)?;
        all.extend(keys_of(
            settings,
            "jwt-key-file",
            Some(path.clone()),
            &text,
        )?);
    }
    Ok(all)
}

fn read(option: &'static str, path: &Path) -> Result<Secret, AuthError> {
    Secret::read(path).map_err(|error| AuthError::File { option, error })
}

fn keys_of(
    settings: &AuthSettings,
    option: &'static str,
    path: Option<PathBuf>,
    text: &Secret,
) -> Result<Vec<Key>, AuthError> {
    let allowed = &settings.jwt_algorithms;
    let mut keys = match Key::read(text) {
        Ok(keys) => keys,
        Err(error) => {
            return Err(AuthError::Key {
                option,
                path,
                error,
            });
        }
    };
    for key in keys.iter_mut().filter(|_| !allowed.is_empty()) {
        let own = format!("{:?}", key.algorithms());
        key.narrow(|one| allowed.contains(&one));
        if key.algorithms().is_empty() {
            return Err(AuthError::NoAlgorithm { option, path, own });
        }
    }
    Ok(keys)
}

fn api_keys(settings: &AuthSettings) -> Result<ApiKeys, AuthError> {
    let wrong = |option, path| {
        move |error| AuthError::ApiKey {
            option,
            path,
            error,
        }
    };
    let mut all = Vec::new();
    for text in &settings.api_key {
        let key = text.expose().trim().parse();
        all.push(key.map_err(wrong("api-key", None))?);
    }
    if let Some(path) = &settings.api_keys_file {
        let option = "api-keys-file";
        let text = Secret::read_text(path).map_err(|error| AuthError::File { option, error })?;
        let keys = api_key::read_lines(text.expose());
        let keys = keys.map_err(wrong("api-keys-file", Some(path.clone())))?;
        if keys.is_empty() && !text.expose().contains('#') {
            return Err(AuthError::NoApiKeys(path.clone()));
        }
        all.extend(keys);
    }
    ApiKeys::new(all).map_err(wrong("api-key", None))
}
