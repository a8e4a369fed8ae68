//! Errors as `application/problem+json` (RFC 9457): the one place where errors become responses.

use super::client;
use super::refusal::{self, Refusal};
use crate::auth::{Denied, REVOKED, Unauthorized};
use crate::clients::Left;
use crate::event::{InvalidName, InvalidPatterns};
use crate::log::{AppendError, RequestError};
use crate::publish::{PublishError, UsedUp};
use crate::wire::Closing;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use std::time::Duration;

/// After how many seconds a client may try again what can't be done now.
const RETRY_AFTER: u64 = 2;

/// The longest detail that is told, in bytes.
const MAX_DETAIL_BYTES: usize = 1024;

/// What went wrong with a request, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
    /// Whether the request's body was left unread, and its connection is of no more use.
    pub(crate) close: bool,
    /// When the client may try again, in seconds, where more is known of that than the status says.
    pub(crate) retry_after: Option<u64>,
    /// What it has left of its rate.
    pub(crate) left: Option<Left>,
    /// Where it is refused for who asks, or from where: why.
    pub(crate) refusal: Option<Box<Refusal>>,
}

/// The members of RFC 9457, section 3.1; `type` is `about:blank`, so that `title` is the status' own.
#[derive(Serialize)]
struct Body<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    /// In seconds, as the header `Retry-After` has it: not every client sees that.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: shortened(detail.into()),
            close: false,
            retry_after: None,
            left: None,
            refusal: None,
        }
    }

    /// It is refused for who asks, or from where.
    pub(crate) fn refusing(self, refusal: Refusal) -> Self {
        Self {
            refusal: Some(Box::new(refusal)),
            ..self
        }
    }

    /// The client may try again in so many seconds.
    pub(crate) fn retrying(self, seconds: u64) -> Self {
        Self {
            retry_after: Some(seconds),
            ..self
        }
    }

    pub(crate) fn closing(self) -> Self {
        Self {
            close: true,
            ..self
        }
    }

    pub(crate) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    pub(crate) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    pub(crate) fn pattern(text: &str, error: &InvalidName) -> Self {
        Self::bad_request(format!("`{}` is no pattern: {error}", text.escape_debug()))
    }

    /// A client that is told why it is not served, and may come back: later, with other credentials, or to another
    /// replica.
    pub(crate) fn unavailable(reason: Closing) -> Self {
        let detail = match reason {
            Closing::Drain => "this replica shuts down; come back, and another one will answer",
            Closing::Overload => "this replica serves as many as it may; come back later",
            Closing::Starting => "this replica is starting; come back in a moment",
            Closing::Unavailable => {
                "the log can't be reached, and is needed to tell what comes after this id; come back later"
            }
            Closing::Token => "the token has expired; come back with another one",
            Closing::Limit => "as many connections are open as one address or one subject may have",
            // Ended, and not refused.
            Closing::Revoked => return Self::new(StatusCode::UNAUTHORIZED, REVOKED),
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// A request that has taken too long; what is not safe (RFC 9110, section 9.2.1) may have been done.
    pub(crate) fn overdue(most: Duration, is_safe: bool) -> Self {
        let most = most.as_secs();
        let (status, advice) = match is_safe {
            true => (StatusCode::SERVICE_UNAVAILABLE, "come back later"),
            false => (
                StatusCode::GATEWAY_TIMEOUT,
                "it may have been done: to be sure, repeat it with the same Idempotency-Key",
            ),
        };
        let detail = format!("there was no answer within {most} s (--request-timeout); {advice}");
        Self::new(status, detail).closing()
    }

    fn retry_after(&self) -> Option<u64> {
        let is_passing = matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
                | StatusCode::INSUFFICIENT_STORAGE
        );
        self.retry_after.or(is_passing.then_some(RETRY_AFTER))
    }

    pub(crate) fn json(&self) -> String {
        let body = Body {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
            retry_after: self.retry_after(),
        };
        serde_json::to_string(&body).expect("strings and numbers are JSON")
    }
}

/// A detail quotes what was sent, which may be as large as a batch: what is too long loses its middle.
fn shortened(detail: String) -> String {
    if detail.len() <= MAX_DETAIL_BYTES {
        return detail;
    }
    let (first, last) = (MAX_DETAIL_BYTES / 2, MAX_DETAIL_BYTES / 4);
    let first = &detail[..detail.floor_char_boundary(first)];
    let last = &detail[detail.ceil_char_boundary(detail.len() - last)..];
    format!("{first} … {last}")
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let form = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, self.json()).into_response();
        refusal::mark(&mut response, &self);
        response.headers_mut().insert(header::CONTENT_TYPE, form);
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, scheme);
        }
        if self.close {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if let Some(left) = self.left {
            client::tell(response.headers_mut(), left);
        }
        if let Some(seconds) = self.retry_after() {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<InvalidPatterns> for Problem {
    fn from(error: InvalidPatterns) -> Self {
        Self::bad_request(error.to_string())
    }
}

impl From<Denied> for Problem {
    fn from(error: Denied) -> Self {
        let (status, refusal) = match error.may_show {
            // Who has shown nothing may be someone who may.
            Some(not_taken) => {
                let missing = Unauthorized::Missing(not_taken);
                let refusal = Refusal::credentials(missing.label(), None);
                (StatusCode::UNAUTHORIZED, refusal)
            }
            None => {
                let refusal = Refusal::grant(error.deed.permission(), error.subject.clone());
                (StatusCode::FORBIDDEN, refusal)
            }
        };
        Self::new(status, error.to_string()).refusing(refusal)
    }
}

impl From<Unauthorized> for Problem {
    fn from(error: Unauthorized) -> Self {
        let status = match error.is_passing() {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => StatusCode::UNAUTHORIZED,
        };
        let refusal = Refusal::credentials(error.label(), error.subject());
        Self::new(status, error.to_string()).refusing(refusal)
    }
}

impl From<UsedUp> for Problem {
    fn from(error: UsedUp) -> Self {
        let detail = error.to_string();
        match error {
            UsedUp::All(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, detail).closing(),
            UsedUp::Client(_) => Self::new(StatusCode::TOO_MANY_REQUESTS, detail)
                .retrying(RETRY_AFTER)
                .closing(),
        }
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let status = match &error {
            RequestError::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            RequestError::NotSent(_) | RequestError::Nobody(_) => StatusCode::SERVICE_UNAVAILABLE,
            RequestError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            RequestError::Unanswered(_) => StatusCode::GATEWAY_TIMEOUT,
            RequestError::Service { code, .. } => {
                StatusCode::from_u16(*code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
            }
        };
        Self::new(status, error.to_string())
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let status = match &error {
            PublishError::Denied(error) => return error.clone().into(),
            PublishError::TooLarge { .. } | PublishError::Append(AppendError::TooLarge { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            PublishError::IdempotencyKey => StatusCode::UNPROCESSABLE_ENTITY,
            PublishError::Overload(_) | PublishError::Append(AppendError::NotStored(_)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            PublishError::Append(AppendError::Full(_)) => StatusCode::INSUFFICIENT_STORAGE,
            PublishError::Append(AppendError::Unknown(_)) => StatusCode::GATEWAY_TIMEOUT,
        };
        let advice = match status {
            StatusCode::GATEWAY_TIMEOUT => {
                "; to be sure, repeat the request with the same Idempotency-Key"
            }
            _ => "",
        };
        Self::new(status, format!("{error}{advice}"))
    }
}
