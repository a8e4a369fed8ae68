//! What a request for a stream may say, and where the stream begins then.

use crate::call::get;
use crate::replica::Replica;
use crate::sse::Stream;

/// Five events on `a`, each after one on `b`; the ids of all, in order.
async fn filled(replica: &Replica) -> Vec<String> {
    let mut ids = Vec::new();
    for n in 1..=5 {
        ids.push(replica.publish("b", format!("b{n}")).await.to_string());
        ids.push(replica.publish("a", format!("a{n}")).await.to_string());
    }
    ids
}

/// What a stream brings before what is published next, and the id of its first block.
async fn brings(replica: &Replica, path: &str, id: Option<&str>) -> (Vec<String>, String) {
    let (mut stream, first) = match id {
        Some(id) => Stream::resume(replica, path, id).await,
        None => Stream::open(replica, path).await,
    };
    let end = replica.publish("a", "end").await.to_string();
    let mut data = Vec::new();
    loop {
        let event = stream.event().await;
        if event.id == end {
            return (data, first.id);
        }
        data.push(event.data);
    }
}

#[tokio::test]
async fn it_begins_where_it_was_asked_to() {
    for (query, expected) in [
        ("", &[][..]),
        ("after=now", &[]),
        ("after=", &[]),
        ("last=0", &[]),
        ("after=start", &["a1", "a2", "a3", "a4", "a5"]),
        ("after=0-0", &["a1", "a2", "a3", "a4", "a5"]),
        ("lastEventId=start", &["a1", "a2", "a3", "a4", "a5"]),
        ("lastEventID=start", &["a1", "a2", "a3", "a4", "a5"]),
        ("_=1732310000&last=1", &["a5"]),
        ("last=2", &["a4", "a5"]),
        ("last=1000", &["a1", "a2", "a3", "a4", "a5"]),
    ] {
        let replica = Replica::start(&[]).await;
        filled(&replica).await;
        let (data, _) = brings(&replica, &format!("/feeds/a?{query}"), None).await;
        assert_eq!(data, expected, "{query}");
    }
}

#[tokio::test]
async fn after_an_id_comes_what_was_published_later_and_the_first_block_repeats_the_id() {
    let replica = Replica::start(&[]).await;
    let ids = filled(&replica).await;
    for (parameter, id, expected) in [
        ("after", &ids[5], "a4"),
        ("lastEventId", &ids[6], "a4"),
        ("after=start&lastEventId", &ids[6], "a4"),
        ("after", &ids[0], "a1"),
    ] {
        let path = format!("/feeds/a?{parameter}={id}");
        let (data, first) = brings(&replica, &path, None).await;
        assert_eq!((&data[0][..], &first), (expected, id));
        assert_eq!(brings(&replica, "/feeds/a", Some(id)).await.0[0], expected);
    }
}

#[tokio::test]
async fn the_header_goes_before_what_the_url_says() {
    let replica = Replica::start(&[]).await;
    let ids = filled(&replica).await;
    for query in [
        "after=start".to_owned(),
        "last=5".to_owned(),
        format!("after={}", ids[1]),
        "lastEventId=nonsense".to_owned(),
        "after=start&last=3".to_owned(),
    ] {
        let (data, first) = brings(&replica, &format!("/feeds/a?{query}"), Some(&ids[7])).await;
        assert_eq!((&data[0][..], &first), ("a5", &ids[7]), "{query}");
    }
    // One that is empty is one that is not there, as a browser has it before its first event.
    let (data, _) = brings(&replica, "/feeds/a?last=1", Some("")).await;
    assert_eq!(data, ["end"]);
}

#[tokio::test]
async fn in_the_header_only_ids_are_meant() {
    let replica = Replica::start(&[]).await;
    filled(&replica).await;
    for text in ["now", "start", "nonsense"] {
        let (mut stream, first) = Stream::resume(&replica, "/feeds/a", text).await;
        assert_eq!(first.id, "0-000000", "{text}");
        assert_eq!(stream.event().await.kind, "hub:reset", "{text}");
        assert_eq!(stream.data(1).await, ["a1"], "{text}");
    }
}

#[tokio::test]
async fn the_newest_events_are_those_of_the_patterns_as_far_as_the_window_reaches() {
    let replica = Replica::start(&["--window-events", "6"]).await;
    let ids = filled(&replica).await;
    let (data, first) = brings(&replica, "/feeds?feed=a&feed=b&last=3", None).await;
    assert_eq!(
        (data, &first),
        (["a4", "b5", "a5"].map(str::to_owned).to_vec(), &ids[6])
    );
    let replica = Replica::start(&["--window-events", "6"]).await;
    filled(&replica).await;
    let (data, first) = brings(&replica, "/feeds/a?last=10", None).await;
    assert_eq!(data, ["a3", "a4", "a5"]);
    // Cut off before its first event, a client comes back with the id of the first block, and has the same.
    let (mut stream, _) = Stream::resume(&replica, "/feeds/a", &first).await;
    assert_eq!(stream.data(4).await, ["a3", "a4", "a5", "end"]);
}

