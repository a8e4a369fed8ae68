//! What is agreed upon in handshakes, and those that come to nothing.

use super::{failed, metric_is, tcp};
use crate::certificates::{Certificates, EC, RSA, text};
use crate::program::{Ended, Program};
use crate::replica::{Replica, within};
use crate::tools::program;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A handshake of `openssl s_client` that ends when it is done, or refused.
async fn s_client(replica: &Replica, arguments: &[&str]) -> Ended {
    let ca = replica.certificates.as_ref().expect("TLS").ca();
    let address = replica.address.to_string();
    let common = [
        "s_client",
        "-connect",
        &address,
        "-CAfile",
        text(&ca),
        "-verify_return_error",
    ];
    let name = program("TIDINGS_TEST_OPENSSL");
    let arguments = [&common, arguments].concat();
    Program::other(name.to_str().expect("text"), &arguments)
        .end()
        .await
}

#[tokio::test]
async fn the_protocol_is_one_that_is_spoken() {
    let replica = Replica::with_tls(&[]).await;
    for (offered, agreed) in [
        ("h2", "ALPN protocol: h2"),
        ("http/1.1", "ALPN protocol: http/1.1"),
        ("http/1.1,h2", "ALPN protocol: h2"),
        ("spdy/3,h2", "ALPN protocol: h2"),
    ] {
        let ended = s_client(&replica, &["-alpn", offered]).await;
        assert_eq!(ended.code(), Some(0), "{offered}: {ended:?}");
        assert!(ended.out.contains(agreed), "{offered}: {ended:?}");
    }
    let ended = s_client(&replica, &[]).await;
    assert!(ended.out.contains("No ALPN negotiated"), "{ended:?}");
    let ended = s_client(&replica, &["-alpn", "spdy/3"]).await;
    assert_eq!(ended.code(), Some(1), "{ended:?}");
    assert!(ended.err.contains("no application protocol"), "{ended:?}");
}

#[tokio::test]
async fn old_versions_and_weak_ciphers_are_refused_and_new_ones_are_not() {
    let replica = Replica::with_tls(&[]).await;
    for version in ["-tls1_2", "-tls1_3"] {
        let ended = s_client(&replica, &[version]).await;
        assert_eq!(ended.code(), Some(0), "{version}: {ended:?}");
        assert!(
            ended.out.contains("Verify return code: 0"),
            "{version}: {ended:?}"
        );
    }
    // openssl itself would not offer these by default.
    let all = "ALL:eNULL:@SECLEVEL=0";
    for (version, code) in [("-tls1_2", 0), ("-tls1", 1), ("-tls1_1", 1)] {
        let ended = s_client(&replica, &[version, "-cipher", all]).await;
        assert_eq!(ended.code(), Some(code), "{version}: {ended:?}");
        assert_eq!(
            ended.err.contains("SSL alert"),
            code == 1,
            "{version}: {ended:?}"
        );
    }
    for cipher in [
        "AES128-SHA",
        "AES256-GCM-SHA384",
        "DHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES128-SHA",
        "ECDHE-ECDSA-AES256-SHA384",
        "NULL-SHA256",
        "AECDH-AES128-SHA",
    ] {
        let offered = format!("{cipher}:@SECLEVEL=0");
        let ended = s_client(&replica, &["-tls1_2", "-cipher", &offered]).await;
        assert_eq!(ended.code(), Some(1), "{cipher}: {ended:?}");
        assert!(
            ended.err.contains("alert handshake failure"),
            "{cipher}: {ended:?}"
        );
    }
}

/// What sslscan finds with a key of this kind: the lines of what is on, and of the ciphers that are taken.
async fn scan(kind: &str) -> (Vec<String>, Vec<String>) {
    let certificates = Certificates::new();
    let issued = certificates.issue("server", kind);
    let replica = Replica::start(&issued.options()).await;
    let address = replica.address.to_string();
    let arguments = ["--no-colour", address.as_str()];
    let name = program("TIDINGS_TEST_SSLSCAN");
    let scan = Program::other(name.to_str().expect("text"), &arguments);
    let ended = scan.end().await;
    assert_eq!(ended.code(), Some(0), "{ended:?}");
    let lines = ended
        .out
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (mut on, mut ciphers) = (Vec::new(), Vec::new());
    for line in lines {
        match line[..] {
            [version, "enabled"] => on.push(version.to_owned()),
            ["Accepted" | "Preferred", version, _, "bits", cipher, ..] => {
                ciphers.push(format!("{version} {cipher}"));
            }
            _ => assert!(
                !line.contains(&"vulnerable") || line.contains(&"not"),
                "{ended:?}"
            ),
        }
    }
    ciphers.sort();
    (on, ciphers)
}

