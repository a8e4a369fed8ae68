//! Who may connect, how, and with how few permissions.

use super::*;
use crate::nats_server::{Version, settings};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use std::path::{Path, PathBuf};
use std::process::Command;
use tidings::config::CreateStream;
use tidings::log::{Limit, Range, Select};

on_both!(
    a_user_and_password_are_given_apart_or_in_the_address,
    a_token_is_given_apart_or_in_the_address,
    a_password_and_a_token_may_be_in_files_read_anew_at_each_connect,
    an_nkey_seed_signs_the_servers_nonce,
    a_credentials_file_is_read_anew_at_each_connect,
    tls_trusts_an_authority_of_ones_own_and_shows_a_certificate,
    a_jetstream_domain_is_asked_by_its_own_subjects,
    the_documented_permissions_are_enough,
    each_permission_that_is_missing_is_named,
    one_of_several_servers_is_enough,
);

const JETSTREAM: &str = "jetstream { store_dir: $STORE }";

/// That the log can be used in every way.
async fn works(settings: NatsSettings) {
    let (log, _) = log_of(settings);
    let bounds = log.open().await.expect("it opens");
    let mut follow = log
        .follow(bounds.last.sequence())
        .await
        .expect("it follows");
    let sequence = log.append(on("a", "1")).await.expect("it appends").sequence;
    soon(async { while follow.next().await.expect("it follows").events.is_empty() {} }).await;
    let range = Range {
        after: sequence - 1,
        through: sequence,
    };
    let limit = Limit {
        events: 9,
        bytes: 1 << 20,
    };
    for select in [Select::All, Select::Feed("a".parse().unwrap())] {
        let batch = log.read(range, &select, limit).await.expect("it reads");
        assert_eq!(batch.events.len(), 1);
    }
    assert!(
        log.position_at(sequence)
            .await
            .expect("it looks up")
            .is_some()
    );
}

/// That it can't connect, and why.
async fn refused(mut settings: NatsSettings) -> String {
    settings.timeout_seconds = 1;
    unavailable(log_of(settings).0.open().await)
}

async fn a_user_and_password_are_given_apart_or_in_the_address(version: Version) {
    let config = format!("{JETSTREAM}\nauthorization {{ user: alice, password: \"p@ss/w\" }}");
    let server = NatsServer::with(version, &config);
    let mut apart = server.settings();
    apart.user = Some("alice".to_owned());
    apart.password = Some("p@ss/w".to_owned().into());
    works(apart.clone()).await;
    let within = server.url().replace("://", "://alice:p%40ss%2Fw@");
    works(settings(&within)).await;
    apart.password = Some("wr0ng".to_owned().into());
    let text = refused(apart).await;
    let expected = format!("NATS refused the login at {}: ", server.url());
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains("authorization violation"), "{text}");
    assert!(!text.contains("wr0ng"), "{text}");
}

async fn a_token_is_given_apart_or_in_the_address(version: Version) {
    let config = format!("{JETSTREAM}\nauthorization {{ token: s3cret }}");
    let server = NatsServer::with(version, &config);
    let mut apart = server.settings();
    apart.token = Some("s3cret".to_owned().into());
    works(apart).await;
    works(settings(&server.url().replace("://", "://s3cret@"))).await;
    assert!(
        refused(server.settings())
            .await
            .contains("authorization violation")
    );
}

async fn a_password_and_a_token_may_be_in_files_read_anew_at_each_connect(version: Version) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    let login = ["user: alice, password: \"p w\"", "token: s3cret"];
    for (login, secret) in login.iter().zip(["p w", "s3cret"]) {
        let config = format!("{JETSTREAM}\nauthorization {{ {login} }}");
        let server = NatsServer::with(version, &config);
        let mut settings = server.settings();
        match secret {
            "s3cret" => settings.token_file = Some(file.clone()),
            _ => {
                settings.user = Some("alice".to_owned());
                settings.password_file = Some(file.clone());
            }
        }
        std::fs::write(&file, "wr0ng\n").unwrap();
        settings.timeout_seconds = 1;
        let (log, _) = log_of(settings);
        unavailable(log.open().await);
        std::fs::write(&file, format!("{secret}\n")).unwrap();
        soon(async { while log.open().await.is_err() {} }).await;
    }
}

