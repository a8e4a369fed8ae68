//! Who is refused is told why, and so is the operator.

use super::{AUDIENCE, SECRET, api_key, bearer, below_a, guarded, right, signed, token};
use crate::call::{get, post};
use crate::program::Program;
use crate::websocket::Client as Socket;
use jsonwebtoken::Algorithm;
use reqwest::{Client, RequestBuilder};
use serde_json::json;

/// A server that tells all of what it refuses.
async fn talkative(more: &[&str]) -> (Program, String) {
    let flags = ["--listen", "127.0.0.1:0", "--log", "debug"];
    let mut program = Program::start(&[&flags[..], more].concat());
    let address = program.address().await;
    (program, address.to_string())
}

/// The next line on something that was refused.
async fn told(program: &mut Program) -> String {
    loop {
        let line = program.complaint().await;
        if line.contains("a request was refused") {
            return line;
        }
    }
}

/// Checks that a line has all of these.
fn check(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part} is not in: {line}");
    }
}

/// The status of an answer that has been read to its end: a batch whose client goes earlier ends unfinished.
async fn status(request: RequestBuilder) -> u16 {
    let answer = request.send().await.expect("an answer");
    let status = answer.status().as_u16();
    answer.bytes().await.expect("the rest of it");
    status
}

#[tokio::test]
async fn the_operator_is_told_of_each_refusal_in_one_line_without_what_was_shown() {
    let (mut program, address) = talkative(&[
        "--jwt-key",
        SECRET,
        "--jwt-audience",
        AUDIENCE,
        "--jwt-cookie",
        "id",
        "--anonymous-subscribe",
        "public.>",
    ])
    .await;
    let (client, url) = (Client::new(), format!("http://{address}"));
    let wrong = signed(&json!({}), &"x".repeat(32), Algorithm::HS256);
    let get = |path: &str| client.get(format!("{url}{path}"));
    let with =
        |request: RequestBuilder, token: &str| request.header("Authorization", bearer(token));
    let line = r#"{"feed":"secret","data":1}"#;
    let batch = client.post(format!("{url}/feeds")).body(line);
    let batch = batch.header("Content-Type", "application/x-ndjson");
    let publish = client.post(format!("{url}/feeds/secret")).body("x");
    let cookie = get("/feeds/a").header("Cookie", format!("id={}", right()));
    for (request, expected, parts) in [
        (
            get("/feeds/secret?after=start"),
            401,
            [
                "refused=\"credentials\"",
                "reason=\"missing\"",
                "method=GET",
            ],
        ),
        (
            with(get("/feeds/secret"), &wrong),
            401,
            [
                "refused=\"credentials\"",
                "reason=\"signature\"",
                "method=GET",
            ],
        ),
        (
            with(get("/feeds/secret"), &right()),
            403,
            [
                "refused=\"grant\"",
                "reason=\"subscribe\"",
                "subject=\"ann\"",
            ],
        ),
        (
            with(publish, &right()),
            403,
            ["refused=\"grant\"", "reason=\"publish\"", "method=POST"],
        ),
        (
            with(batch, &right()),
            200,
            ["refused=\"grant\"", "reason=\"publish\"", "path=\"/feeds\""],
        ),
        (
            with(get("/admin/status"), &right()),
            403,
            [
                "refused=\"grant\"",
                "reason=\"admin\"",
                "path=\"/admin/status\"",
            ],
        ),
        (
            cookie.header("Origin", "https://evil.example"),
            403,
            [
                "refused=\"origin\"",
                "reason=\"cookie\"",
                "path=\"/feeds/a\"",
            ],
        ),
    ] {
        assert_eq!(status(request).await, expected);
        let line = told(&mut program).await;
        check(&line, &parts);
        check(&line, &["DEBUG", "client=127.0.0.1", "detail=\""]);
        assert!(!line.contains("after="), "a query: {line}");
        for secret in [&wrong, &right()] {
            let signature = secret.rsplit('.').next().expect("a part");
            assert!(!line.contains(signature), "{line}");
        }
    }
    let mut socket = Socket::to(address.parse().expect("an address"), &[]).await;
    let socket = socket.as_mut().expect("a WebSocket");
    let subscribe = json!({"op": "subscribe", "ref": 1, "feeds": ["secret"]});
    assert_eq!(socket.refusal(subscribe).await.0, 401);
    let line = told(&mut program).await;
    check(&line, &["reason=\"missing\"", "path=\"/ws\""]);

    let operator = token(&json!({"tidings": {"admin": true}}));
    let answer = with(get("/metrics"), &operator).send().await;
    let metrics = answer.expect("an answer").text().await.expect("text");
    for expected in [
        "tidings_credentials_refused_total{reason=\"missing\"} 2\n",
        "tidings_credentials_refused_total{reason=\"signature\"} 1\n",
        "tidings_origins_refused_total{reason=\"cookie\"} 1\n",
    ] {
        check(&metrics, &[expected]);
    }
}

#[tokio::test]
async fn the_operator_is_told_whose_credentials_were_revoked() {
    let (key, record) = api_key("operator", "admin");
    let arguments = ["--jwt-key", SECRET, "--jwt-audience", AUDIENCE];
    let (mut program, address) =
        talkative(&[&arguments[..], &["--api-key", &record]].concat()).await;
    let (client, url) = (Client::new(), format!("http://{address}"));
    let revoke = client.delete(format!("{url}/admin/subjects/ann"));
    assert_eq!(
        status(revoke.header("Authorization", bearer(&key))).await,
        200
    );
    let read = client.get(format!("{url}/feeds/a"));
    assert_eq!(
        status(read.header("Authorization", bearer(&right()))).await,
        401
    );
    let line = told(&mut program).await;
    check(&line, &["reason=\"revoked\"", "subject=\"ann\""]);
}

