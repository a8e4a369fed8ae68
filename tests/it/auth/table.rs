//! Every way in, with every kind of credentials.

use super::{
    AUDIENCE, SECRET, api_key, bearer, below_a, guarded, guarded_with_tls, now, publish, right,
    signed, token,
};
use crate::call::problem;
use crate::replica::{Replica, within};
use crate::websocket::{Client as Socket, refusal};
use jsonwebtoken::Algorithm;
use reqwest::{Method, Response, Version};
use serde_json::{Value, json};

/// What nobody may see without a right.
const HUSH: &str = "hush";

/// Credentials, and the status that they lead to: 0 where they are the right ones.
fn shown(key: &str) -> Vec<(&'static str, Option<String>, u16)> {
    let all = json!({"tidings": below_a()});
    let other = "another secret of 32 bytes or more";
    let none = {
        let [head, rest] = [r#"{"alg":"none","typ":"JWT"}"#, ""].map(base64);
        let right = right();
        let claims = right.split('.').nth(1).expect("claims");
        format!("{head}.{claims}.{rest}")
    };
    let with = |name: &str, value: Value| {
        let mut claims = all.clone();
        claims[name] = value;
        token(&claims)
    };
    let narrow = json!({"subscribe": ["a.*.c"], "publish": ["b.>"], "request": ["a"]});
    vec![
        ("none", None, 401),
        ("expired", Some(with("exp", json!(now() - 31))), 401),
        ("early", Some(with("nbf", json!(now() + 60))), 401),
        (
            "another key",
            Some(signed(&all, other, Algorithm::HS256)),
            401,
        ),
        ("another audience", Some(with("aud", json!("others"))), 401),
        ("no audience", Some(with("aud", json!([]))), 401),
        (
            "another algorithm",
            Some(signed(&all, SECRET, Algorithm::HS512)),
            401,
        ),
        ("the algorithm none", Some(none), 401),
        ("too narrow", Some(token(&json!({"tidings": narrow}))), 403),
        ("no permissions", Some(token(&json!({}))), 403),
        ("another API key", Some(api_key("billing", "admin").0), 401),
        ("nonsense", Some("nonsense".to_owned()), 401),
        ("empty", Some(String::new()), 401),
        ("right", Some(right()), 0),
        ("API key", Some(key.to_owned()), 0),
    ]
}

fn base64(text: &str) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text)
}

async fn replica(tls: bool) -> (Replica, String) {
    let (key, record) = api_key("billing", "subscribe=a.>;publish=a.>;request=a.>");
    let more = ["--api-key", &record, "--jwt-algorithms", "HS256"];
    let replica = match tls {
        true => guarded_with_tls(&more).await,
        false => guarded(&more).await,
    };
    publish(&replica, &key, "a.b", HUSH).await;
    (replica, key)
}

/// A method, path, `Accept` or `Content-Type`, body, and the status of a success.
const WAYS: [(Method, &str, &str, &str, u16); 9] = [
    (
        Method::GET,
        "/feeds/a.b?after=start",
        "text/event-stream",
        "",
        200,
    ),
    (
        Method::GET,
        "/feeds/a.b?last=9&envelope=1",
        "text/event-stream",
        "",
        200,
    ),
    (
        Method::GET,
        "/feeds?feed=a.b&last=9",
        "text/event-stream",
        "",
        200,
    ),
    (
        Method::GET,
        "/feeds/a.b?after=start",
        "application/x-ndjson",
        "",
        200,
    ),
    (
        Method::GET,
        "/feeds/a.b?after=start",
        "application/json",
        "",
        200,
    ),
    (
        Method::GET,
        "/feeds/a.b?last=1&wait=1",
        "application/json",
        "",
        200,
    ),
    (
        Method::HEAD,
        "/feeds/a.b?after=start",
        "application/json",
        "",
        200,
    ),
    (Method::POST, "/feeds/a.b", "text/plain", HUSH, 201),
    (
        Method::POST,
        "/feeds",
        "application/x-ndjson",
        r#"{"feed":"a.b","data":"hush"}"#,
        200,
    ),
];

