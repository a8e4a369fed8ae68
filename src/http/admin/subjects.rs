//! `DELETE /admin/subjects/{subject}`: the end of all that a subject has open.

use super::{Operator, json};
use crate::auth::revoked::LONGEST;
use crate::http::problem::Problem;
use crate::http::{Name, Params, Service};
use crate::revoke::{Done, Order};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use std::time::Duration;

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
    _: Operator,
    Name(subject): Name,
    params: Params,
) -> Result<Response, Problem> {
    params.check(&["for"])?;
    let order = Order::new(subject, time(&params)?);
    let (replicas, told) = service.revoker.everywhere(&order).await;
    let ended = replicas.iter().map(|done| done.ended).sum();
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
