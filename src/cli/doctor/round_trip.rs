//! The way to a server that runs: whether a stream begins at once, and an event comes through.

use super::Finding;
use crate::auth::jwt::LEEWAY;
use crate::cli::remote::{Remote, refusal};
use http::{HeaderMap, Version, header};
use reqwest::{Client, Response};
use std::time::{Duration, SystemTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::{Instant, timeout, timeout_at};

/// How long anything may take. A buffer on the way holds things back for ever.
const PATIENCE: Duration = Duration::from_secs(10);
/// How far a clock may be off; the header tells whole seconds, and takes its time.
const OFF: Duration = Duration::from_secs(3);
/// The most that is read of a stream, in bytes.
const MOST: usize = 64 << 10;

const UNBUFFERED: &str = "have the proxy pass on what comes as it comes: no buffering (nginx: `proxy_buffering off`, and no `proxy_ignore_headers`), no compression, no cache for `/feeds`";

pub(super) async fn look(remote: &Remote) -> Vec<Finding> {
    let mut all = Vec::new();
    if let Err(failed) = try_it(remote, &mut all).await {
        all.push(failed);
    }
    for finding in &mut all {
        finding.what = format!("{}: {}", remote.shown(), finding.what);
    }
    all
}

async fn try_it(remote: &Remote, all: &mut Vec<Finding>) -> Result<(), Finding> {
    let client = remote
        .client()
        .map_err(|error| Finding::fail(format!("{error:#}"), ""))?;
    let feed = format!("doctor.{:08x}", fastrand::u32(..));
    let mut stream = subscribe(remote, &client, &feed).await?;
    all.extend(headers(&stream));
    let mut text = String::new();
    let began = Instant::now();
    until(&mut stream, &mut text, "hub:position")
        .await
        .map_err(|how| Finding::fail(format!("stream: its beginning {how}"), UNBUFFERED))?;
    all.push(Finding::ok(format!(
        "stream: it began {} ms after its head",
        began.elapsed().as_millis()
    )));
    let began = Instant::now();
    publish(remote, &client, &feed).await?;
    until(&mut stream, &mut text, &format!("data: {feed}"))
        .await
        .map_err(|how| {
            Finding::fail(
                format!("stream: an event that was published {how}"),
                UNBUFFERED,
            )
        })?;
    all.push(Finding::ok(format!(
        "stream: an event came through within {} ms",
        began.elapsed().as_millis()
    )));
    Ok(())
}

async fn subscribe(remote: &Remote, client: &Client, feed: &str) -> Result<Response, Finding> {
    let url = remote.feeds(Some(feed));
    // As browsers do: a proxy that compresses streams does it for who takes it.
    let request = client
        .get(url)
        .header(header::ACCEPT, "text/event-stream")
        .header(header::ACCEPT_ENCODING, "gzip, deflate, br");
    let response = answer(remote, request, "stream").await?;
    let kind = response.headers().get(header::CONTENT_TYPE);
    match kind.map(|kind| kind.as_bytes().starts_with(b"text/event-stream")) {
        Some(true) => Ok(response),
        _ => Err(Finding::fail(
            "stream: the answer is none",
            "is that the server, with the path below which it is mounted?",
        )),
    }
}

async fn publish(remote: &Remote, client: &Client, feed: &str) -> Result<(), Finding> {
    let request = client
        .post(remote.feeds(Some(feed)))
        .header(header::CONTENT_TYPE, "text/plain")
        .body(feed.to_owned());
    answer(remote, request, "publish").await.map(drop)
}

/// An answer that says that all is well.
async fn answer(
    remote: &Remote,
    request: reqwest::RequestBuilder,
    what: &str,
) -> Result<Response, Finding> {
    let reached = "is that where clients reach the server, and does it run?";
    let answer = match timeout(PATIENCE, request.send()).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let text = format!("{what}: {}", remote.cause(&error));
            return Err(Finding::fail(text, reached));
        }
        Err(_) => {
            let text = format!("{what}: no answer within {} s", PATIENCE.as_secs());
            return Err(Finding::fail(text, UNBUFFERED));
        }
    };
    if answer.status().is_success() {
        return Ok(answer);
    }
    let change = match answer.status().as_u16() {
        401 | 403 => {
            "give --token with a token that may read and publish to `doctor.>`, or let everyone do so"
        }
        _ => "",
    };
    let refusal = refusal(answer).await;
    Err(Finding::fail(format!("{what}: {refusal}"), change))
}

/// What the head of a stream tells of those on the way.
fn headers(stream: &Response) -> Vec<Finding> {
    let mut all = Vec::new();
    all.extend(clock(stream.headers()));
    if stream.headers().contains_key(header::CONTENT_ENCODING) {
        all.push(Finding::warn(
            "stream: it is compressed on the way, which holds events back until a buffer is full",
            "leave `text/event-stream` out of the proxy's compression",
        ));
    }
    if stream.version() == Version::HTTP_10 {
        all.push(Finding::warn(
            "stream: it comes over HTTP/1.0, so that a connection is made for each request",
            "have the proxy speak HTTP/1.1 or HTTP/2 to clients",
        ));
    }
    all
}

/// How far this machine's clock and the other's are apart, where that one tells its own (RFC 9110, section 6.6.1).
fn clock(headers: &HeaderMap) -> Option<Finding> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let date = OffsetDateTime::parse(&date.replace("GMT", "+0000"), &Rfc2822).ok()?;
    let date = SystemTime::from(date);
    let now = SystemTime::now();
    let apart = now
        .duration_since(date)
        .or_else(|_| date.duration_since(now));
    let apart = apart.unwrap_or_default();
    let what = format!(
        "clock: this one and the server's are {} s apart",
        apart.as_secs()
    );
    let change = "keep both right with NTP: tokens begin and end by them";
    Some(match apart {
        apart if apart > LEEWAY => Finding::fail(what, change),
        apart if apart > OFF => Finding::warn(what, change),
        _ => Finding::ok("clock: this one and the server's agree"),
    })
}

/// Reads on until this has come; the error says how it did not.
async fn until(stream: &mut Response, text: &mut String, what: &str) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    while !text.contains(what) {
        match timeout_at(deadline, stream.chunk()).await {
            Ok(Ok(Some(bytes))) if text.len() + bytes.len() <= MOST => {
                text.push_str(&String::from_utf8_lossy(&bytes));
            }
            Ok(Ok(Some(_))) => return Err("did not come before much else".to_owned()),
            Ok(Ok(None)) => return Err("did not come: the stream has ended".to_owned()),
            Ok(Err(_)) => return Err("did not come: the stream broke".to_owned()),
            Err(_) => {
                let seconds = PATIENCE.as_secs();
                return Err(format!(
                    "did not come within {seconds} s: it is held back on the way"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use http::HeaderValue;

    #[test]
    fn clocks_that_are_apart_are_told_and_fail_where_tokens_would() {
        for (date, verdict) in [
            (SystemTime::now(), Verdict::Ok),
            (SystemTime::now() + Duration::from_secs(20), Verdict::Warn),
            (SystemTime::now() - Duration::from_secs(60), Verdict::Fail),
        ] {
            let date = OffsetDateTime::from(date).format(&Rfc2822).unwrap();
            let date = HeaderValue::try_from(date.replace("+0000", "GMT")).unwrap();
            let headers = HeaderMap::from_iter([(header::DATE, date)]);
            assert_eq!(clock(&headers).unwrap().verdict, verdict);
        }
        assert_eq!(clock(&HeaderMap::new()), None);
    }
}
