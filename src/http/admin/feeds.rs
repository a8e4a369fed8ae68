//! `GET /admin/feeds`: the feeds in the window, with the newest event of each.

use super::{Operator, json, limit};
use crate::event::{Data, Position};
use crate::http::problem::Problem;
use crate::http::{Params, Service};
use crate::hub::Newest;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

/// The whole answer.
#[derive(Serialize)]
struct Feeds {
    /// Those with the newest events first.
    feeds: Vec<Feed>,
    /// What to ask for the next ones with, as `after=`.
    next: Option<String>,
    /// How many feeds there are in all, with those that have a reader of their own and no event.
    total: usize,
}

#[derive(Serialize)]
struct Feed {
    feed: String,
    /// How many of its events the window holds.
    events: usize,
    newest: Event,
}

#[derive(Serialize)]
struct Event {
    id: String,
    r#type: String,
    time: String,
    /// Of its data.
    bytes: usize,
}

pub(super) async fn feeds(
    _: Operator,
    State(service): State<Service>,
    params: Params,
) -> Result<Response, Problem> {
    params.check(&["limit", "prefix", "after"])?;
    let limit = limit(&params)?;
    let prefix = params.get("prefix").unwrap_or_default();
    let before = params.get("after").map_or(Ok(u64::MAX), before)?;
    let (found, next) = service.hub.newest_of_feeds(before, prefix, limit).await;
    Ok(json(&Feeds {
        feeds: found.iter().map(feed).collect(),
        next: next.map(|next| Position::before(next + 1).to_string()),
        total: service.hub.usage().feeds,
    }))
}

/// The sequence before which the next page's events stand.
fn before(after: &str) -> Result<u64, Problem> {
    let position: Position = after.parse().map_err(|_| {
        Problem::bad_request("`after` is what `next` of the page before says, as it is")
    })?;
    Ok(position.sequence())
}

fn feed(newest: &Newest) -> Feed {
    let event = newest.entry.event();
    Feed {
        feed: event.message.feed.to_string(),
        events: newest.events,
        newest: Event {
            id: event.position.to_string(),
            r#type: event.message.kind.as_str().to_owned(),
            time: event.time.to_string(),
            bytes: match &event.message.data {
                Data::Bytes(bytes) => bytes.len(),
                Data::Oversize { bytes } => *bytes,
            },
        },
    }
}
