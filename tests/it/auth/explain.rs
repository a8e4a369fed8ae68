//! Why one does, or does not, receive something.

use super::{api_key, bearer, guarded, publish, right, token};
use crate::call::{Answer, get};
use crate::replica::Replica;
use serde_json::json;

async fn explain(replica: &Replica, shown: &str, feed: &str, more: &[(&str, &str)]) -> Answer {
    let shown = bearer(shown);
    let headers = [&[("Authorization", shown.as_str())], more].concat();
    get(replica, &format!("/explain?feed={feed}"), &headers).await
}

#[tokio::test]
async fn it_names_the_grant_and_how_far_the_events_reach() {
    let replica = guarded(&[]).await;
    publish(&replica, &right(), "a.b", "1").await;
    let id = publish(&replica, &right(), "a.c", "2").await;
    let answer = explain(&replica, &right(), "a.*", &[]).await;
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let told = answer.json();
    assert_eq!(
        told["subscribe"],
        json!({"allowed": true, "grant": "a.>"}),
        "{told}"
    );
    assert!(told["publish"].is_null(), "{told}");
    assert_eq!(
        (&told["caller"]["subject"], &told["caller"]["kind"]),
        (&json!("ann"), &json!("known"))
    );
    let events = &told["events"];
    assert_eq!(
        (
            &events["newest"],
            &events["window"]["head"],
            &events["log"]["last"]
        ),
        (&json!(id), &json!(id), &json!(id)),
        "{told}"
    );
    assert_eq!(told["limits"]["max_patterns"], 100);
    let told = explain(&replica, &right(), "a.b", &[]).await.json();
    assert_eq!(
        told["publish"],
        json!({"allowed": true, "grant": "a.>"}),
        "{told}"
    );
    assert_ne!(told["events"]["newest"], json!(id));
    let named = told["replica"].as_str().expect("a name");
    let shown = bearer(&token(&json!({"tidings": {"admin": true}})));
    let metrics = get(&replica, "/metrics", &[("Authorization", &shown)]).await;
    assert!(metrics.text.contains(named));
}

#[tokio::test]
async fn it_tells_nothing_of_what_one_may_not_read() {
    let replica = guarded(&[]).await;
    publish(&replica, &right(), "a.b", "1").await;
    let told = explain(&replica, &token(&json!({})), "a.b", &[])
        .await
        .json();
    assert_eq!(told["subscribe"]["allowed"], false);
    for empty in ["skipped", "unknown"] {
        assert!(told["caller"][empty].is_null(), "{told}");
    }
    let reason = told["subscribe"]["reason"].as_str().expect("a reason");
    assert!(reason.contains("`a.b`"), "{reason}");
    assert!(told["events"].is_null(), "{told}");
    get(&replica, "/explain?feed=a.b", &[]).await.problem(401);
    explain(&replica, "x.y.z", "a.b", &[]).await.problem(401);
    explain(&replica, &right(), "a..b", &[]).await.problem(400);
}

#[tokio::test]
async fn an_operator_may_ask_of_someone_elses_token() {
    let (key, record) = api_key("operator", "admin");
    let replica = guarded(&["--api-key", &record]).await;
    let other = right();
    let more = [("Tidings-Explain-Token", other.as_str())];
    let told = explain(&replica, &key, "a.b", &more).await.json();
    assert_eq!(told["caller"]["subject"], "ann");
    // As it is sent.
    let as_sent = bearer(&other);
    let as_sent = [("Tidings-Explain-Token", as_sent.as_str())];
    let same = explain(&replica, &key, "a.b", &as_sent).await.json();
    assert_eq!(same["caller"]["subject"], "ann");
    assert_eq!(told["subscribe"]["allowed"], true);
    explain(&replica, &right(), "a.b", &more).await.problem(403);
    let expired = token(&json!({"exp": 1}));
    let more = [("Tidings-Explain-Token", expired.as_str())];
    let told = explain(&replica, &key, "a.b", &more).await.json();
    let reason = told["caller"]["refused"].as_str().expect("a reason");
    assert!(reason.contains("expired"), "{reason}");
    assert_eq!(told["subscribe"]["allowed"], false);
}

#[tokio::test]
async fn without_authentication_everything_is_allowed_by_no_grant() {
    let replica = Replica::start(&[]).await;
    let told = get(&replica, "/explain?feed=a.b", &[]).await.json();
    assert_eq!(told["caller"], json!({"kind": "local"}));
    assert_eq!(told["subscribe"], json!({"allowed": true}));
}

#[tokio::test]
async fn it_tells_what_one_has_and_what_was_meant_to_be_more() {
    let by_claim = ["--grant-subscribe", "users.{sub}.>"];
    let more = ["--grant-publish", "chat.{claim:tenant}"];
    let replica = guarded(&[by_claim, more].concat()).await;
    let tidings =
        json!({"subscribe": ["a.{claim:no.such}.*", "b"], "subscribes": ["c"], "request": ["r"]});
    let shown = token(&json!({"sub": "ann@example.com", "tidings": tidings}));
    let told = explain(&replica, &shown, "c", &[]).await.json();
    let caller = &told["caller"];
    let granted = json!({
        "subscribe": ["b", "users.ann%40example%2Ecom.>"], "publish": [], "request": ["r"], "admin": false,
    });
    assert_eq!(caller["grants"], granted, "{told}");
    let skipped = caller["skipped"].as_array().expect("a list").iter();
    let skipped: Vec<_> = skipped
        .map(|one| (&one["permission"], &one["grant"], &one["claim"]))
        .collect();
    let expected = [
        json!(["subscribe", "a.{claim:no.such}.*", "no.such"]),
        json!(["publish", "chat.{claim:tenant}", "tenant"]),
    ];
    let expected = expected.each_ref().map(|one| (&one[0], &one[1], &one[2]));
    assert_eq!(skipped, expected);
    let reason = caller["skipped"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("`no.such` is missing"), "{reason}");
    assert_eq!(caller["unknown"], json!(["subscribes"]));
}

#[tokio::test]
async fn it_tells_no_more_than_fits() {
    let replica = guarded(&[]).await;
    let many: Vec<_> = (0..120).map(|n| format!("a{n}")).collect();
    let missing: Vec<_> = (0..30).map(|n| format!("{{claim:c{n}}}")).collect();
    let mut tidings = json!({"subscribe": many, "publish": missing});
    for n in 0..25 {
        tidings[format!("{n}{}", "x".repeat(80))] = true.into();
    }
    let shown = token(&json!({"tidings": tidings}));
    let told = explain(&replica, &shown, "a110", &[]).await.json();
    let count = |list: &serde_json::Value| list.as_array().map(Vec::len);
    let caller = &told["caller"];
    assert_eq!(count(&caller["grants"]["subscribe"]), Some(100));
    assert_eq!(caller["grants"]["more"], true);
    assert_eq!(count(&caller["skipped"]), Some(20));
    assert_eq!(count(&caller["unknown"]), Some(20));
    let name = caller["unknown"][0].as_str().expect("a name");
    assert_eq!(name.len(), 64);
    // All of them count all the same.
    assert_eq!(told["subscribe"]["grant"], "a110");
}
