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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use proptest::sample::{select, subsequence};

    /// One token more than any pattern here has, so that a `>` stands for one token and for several.
    const DEPTH: usize = 4;

    fn pattern() -> impl Strategy<Value = Pattern> {
        let tokens = prop::collection::vec(select(&["a", "b", "*"][..]), 0..DEPTH - 1);
        (tokens, select(&["a", "b", "*", ">"][..])).prop_map(|(mut tokens, last)| {
            tokens.push(last);
            tokens.join(".").parse().unwrap()
        })
    }

    /// Every name of up to `DEPTH` tokens over three, of which the patterns name two.
    fn feeds() -> Vec<Feed> {
        let mut names = vec![String::new()];
        let mut feeds = Vec::new();
        for _ in 0..DEPTH {
            names = names
                .iter()
                .flat_map(|name| ["a", "b", "c"].map(|token| format!("{name}.{token}")))
                .collect();
            feeds.extend(names.iter().map(|name| name[1..].parse().unwrap()));
        }
        feeds
    }

    /// Matching as one would write it down: token by token, from the left.
    fn matches(pattern: &[&str], feed: &[&str]) -> bool {
        match (pattern, feed) {
            ([], []) => true,
            ([">"], [_, ..]) => true,
            (["*", pattern @ ..], [_, feed @ ..]) => matches(pattern, feed),
            ([token, pattern @ ..], [same, feed @ ..]) if token == same => matches(pattern, feed),
            _ => false,
        }
    }

    fn all(pattern: &Pattern) -> Vec<Feed> {
        let mut feeds = feeds();
        feeds.retain(|feed| pattern.matches(feed));
        feeds
    }

    fn set(patterns: &[Pattern]) -> Patterns {
        Patterns::new(patterns.to_vec(), 100).unwrap()
    }

    #[test]
    fn wildcards_are_whole_tokens_and_the_rest_comes_last() {
        let error = |text: &str| text.parse::<Pattern>().unwrap_err();
        assert_eq!(error("a.>.b"), InvalidName::RestNotLast);
        assert_eq!(error(""), InvalidName::Empty);
        assert_eq!(error("a..*"), InvalidName::EmptyToken);
        for text in ["a*", "*a", "a.>>", "**", "a.b>"] {
            assert!(
                matches!(error(text), InvalidName::Character { .. }),
                "{text}"
            );
        }
        assert_eq!(
            error(&format!("{}.>", "a".repeat(254))),
            InvalidName::TooLong(256)
        );
    }

    #[test]
    fn a_set_has_between_one_and_so_many_patterns_counted_as_they_were_asked_for() {
        let one: Pattern = "a".parse().unwrap();
        assert_eq!(Patterns::new(Vec::new(), 2), Err(InvalidPatterns::None));
        assert!(Patterns::new(vec![one.clone(); 2], 2).is_ok());
        assert_eq!(
            Patterns::new(vec![one; 3], 2),
            Err(InvalidPatterns::TooMany { count: 3, max: 2 })
        );
    }

    /// The rule as the documentation gives it.
    fn is_pattern(text: &str) -> bool {
        let tokens: Vec<&str> = text.split('.').collect();
        let allowed = |(at, token): (usize, &&str)| match *token {
            "*" => true,
            ">" => at + 1 == tokens.len(),
            token => token.parse::<Feed>().is_ok(),
        };
        text.len() <= 255 && tokens.iter().enumerate().all(allowed)
    }

    proptest! {
        #[test]
        fn a_text_is_a_pattern_just_where_the_rule_says_so_and_prints_as_it_was(
            text in prop_oneof!["([ab*>.]|\\.|[é/ \t\u{0}\u{2028}]){0,8}", "\\PC{0,20}", "(aaaa\\.){49,52}[a*>]{1,9}"],
        ) {
            match text.parse::<Pattern>() {
                Ok(pattern) => {
                    prop_assert!(is_pattern(&text));
                    prop_assert_eq!(pattern.as_str(), text);
                }
                Err(_) => prop_assert!(!is_pattern(&text)),
            }
        }

        #[test]
        fn a_pattern_prints_as_it_was_read(pattern in pattern()) {
            prop_assert_eq!(pattern.to_string().parse::<Pattern>().unwrap(), pattern.clone());
            prop_assert_eq!(pattern.tokens().collect::<Vec<_>>().join("."), pattern.as_str());
        }

        #[test]
        fn every_feed_is_a_pattern_for_itself_alone(name in "[ab]{1,2}(\\.[ab]{1,2}){0,2}") {
            let feed: Feed = name.parse().unwrap();
            let pattern: Pattern = name.parse().unwrap();
            prop_assert_eq!(Pattern::from(&feed), pattern.clone());
            prop_assert_eq!(pattern.exact(), Some(feed.clone()));
            prop_assert_eq!(Patterns::from(pattern.clone()).single(), Some(feed.clone()));
            for other in feeds() {
                prop_assert_eq!(pattern.matches(&other), feed == other);
            }
        }

        #[test]
        fn a_pattern_matches_what_the_rule_says(pattern in pattern()) {
            let tokens: Vec<&str> = pattern.tokens().collect();
            for feed in feeds() {
                let expected = matches(&tokens, &feed.tokens().collect::<Vec<_>>());
                prop_assert_eq!(pattern.matches(&feed), expected, "{}", feed);
            }
        }

        #[test]
        fn a_pattern_covers_another_just_where_it_matches_all_that_the_other_does(
            one in pattern(), other in pattern(),
        ) {
            let expected = all(&other).iter().all(|feed| one.matches(feed));
            prop_assert_eq!(one.covers(&other), expected);
        }

        #[test]
        fn a_set_matches_what_any_of_its_patterns_does(
            patterns in prop::collection::vec(pattern(), 1..6),
        ) {
            let set = set(&patterns);
            for feed in feeds() {
                let expected = patterns.iter().any(|pattern| pattern.matches(&feed));
                prop_assert_eq!(set.matches(&feed), expected, "{}", feed);
            }
            for (one, other) in set.iter().flat_map(|one| set.iter().map(move |other| (one, other))) {
                prop_assert!(one == other || !one.covers(other), "{} covers {}", one, other);
            }
        }

        #[test]
        fn sets_of_the_same_patterns_are_equal_in_any_order_and_however_often_each_is_named(
            patterns in prop::collection::vec(pattern(), 1..6).prop_shuffle(),
            again in subsequence(vec![0, 1, 2, 3, 4], 0..5),
        ) {
            let mut shuffled: Vec<Pattern> = patterns.iter().rev().cloned().collect();
            let again = again.into_iter().filter_map(|index| patterns.get(index).cloned());
            shuffled.extend(again);
            prop_assert_eq!(set(&patterns), set(&shuffled));
        }
    }
}
