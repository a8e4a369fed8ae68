//! `Accept: application/json`: what there is, at once or as soon as there is something.

use super::Service;
use super::asked::{Asked, Page};
use super::negotiate::Media;
use super::problem::Problem;
use super::stream::{Ending, ended};
use super::subscribe::{REFUSED, closing};
use super::validator::Tag;
use crate::event::Position;
use crate::hub::{Joined, Reader, Signal, Term};
use crate::wire::{Closing, Form};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Where the client goes on, also where the body is one that it has already.
const NEXT: HeaderName = HeaderName::from_static("tidings-next");
/// The most bytes of events in one answer, unless a single one has more.
const MAX_BYTES: usize = 8 << 20;
/// How long the log may take to give what the window does not hold any more.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) async fn answer(
    service: &Service,
    asked: Asked,
    page: Page,
    headers: &HeaderMap,
    term: Option<Term>,
) -> Result<Response, Problem> {
    if let Some(end) = *service.ending.borrow() {
        return Ok(refuse(end.reason));
    }
    let joined = match service.hub.join(asked.patterns, asked.start).await {
        Ok(joined) => joined,
        Err(refusal) => {
            tracing::debug!(%refusal, "a poll was told to come back");
            return Ok(refuse(closing(&refusal)));
        }
    };
    let Some(found) = Found::gather(joined, page, service.ending.clone(), term).await else {
        return Ok(refuse(Closing::Unavailable));
    };
    let mut response = match page.wait.is_zero() {
        true => found.tagged(headers),
        false => found.into_response(),
    };
    if service.credentials.are_taken() {
        keep_private(response.headers_mut(), "private, no-cache");
    }
    Ok(response)
}

/// An answer that depends on who asks is for no cache that others share.
pub(super) fn keep_private(headers: &mut HeaderMap, control: &'static str) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(control));
    headers.append(
        header::VARY,
        HeaderValue::from_static("Authorization, Cookie"),
    );
}

fn refuse(reason: Closing) -> Response {
    let problem = Problem::unavailable(reason);
    let problem = match reason {
        Closing::Drain => problem.closing(), // over the same connection it would come back here
        _ => problem,
    };
    let mut response = problem.into_response();
    response
        .headers_mut()
        .insert(REFUSED, HeaderValue::from_static(reason.as_str()));
    response
}

/// What there is for a reader.
struct Found {
    /// Envelopes and what the hub has to say, joined by commas.
    events: String,
    count: usize,
    limit: usize,
    /// The last position scanned; the last one returned, where a limit was reached.
    next: String,
    full: bool,
    /// Whether the server ends, and the client is to come back over another connection.
    ends: bool,
}

impl Found {
    /// Gathers a page. `None` where nothing can be said for now, as the log does not answer.
    async fn gather(
        joined: Joined,
        page: Page,
        mut ending: Ending,
        term: Option<Term>,
    ) -> Option<Self> {
        // Its place is held for as long as it reads.
        let Joined {
            mut reader,
            place: _place,
            opening,
        } = joined;
        let mut found = Self {
            events: String::new(),
            count: 0,
            limit: page.limit,
            next: opening,
            full: false,
            ends: false,
        };
        let deadline = Instant::now() + page.wait;
        let deadline = term.map_or(deadline, |term| term.ends.min(deadline));
        found.catch_up(&mut reader).await?;
        if found.count == 0 && !page.wait.is_zero() {
            found.wait(&mut reader, deadline, &mut ending).await?;
        }
        Some(found)
    }

    /// Waits for the first event, and takes what has come with it. Where none comes, the position has moved over what
    /// was for others.
    async fn wait(
        &mut self,
        reader: &mut Reader,
        deadline: Instant,
        ending: &mut Ending,
    ) -> Option<()> {
        let mut moment = None;
        tokio::select! {
            biased;
            _ = ended(ending, &mut moment) => self.ends = true,
            signal = reader.next() => {
                self.take(&signal);
                return self.catch_up(reader).await;
            }
            () = sleep_until(deadline) => {}
        }
        if let Some(position) = reader.live_position() {
            self.next = position.to_string();
        }
        Some(())
    }

    /// Takes all that is at hand.
    async fn catch_up(&mut self, reader: &mut Reader) -> Option<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.full {
            match timeout_at(deadline, reader.at_hand()).await {
                Ok(Some(signal)) => self.take(&signal),
                Ok(None) => {
                    self.next = reader.position().to_string();
                    return Some(());
                }
                Err(_) if self.count == 0 => return None,
                Err(_) => return Some(()),
            }
        }
        Some(())
    }

    fn take(&mut self, signal: &Signal) {
        for (line, id) in signal.payloads(Form::Lines) {
            if !self.has_room(line.len()) {
                self.full = true;
                return;
            }
            self.add(&line, id);
        }
        self.full = self.count >= self.limit;
    }

    fn has_room(&self, bytes: usize) -> bool {
        self.count < self.limit && (self.count == 0 || self.events.len() + bytes <= MAX_BYTES)
    }

    fn add(&mut self, line: &Bytes, id: Position) {
        if self.count > 0 {
            self.events.push(',');
        }
        let line = std::str::from_utf8(line).expect("what was written as text is text");
        self.events.push_str(line.trim_ascii_end());
        self.count += 1;
        self.next = id.to_string();
    }

    /// The same, or 304 if the client has these events already, with a tag of the events alone: where nothing
    /// new has come, only the position has moved.
    fn tagged(self, headers: &HeaderMap) -> Response {
        let tag = Tag::of(&self.events);
        let mut response = match tag.is_known(headers) {
            true => (StatusCode::NOT_MODIFIED, headers_of(&self.next)).into_response(),
            false => self.into_response(),
        };
        response.headers_mut().insert(header::ETAG, tag.header());
        response
    }
}

impl IntoResponse for Found {
    fn into_response(self) -> Response {
        let Self {
            events, next, ends, ..
        } = self;
        let kind = [(header::CONTENT_TYPE, Media::Json.as_str())];
        let body = format!("{{\"events\":[{events}],\"next\":\"{next}\"}}\n");
        let mut response = (headers_of(&next), kind, body).into_response();
        if ends {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }
}

/// A cache may keep an answer, and has to ask each time whether it still holds.
fn headers_of(next: &str) -> [(HeaderName, HeaderValue); 3] {
    let next = HeaderValue::from_str(next).expect("an id has letters, digits and a dash");
    [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (
            header::VARY,
            HeaderValue::from_static("Accept, Last-Event-ID"),
        ),
        (NEXT, next),
    ]
}