async fn an_nkey_seed_signs_the_servers_nonce(version: Version) {
    let user = KeyPair::new_user();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("user.nk");
    std::fs::write(&file, format!("{}\n", user.seed().unwrap())).unwrap();
    let key = user.public_key();
    let config = format!("{JETSTREAM}\nauthorization {{ users: [{{ nkey: {key} }}] }}");
    let server = NatsServer::with(version, &config);
    let mut settings = server.settings();
    settings.nkey = Some(file);
    works(settings).await;
}

/// A JWT as NATS has them, signed by `issuer`.
fn jwt(issuer: &KeyPair, subject: &str, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": subject, "iat": 1_700_000_000, "iss": issuer.public_key(), "name": "test",
        "sub": subject, "nats": claims,
    });
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn account_jwt(operator: &KeyPair, account: &KeyPair, jetstream: bool) -> String {
    let storage = if jetstream { -1 } else { 0 };
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
        "conn": -1, "leaf": -1, "mem_storage": storage, "disk_storage": storage, "streams": storage, "consumer": storage,
    });
    let claims = json!({ "limits": limits, "type": "account", "version": 2 });
    jwt(operator, &account.public_key(), &claims)
}

fn write_credentials(file: &Path, account: &KeyPair, user: &KeyPair) {
    let claims = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let jwt = jwt(account, &user.public_key(), &claims);
    let seed = user.seed().unwrap();
    let text = format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    );
    std::fs::write(file, text).unwrap();
}

async fn a_credentials_file_is_read_anew_at_each_connect(version: Version) {
    let (operator, account, system) = (
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_account(),
    );
    let operator_claims =
        json!({ "type": "operator", "version": 2, "system_account": system.public_key() });
    let operator_jwt = jwt(&operator, &operator.public_key(), &operator_claims);
    let config = format!(
        "{JETSTREAM}\noperator: {operator_jwt}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{ {}: {}, {}: {} }}",
        system.public_key(),
        account.public_key(),
        account_jwt(&operator, &account, true),
        system.public_key(),
        account_jwt(&operator, &system, false),
    );
    let mut server = NatsServer::with(version, &config);
    let file = server.dir.path().join("user.creds");
    write_credentials(&file, &account, &KeyPair::new_user());
    let mut settings = server.settings();
    settings.credentials = Some(file.clone());
    works(settings.clone()).await;
    // Those of a stranger are read at the next connect, and then the good ones again.
    let (log, _) = log_of(settings.clone());
    log.open().await.unwrap();
    server.stop();
    write_credentials(&file, &KeyPair::new_account(), &KeyPair::new_user());
    server.run();
    let text = refused(settings).await;
    assert!(
        text.to_lowercase().contains("authorization violation"),
        "{text}"
    );
    write_credentials(&file, &account, &KeyPair::new_user());
    reopened(&log).await;
}

fn openssl(dir: &Path, arguments: &str) {
    let done = Command::new("openssl")
        .current_dir(dir)
        .args(arguments.split(' '))
        .output()
        .expect("openssl runs");
    let error = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{arguments}: {error}");
}

/// An authority's certificate, and one for a server and a client signed by it.
fn certificates(dir: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2";
    openssl(
        dir,
        &format!("req -x509 {key} -subj /CN=ca -keyout ca.key -out ca.pem"),
    );
    for (name, usage) in [("server", "serverAuth"), ("client", "clientAuth")] {
        let extensions = format!("subjectAltName=IP:127.0.0.1\nextendedKeyUsage={usage}\n");
        std::fs::write(dir.join(format!("{name}.ext")), extensions).unwrap();
        openssl(
            dir,
            &format!("req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"),
        );
        openssl(
            dir,
            &format!(
                "x509 -req -days 2 -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile {name}.ext -out {name}.pem"
            ),
        );
    }
}

