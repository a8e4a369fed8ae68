//! Servers that go, come back, and come back with another past.

use super::*;
use crate::nats_server::{Version, copy_folder};
use tidings::log::{Limit, Range, Select};

on_both!(
    after_a_restart_the_follower_goes_on_where_it_was,
    a_killed_server_ends_the_follower_at_once,
    a_read_over_a_restart_fails_until_the_log_is_opened_again,
    an_older_copy_of_the_store_is_told_by_its_last_position,
    an_empty_store_is_told_by_its_creation,
    a_silent_server_ends_the_follower,
);

async fn after_a_restart_the_follower_goes_on_where_it_was(version: Version) {
    let mut server = NatsServer::start(version);
    let log = opened(&server).await;
    fill(&log, "a", 5).await;
    let before = log.bounds().await.unwrap();
    let mut follow = log.follow(0).await.unwrap();
    next_events(&mut follow, 5).await;
    server.stop();
    end_of(&mut follow).await;
    server.run();
    assert_eq!(reopened(&log).await, before);
    fill(&log, "a", 3).await;
    let mut follow = log.follow(5).await.unwrap();
    assert_eq!(sequences(&next_events(&mut follow, 3).await), [6, 7, 8]);
}

async fn a_killed_server_ends_the_follower_at_once(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let mut follow = log.follow(0).await.unwrap();
    server.signal("KILL");
    let text = end_of(&mut follow).await;
    assert!(text.contains("was cut"), "{text}");
    let text = unavailable(log.follow(0).await);
    assert!(text.contains("can't be reached"), "{text}");
}

async fn a_read_over_a_restart_fails_until_the_log_is_opened_again(version: Version) {
    let mut server = NatsServer::start(version);
    let log = opened(&server).await;
    fill(&log, "a", 5).await;
    server.stop();
    server.run();
    let limit = Limit {
        events: 10,
        bytes: 1 << 20,
    };
    let range = Range {
        after: 0,
        through: 5,
    };
    let mut read = log.read(range, &Select::All, limit).await;
    let text = loop {
        let text = unavailable(read);
        if !text.contains("can't be reached") {
            break text;
        }
        // Until it is connected again, but not opened.
        read = log.read(range, &Select::All, limit).await;
        tokio::task::yield_now().await;
    };
    assert!(text.contains("was cut"), "{text}");
    reopened(&log).await;
    let batch = log.read(range, &Select::All, limit).await.unwrap();
    assert_eq!(batch.events.len(), 5);
}

async fn an_older_copy_of_the_store_is_told_by_its_last_position(version: Version) {
    let mut server = NatsServer::start(version);
    let log = opened(&server).await;
    fill(&log, "a", 5).await;
    server.stop();
    let copy = server.dir.path().join("copy");
    copy_folder(&server.store(), &copy);
    server.run();
    reopened(&log).await;
    fill(&log, "a", 5).await;
    let head = log.bounds().await.unwrap();
    server.stop();
    std::fs::remove_dir_all(server.store()).unwrap();
    copy_folder(&copy, &server.store());
    server.run();
    let bounds = reopened(&log).await;
    assert_eq!(bounds.created, head.created);
    assert_eq!(bounds.last.sequence(), 5);
    let text = unavailable(log.follow(10).await);
    assert!(text.contains("rolled back"), "{text}");
    // The same sequences are given out again, at other times.
    fill(&log, "a", 5).await;
    let again = log.position_at(10).await.unwrap().unwrap();
    assert_eq!(again.sequence(), head.last.sequence());
    assert_ne!(again, head.last);
}

async fn an_empty_store_is_told_by_its_creation(version: Version) {
    let mut server = NatsServer::start(version);
    let log = opened(&server).await;
    fill(&log, "a", 5).await;
    let before = log.bounds().await.unwrap();
    server.stop();
    std::fs::remove_dir_all(server.store()).unwrap();
    server.run();
    let bounds = reopened(&log).await;
    assert_ne!(bounds.created, before.created);
    assert_eq!((bounds.first, bounds.last.sequence()), (1, 0));
}

async fn a_silent_server_ends_the_follower(version: Version) {
    let server = NatsServer::start(version);
    let log = opened(&server).await;
    let mut follow = log.follow(0).await.unwrap();
    soon(follow.next()).await.unwrap();
    server.freeze();
    let text = end_of(&mut follow).await;
    server.thaw();
    assert!(text.contains("no answer"), "{text}");
}
