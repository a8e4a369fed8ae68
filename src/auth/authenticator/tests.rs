use super::*;
use crate::auth::api_key::ApiKey;
use crate::auth::key::Algorithm;
use crate::auth::key::testing::*;
use clap::{Args, CommandFactory, FromArgMatches, Parser};
use serde_json::{Value, json};
use std::time::{Duration, UNIX_EPOCH};

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    settings: AuthSettings,
}

fn settings(arguments: &[&str]) -> AuthSettings {
    let all = std::iter::once(&"x").chain(arguments);
    Command::try_parse_from(all).unwrap().settings
}

fn authenticator(arguments: &[&str]) -> Result<Authenticator, AuthError> {
    Authenticator::new(&settings(arguments), &Access::Local)
}

fn everyone() -> Access {
    Access::Anonymous {
        request: Vec::new(),
        admin: false,
        subscribe: vec!["public.>".parse().unwrap()],
        publish: Vec::new(),
    }
}

async fn grants(authenticator: &Authenticator, claims: Value) -> String {
    let token = token(Algorithm::HS256, None, &claims);
    let caller = authenticator.caller(Some(&token)).await.unwrap();
    let grants = caller.grants();
    let joined = |patterns: &[crate::event::Pattern]| {
        let all: Vec<&str> = patterns.iter().map(|one| one.as_str()).collect();
        all.join(",")
    };
    let lists = [&grants.subscribe, &grants.publish, &grants.request].map(|list| joined(list));
    format!(
        "{}{}",
        lists.join(";"),
        if grants.admin { ";admin" } else { "" }
    )
}

#[tokio::test]
async fn without_authentication_callers_are_who_they_were_and_what_they_show_is_left_alone() {
    let local = authenticator(&[]).unwrap();
    let open = Authenticator::new(&AuthSettings::default(), &everyone()).unwrap();
    for shown in [None, Some("Zm9vOmJhcg=="), Some("a.b.c")] {
        assert_eq!(local.caller(shown).await, Ok(Caller::local()));
        assert_eq!(open.caller(shown).await, Ok(Caller::from(&everyone())));
    }
    assert!(local.is_open() && open.is_open());
}

#[tokio::test]
async fn with_authentication_who_shows_nothing_may_do_what_everyone_may_and_else_is_refused() {
    let strict = authenticator(&["--jwt-key", SECRET]).unwrap();
    assert_eq!(
        strict.caller(None).await,
        Err(Unauthorized::Missing(NotTaken::Nothing))
    );
    let settings = settings(&["--jwt-key", SECRET]);
    let mixed = Authenticator::new(&settings, &everyone()).unwrap();
    assert_eq!(
        mixed.caller(None).await,
        Ok(Caller::from(&everyone()).who_may_show_more())
    );
    assert_eq!(
        mixed.caller(Some("wrong")).await,
        Err(Unauthorized::Unknown(true))
    );
    let token = token(Algorithm::HS256, None, &claims());
    let caller = mixed.caller(Some(&token)).await.unwrap();
    assert_eq!(caller.subject(), Some("ann"));
    assert!(caller.expires().is_some() && caller.grants() == &Grants::default());
}

#[tokio::test]
async fn a_tokens_grants_are_its_own_and_those_for_all_and_for_its_claims() {
    let authenticator = authenticator(&[
        "--jwt-key",
        SECRET,
        "--grant-subscribe",
        "users.{sub}.>,news.*",
        "--grant-publish",
        "{claim:tenant}.in",
        "--grant-claim",
        "roles=ops:subscribe=>;admin",
        "--grant-claim",
        "scope=chat:request=chat.{sub}",
    ])
    .unwrap();
    let exp = now(60);
    for (claims, expected) in [
        (json!({"exp": exp}), "news.*;;"),
        (
            json!({"exp": exp, "sub": "a@b.c"}),
            "users.a%40b%2Ec.>,news.*;;",
        ),
        (
            json!({"exp": exp, "tenant": 7, "scope": "mail chat"}),
            "news.*;7.in;",
        ),
        (
            json!({"exp": exp, "sub": "x", "scope": "chat", "roles": ["dev", "ops"]}),
            "users.x.>,news.*,>;;chat.x;admin",
        ),
        (
            json!({"exp": exp, "sub": "x", "tidings": {"subscribe": ["own.{sub}"], "publish": ["{claim:none}", "p"]}}),
            "own.x,users.x.>,news.*;p;",
        ),
    ] {
        assert_eq!(
            grants(&authenticator, claims.clone()).await,
            expected,
            "{claims}"
        );
    }
    let wrong = json!({"exp": exp, "tidings": {"subscribe": ["a..b"]}});
    let token = token(Algorithm::HS256, None, &wrong);
    assert!(matches!(
        authenticator.caller(Some(&token)).await,
        Err(Unauthorized::Permissions(_))
    ));
}

