//! Errors as `application/problem+json` (RFC 9457): the one place where errors become responses.

use crate::auth::{Denied, Unauthorized};
use crate::event::{InvalidName, InvalidPatterns};
use crate::log::{AppendError, RequestError};
use crate::publish::{PublishError, UsedUp};
use crate::wire::Closing;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// After how many seconds a client may try again what can't be done now.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// The longest detail that is told, in bytes.
const MAX_DETAIL_BYTES: usize = 1024;

/// What went wrong with a request, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
    /// Whether the request's body was left unread, and its connection is of no more use.
    pub(crate) close: bool,
}

/// The members of RFC 9457, section 3.1; `type` is `about:blank`, so that `title` is the status' own.
#[derive(Serialize)]
struct Body<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: shortened(detail.into()),
            close: false,
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

    /// A client that is to come back later, or to another replica.
    pub(crate) fn unavailable(reason: Closing) -> Self {
        let detail = match reason {
            Closing::Drain => "this replica shuts down; come back, and another one will answer",
            Closing::Overload => "this replica serves as many as it may; come back later",
            Closing::Starting => "this replica is starting; come back in a moment",
            Closing::Unavailable => {
                "the log can't be reached, and is needed to tell what comes after this id; come back later"
            }
            Closing::Token => "the token has expired; come back with another one",
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    pub(crate) fn json(&self) -> String {
        let body = Body {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
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
        if matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
                | StatusCode::INSUFFICIENT_STORAGE
        ) {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, RETRY_AFTER);
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
        Self::new(denied(&error), error.to_string())
    }
}

/// Who has shown nothing may be someone who may.
fn denied(error: &Denied) -> StatusCode {
    match error.may_show {
        true => StatusCode::UNAUTHORIZED,
        false => StatusCode::FORBIDDEN,
    }
}

impl From<Unauthorized> for Problem {
    fn from(error: Unauthorized) -> Self {
        let status = match error.is_passing() {
            true => StatusCode::SERVICE_UNAVAILABLE,
            false => StatusCode::UNAUTHORIZED,
        };
        Self::new(status, error.to_string())
    }
}

impl From<UsedUp> for Problem {
    fn from(error: UsedUp) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).closing()
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
            PublishError::Denied(error) => denied(error),
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
