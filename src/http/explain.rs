//! `GET /explain?feed=…`: why one does, or does not, receive something.

use super::client::Client;
use super::poll::keep_private;
use super::problem::Problem;
use super::{Params, Service};
use crate::auth::{Caller, Denied, Grants, Skipped, Unauthorized, Unfilled, Who};
use crate::clients::Rates;
use crate::event::{Feed, Pattern, Patterns};
use crate::hub::{Signal, Start, Term};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// A token of someone else, for which those ask who may.
const TOKEN_TO_EXPLAIN: &str = "tidings-explain-token";
/// How many grants of a kind are told.
const MAX_GRANTS: usize = 100;
/// How long the log may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// The whole answer.
#[derive(Serialize)]
struct Explained<'a> {
    feed: &'a str,
    caller: Known,
    subscribe: Verdict,
    /// For a feed, and not for a pattern with wildcards.
    #[serde(skip_serializing_if = "Option::is_none")]
    publish: Option<Verdict>,
    /// Of the events, where they may be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    events: Option<Events>,
    replica: &'a str,
    limits: Limits,
}

/// What is known of a caller.
#[derive(Default, Serialize)]
struct Known {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<u64>,
    /// Why his credentials are no good.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    /// What he has been granted, where not everything is allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    grants: Option<Granted>,
    /// What grants him nothing, since a claim is not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    skipped: Vec<Skip>,
    /// Names in his token's claim `tidings` that stand for nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unknown: Vec<String>,
}

/// Patterns with the claims in their places, the first of each kind.
#[derive(Serialize)]
struct Granted {
    subscribe: Vec<String>,
    publish: Vec<String>,
    request: Vec<String>,
    admin: bool,
    /// Whether there are more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    more: bool,
}

#[derive(Serialize)]
struct Skip {
    permission: &'static str,
    /// As it is written down.
    grant: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    claim: Option<String>,
    reason: String,
}

/// Whether something is allowed, and by what, or why not.
#[derive(Serialize)]
struct Verdict {
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    grant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Serialize)]
struct Events {
    /// The id of the newest, as far as the window reaches.
    newest: Option<String>,
    window: Window,
    log: Log,
}

/// What a replica has at hand: what comes after `after`, up to `head`.
#[derive(Serialize)]
struct Window {
    after: String,
    head: String,
}

#[derive(Serialize)]
struct Log {
    /// The first sequence that it holds still, and the last id that it has given out.
    #[serde(skip_serializing_if = "Option::is_none")]
    first_sequence: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<String>,
    reached: bool,
}

#[derive(Serialize)]
struct Limits {
    readers: usize,
    max_readers: usize,
    max_patterns: usize,
    max_event_bytes: usize,
    /// Of who asks, by his address.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Open>,
    /// Of the caller in question, by his subject.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Open>,
    publish: Rate,
    message: Rate,
}

/// Streams, polls and WebSockets on this replica.
#[derive(Serialize)]
struct Open {
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    open: usize,
    max: usize,
}

/// What may be done in a second, and at once after a pause.
#[derive(Serialize)]
struct Rate {
    limited: bool,
    rate: u32,
    burst: u32,
}

pub(super) async fn explain(
    State(service): State<Service>,
    caller: Caller,
    client: Client,
    params: Params,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    params.check(&["feed"])?;
    let feed = params.get("feed").ok_or_else(|| {
        Problem::bad_request(
            "name the feed or pattern in question, as in `/explain?feed=orders.eu`",
        )
    })?;
    let asked: Pattern = feed
        .parse()
        .map_err(|error| Problem::pattern(feed, &error))?;
    let caller = in_question(&service, caller, &headers).await?;
    let explained = Explained {
        feed,
        subscribe: verdict(&caller, |caller| subscribing(caller, &asked)),
        publish: asked
            .exact()
            .map(|feed| verdict(&caller, |caller| publishing(caller, &feed))),
        events: match subscribes(&caller, &asked) {
            true => Some(events(&service, asked).await),
            false => None,
        },
        caller: Known::of(&caller),
        replica: &service.replica,
        limits: limits(&service, client, caller.as_ref().ok()),
    };
    let text = serde_json::to_string(&explained).expect("strings and numbers are JSON");
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (kind, text + "\n").into_response();
    keep_private(response.headers_mut(), "no-store");
    Ok(response)
}

/// Who it is about: who asks, or, where he may ask that, whose token he names.
async fn in_question(
    service: &Service,
    caller: Caller,
    headers: &HeaderMap,
) -> Result<Result<Caller, Unauthorized>, Problem> {
    let Some(token) = headers.get(TOKEN_TO_EXPLAIN) else {
        return Ok(Ok(caller));
    };
    caller.admin()?;
    let token = token.to_str().unwrap_or("?");
    // As it stands in the header from which it was taken.
    let token = token.strip_prefix("Bearer ").unwrap_or(token);
    Ok(service.credentials.caller(Some(token)).await)
}

