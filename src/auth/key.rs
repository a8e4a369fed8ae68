//! Keys that tokens are signed with, each bound to its algorithms (RFC 8725, sections 3.1 and 3.2).

pub(super) mod read;
#[cfg(test)]
pub(in crate::auth) mod testing;
#[cfg(test)]
mod tests;

pub use jsonwebtoken::Algorithm;
pub(crate) use read::secret;

use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{AlgorithmFamily, DecodingKey, crypto};
use serde_json::Value;

/// The algorithms there are (RFC 7518, section 3.1, and RFC 8037 for EdDSA). `none` is not among them.
pub const ALGORITHMS: [Algorithm; 10] = [
    Algorithm::HS256,
    Algorithm::HS384,
    Algorithm::HS512,
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::EdDSA,
];

/// The most keys that a set of an issuer's may have; the rest is left out.
pub const MAX_KEYS: usize = 100;

/// A key, and what it may be used with.
#[derive(Clone, Debug)]
pub struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// Why something is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// A text that is neither a key nor fit for a secret.
    #[error(
        "it looks like a public key that is not in PEM, and would be taken for a secret; write it as PEM, as `openssl pkey -pubin -inform DER` does, or as a JWK"
    )]
    LooksPublic,
    /// A secret that can be guessed (RFC 7518, section 3.2).
    #[error("it has {0} bytes; a secret has at least 32, as `openssl rand -hex 32` makes")]
    Short(usize),
    /// What comes after `base64:` is not that.
    #[error("what comes after `base64:` is not base64")]
    Base64,
    /// A private key where a public one will do.
    #[error(
        "it is a private key; the server needs the public one alone: `openssl pkey -in FILE -pubout`"
    )]
    Private,
    /// A certificate.
    #[error(
        "it is a certificate; take the public key out of it: `openssl x509 -in FILE -noout -pubkey`"
    )]
    Certificate,
    /// PEM or JSON that is no key.
    #[error("it is no RSA, EC (P-256, P-384) or Ed25519 public key that can be read")]
    Unreadable,
    /// An RSA key that is too short or too long.
    #[error("it is an RSA key of {0} bits; 2048 to 8192 are taken")]
    RsaBits(usize),
    /// A JWK that is for something else.
    #[error("it is no key for signatures (`use`, `key_ops`, `alg`)")]
    OtherUse,
    /// A secret in a place that is for public keys.
    #[error(
        "it is a secret in JSON (`kty` is `oct`); write the secret itself, or `base64:` and its `k`"
    )]
    SecretJwk,
    /// A set of keys with none in it.
    #[error("none of its keys can be used")]
    Empty,
}

impl Key {
    fn new(id: Option<String>, key: DecodingKey) -> Result<Self, InvalidKey> {
        let algorithms = fitting(&key)?;
        Ok(Self {
            id,
            algorithms,
            key,
        })
    }

    /// A public key as a JWK (RFC 7517, section 4).
    fn of_jwk(jwk: &Value) -> Result<Self, InvalidKey> {
        // Checked by name: the type that it is read into has no room for it.
        if jwk.get("d").is_some() {
            return Err(InvalidKey::Private);
        }
        let jwk: Jwk = serde_json::from_value(jwk.clone()).map_err(|_| InvalidKey::Unreadable)?;
        if matches!(jwk.algorithm, AlgorithmParameters::OctetKey(_)) {
            return Err(InvalidKey::SecretJwk);
        }
        let common = &jwk.common;
        let signs =
            !matches!(&common.public_key_use, Some(kind) if *kind != PublicKeyUse::Signature);
        let verifies =
            |operations: &Vec<KeyOperations>| operations.contains(&KeyOperations::Verify);
        if !signs || !common.key_operations.as_ref().is_none_or(verifies) {
            return Err(InvalidKey::OtherUse);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|_| InvalidKey::Unreadable)?;
        let mut key = Self::new(common.key_id.clone(), key)?;
        if let Some(algorithm) = common.key_algorithm {
            key.narrow(|one| KeyAlgorithm::from(one) == algorithm);
        }
        match key.algorithms.is_empty() {
            true => Err(InvalidKey::OtherUse),
            false => Ok(key),
        }
    }

