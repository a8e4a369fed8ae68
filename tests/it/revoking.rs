//! The end of all that a subject has open, on every replica.

use crate::auth::{api_key, bearer, guarded, now, publish, right, token};
use crate::call::{Answer, call, get};
use crate::nats_server::{NatsServer, Version};
use crate::program::Program;
use crate::replica::{Replica, within};
use crate::sse::{Block, Stream};
use crate::websocket::Client as Socket;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::sync::Arc;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

async fn revoke(replica: &Replica, key: &str, subject: &str) -> Answer {
    let shown = bearer(key);
    let path = format!("/admin/subjects/{subject}");
    call(
        replica,
        Method::DELETE,
        &path,
        &[("Authorization", &shown)],
        "",
    )
    .await
}

async fn stream(replica: &Replica, client: &Client, token: &str) -> Stream {
    let request = client.get(replica.url("/feeds/a.>"));
    Stream::begin(request.header("Authorization", bearer(token)))
        .await
        .0
}

/// A token that was issued at this time, relative to now.
fn issued(subject: &str, seconds: i64) -> String {
    let at = now().checked_add_signed(seconds).expect("a time");
    token(
        &json!({"sub": subject, "iat": at, "tidings": {"subscribe": ["a.>"], "publish": ["a.>"]}}),
    )
}

fn is_revoked(block: &Block) -> bool {
    (block.kind.as_str(), block.data.as_str()) == ("hub:closing", r#"{"reason":"revoked"}"#)
}

#[tokio::test]
async fn all_that_a_subject_has_open_ends_and_what_others_have_goes_on() {
    let (key, record) = api_key("operator", "admin");
    let replica = guarded(&["--api-key", &record]).await;
    let http2 = Client::builder()
        .http2_prior_knowledge()
        .build()
        .expect("a client");
    let (ann, bob) = (right(), issued("bob", 0));
    let mut shard = stream(&replica, &Client::new(), &ann).await;
    let mut multiplexed = stream(&replica, &http2, &ann).await;
    let mut other = stream(&replica, &Client::new(), &bob).await;
    let mut socket = Socket::open(&replica, &[("Authorization", &bearer(&ann))])
        .await
        .expect("a WebSocket");
    let poll = http2
        .get(replica.url("/feeds/a.>?wait=50"))
        .header("Accept", "application/json")
        .header("Authorization", bearer(&ann));
    let poll = tokio::spawn(poll.send());
    while replica.hub().usage().readers < 4 {
        tokio::task::yield_now().await;
    }
    let answer = revoke(&replica, &key, "ann").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let told = answer.json();
    assert_eq!(
        (&told["subject"], &told["ended"]),
        (&json!("ann"), &json!(4)),
        "{told}"
    );
    for ended in [&mut shard, &mut multiplexed] {
        let block = ended.event().await;
        assert!(is_revoked(&block), "{block:?}");
        assert_eq!(ended.next().await, None);
    }
    let (code, last) = socket.close_code().await;
    assert_eq!(code, Some(1008));
    assert_eq!(
        last,
        [json!({"type": "hub:closing", "data": {"reason": "revoked"}})]
    );
    let polled = within("the poll", poll)
        .await
        .expect("a task")
        .expect("an answer");
    assert_eq!(polled.status(), 401);
    publish(&replica, &bob, "a.b", "1").await;
    assert_eq!(other.event().await.data, "1");
}

#[tokio::test]
async fn credentials_of_before_are_refused_and_those_of_later_are_taken() {
    let (key, record) = api_key("operator", "admin");
    let (backend, its) = api_key("backend", "subscribe=a.>");
    let replica = guarded(&["--api-key", &record, "--api-key", &its]).await;
    let status = async |token: &str| {
        let shown = bearer(token);
        get(
            &replica,
            "/feeds/a.b",
            &[("Accept", "application/json"), ("Authorization", &shown)],
        )
        .await
    };
    assert_eq!(
        revoke(&replica, &key, "ann%40example.com").await.status,
        200
    );
    assert_eq!(revoke(&replica, &key, "backend").await.status, 200);
    let before = issued("ann@example.com", -5);
    let detail = status(&before).await.problem(401);
    assert!(detail.contains("revoked"), "{detail}");
    let undated = token(&json!({"sub": "ann@example.com", "tidings": {"subscribe": ["a.>"]}}));
    status(&undated).await.problem(401);
    status(&backend).await.problem(401);
    assert_eq!(status(&issued("ann@example.com", 5)).await.status, 200);
    assert_eq!(status(&issued("bob", -5)).await.status, 200);
    // It can be taken back.
    assert_eq!(revoke(&replica, &key, "backend?for=0").await.status, 200);
    assert_eq!(status(&backend).await.status, 200);
    let shown = bearer(&key);
    let metrics = get(&replica, "/metrics", &[("Authorization", &shown)])
        .await
        .text;
    assert!(
        metrics.contains("tidings_credentials_refused_total{reason=\"revoked\"} 3"),
        "{metrics}"
    );
}

/// Each opens one after the other until one is refused, and the operator's word comes somewhere in between.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_opened_while_its_subject_is_revoked_ends_too() {
    const ROUNDS: usize = 30;
    let (key, record) = api_key("operator", "admin");
    let most = [
        "--api-key",
        record.as_str(),
        "--max-connections-per-subject",
        "100000",
    ];
    let replica = Arc::new(guarded(&most).await);
    for round in 0..ROUNDS {
        let subject = format!("ann{round}");
        let shown = bearer(&issued(&subject, -5));
        let streams = (0..4).map(|_| tokio::spawn(open_streams(replica.clone(), shown.clone())));
        let sockets = (0..2).map(|_| tokio::spawn(open_sockets(replica.clone(), shown.clone())));
        let opening: Vec<_> = streams.chain(sockets).collect();
        while replica.hub().usage().readers < 3 {
            tokio::task::yield_now().await;
        }
        assert_eq!(revoke(&replica, &key, &subject).await.status, 200);
        for one in opening {
            within("all of a revoked subject to end", one)
                .await
                .expect("no panic");
        }
    }
}

