//! What is for operators: probes, metrics, and `/admin/…`, which tells how this replica does.

mod feeds;
mod readers;
mod status;
mod subjects;

use super::health;
use super::poll::keep_private;
use super::problem::Problem;
use super::{Params, Service};
use crate::auth::Caller;
use axum::Router;
use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, delete, get};
use http::request::Parts;
use http::{StatusCode, Uri, header};
use serde::Serialize;

/// How many of something are told where it is not said, and at most.
const LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// Their routes.
pub(super) fn routes() -> Router<Service> {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/admin/status", get(status::status))
        .route("/admin/feeds", get(feeds::feeds))
        .route("/admin/readers", get(readers::readers))
        .route("/admin/subjects", get(subjects::subjects))
        .route("/admin/subjects/{subject}", delete(subjects::revoke))
}

/// The same paths where they have a listener of their own.
pub(super) fn elsewhere() -> Router<Service> {
    ["/livez", "/readyz", "/metrics", "/admin", "/admin/{*more}"]
        .into_iter()
        .fold(Router::new(), |router, path| {
            router.route(path, any(not_here))
        })
}

async fn not_here(uri: Uri) -> Problem {
    let path = uri.path().escape_debug();
    let detail = format!(
        "`{path}` is for operators, and is served on a listener of its own here (--admin-listen)"
    );
    Problem::new(StatusCode::NOT_FOUND, detail)
}

/// One who may see what is for operators.
pub(super) struct Operator(Caller);

impl FromRequestParts<Service> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, service).await?;
        caller.admin()?;
        Ok(Self(caller))
    }
}

fn limit(params: &Params) -> Result<usize, Problem> {
    let limit = params.get("limit").map_or(Ok(LIMIT), str::parse);
    match limit {
        Ok(limit @ 1..=MAX_LIMIT) => Ok(limit),
        _ => Err(Problem::bad_request(format!(
            "`limit` is a number from 1 to {MAX_LIMIT}"
        ))),
    }
}

fn json(body: &impl Serialize) -> Response {
    let text = serde_json::to_string(body).expect("strings and numbers are JSON");
    let kind = [(header::CONTENT_TYPE, "application/json")];
    let mut response = (kind, text + "\n").into_response();
    keep_private(response.headers_mut(), "no-store");
    response
}
