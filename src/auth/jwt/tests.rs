use super::*;
use crate::auth::Secret;
use crate::auth::key::testing::*;
use jsonwebtoken::EncodingKey;
use proptest::prelude::*;
use serde_json::json;

fn keys(texts: &[&str]) -> Vec<Key> {
    let read = |text: &&str| Key::read(&Secret::from((*text).to_owned())).unwrap();
    texts.iter().flat_map(read).collect()
}

fn verifier(texts: &[&str]) -> Verifier {
    Verifier {
        keys: keys(texts),
        jwks: None,
        allowed: Vec::new(),
        expected: Expected::default(),
    }
}

async fn refused(verifier: &Verifier, token: &str) -> Unauthorized {
    let error = verifier.verify(token).await.unwrap_err();
    let text = error.to_string();
    for part in token.split('.').filter(|part| part.len() > 8) {
        assert!(!text.contains(part), "{text}");
    }
    error
}

/// A token whose signature is right, whatever its head and claims.
fn signed(head: &str, claims: &str) -> String {
    forged(head, claims, &signer(Algorithm::HS256), Algorithm::HS256)
}

#[tokio::test]
async fn each_algorithm_is_taken_with_its_key() {
    for by in ALGORITHMS {
        let verifier = verifier(&[public(by)]);
        let shown = verifier.verify(&token(by, None, &claims())).await.unwrap();
        assert_eq!(shown.claims.text("sub").as_deref(), Some("ann"), "{by:?}");
        let expected = UNIX_EPOCH + Duration::from_secs(claims()["exp"].as_u64().unwrap()) + LEEWAY;
        let off = expected.duration_since(shown.expires).unwrap_or_default();
        assert!(off <= Duration::from_secs(5), "{by:?}");
    }
}

#[tokio::test]
async fn one_of_several_keys_will_do() {
    let verifier = verifier(&[SECRET, RSA_PUBLIC, P256_PUBLIC]);
    for by in [Algorithm::HS256, Algorithm::PS256, Algorithm::ES256] {
        assert!(
            verifier
                .verify(&token(by, Some("any"), &claims()))
                .await
                .is_ok()
        );
    }
    assert_eq!(
        refused(&verifier, &token(Algorithm::EdDSA, None, &claims())).await,
        Unauthorized::Algorithm
    );
}

#[tokio::test]
async fn where_algorithms_are_named_no_other_is_taken_with_any_key() {
    let verifier = Verifier {
        allowed: vec![Algorithm::ES256],
        ..verifier(&[RSA_PUBLIC, P256_PUBLIC])
    };
    let of = |by| token(by, None, &claims());
    assert!(verifier.verify(&of(Algorithm::ES256)).await.is_ok());
    for other in [Algorithm::RS256, Algorithm::PS256] {
        assert_eq!(
            refused(&verifier, &of(other)).await,
            Unauthorized::Algorithm
        );
    }
}

#[tokio::test]
async fn a_public_key_is_no_secret_for_hs256() {
    let claims = claims().to_string();
    for public in [RSA_PUBLIC, P256_PUBLIC, ED25519_PUBLIC] {
        let verifier = verifier(&[public]);
        for secret in [public, public.trim_end()] {
            let key = EncodingKey::from_secret(secret.as_bytes());
            let token = forged(r#"{"alg":"HS256"}"#, &claims, &key, Algorithm::HS256);
            assert_eq!(refused(&verifier, &token).await, Unauthorized::Algorithm);
        }
    }
}

#[tokio::test]
async fn a_token_without_a_signature_is_refused_however_none_is_written() {
    let verifier = verifier(&[SECRET]);
    for head in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"None"}"#,
        r#"{"alg":"NONE"}"#,
        r#"{"alg":""}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":"hs256"}"#,
        r#"{"alg":"PS512"}"#,
        r#"{"typ":"JWT"}"#,
    ] {
        let whole = signed(head, &claims().to_string());
        let (message, _) = whole.rsplit_once('.').unwrap();
        for token in [&whole, &format!("{message}.")] {
            assert_eq!(
                refused(&verifier, token).await,
                Unauthorized::Algorithm,
                "{head}"
            );
        }
    }
    let whole = token(Algorithm::HS256, None, &claims());
    let (message, signature) = whole.rsplit_once('.').unwrap();
    for token in [
        format!("{message}."),
        format!("{message}.{}", &signature[..20]),
        format!("{whole}="),
    ] {
        assert_eq!(refused(&verifier, &token).await, Unauthorized::Signature);
    }
}

