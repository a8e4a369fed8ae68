//! Tokens: JSON Web Tokens (RFC 7519) signed as RFC 7515 has it, checked as RFC 8725 advises.

#[cfg(test)]
mod tests;

use super::claims::Claims;
use super::jwks::Jwks;
use super::key::read::base64url;
use super::key::{ALGORITHMS, Algorithm, Key};
use super::unauthorized::Unauthorized;
use serde_json::Value;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 8 << 10;
/// How far the clocks of issuer and server may be apart.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// How far ahead a time of a token may be, 100 years: what is later was not counted in seconds.
pub const MAX_AHEAD: Duration = Duration::from_secs(36_525 * 86_400);

/// Whose tokens are taken, and for whom they have to be meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// What `iss` may be; empty for anything.
    pub issuers: Vec<String>,
    /// What `aud` has to name one of. Empty where tokens must have none, since one that has it is meant for
    /// someone (RFC 7519, section 4.1.3). `*` takes all.
    pub audiences: Vec<String>,
}

/// Checks tokens.
#[derive(Clone, Debug)]
pub struct Verifier {
    /// The keys that were given.
    pub(super) keys: Vec<Key>,
    /// The keys of an issuer.
    pub(super) jwks: Option<Arc<Jwks>>,
    /// The algorithms that the keys may be used with; empty for all that they are for.
    pub(super) allowed: Vec<Algorithm>,
    pub(super) expected: Expected,
}

/// What a token has shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    /// Its claims.
    pub claims: Claims,
    /// Its `exp` and the leeway.
    pub expires: SystemTime,
    /// Its `iat`, where it has one.
    pub issued: Option<SystemTime>,
}

impl Verifier {
    /// The claims of a token, once its signature and its times are right, and it is meant for this service.
    pub async fn verify(&self, token: &str) -> Result<Shown, Unauthorized> {
        let token = Token::parse(token)?;
        if !self.allowed.is_empty() && !self.allowed.contains(&token.algorithm) {
            return Err(Unauthorized::Algorithm);
        }
        let claims = match (token.signed_by(&self.keys), &self.jwks) {
            (
                Err(Unauthorized::UnknownKey | Unauthorized::Algorithm | Unauthorized::Signature),
                Some(jwks),
            ) => {
                let keys = jwks.keys(token.kid.as_deref()).await?;
                token.signed_by(&keys)?
            }
            (claims, _) => claims?,
        };
        let now = SystemTime::now();
        let expires = self.expected.check(&claims, now)?;
        let issued = seconds(&claims, "iat", since_1970(now))?;
        let issued = issued.map(|seconds| UNIX_EPOCH + Duration::from_secs_f64(seconds));
        Ok(Shown {
            claims,
            expires,
            issued,
        })
    }
}

/// A token whose head has been read.
struct Token<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    /// What is signed.
    message: &'a str,
    payload: &'a str,
    signature: &'a str,
}

impl<'a> Token<'a> {
    fn parse(text: &'a str) -> Result<Self, Unauthorized> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(Unauthorized::TooLong(text.len()));
        }
        let form = Unauthorized::Malformed("form is wrong: it has three parts, joined by dots");
        let (message, signature) = text.rsplit_once('.').ok_or(form.clone())?;
        let (head, payload) = message.split_once('.').ok_or(form.clone())?;
        if payload.contains('.') {
            return Err(form);
        }
        let unreadable = Unauthorized::Malformed(
            "head can't be read: it is base64url of a JSON object without a name that comes twice",
        );
        let head = base64url(head).ok_or(unreadable.clone())?;
        let head = Claims::parse(&head).ok_or(unreadable)?;
        let (algorithm, kid) = check_head(&head)?;
        Ok(Self {
            algorithm,
            kid,
            message,
            payload,
            signature,
        })
    }

    /// Its claims, if one of the keys that it may be signed with has signed it.
    fn signed_by(&self, keys: &[Key]) -> Result<Claims, Unauthorized> {
        let meant = keys.iter().filter(|key| key.is_meant(self.kid.as_deref()));
        let meant: Vec<&Key> = meant.collect();
        if meant.is_empty() {
            return Err(Unauthorized::UnknownKey);
        }
        if !meant
            .iter()
            .any(|key| key.algorithms().contains(&self.algorithm))
        {
            return Err(Unauthorized::Algorithm);
        }
        let signed = |key: &&Key| key.verifies(self.algorithm, self.message, self.signature);
        if !meant.iter().any(signed) {
            return Err(Unauthorized::Signature);
        }
        let payload = base64url(self.payload).and_then(|payload| Claims::parse(&payload));
        payload.ok_or(Unauthorized::Malformed(
            "claims can't be read: they are base64url of a JSON object without a name that comes twice",
        ))
    }
}

