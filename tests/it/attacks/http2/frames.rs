//! Frames (RFC 9113, section 4.1), and headers as HPACK literals (RFC 7541, section 6.2).

use crate::replica::within;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// What is in the `PING` that ends an attack.
const LAST: &[u8; 8] = b"the last";

/// How an attack has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With a GOAWAY that has this code.
    GoAway(u32),
    /// With the end of the connection, which may have taken a GOAWAY along.
    Closed,
    /// All was taken, and the connection is open still.
    Stands,
}

/// A frame that has come.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    async fn read(socket: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Self> {
        let mut head = [0; 9];
        socket.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, stream @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        socket.read_exact(&mut payload).await?;
        let stream = u32::from_be_bytes(stream);
        Ok(Self {
            kind,
            flags,
            stream,
            payload,
        })
    }

    /// The code of a GOAWAY.
    fn code(&self) -> u32 {
        u32::from_be_bytes(self.payload[4..8].try_into().expect("4 bytes"))
    }
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [&head, &stream.to_be_bytes()[..], payload].concat()
}

/// Fields that no table keeps.
pub(super) fn fields(all: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| {
        let length = u8::try_from(text.len()).expect("a short text");
        assert!(length < 127);
        [&[length], text.as_bytes()].concat()
    };
    let field = |(name, value): &(&str, &str)| [vec![0], text(name), text(value)].concat();
    all.iter().flat_map(field).collect()
}

/// A request's pseudo-headers.
pub(super) fn request<'a>(method: &'a str, path: &'a str) -> [(&'a str, &'a str); 4] {
    [
        (":method", method),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", path),
    ]
}

/// What every connection begins with: the preface, and settings of no consequence.
fn opening() -> Vec<u8> {
    [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &frame(SETTINGS, 0, 0, b""),
    ]
    .concat()
}

/// Sends what an attack consists of until it is over or the connection is.
pub(super) async fn attack(address: SocketAddr, parts: impl Iterator<Item = Vec<u8>>) -> End {
    let connected = within("a connection", TcpStream::connect(address)).await;
    let (mut read, mut write) = connected.expect("a connection").into_split();
    let sending = async {
        write.write_all(&opening()).await?;
        for part in parts {
            write.write_all(&part).await?;
        }
        write.write_all(&frame(PING, 0, 0, LAST)).await
    };
    let reading = async {
        while let Ok(frame) = Frame::read(&mut read).await {
            match frame.kind {
                GOAWAY => return End::GoAway(frame.code()),
                PING if frame.flags == ACK && frame.payload == LAST => return End::Stands,
                _ => {}
            }
        }
        End::Closed
    };
    // What can't be sent any more shows in what is read.
    let both = async { tokio::join!(reading, sending) };
    within("the end of an attack", both).await.0
}

/// Sends this, and then nothing, or nothing but answers to pings: how the connection ends.
pub(super) async fn stay(address: SocketAddr, request: &[u8], answers: bool) -> End {
    let connected = within("a connection", TcpStream::connect(address)).await;
    let mut socket = connected.expect("a connection");
    let bytes = [&opening(), request].concat();
    socket.write_all(&bytes).await.expect("a server");
    let mut end = End::Closed;
    let staying = async {
        while let Ok(frame) = Frame::read(&mut socket).await {
            match frame.kind {
                GOAWAY => end = End::GoAway(frame.code()),
                PING if frame.flags != ACK && answers => {
                    let answer = self::frame(PING, ACK, 0, &frame.payload);
                    socket.write_all(&answer).await.expect("a server");
                }
                _ => {}
            }
        }
    };
    within("the end of the connection", staying).await;
    end
}

/// What comes of a request on stream 1: the head of its answer, or a reset; nothing where the connection is ended.
pub(super) async fn answer(address: SocketAddr, request: &[u8]) -> Option<Frame> {
    let connected = within("a connection", TcpStream::connect(address)).await;
    let mut socket = connected.expect("a connection");
    let bytes = [&opening(), request].concat();
    socket.write_all(&bytes).await.expect("a server");
    loop {
        let read = within("what comes of a request", Frame::read(&mut socket)).await;
        let frame = read.ok().filter(|frame| frame.kind != GOAWAY)?;
        if frame.stream == 1 && frame.kind != WINDOW_UPDATE {
            return Some(frame);
        }
    }
}
