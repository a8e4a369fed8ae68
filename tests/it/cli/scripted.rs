//! A server that answers what it is told to, for what a real one can't be made to do at will.

use crate::replica::within;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) struct Scripted {
    listener: TcpListener,
}

impl Scripted {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self { listener }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().expect("an address"))
    }

    /// The next request's head, and its connection.
    pub(super) async fn request(&self) -> (String, TcpStream) {
        let accepted = within("a request", self.listener.accept()).await;
        let (mut socket, _) = accepted.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = within("a head", socket.read_u8()).await;
            head.push(byte.expect("a whole head"));
        }
        (String::from_utf8(head).expect("text"), socket)
    }

    /// Answers the next request with these bytes, then cuts the connection; gives the request's head.
    pub(super) async fn answer(&self, bytes: &str) -> String {
        let (head, mut socket) = self.request().await;
        socket.write_all(bytes.as_bytes()).await.expect("a client");
        socket.shutdown().await.expect("a client");
        head
    }

    /// The same, with an event stream that is cut before its end.
    pub(super) async fn stream(&self, bytes: &str) -> String {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        self.answer(&format!("{head}{:x}\r\n{bytes}\r\n", bytes.len()))
            .await
    }
}
