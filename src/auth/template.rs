//! Patterns with claims in them, as in `users.{sub}.>`.

use super::claims::Claims;
use crate::event::{InvalidName, Pattern};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::fmt;
use std::str::FromStr;

/// What stays as it is in a claim that becomes a token: the unreserved characters of RFC 3986, section 2.3,
/// but for the dot, which would make it two.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

/// A pattern in which a token may stand for a claim: `{sub}` for the subject, `{claim:NAME}` for another one.
///
/// A token has at most one such, with text around it or none. So two different claims never make the same token.
#[derive(Clone, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Claim(String),
}

/// Why a text is no [`Template`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// It would be no pattern, whatever the claims are.
    #[error(transparent)]
    Pattern(#[from] InvalidName),
    /// A brace that opens or ends no placeholder, or one that is not known.
    #[error("braces are for `{{sub}}` and `{{claim:NAME}}` alone")]
    Placeholder,
    /// Two of them without a dot in between.
    #[error("a token may have one claim: with two, different claims could make the same token")]
    TwoInAToken,
}

/// Why a [`Template`] is no pattern for someone's claims, and grants nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfilled {
    /// The claim that it takes.
    #[error("the claim `{0}` is missing, empty, or neither text, whole number nor bool")]
    Claim(String),
    /// What it would be.
    #[error("with these claims it is no pattern: {0}")]
    Pattern(#[from] InvalidName),
}

impl Template {
    /// The pattern for these claims. It grants nothing where one is missing, empty, neither text, whole number nor bool, or
    /// where the pattern would be too long.
    pub fn pattern(&self, claims: &Claims) -> Result<Pattern, Unfilled> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Claim(name) => {
                    let token = claims.text(name).and_then(|claim| encoded(&claim));
                    text.push_str(&token.ok_or_else(|| Unfilled::Claim(name.clone()))?);
                }
            }
        }
        Ok(text.parse()?)
    }

    /// The pattern itself, where no claim is in it.
    pub fn plain(&self) -> Option<Pattern> {
        self.pattern(&Claims::default()).ok()
    }
}

/// A claim as one token of a feed's name.
fn encoded(claim: &str) -> Option<String> {
    (!claim.is_empty()).then(|| utf8_percent_encode(claim, ENCODED).to_string())
}

impl FromStr for Template {
    type Err = InvalidTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidTemplate> {
        let (mut parts, mut shape, mut rest) = (Vec::new(), String::new(), text);
        let mut taken = false;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, placeholder) = rest.split_at(at);
            let (name, after) = claim_name(placeholder).ok_or(InvalidTemplate::Placeholder)?;
            if taken && !before.contains('.') {
                return Err(InvalidTemplate::TwoInAToken);
            }
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Claim(name.to_owned()));
            shape.push_str(before);
            shape.push('x');
            (rest, taken) = (after, true);
        }
        shape.push_str(rest);
        // Any one character stands for any claim: what is around it decides whether it can be a pattern.
        shape.parse::<Pattern>()?;
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        Ok(Self(parts))
    }
}

/// The claim that a placeholder at the beginning names, and what comes after it.
fn claim_name(text: &str) -> Option<(&str, &str)> {
    let (inside, after) = text.strip_prefix('{')?.split_once('}')?;
    let name = match inside {
        "sub" => "sub",
        inside => inside.strip_prefix("claim:")?,
    };
    (!name.is_empty() && !name.contains('{')).then_some((name, after))
}

impl From<Pattern> for Template {
    fn from(pattern: Pattern) -> Self {
        Self(vec![Part::Text(pattern.as_str().to_owned())])
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Claim(name) if name == "sub" => f.write_str("{sub}"),
            Part::Claim(name) => write!(f, "{{claim:{name}}}"),
        })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Feed;
    use proptest::prelude::*;
    use serde_json::json;

    fn template(text: &str) -> Template {
        text.parse().unwrap()
    }

    fn pattern(text: &str, claims: &serde_json::Value) -> Option<String> {
        let claims = Claims::parse(claims.to_string().as_bytes()).unwrap();
        template(text)
            .pattern(&claims)
            .ok()
            .map(|pattern| pattern.to_string())
    }

    #[test]
    fn claims_take_their_places() {
        let claims = json!({
            "sub": "ann@example.com", "tenant": 42, "beta": true, "dn": "CN=Ann, O=A/B", "realm": {"org": "ö"},
        });
        for (text, expected) in [
            ("users.{sub}.>", "users.ann%40example%2Ecom.>"),
            ("{claim:tenant}.*", "42.*"),
            ("a.b-{claim:beta}-c", "a.b-true-c"),
            ("x.{claim:dn}", "x.CN%3DAnn%2C%20O%3DA%2FB"),
            ("{claim:realm.org}.{sub}", "%C3%B6.ann%40example%2Ecom"),
            ("plain.>", "plain.>"),
        ] {
            assert_eq!(pattern(text, &claims).as_deref(), Some(expected), "{text}");
            assert_eq!(template(text).to_string(), text);
        }
    }

    #[test]
    fn a_claim_that_is_missing_or_is_no_text_grants_nothing() {
        let claims = json!({
            "empty": "", "null": null, "list": ["a"], "map": {}, "half": 1.5, "large": 1e300,
            "long": "a".repeat(250),
        });
        for name in [
            "none", "empty", "null", "list", "map", "half", "large", "long",
        ] {
            assert_eq!(
                pattern(&format!("users.{{claim:{name}}}"), &claims),
                None,
                "{name}"
            );
        }
        assert_eq!(pattern("users.{sub}", &claims), None);
        assert_eq!(template("users.{sub}").plain(), None);
    }

    #[test]
    fn what_can_be_no_pattern_is_refused_whatever_the_claims() {
        for text in [
            "a.{",
            "a.}",
            "{}",
            "{subject}",
            "{claim:}",
            "{claim:a{b}",
            "{sub",
            "{sub}}",
        ] {
            assert_eq!(
                text.parse::<Template>(),
                Err(InvalidTemplate::Placeholder),
                "{text}"
            );
        }
        for text in ["{sub}{sub}", "a.{sub}-{claim:x}.b"] {
            assert_eq!(
                text.parse::<Template>(),
                Err(InvalidTemplate::TwoInAToken),
                "{text}"
            );
        }
        for text in ["", "{sub}..a", "{sub}*", ">.{sub}", "a b.{sub}", ".{sub}"] {
            assert!(
                matches!(text.parse::<Template>(), Err(InvalidTemplate::Pattern(_))),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_claim_is_one_token_and_never_a_wildcard(claim in "\\PC{1,20}|[.*>/ a\\x00-\\x1f]{1,20}") {
            let token = encoded(&claim).unwrap();
            let feed: Feed = token.parse().unwrap();
            prop_assert_eq!(feed.tokens().count(), 1);
            prop_assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~%".contains(&b)));
            let pattern: Pattern = format!("users.{token}").parse().unwrap();
            prop_assert!(pattern.exact().is_some());
        }

        #[test]
        fn different_claims_make_different_tokens(one in "[.%2Ea*]{1,6}", other in "[.%2Ea*]{1,6}") {
            prop_assert_eq!(one == other, encoded(&one) == encoded(&other));
        }

        #[test]
        fn a_template_prints_as_what_reads_the_same(text in "[a.{}*>sub:claim]{0,20}") {
            if let Ok(template) = text.parse::<Template>() {
                prop_assert_eq!(template.to_string().parse::<Template>().unwrap(), template);
            }
        }
    }
}
