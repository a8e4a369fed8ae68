//! `DELETE /admin/subjects/{subject}`: the end of all that a subject has open. `GET /admin/subjects`: whose credentials are
//! refused since.

use super::{Operator, json, limit};
use crate::auth::Revocation as Kept;
use crate::auth::revoked::LONGEST;
use crate::event::Timestamp;
use crate::http::problem::Problem;
use crate::http::{Name, Params, Service};
use crate::revoke::{Done, Order};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use std::time::{Duration, SystemTime};

/// For how long credentials of before are refused, where nothing is said of that.
const A_DAY: Duration = Duration::from_secs(24 * 3600);

/// What has come of a revocation.
#[derive(Serialize)]
struct Revocation<'a> {
    subject: &'a str,
    /// How many connections were ended, on all replicas.
    ended: usize,
    /// For how many seconds credentials of before are refused.
    seconds: u64,
    replicas: &'a [Done],
}

/// Ends it on every replica, and refuses the subject's credentials of before for a while.
pub(super) async fn revoke(
    State(service): State<Service>,
    Operator(caller): Operator,
    Name(subject): Name,
    params: Params,
) -> Result<Response, Problem> {
    params.check(&["for"])?;
    let by = caller.subject().map(str::to_owned);
    let order = Order::new(subject, time(&params)?, by);
    let (replicas, told) = service.revoker.everywhere(&order).await;
    // Whoever may speak on the replicas' subject may say any number.
    let ended = replicas.iter().map(|done| done.ended);
    let ended = ended.fold(0, usize::saturating_add);
    let trouble = replicas.iter().find_map(|done| done.error.clone());
    if let Some(trouble) = told.err().or(trouble) {
        let detail = format!(
            "{ended} connections were told to end, and not all replicas have done all of it: {trouble}; repeat it"
        );
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    let revocation = Revocation {
        subject: &order.subject,
        ended,
        seconds: order.seconds,
        replicas: &replicas,
    };
    Ok(json(&revocation))
}

/// Those that are remembered, in the order of their names.
#[derive(Serialize)]
struct Subjects {
    subjects: Vec<Subject>,
    /// What to ask for the next ones with, as `after=`.
    next: Option<String>,
    /// How many there are in all.
    total: usize,
}

#[derive(Serialize)]
struct Subject {
    subject: String,
    /// Credentials are refused that were issued up to then.
    since: String,
    /// When that ends.
    until: String,
}

/// Whose credentials of before this replica refuses.
pub(super) async fn subjects(
    State(service): State<Service>,
    _: Operator,
    params: Params,
) -> Result<Response, Problem> {
    params.check(&["limit", "after"])?;
    let limit = limit(&params)?;
    let (mut found, total) =
        service
            .revoker
            .revoked
            .list(params.get("after"), limit + 1, SystemTime::now());
    let is_cut = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| is_cut);
    Ok(json(&Subjects {
        next: next.map(|(subject, _)| subject.to_string()),
        subjects: found.iter().map(subject).collect(),
        total,
    }))
}

fn subject((subject, kept): &(Box<str>, Kept)) -> Subject {
    let text = |time: SystemTime| Timestamp::from(time).to_string();
    Subject {
        subject: subject.to_string(),
        since: text(kept.at),
        until: text(kept.until),
    }
}

fn time(params: &Params) -> Result<Duration, Problem> {
    let Some(text) = params.get("for") else {
        return Ok(A_DAY);
    };
    let seconds = text.parse().ok().map(Duration::from_secs);
    seconds.filter(|time| *time <= LONGEST).ok_or_else(|| {
        Problem::bad_request(format!(
            "`for` is a number of seconds, 0 to {}: for so long credentials are refused that were issued before",
            LONGEST.as_secs()
        ))
    })
}
