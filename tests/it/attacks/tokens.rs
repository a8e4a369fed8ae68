//! Tokens that nobody has issued, made from what everybody knows: 401, wherever they are shown.

use super::{Healthy, PUBLIC};
use crate::call::{get, post};
use crate::replica::{Replica, within};
use crate::websocket::Client as Socket;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// A key whose other half is in the test's sources too.
const PUBLIC_KEY: &str = include_str!("../../../src/auth/key/testing/rsa.pub.pem");
const PUBLIC_KEY_FILE: &str = "src/auth/key/testing/rsa.pub.pem";

fn base64(text: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// A token with this head and these claims, signed with a secret.
fn signed_with(secret: &str, head: &str, claims: &str) -> String {
    let message = format!("{}.{}", base64(head), base64(claims));
    signed_text(secret, &message)
}

fn signed_text(secret: &str, message: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256);
    format!("{message}.{}", signature.expect("a signature"))
}

/// The same with the server's own secret.
fn signed(head: &str, claims: &str) -> String {
    signed_with(SECRET, head, claims)
}

fn exp() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.expect("a clock").as_secs() + 600
}

/// Claims that allow everything.
fn claims() -> String {
    json!({"sub": "ann", "exp": exp(), "tidings": {"subscribe": [">"], "publish": [">"]}})
        .to_string()
}

/// The same with another `exp`, as JSON.
fn until(exp: &str) -> String {
    format!(r#"{{"sub":"ann","exp":{exp},"tidings":{{"subscribe":[">"],"publish":[">"]}}}}"#)
}

const HS256: &str = r#"{"alg":"HS256"}"#;

/// Tokens of others' making.
fn foreign() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let der: String = PUBLIC_KEY
        .lines()
        .filter(|line| !line.starts_with('-'))
        .collect();
    for secret in [
        PUBLIC_KEY,
        PUBLIC_KEY.trim_end(),
        &PUBLIC_KEY.replace('\n', "\r\n"),
        &der,
        "",
        "0",
        "null",
    ] {
        for head in [HS256, r#"{"alg":"RS256"}"#, r#"{"alg":"HS512"}"#] {
            all.push((
                format!("a known secret, {head}"),
                signed_with(secret, head, &claims()),
            ));
        }
    }
    for none in [
        "none", "None", "NONE", "nOnE", "", "null", "none ", "HS256 ", "hs256", "HS1", "RSA", "dir",
    ] {
        let head = json!({"alg": none, "typ": "JWT"}).to_string();
        let whole = signed(&head, &claims());
        let (message, _) = whole.rsplit_once('.').expect("a signature");
        all.push((format!("alg {none}, signed"), whole.clone()));
        all.push((format!("alg {none}, not signed"), format!("{message}.")));
    }
    for kid in [
        "../../../../dev/null",
        "/proc/sys/kernel/randomize_va_space",
        "x' UNION SELECT '0123' --",
        "| id",
        "http://127.0.0.1/key",
        "\u{0}",
    ] {
        for secret in ["", "0", "2\n", "0123"] {
            let head = json!({"alg": "HS256", "kid": kid}).to_string();
            all.push((format!("kid {kid}"), signed_with(secret, &head, &claims())));
        }
    }
    let own = json!({"kty": "oct", "k": base64("mine"), "alg": "HS256", "kid": "mine"});
    for (name, value) in [
        ("jwk", own.clone()),
        ("jku", json!("http://127.0.0.1:1/keys")),
        ("x5u", json!("http://127.0.0.1:1/cert")),
        ("x5c", json!([STANDARD.encode("a certificate")])),
        ("keys", json!([own])),
    ] {
        let mut head = json!({"alg": "HS256", "kid": "mine"});
        head[name] = value;
        all.push((
            format!("brings {name}"),
            signed_with("mine", &head.to_string(), &claims()),
        ));
    }
    all
}

/// Tokens that are signed rightly, and not to be taken all the same.
fn misshapen() -> Vec<(String, String)> {
    let mut all = Vec::new();
    for head in [
        r#"{"alg":"HS256","crit":["exp"]}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","kid":7}"#,
        r#"{"alg":"HS256","kid":["a"]}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"none"}"#,
        r#"{"alg":"HS256","typ":"dpop+jwt"}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"ALG":"HS256"}"#,
        r#"{"alg":"HS256"} x"#,
        r#"[{"alg":"HS256"}]"#,
        "",
        "{",
    ] {
        all.push((format!("head {head}"), signed(head, &claims())));
    }
    let inner = signed(HS256, &claims());
    for exp in [
        "0",
        "-1",
        "1",
        "-0.0",
        "1e3",
        "1e999",
        "-1e999",
        "null",
        "true",
        "[]",
        "{}",
        r#""9999999999""#,
        r#""Infinity""#,
        "9999999999,\"exp\":9999999999",
        "1,\"exp\":9999999999",
        "[9999999999]",
        "NaN",
        "0x7fffffff",
    ] {
        all.push((format!("exp {exp}"), signed(HS256, &until(exp))));
    }
    for claims in [
        "{}".to_owned(),
        claims().replace("\"exp\"", "\"Exp\""),
        claims().replace("\"ann\"", "7"),
        claims().replace("\"ann\"", "\"a\\u0000b\""),
        claims().replace("\"ann\"", "\"a\\r\\nTidings-Sender: b\""),
        claims().replace("\"ann\"", "\"ann\",\"sub\":\"bob\""),
        claims().replace("\"exp\"", "\"nbf\":99999999999,\"exp\""),
        claims().replace("\"exp\"", "\"nbf\":\"now\",\"exp\""),
        claims().replace("\"exp\"", "\"aud\":\"others\",\"exp\""),
        claims().replace("[\">\"]", "\">\""),
        claims().replace("\"publish\"", "\"admin\":1,\"publish\""),
        format!("[{}]", claims()),
        format!("\"{inner}\""),
        inner.clone(),
        format!("{}{}", claims(), claims()),
        "[".repeat(5000),
    ] {
        all.push((format!("claims {claims:.60}"), signed(HS256, &claims)));
    }
    all.extend(respelt(&inner));
    all
}