/// Runs each claim in the clear and within TLS.
macro_rules! both_ways {
    ($($claim:ident),* $(,)?) => {
        mod in_the_clear {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(false).await;
            })*
        }
        mod within_tls {
            $(#[tokio::test]
            async fn $claim() {
                super::$claim(true).await;
            })*
        }
    };
}

both_ways!(
    over_http_1_1_each_way_is_open_to_the_right_credentials_and_to_no_others,
    over_http_2_each_way_is_open_to_the_right_credentials_and_to_no_others,
    over_a_websocket_each_op_is_open_to_the_right_credentials_and_to_no_others,
    a_websocket_with_wrong_credentials_is_not_opened,
);

async fn over_http_1_1_each_way_is_open_to_the_right_credentials_and_to_no_others(tls: bool) {
    each_way(tls, Version::HTTP_11).await;
}

async fn over_http_2_each_way_is_open_to_the_right_credentials_and_to_no_others(tls: bool) {
    each_way(tls, Version::HTTP_2).await;
}

async fn each_way(tls: bool, version: Version) {
    let (replica, key) = replica(tls).await;
    let client = match version {
        Version::HTTP_2 => replica.client().http2_prior_knowledge(),
        _ => replica.client().http1_only(),
    };
    let client = client.build().expect("a client");
    for (method, path, form, body, success) in WAYS {
        for (name, credentials, status) in shown(&key) {
            let case = format!("{method} {path} as {form}, {name}");
            let mut request = client
                .request(method.clone(), replica.url(path))
                .header("Accept", form)
                .header("Content-Type", form)
                .body(body);
            if let Some(credentials) = &credentials {
                request = request.header("Authorization", bearer(credentials));
            }
            let response = within("a head", request.send()).await.expect("an answer");
            assert_eq!(response.version(), version, "{case}");
            match (status, path) {
                (0, _) => assert_eq!(response.status(), success, "{case}"),
                // Who may publish something is told line by line.
                (403, "/feeds") if name == "too narrow" => refused_line(response, &case).await,
                (status, _) => refused(response, status, &method, &case).await,
            }
        }
    }
}

/// Tells nothing, and how to do better.
async fn refused(response: Response, status: u16, method: &Method, case: &str) {
    assert_eq!(response.status(), status, "{case}");
    let challenge = response.headers().get("www-authenticate").cloned();
    assert_eq!(challenge.is_some(), status == 401, "{case}");
    assert_eq!(
        response.headers()["access-control-allow-origin"],
        "*",
        "{case}"
    );
    let text = within("a body", response.text()).await.expect("a body");
    assert!(!text.contains(HUSH), "{case}: {text}");
    if method != Method::HEAD {
        problem(&serde_json::from_str(&text).expect(case), status);
    }
}

/// A batch is taken, and its lines are refused one by one.
async fn refused_line(response: Response, case: &str) {
    assert_eq!(response.status(), 200, "{case}");
    let text = within("a body", response.text()).await.expect("a body");
    problem(&serde_json::from_str(&text).expect(case), 403);
}

async fn over_a_websocket_each_op_is_open_to_the_right_credentials_and_to_no_others(tls: bool) {
    let (replica, key) = replica(tls).await;
    for (name, credentials, status) in shown(&key) {
        let mut socket = Socket::connect(&replica).await;
        if let Some(credentials) = &credentials {
            let auth = json!({"op": "auth", "ref": "auth", "token": credentials});
            let answer = socket.ask(auth).await;
            match status {
                401 => assert_eq!(refusal(&answer).0, 401, "{name}: {answer}"),
                _ => assert!(answer["result"].is_object(), "{name}: {answer}"),
            }
        }
        // Subscribing comes last: its events would come in between.
        for (message, success) in [
            (
                json!({"op": "publish", "ref": "a", "feed": "a.b", "data": HUSH}),
                0,
            ),
            // It would be passed on to NATS, which there is not.
            (json!({"op": "request", "ref": "b", "name": "a.b"}), 501),
            (json!({"op": "subscribe", "ref": "c", "feeds": ["a.b"]}), 0),
        ] {
            let answer = socket.ask(message).await;
            let expected = if status == 0 { success } else { status };
            assert_eq!(refusal(&answer).0, u64::from(expected), "{name}: {answer}");
        }
    }
}

