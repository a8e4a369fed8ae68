//! On which listener it is, and who may see it there.

use super::{ADMIN, get_at};
use crate::auth::{SECRET, api_key, bearer, guarded, token};
use crate::call::{get, post};
use crate::raw::Raw;
use crate::replica::{Replica, settings, within};
use serde_json::json;
use tidings::app::{App, StartError};
use tokio::net::TcpStream;

const OPERATORS: [&str; 2] = ["--admin-listen", "127.0.0.1:0"];
const BROWSER: [(&str, &str); 1] = [("Accept", "text/html")];

#[tokio::test]
async fn with_authentication_it_takes_the_permission_admin() {
    let (key, record) = api_key("ops", "admin");
    let replica = guarded(&["--api-key", &record]).await;
    let all = token(&json!({"tidings": {"subscribe": [">"], "publish": [">"]}}));
    let admin = token(&json!({"tidings": {"admin": true}}));
    for path in ADMIN.into_iter().chain(["/metrics"]) {
        let shown = async |credentials: &str| {
            let shown = bearer(credentials);
            get(&replica, path, &[("Authorization", &shown)]).await
        };
        assert!(shown(&all).await.problem(403).contains("`admin`"), "{path}");
        assert_eq!(shown(&admin).await.status, 200, "{path}");
        assert_eq!(shown(&key).await.status, 200, "{path}");
    }
    for open in ["/livez", "/readyz"] {
        assert_eq!(get(&replica, open, &[]).await.status, 200, "{open}");
    }
    let page = get(&replica, "/", &BROWSER).await;
    assert!(page.text.contains("<form id=\"sign-in\""), "{page:?}");
}

#[tokio::test]
async fn what_is_meant_for_everyone_is_not_meant_for_operators() {
    let replica = Replica::start(&["--anonymous-subscribe", ">"]).await;
    for path in ADMIN {
        let detail = get(&replica, path, &[]).await.problem(403);
        assert!(detail.contains("--admin-listen"), "{detail}");
    }
    assert_eq!(get(&replica, "/metrics", &[]).await.status, 200);
}

#[tokio::test]
async fn on_a_listener_of_its_own_it_is_not_on_the_other() {
    let all = ["--anonymous-subscribe", "public.>"];
    let replica = Replica::start(&[&OPERATORS[..], &all].concat()).await;
    let admin = replica.admin.expect("a listener");
    let moved = ["/metrics", "/livez", "/readyz", "/admin", "/admin/other/x"];
    for path in ADMIN.into_iter().chain(moved) {
        for answer in [
            get(&replica, path, &[]).await,
            post(&replica, path, &[], "").await,
        ] {
            let detail = answer.problem(404);
            assert!(detail.contains("--admin-listen"), "{detail}");
            assert!(!detail.contains(&admin.port().to_string()), "{detail}");
        }
    }
    assert_eq!(get(&replica, "/console/console.js", &[]).await.status, 404);
    let start = get(&replica, "/", &BROWSER).await;
    assert!(start.text.starts_with("Tidings: "), "{start:?}");
    assert!(!start.text.contains("/metrics"), "{start:?}");
    // Only this machine reaches the other, as it says itself: there, everything is allowed.
    for path in ADMIN.into_iter().chain(["/metrics", "/livez", "/readyz"]) {
        assert_eq!(get_at(admin, path, &[]).await.status, 200, "{path}");
        let evil = get_at(admin, path, &[("Host", "evil.example")]).await;
        assert_eq!(evil.status, 403, "{path}");
    }
    let page = get_at(admin, "/", &BROWSER).await;
    assert!(page.text.starts_with("<!doctype html>"), "{page:?}");
    let poll = [("Accept", "application/json")];
    assert_eq!(get(&replica, "/feeds/secret", &poll).await.status, 403);
    assert_eq!(get_at(admin, "/feeds/secret", &poll).await.status, 200);
}

