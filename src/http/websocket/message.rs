//! The messages of a client, read into what they ask for.

use crate::auth::Secret;
use crate::event::{Feed, Message, Patterns, Trace};
use crate::http::asked::{MAX_LAST, after_id, patterns};
use crate::http::line::{Line, Members, Payload, trace};
use crate::http::problem::Problem;
use crate::hub::Start;
use bytes::Bytes;
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

/// What a message is called in an error.
const WHAT: &str = "message";
/// The longest `ref` that is a string, in bytes.
const MAX_REF: usize = 64;
/// How long a request may wait for its answer, in seconds, and how long one does that does not say.
const MAX_TIMEOUT: f64 = 60.0;
const TIMEOUT: f64 = 5.0;

/// A client's name for something that it asks for: a string or a whole number, as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ref(Box<str>);

/// A message that asks for something.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) reference: Ref,
    pub(super) op: Op,
}

/// What is asked for.
#[derive(Debug)]
pub(super) enum Op {
    Subscribe(Subscribe),
    /// The end of the subscription of this name.
    Unsubscribe(Ref),
    /// A publish, with its idempotency key.
    Publish(Box<Message>, Option<String>),
    Request(Request),
    /// A token or an API key, or nothing.
    Auth(Option<Secret>),
}

/// A subscription.
#[derive(Debug)]
pub(super) struct Subscribe {
    pub(super) patterns: Patterns,
    pub(super) start: Start,
    /// Whether what was published on this connection comes too.
    pub(super) echo: bool,
    /// Whether data that is not UTF-8 comes in binary messages.
    pub(super) binary: bool,
}

/// A question to a backend.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) name: Feed,
    pub(super) content_type: Option<Box<str>>,
    pub(super) trace: Option<Box<Trace>>,
    pub(super) data: Bytes,
    pub(super) timeout: Duration,
    /// Whether it came in a binary message, and is answered in one.
    pub(super) binary: bool,
}

/// A message that can't be read, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) reference: Option<Ref>,
    pub(super) problem: Problem,
}

impl Asked {
    /// Reads a text message, or the line of JSON of a binary one, with the bytes that came beside it.
    pub(super) fn read<'a>(
        members: Result<Members<'a>, Problem>,
        beside: Option<&'a [u8]>,
        max_patterns: usize,
    ) -> Result<Self, Unread> {
        let unread = |problem| Unread {
            reference: None,
            problem,
        };
        let mut members = members.map_err(unread)?;
        let reference = reference(&mut members).map_err(unread)?;
        match Op::read(members, beside, max_patterns) {
            Ok(op) => Ok(Self { reference, op }),
            Err(problem) => Err(Unread {
                reference: Some(reference),
                problem,
            }),
        }
    }
}

/// The members of a message.
pub(super) fn members(text: &[u8]) -> Result<Members<'_>, Problem> {
    Members::parse(text, WHAT)
}

fn reference(members: &mut Members<'_>) -> Result<Ref, Problem> {
    match members.take_raw("ref") {
        Some(raw) => Ref::read("ref", raw),
        None => Err(Problem::unprocessable(
            "the message has no `ref`, under which it would be answered: a string of 1 to 64 bytes, or a whole number",
        )),
    }
}

impl Ref {
    fn read(name: &str, raw: &RawValue) -> Result<Self, Problem> {
        let raw = raw.get();
        let number = || raw.parse::<i64>().ok().map(|number| number.to_string());
        let text = serde_json::from_str::<String>(raw)
            .ok()
            .filter(|text| (1..=MAX_REF).contains(&text.len()));
        let text = text.map(|text| serde_json::Value::String(text).to_string());
        match text.or_else(number) {
            Some(json) => Ok(Self(json.into())),
            None => Err(Problem::unprocessable(format!(
                "`{name}` is a string of 1 to {MAX_REF} bytes, or a whole number of 64 bits"
            ))),
        }
    }
}

