//! `Accept: application/json`: what there is, at once or as soon as there is something.

use super::Service;
use super::asked::{Asked, Page};
use super::negotiate::Media;
use super::page::Events;
use super::problem::Problem;
use super::stream::ended;
use super::subscribe::{Held, Way, closing, refused};
use super::validator::Tag;
use crate::clients::Seat;
use crate::hub::{Joined, Notices, Place, Reader, Signal};
use crate::metrics::{ANSWERED, OpenStream, Transport};
use crate::publish::UsedUp;
use crate::wire::{Closing, Form};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{self, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// Where the client goes on, also where the body is one that it has already.
const NEXT: HeaderName = HeaderName::from_static("tidings-next");
/// The most bytes of events in one answer, unless a single one has more.
const MAX_BYTES: usize = 8 << 20;
/// How long the log may take to give what the window does not hold any more: then the answer is what has been found until
/// then, if only how far that was.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn answer(
    service: &Service,
    way: Way,
    asked: Asked,
    page: Page,
    headers: &HeaderMap,
    held: Held,
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
    let open = way.open(service, Transport::Poll, &held);
    let found = match Found::gather(service, joined, page, held, open).await {
        Ok(found) => found,
        Err(reason) => return Ok(refuse(reason)),
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
    refused(problem.into_response(), reason)
}

/// What there is for a reader.
struct Found {
    /// Envelopes, and what the hub has to say.
    events: Events,
    /// How many of them tell of a gap or a reset.
    notices: Notices,
    limit: usize,
    /// How much they may hold.
    most: usize,
    /// The last position scanned; the last one returned, where a limit was reached.
    next: String,
    full: bool,
    /// Whether the server ends, and the client is to come back over another connection.
    ends: bool,
    /// Held until all of it is sent.
    place: Place,
    seat: Seat,
    open: OpenStream,
}

impl Found {
    /// Gathers a page, or says why there is none for now.
    async fn gather(
        service: &Service,
        joined: Joined,
        page: Page,
        held: Held,
        open: OpenStream,
    ) -> Result<Self, Closing> {
        let Joined {
            mut reader,
            place,
            opening,
        } = joined;
        let mut found = Self {
            events: Events::new(service.pages.share(held.account)),
            notices: Notices::default(),
            limit: page.limit,
            most: MAX_BYTES.min(service.pages.max()),
            next: opening,
            full: false,
            ends: false,
            place,
            seat: held.seat,
            open,
        };
        // Of the time that a request may take, as much is left for what is found.
        let deadline = Instant::now() + page.wait.min(service.request_timeout.mul_f64(0.8));
        let deadline = held.term.map_or(deadline, |term| term.ends.min(deadline));
        let gathered = async {
            found.catch_up(&mut reader, service.hub.head()).await?;
            if found.events.len() == 0 && !page.wait.is_zero() {
                found.wait(service, &mut reader, deadline).await?;
            }
            Ok(())
        };
        if let Err(reason) = gathered.await {
            found.open.closes(reason);
            return Err(reason);
        }
        reader.count(found.notices);
        Ok(found)
    }

    /// Waits for the first event, and takes what has come with it. Where none comes, the position has moved over what
    /// was for others.
    async fn wait(
        &mut self,
        service: &Service,
        reader: &mut Reader,
        deadline: Instant,
    ) -> Result<(), Closing> {
        let (mut ending, mut moment) = (service.ending.clone(), None);
        tokio::select! {
            biased;
            _ = ended(&mut ending, &mut moment) => self.ends = true,
            () = self.seat.revoked() => return Err(Closing::Revoked),
            signal = reader.hear() => {
                self.take(&signal)?;
                reader.observe(&signal);
                return self.catch_up(reader, service.hub.head()).await;
            }
            () = sleep_until(deadline) => {}
        }
        if let Some(position) = reader.live_position() {
            self.next = position.to_string();
        }
        Ok(())
    }

    /// Takes all that is at hand up to the sequence `end`.
    async fn catch_up(&mut self, reader: &mut Reader, end: u64) -> Result<(), Closing> {
        let deadline = Instant::now() + PATIENCE;
        let before = reader.position();
        while !self.full {
            match timeout_at(deadline, reader.at_hand(end)).await {
                Ok(Some(signal)) => self.take(&signal)?,
                Ok(None) => {
                    self.next = reader.position().to_string();
                    return Ok(());
                }
                Err(_) if self.events.len() == 0 && reader.position() == before => {
                    return Err(Closing::Unavailable);
                }
                Err(_) => {
                    self.next = reader.position().to_string();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, signal: &Signal) -> Result<(), Closing> {
        for told in signal.each(Form::Lines, |_| true) {
            if !self.has_room(told.bytes.len()) {
                self.full = true;
                return Ok(());
            }
            let added = self.events.add(told.bytes);
            added.map_err(|_: UsedUp| Closing::Overload)?;
            self.notices = [self.notices, told.notices].into_iter().sum();
            self.next = told.id.to_string();
        }
        self.full = self.events.len() >= self.limit;
        Ok(())
    }

    fn has_room(&self, bytes: usize) -> bool {
        let fits = || self.events.cost_with(bytes) <= self.most;
        match self.events.len() {
            0 => true,
            count => count < self.limit && fits(),
        }
    }

    /// The same, or 304 if the client has these events already, with a tag of the events alone: where nothing
    /// new has come, only the position has moved.
    fn tagged(self, headers: &HeaderMap) -> Response {
        let tag = Tag::of(self.events.parts());
        let mut response = match tag.is_known(headers) {
            true => {
                let Self { mut open, next, .. } = self;
                open.ends(ANSWERED);
                (StatusCode::NOT_MODIFIED, headers_of(&next)).into_response()
            }
            false => self.into_response(),
        };
        response.headers_mut().insert(header::ETAG, tag.header());
        response
    }

    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, Media::Json.as_str())];
        let body = self
            .events
            .into_pieces(&self.next, self.place, self.seat, self.open);
        let head = (headers_of(&self.next), kind);
        let mut response = (head, Body::new(body)).into_response();
        if self.ends {
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
