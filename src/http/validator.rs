//! Validators (RFC 9110, section 8.8.3): a client that has an answer already is not sent it again.

use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};
use std::fmt::Write;

/// A strong entity tag of what an answer says.
#[derive(Clone, Debug)]
pub(super) struct Tag(String);

impl Tag {
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let hash = parts.into_iter().fold(Sha256::new(), Sha256::chain_update);
        let digest = hash.finalize();
        let hex = digest[..16].iter().fold(String::new(), |mut hex, byte| {
            // Writing to a string can't fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self(format!("\"{hex}\""))
    }

    /// Whether a request's `If-None-Match` says that the client has it.
    pub(super) fn is_known(&self, headers: &HeaderMap) -> bool {
        headers
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .map(|one| one.trim().trim_start_matches("W/"))
            .any(|one| one == self.0 || one == "*")
    }

    pub(super) fn header(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).expect("hexadecimal digits are no control characters")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_tag_is_known_by_itself_in_a_list_and_as_a_weak_one() {
        let tag = Tag::of([&b"te"[..], b"xt"]);
        assert_eq!(tag.0, Tag::of([&b"text"[..]]).0);
        let known = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            tag.is_known(&headers)
        };
        assert!(known(&tag.0));
        assert!(known(&format!("\"other\", W/{}", tag.0)));
        assert!(known("*"));
        assert!(!known(&Tag::of([&b"other"[..]]).0));
        assert!(!known(""));
        assert!(!tag.is_known(&HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn a_tag_is_known_just_where_it_is_one_of_those_listed(
            others in prop::collection::vec("(W/)?\"[!#-~&&[^,]]{0,8}\"", 0..5), at in 0usize..6, weak in any::<bool>(),
        ) {
            let tag = Tag::of([&b"text"[..]]);
            let known = |tags: &[String]| {
                let value = HeaderValue::from_str(&tags.join(", ")).unwrap();
                tag.is_known(&HeaderMap::from_iter([(header::IF_NONE_MATCH, value)]))
            };
            prop_assert!(!known(&others));
            let mut with = others;
            let own = if weak { format!("W/{}", tag.0) } else { tag.0.clone() };
            with.insert(at.min(with.len()), own);
            prop_assert!(known(&with));
        }

        #[test]
        fn bytes_of_any_kind_are_not_a_tag_that_is_hashed(
            bytes in prop::collection::vec(prop_oneof![32u8..42, 43u8..127, 128u8..], 0..60),
        ) {
            let value = HeaderValue::from_bytes(&bytes).unwrap();
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, value)]);
            prop_assert!(!Tag::of([&b"text"[..]]).is_known(&headers));
        }
    }
}
