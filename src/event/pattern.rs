//! Patterns over feed names, with the rules of NATS subjects.

use super::feed::{Feed, InvalidName, check_length, check_token};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// A feed name in which a token may be `*` (exactly one token) and the last may be `>` (one or more).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// The pattern as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its tokens, wildcards among them, in order; at least one.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Whether an event on `feed` is for its readers.
    pub fn matches(&self, feed: &Feed) -> bool {
        self.spans(feed.tokens())
    }

    /// Whether every feed that `other` matches is matched by this pattern too.
    pub fn covers(&self, other: &Self) -> bool {
        self.spans(other.tokens())
    }

    /// The one feed it stands for, where it has no wildcard.
    pub fn exact(&self) -> Option<Feed> {
        self.0.parse().ok()
    }

    /// A `*` never spans a `>`, which may stand for several tokens; all else spans what it equals.
    fn spans<'a>(&self, mut other: impl Iterator<Item = &'a str>) -> bool {
        for mine in self.tokens() {
            match (mine, other.next()) {
                (">", theirs) => return theirs.is_some(),
                ("*", Some(theirs)) if theirs != ">" => {}
                (mine, Some(theirs)) if mine == theirs => {}
                _ => return false,
            }
        }
        other.next().is_none()
    }
}

impl FromStr for Pattern {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        check_length(text)?;
        let mut tokens = text.split('.').peekable();
        while let Some(token) = tokens.next() {
            match token {
                "*" => {}
                ">" if tokens.peek().is_none() => {}
                ">" => return Err(InvalidName::RestNotLast),
                token => check_token(token)?,
            }
        }
        Ok(Self(text.into()))
    }
}

impl From<&Feed> for Pattern {
    fn from(feed: &Feed) -> Self {
        Self(feed.as_str().into())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.0)
    }
}

/// What a reader asks for: one or more patterns, sorted, none of them covered by another.
///
/// Two readers that ask for the same feeds in another order have equal sets, and share their work.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Patterns(Arc<[Pattern]>);

impl Patterns {
    /// The set of `patterns`, of which there must be between one and `max`.
    pub fn new(mut patterns: Vec<Pattern>, max: usize) -> Result<Self, InvalidPatterns> {
        match patterns.len() {
            0 => return Err(InvalidPatterns::None),
            count if count > max => return Err(InvalidPatterns::TooMany { count, max }),
            _ => {}
        }
        patterns.sort_unstable();
        patterns.dedup();
        let wide: Vec<Pattern> = patterns
            .iter()
            .filter(|pattern| pattern.exact().is_none())
            .cloned()
            .collect();
        patterns.retain(|one| !wide.iter().any(|other| other != one && other.covers(one)));
        Ok(Self(patterns.into()))
    }

    /// Whether an event on `feed` is for its readers.
    pub fn matches(&self, feed: &Feed) -> bool {
        self.0.iter().any(|pattern| pattern.matches(feed))
    }

    /// The patterns, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }

    /// The one feed that all of this stands for, where it is a single pattern without wildcards.
    pub fn single(&self) -> Option<Feed> {
        match &*self.0 {
            [only] => only.exact(),
            _ => None,
        }
    }
}

impl From<Pattern> for Patterns {
    fn from(pattern: Pattern) -> Self {
        Self([pattern].into())
    }
}

/// Why a list of patterns is no [`Patterns`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPatterns {
    /// There are none.
    #[error("no feed was named; ask for `/feeds/{{pattern}}` or `/feeds?feed=P1&feed=P2`")]
    None,
    /// There are more than allowed.
    #[error("{count} patterns were asked for; one reader may have {max}")]
    TooMany {
        /// How many there were.
        count: usize,
        /// How many are allowed.
        max: usize,
    },
}
