//! Names that are written so that the one who checks them might see another than the one who uses them.

use super::{Healthy, PUBLIC};
use crate::call::{get, post};
use crate::raw::Raw;
use crate::replica::Replica;
use crate::websocket::Client as Socket;
use serde_json::{Value, json};
use tidings::auth::api_key::ApiKey;

/// What nobody is to see.
const HUSH: &str = "hush";

/// What follows `/feeds`, and how a request to read it is answered.
const TRICKS: &[(&str, u16)] = &[
    ("/secret", 401),
    ("/secret.a", 401),
    ("/secret%2ea", 401),
    ("/%73ecret", 401),
    ("/public", 401),
    ("/PUBLIC.a", 401),
    ("/Public.a", 401),
    ("/%3E", 401),
    ("/%3e", 401),
    ("/*", 401),
    ("/*.a", 401),
    ("/%2A.a", 401),
    ("/*.%3E", 401),
    ("/public%EF%BC%8Ea", 401), // a full-width dot
    ("/public%E2%80%A4a", 401), // a dot leader
    ("/publ%C4%B1c.a", 401),    // a dotless i
    ("/public%252ea", 401),
    ("/public;.a", 401),
    // Within what is meant for everyone, whatever it looks like.
    ("/%70ublic.a", 200),
    ("/public%2ea", 200),
    ("/public.a;secret", 200),
    ("/public.%252e%252e%252fsecret", 200),
    ("/public.a&feed=secret", 200),
    ("/public.a+secret", 200),
    ("/public.a,secret", 200),
    ("/public.a%23secret", 200),
    ("/public.a%3Ffeed=secret", 200),
    ("/public.%3E", 200),
    ("/public.*", 200),
    // No feeds.
    ("/public..secret", 400),
    ("/public.%2e%2e.secret", 400),
    ("/public.%2E%2E%2Fsecret", 400),
    ("/public.a%2f..%2fsecret", 400),
    ("/%2e%2e%2fsecret", 400),
    ("/..%2fsecret", 400),
    ("/.", 400),
    ("/..", 400),
    ("/%2e", 400),
    ("/%2e%2e", 400),
    ("/.secret", 400),
    ("/secret.", 400),
    ("/public.%3E.secret", 400),
    ("/public.a%00", 400),
    ("/secret%00.public", 400),
    ("/public.a%0d%0aX:%20y", 400),
    ("/public.a%20secret", 400),
    ("/public.a%09", 400),
    ("/public.%c0%ae%c0%aesecret", 400),
    ("/public%c0%aea", 400),
    ("/public%e0%80%aea", 400),
    ("/public.%ff", 400),
    ("/public.%ed%a0%80", 400),
    ("/public.%", 400),
    ("/public.%2", 400),
    ("/public.%zz", 400),
    ("/public.%u002e", 400),
    ("/public.a%E2%80%A8", 400), // a line separator
    // No paths of ours.
    ("//secret", 404),
    ("/./secret", 404),
    ("/../feeds/secret", 404),
    ("/public.a/../secret", 404),
    ("/public.a/../../feeds/secret", 404),
    ("/public.a/secret", 404),
    ("/secret/", 404),
    ("\\secret", 404),
    ("%2fsecret", 404),
    (";/secret", 404),
    // Several names.
    ("?feed=secret", 401),
    ("?feed=public.a&feed=secret", 401),
    ("?fe%65d=secret", 401),
    ("?feed=public.a&fe%65d=secret", 401),
    ("?feed=%3E", 401),
    ("?feed=public.a%26feed=secret", 200),
    ("?feed=public.a#&feed=secret", 200),
    ("?feed=public.a;feed=secret", 200),
    ("?feed=public.a+secret", 400),
    ("?feed=public.a%2Csecret%00", 400),
    ("?FEED=secret&feed=public.a", 400),
    ("?feed[]=secret&feed=public.a", 400),
    ("?feed=public.a&feed%00=secret", 400),
    ("?feed=public.a&feed=", 400),
    ("?feed=", 400),
    ("?", 400),
    ("/public.a?feed=secret", 400),
    ("/secret?feed=public.a", 400),
    ("/public.a?pattern=secret", 400),
    ("/public.a?lastEventId=1-aaaaaa&after=start&after=now", 400),
];

/// A path of which all is asked for that there is.
fn whole(trick: &str) -> String {
    // What stands behind `#` is not sent to a server; whoever sends it has it left out.
    let joint = if trick.contains('?') { '&' } else { '?' };
    match trick.split_once('#') {
        Some((path, fragment)) => format!("/feeds{path}&after=start#{fragment}"),
        None if trick.contains("after=") => format!("/feeds{trick}"),
        None => format!("/feeds{trick}{joint}after=start"),
    }
}

async fn ask(replica: &Replica, method: &str, path: &str, fields: &str, body: &str) -> (u16, Raw) {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    );
    let mut raw = Raw::send(replica.address, &request).await;
    let status = raw.head().await.status;
    let status = status.split(' ').nth(1).expect("a status");
    (status.parse().expect("a number"), raw)
}

