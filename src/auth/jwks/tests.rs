use super::*;
use crate::auth::key::Algorithm;
use crate::auth::key::testing::jwk;
use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use futures::FutureExt;
use http::StatusCode;
use serde_json::json;
use std::future::pending;

/// What the issuer does when it is asked.
#[derive(Clone, Debug)]
enum Does {
    Serve(String),
    Fail,
    Redirect,
    Hang,
}

#[derive(Clone)]
struct Issuer(Arc<Mutex<(Does, usize)>>);

impl Issuer {
    /// One that listens, and those who ask it.
    async fn start(does: Does) -> (Self, Arc<Jwks>) {
        let issuer = Self(Arc::new(Mutex::new((does, 0))));
        let router = Router::new()
            .route("/keys", get(answer))
            .with_state(issuer.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let jwks = Jwks::new(&url.parse().unwrap()).unwrap();
        (issuer, jwks)
    }

    fn does(&self, does: Does) {
        self.0.lock().0 = does;
    }

    /// How often it was asked.
    fn asked(&self) -> usize {
        self.0.lock().1
    }
}

async fn answer(State(issuer): State<Issuer>) -> Response {
    let does = {
        let mut issuer = issuer.0.lock();
        issuer.1 += 1;
        issuer.0.clone()
    };
    match does {
        Does::Serve(keys) => keys.into_response(),
        Does::Fail => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Does::Redirect => Redirect::temporary("/keys").into_response(),
        Does::Hang => pending().await,
    }
}

fn keys(kids: &[&str]) -> Does {
    let keys: Vec<_> = kids.iter().map(|kid| jwk(Algorithm::ES256, kid)).collect();
    Does::Serve(json!({"keys": keys}).to_string())
}

/// Moves the clock on, while nothing is under way.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

async fn has(jwks: &Arc<Jwks>, kid: &str) -> bool {
    let keys = jwks.keys(Some(kid)).await.unwrap();
    keys.iter().any(|key| key.is_meant(Some(kid)))
}

/// Until the fetch that is under way has ended.
async fn settled(jwks: &Arc<Jwks>) {
    tokio::task::yield_now().await;
    jwks.settled().await;
}

#[tokio::test]
async fn keys_are_fetched_once_for_all_who_come_and_then_kept() {
    let (issuer, jwks) = Issuer::start(keys(&["a", "b"])).await;
    let all = futures::future::join_all((0..50).map(|_| jwks.keys(Some("a")))).await;
    assert!(all.into_iter().all(|keys| keys.is_ok()));
    assert!(has(&jwks, "b").await && jwks.keys(None).await.is_ok());
    later(REFRESH - Duration::from_secs(1)).await;
    assert!(has(&jwks, "a").await);
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn an_unknown_kid_fetches_them_anew_but_not_more_often_than_the_floor() {
    let (issuer, jwks) = Issuer::start(keys(&["old"])).await;
    assert!(has(&jwks, "old").await);
    issuer.does(keys(&["old", "new"]));
    for kid in ["new", "x", "../y"] {
        is_not_known_yet(&jwks, kid).await;
    }
    assert_eq!(issuer.asked(), 1);
    later(FLOOR).await;
    assert!(has(&jwks, "new").await);
    assert_eq!(issuer.asked(), 2);
}

async fn is_not_known_yet(jwks: &Arc<Jwks>, kid: &str) {
    let keys = jwks.keys(Some(kid)).await;
    assert_eq!(keys.unwrap_err(), Unauthorized::UnknownYet, "{kid}");
}

#[tokio::test]
async fn a_kid_is_refused_once_a_fetch_that_began_after_it_was_seen_has_not_brought_it() {
    let (issuer, jwks) = Issuer::start(keys(&["a"])).await;
    assert!(!has(&jwks, "first").await, "that has begun the fetch");
    for kid in ["x", "x", "y"] {
        is_not_known_yet(&jwks, kid).await;
    }
    assert!(!has(&jwks, "first").await, "it is known not to be there");
    later(FLOOR).await;
    for kid in ["x", "y", "x"] {
        assert!(!has(&jwks, kid).await, "{kid}");
    }
    is_not_known_yet(&jwks, "z").await;
    assert_eq!(issuer.asked(), 2);
    // A fetch that fails decides nothing.
    issuer.does(Does::Fail);
    later(FLOOR).await;
    for kid in ["z", "z"] {
        is_not_known_yet(&jwks, kid).await;
    }
    issuer.does(keys(&["a"]));
    later(FLOOR).await;
    assert!(!has(&jwks, "z").await);
    assert_eq!(issuer.asked(), 4);
}

#[tokio::test]
async fn names_of_keys_that_nobody_has_take_a_bounded_room() {
    let (_issuer, jwks) = Issuer::start(keys(&["a"])).await;
    assert!(has(&jwks, "a").await);
    for number in 0..MAX_MISSED + 10 {
        is_not_known_yet(&jwks, &number.to_string()).await;
    }
    assert_eq!(jwks.held.lock().missed.len(), MAX_MISSED);
    for _ in 0..2 {
        later(FLOOR).await;
        assert!(!has(&jwks, "0").await && has(&jwks, "a").await);
    }
    assert!(jwks.held.lock().missed.is_empty());
}

#[tokio::test]
async fn a_key_that_was_taken_back_is_gone_with_the_next_fetch() {
    let (issuer, jwks) = Issuer::start(keys(&["a", "b"])).await;
    assert!(has(&jwks, "a").await);
    issuer.does(keys(&["b"]));
    later(REFRESH).await;
    assert!(has(&jwks, "a").await, "it is fetched behind this caller");
    settled(&jwks).await;
    assert_eq!(issuer.asked(), 2);
    is_not_known_yet(&jwks, "a").await;
    assert!(has(&jwks, "b").await);
    issuer.does(keys(&["c"]));
    later(STALE).await;
    assert!(!has(&jwks, "b").await, "after so long, callers wait for it");
    assert_eq!(issuer.asked(), 3);
}

#[tokio::test]
async fn keys_outlive_an_outage_of_the_issuer() {
    let (issuer, jwks) = Issuer::start(keys(&["a"])).await;
    assert!(has(&jwks, "a").await);
    for (number, outage) in [
        Does::Fail,
        Does::Redirect,
        Does::Serve("<html>".to_owned()),
        keys(&[]),
    ]
    .into_iter()
    .enumerate()
    {
        issuer.does(outage);
        later(STALE).await;
        assert!(has(&jwks, "a").await);
        assert!(has(&jwks, "a").await, "and at once");
        settled(&jwks).await;
        assert_eq!(issuer.asked(), number + 2);
    }
    issuer.does(keys(&["b"]));
    later(FLOOR).await;
    assert!(has(&jwks, "b").await);
    is_not_known_yet(&jwks, "a").await;
}

#[tokio::test]
async fn without_any_keys_yet_callers_are_told_to_come_back() {
    let (issuer, jwks) = Issuer::start(Does::Fail).await;
    for _ in 0..3 {
        assert_eq!(
            jwks.keys(None).await.unwrap_err(),
            Unauthorized::Unavailable
        );
    }
    assert_eq!(issuer.asked(), 1);
    issuer.does(keys(&["a"]));
    later(FLOOR).await;
    assert!(has(&jwks, "a").await);
}

#[tokio::test]
async fn an_issuer_that_hangs_is_waited_for_a_few_seconds() {
    let (issuer, jwks) = Issuer::start(Does::Hang).await;
    tokio::time::pause();
    let begun = Instant::now();
    assert_eq!(
        jwks.keys(None).await.unwrap_err(),
        Unauthorized::Unavailable
    );
    assert!(begun.elapsed() >= TIMEOUT && begun.elapsed() < TIMEOUT + Duration::from_secs(1));
    tokio::time::resume();
    issuer.does(keys(&["a"]));
    later(FLOOR).await;
    assert!(has(&jwks, "a").await);
}

#[tokio::test]
async fn those_who_name_keys_that_nobody_has_keep_no_fetch_from_its_turn() {
    let (issuer, jwks) = Issuer::start(keys(&["old"])).await;
    assert!(has(&jwks, "old").await);
    issuer.does(keys(&["old", "new"]));
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let jwks = jwks.clone();
        crowd.spawn(async move {
            loop {
                let _ = jwks.keys(Some("evil")).await;
                tokio::task::yield_now().await;
            }
        });
    }
    is_not_known_yet(&jwks, "new").await;
    later(FLOOR).await;
    while !jwks
        .keys(Some("new"))
        .await
        .is_ok_and(|keys| keys.len() == 2)
    {
        assert!(issuer.asked() <= 2);
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_takes_no_fetch_with_him() {
    let (issuer, jwks) = Issuer::start(keys(&["a"])).await;
    assert!(jwks.keys(Some("a")).now_or_never().is_none());
    assert!(has(&jwks, "a").await);
    assert_eq!(issuer.asked(), 1);
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read() {
    let large = format!(
        "{}{}",
        json!({"keys": [jwk(Algorithm::ES256, "a")]}),
        " ".repeat(MAX_BYTES)
    );
    let (_, jwks) = Issuer::start(Does::Serve(large)).await;
    assert_eq!(
        jwks.keys(None).await.unwrap_err(),
        Unauthorized::Unavailable
    );
}

#[test]
fn an_open_line_is_for_this_machine_alone() {
    let new = |url: &str| Jwks::new(&url.parse().unwrap()).map(|_| ());
    for url in [
        "https://example.com/k",
        "http://localhost/k",
        "http://127.0.0.1:1/k",
        "http://[::1]/k",
    ] {
        assert_eq!(new(url), Ok(()), "{url}");
    }
    for url in [
        "http://example.com/k",
        "http://localhost.example.com/k",
        "http://127.0.0.1.example.com/k",
        "ftp://localhost/k",
        "file:///etc/passwd",
    ] {
        assert_eq!(new(url), Err(AuthError::JwksUrl), "{url}");
    }
}
