//! Requests to backends.

use super::Shared;
use super::headers::pairs;
use super::link::Failure;
use super::message::{CONNECTION, CONTENT_TYPE, SENDER, TRACE_PARENT, TRACE_STATE, allowed};
use crate::event::{Feed, Trace};
use crate::log::{Ask, REQUESTS, Reply, RequestError};
use async_nats::{HeaderMap, HeaderName, HeaderValue, Message};

/// How NATS's service API tells of an error (ADR-32).
const ERROR: &str = "Nats-Service-Error";
const ERROR_CODE: &str = "Nats-Service-Error-Code";
/// The code of an error whose own is none.
const INTERNAL: u16 = 500;

pub(super) async fn request(shared: &Shared, ask: Ask) -> Result<Reply, RequestError> {
    let subject = subject(shared, &ask.name)?;
    let link = &shared.api.link;
    link.answering().map_err(RequestError::NotSent)?;
    let (headers, size) = headers(&ask)?;
    let (bytes, max) = (size + ask.data.len(), link.client().max_payload());
    if bytes > max {
        return Err(RequestError::TooLarge { bytes, max });
    }
    let answer = link
        .ask_within(subject, Some(headers), ask.data, ask.timeout)
        .await;
    match answer {
        Ok(message) => reply(message),
        Err(failure) => Err(explain(ask.name, &failure)),
    }
}

/// The subject of a request, unless what is sent there would be an event.
fn subject(shared: &Shared, name: &Feed) -> Result<String, RequestError> {
    let subject = format!("{REQUESTS}{name}");
    if subject.starts_with(&*shared.prefix) {
        return Err(RequestError::Unsupported(format!(
            "what is sent to `{subject}` is an event here, not a request: --nats-prefix covers it"
        )));
    }
    match allowed(REQUESTS, name) {
        true => Ok(subject),
        false => Err(RequestError::NotSent(format!(
            "`{name}` can't be a subject: none has U+FFFD in it"
        ))),
    }
}

/// The headers of a request, and how many bytes they have on the wire.
fn headers(ask: &Ask) -> Result<(HeaderMap, usize), RequestError> {
    let trace = ask.trace.as_deref();
    let all = [
        (CONNECTION, Some(&*ask.connection)),
        (SENDER, ask.sender.as_deref()),
        (CONTENT_TYPE, ask.content_type.as_deref()),
        (TRACE_PARENT, trace.map(Trace::parent)),
        (TRACE_STATE, trace.and_then(Trace::state)),
    ];
    let mut map = HeaderMap::new();
    let mut bytes = "NATS/1.0\r\n\r\n".len();
    for (name, value) in all {
        let Some(value) = value else { continue };
        let parsed: HeaderValue = value.parse().map_err(|_| {
            RequestError::NotSent(format!(
                "its {name} has a line end in it, which no header may have"
            ))
        })?;
        bytes += name.len() + value.len() + ": \r\n".len();
        map.insert(HeaderName::from_static(name), parsed);
    }
    Ok((map, bytes))
}

/// The answer, or the error that a service has answered with.
fn reply(message: Message) -> Result<Reply, RequestError> {
    let header = |wanted: &str| {
        let headers = message.headers.as_ref()?;
        let mut all = pairs(headers);
        let found = all.find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.to_owned())
    };
    if let Some(code) = header(ERROR_CODE) {
        let text = header(ERROR).unwrap_or_else(|| "the service reports an error".to_owned());
        let code = code.trim().parse().ok();
        let code = code.filter(|code| (400..=599).contains(code));
        return Err(RequestError::Service {
            text,
            code: code.unwrap_or(INTERNAL),
        });
    }
    Ok(Reply {
        content_type: header(CONTENT_TYPE).map(String::into_boxed_str),
        data: message.payload,
    })
}

fn explain(name: Feed, failure: &Failure) -> RequestError {
    let text = failure.to_string();
    match failure {
        Failure::NotConnected(_) | Failure::Invalid(_) | Failure::Refused(_) => {
            RequestError::NotSent(text)
        }
        Failure::NoResponders => RequestError::Nobody(name),
        Failure::Deaf(_) | Failure::TimedOut(_) | Failure::Cut => RequestError::Unanswered(text),
    }
}
