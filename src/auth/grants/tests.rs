use super::*;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

const DEPTH: usize = 3;

fn permissions(text: &str) -> Permissions {
    text.parse().unwrap()
}

fn patterns(all: &[&str]) -> Vec<Pattern> {
    all.iter().map(|one| one.parse().unwrap()).collect()
}

fn granted(permissions: &Permissions, claims: &Value) -> Grants {
    let mut grants = Grants::default();
    let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
    permissions.grant(&claims, &mut grants);
    grants
}

#[test]
fn permissions_are_read_and_printed() {
    let text = "subscribe=users.{sub}.>,news.*;publish=chat.{claim:room};request=rpc.>;admin";
    assert_eq!(permissions(text).to_string(), text);
    let spaced =
        " admin ; request = rpc.> ;subscribe=users.{sub}.> , news.*; publish=chat.{claim:room};";
    assert_eq!(permissions(spaced), permissions(text));
    let twice = permissions("publish=a;publish=b");
    assert_eq!(twice, permissions("publish=a,b"));
}

#[test]
fn what_is_no_permission_is_refused_with_what_would_be() {
    for (text, expected) in [
        ("", "nothing is granted"),
        (";", "nothing is granted"),
        ("orders.>", "`orders.>` is no permission"),
        ("subscibe=a", "`subscibe=a` is no permission"),
        ("admin=true", "`admin=true` is no permission"),
        ("subscribe=", "`` is no pattern: it is empty"),
        ("subscribe=a,,b", "`` is no pattern"),
        ("publish=a.{user}", "braces are for"),
    ] {
        let error = text.parse::<Permissions>().unwrap_err().to_string();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn a_grant_by_claim_takes_values_with_colons_and_names_that_are_urls() {
    for (text, claim, value, permissions) in [
        ("role=admin:admin", "role", "admin", "admin"),
        ("role=a:b:subscribe=x", "role", "a:b", "subscribe=x"),
        (
            "https://e.com/role=urn:x: publish=a ; admin",
            "https://e.com/role",
            "urn:x",
            "publish=a;admin",
        ),
        (
            "n=3:request=a.=:subscribe=b",
            "n",
            "3",
            "request=a.=:subscribe=b",
        ),
    ] {
        let grant: ClaimGrant = text.parse().unwrap();
        assert_eq!((&*grant.claim, &*grant.value), (claim, value), "{text}");
        assert_eq!(grant.permissions.to_string(), permissions, "{text}");
    }
    for text in [
        "",
        "role",
        "role=admin",
        "role:subscribe=a",
        "=x:admin",
        "role=:admin",
        "role=x:nothing",
    ] {
        assert_eq!(
            text.parse::<ClaimGrant>(),
            Err(InvalidClaimGrant::Form),
            "{text}"
        );
    }
    let unknown = "role=x:foo=a".parse::<ClaimGrant>();
    assert!(unknown.unwrap_err().to_string().contains("`foo=a`"));
    assert!("role=x:subscribe=a..b".parse::<ClaimGrant>().is_err());
}

#[test]
fn what_needs_a_claim_that_is_missing_grants_nothing_and_the_rest_does() {
    let all = permissions("subscribe=users.{sub}.>,news.*;publish={claim:room}");
    let grants = granted(&all, &json!({"sub": "a.b"}));
    assert_eq!(grants.subscribe, patterns(&["users.a%2Eb.>", "news.*"]));
    assert_eq!(grants.publish, []);
    assert!(!grants.admin);
}

#[test]
fn a_claim_cant_widen_what_it_is_put_into() {
    let all = permissions("subscribe=users.{sub}.x");
    for sub in ["*", ">", "a.>", "a.b", "*.*", "", "a\u{0}", " "] {
        let grants = granted(&all, &json!({"sub": sub}));
        for wide in ["users.*.x", "users.>", "users.a.b.x", "users.b.x"] {
            let wide: Pattern = wide.parse().unwrap();
            assert!(!grants.may_subscribe(&wide), "{sub}: {wide}");
        }
    }
}

#[test]
fn a_tokens_own_permissions_are_read_and_what_is_wrong_is_said_without_quoting() {
    let read = |claim: Value| Permissions::of_claim(&claim);
    let claim = json!({"subscribe": ["a.{sub}"], "publish": [], "admin": true, "later": 1});
    assert_eq!(read(claim).unwrap().to_string(), "subscribe=a.{sub};admin");
    assert_eq!(read(json!({})), Ok(Permissions::default()));
    for (claim, expected) in [
        (json!([]), InvalidClaim::NoObject),
        (json!({"subscribe": "a"}), InvalidClaim::NoList("subscribe")),
        (
            json!({"publish": ["a", 1]}),
            InvalidClaim::NoList("publish"),
        ),
        (
            json!({"request": ["a", "b..c"]}),
            InvalidClaim::NoPattern("request", 1),
        ),
        (json!({"admin": "true"}), InvalidClaim::NoBool),
    ] {
        assert_eq!(read(claim), Err(expected));
    }
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let tokens = prop::collection::vec(select(&["a", "b", "*"][..]), 0..DEPTH - 1);
    (tokens, select(&["a", "b", "*", ">"][..])).prop_map(|(mut tokens, last)| {
        tokens.push(last);
        tokens.join(".").parse().unwrap()
    })
}

/// Every name of up to one token more than a pattern here has, over one token more than they name.
fn feeds() -> Vec<Feed> {
    let mut names = vec![String::new()];
    let mut feeds = Vec::new();
    for _ in 0..=DEPTH {
        names = names
            .iter()
            .flat_map(|name| ["a", "b", "c"].map(|token| format!("{name}.{token}")))
            .collect();
        feeds.extend(names.iter().map(|name| name[1..].parse().unwrap()));
    }
    feeds
}

proptest! {
    #[test]
    fn a_subscription_is_allowed_just_where_one_grant_has_all_of_its_feeds(
        grants in prop::collection::vec(pattern(), 0..4), asked in pattern(),
    ) {
        let feeds = feeds();
        let asked_for: Vec<&Feed> = feeds.iter().filter(|feed| asked.matches(feed)).collect();
        let expected = grants.iter().any(|grant| asked_for.iter().all(|feed| grant.matches(feed)));
        let held = Grants { subscribe: grants.clone(), ..Grants::default() };
        prop_assert_eq!(held.may_subscribe(&asked), expected);
        let others = Grants { publish: grants.clone(), request: grants, ..Grants::default() };
        prop_assert!(!others.may_subscribe(&asked));
    }

    #[test]
    fn a_publish_and_a_request_are_allowed_just_where_a_grant_matches(
        grants in prop::collection::vec(pattern(), 0..4), index in any::<prop::sample::Index>(),
    ) {
        let feeds = feeds();
        let feed = index.get(&feeds);
        let expected = grants.iter().any(|grant| grant.matches(feed));
        let publish = Grants { publish: grants.clone(), ..Grants::default() };
        let request = Grants { request: grants, ..Grants::default() };
        prop_assert_eq!((publish.may_publish(feed), publish.may_request(feed)), (expected, false));
        prop_assert_eq!((request.may_publish(feed), request.may_request(feed)), (false, expected));
    }

    #[test]
    fn no_text_breaks_what_reads_permissions(text in "[subcriepqt=,;.>*{}: admin]{0,40}") {
        if let Ok(read) = text.parse::<Permissions>() {
            prop_assert_eq!(read.to_string().parse::<Permissions>().unwrap(), read);
        }
        let _ = text.parse::<ClaimGrant>();
    }
}