#[tokio::test]
async fn a_scan_finds_nothing_weak() {
    for (kind, name) in [(EC, "ECDSA"), (RSA, "RSA")] {
        let (on, ciphers) = scan(kind).await;
        assert_eq!(on, ["TLSv1.2", "TLSv1.3"], "{kind}");
        let expected = [
            format!("TLSv1.2 ECDHE-{name}-AES128-GCM-SHA256"),
            format!("TLSv1.2 ECDHE-{name}-AES256-GCM-SHA384"),
            format!("TLSv1.2 ECDHE-{name}-CHACHA20-POLY1305"),
            "TLSv1.3 TLS_AES_128_GCM_SHA256".to_owned(),
            "TLSv1.3 TLS_AES_256_GCM_SHA384".to_owned(),
            "TLSv1.3 TLS_CHACHA20_POLY1305_SHA256".to_owned(),
        ];
        assert_eq!(ciphers, expected, "{kind}");
    }
}

/// Waits until the server has closed a connection.
async fn closed(mut client: TcpStream) {
    let mut rest = Vec::new();
    // It may be reset, with what it was sent unread.
    let _ = within("the end", client.read_to_end(&mut rest)).await;
}

/// The beginning of what a client says first: a record of 512 bytes, and in it a ClientHello of 508.
const HELLO: [u8; 11] = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];

#[tokio::test]
async fn what_is_no_handshake_is_closed_and_counted() {
    let replica = Replica::with_tls(&[]).await;
    let no_hello = [22, 3, 1, 0, 4, 2, 0, 0, 0];
    let too_long = [22, 3, 1, 0xff, 0xff, 1];
    let garbage: [&[u8]; 4] = [&[0; 64], &[0xff; 600], &no_hello, &too_long];
    for (count, bytes) in garbage.into_iter().enumerate() {
        let mut client = tcp(&replica).await;
        client.write_all(bytes).await.expect("a server");
        closed(client).await;
        metric_is(&replica, &failed("protocol"), count as u64 + 1).await;
    }
    // One that trusts another authority says so, and goes.
    let stranger = Certificates::new();
    let refused = stranger.connect(tcp(&replica).await, &["h2"]).await;
    assert!(refused.is_err());
    metric_is(&replica, &failed("refused"), 1).await;
    drop(tcp(&replica).await);
    metric_is(&replica, &failed("closed"), 1).await;
}

#[tokio::test]
async fn half_a_handshake_has_its_time_and_delays_nobody() {
    let replica = Replica::with_tls(&["--head-timeout", "1"]).await;
    let mut clients = Vec::new();
    for sent in [0, 1, 5, HELLO.len()] {
        let mut client = tcp(&replica).await;
        client.write_all(&HELLO[..sent]).await.expect("a server");
        clients.push(client);
    }
    assert_eq!(crate::call::get(&replica, "/livez", &[]).await.status, 200);
    for client in clients {
        closed(client).await;
    }
    metric_is(&replica, &failed("timeout"), 4).await;
    // One that says nothing after it has no more time.
    let all = replica.certificates.as_ref().expect("TLS");
    for (protocol, sent) in [
        ("h2", ""),
        ("h2", "PRI * HTTP"),
        ("http/1.1", "GET / HTTP/1.1\r\n"),
    ] {
        let connected = all.connect(tcp(&replica).await, &[protocol]).await;
        let mut client = connected.expect("TLS");
        client.write_all(sent.as_bytes()).await.expect("a server");
        let mut rest = Vec::new();
        let _ = within("the end", client.read_to_end(&mut rest)).await;
    }
}

#[tokio::test]
async fn half_a_handshake_does_not_hold_the_end_up() {
    let forever = ["--head-timeout", "3600", "--drain", "3600"];
    let replica = Replica::with_tls(&forever).await;
    let mut half = tcp(&replica).await;
    half.write_all(&HELLO).await.expect("a server");
    let whole = replica.over(tcp(&replica).await).await;
    replica.stop().await;
    drop((half, whole));
}