/// More lines than there is room for results on their way to a client that takes none.
#[tokio::test]
async fn a_batch_goes_no_further_than_its_credentials_hold() {
    const LINES: usize = 250_000;
    let (key, record) = api_key("operator", "admin");
    let replica = guarded(&["--api-key", &record]).await;
    let request = Client::new()
        .post(replica.url("/feeds"))
        .header("Content-Type", "application/x-ndjson")
        .header("Authorization", bearer(&right()))
        .body("{\"feed\":\"a.b\"}\n".repeat(LINES));
    let answer = within("the head", request.send()).await.expect("an answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(revoke(&replica, &key, "ann").await.status, 200);
    let head = replica.hub().head();
    let results = answer.text().await.expect("results");
    let last: Value = serde_json::from_str(results.lines().last().expect("a line")).expect("JSON");
    assert_eq!(results.lines().count(), LINES);
    assert_eq!(last["status"], 401, "{last}");
    // But for those that were under way.
    assert!(replica.hub().head() < head + 1_000);
}

/// Opens streams until one is refused, and waits until all have ended as they were revoked.
async fn open_streams(replica: Arc<Replica>, shown: String) {
    let (http, mut opened) = (Client::new(), Vec::new());
    loop {
        let request = http.get(replica.url("/feeds/a.>"));
        let answer = request.header("Authorization", &shown).send().await;
        let answer = answer.expect("an answer");
        match answer.status().as_u16() {
            200 => opened.push(answer),
            status => break assert_eq!(status, 401),
        }
    }
    for one in opened {
        let text = one.text().await.expect("its end");
        assert!(
            text.ends_with("data: {\"reason\":\"revoked\"}\n\n"),
            "{text}"
        );
    }
}

/// The same of WebSockets.
async fn open_sockets(replica: Arc<Replica>, shown: String) {
    let mut opened = Vec::new();
    loop {
        match Socket::open(&replica, &[("Authorization", &shown)]).await {
            Ok(socket) => opened.push(socket),
            Err(status) => break assert_eq!(status, 401),
        }
    }
    for mut one in opened {
        assert_eq!(one.close_code().await.0, Some(1008));
    }
}

#[tokio::test]
async fn it_takes_the_permission_and_says_what_is_wrong() {
    let (key, record) = api_key("operator", "admin");
    let replica = guarded(&["--api-key", &record]).await;
    revoke(&replica, &right(), "ann").await.problem(403);
    call(&replica, Method::DELETE, "/admin/subjects/ann", &[], "")
        .await
        .problem(401);
    for wrong in [
        "ann?for=x",
        "ann?for=-1",
        "ann?for=99999999",
        "ann?until=1",
        "%ff",
    ] {
        revoke(&replica, &key, wrong).await.problem(400);
    }
    let shown = bearer(&key);
    get(
        &replica,
        "/admin/subjects/ann",
        &[("Authorization", &shown)],
    )
    .await
    .problem(405);
}

#[tokio::test]
async fn what_is_revoked_is_listed_a_page_at_a_time() {
    let (key, record) = api_key("operator", "admin");
    let replica = guarded(&["--api-key", &record]).await;
    let shown = bearer(&key);
    let list = async |query: &str| {
        let path = format!("/admin/subjects{query}");
        get(&replica, &path, &[("Authorization", &shown)]).await
    };
    let none = json!({"subjects": [], "next": null, "total": 0});
    assert_eq!(list("").await.json(), none);
    for subject in ["bob", "ann%40example.com?for=60", "cid", "dan"] {
        assert_eq!(revoke(&replica, &key, subject).await.status, 200);
    }
    assert_eq!(revoke(&replica, &key, "dan?for=0").await.status, 200);
    let first = list("?limit=2").await.json();
    let names = |page: &Value| -> Vec<Value> {
        let subjects = page["subjects"].as_array().expect("a list").iter();
        subjects.map(|one| one["subject"].clone()).collect()
    };
    assert_eq!(names(&first), ["ann@example.com", "bob"]);
    assert_eq!(
        (&first["next"], &first["total"]),
        (&json!("bob"), &json!(3))
    );
    let [since, until] = ["since", "until"].map(|name| {
        let text = first["subjects"][0][name].as_str().expect("a time");
        OffsetDateTime::parse(text, &Rfc3339)
            .expect("RFC 3339")
            .unix_timestamp()
    });
    assert!((59..=61).contains(&(until - since)), "{first}");
    let rest = list("?limit=2&after=bob").await.json();
    assert_eq!(names(&rest), ["cid"]);
    assert_eq!(rest["next"], Value::Null);
    for wrong in ["?limit=0", "?limit=1001", "?before=x"] {
        list(wrong).await.problem(400);
    }
}

#[tokio::test]
async fn the_log_says_who_has_revoked_whom_and_for_how_long() {
    let (key, record) = api_key("operator", "admin");
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--log-format",
        "json",
        "--api-key",
        &record,
    ];
    let mut program = Program::start(&arguments);
    let listening = complaint(&mut program, "listening").await;
    let listening: Value = serde_json::from_str(&listening).expect("JSON");
    let url = listening["url"].as_str().expect("a URL");
    let delete = async |subject: &str| {
        let url = format!("{url}/admin/subjects/{subject}");
        let request = Client::new()
            .delete(url)
            .header("Authorization", bearer(&key));
        let answer = within("an answer", request.send()).await.expect("it");
        assert_eq!(answer.status(), 200);
    };
    delete("ann%0Abob?for=60").await;
    let line = complaint(&mut program, "a subject is revoked").await;
    let told: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(told["subject"], "ann\nbob", "{line}");
    assert_eq!(told["by"], "operator", "{line}");
    assert_eq!((&told["seconds"], &told["ended"]), (&json!(60), &json!(0)));
    delete("ann?for=0").await;
    let line = complaint(&mut program, "a revocation is taken back").await;
    assert!(line.contains("ann") && line.contains("operator"), "{line}");
}

