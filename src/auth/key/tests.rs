use super::testing::*;
use super::*;
use crate::auth::Secret;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;

fn read(text: &str) -> Result<Vec<Key>, InvalidKey> {
    Key::read(&Secret::from(text.to_owned()))
}

fn algorithms(text: &str) -> Vec<Algorithm> {
    match read(text).as_deref() {
        Ok([only]) => only.algorithms().to_vec(),
        other => panic!("{other:?}"),
    }
}

fn der(pem: &str) -> Vec<u8> {
    let lines = pem.lines().filter(|line| !line.starts_with('-'));
    STANDARD.decode(lines.collect::<String>()).unwrap()
}

const RSA_ALGORITHMS: [Algorithm; 4] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
];

#[test]
fn a_key_is_bound_to_the_algorithms_of_its_kind() {
    assert_eq!(algorithms(RSA_PUBLIC), RSA_ALGORITHMS);
    assert_eq!(
        algorithms(include_str!("testing/rsa.pkcs1.pem")),
        RSA_ALGORITHMS
    );
    assert_eq!(algorithms(P256_PUBLIC), [Algorithm::ES256]);
    assert_eq!(algorithms(P384_PUBLIC), [Algorithm::ES384]);
    assert_eq!(algorithms(ED25519_PUBLIC), [Algorithm::EdDSA]);
    let secret = |bytes| algorithms(&"x".repeat(bytes)).len();
    assert_eq!([32, 47, 48, 63, 64].map(secret), [1, 1, 2, 2, 3]);
}

#[test]
fn each_algorithm_verifies_its_own_signatures_and_no_others() {
    for by in ALGORITHMS {
        let message = "head.claims";
        let signature = crypto::sign(message.as_bytes(), &signer(by), by).unwrap();
        let key = &read(public(by)).unwrap()[0];
        assert!(key.verifies(by, message, &signature), "{by:?}");
        assert!(!key.verifies(by, "head.claimS", &signature), "{by:?}");
        assert!(!key.verifies(by, message, &signature[1..]), "{by:?}");
        assert!(!key.verifies(by, message, ""), "{by:?}");
        for other in ALGORITHMS.into_iter().filter(|other| *other != by) {
            assert!(
                !key.verifies(other, message, &signature),
                "{by:?} as {other:?}"
            );
        }
    }
}

#[test]
fn several_keys_in_one_file_are_all_read() {
    let text = format!("old:\n{RSA_PUBLIC}new:\n{P256_PUBLIC}");
    assert_eq!(read(&text).unwrap().len(), 2);
    let set = json!({"keys": [jwk(Algorithm::RS256, "a"), jwk(Algorithm::EdDSA, "b")]});
    assert_eq!(read(&set.to_string()).unwrap().len(), 2);
    assert_eq!(
        algorithms(&jwk(Algorithm::ES384, "a").to_string()),
        [Algorithm::ES384]
    );
}

#[test]
fn no_form_of_a_public_key_is_taken_for_a_secret() {
    let jwk = jwk(Algorithm::RS256, "a").to_string();
    for pem in [RSA_PUBLIC, P256_PUBLIC, P384_PUBLIC, ED25519_PUBLIC] {
        let der = der(pem);
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        for text in [
            body.clone(),
            pem.lines()
                .filter(|line| !line.starts_with('-'))
                .collect::<Vec<_>>()
                .join("\n"),
            URL_SAFE_NO_PAD.encode(&der),
            format!("base64:{body}"),
            format!("base64:{}", STANDARD.encode(pem)),
            format!("base64:{}", STANDARD.encode(&jwk)),
            STANDARD.encode(pem),
            STANDARD.encode(&jwk),
        ] {
            assert_eq!(read(&text).unwrap_err(), InvalidKey::LooksPublic, "{text}");
        }
    }
    for text in [
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA a@b",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA==",
    ] {
        assert_eq!(read(text).unwrap_err(), InvalidKey::LooksPublic);
    }
    // A PEM or JSON that is broken is no secret either.
    for text in [
        &RSA_PUBLIC[..200],
        &RSA_PUBLIC.replace("MII", "AAA"),
        &jwk[..100],
        "[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]",
    ] {
        assert_eq!(read(text).unwrap_err(), InvalidKey::Unreadable, "{text}");
    }
}