#[tokio::test]
async fn on_a_listener_of_its_own_metrics_are_open_and_the_rest_takes_credentials() {
    let replica = guarded(&OPERATORS).await;
    let admin = replica.admin.expect("a listener");
    let shown = bearer(&token(&json!({"tidings": {"admin": true}})));
    for path in ADMIN {
        assert_eq!(get_at(admin, path, &[]).await.status, 401, "{path}");
        let headers = [("Authorization", shown.as_str())];
        assert_eq!(get_at(admin, path, &headers).await.status, 200, "{path}");
    }
    assert_eq!(get_at(admin, "/metrics", &[]).await.status, 200);
}

#[tokio::test]
async fn anonymous_operators_see_all_that_is_for_operators_and_read_no_more_than_others() {
    let replica = guarded(&[&OPERATORS[..], &["--anonymous-admin"]].concat()).await;
    let admin = replica.admin.expect("a listener");
    for path in ADMIN {
        assert_eq!(get_at(admin, path, &[]).await.status, 200, "{path}");
    }
    assert_eq!(get_at(admin, "/feeds/a", &[]).await.status, 401);
    // Nothing of that holds on the other: a token is explained to operators alone.
    let headers = [("Tidings-Explain-Token", "x")];
    let explain = get(&replica, "/explain?feed=a", &headers).await;
    assert_eq!(explain.status, 401);
}

#[tokio::test]
async fn a_listener_that_others_reach_is_refused_unless_something_says_who_may() {
    let bind = |more: &[&str]| {
        let flags = ["--admin-listen", "0.0.0.0:0"];
        App::bind(&settings(&[&flags[..], more].concat()))
    };
    let refused = bind(&[]).expect_err("nothing says who may");
    assert!(matches!(refused, StartError::AdminExposed(_)), "{refused}");
    assert!(refused.to_string().contains("--anonymous-admin"));
    assert!(bind(&["--anonymous-subscribe", "a"]).is_err());
    for more in [&["--anonymous-admin"][..], &["--jwt-key", SECRET]] {
        bind(more).expect("it is said who may");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operators_look_on_until_a_draining_replica_has_ended() {
    let mut replica = Replica::start(&OPERATORS).await;
    let admin = replica.admin.expect("a listener");
    let part = "POST /feeds/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nx";
    let mut publish = Raw::send(replica.address, part).await;
    // Once something of it is held it is being served.
    let none = "\ntidings_publish_bytes 0\n";
    let served = async { while get_at(admin, "/metrics", &[]).await.text.contains(none) {} };
    within("the publish to be served", served).await;
    replica.drain();
    let closed = async { while TcpStream::connect(replica.address).await.is_ok() {} };
    within("the listener for clients to be closed", closed).await;
    let ready = get_at(admin, "/readyz", &[]).await;
    assert_eq!(ready.status, 503);
    assert!(ready.text.contains("draining"), "{ready:?}");
    publish.write("y").await;
    assert!(publish.head().await.status.contains("201"));
    replica.ended().await;
    TcpStream::connect(admin).await.expect_err("it has ended");
}

#[tokio::test]
async fn a_page_may_load_and_do_nothing_but_what_it_needs() {
    let replica = Replica::start(&[]).await;
    for path in ["/", "/examples/chat"] {
        let page = get(&replica, path, &BROWSER).await;
        let policy = page.header("content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(policy.split("; ").any(|one| one == part), "{policy}");
        }
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(page.header(name), Some(value), "{path}");
        }
        let permissions = page.header("permissions-policy").expect("a policy");
        assert!(permissions.contains("camera=()"), "{permissions}");
    }
}

#[tokio::test]
async fn the_console_can_be_left_out() {
    let replica = Replica::start(&["--console", "off"]).await;
    let page = get(&replica, "/", &BROWSER).await;
    assert!(page.text.starts_with("Tidings: "), "{page:?}");
    assert_eq!(get(&replica, "/console/console.js", &[]).await.status, 404);
    assert_eq!(get(&replica, "/admin/status", &[]).await.status, 200);
}