/// The next line of its log with these words.
async fn complaint(program: &mut Program, words: &str) -> String {
    loop {
        let line = program.complaint().await;
        if line.contains(words) {
            return line;
        }
    }
}

async fn other_replicas_are_told_over_nats(version: Version) {
    let server = NatsServer::start(version);
    let url = server.url();
    let (key, record) = api_key("operator", "admin");
    let more = ["--nats", url.as_str(), "--api-key", &record];
    let (near, far) = (guarded(&more).await, guarded(&more).await);
    let mut stream = stream(&far, &Client::new(), &right()).await;
    // Both have to have begun to listen, which nothing but this shows.
    let told = within("both to answer", async {
        loop {
            let told = revoke(&near, &key, "nobody").await.json();
            if told["replicas"]
                .as_array()
                .is_some_and(|all| all.len() == 2)
            {
                return told;
            }
        }
    })
    .await;
    assert_eq!(told["ended"], 0);
    let told = revoke(&near, &key, "ann").await.json();
    let ended: Vec<&Value> = told["replicas"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| &one["ended"])
        .collect();
    assert_eq!(ended, [0, 1], "{told}");
    let block = stream.event().await;
    assert!(is_revoked(&block), "{block:?}");
    for replica in [&near, &far] {
        let shown = bearer(&right());
        get(replica, "/feeds/a.b", &[("Authorization", &shown)])
            .await
            .problem(401);
    }
}

