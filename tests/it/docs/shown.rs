//! What a text shows, against what there is.

use std::collections::HashMap;

/// Which of the ids that a text shows is which one in truth.
#[derive(Default)]
pub(super) struct Ids(HashMap<String, String>);

impl Ids {
    /// A text with the true ids in the place of those that were shown before.
    pub(super) fn put_into(&self, text: &str) -> String {
        let known = |word| self.0.get(word).map_or(word, String::as_str);
        words(text).into_iter().map(known).collect()
    }

    /// Whether a line is the one that is shown. An id is another one each time, but has the same sequence, and is the same
    /// wherever the text shows it; so are times, and for how long `retry:` has a client wait. `…` at the begin or the
    /// end of a line stands for what is not shown of it.
    pub(super) fn agree(&mut self, shown: &str, line: &str) -> bool {
        let (shown, line) = (without_times(shown), without_times(line));
        if is_retry(&shown) && is_retry(&line) {
            return true;
        }
        let (shown, mut line) = (words(&shown), words(&line));
        let shown = match shown.split_first() {
            Some((&"…", shown)) if shown.len() <= line.len() => {
                line.drain(..line.len() - shown.len());
                shown
            }
            _ => &shown,
        };
        if shown.last().is_some_and(|last| last.ends_with('…')) {
            line.truncate(shown.len());
        }
        let pairs = || shown.iter().copied().zip(line.iter().copied());
        let agree = shown.len() == line.len() && pairs().all(|(shown, word)| self.is(shown, word));
        if agree {
            let ids = pairs().filter(|(shown, _)| sequence(shown).is_some());
            let ids = ids.map(|(shown, word)| (shown.to_owned(), word.to_owned()));
            self.0.extend(ids);
        }
        agree
    }

    fn is(&self, shown: &str, word: &str) -> bool {
        if let Some(begin) = shown.strip_suffix('…') {
            return word.starts_with(begin);
        }
        match (self.0.get(shown), sequence(shown)) {
            (Some(known), _) => known == word,
            // Zeros stand for an event that the log does not hold any more.
            (None, Some(wanted)) => {
                sequence(word) == Some(wanted)
                    && shown.ends_with("-000000") == word.ends_with("-000000")
            }
            (None, None) => shown == word,
        }
    }
}

/// An id's sequence, where the word is one.
fn sequence(word: &str) -> Option<u64> {
    let (sequence, check) = word.split_once('-')?;
    let is_check = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_id = check.len() == 6 && check.chars().all(is_check);
    is_id.then(|| sequence.parse().ok())?
}

fn is_retry(line: &str) -> bool {
    let rest = line.strip_prefix("retry: ");
    rest.is_some_and(|rest| rest.parse::<u32>().is_ok())
}

/// The words of a text, and what is between them.
fn words(text: &str) -> Vec<&str> {
    let is_of_a_word = |c: char| c.is_alphanumeric() || "-_.…".contains(c);
    let mut words = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let end = match is_of_a_word(first) {
            true => rest.find(|c| !is_of_a_word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        let (word, after) = rest.split_at(end);
        words.push(word);
        rest = after;
    }
    words
}

/// The text with each time, as in `2026-11-22T15:04:05.123Z`, replaced by a word.
fn without_times(text: &str) -> String {
    const FORM: &str = "0000-00-00T00:00:00.000Z";
    let mut out = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let time = rest.get(..FORM.len()).filter(|time| {
            let form: String = time
                .chars()
                .map(|c| if c.is_ascii_digit() { '0' } else { c })
                .collect();
            form == FORM
        });
        let taken = time.map_or(first.len_utf8(), str::len);
        out += time.map_or(&rest[..taken], |_| "TIME");
        rest = &rest[taken..];
    }
    out
}

#[test]
fn ids_are_followed_through_a_text() {
    let mut ids = Ids::default();
    assert!(ids.agree("id: 0-0", "id: 0-0"));
    assert!(ids.agree("id: 1-aaaaaa", "id: 1-x7x7x7"));
    assert!(!ids.agree("id: 1-aaaaaa", "id: 1-y7y7y7"));
    assert!(!ids.agree("id: 2-bbbbbb", "id: 3-y7y7y7"));
    assert!(!ids.agree("id: 2-bbbbbb", "id: 2-000000"));
    assert_eq!(ids.put_into("x=\"1-aaaaaa\""), "x=\"1-x7x7x7\"");
    assert!(ids.agree("retry: 2131", "retry: 1"));
    assert!(ids.agree("… head=0-0", "2026-11-22 INFO head=0-0"));
    assert!(!ids.agree("… head=0-0", "2026-11-22 INFO tail=0-0"));
    assert!(ids.agree("eu at…", "eu at3 or more"));
    assert!(ids.agree("eyJ…", "eyJhbG.ciO_i-J9"));
    assert!(ids.agree(
        r#""time":"2026-11-22T15:04:05.123Z"}"#,
        r#""time":"2027-01-01T00:00:00.000Z"}"#
    ));
    assert!(!ids.agree("data: {\"n\":1}", "data: {\"n\":2}"));
}
