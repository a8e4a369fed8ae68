//! The trie against a list of all patterns.

use super::*;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Up to 127 tokens, most of them the same in many, so that patterns share ways of every length.
fn name(tokens: &'static [&'static str]) -> impl Strategy<Value = String> {
    let some = move |most| prop::collection::vec(select(tokens), 1..most);
    let after_a_run = (0_usize..100, some(16)).prop_map(|(run, rest)| {
        let mut all = vec!["a"; run];
        all.extend(rest);
        all
    });
    prop_oneof![some(5), after_a_run].prop_map(|tokens| tokens.join("."))
}

fn pattern() -> impl Strategy<Value = Pattern> {
    (name(&["a", "b", "*", "aa"]), any::<bool>()).prop_map(|(name, rest)| {
        let text = if rest { format!("{name}.>") } else { name };
        text.parse().unwrap()
    })
}

fn feed() -> impl Strategy<Value = Feed> {
    name(&["a", "b", "aa", "c"]).prop_map(|name| name.parse().unwrap())
}

/// How many nodes there are below one. Each must be needed.
fn nodes(node: &Node<usize>) -> usize {
    let mut count = 0;
    for (label, next) in &node.next {
        assert!(!next.here.is_empty() || next.next.len() > 1, "{label:?}");
        count += 1 + nodes(next);
    }
    count
}

fn check(trie: &Trie<usize>, filed: &[(Pattern, usize)], feeds: &[Feed]) {
    for feed in feeds {
        let mut found = Vec::new();
        trie.find(feed, &mut |value| found.push(value));
        found.sort_unstable();
        let matching = filed.iter().filter(|(pattern, _)| pattern.matches(feed));
        let mut expected: Vec<usize> = matching.map(|(_, value)| *value).collect();
        expected.sort_unstable();
        assert_eq!(found, expected, "of {feed}");
    }
    assert!(nodes(&trie.root) <= 2 * filed.len());
}

proptest! {
    #[test]
    fn it_finds_just_the_patterns_that_match_as_they_come_and_go(
        patterns in prop::collection::vec(pattern(), 1..12),
        moves in prop::collection::vec((any::<bool>(), any::<Index>(), 0_usize..3), 1..40),
        feeds in prop::collection::vec(feed(), 1..8),
    ) {
        let mut trie = Trie::default();
        let mut filed: Vec<(Pattern, usize)> = Vec::new();
        for (comes, index, value) in moves {
            let one = (index.get(&patterns).clone(), value);
            filed.retain(|other| *other != one);
            if comes {
                trie.insert(&one.0, value);
                filed.push(one);
            } else {
                trie.remove(&one.0, value);
            }
            check(&trie, &filed, &feeds);
        }
        filed.iter().for_each(|(pattern, value)| trie.remove(pattern, *value));
        prop_assert!(trie.is_empty());
        prop_assert_eq!(trie.root.next.capacity(), 0);
    }

    #[test]
    fn patterns_match_the_feeds_that_are_made_of_them(
        patterns in prop::collection::vec(pattern(), 1..12),
        token in select(&["a", "b"][..]),
    ) {
        let mut trie = Trie::default();
        let mut filed: Vec<(Pattern, usize)> = Vec::new();
        for (value, pattern) in patterns.into_iter().enumerate() {
            trie.insert(&pattern, value);
            filed.push((pattern, value));
        }
        let feed = |(pattern, _): &(Pattern, usize)| {
            pattern.as_str().replace(['*', '>'], token).parse().unwrap()
        };
        let feeds: Vec<Feed> = filed.iter().map(feed).collect();
        check(&trie, &filed, &feeds);
    }
}

#[test]
fn a_long_pattern_of_its_own_is_one_node() {
    let mut trie = Trie::default();
    let long = format!("{}*", "a.".repeat(126)).parse().unwrap();
    trie.insert(&long, 1);
    assert_eq!(nodes(&trie.root), 1);
    trie.insert(&"a.a.>".parse().unwrap(), 2);
    assert_eq!(nodes(&trie.root), 3);
    trie.remove(&"a.a.>".parse().unwrap(), 2);
    assert_eq!(nodes(&trie.root), 1);
}
