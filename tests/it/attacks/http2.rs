//! HTTP/2 frame by frame, as no library sends it: the connection is ended, and little is kept for it meanwhile.

mod frames;

use super::{all_gone, start};
use crate::connections::metrics;
use crate::replica::{Replica, within};
use crate::sse::Stream;
use frames::*;
use std::iter::once;

/// What a server may grow by under an attack, in KiB. Each would take far more where it is not bounded.
const GROWTH: u64 = 24 << 10;

/// The widest window that can be.
const MOST: u32 = 0x7fff_ffff;

const CALM: End = End::GoAway(ENHANCE_YOUR_CALM);

/// Runs an attack, which is to end in this way, or with its connection where it is not to stand.
async fn ends(expected: End, parts: impl Iterator<Item = Vec<u8>>) {
    let (program, address, mut healthy) = start(&[]).await;
    healthy.round().await;
    let before = program.resident();
    let end = healthy.beside(attack(address, parts)).await;
    let grown = program.resident().saturating_sub(before);
    assert!(grown < GROWTH, "{grown} KiB");
    let closed = end == End::Closed && expected != End::Stands;
    assert!(end == expected || closed, "it ended with {end:?}");
    all_gone(address).await;
    let samples = metrics(address).await;
    assert_eq!(samples["tidings_readers"], 1);
}

/// The id of a client's stream, counted from 0.
fn id(stream: u32) -> u32 {
    2 * stream + 1
}

/// A request on a stream, which a body may follow.
fn begin(stream: u32, method: &str, path: &str) -> Vec<u8> {
    let fields = fields(&request(method, path));
    frame(HEADERS, END_HEADERS, id(stream), &fields)
}

fn get(stream: u32, path: &str) -> Vec<u8> {
    let fields = fields(&request("GET", path));
    frame(HEADERS, END_HEADERS | END_STREAM, id(stream), &fields)
}

fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, id(stream), &[0, 0, 0, 8])
}

/// The same many times over, in parts of some size.
fn again(one: &[u8], times: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..times / 1000).map(|_| one.repeat(1000))
}

