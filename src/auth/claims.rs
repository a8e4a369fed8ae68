//! What a token says of its subject.

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::borrow::Cow;
use std::fmt;

/// A token's claims: a JSON object in which no name comes twice, at any depth (RFC 7519, section 4, leaves it to us
/// which of two would count: none).
#[derive(Clone, Default, PartialEq)]
pub struct Claims(Map<String, Value>);

impl Claims {
    /// Reads an object; `None` where it is none, is nested more than 127 deep, or has a name twice.
    pub fn parse(json: &[u8]) -> Option<Self> {
        match serde_json::from_slice(json).ok()? {
            Unique(Value::Object(claims)) => Some(Self(claims)),
            _ => None,
        }
    }

    /// Those of one who has a name and nothing else.
    pub fn of_subject(subject: &str) -> Self {
        Self(Map::from_iter([("sub".to_owned(), subject.into())]))
    }

    /// The claim of that name, or else the one at a path: `realm_access.roles` is `roles` in `realm_access`. A name
    /// with dots that is there goes before a path.
    pub fn get(&self, name: &str) -> Option<&Value> {
        find(&self.0, name)
    }

    /// A claim that is text, a whole number or a bool, as text. Other numbers have several forms.
    pub fn text(&self, name: &str) -> Option<Cow<'_, str>> {
        text(self.get(name)?)
    }

    /// Whether a claim is this text, or a list with it, or, for `scope` (RFC 8693, section 4.2) and `scp`, has it as
    /// one of its words.
    pub fn has(&self, name: &str, value: &str) -> bool {
        match self.get(name) {
            Some(Value::Array(all)) => all.iter().any(|one| text(one).as_deref() == Some(value)),
            Some(Value::String(words)) if matches!(name, "scope" | "scp") => {
                words.split(' ').any(|word| word == value)
            }
            Some(one) => text(one).as_deref() == Some(value),
            None => false,
        }
    }
}

/// Each object is met once at most, since the way to it is a text of its own.
fn find<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(found) = object.get(name) {
        return Some(found);
    }
    name.match_indices('.').find_map(|(at, _)| {
        let inner = object.get(&name[..at])?.as_object()?;
        find(inner, &name[at + 1..])
    })
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.into()),
        Value::Bool(bool) => Some(if *bool { "true" } else { "false" }.into()),
        Value::Number(number) if !number.is_f64() => Some(number.to_string().into()),
        _ => None,
    }
}

/// The names alone: what is claimed of someone is no one else's business.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// A JSON value in which no object has a name twice.
pub(super) struct Unique(pub(super) Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).ok_or_else(|| E::custom("no number"))?;
        Ok(number.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Unique(one)) = seq.next_element()? {
            all.push(one);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((name, Unique(value))) = map.next_entry::<String, _>()? {
            if all.insert(name, value).is_some() {
                return Err(de::Error::custom("a name comes twice"));
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claims(json: &str) -> Claims {
        Claims::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_name_that_comes_twice_at_any_depth_is_refused() {
        for json in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            r#"{"x":{"a":1,"a":2}}"#,
            r#"{"x":[{"a":1,"b":2,"a":3}]}"#,
        ] {
            assert_eq!(Claims::parse(json.as_bytes()), None, "{json}");
        }
        assert!(Claims::parse(br#"{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}"#).is_some());
    }

    #[test]
    fn what_is_no_object_or_nested_too_deep_is_refused() {
        for json in [
            "",
            "[]",
            "1",
            "null",
            "{",
            r#"{"a":1}x"#,
            r#"{"a":1e999}"#,
            "{\"a\":\"\u{0}\"}",
        ] {
            assert_eq!(Claims::parse(json.as_bytes()), None, "{json}");
        }
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert!(Claims::parse(nested(100).as_bytes()).is_some());
        assert_eq!(Claims::parse(nested(3_000).as_bytes()), None);
        assert_eq!(Claims::parse(b"{\"a\":\"\xff\"}"), None);
    }

    #[test]
    fn a_claim_is_found_by_its_name_and_else_by_its_path() {
        let claims = claims(
            r#"{"a.b":1,"a":{"b":2,"c.d":{"e":3}},"https://example.com/role":"x","n":-5,"no":false}"#,
        );
        for (name, expected) in [
            ("a.b", Some("1")),
            ("a.c.d.e", Some("3")),
            ("https://example.com/role", Some("x")),
            ("n", Some("-5")),
            ("no", Some("false")),
            ("a", None),
            ("a.", None),
            (".a", None),
            ("a.c", None),
            ("n.x", None),
        ] {
            assert_eq!(claims.text(name).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn a_claim_has_a_value_as_itself_in_a_list_or_as_a_word_of_a_scope() {
        let claims = claims(
            r#"{"role":"admin","roles":["a","b c",3],"scope":"read write","scp":"x y","nested":{"roles":["z"]}}"#,
        );
        for (name, value) in [
            ("role", "admin"),
            ("roles", "b c"),
            ("roles", "3"),
            ("scope", "write"),
            ("scp", "x"),
            ("nested.roles", "z"),
        ] {
            assert!(claims.has(name, value), "{name} {value}");
        }
        for (name, value) in [
            ("role", "adm"),
            ("role", ""),
            ("roles", "b"),
            ("scope", "writ"),
            ("scope", "read write"),
            ("none", ""),
            ("nested", "z"),
        ] {
            assert!(!claims.has(name, value), "{name} {value}");
        }
    }

    proptest! {
        #[test]
        fn claims_are_read_as_any_parser_reads_them_or_not_at_all(
            text in prop_oneof![
                r#"\{("sub"|"exp"|"a"|:|,|1|-1|1e9|1e999|null|\[|\]|\{|\}|"\\u0061"| ){0,14}\}"#,
                r#"\{("a":1,|"b":\{"a":2\},|"c":\[\{"a":null\}\],){0,4}"d":0\}"#,
                "\\PC{0,30}",
            ],
        ) {
            let value = serde_json::from_str::<Value>(&text).ok();
            match Claims::parse(text.as_bytes()) {
                Some(Claims(claims)) => prop_assert_eq!(Some(Value::Object(claims)), value),
                None => {
                    // No object, or one with a name twice: then it is shorter when it is written anew.
                    let anew = value.filter(Value::is_object).map(|value| value.to_string());
                    prop_assert!(anew.is_none_or(|anew| anew.len() < text.len()), "{}", text);
                }
            }
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..60), name in "[a.]{0,6}") {
            if let Some(claims) = Claims::parse(&bytes) {
                let _ = (claims.text(&name), claims.has(&name, "a"));
            }
        }
    }
}
