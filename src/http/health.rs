//! Probes and metrics.

use super::admin::Operator;
use super::problem::Problem;
use super::{Params, Part, Service};
use crate::hub::Status;
use crate::metrics::TextForm;
use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;

/// What `/readyz` answers.
#[derive(Serialize)]
pub(super) struct Readiness {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) async fn livez() -> &'static str {
    "alive\n"
}

/// Red only before the window is warm and while draining: an outage of NATS takes no replica out of the load
/// balancer, since every one would go at once. With `strict=1` it is red then too.
pub(super) async fn readyz(
    State(service): State<Service>,
    params: Params,
) -> Result<Response, Problem> {
    let strict = params.switch("strict")?;
    let (code, readiness) = readiness(&service, strict);
    let body = serde_json::to_string(&readiness).expect("strings are JSON") + "\n";
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((code, headers, body).into_response())
}

pub(super) fn readiness(service: &Service, strict: bool) -> (StatusCode, Readiness) {
    if service.ending.borrow().is_some() {
        let reason = "this replica shuts down".to_owned();
        return not_ready("draining", reason);
    }
    let status = service.hub.status().borrow().clone();
    let status = match (status, service.hub.log().trouble()) {
        (Status::Live, Some(reason)) => Status::Degraded { reason },
        (status, _) => status,
    };
    match status {
        Status::Live => (StatusCode::OK, Readiness::new("ready", None)),
        Status::Starting { reason } => not_ready("starting", reason),
        Status::Degraded { reason } if strict => not_ready("degraded", reason),
        Status::Degraded { reason } => (StatusCode::OK, Readiness::new("degraded", Some(reason))),
    }
}

fn not_ready(status: &'static str, reason: String) -> (StatusCode, Readiness) {
    let readiness = Readiness::new(status, Some(reason));
    (StatusCode::SERVICE_UNAVAILABLE, readiness)
}

impl Readiness {
    fn new(status: &'static str, reason: Option<String>) -> Self {
        Self { status, reason }
    }
}

/// In OpenMetrics' form where that is asked for, and otherwise in the one that every Prometheus reads. On a listener that
/// others reach too, where credentials are taken, they are for operators.
pub(super) async fn metrics(
    State(service): State<Service>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _) = request.into_parts();
    if service.part == Part::Whole && service.credentials.are_taken() {
        Operator::from_request_parts(&mut parts, &service).await?;
    }
    let form = TextForm::wanted(&parts.headers);
    let head = [
        (header::CONTENT_TYPE, form.content_type()),
        (header::VARY, "Accept"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    Ok((head, service.metrics.text_in(form)).into_response())
}
