//! A reader of Server-Sent Events that keeps everything: blocks as they come, the hub's among them.

use crate::replica::{Replica, within};
use std::collections::VecDeque;

/// A block of a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) data: String,
    pub(crate) retry: Option<u32>,
}

/// An open stream.
pub(crate) struct Stream {
    response: reqwest::Response,
    buffer: Vec<u8>,
    blocks: VecDeque<Block>,
}

impl Stream {
    /// Opens a stream and reads its first block, which is `hub:position`.
    pub(crate) async fn open(replica: &Replica, path: &str) -> (Self, Block) {
        Self::open_with(replica, path, None).await
    }

    /// The same, with a `Last-Event-ID`.
    pub(crate) async fn resume(replica: &Replica, path: &str, id: &str) -> (Self, Block) {
        Self::open_with(replica, path, Some(id)).await
    }

    async fn open_with(replica: &Replica, path: &str, id: Option<&str>) -> (Self, Block) {
        let client = replica.client().build().expect("a client");
        let mut request = client.get(replica.url(path));
        if let Some(id) = id {
            request = request.header("Last-Event-ID", id);
        }
        Self::begin(request).await
    }

    /// Sends a request for a stream, and reads the stream's first block.
    pub(crate) async fn begin(request: reqwest::RequestBuilder) -> (Self, Block) {
        let response = within("the head", request.send()).await.expect("an answer");
        let mut stream = Self::of(response);
        let first = stream.next().await.expect("a first block");
        assert_eq!(first.kind, "hub:position");
        assert!(first.retry.is_some());
        (stream, first)
    }

    /// The stream that was answered with, nothing of it read.
    pub(crate) fn of(response: reqwest::Response) -> Self {
        assert_eq!(response.status(), 200);
        Self {
            response,
            buffer: Vec::new(),
            blocks: VecDeque::new(),
        }
    }

    /// The head of the answer, its body apart.
    pub(crate) fn response(&self) -> &reqwest::Response {
        &self.response
    }

    /// The next block; `None` at the stream's end.
    pub(crate) async fn next(&mut self) -> Option<Block> {
        while self.blocks.is_empty() {
            let chunk = within("the next block", self.response.chunk())
                .await
                .expect("a whole body")?;
            self.buffer.extend_from_slice(&chunk);
            while let Some(end) = self.buffer.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.buffer.drain(..end + 2).collect();
                self.blocks
                    .push_back(Block::parse(std::str::from_utf8(&block).expect("UTF-8")));
            }
        }
        self.blocks.pop_front()
    }

    /// The next block that is an event, `hub:position` passed over.
    pub(crate) async fn event(&mut self) -> Block {
        within("an event", async {
            loop {
                let block = self.next().await.expect("an event");
                if block.kind != "hub:position" {
                    return block;
                }
            }
        })
        .await
    }

    /// The data of the next events.
    pub(crate) async fn data(&mut self, count: usize) -> Vec<String> {
        let mut data = Vec::new();
        for _ in 0..count {
            let event = self.event().await;
            assert!(!event.kind.starts_with("hub:"), "{event:?}");
            data.push(event.data);
        }
        data
    }
}

impl Block {
    /// Strict: anything but what the hub is to write fails.
    pub(crate) fn parse(text: &str) -> Self {
        let mut block = Self::default();
        let mut data: Option<String> = None;
        for line in text
            .trim_end_matches('\n')
            .split('\n')
            .filter(|line| *line != ":")
        {
            let (name, value) = line
                .split_once(": ")
                .unwrap_or_else(|| panic!("a field, not {line:?}"));
            match name {
                "event" => block.kind = value.to_owned(),
                "id" => block.id = value.to_owned(),
                "retry" => block.retry = Some(value.parse().expect("milliseconds")),
                "data" => match &mut data {
                    None => data = Some(value.to_owned()),
                    Some(data) => {
                        data.push('\n');
                        data.push_str(value);
                    }
                },
                name => panic!("no field is called {name:?}"),
            }
        }
        if block.kind.is_empty() {
            block.kind = "message".to_owned();
        }
        block.data = data.expect("data");
        block
    }
}