#[tokio::test]
async fn a_kid_is_compared_and_never_looked_up_anywhere() {
    let set = json!({"keys": [jwk(Algorithm::ES256, "a"), jwk(Algorithm::RS256, "b")]}).to_string();
    let verifier = verifier(&[&set]);
    assert!(
        verifier
            .verify(&token(Algorithm::ES256, Some("a"), &claims()))
            .await
            .is_ok()
    );
    assert!(
        verifier
            .verify(&token(Algorithm::RS256, None, &claims()))
            .await
            .is_ok()
    );
    for kid in [
        "../../../dev/null",
        "/etc/passwd",
        "' OR 1=1",
        "a\u{0}",
        "A",
        "",
    ] {
        let token = token(Algorithm::ES256, Some(kid), &claims());
        assert_eq!(
            refused(&verifier, &token).await,
            Unauthorized::UnknownKey,
            "{kid}"
        );
    }
    let other = token(Algorithm::ES256, Some("b"), &claims());
    assert_eq!(refused(&verifier, &other).await, Unauthorized::Algorithm);
}

#[tokio::test]
async fn a_key_that_the_token_brings_itself_is_not_used() {
    let verifier = verifier(&[RSA_PUBLIC]);
    let own = jwk(Algorithm::ES256, "own");
    for head in [
        json!({"alg": "ES256", "jwk": own}),
        json!({"alg": "ES256", "jku": "https://example.com/keys", "kid": "own"}),
        json!({"alg": "ES256", "x5u": "https://example.com/cert"}),
    ] {
        let token = forged(
            &head.to_string(),
            &claims().to_string(),
            &signer(Algorithm::ES256),
            Algorithm::ES256,
        );
        assert_eq!(refused(&verifier, &token).await, Unauthorized::Algorithm);
    }
}

#[tokio::test]
async fn heads_that_ask_for_more_or_are_for_another_use_are_refused() {
    let verifier = verifier(&[SECRET]);
    for head in [
        r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        r#"{"alg":"HS256","crit":[]}"#,
        r#"{"alg":"HS256","crit":null}"#,
        r#"{"alg":"HS256","typ":"logout+jwt"}"#,
        r#"{"alg":"HS256","typ":7}"#,
        r#"{"alg":"HS256","kid":7}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        "[]",
        "",
    ] {
        let error = refused(&verifier, &signed(head, &claims().to_string())).await;
        assert!(
            matches!(error, Unauthorized::Malformed(_)),
            "{head}: {error}"
        );
    }
    for kind in ["JWT", "jwt", "at+jwt", "application/at+JWT"] {
        let head = json!({"alg": "HS256", "typ": kind, "extra": 1}).to_string();
        assert!(
            verifier
                .verify(&signed(&head, &claims().to_string()))
                .await
                .is_ok(),
            "{kind}"
        );
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let verifier = verifier(&[SECRET]);
    for text in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "é.é.é",
        " . . ",
        "e30.e30.e30=",
        "e30.e30.e30.e30.e30",
    ] {
        let error = refused(&verifier, text).await;
        assert!(
            matches!(error, Unauthorized::Malformed(_) | Unauthorized::Algorithm),
            "{text}: {error}"
        );
    }
}

#[tokio::test]
async fn a_huge_token_is_refused_before_it_is_read() {
    let verifier = verifier(&[SECRET]);
    let mut large = claims();
    large["pad"] = "x".repeat(5_800).into();
    let fits = token(Algorithm::HS256, None, &large);
    assert!(fits.len() <= MAX_TOKEN_BYTES && verifier.verify(&fits).await.is_ok());
    let huge = "x".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(
        refused(&verifier, &huge).await,
        Unauthorized::TooLong(MAX_TOKEN_BYTES + 1)
    );
}