async fn tls_trusts_an_authority_of_ones_own_and_shows_a_certificate(version: Version) {
    let dir = tempfile::tempdir().unwrap();
    certificates(dir.path());
    let path = |name: &str| -> PathBuf { dir.path().join(name) };
    let files = format!(
        "cert_file: {:?}, key_file: {:?}, ca_file: {:?}",
        path("server.pem"),
        path("server.key"),
        path("ca.pem")
    );
    let plain = NatsServer::with(version, &format!("{JETSTREAM}\ntls {{ {files} }}"));
    let mut settings = plain.settings();
    settings.ca = Some(path("ca.pem"));
    works(settings.clone()).await;
    settings.ca = None;
    let text = refused(settings).await;
    assert!(text.contains("UnknownIssuer"), "{text}");

    let both = NatsServer::with(
        version,
        &format!("{JETSTREAM}\ntls {{ {files}, verify: true }}"),
    );
    let mut settings = both.settings();
    settings.ca = Some(path("ca.pem"));
    settings.cert = Some(path("client.pem"));
    settings.key = Some(path("client.key"));
    works(settings.clone()).await;
    settings.cert = None;
    settings.key = None;
    let text = refused(settings).await;
    assert!(text.contains("can't be reached"), "{text}");
}

async fn a_jetstream_domain_is_asked_by_its_own_subjects(version: Version) {
    let config = "jetstream { store_dir: $STORE, domain: edge }";
    let server = NatsServer::with(version, config);
    let mut settings = server.settings();
    settings.domain = Some("edge".to_owned());
    works(settings.clone()).await;
    settings.domain = Some("other".to_owned());
    let text = unavailable(log_of(settings).0.open().await);
    assert!(
        text.contains("$JS.other.API.STREAM.INFO") && text.contains("--nats-domain"),
        "{text}"
    );
}

/// What the module's documentation says, for the default names.
const PUBLISH: [&str; 7] = [
    "feeds.>",
    "$JS.API.STREAM.INFO.TIDINGS",
    "$JS.API.STREAM.MSG.GET.TIDINGS",
    "$JS.API.CONSUMER.CREATE.TIDINGS.>",
    "$JS.API.CONSUMER.MSG.NEXT.TIDINGS.>",
    "$JS.API.CONSUMER.DELETE.TIDINGS.>",
    "$JS.FC.TIDINGS.>",
];
const CREATE: &str = "$JS.API.STREAM.CREATE.TIDINGS";

