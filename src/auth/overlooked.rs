//! What was written down to grant something, and grants nothing: `/explain` tells it.

use super::template::Unfilled;

/// How much of each is kept for one caller.
pub const MOST: usize = 20;
/// How many characters of a name are kept.
const LONGEST_NAME: usize = 64;

/// What grants nothing to a caller, as far as it is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlooked {
    /// Grants whose claim is not there.
    pub skipped: Vec<Skipped>,
    /// Names in a token's claim `tidings` that stand for nothing.
    pub unknown: Vec<String>,
}

/// A grant that could not be filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// What it would grant: `subscribe`, `publish` or `request`.
    pub permission: &'static str,
    /// As it is written down.
    pub grant: String,
    /// Why it grants nothing.
    pub reason: Unfilled,
}

impl Overlooked {
    /// Keeps a grant, if there is room.
    pub(super) fn skip(&mut self, skipped: impl FnOnce() -> Skipped) {
        if self.skipped.len() < MOST {
            self.skipped.push(skipped());
        }
    }

    /// Keeps names, as far as there is room.
    pub(super) fn pass_over<'a>(&mut self, names: impl Iterator<Item = &'a String>) {
        let cut = |name: &String| name.chars().take(LONGEST_NAME).collect();
        let room = MOST - self.unknown.len();
        self.unknown.extend(names.take(room).map(cut));
    }
}