#[tokio::test]
async fn the_operator_is_told_who_has_as_much_as_one_client_may() {
    let arguments = ["--jwt-key", SECRET, "--jwt-audience", AUDIENCE];
    let rate = ["--publish-rate=1", "--publish-burst=1"];
    let (mut program, address) = talkative(&[&arguments[..], &rate].concat()).await;
    let client = Client::new();
    let publish = || {
        let request = client.post(format!("http://{address}/feeds/a.b")).body("x");
        request.header("Authorization", bearer(&right()))
    };
    while status(publish()).await != 429 {}
    let line = told(&mut program).await;
    check(
        &line,
        &["refused=\"limit\"", "reason=\"publish\"", "subject=\"ann\""],
    );
}

#[tokio::test]
async fn a_page_from_elsewhere_is_told_of_and_counted_where_there_is_no_authentication() {
    let (mut program, address) = talkative(&[]).await;
    let client = Client::new();
    for (header, value, reason) in [
        ("Origin", "https://evil.example", "origin"),
        ("Host", "evil.example", "host"),
        ("Sec-Fetch-Site", "cross-site", "site"),
    ] {
        let request = client.get(format!("http://{address}/feeds/a?last=1"));
        assert_eq!(status(request.header(header, value)).await, 403);
        let line = told(&mut program).await;
        let reason = format!("reason=\"{reason}\"");
        check(&line, &["refused=\"origin\"", &reason, "path=\"/feeds/a\""]);
        let answer = client.get(format!("http://{address}/metrics")).send().await;
        let metrics = answer.expect("an answer").text().await.expect("text");
        check(
            &metrics,
            &[&format!("tidings_origins_refused_total{{{reason}}} 1\n")],
        );
    }
}

#[tokio::test]
async fn what_comes_in_the_place_of_credentials_is_named_and_not_quoted() {
    let strict = guarded(&[]).await;
    let mixed = guarded(&["--anonymous-subscribe", "public.>"]).await;
    let in_url = guarded(&["--jwt-query"]).await;
    let mut all = vec![("Authorization", "hunter2".to_owned())];
    all.push(("Authorization", "Basic aHVudGVyMg==".to_owned()));
    all.push(("Authorization", right()));
    all.push(("X-Api-Key", "hunter2".to_owned()));
    for (name, value) in &all {
        for replica in [&strict, &mixed] {
            let headers = [(*name, value.as_str())];
            for answer in [
                get(replica, "/feeds/a", &headers).await,
                post(replica, "/feeds/a", &headers, "x").await,
                get(replica, "/admin/status", &headers).await,
            ] {
                let detail = answer.problem(401);
                check(&detail, &[&format!("`{name}` was there"), "Bearer"]);
                assert!(!detail.contains(value), "{detail}");
            }
        }
    }
    let path = |path: &str| format!("{path}?access_token={}", right());
    for answer in [
        get(&strict, &path("/feeds/a"), &[]).await,
        get(&mixed, &path("/admin/status"), &[]).await,
        post(&in_url, &path("/feeds/a"), &[], "x").await,
    ] {
        let detail = answer.problem(401);
        check(&detail, &["`access_token`", "--jwt-query", "GET"]);
        assert!(!detail.contains(&right()), "{detail}");
    }
    // Who shows a token otherwise too is told that one of them must go.
    let shown = bearer(&right());
    let headers = [("Authorization", shown.as_str())];
    for answer in [
        get(&mixed, &path("/feeds/public.a"), &[]).await,
        get(&strict, &path("/feeds/a.b"), &headers).await,
        post(&in_url, &path("/feeds/a.b"), &headers, "x").await,
    ] {
        check(&answer.problem(400), &["`access_token`", "--jwt-query"]);
    }
}

#[tokio::test]
async fn with_jwt_query_a_token_in_the_url_opens_whatever_is_read() {
    let replica = guarded(&["--jwt-query"]).await;
    let operator = token(&json!({"tidings": {"admin": true, "subscribe": ["a.>"]}}));
    for path in [
        "/admin/status?",
        "/admin/feeds?limit=1&",
        "/metrics?",
        "/explain?feed=a.b&",
    ] {
        let answer = get(&replica, &format!("{path}access_token={operator}"), &[]).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    let other = token(&json!({"tidings": below_a()}));
    let path = format!("/admin/status?access_token={other}");
    get(&replica, &path, &[]).await.problem(403);
}

#[tokio::test]
async fn who_shows_a_token_is_told_what_lets_it_do_what_everyone_may() {
    let flags = ["--anonymous-subscribe", "public.>"];
    let replica = guarded(&flags).await;
    let shown = bearer(&right());
    let headers = [
        ("Authorization", shown.as_str()),
        ("Accept", "application/json"),
    ];
    assert_eq!(
        get(&replica, "/feeds/public.a", &headers[1..]).await.status,
        200
    );
    let detail = get(&replica, "/feeds/public.a", &headers)
        .await
        .problem(403);
    check(&detail, &["--grant-subscribe 'public.>'"]);
    let detail = get(&replica, "/feeds/secret", &headers).await.problem(403);
    assert!(!detail.contains("--grant"), "{detail}");
    let granted = guarded(&[&flags[..], &["--grant-subscribe", "public.>"]].concat()).await;
    assert_eq!(get(&granted, "/feeds/public.a", &headers).await.status, 200);
}