#[tokio::test]
async fn an_api_key_is_its_name_and_never_expires() {
    let permissions = "subscribe=orders.>;publish=from.{sub}.*".parse().unwrap();
    let (key, record) = ApiKey::generate("billing", permissions).unwrap();
    let authenticator = authenticator(&["--api-key", &record.to_string()]).unwrap();
    let caller = authenticator.caller(Some(key.expose())).await.unwrap();
    assert_eq!(
        (caller.subject(), caller.expires()),
        (Some("billing"), None)
    );
    assert_eq!(caller.publish(&"from.billing.x".parse().unwrap()), Ok(()));
    for wrong in ["", "x", "a.b.c", &record.to_string()] {
        assert_eq!(
            authenticator.caller(Some(wrong)).await,
            Err(Unauthorized::Unknown(false))
        );
    }
    let huge = "x".repeat(MAX_TOKEN_BYTES + 1);
    assert_eq!(
        authenticator.caller(Some(&huge)).await,
        Err(Unauthorized::TooLong(8193))
    );
}

#[tokio::test]
async fn keys_come_from_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, held: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, held).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (key, record) = ApiKey::generate("billing", "admin".parse().unwrap()).unwrap();
    let files = format!(
        "{},{}",
        file("secret", &format!("{SECRET}\n")),
        file("public", RSA_PUBLIC)
    );
    let records = file("keys", &format!("# ours\n{record}\n"));
    let authenticator =
        authenticator(&["--jwt-key-file", &files, "--api-keys-file", &records]).unwrap();
    for by in [Algorithm::HS256, Algorithm::PS256] {
        assert!(
            authenticator
                .caller(Some(&token(by, None, &claims())))
                .await
                .is_ok()
        );
    }
    assert!(authenticator.caller(Some(key.expose())).await.is_ok());
}

#[tokio::test]
async fn a_token_may_be_of_a_key_that_is_given_or_of_the_issuers() {
    // Nothing listens there: its keys are never had.
    let authenticator = authenticator(&[
        "--jwt-key",
        P256_PUBLIC,
        "--jwks-url",
        "http://127.0.0.1:9/",
        "--jwt-issuer",
        "i",
        "--jwt-audience",
        "*",
    ])
    .unwrap();
    let mut claims = claims();
    claims["iss"] = "i".into();
    let given = token(Algorithm::ES256, None, &claims);
    assert!(authenticator.caller(Some(&given)).await.is_ok());
    let issuers = token(Algorithm::RS256, Some("x"), &claims);
    let error = authenticator.caller(Some(&issuers)).await.unwrap_err();
    assert!(error.is_passing(), "{error}");
}