/// As JSON.
impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Op {
    fn read<'a>(
        mut members: Members<'a>,
        beside: Option<&'a [u8]>,
        max_patterns: usize,
    ) -> Result<Self, Problem> {
        members.check_unique()?;
        let op: Option<String> = members.take("op", "a string")?;
        let op = op.as_deref().unwrap_or_default();
        if beside.is_some() && !matches!(op, "publish" | "request") {
            return Err(Problem::unprocessable(
                "only `publish` and `request` come in binary messages",
            ));
        }
        let read = match op {
            "subscribe" => Self::Subscribe(Subscribe::take(&mut members, max_patterns)?),
            "unsubscribe" => Self::Unsubscribe(subscription(&mut members)?),
            "publish" => return publish(members, beside),
            "request" => Self::Request(Request::take(&mut members, beside)?),
            "auth" => {
                let token: Option<String> = members.take("token", "a string")?;
                Self::Auth(token.map(Secret::from))
            }
            op => {
                let op = op.escape_debug();
                return Err(Problem::unprocessable(format!(
                    "`{op}` is no op; there are `subscribe`, `unsubscribe`, `publish`, `request` and `auth`"
                )));
            }
        };
        match members.left() {
            None => Ok(read),
            Some(name) => {
                let name = name.escape_debug();
                Err(Problem::unprocessable(format!(
                    "`{name}` is no field of `{op}`"
                )))
            }
        }
    }
}

fn publish<'a>(members: Members<'a>, beside: Option<&'a [u8]>) -> Result<Op, Problem> {
    let mut line = Line::read(members)?;
    line.payload.bytes = beside;
    let (message, key) = line.message(WHAT)?;
    Ok(Op::Publish(Box::new(message), key))
}

fn subscription(members: &mut Members<'_>) -> Result<Ref, Problem> {
    match members.take_raw("sub") {
        Some(raw) => Ref::read("sub", raw),
        None => Err(Problem::unprocessable(
            "the message has no `sub`, the `ref` of the subscription that is to end",
        )),
    }
}

impl Subscribe {
    fn take(members: &mut Members<'_>, max_patterns: usize) -> Result<Self, Problem> {
        let feeds: Option<Vec<String>> = members.take("feeds", "a list of patterns")?;
        let feeds = feeds.filter(|feeds| !feeds.is_empty()).ok_or_else(|| {
            Problem::bad_request(
                "the message has no `feeds`, a list of patterns, as in [\"orders.*\"]",
            )
        })?;
        Ok(Self {
            patterns: patterns(&feeds, max_patterns)?,
            start: start(members)?,
            echo: members.take("echo", "true or false")?.unwrap_or(true),
            binary: members.take("binary", "true or false")?.unwrap_or(false),
        })
    }
}

fn start(members: &mut Members<'_>) -> Result<Start, Problem> {
    let after: Option<String> = members.take("after", "a string")?;
    let last: Option<usize> = members.take("last", "a whole number")?;
    match (after.as_deref().filter(|text| !text.is_empty()), last) {
        (Some(_), Some(_)) => Err(Problem::bad_request(
            "`after` and `last` both say where to start; one of them must go",
        )),
        (None, Some(last)) if last > MAX_LAST => Err(Problem::bad_request(format!(
            "`last` is a whole number, 0 to {MAX_LAST}"
        ))),
        (None, Some(last)) => Ok(Start::Last(last)),
        (None | Some("now"), None) => Ok(Start::Now),
        (Some("start"), None) => Ok(Start::First),
        (Some(id), None) => Ok(after_id(id).0),
    }
}