async fn a_websocket_with_wrong_credentials_is_not_opened(tls: bool) {
    let (replica, key) = replica(tls).await;
    for (name, credentials, status) in shown(&key) {
        let Some(credentials) = credentials else {
            continue;
        };
        let opened = Socket::open(&replica, &[("Authorization", &bearer(&credentials))]).await;
        match (status, opened) {
            (401, Err(refused)) => assert_eq!(refused, 401, "{name}"),
            (0 | 403, Ok(mut socket)) => {
                let message = json!({"op": "subscribe", "ref": "a", "feeds": ["a.b"]});
                assert_eq!(
                    refusal(&socket.ask(message).await).0,
                    u64::from(status),
                    "{name}"
                );
            }
            (_, opened) => panic!("{name}: {:?}", opened.map(|socket| socket.id)),
        }
    }
}

/// The requests that take the permission `admin`.
fn of_operators() -> impl Iterator<Item = (Method, &'static str)> {
    let paths = crate::admin::ADMIN.into_iter().chain(["/metrics"]);
    let looking = paths.map(|path| (Method::GET, path));
    looking.chain([(Method::DELETE, "/admin/subjects/nobody")])
}

async fn what_is_for_operators_is_open_to_them_alone(tls: bool, http2: bool) {
    let (replica, key) = replica(tls).await;
    let admin = token(&json!({"tidings": {"admin": true}}));
    let client = match http2 {
        true => replica.client().http2_prior_knowledge(),
        false => replica.client(),
    };
    let client = client.build().expect("a client");
    for (method, path) in of_operators() {
        let others = shown(&key).into_iter().map(|(name, shown, status)| {
            let status = if status == 0 { 403 } else { status };
            (name, shown, status)
        });
        for (name, shown, status) in others.chain([("admin", Some(admin.clone()), 200)]) {
            let case = format!("{method} {path}, {name}");
            let mut request = client.request(method.clone(), replica.url(path));
            if let Some(shown) = shown {
                request = request.header("Authorization", bearer(&shown));
            }
            let response = within("a head", request.send()).await.expect("an answer");
            match status {
                200 => assert_eq!(response.status(), 200, "{case}"),
                status => refused(response, status, &method, &case).await,
            }
        }
    }
}

#[tokio::test]
async fn over_http_1_operators_alone_see_what_is_for_them() {
    what_is_for_operators_is_open_to_them_alone(false, false).await;
}

#[tokio::test]
async fn over_http_2_operators_alone_see_what_is_for_them() {
    what_is_for_operators_is_open_to_them_alone(false, true).await;
}

#[tokio::test]
async fn within_tls_operators_alone_see_what_is_for_them() {
    what_is_for_operators_is_open_to_them_alone(true, false).await;
    what_is_for_operators_is_open_to_them_alone(true, true).await;
}

#[tokio::test]
async fn what_is_open_shows_no_event() {
    let (replica, _) = replica(false).await;
    for path in [
        "/",
        "/livez",
        "/readyz",
        "/console/console.js",
        "/tidings.js",
        "/websocket.md",
    ] {
        let answer = crate::call::get(&replica, path, &[]).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(
            !answer.text.contains(HUSH) && !answer.text.contains(AUDIENCE),
            "{path}"
        );
    }
}

#[tokio::test]
async fn without_any_right_what_is_meant_for_everyone_is_open_still() {
    let replica = guarded(&["--anonymous-subscribe", "news.*"]).await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        let headers = [&[("Accept", "application/json")], headers].concat();
        crate::call::get(&replica, path, &headers).await.status
    };
    let (right, wrong) = (bearer(&right()), bearer("a.b.c"));
    assert_eq!(get("/feeds/news.a", &[]).await, 200);
    assert_eq!(get("/feeds/a.b", &[]).await, 401);
    assert_eq!(get("/feeds/a.b", &[("Authorization", &right)]).await, 200);
    // A token stands for itself alone: what is meant for everyone is asked for without.
    assert_eq!(
        get("/feeds/news.a", &[("Authorization", &right)]).await,
        403
    );
    assert_eq!(
        get("/feeds/news.a", &[("Authorization", &wrong)]).await,
        401
    );
    assert_eq!(
        crate::call::post(&replica, "/feeds/news.a", &[], "x")
            .await
            .status,
        401
    );
}