#[tokio::test]
async fn claims_that_are_nested_deep_come_twice_or_are_no_object_are_refused() {
    let verifier = verifier(&[SECRET]);
    let deep = format!(
        r#"{{"exp":{},"x":{}{}}}"#,
        now(60),
        "[".repeat(2_000),
        "]".repeat(2_000)
    );
    let twice = format!(r#"{{"exp":{},"sub":"ann","sub":"root"}}"#, now(60));
    let inside = format!(
        r#"{{"exp":{},"tidings":{{"admin":false,"admin":true}}}}"#,
        now(60)
    );
    for claims in [&deep, &twice, &inside, "[]", "1", "", "null"] {
        let error = refused(&verifier, &signed(r#"{"alg":"HS256"}"#, claims)).await;
        assert!(matches!(error, Unauthorized::Malformed(_)), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_said_of_claims_whose_signature_is_wrong() {
    let verifier = verifier(&[SECRET]);
    let other = EncodingKey::from_secret(&[7; 64]);
    for claims in [
        json!({}),
        json!({"exp": 1}),
        json!({"exp": now(60), "aud": "x"}),
    ] {
        let token = forged(
            r#"{"alg":"HS256"}"#,
            &claims.to_string(),
            &other,
            Algorithm::HS256,
        );
        assert_eq!(refused(&verifier, &token).await, Unauthorized::Signature);
    }
}

fn check(expected: &Expected, claims: &Value, now: f64) -> Result<SystemTime, Unauthorized> {
    let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
    expected.check(&claims, UNIX_EPOCH + Duration::from_secs_f64(now))
}

#[test]
fn times_are_taken_with_a_leeway_of_30_s_and_no_more() {
    let any = Expected::default();
    let at = |claims: Value, now: f64| check(&any, &claims, now);
    assert_eq!(
        at(json!({"exp": 1000}), 1029.9),
        Ok(UNIX_EPOCH + Duration::from_secs(1030))
    );
    assert_eq!(
        at(json!({"exp": 1000}), 1030.0),
        Err(Unauthorized::Expired(30))
    );
    assert_eq!(
        at(json!({"exp": 1000.5}), 1030.4),
        Ok(UNIX_EPOCH + Duration::from_millis(1_030_500))
    );
    assert!(at(json!({"exp": 1000, "nbf": 530}), 500.0).is_ok());
    assert_eq!(
        at(json!({"exp": 1000, "nbf": 531}), 500.0),
        Err(Unauthorized::Early(31))
    );
    assert!(at(json!({"exp": 1000, "iat": 530}), 500.0).is_ok());
    assert_eq!(
        at(json!({"exp": 1000, "iat": 531}), 500.0),
        Err(Unauthorized::Issued(31))
    );
    assert_eq!(
        at(json!({"exp": 1000, "iat": "now"}), 500.0),
        Err(Unauthorized::WrongKind("iat"))
    );
    assert_eq!(
        at(json!({"sub": "x"}), 0.0),
        Err(Unauthorized::NoClaim("exp"))
    );
    for wrong in [
        json!("1000"),
        json!(null),
        json!(-1),
        json!([1000]),
        json!(true),
    ] {
        assert_eq!(
            at(json!({"exp": wrong}), 0.0),
            Err(Unauthorized::WrongKind("exp"))
        );
        assert_eq!(
            at(json!({"exp": 1, "nbf": wrong}), 0.0),
            Err(Unauthorized::WrongKind("nbf"))
        );
    }
}

#[test]
fn a_time_that_was_not_counted_in_seconds_is_refused_and_said_to_be() {
    let any = Expected::default();
    let now = 1_795_861_052.0;
    let (right, millis) = (1_795_861_652_u64, 1_795_861_652_000_u64);
    assert!(check(&any, &json!({"exp": right, "nbf": 1, "iat": 1}), now).is_ok());
    for (name, claims) in [
        ("exp", json!({"exp": millis})),
        ("exp", json!({"exp": 1e300})),
        ("nbf", json!({"exp": right, "nbf": millis})),
        ("iat", json!({"exp": right, "iat": millis})),
    ] {
        let error = check(&any, &claims, now).unwrap_err();
        assert_eq!(error, Unauthorized::NotSeconds(name));
        let text = error.to_string();
        assert!(
            text.contains(&format!("`{name}`")) && text.contains("in seconds"),
            "{text}"
        );
    }
}

#[test]
fn a_token_is_of_an_issuer_that_is_named_and_meant_for_us() {
    let ours = Expected {
        issuers: vec!["https://a".to_owned(), "https://b".to_owned()],
        audiences: vec!["tidings".to_owned()],
    };
    let with = |iss: Value, aud: Value| {
        check(&ours, &json!({"exp": 9, "iss": iss, "aud": aud}), 1.0).err()
    };
    assert_eq!(with(json!("https://b"), json!("tidings")), None);
    assert_eq!(with(json!("https://a"), json!(["x", "tidings"])), None);
    for issuer in [json!("https://a/"), json!(""), json!("HTTPS://A")] {
        assert_eq!(with(issuer, json!("tidings")), Some(Unauthorized::Issuer));
    }
    assert_eq!(
        with(json!(["https://a"]), json!("tidings")),
        Some(Unauthorized::WrongKind("iss"))
    );
    for audience in [
        json!("tiding"),
        json!([]),
        json!(["x"]),
        json!({"tidings": 1}),
        json!(null),
    ] {
        assert_eq!(
            with(json!("https://a"), audience),
            Some(Unauthorized::Audience)
        );
    }
    assert_eq!(
        check(&ours, &json!({"exp": 9}), 1.0),
        Err(Unauthorized::NoClaim("iss"))
    );
    assert_eq!(
        check(&ours, &json!({"exp": 9, "iss": "https://a"}), 1.0),
        Err(Unauthorized::NoClaim("aud"))
    );
}

#[test]
fn without_an_audience_of_ours_a_token_may_name_none_and_with_a_star_any() {
    let none = Expected::default();
    let claims = json!({"exp": 9, "aud": "x", "iss": "y"});
    assert_eq!(check(&none, &claims, 1.0), Err(Unauthorized::Audience));
    let any = Expected {
        audiences: vec!["*".to_owned()],
        ..none
    };
    assert!(check(&any, &claims, 1.0).is_ok());
    assert!(check(&any, &json!({"exp": 9}), 1.0).is_ok());
    assert_eq!(
        check(&any, &json!({"exp": 9, "sub": 7}), 1.0),
        Err(Unauthorized::WrongKind("sub"))
    );
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader_or_passes(text in "\\PC{0,80}|[A-Za-z0-9_.-]{0,200}") {
        let parsed = Token::parse(&text);
        prop_assert!(parsed.and_then(|token| token.signed_by(&keys(&[SECRET]))).is_err());
    }

    #[test]
    fn no_byte_of_a_token_can_be_changed(at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_-]") {
        let right = token(Algorithm::HS256, None, &json!({"sub": "ann", "exp": 9}));
        let at = at.index(right.len());
        let mut wrong = right.clone();
        wrong.replace_range(at..=at, &to);
        let signed = Token::parse(&wrong).and_then(|token| token.signed_by(&keys(&[SECRET])));
        prop_assert_eq!(signed.is_ok(), wrong == right, "{}", wrong);
    }

    #[test]
    fn a_token_holds_between_its_times_and_the_leeway_whatever_numbers_they_are(
        exp in number(), nbf in prop::option::of(number()), now in 0.0..4e9,
    ) {
        let mut claims = json!({"exp": exp});
        if let Some(nbf) = &nbf {
            claims["nbf"] = nbf.clone();
        }
        let leeway = LEEWAY.as_secs_f64();
        let starts = nbf.map_or(0.0, |nbf| nbf.as_f64().unwrap());
        let ends = exp.as_f64().unwrap();
        let last = now + MAX_AHEAD.as_secs_f64();
        let expected = (0.0..=last).contains(&ends) && starts >= 0.0 && now < ends + leeway && starts - leeway <= now;
        let read = check(&Expected::default(), &claims, now);
        // Within a second of either bound the sums may be rounded otherwise.
        let near = (ends + leeway - now).abs() < 1.0 || (starts - leeway - now).abs() < 1.0;
        prop_assert!(near || read.is_ok() == expected, "{:?}", read);
    }
}

fn number() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0u64..4_000_000_000).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e300..1e300).prop_map(Value::from),
        (0.0..4e9).prop_map(Value::from),
    ]
}