impl Request {
    fn take<'a>(members: &mut Members<'a>, beside: Option<&'a [u8]>) -> Result<Self, Problem> {
        let name: Option<String> = members.take("name", "a string")?;
        let name = name.ok_or_else(|| {
            Problem::unprocessable("the message has no `name`, as in \"users.get\"")
        })?;
        let name = name.parse().map_err(|error| {
            let name = name.escape_debug();
            Problem::bad_request(format!("`{name}` can't be a request's name: {error}"))
        })?;
        let mut payload = Payload::take(members)?;
        payload.bytes = beside;
        let (data, content_type) = payload.read()?;
        let parent: Option<String> = members.take("traceparent", "a string")?;
        let state: Option<String> = members.take("tracestate", "a string")?;
        let timeout = members.take("timeout", "a number")?.unwrap_or(TIMEOUT);
        if !(timeout > 0.0 && timeout <= MAX_TIMEOUT) {
            return Err(Problem::bad_request(format!(
                "`timeout` is in seconds, above 0 up to {MAX_TIMEOUT}"
            )));
        }
        Ok(Self {
            name,
            content_type,
            trace: trace(parent.as_deref(), state.as_deref()),
            data,
            timeout: Duration::from_secs_f64(timeout),
            binary: beside.is_some(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn read(text: &str) -> Result<Asked, Unread> {
        Asked::read(members(text.as_bytes()), None, 5)
    }

    fn reference() -> impl Strategy<Value = Value> {
        prop_oneof![
            any::<i64>().prop_map(Value::from),
            "\\PC{1,16}".prop_map(Value::from)
        ]
    }

    proptest! {
        #[test]
        fn a_subscription_is_read_as_it_was_written(
            reference in reference(), feeds in prop::collection::btree_set("[a-z]{1,4}", 1..5),
            last in prop::option::of(0usize..2 * MAX_LAST), echo in any::<bool>(), binary in any::<bool>(),
        ) {
            let text = json!({"op": "subscribe", "ref": reference, "feeds": feeds, "last": last, "echo": echo, "binary": binary});
            let read = read(&text.to_string());
            if last.is_some_and(|last| last > MAX_LAST) {
                let unread = read.unwrap_err();
                prop_assert_eq!(unread.reference.unwrap().to_string(), reference.to_string());
                return Ok(());
            }
            let asked = read.unwrap();
            prop_assert_eq!(asked.reference.to_string(), reference.to_string());
            let Op::Subscribe(subscribe) = asked.op else {
                panic!("{:?}", asked.op);
            };
            let names: Vec<_> = subscribe.patterns.iter().map(ToString::to_string).collect();
            prop_assert_eq!(names, feeds.into_iter().collect::<Vec<_>>());
            prop_assert_eq!(subscribe.start, last.map_or(Start::Now, Start::Last));
            prop_assert_eq!((subscribe.echo, subscribe.binary), (echo, binary));
        }

        #[test]
        fn whatever_is_said_is_answered_under_the_ref_that_it_has(
            reference in reference(), op in "(publish|subscribe|unsubscribe|request|auth|sing)",
            members in prop::collection::vec((
                "(feed|feeds|data|after|last|sub|name|timeout|token|encoding|x)",
                "(1|-1|1e999|0\\.5|null|true|\"a\"|\"a\\.\\*\"|\\[\"a\"\\]|\\[\\]|\\{\\}|\"\\\\ud800\"|\"now\")",
            ), 0..4),
        ) {
            let members: String = members.iter().map(|(name, value)| format!(r#","{name}":{value}"#)).collect();
            let text = format!(r#"{{"ref":{reference},"op":"{op}"{members}}}"#);
            match read(&text) {
                Ok(asked) => prop_assert_eq!(asked.reference.to_string(), reference.to_string()),
                Err(Unread { reference: Some(read), problem }) => {
                    prop_assert_eq!(read.to_string(), reference.to_string());
                    prop_assert!(matches!(problem.status.as_u16(), 400 | 422));
                }
                Err(unread) => prop_assert!(serde_json::from_str::<Value>(&text).is_err(), "{:?}", unread),
            }
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..80), beside in any::<bool>()) {
            let beside = beside.then_some(&b"x"[..]);
            prop_assert!(Asked::read(members(&bytes), beside, 5).is_err());
        }
    }
}
