//! What a request for events says: which, from where on, and in which form.

use super::negotiate::{self, Media};
use super::problem::Problem;
use super::{Params, Service};
use crate::event::{Pattern, Patterns, Position};
use crate::hub::Start;
use crate::wire::Form;
use http::{HeaderMap, StatusCode};
use std::time::Duration;

const LAST_EVENT_ID: &str = "last-event-id";
/// What the URL of a request for events may say.
const PARAMETERS: [&str; 8] = [
    "feed",
    "after",
    "lastEventId",
    "lastEventID",
    "last",
    "envelope",
    "wait",
    "limit",
];
/// Where to begin: the names of clients that add it when they come back, to a URL that may have our own, and our own.
const AFTER: [&str; 3] = ["lastEventId", "lastEventID", "after"];
/// The most events that `last=` may ask for.
pub(super) const MAX_LAST: usize = 1000;
/// The most events that `limit=` may ask for, and how many come where it is not said.
const MAX_LIMIT: usize = 1000;
const LIMIT: usize = 100;
/// The longest that `wait=` may ask for, in seconds: proxies close what is silent for a minute.
const MAX_WAIT: u8 = 50;

/// What a request for events says.
pub(super) struct Asked {
    pub(super) patterns: Patterns,
    pub(super) start: Start,
    /// The id with which the client came, to be given back where it can't be served now.
    pub(super) id: Option<String>,
    pub(super) answer: Answer,
}

/// How it is to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// With events as they come.
    Stream(Form),
    /// With what there is.
    Page(Page),
}

/// How much a page holds at most, and how long one waits for its first event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) limit: usize,
    pub(super) wait: Duration,
}

impl Asked {
    pub(super) fn read(
        service: &Service,
        patterns: &[String],
        params: &Params,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let Some(media) = negotiate::preferred(headers) else {
            let detail = format!(
                "feeds are served as {}; the Accept header allows none of these",
                negotiate::served()
            );
            return Err(Problem::new(StatusCode::NOT_ACCEPTABLE, detail));
        };
        params.check(&PARAMETERS)?;
        let patterns = self::patterns(patterns, service.max_patterns)?;
        let (start, id) = start(params, headers)?;
        Ok(Self {
            patterns,
            start,
            id,
            answer: answer(media, params)?,
        })
    }
}

/// Patterns of which one may ask for so many at most.
pub(super) fn patterns(texts: &[String], most: usize) -> Result<Patterns, Problem> {
    let parse = |text: &String| {
        text.parse::<Pattern>()
            .map_err(|error| Problem::pattern(text, &error))
    };
    let patterns = texts.iter().map(parse).collect::<Result<_, _>>()?;
    Ok(Patterns::new(patterns, most)?)
}

fn answer(media: Media, params: &Params) -> Result<Answer, Problem> {
    let envelope = params.switch("envelope")?;
    if media == Media::Json {
        let limit = number(params, "limit", 1, MAX_LIMIT)?.unwrap_or(LIMIT);
        let wait = number(params, "wait", 0, usize::from(MAX_WAIT))?.unwrap_or(0);
        let wait = Duration::from_secs(wait as u64);
        return Ok(Answer::Page(Page { limit, wait }));
    }
    if let Some(name) = ["wait", "limit"]
        .into_iter()
        .find(|name| params.get(name).is_some())
    {
        return Err(Problem::bad_request(format!(
            "`{name}` goes with `Accept: application/json`; what comes here is a stream, {}",
            media.as_str()
        )));
    }
    Ok(Answer::Stream(match (media, envelope) {
        (Media::EventStream, true) => Form::SseEnvelope,
        (Media::EventStream, false) => Form::Sse,
        (Media::Ndjson | Media::Json, _) => Form::Lines,
    }))
}

/// Where to start: the header before the parameters, so that a client which comes back goes on from its
/// last event, whatever its URL says. Only ids come in the header: `now` and `start` are words of the URL.
fn start(params: &Params, headers: &HeaderMap) -> Result<(Start, Option<String>), Problem> {
    let header = headers.get(LAST_EVENT_ID).filter(|value| !value.is_empty());
    let header = header.map(|value| value.to_str().unwrap_or("?"));
    let last = number(params, "last", 0, MAX_LAST)?;
    let named = AFTER.iter().find_map(|name| params.get(name));
    let after = named.filter(|text| !text.is_empty());
    if header.is_none() && after.is_some() && last.is_some() {
        return Err(Problem::bad_request(
            "`after` and `last` both say where to start; one of them must go",
        ));
    }
    Ok(match (header, after) {
        (Some(id), _) => after_id(id),
        (None, Some("now")) => (Start::Now, None),
        (None, Some("start")) => (Start::First, None),
        (None, Some(id)) => after_id(id),
        (None, None) => (last.map_or(Start::Now, Start::Last), None),
    })
}

pub(super) fn after_id(text: &str) -> (Start, Option<String>) {
    match text.parse::<Position>() {
        Ok(position) => (Start::After(position), Some(text.to_owned())),
        Err(_) => (Start::Unknown, Some(crate::hub::NO_ID.to_owned())),
    }
}

/// A parameter that is a whole number within these bounds.
fn number(
    params: &Params,
    name: &str,
    least: usize,
    most: usize,
) -> Result<Option<usize>, Problem> {
    let Some(text) = params.get(name) else {
        return Ok(None);
    };
    // `usize::from_str` would take a sign and leading zeros.
    let plain = text == "0" || !text.starts_with(['0', '+']);
    let parsed = text.parse().ok();
    match parsed.filter(|number| plain && (least..=most).contains(number)) {
        Some(number) => Ok(Some(number)),
        None => Err(Problem::bad_request(format!(
            "`{name}` is a whole number, {least} to {most}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn params(name: &str, value: &str) -> Params {
        Params(vec![(name.to_owned(), value.to_owned())])
    }

    proptest! {
        #[test]
        fn the_header_decides_wherever_there_is_one_and_is_an_id_or_a_reset(
            header in prop_oneof!["[0-9]{1,4}-[0-9a-z]{6}", "(now|start|0-0)", "[ -~]{1,20}"],
            name in prop::sample::select(vec!["after", "last", "lastEventId", "_"]),
            value in "[1-9][0-9]{0,2}",
        ) {
            let value_of_header = HeaderValue::from_str(&header).unwrap();
            let headers = HeaderMap::from_iter([(LAST_EVENT_ID.parse().unwrap(), value_of_header)]);
            let (start, id) = start(&params(name, &value), &headers).unwrap();
            match header.parse() {
                Ok(position) => prop_assert_eq!((start, id), (Start::After(position), Some(header))),
                Err(_) => prop_assert_eq!((start, id.as_deref()), (Start::Unknown, Some(crate::hub::NO_ID))),
            }
        }

        #[test]
        fn whatever_bytes_the_header_has_it_is_no_error(bytes in prop::collection::vec(32u8.., 1..40)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers = HeaderMap::from_iter([(LAST_EVENT_ID.parse().unwrap(), value)]);
                prop_assert!(start(&Params(Vec::new()), &headers).is_ok());
            }
        }

        #[test]
        fn a_number_is_written_in_one_way_and_within_its_bounds(
            text in prop_oneof!["[0-9]{0,5}", "[-+ 0-9.e_x]{0,4}", "\\PC{0,6}"], least in 0usize..3, most in 3usize..2000,
        ) {
            let read = number(&params("n", &text), "n", least, most);
            let expected = (least..=most).find(|number| number.to_string() == text);
            prop_assert_eq!(read.ok().flatten(), expected);
        }
    }
}
