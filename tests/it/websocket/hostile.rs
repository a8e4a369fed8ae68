//! What nobody should send: each is closed with its code, and others are served all the while.

use super::ending::metric;
use super::{Client, narrow};
use crate::replica::{Replica, within};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A WebSocket by hand.
struct Wire {
    socket: TcpStream,
}

/// A frame as a client sends it. The mask is zero, which is one.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(MASKED | u8::try_from(length).unwrap()),
        length @ 126..0x1_0000 => {
            frame.push(MASKED | 126);
            frame.extend(u16::try_from(length).unwrap().to_be_bytes());
        }
        length => {
            frame.push(MASKED | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

impl Wire {
    async fn open(replica: &Replica) -> Self {
        let socket = TcpStream::connect(replica.address).await.unwrap();
        Self::over(socket).await
    }

    async fn over(mut socket: TcpStream) -> Self {
        let request = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Extensions: permessage-deflate\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
        socket.write_all(request.as_bytes()).await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(within("the head", socket.read_u8()).await.unwrap());
        }
        assert!(head.starts_with(b"HTTP/1.1 101 "));
        let mut wire = Self { socket };
        assert_eq!(wire.frame().await.0, TEXT);
        wire
    }

    async fn send(&mut self, bytes: &[u8]) {
        // It may be closed before all is sent.
        let _ = within("bytes to be sent", self.socket.write_all(bytes)).await;
    }

    /// The next frame's opcode, and its payload.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let read = async {
            let first = self.socket.read_u8().await?;
            assert_eq!(first & 0x70, 0, "no extension was agreed on");
            let length = match self.socket.read_u8().await? {
                126 => u64::from(self.socket.read_u16().await?),
                127 => self.socket.read_u64().await?,
                length => u64::from(length),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.socket.read_exact(&mut payload).await?;
            Ok::<_, std::io::Error>((first & 0x0f, payload))
        };
        within("a frame", read).await.expect("a frame")
    }

    /// The code with which it is closed, past what else comes; and that the connection ends after that, with nothing
    /// lost.
    async fn code(&mut self) -> u16 {
        loop {
            let (opcode, payload) = self.frame().await;
            if opcode == CLOSE {
                let mut rest = Vec::new();
                within("the end", self.socket.read_to_end(&mut rest))
                    .await
                    .expect("an end in good order");
                assert_eq!(rest, b"");
                return u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
    }
}

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
async fn beginnings_of_messages_hold_no_more_than_all_publishes_may() {
    let replica = Replica::start(&["--publish-bytes=20000000"]).await;
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
    // 19 find room at most, and some at least.
    assert!((11..30).contains(&closed), "{closed}");
    drop(wires);
    within("all to be given back", async {
        while metric(&replica, "tidings_publish_bytes ").await > 0 {}
    })
    .await;
    serves(&replica).await;
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