#[tokio::test]
async fn an_event_that_several_patterns_match_comes_once() {
    let replica = Replica::start(&[]).await;
    let path = "/feeds?feed=x.y&feed=x.*&feed=x.%3E&feed=*.y&feed=other&feed=x.y";
    let (mut live, first) = Stream::open(&replica, path).await;
    for n in 0..3 {
        replica.publish("x.y", n.to_string()).await;
        replica.publish("x.z", "z").await;
        replica.publish("a.y", "y").await;
        replica.publish("nobody", "nothing").await;
    }
    replica.publish("other", "end").await;
    let expected = ["0", "z", "y", "1", "z", "y", "2", "z", "y", "end"];
    assert_eq!(live.data(10).await, expected);
    let (mut again, _) = Stream::resume(&replica, path, &first.id).await;
    assert_eq!(again.data(10).await, expected);
}

#[tokio::test]
async fn what_is_accepted_decides_and_nothing_served_is_406() {
    let replica = Replica::start(&[]).await;
    let client = reqwest::Client::new();
    for accept in [
        "*/*",
        "text/*",
        "text/event-stream",
        "TEXT/Event-Stream",
        "text/html, */*;q=0.1",
        "",
    ] {
        let request = client.get(replica.url("/feeds/a")).header("Accept", accept);
        let (stream, _) = Stream::begin(request).await;
        let kind = &stream.response().headers()["content-type"];
        assert_eq!(kind, "text/event-stream", "{accept}");
    }
    for accept in ["text/html", "image/*", "text/event-stream;q=0", "*/*;q=0"] {
        let answer = get(&replica, "/feeds/a", &[("Accept", accept)]).await;
        let detail = answer.problem(406);
        assert!(detail.contains("text/event-stream"), "{detail}");
    }
}

#[tokio::test]
async fn what_can_never_succeed_is_400_and_says_what_would_be_right() {
    let replica = Replica::start(&["--max-patterns", "2"]).await;
    for (path, hint) in [
        ("/feeds", "/feeds?feed=P1&feed=P2"),
        ("/feeds?feed=", "empty"),
        ("/feeds/a..b", "empty token"),
        ("/feeds/.a", "empty token"),
        ("/feeds/a.%3E.b", "last token"),
        ("/feeds/a*", "`*`"),
        ("/feeds/a%2Fb", "`/`"),
        ("/feeds/a%20b", "white space"),
        ("/feeds/a%0D%0Aid:%201", "control"),
        ("/feeds/%ff", "UTF-8"),
        ("/feeds/a%zz", "`%25`"),
        ("/feeds/a%", "`%25`"),
        ("/feeds/a%4", "`%25`"),
        ("/feeds?feed=a%zz", "`%25`"),
        ("/feeds?feed=%ff", "UTF-8"),
        ("/feeds?feed=a&feed=b&feed=c", "3 patterns"),
        ("/feeds/a?feed=b", "`/feeds?feed=P1&feed=P2`"),
        ("/feeds/a?last=%2B3", "`last` is a whole number, 0 to 1000"),
        ("/feeds/a?last=03", "`last` is a whole number, 0 to 1000"),
        ("/feeds/a?after=start&last=1", "`after` and `last`"),
        ("/feeds/a?lastEventId=1-aaaaaa&last=1", "`after` and `last`"),
        ("/feeds/a?last=1001", "1000"),
        ("/feeds/a?last=-1", "`last`"),
        ("/feeds/a?last=x", "`last`"),
        ("/feeds/a?envelope=yes", "`envelope`"),
        ("/feeds/a?last_event_id=1-aaaaaa", "`lastEventId`"),
        ("/feeds/a?last=1&last=2", "`last` is there twice"),
        ("/feeds?feed=a&since=1", "`since` is no parameter"),
        ("/readyz?strict=true", "`strict` is 1 or 0"),
    ] {
        let detail = get(&replica, path, &[]).await.problem(400);
        assert!(detail.contains(hint), "{path}: {detail}");
        assert!(!detail.contains(char::is_control), "{path}: {detail:?}");
    }
    let long = format!("/feeds/{}", "a".repeat(256));
    assert!(get(&replica, &long, &[]).await.problem(400).contains("255"));
}

#[tokio::test]
async fn what_is_not_there_says_where_the_feeds_are() {
    let replica = Replica::start(&[]).await;
    for (path, hint) in [
        ("/feed/a", "/feeds/{name}"),
        ("/feeds/", "/feeds/{name}"),
        ("/favicon.ico", "/feeds/{name}"),
        ("/feeds/orders/eu", "`/feeds/orders.eu`"),
        ("/feeds/orders/eu/", "`/feeds/orders.eu`"),
    ] {
        let detail = get(&replica, path, &[]).await.problem(404);
        assert!(detail.contains(hint), "{detail}");
    }
    for (method, path, hint) in [
        ("PUT", "/feeds/a", "published to with POST"),
        ("DELETE", "/feeds/a", "published to with POST"),
        ("POST", "/metrics", "`/metrics` is read with GET"),
    ] {
        let method = method.parse().unwrap();
        let answer = crate::call::call(&replica, method, path, &[], "").await;
        let detail = answer.problem(405);
        assert!(detail.contains(hint), "{detail}");
        assert!(answer.header("allow").is_some(), "{answer:?}");
    }
}
