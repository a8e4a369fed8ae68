//! What a disk may do at any moment.

mod disk;

use super::place::Place;
use super::record;
use super::store::{Addition, Retention, Store};
use super::trouble::{Kind, Trouble};
use super::{DiskLimits, DiskLog};
use crate::event::{Event, Message, Timestamp};
use crate::log::{Append, AppendError, Appended, Batch, Limit, Range, Select};
pub(super) use disk::Disk;
use fastrand::Rng;
use std::io::ErrorKind;
use std::sync::Arc;

const KEEP_ALL: Retention = Retention {
    before: 0,
    bytes: u64::MAX,
    events: u64::MAX,
};

fn on(disk: &Disk) -> Result<Store, Trouble> {
    Store::open(&Place::Disk(disk.clone()), 1 << 20, true)
}

/// Events `numbers`, as one transaction of a store that has those before.
fn addition(numbers: std::ops::RangeInclusive<u64>) -> Addition {
    let record = |number| record::encode(number, Timestamp::from_nanos(number), &message(number));
    Addition {
        last_time: *numbers.end(),
        records: numbers.map(record).collect(),
        ..Addition::default()
    }
}

fn message(number: u64) -> Message {
    // Now and then one that takes several pages.
    let padding = if number.is_multiple_of(7) { 9000 } else { 40 };
    let feed = if number.is_multiple_of(3) {
        "third"
    } else {
        "other"
    };
    Message::new(feed.parse().unwrap(), format!("{number:padding$}"))
}

fn read(store: &Store, after: u64, select: &Select) -> (Batch, Option<u64>) {
    let range = Range {
        after,
        through: u64::MAX,
    };
    let limit = Limit {
        events: usize::MAX,
        bytes: usize::MAX,
    };
    store.read(range, select, limit).unwrap()
}

fn sequences(events: &[Arc<Event>]) -> Vec<u64> {
    let number = |event: &Arc<Event>| event.position.sequence();
    events.iter().map(number).collect()
}

/// The store must hold these events and no others, each as it was given.
fn assert_holds(store: &Store, numbers: std::ops::RangeInclusive<u64>) {
    let (batch, damaged) = read(store, 0, &Select::All);
    assert_eq!(damaged, None);
    assert_eq!(
        sequences(&batch.events),
        numbers.clone().collect::<Vec<_>>()
    );
    for event in batch.events {
        assert_eq!(event.message, message(event.position.sequence()));
    }
    let state = store.state().unwrap();
    assert_eq!(
        (state.first, state.last),
        (*numbers.start(), *numbers.end())
    );
}

#[test]
#[allow(clippy::print_stdout)] // cargo shows it where the test fails
fn a_loss_of_power_at_any_moment_loses_no_event_that_was_stored_and_brings_none_in_part() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let retention = Retention {
        events: 60,
        ..KEEP_ALL
    };
    let mut disk = Disk::default();
    let mut stored = 0;
    for _ in 0..100 {
        let store = on(&disk).unwrap();
        for _ in 0..random.u64(..3) {
            let more = random.u64(1..20);
            store
                .commit(&addition(stored + 1..=stored + more), &retention)
                .unwrap();
            stored += more;
        }
        disk.fail_after(random.usize(..60), ErrorKind::Other);
        let more = random.u64(1..20);
        let last = store.commit(&addition(stored + 1..=stored + more), &retention);
        disk = Disk::of(disk.after_power_loss(&mut random));
        let reached = on(&disk).unwrap().state().unwrap().last;
        match last {
            Ok(_) => assert_eq!(reached, stored + more),
            Err(_) => assert!([stored, stored + more].contains(&reached)),
        }
        stored = reached;
        let first = stored.saturating_sub(59).max(1);
        assert_holds(&on(&disk).unwrap(), first..=stored);
    }
}

#[test]
fn a_failed_transaction_says_what_the_disk_lacks() {
    for (how, kind) in [
        (ErrorKind::StorageFull, Kind::Full),
        (ErrorKind::QuotaExceeded, Kind::Full),
        (ErrorKind::ReadOnlyFilesystem, Kind::Failure),
        (ErrorKind::Other, Kind::Failure),
    ] {
        let disk = Disk::default();
        let store = on(&disk).unwrap();
        store.commit(&addition(1..=3), &KEEP_ALL).unwrap();
        disk.fail_after(0, how);
        let trouble = store.commit(&addition(4..=6), &KEEP_ALL).unwrap_err();
        assert_eq!(trouble.kind, kind, "{}", trouble.reason);
    }
}

#[test]
fn what_is_over_goes_from_the_oldest_on() {
    let store = on(&Disk::default()).unwrap();
    store.commit(&addition(1..=100), &KEEP_ALL).unwrap();
    let all = store.state().unwrap().bytes;
    let few = Retention {
        events: 70,
        ..KEEP_ALL
    };
    assert!(store.is_over(&few).unwrap());
    store.commit(&Addition::default(), &few).unwrap();
    assert_holds(&store, 31..=100);
    assert!(!store.is_over(&few).unwrap());
    let young = Retention {
        before: 51, // the time of event 51
        ..KEEP_ALL
    };
    store.commit(&addition(101..=101), &young).unwrap();
    assert_holds(&store, 51..=101);
    let small = Retention {
        bytes: all / 4,
        ..KEEP_ALL
    };
    let state = store.commit(&Addition::default(), &small).unwrap();
    assert!(state.bytes <= all / 4 && state.bytes > all / 8);
    assert_holds(&store, state.first..=101);
    let none = Retention {
        before: u64::MAX,
        ..KEEP_ALL
    };
    let state = store.commit(&Addition::default(), &none).unwrap();
    assert_eq!((state.first, state.last, state.bytes), (102, 101, 0));
    store.commit(&addition(102..=103), &KEEP_ALL).unwrap();
    assert_holds(&store, 102..=103);
}

