//! From a feed's name to whoever has a pattern with wildcards that matches it.
//!
//! A way that only one pattern takes is one node, however many tokens it has: there are at most two nodes for
//! each pattern, and their text is that of the patterns.

use crate::event::{Feed, Pattern};
use hashbrown::HashMap;
use std::borrow::Borrow;
use std::hash::{Hash, Hasher};
use std::ops::Range;

/// Values filed under patterns, found by the names that these match.
#[derive(Debug)]
pub(super) struct Trie<T> {
    root: Node<T>,
}

/// What a pattern takes beside its text, in bytes and about: two nodes, and their places in those above.
pub(super) const NODES_BYTES: usize = 2 * (size_of::<Node<usize>>() + 96);

/// Where patterns end or part. It has a value or leads to at least two others, but for the root.
#[derive(Debug)]
struct Node<T> {
    /// Values whose pattern ends here, sorted.
    here: Vec<T>,
    /// By the first token on the way to them.
    next: HashMap<Label, Box<Self>>,
}

/// The tokens on the way from one node to the next, which stands in its map for the first of them.
#[derive(Clone, Debug)]
struct Label {
    /// One that takes this way, be it no longer filed.
    pattern: Pattern,
    /// Where the way is in its text.
    range: Range<u8>,
}

impl<T> Default for Trie<T> {
    fn default() -> Self {
        let root = Node::default();
        Self { root }
    }
}

impl<T> Default for Node<T> {
    fn default() -> Self {
        Self {
            here: Vec::new(),
            next: HashMap::new(),
        }
    }
}

impl<T: Copy + Ord> Trie<T> {
    /// Files `value` under `pattern`, where it is not filed yet.
    pub(super) fn insert(&mut self, pattern: &Pattern, value: T) {
        self.root.insert(Some(Label::whole(pattern)), value);
    }

    /// Takes back an `insert` of the same pattern and value.
    pub(super) fn remove(&mut self, pattern: &Pattern, value: T) {
        self.root.remove(Some(pattern.as_str()), value);
    }

    /// Calls `found` with each value that has a pattern which matches `feed`, once for each such pattern.
    pub(super) fn find(&self, feed: &Feed, found: &mut impl FnMut(T)) {
        self.root.find(Some(feed.as_str()), found);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.root.is_empty()
    }
}

impl<T: Copy + Ord> Node<T> {
    fn is_empty(&self) -> bool {
        self.here.is_empty() && self.next.is_empty()
    }

    /// Files a value where `way` leads from here.
    fn insert(&mut self, way: Option<Label>, value: T) {
        let Some(way) = way else {
            return self.insert_here(value);
        };
        let Some((known, mut node)) = self.next.remove_entry(way.first()) else {
            let mut leaf = Box::<Self>::default();
            leaf.insert_here(value);
            self.next.insert(way, leaf);
            return;
        };
        let shared = known.shared(&way);
        let (head, tail) = known.split(shared);
        if let Some(tail) = tail {
            let below = std::mem::take(&mut node);
            node.next.insert(tail, below);
        }
        node.insert(way.split(shared).1, value);
        self.next.insert(head, node);
    }

    fn insert_here(&mut self, value: T) {
        if let Err(at) = self.here.binary_search(&value) {
            if self.here.is_empty() {
                self.here.reserve_exact(1); // most have one
            }
            self.here.insert(at, value);
        }
    }

    /// Takes a value away from where `way` leads.
    fn remove(&mut self, way: Option<&str>, value: T) {
        let Some(way) = way else {
            return self.remove_here(value);
        };
        let Some((label, mut node)) = self.next.remove_entry(split_first(way).0) else {
            return;
        };
        if let Some(rest) = label.strip(way) {
            node.remove(rest, value);
        }
        if !node.is_empty() {
            let (label, node) = node.merged(label);
            self.next.insert(label, node);
        } else if self.next.len() <= self.next.capacity() / 4 {
            self.next.shrink_to(2 * self.next.len());
        }
    }

    fn remove_here(&mut self, value: T) {
        if let Ok(at) = self.here.binary_search(&value) {
            self.here.remove(at);
            if self.here.len() <= self.here.capacity() / 4 {
                self.here.shrink_to(2 * self.here.len());
            }
        }
    }

