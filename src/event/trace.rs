//! Where an event comes from in a trace: W3C Trace Context (<https://www.w3.org/TR/trace-context-1/>).

use std::str::FromStr;

/// The longest `tracestate` that is passed on, in bytes: as much as everyone has to pass on.
const MAX_STATE_BYTES: usize = 512;
/// How many members it has at most.
const MAX_STATE_MEMBERS: usize = 32;
/// How long a `traceparent` of version 00 is; one of another version may go on after a dash.
const PARENT_BYTES: usize = 55;
/// The longest one that is passed on.
const MAX_PARENT_BYTES: usize = 255;

/// The context of a trace, passed on as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    parent: Box<str>,
    state: Option<Box<str>>,
}

/// It is no `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a traceparent is 2, 32, 16 and 2 hexadecimal digits in lower case, joined by dashes, as in `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`"
)]
pub struct InvalidTrace;

impl Trace {
    /// The context that two headers tell; nothing where `parent` is none. What is wrong with `state` alone costs
    /// that alone.
    pub fn read(parent: &str, state: Option<&str>) -> Option<Self> {
        let mut trace: Self = parent.trim_matches([' ', '\t']).parse().ok()?;
        let state = state.map(|state| state.trim_matches([' ', '\t']));
        trace.state = state.filter(|state| is_state(state)).map(Box::from);
        Some(trace)
    }

    /// The value of `traceparent`.
    pub fn parent(&self) -> &str {
        &self.parent
    }

    /// The value of `tracestate`, if there is one.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref()
    }

    /// The trace's id: 32 hexadecimal digits.
    pub fn id(&self) -> &str {
        &self.parent[3..35]
    }

    pub(super) fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.parent.len() + self.state.as_ref().map_or(0, |state| state.len())
    }
}

impl FromStr for Trace {
    type Err = InvalidTrace;

    fn from_str(text: &str) -> Result<Self, InvalidTrace> {
        match is_parent(text) {
            true => Ok(Self {
                parent: text.into(),
                state: None,
            }),
            false => Err(InvalidTrace),
        }
    }
}

/// Section 3.2.2, and for versions to come 4.3.
fn is_parent(text: &str) -> bool {
    let Some((known, rest)) = text.split_at_checked(PARENT_BYTES) else {
        return false;
    };
    let mut fields = known.split('-');
    let mut field = |length: usize| {
        let field = fields.next().unwrap_or_default();
        let digits = field
            .bytes()
            .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        (digits && field.len() == length).then_some(field)
    };
    let (Some(version), Some(trace), Some(parent), Some(_flags)) =
        (field(2), field(32), field(16), field(2))
    else {
        return false;
    };
    let ends = match version {
        "00" => rest.is_empty(),
        "ff" => false,
        _ => {
            let visible = rest.bytes().all(|b| b.is_ascii_graphic());
            rest.is_empty() || (rest.starts_with('-') && visible && text.len() <= MAX_PARENT_BYTES)
        }
    };
    let is_set = |id: &str| id.bytes().any(|b| b != b'0');
    ends && is_set(trace) && is_set(parent)
}

/// Section 3.3.1: a list of members `key=value`.
fn is_state(text: &str) -> bool {
    let members: Vec<&str> = text
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']))
        .filter(|member| !member.is_empty())
        .collect();
    let keys = || members.iter().filter_map(|member| member.split('=').next());
    let unique = keys()
        .enumerate()
        .all(|(at, key)| !keys().take(at).any(|one| one == key));
    text.len() <= MAX_STATE_BYTES
        && (1..=MAX_STATE_MEMBERS).contains(&members.len())
        && unique
        && members.into_iter().all(is_member)
}

fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else {
        return false;
    };
    let is_value = |b: u8| matches!(b, b' '..=b'~') && b != b',' && b != b'=';
    let value_is = (1..=256).contains(&value.len()) && value.bytes().all(is_value);
    let key_is = match key.split_once('@') {
        Some((tenant, system)) => {
            part(tenant, 241, |b| {
                b.is_ascii_lowercase() || b.is_ascii_digit()
            }) && part(system, 14, |b| b.is_ascii_lowercase())
        }
        None => part(key, 256, |b| b.is_ascii_lowercase()),
    };
    key_is && value_is && !value.ends_with(' ')
}

/// A part of a key, and what it may begin with.
fn part(text: &str, most: usize, first: impl Fn(u8) -> bool) -> bool {
    let rest = |b: u8| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'*' | b'/')
    };
    text.len() <= most && text.bytes().next().is_some_and(first) && text.bytes().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_parent_is_taken_as_the_standard_has_it() {
        let trace = Trace::read(PARENT, None).unwrap();
        assert_eq!(trace.parent(), PARENT);
        assert_eq!(trace.id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for later in [
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-comes",
        ] {
            assert_eq!(Trace::read(later, None).unwrap().parent(), later);
        }
        assert!(Trace::read(&format!(" {PARENT}\t"), None).is_some());
    }

    #[test]
    fn what_is_none_is_none() {
        for text in [
            "",
            "00",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01more",
            "00-4bf92f3577b34da6a3ce929d0e0e473-600f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        ] {
            assert_eq!(Trace::read(text, None), None, "{text}");
        }
    }

    #[test]
    fn a_state_that_is_none_costs_the_state_alone() {
        let state = |text: &str| Trace::read(PARENT, Some(text)).unwrap().state;
        for good in [
            "rojo=00f067aa0ba902b7",
            "rojo=1, congo=t61rcWkgMzE",
            "fw529a3039@dt=x y",
            "a=1,,b=2",
        ] {
            assert_eq!(state(good).as_deref(), Some(good));
        }
        let many: Vec<String> = (0..33).map(|n| format!("a{n}=1")).collect();
        let long = format!("a={}", "x".repeat(257));
        for bad in [
            "",
            "rojo",
            "Rojo=1",
            "a=1,a=2",
            "a=",
            "a=b=c",
            "a=\u{e9}",
            &many.join(","),
            &long,
        ] {
            assert_eq!(state(bad), None, "{bad}");
        }
    }
}
