//! What one subject may have open, wherever it comes from.

use super::{metric, open, served};
use crate::auth::{api_key, bearer, guarded, right, token};
use crate::call::get;
use crate::websocket::Client as Socket;
use serde_json::json;

const LINES: &str = "application/x-ndjson";

#[tokio::test]
async fn one_subject_has_so_many_streams_and_others_have_theirs() {
    let replica = guarded(&["--max-connections-per-subject=2"]).await;
    let (ann, bob) = (
        right(),
        token(&json!({"sub": "bob", "tidings": {"subscribe": ["a.>"]}})),
    );
    let (ann, bob) = (bearer(&ann), bearer(&bob));
    let (ann, bob) = (
        [("Authorization", ann.as_str())],
        [("Authorization", bob.as_str())],
    );
    let first = open(&replica, "/feeds/a.b", LINES, &ann).await;
    let _second = Socket::open(&replica, &ann).await.expect("a WebSocket");
    let refused = get(&replica, "/feeds/a.b", &[("Accept", LINES), ann[0]]).await;
    let detail = refused.problem(429);
    assert!(detail.contains("--max-connections-per-subject"), "{detail}");
    assert_eq!(Socket::open(&replica, &ann).await.err(), Some(429));
    assert_eq!(
        open(&replica, "/feeds/a.b", LINES, &bob).await.status(),
        200
    );
    assert_eq!(
        metric(&replica, "tidings_subject_streams_refused_total").await,
        2
    );
    let told = get(&replica, "/explain?feed=a.b", &ann).await.json();
    assert_eq!(
        told["limits"]["subject"],
        json!({"open": 2, "max": 2}),
        "{told}"
    );
    drop(first);
    served(&replica, "/feeds/a.b", &ann).await;
}

#[tokio::test]
async fn who_signs_in_over_a_websocket_needs_a_place_then() {
    let (key, record) = api_key("backend", "subscribe=a.>");
    let replica = guarded(&["--max-connections-per-subject=1", "--api-key", &record]).await;
    let auth = |token: &str| json!({"op": "auth", "ref": 1, "token": token});
    let mut first = Socket::connect(&replica).await;
    first.result(auth(&key)).await;
    // Again, to renew.
    first.result(auth(&key)).await;
    let mut second = Socket::connect(&replica).await;
    assert_eq!(second.refusal(auth(&key)).await.0, 429);
    second.result(auth(&right())).await;
}
