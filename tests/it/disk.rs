//! The log on disk: what was acknowledged is there again, whatever happened in between.

mod faults;
mod kills;

use crate::program::{Ended, Program};
use crate::replica::Receipt;
use crate::sse::Stream;
use reqwest::{Client, Response};
use std::net::SocketAddr;
use std::path::Path;
use tempfile::TempDir;
use tidings::event::Position;

/// The program with its log in a folder, in a process of its own.
struct Server {
    program: Program,
    address: SocketAddr,
}

impl Server {
    async fn start(folder: &Path, arguments: &[&str]) -> Self {
        let folder = folder.to_str().expect("text");
        let defaults = ["--listen", "127.0.0.1:0", "--retry", "50", "--data", folder];
        Self::started(Program::start(&[&defaults, arguments].concat())).await
    }

    /// A program that was just started, once it follows its log.
    async fn started(program: Program) -> Self {
        Self::if_started(program).await.expect("it starts")
    }

    /// The same, for one that may refuse to start.
    async fn if_started(mut program: Program) -> Option<Self> {
        loop {
            let line = program.complaint_if_any().await?;
            if line.contains("following the log") {
                let address = program.address().await;
                return Some(Self { program, address });
            }
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    async fn kill(self) -> Ended {
        self.program.signal("KILL").await;
        self.program.end().await
    }

    async fn post(&self, feed: &str, key: &str, data: &str) -> Response {
        let request = Client::new().post(self.url(&format!("/feeds/{feed}")));
        let request = request.header("Idempotency-Key", key).body(data.to_owned());
        request.send().await.expect("an answer")
    }

    /// Publishes an event of which the log has none yet.
    async fn publish(&self, data: &str) -> Position {
        let response = self.post("a", data, data).await;
        assert_eq!(response.status(), 201);
        id_of(response).await
    }

    async fn read(&self, path: &str) -> Stream {
        Stream::begin(Client::new().get(self.url(path))).await.0
    }

    async fn text(&self, path: &str) -> String {
        let response = Client::new().get(self.url(path)).send().await;
        response.expect("an answer").text().await.expect("text")
    }
}

async fn id_of(response: Response) -> Position {
    let receipt: Receipt =
        serde_json::from_slice(&response.bytes().await.expect("a body")).expect("a receipt");
    receipt.id.parse().expect("an id")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

#[tokio::test]
async fn a_folder_that_can_not_be_made_is_no_failure_of_the_disk() {
    let data = ["--listen", "127.0.0.1:0", "--data", "/proc/none"];
    let ended = crate::program::Program::run(&data, b"").await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    let expected = "/proc/none (--data): no such folder can be made or used there";
    assert!(ended.err.contains(expected), "{ended:?}");
}

#[tokio::test]
async fn events_ids_and_keys_outlive_the_process() {
    let folder = folder();
    let server = Server::start(folder.path(), &[]).await;
    let first = server.publish("1").await;
    let second = server.publish("2").await;
    server.kill().await;

    let server = Server::start(folder.path(), &[]).await;
    let repeated = server.post("a", "2", "2").await;
    assert_eq!(repeated.status(), 200);
    assert_eq!(id_of(repeated).await, second);
    let third = server.publish("3").await;
    assert_eq!(third.sequence(), 3);
    let mut stream = server.read(&format!("/feeds/a?after={first}")).await;
    assert_eq!(stream.data(2).await, ["2", "3"]);
    let mut stream = server.read("/feeds/a?after=start").await;
    let ids: Vec<String> = [first, second, third]
        .iter()
        .map(Position::to_string)
        .collect();
    for id in ids {
        assert_eq!(stream.event().await.id, id);
    }
}

#[tokio::test]
async fn an_event_is_stored_with_all_that_it_had() {
    let folder = folder();
    let server = Server::start(folder.path(), &[]).await;
    let request = Client::new().post(server.url("/feeds/a.b"));
    let response = request
        .header("Event-Type", "created")
        .header("Event-Key", "k1")
        .header("Content-Type", "application/octet-stream")
        .body(vec![0, 255, 10])
        .send();
    assert_eq!(response.await.unwrap().status(), 201);
    let mut stream = server.read("/feeds/a.b?after=start&envelope=1").await;
    let before = stream.event().await;
    server.kill().await;
    let server = Server::start(folder.path(), &[]).await;
    let mut stream = server.read("/feeds/a.b?after=start&envelope=1").await;
    assert_eq!(stream.event().await, before);
    assert!(before.data.contains(r#""type":"created","#) && before.data.contains(r#""key":"k1""#));
}

#[tokio::test]
async fn a_second_process_on_the_same_folder_is_refused() {
    let folder = folder();
    let server = Server::start(folder.path(), &[]).await;
    let path = folder.path().to_str().unwrap();
    let second = Program::run(&["--listen", "127.0.0.1:0", "--data", path], b"").await;
    assert_eq!(second.code(), Some(1));
    let expected =
        format!("tidings: can't keep the log in {path} (--data): another process uses it");
    assert!(second.err.starts_with(&expected), "{}", second.err);
    server.publish("still here").await;
}

#[tokio::test]
async fn what_can_be_no_log_is_refused_with_what_would_be_right() {
    let folder = folder();
    let path = folder.path().to_str().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let nested = folder.path().join("nested");
    std::fs::create_dir(&nested).unwrap();
    std::fs::write(nested.join("log.redb"), [7; 9000]).unwrap();
    for (arguments, code, expected) in [
        (
            &["--data", path, "--nats", "nats://127.0.0.1:1"][..],
            2,
            "cannot be used with",
        ),
        (&["--data-max-events", "5"], 2, "--data <FOLDER>"),
        (
            &["--data", path, "--data-max-bytes", "1000000"],
            2,
            "less than twice the largest event",
        ),
        (
            &["--data", file.to_str().unwrap()],
            1,
            "can't keep the log in",
        ),
        (
            &["--data", nested.to_str().unwrap()],
            1,
            "can't keep the log in",
        ),
    ] {
        let arguments = [&["--listen", "127.0.0.1:0"], arguments].concat();
        let ended = Program::run(&arguments, b"").await;
        assert_eq!(ended.code(), Some(code), "{arguments:?}: {}", ended.err);
        assert!(ended.err.contains(expected), "{arguments:?}: {}", ended.err);
        assert!(!ended.err.contains("panicked"), "{}", ended.err);
    }
}

#[tokio::test]
async fn what_has_gone_by_age_number_or_size_is_one_gap() {
    let folder = folder();
    let limits = ["--data-max-events", "4", "--window-events", "2"];
    let server = Server::start(folder.path(), &limits).await;
    let mut ids = Vec::new();
    for number in 1..=9 {
        ids.push(server.publish(&number.to_string()).await);
    }
    let mut stream = server.read(&format!("/feeds/*?after={}", ids[0])).await;
    let gap = stream.event().await;
    let told = format!(
        r#"{{"after":"{}","before":"{}","reason":"expired"}}"#,
        ids[0], ids[5]
    );
    assert_eq!((gap.kind.as_str(), gap.data), ("hub:gap", told));
    assert_eq!(stream.data(4).await, ["6", "7", "8", "9"]);
    assert!(
        server
            .text("/metrics")
            .await
            .contains("tidings_log_events 4\n")
    );
}

#[tokio::test]
async fn an_older_copy_that_was_restored_is_a_reset() {
    let (folder, backup) = (folder(), folder());
    let server = Server::start(folder.path(), &[]).await;
    let kept = server.publish("kept").await;
    server.program.signal("TERM").await;
    assert_eq!(server.program.end().await.code(), Some(0));
    std::fs::copy(
        folder.path().join("log.redb"),
        backup.path().join("log.redb"),
    )
    .unwrap();
    let server = Server::start(folder.path(), &[]).await;
    let lost = server.publish("lost").await;
    let newest = server.publish("lost too").await;
    server.kill().await;

    let server = Server::start(backup.path(), &[]).await;
    let other = server.publish("another").await;
    assert_eq!(other.sequence(), lost.sequence());
    for foreign in [lost, newest] {
        let mut stream = server.read(&format!("/feeds/a?after={foreign}")).await;
        assert_eq!(stream.event().await.kind, "hub:reset");
        assert_eq!(stream.data(2).await, ["kept", "another"]);
    }
    let mut stream = server.read(&format!("/feeds/a?after={kept}")).await;
    assert_eq!(stream.data(1).await, ["another"]);
}
