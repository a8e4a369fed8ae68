//! The client's process: told what to do a line at a time, and tells what happens.

use crate::conformance::script_command;
use crate::replica::within;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::process::ExitStatus;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};

/// A client in a process of its own, ended when dropped.
pub(super) struct Driver {
    child: Child,
    commands: Option<ChildStdin>,
    lines: Lines<BufReader<ChildStdout>>,
    /// What it has told that nobody has asked for yet.
    told: Vec<Value>,
}

impl Driver {
    /// A client of this address with these options. `how` says what it has: see `tests/clients/tidings.mjs`.
    pub(super) fn start(address: SocketAddr, options: &Value, how: &[&str]) -> Self {
        let mut command = script_command("TIDINGS_TEST_NODE", "tidings.mjs");
        command.arg(format!("http://{address}"));
        command.arg(options.to_string()).args(how);
        if how.contains(&"websocket") {
            // Node has one by itself from 22 on.
            command.env("NODE_OPTIONS", "--experimental-websocket");
        }
        let mut child = command.spawn().expect("node");
        let out = child.stdout.take().expect("piped");
        Self {
            commands: child.stdin.take(),
            lines: BufReader::new(out).lines(),
            told: Vec::new(),
            child,
        }
    }

    /// Has it do something.
    pub(super) async fn tell(&mut self, command: &Value) {
        let commands = self.commands.as_mut().expect("it was not ended");
        let line = format!("{command}\n");
        commands.write_all(line.as_bytes()).await.expect("it runs");
    }

    /// Subscribes under a name.
    pub(super) async fn feed(&mut self, name: &str, pattern: &str, options: &Value) {
        let command = json!({"do": "feed", "name": name, "pattern": pattern, "options": options});
        self.tell(&command).await;
    }

    /// Subscribes from now on, and waits until that is a place in the log.
    pub(super) async fn feed_from_now(&mut self, name: &str, pattern: &str) {
        self.feed(name, pattern, &json!({})).await;
        self.state("live").await;
    }

    /// Publishes, and returns what became of it.
    pub(super) async fn publish(&mut self, feed: &str, data: &Value) -> Value {
        let command = json!({"do": "publish", "feed": feed, "data": data});
        self.tell(&command).await;
        self.next(|told| told["told"] == "resolved" || told["told"] == "rejected")
            .await
    }

    /// The first that it tells, or has told, of which this holds. What else it tells is kept.
    pub(super) async fn next(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(index) = self.told.iter().position(&wanted) {
                return self.told.remove(index);
            }
            let line = within("the client to tell something", self.lines.next_line()).await;
            let line = line.expect("text").expect("it runs");
            self.told.push(serde_json::from_str(&line).expect("JSON"));
        }
    }

    /// Waits until it has joined, by a stream or a poll.
    pub(super) async fn joined(&mut self) {
        self.next(|told| told["state"] == "live" || told["state"] == "polling")
            .await;
    }

    /// Waits for a state.
    pub(super) async fn state(&mut self, state: &str) -> Value {
        self.next(|told| told["told"] == "state" && told["state"] == state)
            .await
    }

    /// The next event of a subscription.
    pub(super) async fn event(&mut self, name: &str) -> Value {
        self.next(|told| told["told"] == "event" && told["name"] == name)
            .await
    }

    /// So many events of a subscription, in the order in which they came.
    pub(super) async fn events(&mut self, name: &str, count: usize) -> Vec<Value> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.event(name).await);
        }
        events
    }

    /// Closes the client. Its process ends by itself, as nothing of the client is left; returns what it still told, and its
    /// standard error.
    pub(super) async fn end(mut self) -> (Vec<Value>, String) {
        drop(self.commands.take());
        while let Some(line) = within("the end of the client", self.lines.next_line())
            .await
            .expect("text")
        {
            self.told.push(serde_json::from_str(&line).expect("JSON"));
        }
        let mut errors = String::new();
        let mut stderr = self.child.stderr.take().expect("piped");
        within("its last words", stderr.read_to_string(&mut errors))
            .await
            .expect("text");
        let status: ExitStatus = within("its end", self.child.wait())
            .await
            .expect("a status");
        assert!(status.success(), "{status}: {errors}");
        (self.told, errors)
    }
}