impl Known {
    fn of(caller: &Result<Caller, Unauthorized>) -> Self {
        let caller = match caller {
            Ok(caller) => caller,
            Err(error) => {
                return Self {
                    kind: "refused",
                    refused: Some(error.to_string()),
                    ..Self::default()
                };
            }
        };
        let overlooked = &caller.grants().overlooked;
        let term = caller.expires().map(Term::new);
        let rest = term.map(|term| term.ends.saturating_duration_since(Instant::now()));
        Self {
            kind: match caller.who() {
                Who::Local => "local",
                Who::Anonymous => "anonymous",
                Who::Known(_) => "known",
            },
            subject: caller.subject().map(str::to_owned),
            expires_in: rest.as_ref().map(Duration::as_secs),
            refused: None,
            grants: (*caller.who() != Who::Local).then(|| Granted::of(caller.grants())),
            skipped: overlooked.skipped.iter().map(Skip::of).collect(),
            unknown: overlooked.unknown.clone(),
        }
    }
}

impl Granted {
    fn of(grants: &Grants) -> Self {
        let all = [&grants.subscribe, &grants.publish, &grants.request];
        let [subscribe, publish, request] = all.map(|patterns| {
            let first = patterns.iter().take(MAX_GRANTS);
            first.map(Pattern::to_string).collect()
        });
        Self {
            subscribe,
            publish,
            request,
            admin: grants.admin,
            more: all.iter().any(|patterns| patterns.len() > MAX_GRANTS),
        }
    }
}

impl Skip {
    fn of(skipped: &Skipped) -> Self {
        Self {
            permission: skipped.permission,
            grant: skipped.grant.clone(),
            claim: match &skipped.reason {
                Unfilled::Claim(name) => Some(name.clone()),
                Unfilled::Pattern(_) => None,
            },
            reason: skipped.reason.to_string(),
        }
    }
}

/// The grant that allows something; none where everything is allowed.
type Allowed<'a> = Result<Option<&'a Pattern>, Denied>;

fn subscribing<'a>(caller: &'a Caller, asked: &Pattern) -> Allowed<'a> {
    let mut grants = caller.grants().subscribe.iter();
    caller.may_subscribe(asked)?;
    Ok(grants.find(|grant| grant.covers(asked)))
}

fn publishing<'a>(caller: &'a Caller, feed: &Feed) -> Allowed<'a> {
    let mut grants = caller.grants().publish.iter();
    caller.publish(feed)?;
    Ok(grants.find(|grant| grant.matches(feed)))
}

fn subscribes(caller: &Result<Caller, Unauthorized>, asked: &Pattern) -> bool {
    let caller = caller.as_ref();
    caller.is_ok_and(|caller| caller.may_subscribe(asked).is_ok())
}

fn verdict<'a>(
    caller: &'a Result<Caller, Unauthorized>,
    decide: impl FnOnce(&'a Caller) -> Allowed<'a>,
) -> Verdict {
    let decided = match caller {
        Ok(caller) => decide(caller).map_err(|denied| denied.to_string()),
        Err(error) => Err(error.to_string()),
    };
    Verdict {
        allowed: decided.is_ok(),
        grant: decided
            .as_ref()
            .ok()
            .and_then(|grant| grant.map(Pattern::to_string)),
        reason: decided.err(),
    }
}

async fn events(service: &Service, asked: Pattern) -> Events {
    let usage = service.hub.usage();
    let bounds = timeout(PATIENCE, service.hub.log().bounds()).await;
    let bounds = bounds.ok().and_then(Result::ok);
    Events {
        newest: newest(service, asked).await,
        window: Window {
            after: usage.floor.to_string(),
            head: usage.head.to_string(),
        },
        log: Log {
            first_sequence: bounds.as_ref().map(|bounds| bounds.first),
            last: bounds.as_ref().map(|bounds| bounds.last.to_string()),
            reached: bounds.is_some(),
        },
    }
}

/// The id of the newest event that matches, where the window has one.
async fn newest(service: &Service, asked: Pattern) -> Option<String> {
    let patterns = Patterns::new(vec![asked], 1).ok()?;
    let mut joined = service.hub.join(patterns, Start::Last(1)).await.ok()?;
    match timeout(PATIENCE, joined.reader.at_hand(service.hub.head()))
        .await
        .ok()??
    {
        Signal::Events(events) => Some(events.last()?.position().to_string()),
        Signal::Notice(_) => None,
    }
}

fn limits(service: &Service, client: Client, caller: Option<&Caller>) -> Limits {
    let most = service.seats.limits();
    let is_limited = caller.is_some_and(|caller| client.account(caller).is_some());
    let rate = |rates: &Rates| Rate {
        limited: is_limited,
        rate: rates.rate(),
        burst: rates.burst(),
    };
    Limits {
        address: client.address.map(|address| Open {
            from: Some(address.to_string()),
            open: service.seats.of_address(address),
            max: most.address,
        }),
        subject: caller.and_then(Caller::subject).map(|subject| Open {
            from: None,
            open: service.seats.of_subject(subject),
            max: most.subject,
        }),
        publish: rate(&service.publish_rates),
        message: rate(&service.message_rates),
        readers: service.hub.usage().readers,
        max_readers: service.max_streams,
        max_patterns: service.max_patterns,
        max_event_bytes: service.max_event_bytes,
    }
}
