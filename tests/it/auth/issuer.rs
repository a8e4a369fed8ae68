//! While an issuer's keys are not to be had, nobody is sent away for good.

use super::{AUDIENCE, bearer, now};
use crate::call::get;
use crate::replica::Replica;
use crate::tools::address_of_its_own;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

#[tokio::test]
async fn browsers_are_told_to_come_back_and_others_that_it_is_not_to_be_had_now() {
    let url = format!("http://{}/keys", address_of_its_own());
    let issuer = ["--jwt-issuer", "us", "--jwt-audience", AUDIENCE];
    let replica = Replica::start(&[&["--jwks-url", &url], &issuer[..]].concat()).await;
    let part = |value: serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let head = part(json!({"alg": "ES256", "kid": "1"}));
    let claims = part(json!({"iss": "us", "aud": AUDIENCE, "exp": now() + 60}));
    let shown = bearer(&format!(
        "{head}.{claims}.{}",
        URL_SAFE_NO_PAD.encode([1; 64])
    ));
    let ask = async |form| {
        let headers = [("Accept", form), ("Authorization", shown.as_str())];
        get(&replica, "/feeds/a", &headers).await
    };
    let answer = ask("text/event-stream").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("tidings-refused"), Some("unavailable"));
    assert!(answer.text.starts_with("retry: "), "{answer:?}");
    for form in ["application/json", "application/x-ndjson"] {
        let answer = ask(form).await;
        answer.problem(503);
        assert!(answer.header("retry-after").is_some());
    }
}
