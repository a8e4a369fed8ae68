//! The program's own clients with credentials.

use super::{guarded, publish, right, short, token};
use crate::program::Program;
use serde_json::json;

#[tokio::test]
async fn publish_and_tail_show_the_token_that_they_are_given_and_do_not_tell_it() {
    let replica = guarded(&[]).await;
    let url = replica.url("");
    let (right, wrong) = (right(), "x.y.z".to_owned());
    for (token, code) in [(&right, 0), (&wrong, 1)] {
        for arguments in [
            &["publish", "--url", &url, "a.b", "1", "--token", token][..],
            &[
                "tail", "--url", &url, "a.b", "--last", "1", "--count", "1", "--token", token,
            ],
        ] {
            let ended = Program::run(arguments, b"").await;
            assert_eq!(ended.code(), Some(code), "{ended:?}");
            assert!(!ended.err.contains(token.as_str()), "{ended:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_and_bench_show_the_token_of_a_file_to_readers_and_publishers_alike() {
    let replica = guarded(&[]).await;
    let url = replica.url("");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    let granted = ["verify.>", "bench.>"];
    let claims = json!({
        "sub": "ann", "aud": super::AUDIENCE, "exp": super::now() + 600,
        "tidings": {"subscribe": granted, "publish": granted},
    });
    std::fs::write(&file, token(&claims)).expect("a file");
    let shown = ["--token-file", file.to_str().expect("a path")];
    for arguments in [
        &["verify", "--url", &url, "--events", "9", "--readers", "4"][..],
        &[
            "bench",
            "--url",
            &url,
            "--events=9",
            "--readers=4",
            "--rest=0.1",
        ],
    ] {
        let ended = Program::run(&[arguments, &shown].concat(), b"").await;
        assert_eq!(ended.code(), Some(0), "{ended:?}");
    }
    let bare = [
        "bench",
        "--url",
        &url,
        "--events=1",
        "--readers=1",
        "--patience=0.1",
    ];
    assert_eq!(Program::run(&bare, b"").await.code(), Some(1));
}

#[tokio::test]
async fn a_file_of_two_tokens_is_named_and_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "hunter2\nhunter2\n").expect("a file");
    let file = file.to_str().expect("a path");
    for command in [
        &["publish", "a", "x"][..],
        &["tail", "a"],
        &["health"],
        &["verify"],
        &["bench"],
    ] {
        let ended = Program::run(&[command, &["--token-file", file]].concat(), b"").await;
        assert_eq!(ended.code(), Some(1), "{ended:?}");
        let named = format!("--token-file: `{file}` is neither a token nor an API key");
        assert!(ended.err.contains(&named), "{ended:?}");
        assert!(!ended.err.contains("hunter2"), "{ended:?}");
    }
}

#[tokio::test]
async fn tail_comes_back_with_the_token_that_its_file_has_by_then() {
    let replica = guarded(&["--retry", "10"]).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, short()).expect("a file");
    publish(&replica, &right(), "a.b", "1").await;
    let (url, path) = (replica.url(""), file.to_str().expect("a path"));
    let mut tail = Program::start(&[
        "tail",
        "--url",
        &url,
        "--token-file",
        path,
        "a.b",
        "--last=1",
        "--count=2",
    ]);
    assert!(tail.line().await.ends_with("\t1"));
    std::fs::write(&file, right()).expect("a file");
    while !tail.complaint().await.contains("(token); coming back") {}
    publish(&replica, &right(), "a.b", "2").await;
    assert!(tail.line().await.ends_with("\t2"));
    assert_eq!(tail.end().await.code(), Some(0));
}
