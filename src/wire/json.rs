//! What counts as JSON.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Whether a text is JSON that every client's parser takes, and why not: its grammar is RFC 8259's, and it
/// is nested less than 128 levels deep, has no half of a surrogate pair, and no number that a double can't hold.
///
/// It is what `serde_json::Value` takes, read without keeping anything.
pub fn check_json(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<Sound>(text).map(|Sound| ())
}

/// A value that was read whole. (`IgnoredAny` looks into neither strings nor numbers, and has no limit of depth.)
struct Sound;

impl<'de> Deserialize<'de> for Sound {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Self)
    }
}

impl<'de> Visitor<'de> for Sound {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while let Some(Self) = items.next_element()? {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self, A::Error> {
        while let Some((Self, Self)) = members.next_entry()? {}
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn what_strict_parsers_refuse_is_no_json() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check_json(&nested(127)).is_ok());
        let objects = r#"{"a":"#.repeat(128) + "1" + &"}".repeat(128);
        for text in [
            &nested(128),
            &nested(100_000),
            &objects,
            r#""\ud800""#,
            r#"{"\udc00":1}"#,
            "1e999",
            "[-1e999]",
            "01",
            "NaN",
            "1 2",
            "",
            "\"\n\"",
        ] {
            assert!(check_json(text).is_err(), "{text:.20}");
        }
    }

    proptest! {
        #[test]
        fn it_takes_what_a_value_is_made_of(text in r#"([\[\]{}:,"\\ud8e0-9. +-]|null|true|"a"|\\ud83d|\\ude00){0,12}"#) {
            prop_assert_eq!(check_json(&text).is_ok(), serde_json::from_str::<Value>(&text).is_ok());
        }

        #[test]
        fn it_takes_every_value(text in value().prop_map(|value| value.to_string())) {
            prop_assert!(check_json(&text).is_ok(), "{text}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..4).prop_map(Value::from_iter),
            ]
        })
    }
}
