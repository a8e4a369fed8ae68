//! Keys and tokens for tests. The keys are of no one and for nothing else.

use super::Algorithm;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{EncodingKey, Header, crypto, encode};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

pub(in crate::auth) const SECRET: &str =
    "a secret of more than 64 bytes, as HS512 needs: 0123456789abcdefgh";
pub(in crate::auth) const RSA: &str = include_str!("testing/rsa.pem");
pub(in crate::auth) const RSA_PUBLIC: &str = include_str!("testing/rsa.pub.pem");
pub(in crate::auth) const P256: &str = include_str!("testing/p256.pem");
pub(in crate::auth) const P256_PUBLIC: &str = include_str!("testing/p256.pub.pem");
pub(in crate::auth) const P384: &str = include_str!("testing/p384.pem");
pub(in crate::auth) const P384_PUBLIC: &str = include_str!("testing/p384.pub.pem");
pub(in crate::auth) const ED25519: &str = include_str!("testing/ed25519.pem");
pub(in crate::auth) const ED25519_PUBLIC: &str = include_str!("testing/ed25519.pub.pem");

/// What signs with this algorithm here.
pub(in crate::auth) fn signer(algorithm: Algorithm) -> EncodingKey {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
            EncodingKey::from_secret(SECRET.as_bytes())
        }
        Algorithm::ES256 => EncodingKey::from_ec_pem(P256.as_bytes()).unwrap(),
        Algorithm::ES384 => EncodingKey::from_ec_pem(P384.as_bytes()).unwrap(),
        Algorithm::EdDSA => EncodingKey::from_ed_pem(ED25519.as_bytes()).unwrap(),
        _ => EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap(),
    }
}

/// The public half of that as text; for secrets the secret.
pub(in crate::auth) fn public(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => SECRET,
        Algorithm::ES256 => P256_PUBLIC,
        Algorithm::ES384 => P384_PUBLIC,
        Algorithm::EdDSA => ED25519_PUBLIC,
        _ => RSA_PUBLIC,
    }
}

/// The public half as a JWK with this `kid`.
pub(in crate::auth) fn jwk(algorithm: Algorithm, kid: &str) -> Value {
    let jwk = Jwk::from_encoding_key(&signer(algorithm), algorithm).unwrap();
    let mut jwk = serde_json::to_value(jwk).unwrap();
    jwk["kid"] = kid.into();
    jwk
}

/// Seconds since 1970, so many from now.
pub(in crate::auth) fn now(later: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs() as i64 + later
}

/// A token as a right issuer makes it.
pub(in crate::auth) fn token(algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = kid.map(str::to_owned);
    encode(&header, claims, &signer(algorithm)).unwrap()
}

/// A token with whatever head and claims, signed with a key and algorithm that need not be the head's.
pub(in crate::auth) fn forged(
    head: &str,
    claims: &str,
    key: &EncodingKey,
    by: Algorithm,
) -> String {
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let message = format!("{}.{}", encoded(head), encoded(claims));
    let signature = crypto::sign(message.as_bytes(), key, by).unwrap();
    format!("{message}.{signature}")
}

/// Claims that hold for a minute.
pub(in crate::auth) fn claims() -> Value {
    json!({"sub": "ann", "exp": now(60)})
}
