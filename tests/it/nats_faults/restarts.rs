//! NATS is killed, and comes back: with its store, without one, with an older one.

use super::*;
use crate::nats_server::{Version, copy_folder};
use crate::outages::restore;

on_both!(
    killed_again_and_again_it_comes_back_with_all,
    killed_and_emptied_it_has_every_reader_reset,
    killed_and_rolled_back_it_has_its_readers_reset,
    away_at_the_start_it_is_awaited,
);

async fn killed_again_and_again_it_comes_back_with_all(version: Version) {
    let mut nats = NatsServer::start(version);
    let replicas = two_replicas(&nats).await;
    let run = begin(plan(&replicas, &nats)).await;
    for _ in 0..3 {
        nats.kill();
        all_refuse(&replicas).await;
        nats.run();
        all_live(&replicas).await;
        goes_on(&run).await;
    }
    let report = finish_without_a_word(run).await;
    assert!(report.progress.repeats > 0, "{report}");
    assert_eq!(report.progress.unknown, 0, "{report}");
}

async fn killed_and_emptied_it_has_every_reader_reset(version: Version) {
    let mut nats = NatsServer::start(version);
    let replicas = two_replicas(&nats).await;
    let run = begin(plan(&replicas, &nats)).await;
    nats.kill();
    all_refuse(&replicas).await;
    std::fs::remove_dir_all(nats.store()).unwrap();
    nats.run();
    until(&run, "all to be reset", |now| now.resets >= READERS).await;
    goes_on(&run).await;
    let report = finish(run).await;
    assert_eq!(report.tally.gaps.count, 0, "{report}");
}

/// The copy is of a server that ran, as a backup of a disk may be. All readers are beyond it when it is restored: one
/// that lagged so far that its place is in both has nothing to be told.
async fn killed_and_rolled_back_it_has_its_readers_reset(version: Version) {
    let mut nats = NatsServer::start(version);
    let replicas = two_replicas(&nats).await;
    let run = begin(Plan {
        cut: None,
        slow: 0.0,
        ..plan(&replicas, &nats)
    })
    .await;
    let older = tempfile::tempdir().unwrap();
    nats.freeze();
    copy_folder(&nats.store(), older.path());
    nats.thaw();
    goes_on(&run).await;
    let copied = replicas.iter().map(|replica| replica.hub().head()).max();
    until(&run, "all to be beyond the copy", |_| {
        Some(run.sequence()) > copied
    })
    .await;
    restore(&mut nats, older.path());
    until(&run, "all to be reset", |now| now.resets >= READERS).await;
    goes_on(&run).await;
    let report = finish(run).await;
    assert_eq!(report.tally.gaps.count, 0, "{report}");
}

async fn away_at_the_start_it_is_awaited(version: Version) {
    let mut nats = NatsServer::start(version);
    nats.kill();
    let url = nats.url();
    let replicas = [(); 2].map(|()| Replica::start_unready(&["--nats", &url]));
    let run = Run::start(plan(&replicas, &nats)).expect("a run");
    // The first publishes are due when five seconds have brought no reader to its beginning.
    until(&run, "all to have tried", |now| {
        now.failures >= READERS && now.repeats >= 10
    })
    .await;
    for replica in &replicas {
        assert_eq!(publish(replica).await, 503);
    }
    let before = run.progress();
    assert_eq!((before.begun, before.acknowledged), (0, 0));
    nats.run();
    all_live(&replicas).await;
    all_have_heard(&run).await;
    let report = finish_without_a_word(run).await;
    assert_eq!(report.progress.unknown, 0, "{report}");
}
