//! Requests whose end is not where it seems to be: no part of one is ever taken for another.

use super::{events, start};
use crate::replica::within;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What is never to be taken for a request, and would publish.
const SMUGGLED: &str =
    "POST /feeds/loot HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\n\r\nloot";

/// Sends this, and returns what is answered until the server ends the connection.
async fn answers(address: SocketAddr, bytes: &[u8]) -> String {
    let connected = within("a connection", TcpStream::connect(address)).await;
    let mut socket = connected.expect("a connection");
    // It may be refused before it was taken whole.
    let _ = socket.write_all(bytes).await;
    let mut answers = Vec::new();
    let _ = within("the end", socket.read_to_end(&mut answers)).await;
    String::from_utf8_lossy(&answers).into_owned()
}

fn post(fields: &str, body: &str) -> String {
    format!("POST /feeds/public.a HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n{body}")
}

/// The status of each answer.
fn statuses(answers: &str) -> Vec<&str> {
    let heads = answers.split("HTTP/1.1 ").skip(1);
    heads.map(|answer| &answer[..3]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_behind_a_request_of_doubtful_length_is_not_a_request() {
    let times = ["--head-timeout", "1", "--body-timeout", "1"];
    let (_program, address, mut healthy) = start(&times).await;
    let chunked = "Transfer-Encoding: chunked\r\n";
    let length = "Content-Length: 3\r\n";
    let chunks = "3\r\nabc\r\n0\r\n\r\n";
    let huge = "1".repeat(40);
    let long = format!("3;{}\r\nabc\r\n0\r\n\r\n", "x".repeat(100_000));
    let cases: Vec<(&str, String)> = [
        // Read by the coding, which goes before the length: and nothing more of the connection.
        (
            "a length and a coding",
            post(&format!("{length}{chunked}"), chunks),
        ),
        (
            "a coding and a length",
            post(&format!("{chunked}{length}"), chunks),
        ),
        (
            "a coding and a length of nothing",
            post(&format!("{chunked}Content-Length: 0\r\n"), chunks),
        ),
        // Codings that some see and others do not.
        (
            "another coding",
            post("Transfer-Encoding: xchunked\r\n", chunks),
        ),
        (
            "chunked first",
            post("Transfer-Encoding: chunked, identity\r\n", chunks),
        ),
        (
            "chunked twice",
            post(
                "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                chunks,
            ),
        ),
        (
            "a quoted coding",
            post("Transfer-Encoding: \"chunked\"\r\n", chunks),
        ),
        (
            "a tab before chunked",
            post("Transfer-Encoding:\x0bchunked\r\n", chunks),
        ),
        ("an empty coding", post("Transfer-Encoding: \r\n", chunks)),
        (
            "a coding over HTTP/1.0",
            post(chunked, chunks).replace("HTTP/1.1", "HTTP/1.0"),
        ),
        // Lengths that are none, or several.
        (
            "two lengths",
            post(&format!("{length}Content-Length: 4\r\n"), "abcd"),
        ),
        ("a list of lengths", post("Content-Length: 3, 3\r\n", "abc")),
        ("a signed length", post("Content-Length: +3\r\n", "abc")),
        ("a negative length", post("Content-Length: -3\r\n", "abc")),
        (
            "a length with a space in it",
            post("Content-Length: 3 0\r\n", "abc"),
        ),
        (
            "a length in hexadecimal",
            post("Content-Length: 0x3\r\n", "abc"),
        ),
        ("no length", post("Content-Length: \r\n", "abc")),
        (
            "a huge length",
            post(&format!("Content-Length: {huge}\r\n"), "abc"),
        ),
        (
            "a length that is no number",
            post("Content-Length: three\r\n", "abc"),
        ),
        // Fields that are none.
        (
            "a space before the colon",
            post("Content-Length : 3\r\n", "abc"),
        ),
        (
            "a space before the colon of a coding",
            post("Transfer-Encoding : chunked\r\n", chunks),
        ),
        (
            "a folded line",
            post("X: a\r\n Content-Length: 3\r\n", "abc"),
        ),
        (
            "a folded coding",
            post("Transfer-Encoding:\r\n chunked\r\n", chunks),
        ),
        (
            "a first line that is folded",
            "GET /livez HTTP/1.1\r\n Host: localhost\r\n\r\n".to_owned(),
        ),
        ("a field without a name", post(": 3\r\n", "")),
        ("a line without a colon", post("Content-Length\r\n", "")),
        ("NUL in a value", post("X: a\0b\r\n", "")),
        ("NUL in a name", post("X\0: a\r\n", "")),
        (
            "a CR in a value",
            post("X: a\rContent-Length: 3\r\n", "abc"),
        ),
        ("a line end of CR alone", post("X: a\rY: b\r\n", "")),
        // Chunks whose end is not clear.
        (
            "a huge chunk",
            post(chunked, &format!("{huge}\r\nabc\r\n0\r\n\r\n")),
        ),
        (
            "a chunk of 2^64 and 3",
            post(chunked, "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        ),
        ("a signed chunk", post(chunked, "+3\r\nabc\r\n0\r\n\r\n")),
        ("a chunk in 0x", post(chunked, "0x3\r\nabc\r\n0\r\n\r\n")),
        (
            "a chunk without a size",
            post(chunked, "\r\nabc\r\n0\r\n\r\n"),
        ),
        (
            "a chunk longer than it says",
            post(chunked, "2\r\nabc\r\n0\r\n\r\n"),
        ),
        (
            "a chunk that ends in LF",
            post(chunked, "3\nabc\r\n0\r\n\r\n"),
        ),
        (
            "a chunk whose data ends in LF",
            post(chunked, "3\r\nabc\n0\r\n\r\n"),
        ),
        (
            "a chunk's extension with LF",
            post(chunked, "3;x\nabc\r\n0\r\n\r\n"),
        ),
        ("a chunk's long extension", post(chunked, &long)),
        (
            "trailers without end",
            post(chunked, &format!("0\r\n{}\r\n", "X: y\r\n".repeat(20_000))),
        ),
        // Beginnings that are none.
        ("no version", "GET /livez\r\n\r\n".to_owned()),
        (
            "another version",
            "GET /livez HTTP/1.2\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "a huge version",
            "GET /livez HTTP/11.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "two spaces",
            "GET  /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "two URLs",
            "GET /livez /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "a method that is none",
            "G(T /livez HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
        (
            "NUL in the path",
            "GET /livez\0 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(),
        ),
    ]
    .into();
    let attack = async {
        let mut wrong = Vec::new();
        for (what, request) in cases {
            let said = answers(address, format!("{request}{SMUGGLED}").as_bytes()).await;
            let statuses = statuses(&said);
            let by_coding = what.ends_with(" and a coding") || what.starts_with("a coding and");
            let right = |status: &str| {
                status.starts_with('4') || status == "501" || by_coding && status == "201"
            };
            if statuses.len() > 1 || !statuses.iter().all(|one| right(one)) {
                wrong.push((what, said));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    };
    healthy.beside(attack).await;
    assert!(events(address, "loot").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_is_read_as_one_request_and_the_next_as_the_next() {
    let (_program, address, mut healthy) = start(&[]).await;
    let chunked = "Transfer-Encoding: chunked\r\n";
    let cases = [
        post("Content-Length: 3\r\n", "abc"),
        post("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"),
        post("content-length:3\r\n", "abc"),
        post(chunked, "3\r\nabc\r\n0\r\n\r\n"),
        post("TRANSFER-ENCODING: CHUNKED\r\n", "3\r\nabc\r\n0\r\n\r\n"),
        post(chunked, "0003;a=b;c=\"d\"\r\nabc\r\n0\r\nX: y\r\n\r\n"),
        // RFC 9112, section 2.2: LF alone may end a line, and an empty line may stand before a request.
        post("Content-Length: 3\r\n", "abc").replace("\r\n", "\n"),
        format!("\r\n{}", post("Content-Length: 3\r\n", "abc")),
    ];
    let attack = async {
        for request in cases {
            let next = "GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            let said = answers(address, format!("{request}{next}").as_bytes()).await;
            assert_eq!(statuses(&said), ["201", "200"], "{request}");
        }
    };
    healthy.beside(attack).await;
    let events = events(address, "public.a").await;
    assert_eq!(events.len(), 8);
    assert!(
        events.iter().all(|event| event["data"] == "abc"),
        "{events:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_url_may_name_a_host_and_is_asked_for_as_its_path() {
    let (_program, address, mut healthy) = start(&[
        "--anonymous-subscribe",
        "public.>",
        "--anonymous-publish",
        "public.>",
    ])
    .await;
    let attack = async {
        let mut wrong = Vec::new();
        for (url, expected) in [
            ("http://localhost/livez", "200"),
            ("http://other.example/feeds/secret", "403"),
            ("http://localhost/feeds/public.a/../../feeds/secret", "404"),
            // Behind a proxy it has any name.
            ("http://user:password@localhost/livez", "200"),
            ("http://localhost:99999/livez", "200"),
            ("http:///livez", "400"),
            ("ftp://localhost/feeds/secret", "403"),
            ("//localhost/livez", "404"),
            ("*", "404"),
            ("localhost:80", "404"),
        ] {
            let request =
                format!("GET {url} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
            let said = answers(address, request.as_bytes()).await;
            if statuses(&said) != [expected] {
                wrong.push((url, said));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    };
    healthy.beside(attack).await;
}