#[tokio::test]
async fn settings_that_contradict_themselves_are_refused() {
    let jwks = ["--jwks-url", "https://example.com/k"];
    let with = |more: &[&str]| {
        let arguments: Vec<&str> = jwks.iter().chain(more).copied().collect();
        authenticator(&arguments).unwrap_err()
    };
    assert_eq!(with(&[]), AuthError::NoIssuer);
    assert_eq!(with(&["--jwt-issuer", "i"]), AuthError::NoAudience);
    let bound = [
        "--jwt-issuer",
        "i",
        "--jwt-audience",
        "a",
        "--jwt-algorithms",
        "RS256,HS256",
    ];
    assert_eq!(with(&bound), AuthError::NoKeyFor("HS256".to_owned()));
    for option in [
        "jwt-issuer",
        "jwt-audience",
        "jwt-cookie",
        "grant-subscribe",
        "grant-publish",
        "grant-request",
    ] {
        let error = authenticator(&[&format!("--{option}"), "x"]).unwrap_err();
        assert_eq!(error, AuthError::NoKey { option });
    }
    for (arguments, expected) in [
        (vec!["--jwt-query"], "--jwt-query is for tokens"),
        (
            vec!["--grant-claim", "a=b:admin"],
            "--grant-claim is for tokens",
        ),
        (
            vec!["--jwt-key", "short"],
            "the key of --jwt-key can't be used: it has 5 bytes",
        ),
        (vec!["--jwt-key", RSA], "it is a private key"),
        (
            vec!["--jwt-key", SECRET, "--jwt-cookie", "a b"],
            "--jwt-cookie is no name",
        ),
        (
            vec!["--jwt-key", SECRET, "--jwt-algorithms", "RS256"],
            "none of its own: [HS256, HS384, HS512]",
        ),
        (
            vec!["--jwt-key", SECRET, "--jwt-algorithms", "HS256,ES256"],
            "has ES256, which none",
        ),
        (
            vec!["--jwt-key-file", "/nonexistent"],
            "/nonexistent can't be read",
        ),
        (
            vec!["--api-key", "name:hunter2:admin"],
            "--api-key: what stands after its name",
        ),
        (
            vec!["--api-keys-file", "/nonexistent"],
            "/nonexistent can't be read",
        ),
    ] {
        let error = authenticator(&arguments).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(
            !error.contains("hunter2") && !error.contains(SECRET),
            "{error}"
        );
    }
}

#[test]
fn the_command_line_never_shows_a_secret() {
    let hash = "ab".repeat(32);
    let key = format!("name:{hash}:admin");
    let settings = settings(&[
        "--jwt-key",
        SECRET,
        "--api-key",
        &key,
        "--jwks-url",
        "https://u:hunter2@example.com/",
    ]);
    let shown = format!("{settings:?}");
    for secret in [SECRET, &hash, "hunter2"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let wrong = ["x", "--jwt-key", SECRET, "--jwt-algorithms", "none"];
    let error = Command::try_parse_from(wrong).err().unwrap().to_string();
    assert!(
        error.contains("there are HS256") && !error.contains(SECRET),
        "{error}"
    );
}

#[test]
fn every_option_is_a_variable_too() {
    let command = AuthSettings::augment_args(clap::Command::new("x"));
    for option in command.get_arguments() {
        let name = option
            .get_long()
            .unwrap()
            .replace('-', "_")
            .to_ascii_uppercase();
        let found = option.get_env().unwrap().to_string_lossy();
        assert_eq!(found, format!("TIDINGS_{name}"));
    }
    Command::command().debug_assert();
}

#[test]
fn several_grants_by_claim_are_one_a_line_in_a_variable() {
    let command = AuthSettings::augment_args(clap::Command::new("x"));
    let text = "role=a:subscribe=x,y\nrole=b:publish=z;admin";
    let matches = command.get_matches_from(["x", "--grant-claim", text]);
    let settings = AuthSettings::from_arg_matches(&matches).unwrap();
    assert_eq!(settings.grant_claim.len(), 2);
}

#[tokio::test]
async fn a_file_of_api_keys_without_any_lets_nobody_in_and_an_empty_one_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let given = ["--api-keys-file", path.to_str().unwrap()];
    std::fs::write(&path, "# none\n").unwrap();
    let none = Authenticator::new(&settings(&given), &Access::Nothing).unwrap();
    assert!(!none.is_open());
    let missing = Unauthorized::Missing(NotTaken::Nothing);
    assert_eq!(none.caller(None).await, Err(missing));
    let wrong = none.caller(Some("tidings_x")).await;
    assert_eq!(wrong, Err(Unauthorized::Unknown(false)));
    for empty in ["", "\n", "  ", "\n\n", "\r\n \n"] {
        std::fs::write(&path, empty).unwrap();
        let error = Authenticator::new(&settings(&given), &Access::Nothing).unwrap_err();
        assert!(error.to_string().contains("begins with `#`"), "{error}");
    }
}