/// A right token, spelt otherwise.
fn respelt(right: &str) -> Vec<(String, String)> {
    let parts: Vec<&str> = right.split('.').collect();
    let [head, claims, signature] = parts[..] else {
        panic!("{right} has not three parts");
    };
    let padded = URL_SAFE.encode("{\"alg\":\"HS256\" }");
    assert!(padded.ends_with('='));
    let padded = signed_text(SECRET, &format!("{padded}.{claims}"));
    [
        ("no signature", format!("{head}.{claims}.")),
        ("two parts", format!("{head}.{claims}")),
        ("four parts", format!("{right}.{signature}")),
        (
            "five parts",
            format!("{head}.{signature}.{claims}.{signature}.{signature}"),
        ),
        ("a dot first", format!(".{right}")),
        ("a dot last", format!("{right}.")),
        ("dots", "...".to_owned()),
        ("dots alone", "..".to_owned()),
        ("padding on the head", padded),
        ("padding on the signature", format!("{right}=")),
        ("a space within", format!("{head}.{claims} .{signature}")),
        ("a tab within", format!("{head}.\t{claims}.{signature}")),
        ("a cut signature", right[..right.len() - 1].to_owned()),
        ("more signature", format!("{right}A")),
        (
            "the claims of another",
            format!("{head}.{}.{signature}", base64(until("9999999999"))),
        ),
        ("quoted", format!("\"{right}\"")),
        ("another scheme within", format!("Bearer {right}")),
        ("a list", format!("{right}, {right}")),
        ("huge", format!("{right}{}", "A".repeat(20_000))),
    ]
    .map(|(what, token)| (what.to_owned(), token))
    .into()
}

/// What each way in says to a token.
async fn shown(replica: &Replica, client: &Client, token: &str) -> Vec<(&'static str, u16)> {
    let header = format!("Bearer {token}");
    let shown = ("Authorization", header.as_str());
    let line = r#"{"feed":"loot","data":1}"#;
    let mut all = Vec::new();
    for (what, method, path, form, body) in [
        ("SSE", Method::GET, "/feeds/secret", "text/event-stream", ""),
        ("JSON", Method::GET, "/feeds/secret", "application/json", ""),
        (
            "NDJSON",
            Method::GET,
            "/feeds/secret",
            "application/x-ndjson",
            "",
        ),
        ("publish", Method::POST, "/feeds/loot", "text/plain", "x"),
        (
            "batch",
            Method::POST,
            "/feeds",
            "application/x-ndjson",
            line,
        ),
    ] {
        let request = client.request(method, replica.url(path)).body(body);
        let request = request.header(shown.0, shown.1);
        let request = request.header("Accept", form).header("Content-Type", form);
        let answer = within("an answer", request.send()).await;
        all.push((what, answer.expect("an answer").status().as_u16()));
    }
    let socket = Socket::open(replica, &[shown]).await;
    all.push(("WebSocket", socket.map_or_else(|status| status, |_| 101)));
    let mut socket = Socket::connect(replica).await;
    let auth = json!({"op": "auth", "ref": 1, "token": token});
    let (status, _) = socket.refusal(auth).await;
    all.push(("auth", u16::try_from(status).expect("a status")));
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_nobody_has_issued_is_401_wherever_it_is_shown() {
    let keys = ["--jwt-key", SECRET, "--jwt-key-file", PUBLIC_KEY_FILE];
    let replica = Replica::start(&[&keys[..], &PUBLIC].concat()).await;
    // The right one is right.
    let right = format!("Bearer {}", signed(HS256, &claims()));
    let answer = post(
        &replica,
        "/feeds/secret",
        &[("Authorization", &right)],
        "hush",
    )
    .await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let mut healthy = Healthy::connect(replica.address).await;
    let attack = async {
        let (client, mut wrong) = (Client::new(), Vec::new());
        for (what, token) in foreign().into_iter().chain(misshapen()) {
            let answers = shown(&replica, &client, &token).await;
            let taken: Vec<_> = answers
                .into_iter()
                .filter(|(_, status)| *status != 401)
                .collect();
            if !taken.is_empty() {
                wrong.push((what, taken));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    };
    healthy.beside(attack).await;
    let all = get(
        &replica,
        "/feeds/loot?after=start",
        &[("Authorization", &right), ("Accept", "application/json")],
    )
    .await;
    assert_eq!(all.json()["events"], Value::Array(Vec::new()));
}
