//! Feed names.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest feed name or pattern, in bytes of UTF-8.
pub const MAX_NAME_BYTES: usize = 255;

/// The name of a feed: tokens joined by dots, as in `orders.eu.42`. Cloning shares the text.
///
/// A token is one or more characters, none of them `.`, `*`, `>`, `/`, white space or a control
/// character; a name has at most [`MAX_NAME_BYTES`] bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Feed(Arc<str>);

impl Feed {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tokens, in order; at least one.
    pub fn tokens(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.split('.')
    }
}

impl FromStr for Feed {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        check_length(text)?;
        text.split('.').try_for_each(check_token)?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feed({})", self.0)
    }
}

/// Why a text is no feed name or pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// Nothing at all.
    #[error("it is empty; it needs at least one token, as in `orders` or `orders.eu.42`")]
    Empty,
    /// Over [`MAX_NAME_BYTES`].
    #[error("it has {0} bytes; at most {MAX_NAME_BYTES} are allowed")]
    TooLong(usize),
    /// Two dots in a row, or one at either end.
    #[error(
        "it has an empty token; tokens are joined by single dots, with none at the start or end"
    )]
    EmptyToken,
    /// A character that no token may have.
    #[error(
        "the token `{}` has the character {character:?}; a token has none of `.`, `*`, `>`, `/`, white space or control characters",
        token.escape_debug()
    )]
    Character {
        /// The token.
        token: String,
        /// The first character in it that is not allowed.
        character: char,
    },
    /// A `>` before the last token.
    #[error("`>` stands for the rest of a name, so it can only be the last token")]
    RestNotLast,
}

pub(super) fn check_length(text: &str) -> Result<(), InvalidName> {
    match text.len() {
        0 => Err(InvalidName::Empty),
        length if length > MAX_NAME_BYTES => Err(InvalidName::TooLong(length)),
        _ => Ok(()),
    }
}

pub(super) fn check_token(token: &str) -> Result<(), InvalidName> {
    if token.is_empty() {
        return Err(InvalidName::EmptyToken);
    }
    let forbidden =
        |c: char| matches!(c, '.' | '*' | '>' | '/') || c.is_whitespace() || c.is_control();
    match token.chars().find(|&c| forbidden(c)) {
        None => Ok(()),
        Some(character) => Err(InvalidName::Character {
            token: token.to_owned(),
            character,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule as the documentation gives it, character by character.
    fn is_feed(text: &str) -> bool {
        let token = |token: &str| {
            !token.is_empty()
                && token
                    .chars()
                    .all(|c| !matches!(c, '*' | '>' | '/') && !c.is_whitespace() && !c.is_control())
        };
        text.len() <= MAX_NAME_BYTES && text.split('.').all(token)
    }

    #[test]
    fn the_longest_name_is_a_name_and_one_byte_more_is_none() {
        let longest = "ü".repeat(127) + "a";
        assert_eq!(longest.parse::<Feed>().unwrap().as_str(), longest);
        assert_eq!(
            format!("{longest}b").parse::<Feed>(),
            Err(InvalidName::TooLong(256))
        );
    }

    #[test]
    fn what_is_wrong_with_a_name_is_said() {
        let error = |text: &str| text.parse::<Feed>().unwrap_err();
        assert_eq!(error(""), InvalidName::Empty);
        for text in [".", "a.", ".a", "a..b"] {
            assert_eq!(error(text), InvalidName::EmptyToken, "{text}");
        }
        for c in [
            '*', '>', '/', ' ', '\t', '\n', '\0', '\u{7f}', '\u{85}', '\u{a0}', '\u{2028}',
        ] {
            let token = format!("b{c}d");
            let character = c;
            assert_eq!(
                error(&format!("a.{token}")),
                InvalidName::Character { token, character }
            );
        }
    }

    proptest! {
        #[test]
        fn a_text_is_a_feed_just_where_the_rule_says_so_and_prints_as_it_was(
            text in "([ab_$é😀-]|[.*>/ \t\u{0}\u{85}]|\\PC){0,12}",
        ) {
            match text.parse::<Feed>() {
                Ok(feed) => {
                    prop_assert!(is_feed(&text));
                    prop_assert_eq!(feed.to_string(), &text[..]);
                    prop_assert_eq!(feed.tokens().collect::<Vec<_>>().join("."), text);
                }
                Err(_) => prop_assert!(!is_feed(&text)),
            }
        }
    }
}