    /// It and the label that leads to it; if it only leads on to one node, then that one.
    fn merged(mut self: Box<Self>, label: Label) -> (Label, Box<Self>) {
        if self.here.is_empty()
            && self.next.len() == 1
            && let Some((below, node)) = self.next.drain().next()
        {
            return (label.joined(below), node);
        }
        (label, self)
    }

    fn find(&self, name: Option<&str>, found: &mut impl FnMut(T)) {
        let Some(name) = name else {
            return self.here.iter().copied().for_each(found);
        };
        for first in [split_first(name).0, "*", ">"] {
            if let Some((label, node)) = self.next.get_key_value(first)
                && let Some(rest) = label.pass(name)
            {
                node.find(rest, found);
            }
        }
    }
}

impl Label {
    fn whole(pattern: &Pattern) -> Self {
        let end = u8::try_from(pattern.as_str().len());
        Self {
            pattern: pattern.clone(),
            range: 0..end.expect("a pattern has at most 255 bytes"),
        }
    }

    fn text(&self) -> &str {
        &self.pattern.as_str()[usize::from(self.range.start)..usize::from(self.range.end)]
    }

    fn first(&self) -> &str {
        split_first(self.text()).0
    }

    /// How many bytes long the tokens are with which both begin; the first is the same.
    fn shared(&self, other: &Self) -> usize {
        let (mut mine, mut theirs) = (Some(self.text()), Some(other.text()));
        let mut length = 0;
        while let (Some(one), Some(two)) = (mine, theirs) {
            let (token, rest) = split_first(one);
            let (other, others) = split_first(two);
            if token != other {
                break;
            }
            length += token.len() + 1;
            (mine, theirs) = (rest, others);
        }
        length - 1
    }

    /// Its beginning of so many bytes, and what comes after that and its dot.
    fn split(self, length: usize) -> (Self, Option<Self>) {
        let Range { start, end } = self.range;
        let middle = start + u8::try_from(length).expect("it is no longer than itself");
        let head = Self {
            pattern: self.pattern.clone(),
            range: start..middle,
        };
        let tail = (middle < end).then(|| Self {
            pattern: self.pattern,
            range: middle + 1..end,
        });
        (head, tail)
    }

    /// The way of both, of which `next` goes on where this ends: so its pattern takes this way too.
    fn joined(self, next: Self) -> Self {
        Self {
            range: self.range.start..next.range.end,
            ..next
        }
    }

    /// What comes after it in the rest of a pattern that goes this way.
    fn strip<'a>(&self, way: &'a str) -> Option<Option<&'a str>> {
        let rest = way.strip_prefix(self.text())?;
        match rest.is_empty() {
            true => Some(None),
            false => rest.strip_prefix('.').map(Some),
        }
    }

    /// What comes after it in the rest of a name that it matches the beginning of.
    fn pass<'a>(&self, name: &'a str) -> Option<Option<&'a str>> {
        let (mut way, mut name) = (Some(self.text()), Some(name));
        while let Some(tokens) = way {
            let (mine, rest) = split_first(tokens);
            let (theirs, others) = split_first(name?);
            match mine {
                ">" => return Some(None),
                "*" => {}
                mine if mine == theirs => {}
                _ => return None,
            }
            (way, name) = (rest, others);
        }
        Some(name)
    }
}

/// As it is found in a node: by its first token.
impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        self.first()
    }
}

impl Hash for Label {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.first().hash(state);
    }
}

impl PartialEq for Label {
    fn eq(&self, other: &Self) -> bool {
        self.first() == other.first()
    }
}

impl Eq for Label {}

/// The first token, and what comes after its dot.
fn split_first(tokens: &str) -> (&str, Option<&str>) {
    // Tokens are short: to search for the dot byte by byte is the fastest.
    match tokens.bytes().position(|byte| byte == b'.') {
        Some(dot) => (&tokens[..dot], Some(&tokens[dot + 1..])),
        None => (tokens, None),
    }
}

#[cfg(test)]
mod tests;