/// The algorithm and the key that a head names. Nothing else in it is used: no key or address that a token brings itself
/// (`jwk`, `jku`, `x5u`).
fn check_head(head: &Claims) -> Result<(Algorithm, Option<String>), Unauthorized> {
    // None of the extensions that it may name is understood here (RFC 7515, section 4.1.11).
    if head.get("crit").is_some() {
        return Err(Unauthorized::Malformed(
            "head has `crit`, and nothing that it could name is understood",
        ));
    }
    // A token for another use must not pass for one of ours (RFC 8725, section 3.11).
    if let Some(kind) = head.get("typ") {
        let kind = kind.as_str().unwrap_or("?").to_ascii_lowercase();
        if !matches!(
            kind.strip_prefix("application/").unwrap_or(&kind),
            "jwt" | "at+jwt"
        ) {
            return Err(Unauthorized::Malformed(
                "`typ` is neither `JWT` nor `at+jwt`",
            ));
        }
    }
    let algorithm = head.get("alg").and_then(Value::as_str);
    let algorithm = algorithm.and_then(|name| Algorithm::from_str(name).ok());
    let algorithm = algorithm.filter(|one| ALGORITHMS.contains(one));
    let kid = match head.get("kid") {
        None => None,
        Some(Value::String(kid)) => Some(kid.clone()),
        Some(_) => return Err(Unauthorized::Malformed("`kid` is no text")),
    };
    Ok((algorithm.ok_or(Unauthorized::Algorithm)?, kid))
}

impl Expected {
    /// Until when the claims hold, at this time and with the leeway.
    fn check(&self, claims: &Claims, now: SystemTime) -> Result<SystemTime, Unauthorized> {
        let now = since_1970(now);
        let expires = seconds(claims, "exp", now)?.ok_or(Unauthorized::NoClaim("exp"))?;
        let expires = expires + LEEWAY.as_secs_f64();
        if now >= expires {
            let ago = now - (expires - LEEWAY.as_secs_f64());
            return Err(Unauthorized::Expired(ago as u64));
        }
        let early = seconds(claims, "nbf", now)?.unwrap_or(0.0) - now;
        if early > LEEWAY.as_secs_f64() {
            return Err(Unauthorized::Early(early.ceil() as u64));
        }
        let ahead = seconds(claims, "iat", now)?.unwrap_or(0.0) - now;
        if ahead > LEEWAY.as_secs_f64() {
            return Err(Unauthorized::Issued(ahead.ceil() as u64));
        }
        if claims.get("sub").is_some_and(|sub| !sub.is_string()) {
            return Err(Unauthorized::WrongKind("sub"));
        }
        self.check_issuer(claims)?;
        self.check_audience(claims)?;
        Ok(UNIX_EPOCH + Duration::from_secs_f64(expires))
    }

    fn check_issuer(&self, claims: &Claims) -> Result<(), Unauthorized> {
        if self.issuers.is_empty() {
            return Ok(());
        }
        let issuer = claims.get("iss").ok_or(Unauthorized::NoClaim("iss"))?;
        let issuer = issuer.as_str().ok_or(Unauthorized::WrongKind("iss"))?;
        match self.issuers.iter().any(|one| one == issuer) {
            true => Ok(()),
            false => Err(Unauthorized::Issuer),
        }
    }

    fn check_audience(&self, claims: &Claims) -> Result<(), Unauthorized> {
        if self.audiences.iter().any(|one| one == "*") {
            return Ok(());
        }
        let named = match claims.get("aud") {
            None if self.audiences.is_empty() => return Ok(()),
            None => return Err(Unauthorized::NoClaim("aud")),
            Some(Value::Array(all)) => all.as_slice(),
            Some(one) => std::slice::from_ref(one),
        };
        let ours = |name: &Value| self.audiences.iter().any(|one| name == one);
        match named.iter().any(ours) {
            true => Ok(()),
            false => Err(Unauthorized::Audience),
        }
    }
}

/// A NumericDate (RFC 7519, section 2): seconds since 1970, whole or not.
fn seconds(claims: &Claims, name: &'static str, now: f64) -> Result<Option<f64>, Unauthorized> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    match value.as_f64() {
        Some(seconds) if seconds > now + MAX_AHEAD.as_secs_f64() => {
            Err(Unauthorized::NotSeconds(name))
        }
        Some(seconds) if seconds >= 0.0 => Ok(Some(seconds)),
        _ => Err(Unauthorized::WrongKind(name)),
    }
}

fn since_1970(time: SystemTime) -> f64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.unwrap_or_default().as_secs_f64()
}
