//! `tidings health`.

use super::nobody;
use crate::program::{Ended, Program};
use crate::replica::Replica;

async fn health(url: &str) -> Ended {
    Program::run(&["health", "--url", url], b"").await
}

#[tokio::test]
async fn a_server_that_is_ready_is_0_and_nothing_is_said() {
    let replica = Replica::start(&[]).await;
    let ended = health(&replica.url("")).await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("", ""));
}

#[tokio::test]
async fn one_that_has_not_reached_its_log_is_1_and_says_why() {
    let nats = nobody().replace("http", "nats");
    let replica = Replica::start_unready(&["--nats", &nats]);
    let ended = health(&replica.url("")).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.err.contains("503"), "{ended:?}");
    assert!(ended.err.contains("has not been reached"), "{ended:?}");
}

#[tokio::test]
async fn one_that_is_not_there_is_1() {
    let ended = health(&nobody()).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.err.contains("Connection refused"), "{ended:?}");
}