async fn no_order_that_anybody_may_send_over_nats_keeps_a_replica_from_the_next(version: Version) {
    let server = NatsServer::start(version);
    let (_, record) = api_key("operator", "admin");
    let replica = guarded(&["--nats", &server.url(), "--api-key", &record]).await;
    let client = server.client().await;
    let send = async |text: String| {
        let to = "_TIDINGS.TIDINGS.replicas".to_owned();
        client.request(to, text.into()).await
    };
    // It may not listen yet.
    within("the replica to listen", async {
        while send(json!({"subject": "nobody", "at": 0, "seconds": 0}).to_string())
            .await
            .is_err()
        {}
    })
    .await;
    for (subject, at, seconds) in [
        ("ann", u64::MAX, u64::MAX),
        ("bob", 0, u64::MAX),
        ("eve", u64::MAX, 0),
    ] {
        let order = json!({"subject": subject, "at": at, "seconds": seconds});
        let told = send(order.to_string()).await.expect("an answer");
        let told: Value = serde_json::from_slice(&told.payload).expect("JSON");
        assert_eq!(told["ended"], 0, "{told}");
    }
    for wrong in ["", "{", "[]", r#"{"subject":"ann","at":-1,"seconds":1}"#] {
        client
            .publish("_TIDINGS.TIDINGS.replicas", wrong.into())
            .await
            .expect("a client");
    }
    let huge = json!({"subject": "x".repeat(100_000), "at": 0, "seconds": 9});
    client
        .publish("_TIDINGS.TIDINGS.replicas", huge.to_string().into())
        .await
        .expect("a client");
    let mut stream = stream(&replica, &Client::new(), &issued("joe", -5)).await;
    let order = json!({"subject": "joe", "at": now(), "seconds": 60});
    send(order.to_string()).await.expect("an answer");
    assert!(is_revoked(&stream.event().await));
    for (subject, status) in [("ann", 401), ("bob", 200), ("eve", 200), ("joe", 401)] {
        let shown = bearer(&issued(subject, -5));
        let headers = [
            ("Accept", "application/json"),
            ("Authorization", shown.as_str()),
        ];
        assert_eq!(
            get(&replica, "/feeds/a.b", &headers).await.status,
            status,
            "{subject}"
        );
    }
}

async fn without_nats_it_is_done_here_and_said_that_others_do_not_know(version: Version) {
    let mut server = NatsServer::start(version);
    let url = server.url();
    let (key, record) = api_key("operator", "admin");
    let replica = guarded(&["--nats", &url, "--api-key", &record]).await;
    let mut stream = stream(&replica, &Client::new(), &right()).await;
    server.stop();
    let detail = within("the cut to be seen", async {
        loop {
            let answer = revoke(&replica, &key, "ann").await;
            if answer.status == 503 {
                return answer.problem(503);
            }
        }
    })
    .await;
    assert!(detail.contains("repeat"), "{detail}");
    let block = stream.event().await;
    assert!(is_revoked(&block), "{block:?}");
}

on_both!(
    other_replicas_are_told_over_nats,
    no_order_that_anybody_may_send_over_nats_keeps_a_replica_from_the_next,
    without_nats_it_is_done_here_and_said_that_others_do_not_know,
);

#[tokio::test]
async fn an_operator_may_have_a_token_too() {
    let more = ["--grant-claim", "role=operator:admin"];
    let replica = guarded(&more).await;
    let operator = token(&json!({"sub": "eve", "role": "operator"}));
    assert_eq!(revoke(&replica, &operator, "ann").await.status, 200);
}