#[test]
fn what_can_be_guessed_or_read_is_no_secret() {
    assert_eq!(read("").unwrap_err(), InvalidKey::Short(0));
    assert_eq!(read(&"x".repeat(31)).unwrap_err(), InvalidKey::Short(31));
    assert_eq!(read("base64:AAAA").unwrap_err(), InvalidKey::Short(3));
    assert_eq!(read("base64:?").unwrap_err(), InvalidKey::Base64);
    let bytes = STANDARD.encode([0xff; 32]);
    assert_eq!(algorithms(&format!("base64:{bytes}")), [Algorithm::HS256]);
}

#[test]
fn keys_that_are_private_weak_or_of_another_kind_are_refused() {
    for private in [RSA, P256, P384, ED25519] {
        assert_eq!(read(private).unwrap_err(), InvalidKey::Private);
    }
    assert_eq!(
        read(include_str!("testing/certificate.pem")).unwrap_err(),
        InvalidKey::Certificate
    );
    assert_eq!(
        read(include_str!("testing/rsa-1024.pub.pem")).unwrap_err(),
        InvalidKey::RsaBits(1024)
    );
    assert_eq!(
        read(include_str!("testing/p521.pub.pem")).unwrap_err(),
        InvalidKey::Unreadable
    );
    let both = format!("{RSA_PUBLIC}{RSA}");
    assert_eq!(read(&both).unwrap_err(), InvalidKey::Private);
}

fn with(name: &str, value: &Value) -> Value {
    let mut jwk = jwk(Algorithm::RS256, "a");
    jwk[name] = value.clone();
    jwk
}

#[test]
fn a_jwk_is_bound_to_what_it_says_of_itself() {
    assert_eq!(
        Key::of_jwk(&with("alg", &json!("PS256")))
            .unwrap()
            .algorithms(),
        [Algorithm::PS256]
    );
    let mut any = jwk(Algorithm::RS256, "a");
    any.as_object_mut().unwrap().remove("alg");
    assert_eq!(Key::of_jwk(&any).unwrap().algorithms(), RSA_ALGORITHMS);
    for (name, value) in [
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("alg", json!("RSA-OAEP")),
        ("alg", json!("HS256")),
        ("alg", json!("ES256")),
        ("alg", json!("none")),
        ("alg", json!("RS999")),
    ] {
        assert_eq!(
            Key::of_jwk(&with(name, &value)).unwrap_err(),
            InvalidKey::OtherUse,
            "{name} {value}"
        );
    }
    assert_eq!(
        Key::of_jwk(&with("d", &json!("x"))).unwrap_err(),
        InvalidKey::Private
    );
    assert!(Key::of_jwk(&with("use", &json!("sig"))).is_ok());
    assert!(Key::of_jwk(&with("key_ops", &json!(["verify"]))).is_ok());
}

#[test]
fn a_set_leaves_out_what_it_does_not_understand_and_holds_no_secrets() {
    let secret =
        json!({"kty": "oct", "kid": "s", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256"});
    let strange = json!({"kty": "XYZ", "kid": "x"});
    let broken = json!({"kty": "RSA", "kid": "y", "n": "?", "e": "AQAB"});
    let short = json!({"kty": "RSA", "kid": "z", "n": "AQAB", "e": "AQAB"});
    let set = json!({"keys": [secret, strange, broken, short, 1, jwk(Algorithm::ES256, "e")]});
    let keys = read_jwks(set.to_string().as_bytes()).unwrap();
    assert_eq!(keys.len(), 1);
    assert!(keys[0].is_meant(Some("e")) && keys[0].is_meant(None) && !keys[0].is_meant(Some("s")));
    for (text, expected) in [
        (json!({"keys": [secret]}).to_string(), InvalidKey::Empty),
        (json!({"keys": []}).to_string(), InvalidKey::Empty),
        (json!({"keys": 1}).to_string(), InvalidKey::Unreadable),
        ("[]".to_owned(), InvalidKey::Unreadable),
        ("<html>".to_owned(), InvalidKey::Unreadable),
    ] {
        assert_eq!(read_jwks(text.as_bytes()).unwrap_err(), expected, "{text}");
    }
    assert_eq!(Key::of_jwk(&secret).unwrap_err(), InvalidKey::SecretJwk);
}

#[test]
fn a_key_does_not_show_itself() {
    let secret = format!("{:?}", read(SECRET).unwrap());
    assert!(
        !secret.contains("a secret of") && !secret.contains("97, 32"),
        "{secret}"
    );
}
