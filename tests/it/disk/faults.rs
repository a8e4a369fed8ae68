//! A disk that is full, and one that has changed a byte.

use super::{Server, folder, id_of};
use crate::program::Program;
use crate::seed::rng;
use crate::sse::Stream;
use std::path::PathBuf;

/// The program on a disk of its own, 8 MiB of which all but one are taken by something else.
async fn on_a_small_disk() -> (Server, PathBuf) {
    let script = r#"mount -t tmpfs -o size=8m none "$1" && head -c 7M /dev/zero > "$1/other" && shift && exec "$@""#;
    let folder = "/mnt";
    let program = env!("CARGO_BIN_EXE_tidings");
    let command = [
        "--map-root-user",
        "--mount",
        "sh",
        "-c",
        script,
        "sh",
        folder,
        program,
    ];
    let data = format!("{folder}/data");
    let arguments = [
        "--listen",
        "127.0.0.1:0",
        "--data",
        &data,
        "--window-events",
        "10",
    ];
    let program = Program::other("unshare", &[&command[..], &arguments].concat());
    let other = PathBuf::from(format!("/proc/{}/root{folder}/other", program.id()));
    (Server::started(program).await, other)
}

#[tokio::test]
async fn a_full_disk_fails_publishes_with_507_and_nothing_else_until_there_is_room() {
    let (server, other) = on_a_small_disk().await;
    let mut live = server.read("/feeds/a").await;
    let large = "x".repeat(50_000);
    let mut stored = Vec::new();
    let refused = loop {
        let number = stored.len();
        let data = format!("{number} {large}");
        let response = server.post("a", &number.to_string(), &data).await;
        if response.status() != 201 {
            break response;
        }
        stored.push(id_of(response).await);
        assert!(stored.len() < 1000, "the disk takes everything");
    };
    assert_eq!(refused.status(), 507);
    assert!(refused.headers().contains_key("retry-after"));
    let problem = refused.text().await.unwrap();
    assert!(
        problem.contains("nothing was stored: the disk is full"),
        "{problem}"
    );
    let ready = server.text("/readyz").await;
    assert!(
        ready.contains(r#""status":"degraded","reason":"the disk is full"#),
        "{ready}"
    );
    // Small ones are refused as well, and at once, as long as there is no room to speak of.
    assert_eq!(server.post("a", "small", "small").await.status(), 507);

    // Readers are served, from the window and from the disk.
    live.data(stored.len()).await;
    let mut stream = server.read("/feeds/a?after=start").await;
    for id in &stored {
        assert_eq!(stream.event().await.id, id.to_string());
    }
    assert!(stored.len() > 10, "the window holds 10 events");

    std::fs::remove_file(other).unwrap();
    let again = loop {
        let response = server.post("a", "again", "again").await;
        if response.status() == 201 {
            break id_of(response).await;
        }
        assert_eq!(response.status(), 507);
        tokio::task::yield_now().await;
    };
    assert_eq!(again.sequence(), stored.len() as u64 + 1);
    assert_eq!(stream.data(1).await, ["again"]);
    assert_eq!(live.data(1).await, ["again"]);
    let ready = server.text("/readyz").await;
    assert!(ready.contains(r#""status":"ready""#), "{ready}");
}

/// The events that are read of a log that may be damaged, gaps apart; `None` where it takes no more events.
async fn read_all(server: &Server) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    let response = server.post("a", "the end", "the end").await;
    if response.status() == 503 {
        let problem = response.text().await.unwrap();
        assert!(problem.contains("the log on disk is damaged"), "{problem}");
        return None;
    }
    let end = id_of(response).await.to_string();
    let mut stream: Stream = server.read("/feeds/a?after=start").await;
    loop {
        let event = stream.event().await;
        if event.id == end {
            return Some(found);
        }
        match event.kind.as_str() {
            "message" => found.push((event.id, event.data)),
            kind => assert_eq!(kind, "hub:gap"),
        }
    }
}

#[tokio::test]
#[allow(clippy::print_stderr)] // cargo shows it where the test fails
async fn a_changed_byte_is_never_served() {
    let mut random = rng();
    let folder = folder();
    let server = Server::start(folder.path(), &[]).await;
    let mut stored = Vec::new();
    for number in 0..200 {
        let data = format!("{number:0$}", 100 + 20 * (number % 50));
        let id = server.publish(&data).await;
        stored.push((id.to_string(), data));
    }
    server.kill().await;
    let path = folder.path().join("log.redb");
    let whole = std::fs::read(&path).unwrap();
    let (mut refused, mut lost) = (0, 0);
    for _ in 0..20 {
        let mut changed = whole.clone();
        let at = random.usize(..changed.len());
        eprintln!("byte {at}");
        changed[at] ^= random.u8(1..);
        std::fs::write(&path, changed).unwrap();
        let data = folder.path().to_str().unwrap();
        let arguments = [
            "--listen",
            "127.0.0.1:0",
            "--data",
            data,
            "--window-events",
            "10",
        ];
        let Some(server) = Server::if_started(Program::start(&arguments)).await else {
            refused += 1;
            continue;
        };
        let Some(found) = read_all(&server).await else {
            refused += 1;
            server.kill().await;
            continue;
        };
        let known = |event: &(String, String)| stored.contains(event);
        assert!(
            found.iter().all(known),
            "byte {at} was served otherwise than it was stored"
        );
        if found.len() < stored.len() {
            lost += 1;
            let ready = server.text("/readyz").await;
            assert!(ready.contains("damaged"), "byte {at}: {ready}");
            assert!(
                server
                    .text("/metrics")
                    .await
                    .contains("tidings_log_damaged_reads_total")
            );
        }
        server.kill().await;
    }
    eprintln!("{refused} times the log was refused, {lost} times events were lost");
}

#[tokio::test]
async fn while_its_file_is_gone_nothing_is_stored_and_nobody_else_has_the_folder() {
    let folder = folder();
    let server = Server::start(folder.path(), &[]).await;
    server.publish("1").await;
    let (file, away) = (folder.path().join("log.redb"), folder.path().join("away"));
    std::fs::rename(&file, &away).unwrap();
    let refused = server.post("a", "2", "2").await;
    assert_eq!(refused.status(), 503);
    let problem = refused.text().await.unwrap();
    assert!(
        problem.contains("nothing was stored: its file is gone"),
        "{problem}"
    );
    assert!(server.text("/readyz").await.contains("degraded"));
    // What is stored is known still.
    assert_eq!(server.post("a", "1", "1").await.status(), 200);
    let data = folder.path().to_str().unwrap();
    let second = Program::run(&["--listen", "127.0.0.1:0", "--data", data], b"").await;
    assert!(second.err.contains("another process uses it"), "{second:?}");
    std::fs::rename(&away, &file).unwrap();
    let again = loop {
        let response = server.post("a", "2", "2").await;
        if response.status() == 201 {
            break id_of(response).await;
        }
        assert_eq!(response.status(), 503);
        tokio::task::yield_now().await;
    };
    assert_eq!(again.sequence(), 2);
}

#[tokio::test]
async fn a_file_that_was_never_made_whole_is_made_anew() {
    let folder = folder();
    std::fs::write(folder.path().join("log.redb.new"), [0; 9000]).unwrap();
    let server = Server::start(folder.path(), &[]).await;
    assert_eq!(server.publish("1").await.sequence(), 1);
}
