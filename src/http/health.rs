//! Probes, metrics, and a page for those who come with nothing but a browser.

use super::Params;
use super::Service;
use crate::hub::Status;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use serde::Serialize;

/// What `/readyz` answers.
#[derive(Serialize)]
struct Readiness {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(super) async fn livez() -> &'static str {
    "alive\n"
}

/// Red only before the window is warm and while draining: an outage of NATS takes no replica out of the load
/// balancer, since every one would go at once. With `strict=1` it is red then too.
pub(super) async fn readyz(State(service): State<Service>, Params(params): Params) -> Response {
    let strict = params
        .iter()
        .any(|(name, value)| name == "strict" && value == "1");
    let (code, readiness) = readiness(&service, strict);
    let body = serde_json::to_string(&readiness).expect("strings are JSON") + "\n";
    (
        code,
        [
            (header::CONTENT_TYPE, "application/json"),
            (header::CACHE_CONTROL, "no-store"),
        ],
        body,
    )
        .into_response()
}

fn readiness(service: &Service, strict: bool) -> (StatusCode, Readiness) {
    if service.ending.borrow().is_some() {
        let reason = Some("this replica shuts down".to_owned());
        return (
            StatusCode::SERVICE_UNAVAILABLE,
            Readiness {
                status: "draining",
                reason,
            },
        );
    }
    match service.hub.status().borrow().clone() {
        Status::Live => (
            StatusCode::OK,
            Readiness {
                status: "ready",
                reason: None,
            },
        ),
        Status::Starting { reason } => {
            let reason = Some(reason);
            (
                StatusCode::SERVICE_UNAVAILABLE,
                Readiness {
                    status: "starting",
                    reason,
                },
            )
        }
        Status::Degraded { reason } => {
            let code = if strict {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::OK
            };
            (
                code,
                Readiness {
                    status: "degraded",
                    reason: Some(reason),
                },
            )
        }
    }
}

pub(super) async fn metrics(State(service): State<Service>) -> Response {
    let kind = [(
        header::CONTENT_TYPE,
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )];
    (kind, service.metrics.text()).into_response()
}

pub(super) async fn index() -> &'static str {
    "Tidings: events in over HTTP or NATS, out as Server-Sent Events.

Read:     curl -N 'http://<this address>/feeds/orders.*'
Publish:  curl -d '{\"n\":1}' 'http://<this address>/feeds/orders.eu'

Also here: /livez  /readyz  /metrics
"
}
