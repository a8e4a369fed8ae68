//! HTTP/1 byte by byte.

use crate::replica::{Replica, within};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection.
pub(crate) struct Raw {
    socket: TcpStream,
    read: Vec<u8>,
    /// What the chunks of the body that have been read held.
    body: Vec<u8>,
}

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    /// As in `HTTP/1.1 200 OK`.
    pub(crate) status: String,
    /// The fields, with names in lower case, sorted; `date` left out.
    pub(crate) fields: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(one, _)| one == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl Raw {
    /// Connects, and sends this.
    pub(crate) async fn send(address: SocketAddr, request: &str) -> Self {
        let socket = within("a connection", TcpStream::connect(address)).await;
        let mut raw = Self {
            socket: socket.expect("a connection"),
            read: Vec::new(),
            body: Vec::new(),
        };
        raw.write(request).await;
        raw
    }

    /// Asks for a stream over HTTP/1.1.
    pub(crate) async fn get(replica: &Replica, path: &str) -> Self {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", replica.address);
        Self::send(replica.address, &request).await
    }

    pub(crate) async fn write(&mut self, bytes: &str) {
        let written = within("bytes to be sent", self.socket.write_all(bytes.as_bytes()));
        written.await.expect("a server");
    }

    pub(crate) async fn head(&mut self) -> Head {
        let bytes = self.until(b"\r\n\r\n").await;
        let text = String::from_utf8(bytes).expect("text");
        let mut lines = text.trim_end().split("\r\n");
        let status = lines.next().expect("a status line").to_owned();
        let mut fields: Vec<_> = lines
            .map(|line| line.split_once(": ").expect("a field"))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .filter(|(name, _)| name != "date")
            .collect();
        fields.sort();
        Head { status, fields }
    }

    /// The next block or line of a chunked body up to and including `end`, however it is cut into chunks.
    pub(crate) async fn body_until(&mut self, end: &str) -> String {
        let end = end.as_bytes();
        loop {
            if let Some(at) = find(&self.body, end) {
                let block = self.body.drain(..at + end.len()).collect();
                return String::from_utf8(block).expect("UTF-8");
            }
            let chunk = self.chunk().await.expect("more of the body");
            self.body.extend_from_slice(&chunk);
        }
    }

    /// The next chunk; `None` for the last one, which is empty.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let size = String::from_utf8(self.until(b"\r\n").await).expect("text");
        let size = usize::from_str_radix(size.trim_end(), 16).expect("a chunk's size");
        while self.read.len() < size + 2 {
            assert!(self.more().await, "cut within a chunk");
        }
        let chunk = self.read.drain(..size).collect();
        assert_eq!(self.read.drain(..2).collect::<Vec<_>>(), b"\r\n");
        (size > 0).then_some(chunk)
    }

    /// Up to and including `end`, as it comes.
    pub(crate) async fn until(&mut self, end: &[u8]) -> Vec<u8> {
        loop {
            if let Some(at) = find(&self.read, end) {
                return self.read.drain(..at + end.len()).collect();
            }
            assert!(
                self.more().await,
                "cut after {:?}",
                String::from_utf8_lossy(&self.read)
            );
        }
    }

    /// All up to the connection's end.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    /// Whether there was more; a connection may also end with a reset.
    async fn more(&mut self) -> bool {
        let read = within("more bytes", self.socket.read_buf(&mut self.read)).await;
        read.is_ok_and(|count| count > 0)
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|part| part == wanted)
}