    /// What it may be used with.
    pub fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    /// Keeps it from all other algorithms.
    pub fn narrow(&mut self, allowed: impl Fn(Algorithm) -> bool) {
        self.algorithms.retain(|&one| allowed(one));
    }

    /// Whether a token with this `kid` may be signed with it. Where one of them has none, any may.
    pub fn is_meant(&self, kid: Option<&str>) -> bool {
        match (self.id.as_deref(), kid) {
            (Some(id), Some(kid)) => id == kid,
            _ => true,
        }
    }

    /// Whether it has signed the message so, with an algorithm that it may be used with. The signature is base64url.
    pub fn verifies(&self, algorithm: Algorithm, message: &str, signature: &str) -> bool {
        self.algorithms.contains(&algorithm)
            && crypto::verify(signature, message.as_bytes(), &self.key, algorithm).unwrap_or(false)
    }
}

/// The keys of a set as an issuer serves it (RFC 7517, section 5). Those that are not understood or not for signatures
/// are left out, as it says there.
pub fn read_jwks(json: &[u8]) -> Result<Vec<Key>, InvalidKey> {
    let set: Value = serde_json::from_slice(json).map_err(|_| InvalidKey::Unreadable)?;
    of_set(&set)
}

fn of_set(set: &Value) -> Result<Vec<Key>, InvalidKey> {
    let keys = set.get("keys").and_then(Value::as_array);
    let keys = keys.ok_or(InvalidKey::Unreadable)?;
    let usable = keys.iter().filter_map(|jwk| Key::of_jwk(jwk).ok());
    let usable: Vec<Key> = usable.take(MAX_KEYS).collect();
    match usable.is_empty() {
        true => Err(InvalidKey::Empty),
        false => Ok(usable),
    }
}

/// The algorithms that a key of this kind and size can be used with.
fn fitting(key: &DecodingKey) -> Result<Vec<Algorithm>, InvalidKey> {
    let bytes = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    Ok(match (key.family(), bytes) {
        (AlgorithmFamily::Hmac, 64..) => vec![Algorithm::HS256, Algorithm::HS384, Algorithm::HS512],
        (AlgorithmFamily::Hmac, 48..) => vec![Algorithm::HS256, Algorithm::HS384],
        (AlgorithmFamily::Hmac, 32..) => vec![Algorithm::HS256],
        (AlgorithmFamily::Hmac, bytes) => return Err(InvalidKey::Short(bytes)),
        (AlgorithmFamily::Ec, 65) => vec![Algorithm::ES256],
        (AlgorithmFamily::Ec, 97) => vec![Algorithm::ES384],
        (AlgorithmFamily::Ed, 32) => vec![Algorithm::EdDSA],
        (AlgorithmFamily::Rsa, _) => match rsa_bits(key) {
            Some(2048..=8192) => vec![
                Algorithm::RS256,
                Algorithm::RS384,
                Algorithm::RS512,
                Algorithm::PS256,
            ],
            Some(bits) => return Err(InvalidKey::RsaBits(bits)),
            None => return Err(InvalidKey::Unreadable),
        },
        _ => return Err(InvalidKey::Unreadable),
    })
}

fn rsa_bits(key: &DecodingKey) -> Option<usize> {
    let AlgorithmParameters::RSA(rsa) = Jwk::from_decoding_key(key, None).ok()?.algorithm else {
        return None;
    };
    let modulus = read::base64(&rsa.n)?;
    let modulus = &modulus[modulus.iter().position(|&byte| byte != 0)?..];
    Some(modulus.len() * 8 - modulus[0].leading_zeros() as usize)
}
