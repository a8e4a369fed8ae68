//! `POST /feeds`: many events, one a line.

use super::body::{Whole, read};
use super::client::Client;
use super::line::{Line, Members};
use super::problem::Problem;
use super::publish::{receipt, take_publish, text, trace};
use super::refusal;
use super::server::Cut;
use super::{Params, Service};
use crate::auth::Caller;
use crate::clients::Account;
use crate::event::Trace;
use crate::metrics::Way;
use crate::publish::Published;
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::future::{FutureExt, ready};
use futures::stream::{StreamExt, unfold};
use http::{HeaderMap, Method, StatusCode, header};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// What a line is called in an error.
const WHAT: &str = "line";
/// How many events of a batch are under way at once. They are handed to the log in their order.
const PIPELINE: usize = 64;

pub(super) async fn many(
    State(service): State<Service>,
    caller: Caller,
    client: Client,
    params: Params,
    cut: Option<Extension<Cut>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    params.check(&[])?;
    // Who may publish nothing has no body read, which would take of what all bodies may hold.
    caller.publish_anything()?;
    let content_type = text(&headers, "content-type")?.unwrap_or_default();
    if !content_type
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/x-ndjson"))
    {
        let detail = "many events are published with `Content-Type: application/x-ndjson`, one JSON object a line; one event is published to `/feeds/{feed}`";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let max = service.max_batch_bytes;
    let account = client.account(&caller);
    let body = read(&service, &headers, body, max, "a batch", account.clone()).await?;
    let (answer, results) = Answer::new(service.body_timeout, cut.map(|Extension(cut)| cut));
    let batch = Arc::new(Batch {
        client,
        account,
        trace: trace(&headers),
        service,
        caller,
    });
    tokio::spawn(publish_lines(batch, body, answer));
    Ok((
        [(header::CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(ReceiverStream::new(results)),
    )
        .into_response())
}

/// What all lines have in common.
struct Batch {
    service: Service,
    caller: Caller,
    client: Client,
    account: Option<Account>,
    /// The trace of those that name none.
    trace: Option<Box<Trace>>,
}

/// A line's result, or why none comes any more.
type Outcome = Result<String, Untaken>;
type Place = mpsc::OwnedPermit<Outcome>;

/// A client has taken nothing of its answer for too long.
#[derive(Debug, thiserror::Error)]
#[error("the client has taken nothing of the answer for too long")]
struct Untaken;

/// The results of a batch on their way to its client.
struct Answer {
    results: mpsc::Sender<Outcome>,
    /// The place for the error that ends an answer.
    last: Option<Place>,
    patience: Duration,
    cut: Option<Cut>,
}

impl Answer {
    fn new(patience: Duration, cut: Option<Cut>) -> (Self, mpsc::Receiver<Outcome>) {
        // As many again as are under way: one who waits for a place waits for the client alone.
        let (results, taken) = mpsc::channel(2 * PIPELINE + 1);
        let last = results.clone().try_reserve_owned().ok();
        let answer = Self {
            results,
            last,
            patience,
            cut,
        };
        (answer, taken)
    }

    /// A place for one more result; `None` once the client is gone, or has taken nothing for too long.
    async fn place(&mut self) -> Option<Place> {
        let place = self.results.clone().reserve_owned();
        if let Ok(place) = tokio::time::timeout(self.patience, place).await {
            return place.ok();
        }
        if let Some(last) = self.last.take() {
            last.send(Err(Untaken));
        }
        // Over HTTP/1 that error is not looked at before all else is written.
        if let Some(cut) = &self.cut {
            cut.now();
        }
        None
    }
}

/// Publishes lines for as long as somebody takes their results. A line begins once there is a place for its
/// result, so that none that is under way has to wait for the client.
async fn publish_lines(batch: Arc<Batch>, body: Whole, answer: Answer) {
    let Whole { bytes, share } = body;
    let pipeline = PIPELINE.min(batch.service.publisher.max_publishes()).max(1);
    let gone = answer.results.clone();
    let places = unfold((lines(bytes), answer), async |(mut lines, mut answer)| {
        let line = lines.next()?;
        let place = answer.place().await?;
        Some(((line, place), (lines, answer)))
    });
    let publish = places
        .map(|(line, place)| {
            let published = batch.clone().publish_line(line);
            published.map(|result| (place, result))
        })
        .buffered(pipeline)
        .for_each(|(place, result)| {
            place.send(Ok(result));
            ready(())
        });
    tokio::select! {
        () = publish => {}
        () = gone.closed() => {}
    }
    drop(share); // the lines are let go
}

/// The lines of a batch that are not blank.
fn lines(body: Bytes) -> impl Iterator<Item = Bytes> + Send {
    let mut rest = body;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = rest
            .iter()
            .position(|&byte| byte == b'\n')
            .unwrap_or(rest.len() - 1);
        Some(rest.split_to(end + 1))
    })
    .filter(|line| !line.trim_ascii().is_empty())
}

impl Batch {
    async fn publish_line(self: Arc<Self>, line: Bytes) -> String {
        match self.published(&line).await {
            Ok(published) => format!("{}\n", receipt(&published)),
            Err(problem) => {
                let path = format!("{}/feeds", self.service.base);
                let refused = &self.service.refused;
                refusal::tell(refused, &problem, self.client, &Method::POST, &path);
                format!("{}\n", problem.json())
            }
        }
    }

    async fn published(&self, line: &Bytes) -> Result<Published, Problem> {
        // A batch may take long, and what its client has shown may hold no more.
        self.service.still(&self.caller)?;
        take_publish(&self.service, self.account.as_ref())?;
        let line = Members::parse(line, WHAT).and_then(Line::read)?;
        let (mut message, key) = line.message(WHAT)?;
        message.trace = message.trace.or_else(|| self.trace.clone());
        let publisher = &self.service.publisher;
        Ok(publisher
            .publish(Way::Batch, &self.caller, message, key)
            .await?)
    }
}