/// A replica with something to hide, and the key to that.
async fn replica() -> (Replica, String) {
    let all = "subscribe=>;publish=>".parse().expect("permissions");
    let (key, record) = ApiKey::generate("owner", all).expect("a key");
    let record = record.to_string();
    let flags = [&PUBLIC[..], &["--api-key", &record]].concat();
    let replica = Replica::start(&flags).await;
    let shown = format!("Bearer {}", key.expose());
    for feed in [
        "secret",
        "secret.a",
        "public",
        "PUBLIC.a",
        "public;.a",
        "public%2525.a",
    ] {
        let published = post(
            &replica,
            &format!("/feeds/{feed}"),
            &[("Authorization", &shown)],
            HUSH,
        )
        .await;
        assert_eq!(published.status, 201, "{feed}");
    }
    (replica, shown)
}

/// Checks that all events but the owner's are of feeds that are meant for everyone.
async fn nothing_else_was_published(replica: &Replica, shown: &str) {
    let headers = [("Authorization", shown), ("Accept", "application/json")];
    let all = get(replica, "/feeds/%3E?after=start&limit=1000", &headers)
        .await
        .json();
    let events = all["events"].as_array().expect("events");
    let others = events.iter().filter(|event| event["sender"] != "owner");
    let feeds: Vec<&str> = others
        .map(|event| event["feed"].as_str().expect("a feed"))
        .collect();
    assert!(
        feeds.iter().all(|feed| feed.starts_with("public.")),
        "{feeds:?}"
    );
    assert!(feeds.len() > 10, "{feeds:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_way_to_write_a_path_reads_or_publishes_what_is_not_meant_for_everyone() {
    let (replica, shown) = replica().await;
    let mut healthy = Healthy::connect(replica.address).await;
    let streams = healthy
        .beside(async {
            let (mut streams, mut wrong) = (Vec::new(), Vec::new());
            for &(trick, expected) in TRICKS {
                for form in [
                    "application/json",
                    "text/event-stream",
                    "application/x-ndjson",
                ] {
                    let accept = format!("Accept: {form}\r\n");
                    let (status, raw) = ask(&replica, "GET", &whole(trick), &accept, "").await;
                    if status != expected {
                        wrong.push((trick, form, status));
                    }
                    streams.push(raw);
                }
                let path = format!("/feeds{trick}");
                let (status, _) = ask(&replica, "POST", &path, "", "loot").await;
                let right = matches!(status, 201 | 400 | 401 | 404 | 415);
                if !right || status == 201 && expected != 200 {
                    wrong.push((trick, "POST", status));
                }
            }
            assert!(wrong.is_empty(), "{wrong:#?}");
            streams
        })
        .await;
    nothing_else_was_published(&replica, &shown).await;
    // Streams end with the server, and are whole then.
    let (told, ()) = tokio::join!(
        async {
            let mut told = Vec::new();
            for mut stream in streams {
                told.extend(stream.rest().await);
            }
            told
        },
        replica.stop()
    );
    let told = String::from_utf8_lossy(&told);
    assert!(told.contains("hub:closing") && told.contains("loot"));
    assert!(!told.contains(HUSH), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_name_in_a_message_or_a_line_is_decoded() {
    let (replica, shown) = replica().await;
    let mut healthy = Healthy::connect(replica.address).await;
    let names: Vec<&str> = TRICKS
        .iter()
        .map(|(trick, _)| {
            trick
                .trim_start_matches(['/', '?'])
                .trim_start_matches("feed=")
        })
        .chain([
            "secret",
            "public",
            "*.a",
            ">",
            "public.>.a",
            "public.a\0",
            "public.a\u{2028}",
        ])
        .collect();
    healthy
        .beside(async {
            let mut socket = Socket::connect(&replica).await;
            for (n, name) in names.iter().enumerate() {
                let open = name.starts_with("public.");
                let subscribe =
                    json!({"op": "subscribe", "ref": n, "feeds": [name], "after": "start"});
                socket.send(&subscribe).await;
                let publish =
                    json!({"op": "publish", "ref": format!("p{n}"), "feed": name, "data": "loot"});
                socket.send(&publish).await;
                let mut answers = 0;
                while answers < 2 {
                    let said = socket.text().await;
                    assert_ne!(said["data"], HUSH, "{said}");
                    if said["sub"].is_null() {
                        answers += 1;
                        assert!(open || said["error"].is_object(), "{name}: {said}");
                    }
                }
            }
            let line = |name: &&str| format!("{}\n", json!({"feed": name, "data": "loot"}));
            let lines: String = names.iter().map(line).collect();
            let form = ("Content-Type", "application/x-ndjson");
            let results = post(&replica, "/feeds", &[form], lines).await;
            for (name, result) in names.iter().zip(results.text.lines()) {
                let result: Value = serde_json::from_str(result).expect("JSON");
                let open = name.starts_with("public.");
                assert!(open || result["status"].is_u64(), "{name}: {result}");
            }
        })
        .await;
    nothing_else_was_published(&replica, &shown).await;
}
