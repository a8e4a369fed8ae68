//! Bodies of publishes: read whole, within the bounds of each and of all together.

use super::Service;
use super::problem::Problem;
use crate::clients::Account;
use crate::publish::Share;
use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt;

/// A body, and what it holds of the bytes that all bodies may hold: to be kept for as long as its bytes are.
pub(super) struct Whole {
    pub(super) bytes: Bytes,
    pub(super) share: Share,
}

/// A body in whole, of this client: of at most `max` bytes, without any coding, and sent within the time that a body may take.
pub(super) async fn read(
    service: &Service,
    headers: &HeaderMap,
    body: Body,
    max: usize,
    what: &str,
    account: Option<Account>,
) -> Result<Whole, Problem> {
    check_codings(headers)?;
    let too_large = || {
        let detail =
            format!("the body is larger than {what} may be: this server takes at most {max} bytes");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail).closing()
    };
    // What is announced need not be waited for.
    if body.size_hint().lower() > max as u64 {
        return Err(too_large());
    }
    let whole = collect(body, service.bodies.share(account), max);
    let Ok(read) = tokio::time::timeout(service.body_timeout, whole).await else {
        let seconds = service.body_timeout.as_secs();
        let detail = format!(
            "the body was not sent within {seconds} s, as long as it may take; nothing was stored"
        );
        return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, detail).closing());
    };
    read?.ok_or_else(too_large)
}

/// All of a body; `None` if that is more than `max` bytes.
///
/// It is copied into one place, chunk by chunk: a chunk is a slice of a buffer of the connection, and a body of
/// many small ones would hold far more than its bytes.
async fn collect(mut body: Body, mut share: Share, max: usize) -> Result<Option<Whole>, Problem> {
    let announced = body.size_hint().upper();
    let most = announced.map_or(max, |most| {
        usize::try_from(most).map_or(max, |m| m.min(max))
    });
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame
            .map_err(|error| Problem::bad_request(format!("the body ended early: {error}")))?;
        let Ok(data) = frame.into_data() else {
            continue; // trailers say nothing to us
        };
        let needed = bytes.len() + data.len();
        if needed > max {
            return Ok(None);
        }
        if needed > bytes.capacity() {
            let room = (2 * bytes.capacity()).min(most).max(needed);
            share.resize(room)?;
            bytes.reserve_exact(room - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    // As an event it is kept for long: without the room that was not needed.
    let bytes = Bytes::from(bytes.into_boxed_slice());
    share.resize(bytes.len())?;
    Ok(Some(Whole { bytes, share }))
}

/// Refuses transfer codings besides `chunked` (RFC 9112, section 6.1), which hyper leaves in the body, and content
/// codings (RFC 9110, section 8.4), of which readers would not be told.
fn check_codings(headers: &HeaderMap) -> Result<(), Problem> {
    let mut transfer = codings(headers, header::TRANSFER_ENCODING);
    let first = transfer.next();
    let plain = first.is_none_or(|coding| coding.eq_ignore_ascii_case(b"chunked"));
    if !plain || transfer.next().is_some() {
        return Err(Problem::new(
            StatusCode::NOT_IMPLEMENTED,
            "the only `Transfer-Encoding` that this server reads is `chunked`, once",
        ));
    }
    let is_identity = |coding: &[u8]| coding.eq_ignore_ascii_case(b"identity");
    match codings(headers, header::CONTENT_ENCODING).all(is_identity) {
        true => Ok(()),
        false => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "this server reads bodies as they are, without a `Content-Encoding`",
        )),
    }
}

fn codings(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(name).iter();
    fields
        .flat_map(|field| field.as_bytes().split(|&byte| byte == b','))
        .map(<[u8]>::trim_ascii)
        .filter(|coding| !coding.is_empty())
}
