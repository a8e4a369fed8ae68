//! Errors as `application/problem+json` (RFC 9457): the one place where errors become responses.

use crate::auth::Denied;
use crate::event::{InvalidName, InvalidPatterns};
use crate::log::AppendError;
use crate::publish::PublishError;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;

/// After how many seconds a client may try again what can't be done now.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

/// What went wrong with a request, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) status: StatusCode,
    pub(crate) detail: String,
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
        let detail = detail.into();
        Self { status, detail }
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

    pub(crate) fn json(&self) -> String {
        let body = Body {
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: &self.detail,
        };
        serde_json::to_string(&body).expect("strings and numbers are JSON")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let form = HeaderValue::from_static("application/problem+json");
        let mut response = (self.status, self.json()).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, form);
        if self.status == StatusCode::REQUEST_TIMEOUT {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if matches!(
            self.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT
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
        Self::new(StatusCode::FORBIDDEN, error.to_string())
    }
}

impl From<PublishError> for Problem {
    fn from(error: PublishError) -> Self {
        let status = match &error {
            PublishError::Denied(_) => StatusCode::FORBIDDEN,
            PublishError::TooLarge { .. } | PublishError::Append(AppendError::TooLarge { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            PublishError::IdempotencyKey => StatusCode::UNPROCESSABLE_ENTITY,
            PublishError::Overload(_) | PublishError::Append(AppendError::NotStored(_)) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
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
