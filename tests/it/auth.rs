//! Nobody reads or writes what is not his.

mod explain;
mod issuer;
mod places;
mod refusals;
mod shell;
mod streams;
mod table;
mod unseen;
mod websocket;

use crate::replica::Replica;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tidings::auth::Permissions;
use tidings::auth::api_key::ApiKey;

pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const AUDIENCE: &str = "tidings-test";
/// What has a server take tokens.
const GUARDED: [&str; 4] = ["--jwt-key", SECRET, "--jwt-audience", AUDIENCE];
/// How long a token holds beyond its `exp`, in seconds.
pub(crate) const LEEWAY: u64 = 30;

/// Now, in seconds since 1970.
pub(crate) fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock").as_secs()
}

/// A token with these claims beside those that it needs.
pub(crate) fn token(claims: &Value) -> String {
    signed(claims, SECRET, Algorithm::HS256)
}

pub(crate) fn signed(claims: &Value, secret: &str, algorithm: Algorithm) -> String {
    let mut all = json!({"sub": "ann", "aud": AUDIENCE, "exp": now() + 600});
    let given = claims.as_object().expect("an object").clone();
    all.as_object_mut().expect("an object").extend(given);
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(algorithm), &all, &key).expect("a token")
}

/// A token that allows everything below `a`.
pub(crate) fn right() -> String {
    token(&json!({"tidings": below_a()}))
}

/// The same one that ends in 1 to 2 seconds.
pub(crate) fn short() -> String {
    token(&json!({"tidings": below_a(), "exp": now() + 2 - LEEWAY}))
}

pub(crate) fn below_a() -> Value {
    json!({"subscribe": ["a.>"], "publish": ["a.>"], "request": ["a.>"]})
}

/// An API key with these permissions, and what the server is told of it.
pub(crate) fn api_key(name: &str, permissions: &str) -> (String, String) {
    let permissions: Permissions = permissions.parse().expect("permissions");
    let (key, record) = ApiKey::generate(name, permissions).expect("a key");
    (key.expose().to_owned(), record.to_string())
}

/// A replica that takes tokens.
pub(crate) async fn guarded(more: &[&str]) -> Replica {
    Replica::start(&[&GUARDED[..], more].concat()).await
}

/// The same, with TLS.
async fn guarded_with_tls(more: &[&str]) -> Replica {
    Replica::with_tls(&[&GUARDED[..], more].concat()).await
}

pub(crate) fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

/// Publishes with a token.
pub(crate) async fn publish(replica: &Replica, token: &str, feed: &str, data: &str) -> String {
    let shown = bearer(token);
    let headers = [("Authorization", shown.as_str())];
    let path = format!("/feeds/{feed}");
    let answer = crate::call::post(replica, &path, &headers, data.to_owned()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    answer.json()["id"].as_str().expect("an id").to_owned()
}