/// A server on which `u` may only publish to these, and hear `inbox`; `admin` may do everything.
fn permitting(version: Version, publish: &[&str], inbox: &str) -> NatsServer {
    let config = format!(
        "{JETSTREAM}\nauthorization {{ users: [
            {{ user: admin, password: p }},
            {{ user: u, password: p, permissions: {{ publish: {publish:?}, subscribe: [\"{inbox}\"] }} }}
        ] }}"
    );
    NatsServer::with(version, &config)
}

fn as_user(server: &NatsServer) -> NatsSettings {
    settings(&server.url().replace("://", "://u:p@"))
}

async fn the_documented_permissions_are_enough(version: Version) {
    let with_create = [&PUBLISH[..], &[CREATE]].concat();
    let server = permitting(version, &with_create, "_TIDINGS.>");
    let mut settings = as_user(&server);
    settings.inbox_prefix = "_TIDINGS".to_owned();
    works(settings).await;

    let server = permitting(version, &PUBLISH, "_INBOX.>");
    let mut settings = as_user(&server);
    settings.create = CreateStream::Never;
    let admin = async_nats::ConnectOptions::with_user_and_password("admin".into(), "p".into());
    let admin = admin.connect(server.url()).await.unwrap();
    create_stream(&admin, json!({})).await;
    works(settings.clone()).await;
    // Consumers are deleted, and flow control is answered, without a refusal.
    let (log, _) = log_of(settings);
    log.open().await.unwrap();
    for _ in 0..2_000 {
        admin
            .publish("feeds.a", vec![b'x'; 10_000].into())
            .await
            .unwrap();
    }
    let mut follow = log.follow(0).await.unwrap();
    next_events(&mut follow, 2_001).await;
    drop(follow);
    let count = async || {
        let names = api(&admin, "CONSUMER.NAMES.TIDINGS", json!({})).await;
        names["total"].as_u64().unwrap()
    };
    soon(async { while count().await > 0 {} }).await;
}

async fn each_permission_that_is_missing_is_named(version: Version) {
    for missing in [0, 1, 3] {
        let mut publish = [&PUBLISH[..], &[CREATE]].concat();
        let subject = publish.remove(missing).trim_end_matches('>');
        let server = permitting(version, &publish, "_INBOX.>");
        let (log, _) = log_of(as_user(&server));
        let text = match missing {
            0 => {
                log.open().await.unwrap();
                log.append(on("a", "1")).await.unwrap_err().to_string()
            }
            1 => unavailable(log.open().await),
            _ => {
                log.open().await.unwrap();
                unavailable(log.follow(0).await)
            }
        };
        assert!(
            text.contains("Permissions Violation") && text.contains(subject),
            "{text}"
        );
    }
    let server = permitting(version, &PUBLISH, "_INBOX.>");
    let text = unavailable(log_of(as_user(&server)).0.open().await);
    assert!(text.contains(CREATE), "{text}");
    let server = permitting(version, &PUBLISH, "elsewhere.>");
    let text = unavailable(log_of(as_user(&server)).0.open().await);
    assert!(text.contains("_INBOX.>"), "{text}");
}

async fn one_of_several_servers_is_enough(version: Version) {
    let server = NatsServer::start(version);
    let mut gone = NatsServer::start(version);
    gone.stop();
    let mut settings = gone.settings();
    settings.servers.push(server.url());
    works(settings).await;
}

#[tokio::test]
async fn settings_that_can_not_be_right_are_named_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("empty");
    std::fs::write(&file, "nothing of use").unwrap();
    type Change = fn(&mut NatsSettings, PathBuf);
    let cases: [(&str, Change); 17] = [
        ("--nats:", |s, _| s.servers = vec![]),
        ("--nats:", |s, _| {
            s.servers = vec!["http://u:s3cret@host".into()]
        }),
        ("--nats:", |s, _| {
            s.servers = vec!["nats://u:s3cret@ho st".into()]
        }),
        ("--nats:", |s, _| {
            s.servers = vec!["nats://a:s3cret@h".into(), "nats://b:s3cret@h".into()]
        }),
        ("--nats-prefix:", |s, _| s.prefix = "a..b".into()),
        ("--nats-prefix:", |s, _| s.prefix = "a.*".into()),
        ("--nats-prefix:", |s, _| s.prefix = "$JS".into()),
        ("--nats-stream:", |s, _| s.stream = "a.b".into()),
        ("--nats-inbox:", |s, _| s.inbox_prefix = String::new()),
        ("--nats-domain:", |s, _| s.domain = Some("a b".into())),
        ("--nats-creds:", |s, file| {
            s.credentials = Some(file.join("none"))
        }),
        ("--nats-creds:", |s, file| s.credentials = Some(file)),
        ("--nats-nkey:", |s, file| s.nkey = Some(file)),
        ("--nats-ca:", |s, file| s.ca = Some(file)),
        ("--nats-cert:", |s, file| s.cert = Some(file)),
        ("--nats-user:", |s, _| s.user = Some("u".into())),
        ("only one of --nats-token, a user within --nats", |s, _| {
            s.token = Some("s3cret".to_owned().into());
            s.servers = vec!["nats://s3cret@host".into()];
        }),
    ];
    for (setting, change) in cases {
        let mut settings = settings("nats://127.0.0.1:1");
        change(&mut settings, file.clone());
        assert!(!format!("{settings:?}").contains("s3cret"));
        let text = unavailable(JetStreamLog::new(settings, 1));
        assert!(text.starts_with(setting), "{text}");
        assert!(
            !text.contains("s3cret") && !text.contains("nothing of use"),
            "{text}"
        );
    }
}
