//! curl, which makes nothing of what it reads: a stream byte for byte.

use crate::tools::{program, within};
use std::process::Stdio;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};

/// A running curl. Dropping it ends it.
pub(super) struct Curl {
    stdout: ChildStdout,
    read: Vec<u8>,
    _child: Child,
}

impl Curl {
    /// Reads a URL as plain `curl -N` does, with these options besides.
    pub(super) fn start(url: &str, options: &[&str]) -> Self {
        let mut child = Command::new(program("TIDINGS_TEST_CURL"))
            .args(["--disable", "--noproxy", "*", "--silent", "--show-error"])
            .arg("-N")
            .args(options)
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        Self {
            stdout: child.stdout.take().unwrap(),
            read: Vec::new(),
            _child: child,
        }
    }

    /// Reads on until the event with this id has come, whole.
    pub(super) async fn read_through(&mut self, id: &str) {
        let field = format!("\nid: {id}\n");
        let mut from = 0;
        loop {
            let start = find(&self.read[from..], field.as_bytes()).map(|at| from + at);
            if start.is_some_and(|start| find(&self.read[start..], b"\n\n").is_some()) {
                return;
            }
            from = start.unwrap_or(self.read.len().saturating_sub(field.len()));
            self.read_more(&format!("event {id}")).await;
        }
    }

    /// Reads what has come, once something has.
    pub(super) async fn read_more(&mut self, awaited: &str) {
        let mut more = [0; 65_536];
        let awaited = format!("{awaited} through curl");
        let read = within(&awaited, self.stdout.read(&mut more), || {
            format!("{} bytes read", self.read.len())
        });
        let count = read.await.unwrap();
        assert_ne!(count, 0, "curl ended before {awaited}");
        self.read.extend_from_slice(&more[..count]);
    }

    /// How many lines were read that are signs of life and nothing else.
    pub(super) fn heartbeats(&self) -> usize {
        let lines = self.read.split(|&byte| byte == b'\n');
        lines.filter(|line| *line == b":").count()
    }

    /// All that was read, but for the number in the first line, `retry:`, which differs for each client.
    pub(super) fn body(&self) -> &[u8] {
        let end = find(&self.read, b"\n").expect("a line");
        assert!(self.read.starts_with(b"retry: "));
        &self.read[end..]
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
