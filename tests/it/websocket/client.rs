//! A WebSocket client, with the library that the server uses: others are tried with `tests/clients`.

use crate::certificates::Duplex;
use crate::replica::{Replica, within};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};

/// A connection.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<Box<dyn Duplex>>,
    /// Its id.
    pub(crate) id: String,
}

impl Client {
    /// Connects, and takes in what the server says first.
    pub(crate) async fn connect(replica: &Replica) -> Self {
        let tcp = within("a connection", TcpStream::connect(replica.address)).await;
        Self::over(replica, tcp.expect("a connection")).await
    }

    /// The same over a connection that is there already.
    pub(crate) async fn over(replica: &Replica, tcp: TcpStream) -> Self {
        let mut client = Self::silent(replica, tcp).await;
        let first = client.text().await;
        assert_eq!(first["type"], "hub:connected");
        let id = first["data"]["connection"].as_str().expect("an id");
        assert!(
            id.len() == 18
                && id.starts_with("c-")
                && id[2..].bytes().all(|b| b.is_ascii_alphanumeric()),
            "{id}"
        );
        client.id = id.to_owned();
        client
    }

    /// The same, with nothing read yet.
    pub(crate) async fn silent(replica: &Replica, tcp: TcpStream) -> Self {
        let mut request = format!("ws://{}/ws", replica.address)
            .into_client_request()
            .expect("a request");
        let protocol = HeaderValue::from_static("tidings.v1");
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", protocol.clone());
        let opened = tokio_tungstenite::client_async(request, replica.over(tcp).await);
        let (socket, response) = within("a WebSocket", opened).await.expect("a WebSocket");
        let chosen = response.headers().get("Sec-WebSocket-Protocol");
        assert_eq!(chosen, Some(&protocol));
        Self {
            socket,
            id: String::new(),
        }
    }

    /// Connects with these headers, and takes in what the server says first; or the status that it refuses with.
    pub(crate) async fn open(replica: &Replica, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let tcp = within("a connection", TcpStream::connect(replica.address)).await;
        let io = replica.over(tcp.expect("a connection")).await;
        Self::ask_for(replica.address, io, headers).await
    }

    /// The same to whatever listens there.
    pub(crate) async fn to(address: SocketAddr, headers: &[(&str, &str)]) -> Result<Self, u16> {
        let tcp = within("a connection", TcpStream::connect(address)).await;
        Self::ask_for(address, Box::new(tcp.expect("a connection")), headers).await
    }

    async fn ask_for(
        address: SocketAddr,
        io: Box<dyn Duplex>,
        headers: &[(&str, &str)],
    ) -> Result<Self, u16> {
        let mut request = format!("ws://{address}/ws")
            .into_client_request()
            .expect("a request");
        for (name, value) in headers {
            let name: HeaderName = name.parse().expect("a name");
            let value = HeaderValue::from_str(value).expect("a value");
            request.headers_mut().insert(name, value);
        }
        let opened = tokio_tungstenite::client_async(request, io);
        let socket = match within("an answer", opened).await {
            Ok((socket, _)) => socket,
            Err(Error::Http(response)) => return Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        };
        let id = String::new();
        let mut client = Self { socket, id };
        assert_eq!(client.text().await["type"], "hub:connected");
        Ok(client)
    }

    pub(crate) async fn send(&mut self, message: &Value) {
        self.send_text(&message.to_string()).await;
    }

    pub(crate) async fn send_text(&mut self, text: &str) {
        let sent = self.socket.send(Message::text(text));
        within("a message to be sent", sent)
            .await
            .expect("a server");
    }

    /// Sends a binary message: a line of JSON, and bytes.
    pub(crate) async fn send_binary(&mut self, head: &Value, bytes: &[u8]) {
        let message = [head.to_string().as_bytes(), b"\n", bytes].concat();
        let sent = self.socket.send(Message::binary(message));
        within("a message to be sent", sent)
            .await
            .expect("a server");
    }

    /// The next message that is no ping or pong.
    pub(crate) async fn message(&mut self) -> Message {
        loop {
            let message = within("a message", self.socket.next()).await;
            match message.expect("an open connection").expect("a message") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next message, a text one.
    pub(crate) async fn text(&mut self) -> Value {
        match self.message().await {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            message => panic!("{message:?} instead of a text"),
        }
    }

    /// The next message, a binary one: its line, and its bytes.
    pub(crate) async fn binary(&mut self) -> (Value, Vec<u8>) {
        let message = match self.message().await {
            Message::Binary(bytes) => bytes,
            message => panic!("{message:?} instead of a binary message"),
        };
        let at = message.iter().position(|&byte| byte == b'\n').expect("LF");
        let head = serde_json::from_slice(&message[..at]).expect("JSON");
        (head, message[at + 1..].to_vec())
    }

    /// Sends a message, and returns what it is answered with.
    pub(crate) async fn ask(&mut self, message: Value) -> Value {
        self.send(&message).await;
        let answer = self.text().await;
        assert_eq!(answer["ref"], message["ref"], "{answer}");
        answer
    }

    /// The same where the answer is a success.
    pub(crate) async fn result(&mut self, message: Value) -> Value {
        let mut answer = self.ask(message).await;
        assert!(answer["error"].is_null(), "{answer}");
        answer["result"].take()
    }

    /// The same where it is an error: its status and detail.
    pub(crate) async fn refusal(&mut self, message: Value) -> (u64, String) {
        let answer = self.ask(message).await;
        refusal(&answer)
    }

    /// Subscribes, and returns the id where that begins.
    pub(crate) async fn subscribe(&mut self, name: &str, feeds: &[&str], more: Value) -> String {
        let mut message = json!({"op": "subscribe", "ref": name, "feeds": feeds});
        let fields = message.as_object_mut().expect("an object");
        fields.extend(more.as_object().cloned().unwrap_or_default());
        let result = self.result(message).await;
        result["id"].as_str().expect("an id").to_owned()
    }

    /// Publishes, and returns the event's id.
    pub(crate) async fn publish(&mut self, feed: &str, data: Value) -> String {
        let message = json!({"op": "publish", "ref": 0, "feed": feed, "data": data});
        let result = self.result(message).await;
        result["id"].as_str().expect("an id").to_owned()
    }

    /// The code with which the server closes, and whatever it says before.
    pub(crate) async fn close_code(&mut self) -> (Option<u16>, Vec<Value>) {
        let mut said = Vec::new();
        loop {
            match self.message().await {
                Message::Text(text) => said.push(serde_json::from_str(&text).expect("JSON")),
                Message::Close(frame) => {
                    let end = within("the end", self.socket.next()).await;
                    assert!(end.is_none(), "{end:?}");
                    return (frame.map(|frame| frame.code.into()), said);
                }
                message => panic!("{message:?} instead of a closing"),
            }
        }
    }
}

/// The status and detail of an error.
pub(crate) fn refusal(answer: &Value) -> (u64, String) {
    let error = &answer["error"];
    let detail = error["detail"].as_str().unwrap_or_default();
    (
        error["status"].as_u64().unwrap_or_default(),
        detail.to_owned(),
    )
}
