//! What nobody should send: each is closed with its code, and others are served all the while.

use super::ending::{metric, metric_is};
use super::wire::{BINARY, CLOSE, FIN, MASKED, PING, PONG, TEXT, Wire, frame};
use super::{Client, narrow};
use crate::program::Program;
use crate::replica::{Replica, within};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Checks that a WebSocket which is sent these bytes is closed with this code.
async fn closes(replica: &Replica, what: &str, bytes: &[u8], code: u16) {
    let mut wire = Wire::open(replica).await;
    wire.send(bytes).await;
    assert_eq!(wire.code().await, code, "{what}");
}

/// Checks that others are served.
async fn serves(replica: &Replica) {
    let mut client = Client::connect(replica).await;
    client.subscribe("s", &["health"], json!({})).await;
    replica.publish("health", "1").await;
    assert_eq!(client.text().await["data"], 1);
}

#[tokio::test]
async fn opcodes_that_are_reserved_and_bits_that_mean_nothing_are_1002() {
    let replica = Replica::start(&[]).await;
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for length in [0, 1, 125, 126, 127, 65535, 65536] {
            let bytes = frame(FIN | opcode, &vec![b'x'; length]);
            closes(&replica, &format!("opcode {opcode}"), &bytes, 1002).await;
        }
    }
    for bit in [0x40, 0x20, 0x10] {
        for opcode in [TEXT, BINARY, PING, PONG, CLOSE] {
            // What a compressed message would look like, a bomb or not.
            let bytes = frame(FIN | bit | opcode, b"\x03\xe8");
            closes(&replica, &format!("bit {bit:x}, {opcode}"), &bytes, 1002).await;
        }
    }
    serves(&replica).await;
}

#[tokio::test]
async fn frames_that_break_the_rules_of_fragments_and_control_are_1002() {
    let replica = Replica::start(&[]).await;
    let unmasked = [FIN | TEXT, 2, b'{', b'}'].to_vec();
    let two_starts = [frame(TEXT, b"{"), frame(FIN | TEXT, b"}")].concat();
    let two_kinds = [frame(TEXT, b"{"), frame(FIN | BINARY, b"}")].concat();
    for (what, bytes, code) in [
        ("unmasked", unmasked, 1002),
        ("a continuation of nothing", frame(FIN, b"x"), 1002),
        ("an open continuation of nothing", frame(0, b"x"), 1002),
        ("a text within a text", two_starts, 1002),
        ("bytes within a text", two_kinds, 1002),
        ("a ping in fragments", frame(PING, b"x"), 1002),
        ("a closing in fragments", frame(CLOSE, b"\x03\xe8"), 1002),
        ("a large ping", frame(FIN | PING, &[b'x'; 126]), 1002),
        ("a large pong", frame(FIN | PONG, &[b'x'; 126]), 1002),
        ("a large closing", frame(FIN | CLOSE, &[b'x'; 126]), 1002),
        (
            "a closing with half a code",
            frame(FIN | CLOSE, b"\x03"),
            1002,
        ),
        (
            "a code that none may send",
            frame(FIN | CLOSE, b"\x03\xed"),
            1002,
        ),
        ("a code of nobody", frame(FIN | CLOSE, b"\x00\x00"), 1002),
        (
            "a reason that is no text",
            frame(FIN | CLOSE, b"\x03\xe8\xff"),
            1007,
        ),
    ] {
        closes(&replica, what, &bytes, code).await;
    }
    serves(&replica).await;
}

#[tokio::test]
async fn texts_that_are_not_utf_8_are_1007() {
    let replica = Replica::start(&[]).await;
    for (what, bytes) in [
        ("a stray byte", frame(FIN | TEXT, b"\xff")),
        ("a surrogate", frame(FIN | TEXT, b"\xed\xa0\x80")),
        ("an overlong form", frame(FIN | TEXT, b"\xc0\xaf")),
        ("a cut character", frame(FIN | TEXT, b"\xe2\x82")),
        (
            "split",
            [frame(TEXT, b"\xe2\x82"), frame(FIN, b"x")].concat(),
        ),
        (
            "never ended",
            [frame(TEXT, b"\xe2"), frame(FIN, b"\x82")].concat(),
        ),
    ] {
        closes(&replica, what, &bytes, 1007).await;
    }
    serves(&replica).await;
}