#[tokio::test]
async fn an_issuer_who_stays_keeps_his_keys_and_what_was_revoked_stays_so() {
    let jwks = |port, more: &[&str]| {
        let url = format!("http://127.0.0.1:{port}/keys");
        let given = ["--jwks-url", &url, "--jwt-audience", "a", "--jwt-issuer"];
        settings(&[&given[..], more].concat())
    };
    let before = Authenticator::new(&jwks(1, &["i"]), &Access::Nothing).unwrap();
    let keys = |of: &Authenticator| of.tokens.as_ref().unwrap().jwks.clone().unwrap();
    for (next, stays) in [
        (jwks(1, &["other"]), true),
        (jwks(2, &["i"]), false),
        (jwks(1, &["i", "--jwt-algorithms", "ES256"]), true),
    ] {
        let next = before.renewed(&next, &Access::Nothing).unwrap();
        assert_eq!(Arc::ptr_eq(&keys(&before), &keys(&next)), stays);
        let now = SystemTime::now();
        let until = now + Duration::from_secs(60);
        let revocation = crate::auth::Revocation { at: now, until };
        before.revoked().add("ann", revocation).unwrap();
        assert!(next.revoked().holds("ann", None, now));
    }
}

#[tokio::test]
async fn api_keys_that_are_gone_or_may_do_something_else_are_named() {
    let record = |name: &str, hash: &str, may: &str| format!("{name}:{}:{may}", hash.repeat(32));
    let with = |records: &[String]| {
        let given = records.iter().flat_map(|one| ["--api-key", one]);
        authenticator(&given.collect::<Vec<_>>()).unwrap()
    };
    let before = with(&[
        record("stays", "aa", "admin"),
        record("two", "bb", "admin"),
        record("two", "cc", "admin"),
        record("less", "dd", "admin"),
        record("gone", "ee", "admin"),
    ]);
    let next = with(&[
        record("stays", "aa", "admin"),
        record("two", "bb", "admin"),
        record("less", "dd", "subscribe=a"),
        record("new", "ff", "admin"),
    ]);
    assert_eq!(before.gone(&next), ["gone", "less", "two"]);
    assert!(before.gone(&before).is_empty());
}

#[tokio::test]
async fn a_caller_is_let_in_still_until_his_subject_is_revoked_or_his_key_is_gone() {
    let may = "admin".parse().unwrap();
    let (secret, record) = ApiKey::generate("backend", may).unwrap();
    let (key, record) = (secret.expose().to_owned(), record.to_string());
    let tokens = ["--jwt-key", SECRET];
    let before = authenticator(&[&tokens[..], &["--api-key", &record]].concat()).unwrap();
    let seconds = |ago| {
        let at = SystemTime::now() - Duration::from_secs(ago);
        at.duration_since(UNIX_EPOCH).unwrap().as_secs()
    };
    let caller = async |shown: &str| before.caller(Some(shown)).await.unwrap();
    let of = |ago| {
        let claims = json!({"sub": "ann", "exp": seconds(0) + 60, "iat": seconds(ago)});
        token(Algorithm::HS256, None, &claims)
    };
    let (ann, later, backend) = (
        caller(&of(10)).await,
        caller(&of(0)).await,
        caller(&key).await,
    );
    for caller in [&ann, &later, &backend] {
        assert_eq!(before.still(&before, caller), Ok(()));
    }
    let next = before
        .renewed(&settings(&tokens), &Access::Nothing)
        .unwrap();
    assert_eq!(
        before.still(&next, &backend),
        Err(Unauthorized::Unknown(true))
    );
    assert_eq!(before.still(&next, &ann), Ok(()));
    let now = SystemTime::now();
    let revocation = crate::auth::Revocation {
        at: now - Duration::from_secs(5),
        until: now + Duration::from_secs(60),
    };
    let revoked = |subject: &str| Err(Unauthorized::Revoked(subject.into()));
    for subject in ["ann", "backend"] {
        next.revoked().add(subject, revocation).unwrap();
    }
    assert_eq!(before.still(&before, &ann), revoked("ann"));
    assert_eq!(before.still(&before, &later), Ok(()));
    assert_eq!(before.still(&before, &backend), revoked("backend"));
}
