//! A WebSocket by hand, for what no library sends.

use crate::replica::{Replica, within};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub(super) const FIN: u8 = 0x80;
pub(super) const MASKED: u8 = 0x80;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
pub(super) const PING: u8 = 9;
pub(super) const PONG: u8 = 10;

/// A WebSocket by hand.
pub(super) struct Wire {
    pub(super) socket: TcpStream,
}

/// A frame as a client sends it. The mask is zero, which is one.
pub(super) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
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
    pub(super) async fn open(replica: &Replica) -> Self {
        let socket = TcpStream::connect(replica.address).await.unwrap();
        Self::over(socket).await
    }

    pub(super) async fn over(mut socket: TcpStream) -> Self {
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

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        // It may be closed before all is sent.
        let _ = within("bytes to be sent", self.socket.write_all(bytes)).await;
    }

    /// The next frame's opcode, and its payload.
    pub(super) async fn frame(&mut self) -> (u8, Vec<u8>) {
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
    pub(super) async fn code(&mut self) -> u16 {
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