#[tokio::test]
async fn a_text_may_come_in_fragments_cut_anywhere_with_pings_between() {
    let replica = Replica::start(&[]).await;
    let mut wire = Wire::open(&replica).await;
    let text = r#"{"op":"sing","ref":"€"}"#.as_bytes();
    for (at, byte) in text.iter().enumerate() {
        let first = if at == 0 { TEXT } else { 0 };
        wire.send(&frame(first, &[*byte])).await;
        wire.send(&frame(0, &[])).await;
        wire.send(&frame(FIN | PING, &[*byte])).await;
        assert_eq!(wire.frame().await, (PONG, vec![*byte]));
    }
    wire.send(&frame(FIN, &[])).await;
    let (opcode, answer) = wire.frame().await;
    let answer = String::from_utf8(answer).unwrap();
    assert!(
        opcode == TEXT && answer.starts_with(r#"{"ref":"€","error""#),
        "{answer}"
    );
}

#[tokio::test]
async fn messages_that_are_too_large_are_1009_however_they_come() {
    let replica = Replica::start(&["--max-event-bytes=3000"]).await;
    let most = 4000 + 8192;
    let mut wire = Wire::open(&replica).await;
    wire.send(&frame(FIN | TEXT, &vec![b' '; most])).await;
    assert_eq!(wire.frame().await.0, TEXT);
    closes(
        &replica,
        "one more",
        &frame(FIN | TEXT, &vec![b' '; most + 1]),
        1009,
    )
    .await;
    for length in [0x7fff_ffff_ffff_ffff_u64, u64::MAX, 1 << 32] {
        let head = [
            &[FIN | BINARY, MASKED | 127][..],
            &length.to_be_bytes(),
            &[0; 4],
        ]
        .concat();
        closes(&replica, &format!("{length} bytes"), &head, 1009).await;
    }
    let mut endless = frame(BINARY, &[0; 1000]);
    for _ in 0..20 {
        endless.extend(frame(0, &[0; 1000]));
    }
    closes(&replica, "fragments without end", &endless, 1009).await;
    let empty = [
        frame(TEXT, b""),
        frame(0, b"").repeat(100_000),
        frame(FIN, b"x"),
    ]
    .concat();
    let mut wire = Wire::open(&replica).await;
    wire.send(&empty).await;
    assert_eq!(wire.frame().await.0, TEXT, "empty fragments cost nothing");
    serves(&replica).await;
}

#[tokio::test]
async fn beginnings_of_messages_hold_no_more_than_they_may_and_keep_nobody_from_publishing() {
    let replica = Replica::start(&["--websocket-bytes=20000000"]).await;
    let mut wires = Vec::new();
    // More than may be held, of which each is within what it may send, and none is ever ended.
    for n in 0..30 {
        let mut wire = Wire::open(&replica).await;
        let part = if n % 2 == 0 { TEXT } else { BINARY };
        wire.send(&frame(part, &[b' '; 500_000])).await;
        wire.send(&frame(FIN | PING, b"x")).await;
        wire.send(&frame(0, &[b' '; 500_000])).await;
        wires.push(wire);
    }
    let mut closed = 0;
    for wire in &mut wires {
        wire.send(&frame(FIN | PING, b"y")).await;
        loop {
            let (opcode, payload) = wire.frame().await;
            if opcode == PONG && payload == b"x" {
                continue;
            }
            if opcode == TEXT {
                let text = br#"{"type":"hub:closing","data":{"reason":"overload"}}"#;
                assert_eq!(payload, text);
                assert_eq!(wire.code().await, 1013);
                closed += 1;
            } else {
                assert_eq!((opcode, &payload[..]), (PONG, &b"y"[..]));
            }
            break;
        }
    }
    // 13 find room at most, each for what has come and once more for its first frame, and some at least.
    assert!((17..30).contains(&closed), "{closed}");
    replica.publish("a", "x".repeat(900_000)).await;
    drop(wires);
    within("all to be given back", async {
        while metric(&replica, "tidings_websocket_bytes ").await > 0 {}
    })
    .await;
    serves(&replica).await;
}

#[tokio::test]
async fn a_large_message_leaves_no_room_behind_that_is_kept_for_the_next() {
    let mut server = Program::start(&["--listen", "127.0.0.1:0"]);
    let address = server.address().await;
    within("the server to be ready", async {
        let url = format!("http://{address}/readyz");
        while reqwest::get(&url).await.unwrap().status() != 200 {}
    })
    .await;
    let whole = frame(FIN | TEXT, &[b' '; 1_000_000]);
    let half = [b' '; 500_000];
    let halves = [frame(TEXT, &half), frame(0, b""), frame(FIN, &half)].concat();
    let (mut wires, mut before) = (Vec::new(), 0);
    for n in 0..100 {
        let mut wire = Wire::over(TcpStream::connect(address).await.unwrap()).await;
        let message = if n % 2 == 0 { &whole } else { &halves };
        // The beginning of another does not keep it either.
        let bytes = [message, &frame(FIN | TEXT, b"{}")[..3]].concat();
        wire.send(&bytes).await;
        let (opcode, answer) = wire.frame().await;
        assert_eq!((opcode, &answer[..11]), (TEXT, &br#"{"ref":null"#[..]));
        wires.push(wire);
        if n == 9 {
            before = server.resident();
        }
    }
    // The other 90 sent 90 MB.
    let grown = server.resident().saturating_sub(before);
    assert!(grown < 30_000, "{grown} KiB");
    for wire in &mut wires {
        wire.send(&frame(FIN | TEXT, b"{}")[3..]).await;
        assert_eq!(wire.frame().await.0, TEXT);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_thousand_subscriptions_are_a_hundred() {
    let replica = Replica::start(&[]).await;
    let wire = Wire::open(&replica).await;
    let (mut read, mut write) = wire.socket.into_split();
    let sending = tokio::spawn(async move {
        for n in 0..100_000 {
            let subscribe = format!(r#"{{"op":"subscribe","ref":{n},"feeds":["a.{n}"]}}"#);
            write
                .write_all(&frame(FIN | TEXT, subscribe.as_bytes()))
                .await
                .unwrap();
        }
        write
    });
    // Read to the last answer, whatever it is.
    let mut last = Vec::new();
    within("all answers", async {
        let mut buffer = vec![0; 1 << 16];
        while !last.windows(12).any(|part| part == b"\"ref\":99999,") {
            let count = read.read(&mut buffer).await.unwrap();
            assert!(count > 0);
            last = [&last[last.len().saturating_sub(200)..], &buffer[..count]].concat();
        }
    })
    .await;
    assert_eq!(replica.hub().usage().readers, 100);
    serves(&replica).await;
    drop(sending.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_and_never_reads_is_read_no_further_and_closed() {
    let replica = Replica::start(&["--stall-timeout=1", "--memory-bytes=10000000"]).await;
    let (name, feed) = ("r".repeat(64), "f".repeat(255));
    let publish = format!(r#"{{"op":"publish","ref":"{name}","feed":"{feed}"}}"#);
    for (what, flood) in [
        ("publishes", frame(FIN | TEXT, publish.as_bytes())),
        ("pings", frame(FIN | PING, &[b'x'; 125])),
        ("nonsense", frame(FIN | TEXT, b"{")),
    ] {
        let mut wire = Wire::over(narrow(&replica).await).await;
        let flood = flood.repeat(1000);
        within(what, async {
            while wire.socket.write_all(&flood).await.is_ok() {}
        })
        .await;
        serves(&replica).await;
    }
}

#[tokio::test]
async fn who_sends_a_message_byte_by_byte_is_not_silent() {
    let replica = Replica::start(&["--ping=1"]).await;
    let mut slow = Wire::open(&replica).await;
    let message = frame(FIN | TEXT, &[b' '; 200_000]);
    let mut bytes = message.iter();
    // For longer than one who is silent from later on.
    let silent = Wire::open(&replica).await;
    let ended = "tidings_websockets_ended_total{code=\"1008\"}";
    while metric(&replica, ended).await == 0 {
        slow.send(&[*bytes.next().unwrap()]).await;
    }
    drop(silent);
    slow.send(bytes.as_slice()).await;
    while slow.frame().await.0 != TEXT {}
    assert_eq!(metric(&replica, ended).await, 1);
    // One that has stopped within a message is.
    slow.send(&message[..1000]).await;
    metric_is(&replica, ended, 2).await;
}

#[tokio::test]
async fn a_closing_reaches_one_who_goes_on_sending() {
    let replica = Replica::start(&[]).await;
    let bytes = [
        frame(FIN | 3, b"x"),
        frame(FIN | TEXT, &[b'x'; 60_000]).repeat(20),
    ]
    .concat();
    for _ in 0..10 {
        closes(&replica, "more after an error", &bytes, 1002).await;
    }
}
