use super::*;
use tempfile::TempDir;

/// A certificate and its key, and those of another; they are of no one and for nothing else.
const ONE: [&str; 2] = [
    include_str!("testing/one.pem"),
    include_str!("testing/one.key"),
];
const OTHER: [&str; 2] = [
    include_str!("testing/other.pem"),
    include_str!("testing/other.key"),
];
/// A pair whose certificate has expired long ago.
const EXPIRED: [&str; 2] = [
    include_str!("testing/expired.pem"),
    include_str!("testing/expired.key"),
];
/// When the first runs out.
const END: u64 = 4_949_435_559;

fn write(folder: &TempDir, [cert, key]: [&str; 2]) {
    std::fs::write(folder.path().join("cert"), cert).unwrap();
    std::fs::write(folder.path().join("key"), key).unwrap();
}

fn open(folder: &TempDir) -> Tls {
    let settings = TlsSettings {
        tls_cert: Some(folder.path().join("cert")),
        tls_key: Some(folder.path().join("key")),
    };
    Tls::open(settings).unwrap().unwrap()
}

fn current(tls: &Tls) -> Arc<ServerConfig> {
    tls.0.current.read().clone()
}

#[test]
fn files_that_stay_as_they_are_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, ONE);
    let tls = open(&folder);
    assert_eq!(tls.counters().not_after.get(), END as i64);
    let before = current(&tls);
    tls.reload();
    write(&folder, ONE); // at another time
    tls.reload();
    assert!(Arc::ptr_eq(&before, &current(&tls)));
    write(&folder, OTHER);
    tls.reload();
    assert!(!Arc::ptr_eq(&before, &current(&tls)));
    assert_eq!(tls.counters().reloads_failed.get(), 0);
}

#[test]
fn what_does_not_fit_counts_once_however_often_it_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, ONE);
    let tls = open(&folder);
    let before = current(&tls);
    let failures = |files: Option<[&str; 2]>| {
        match files {
            Some(files) => write(&folder, files),
            None => std::fs::remove_file(folder.path().join("key")).unwrap(),
        }
        for _ in 0..3 {
            tls.reload();
        }
        assert!(Arc::ptr_eq(&before, &current(&tls)));
        tls.counters().reloads_failed.get()
    };
    assert_eq!(failures(Some([OTHER[0], ONE[1]])), 1);
    assert_eq!(failures(Some([OTHER[0], ""])), 2);
    assert_eq!(failures(None), 3);
    assert_eq!(failures(Some(EXPIRED)), 4);
    write(&folder, OTHER);
    tls.reload();
    assert!(!Arc::ptr_eq(&before, &current(&tls)));
    assert_eq!(tls.counters().reloads_failed.get(), 4);
}

#[test]
fn one_that_has_expired_gives_way_to_any() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, EXPIRED);
    let tls = open(&folder);
    let before = current(&tls);
    write(&folder, ONE);
    tls.reload();
    assert!(!Arc::ptr_eq(&before, &current(&tls)));
    assert_eq!(tls.counters().reloads_failed.get(), 0);
}

#[test]
fn one_file_without_the_other_is_an_error_and_neither_is_no_tls() {
    for (cert, key) in [(None, None), (Some("c"), None), (None, Some("k"))] {
        let settings = TlsSettings {
            tls_cert: cert.map(Into::into),
            tls_key: key.map(Into::into),
        };
        let opened = Tls::open(settings);
        assert_eq!(
            opened.is_err(),
            cert.is_some() || key.is_some(),
            "{opened:?}"
        );
    }
}

/// Opening a pipe waits for whoever writes to it.
#[test]
fn what_is_no_regular_file_is_refused_and_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder, ONE);
    let tls = open(&folder);
    let before = current(&tls);
    let key = folder.path().join("key");
    std::fs::remove_file(&key).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&key).status();
    assert!(made.unwrap().success());
    tls.reload();
    assert_eq!(tls.counters().reloads_failed.get(), 1);
    assert!(Arc::ptr_eq(&before, &current(&tls)));
    std::fs::remove_file(&key).unwrap();
    write(&folder, OTHER);
    tls.reload();
    assert!(!Arc::ptr_eq(&before, &current(&tls)));
}