#[test]
fn what_is_damaged_is_not_served_and_what_comes_before_and_after_is() {
    let store = on(&Disk::default()).unwrap();
    store.commit(&addition(1..=20), &KEEP_ALL).unwrap();
    store.damage(&[(5, None), (6, Some(b"?")), (12, None), (20, None)]);
    let mut found = Vec::new();
    let mut after = 0;
    while after < 20 {
        let (batch, damaged) = read(&store, after, &Select::All);
        let lost = (batch.first > after + 1).then_some(batch.first);
        found.push((lost, sequences(&batch.events), damaged));
        assert!(batch.through > after);
        after = batch.through;
    }
    let expected = [
        (None, (1..=4).collect(), Some(5)),
        (Some(7), (7..=11).collect(), Some(5)),
        (Some(13), (13..=19).collect(), Some(12)),
        (Some(21), vec![], Some(20)),
    ];
    // The second read met the end of one stretch and the beginning of the next.
    assert_eq!(found, expected);
    assert_eq!(store.position_at(6).unwrap(), None);
    let third = Select::Feed("third".parse().unwrap());
    let (batch, damaged) = read(&store, 6, &third);
    assert_eq!((sequences(&batch.events), damaged), (vec![9], Some(12)));
    // Its end is not where it should be.
    assert!(store.state().is_err());
}

#[test]
fn a_log_of_another_version_is_refused_by_name() {
    let disk = Disk::default();
    let store = on(&disk).unwrap();
    store.commit(&addition(1..=3), &KEEP_ALL).unwrap();
    store.put_meta("version", b"7");
    drop(store);
    let Trouble { reason, .. } = on(&disk).unwrap_err();
    assert!(
        reason.contains("of version 7") && reason.contains("version 1"),
        "{reason}"
    );
}

#[test]
fn how_far_the_log_reaches_is_sealed_too() {
    let store = on(&Disk::default()).unwrap();
    store.commit(&addition(1..=3), &KEEP_ALL).unwrap();
    store.put_meta("state", b"\0\0\0\0 what is not sealed");
    let reason = store.state().unwrap_err().reason;
    assert!(reason.contains("damaged"), "{reason}");
}

fn log_on(disk: &Disk) -> DiskLog {
    let limits = DiskLimits {
        age: None,
        bytes: u64::MAX,
        events: u64::MAX,
        keys: 100,
        cache_bytes: 1 << 20,
    };
    DiskLog::at(Place::Disk(disk.clone()), limits, None).unwrap()
}

async fn append(log: &DiskLog, key: Option<&str>) -> Result<Appended, AppendError> {
    let append = Append {
        message: message(1),
        idempotency_key: key.map(str::to_owned),
    };
    log.append(append).await
}

async fn held(log: &DiskLog) -> Vec<u64> {
    let range = Range {
        after: 0,
        through: log.bounds().last.sequence(),
    };
    let limit = Limit {
        events: usize::MAX,
        bytes: usize::MAX,
    };
    sequences(&log.read(range, &Select::All, limit).await.unwrap().events)
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_fails_appends_alone_until_it_works_again() {
    for how in [
        ErrorKind::StorageFull,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::Other,
    ] {
        let disk = Disk::default();
        let log = log_on(&disk);
        append(&log, None).await.unwrap();
        disk.fail_after(0, how);
        for _ in 0..3 {
            let error = append(&log, Some("again")).await.unwrap_err();
            match how {
                ErrorKind::StorageFull => assert!(matches!(error, AppendError::Full(_)), "{error}"),
                _ => assert!(matches!(error, AppendError::NotStored(_)), "{error}"),
            }
            assert_eq!(held(&log).await, [1]);
            assert!(log.trouble().is_some());
        }
        disk.works_again();
        let mut trouble = log.shared.trouble.subscribe();
        trouble.wait_for(Option::is_none).await.unwrap();
        // Under the key with which nothing was stored.
        let stored = append(&log, Some("again")).await.unwrap();
        assert_eq!((stored.sequence, stored.repeated), (2, false));
        assert_eq!(held(&log).await, [1, 2]);
        assert_eq!(log.trouble(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_fails_at_any_moment_of_an_append_leaves_it_stored_once_or_not_at_all() {
    for changes in 0..40 {
        let disk = Disk::default();
        let log = log_on(&disk);
        append(&log, None).await.unwrap();
        disk.fail_after(changes, ErrorKind::Other);
        let first = append(&log, Some("again")).await;
        disk.works_again();
        let mut trouble = log.shared.trouble.subscribe();
        trouble.wait_for(Option::is_none).await.unwrap();
        let second = append(&log, Some("again")).await.unwrap();
        assert_eq!(second.sequence, 2);
        match first {
            Ok(_) => assert!(second.repeated),
            Err(AppendError::NotStored(_)) => assert!(!second.repeated),
            Err(AppendError::Unknown(_)) => {}
            Err(error) => panic!("{error}"),
        }
        assert_eq!(held(&log).await, [1, 2]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_stored_outlives_the_process_with_its_keys() {
    let disk = Disk::default();
    let log = log_on(&disk);
    append(&log, Some("one")).await.unwrap();
    append(&log, Some("two")).await.unwrap();
    let bounds = log.bounds();
    let image = disk.after_power_loss(&mut Rng::with_seed(0));
    let again = log_on(&Disk::of(image));
    assert_eq!(again.bounds(), bounds);
    let repeated = append(&again, Some("one")).await.unwrap();
    assert_eq!((repeated.sequence, repeated.repeated), (1, true));
    let new = append(&again, Some("three")).await.unwrap();
    assert_eq!((new.sequence, new.repeated), (3, false));
}