/// So many streams, a few in a part.
fn streams(count: u32, one: impl Fn(u32) -> Vec<u8>) -> impl Iterator<Item = Vec<u8>> {
    (0..count / 100).map(move |part| (100 * part..100 * (part + 1)).flat_map(&one).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_reset_at_once_end_the_connection() {
    let pair = |n| [get(n, "/feeds/public.a"), reset(n)].concat();
    ends(CALM, streams(100_000, pair)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_are_reset_once_they_run_leave_nothing_behind() {
    // As many at once as are not too many yet.
    let ten = |n: u32| 10 * n..10 * (n + 1);
    let parts = (0..2_000).flat_map(move |n| {
        let begun: Vec<u8> = ten(n).flat_map(|n| get(n, "/feeds/public.a")).collect();
        let over: Vec<u8> = ten(n).flat_map(reset).collect();
        [begun, over]
    });
    let (_program, address, mut healthy) = start(&[]).await;
    healthy.beside(attack(address, parts)).await;
    within("all readers to be gone", async {
        while metrics(address).await["tidings_readers"] != 1 {}
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_makes_the_server_reset_streams_ends_the_connection() {
    let too_wide = |n| {
        let most = frame(WINDOW_UPDATE, 0, id(n), &MOST.to_be_bytes());
        [begin(n, "POST", "/feeds/public.a"), most].concat()
    };
    ends(CALM, streams(100_000, too_wide)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_that_never_end_end_the_connection() {
    let begun = frame(HEADERS, 0, 1, &fields(&request("GET", "/livez")));
    for part in [
        frame(CONTINUATION, 0, 1, b""),
        frame(CONTINUATION, 0, 1, &fields(&[("x", "y")])),
        frame(CONTINUATION, 0, 1, &fields(&[("x", "y")]).repeat(3000)),
    ] {
        ends(CALM, once(begun.clone()).chain(again(&part, 4_000))).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_small_head_that_stands_for_a_huge_one_is_never_built() {
    // 4,000 bytes that are kept in the table, and then named 12,000 times.
    let value = [b'v'; 4000];
    let kept = [&[0x40, 1, b'x', 0x7f, 0xa1, 0x1e][..], &value].concat();
    let bomb = [fields(&request("GET", "/livez")), kept, vec![0xbe; 12_000]].concat();
    let head = |n| frame(HEADERS, END_HEADERS | END_STREAM, id(n), &bomb);
    ends(CALM, (0..200).map(head)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_the_limit_are_refused_and_then_end_the_connection() {
    let stream = |n| get(n, "/feeds/public.a");
    ends(CALM, streams(100_000, stream)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_nothing_end_the_connection() {
    let part = frame(DATA, 0, 1, b"");
    let begun = begin(0, "POST", "/feeds/public.a");
    ends(CALM, once(begun).chain(again(&part, 400_000))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn windows_that_can_not_be_end_the_connection() {
    let nothing = frame(WINDOW_UPDATE, 0, 0, &[0; 4]);
    ends(End::GoAway(PROTOCOL_ERROR), once(nothing)).await;
    let most = frame(WINDOW_UPDATE, 0, 0, &MOST.to_be_bytes());
    ends(End::GoAway(FLOW_CONTROL_ERROR), once(most.repeat(2))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_that_ask_for_nothing_take_no_room() {
    let settings = [0, 3, 0, 0, 0, 9, 0, 4, 0, 0, 1, 0];
    for part in [
        frame(SETTINGS, 0, 0, &settings),
        frame(PING, 0, 0, b"12345678"),
        frame(WINDOW_UPDATE, 0, 0, &1_u32.to_be_bytes()),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 7]),
        frame(0xbe, 0xff, 0, b"nobody knows"),
    ] {
        ends(End::Stands, again(&part, 100_000)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_over_which_nothing_is_asked_for_is_ended_and_one_with_a_stream_is_not() {
    let replica = Replica::start(&["--head-timeout", "1"]).await;
    let http2 = reqwest::Client::builder().http2_prior_knowledge().build();
    let request = http2.expect("a client").get(replica.url("/feeds/a"));
    let (mut stream, _) = Stream::begin(request).await;
    let asked = get(0, "/livez");
    let ends = futures::future::join3(
        stay(replica.address, b"", true),
        stay(replica.address, &asked, true),
        stay(replica.address, b"", false),
    );
    let gone = End::GoAway(0);
    assert_eq!(ends.await, (gone, gone, gone));
    replica.publish("a", "still here").await;
    assert_eq!(stream.data(1).await, ["still here"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_request_is_none() {
    let get = request("GET", "/livez");
    let post = request("POST", "/feeds/public.a");
    let with = |base: [(&'static str, &'static str); 4], more: &[(&'static str, &'static str)]| {
        fields(&[&base[..], more].concat())
    };
    let without = |name: &str| {
        let rest: Vec<_> = get.into_iter().filter(|(one, _)| *one != name).collect();
        fields(&rest)
    };
    let (_program, address, mut healthy) = start(&[]).await;
    for (what, head, body) in [
        (
            "less than it says",
            with(post, &[("content-length", "5")]),
            "abc",
        ),
        (
            "more than it says",
            with(post, &[("content-length", "2")]),
            "abc",
        ),
        (
            "two lengths",
            with(post, &[("content-length", "3"), ("content-length", "2")]),
            "abc",
        ),
        ("no number", with(post, &[("content-length", "+3")]), "abc"),
        (
            "a coding",
            with(post, &[("transfer-encoding", "chunked")]),
            "3\r\nabc\r\n0\r\n\r\n",
        ),
        (
            "a connection",
            with(get, &[("connection", "keep-alive")]),
            "",
        ),
        (
            "another connection",
            with(get, &[("proxy-connection", "keep-alive")]),
            "",
        ),
        ("an upgrade", with(get, &[("upgrade", "websocket")]), ""),
        ("TE", with(get, &[("te", "gzip")]), ""),
        ("upper case", with(get, &[("X-Upper", "a")]), ""),
        ("no name", with(get, &[("", "a")]), ""),
        (
            "a line end in a value",
            with(get, &[("x", "a\r\ny: b")]),
            "",
        ),
        ("a line end in a name", with(get, &[("x\r\ny", "a")]), ""),
        ("NUL", with(get, &[("x", "a\0b")]), ""),
        (
            "a space in the method",
            fields(&request("GET / HTTP/1.1\r\nX:", "/livez")),
            "",
        ),
        (
            "a line end in the path",
            fields(&request("GET", "/livez HTTP/1.1\r\nX: y")),
            "",
        ),
        ("no path", without(":path"), ""),
        ("no method", without(":method"), ""),
        ("no scheme", without(":scheme"), ""),
        ("two paths", with(get, &[(":path", "/feeds/a")]), ""),
        ("two methods", with(get, &[(":method", "POST")]), ""),
        ("an unknown one", with(get, &[(":what", "x")]), ""),
        ("a status", with(get, &[(":status", "200")]), ""),
        ("a protocol", with(get, &[(":protocol", "websocket")]), ""),
        (
            "a late one",
            fields(&[&[("x", "y")][..], &get].concat()),
            "",
        ),
    ] {
        let head = frame(HEADERS, END_HEADERS, 1, &head);
        let body = frame(DATA, END_STREAM, 1, body.as_bytes());
        let asked = [head, body].concat();
        let Some(frame) = healthy.beside(answer(address, &asked)).await else {
            continue; // the connection was ended
        };
        // A reset, or `:status: 400` of the static table.
        let refused = match frame.kind {
            RST_STREAM => frame.payload == PROTOCOL_ERROR.to_be_bytes(),
            kind => kind == HEADERS && frame.payload.first() == Some(&0x8c),
        };
        assert!(refused, "{what}: {frame:?}");
    }
}
