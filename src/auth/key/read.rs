//! Keys as they are written in settings and files.

use super::{InvalidKey, Key, of_set};
use crate::auth::Secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use jsonwebtoken::DecodingKey;
use serde_json::Value;

const BEGIN: &str = "-----BEGIN ";

impl Key {
    /// The keys of a setting: one or several public keys as PEM, a JWK or a set of them, or else one secret, as text or
    /// as `base64:` and its bytes. What could be a public key in another form is refused: taken for a secret, it
    /// would let everyone sign who knows it.
    pub fn read(text: &Secret) -> Result<Vec<Self>, InvalidKey> {
        let text = text.expose();
        if text.contains(BEGIN) {
            return pem(text);
        }
        if text.trim_start().starts_with(['{', '[']) {
            let json: Value = serde_json::from_str(text).map_err(|_| InvalidKey::Unreadable)?;
            return match json.get("keys") {
                Some(_) => of_set(&json),
                None => Ok(vec![Self::of_jwk(&json)?]),
            };
        }
        Ok(vec![Self::new(
            None,
            DecodingKey::from_secret(&secret(text)?),
        )?])
    }
}

/// The bytes of a secret.
pub(crate) fn secret(text: &str) -> Result<Vec<u8>, InvalidKey> {
    let bytes = match text.strip_prefix("base64:") {
        Some(encoded) => base64(encoded).ok_or(InvalidKey::Base64)?,
        None => text.as_bytes().to_vec(),
    };
    let decoded = str::from_utf8(&bytes).ok().and_then(base64);
    if looks_public(&bytes) || decoded.is_some_and(|bytes| looks_public(&bytes)) {
        return Err(InvalidKey::LooksPublic);
    }
    match bytes.len() {
        32.. => Ok(bytes),
        short => Err(InvalidKey::Short(short)),
    }
}

/// Base64 of either alphabet, with padding or without, over one line or several (RFC 4648, sections 4 and 5).
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let mut text: String = text.split_whitespace().collect();
    text.truncate(text.trim_end_matches('=').len());
    let text = text.replace('-', "+").replace('_', "/");
    STANDARD_NO_PAD.decode(&text).ok()
}

/// DER, PEM, a JSON object, and the form of OpenSSH.
fn looks_public(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let begins = |prefix: &&[u8]| text.starts_with(prefix);
    let is_text: [&[u8]; 3] = [b"-----BEGIN", b"ssh-", b"ecdsa-sha2-"];
    let is_json = || serde_json::from_slice(text).is_ok_and(|json: Value| json.is_object());
    is_der(bytes) || is_text.iter().any(begins) || is_json()
}

/// Whether it is one whole DER sequence that begins with a sequence or an integer, as all keys do (ITU-T X.690, section
/// 8.1.3). Less would be true of one random secret in 65,536.
fn is_der(bytes: &[u8]) -> bool {
    let (length, header) = match *bytes {
        [0x30, length @ ..=0x7f, ..] => (length.into(), 2),
        [0x30, 0x81, length, ..] => (length.into(), 3),
        [0x30, 0x82, high, low, ..] => (usize::from(u16::from_be_bytes([high, low])), 4),
        _ => return false,
    };
    bytes.len() == header + length && matches!(bytes.get(header), Some(0x30 | 0x02))
}

fn pem(text: &str) -> Result<Vec<Key>, InvalidKey> {
    let blocks = text.match_indices(BEGIN).map(|(at, _)| &text[at..]);
    blocks.map(pem_block).collect()
}

/// The first key of a text that begins with one.
fn pem_block(text: &str) -> Result<Key, InvalidKey> {
    let label = text[BEGIN.len()..].split("-----").next();
    let label = label.unwrap_or_default();
    match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => {}
        "CERTIFICATE" => return Err(InvalidKey::Certificate),
        label if label.ends_with("PRIVATE KEY") => return Err(InvalidKey::Private),
        _ => return Err(InvalidKey::Unreadable),
    }
    let end = format!("-----END {label}-----");
    let end = text.find(&end).ok_or(InvalidKey::Unreadable)? + end.len();
    let block = &text.as_bytes()[..end];
    let key = DecodingKey::from_rsa_pem(block)
        .or_else(|_| DecodingKey::from_ec_pem(block))
        .or_else(|_| DecodingKey::from_ed_pem(block))
        .map_err(|_| InvalidKey::Unreadable)?;
    Key::new(None, key)
}

/// As tokens have it: base64url without padding (RFC 7515, section 2).
pub(in crate::auth) fn base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
