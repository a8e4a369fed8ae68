//! HTTP: every route in one place.

mod access;
mod handoff;
mod health;
mod negotiate;
mod problem;
mod publish;
mod server;
mod stream;
mod subscribe;

pub(crate) use server::{Drain, Server};

use crate::auth::Access;
use crate::config::StreamSettings;
use crate::hub::{Hub, Shards};
use crate::publish::Publisher;
use access::Callers;
use axum::Router;
use axum::extract::rejection::PathRejection;
use axum::extract::{DefaultBodyLimit, FromRequestParts, Path, Query};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use http::request::Parts;
use http::{StatusCode, Uri};
use problem::Problem;
use std::sync::Arc;
use stream::Ending;

/// What the routes need.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) hub: Hub,
    pub(crate) publisher: Publisher,
    pub(crate) access: Arc<Access>,
    pub(crate) shards: Arc<Shards>,
    pub(crate) streams: StreamSettings,
    pub(crate) ending: Ending,
    pub(crate) metrics: Arc<crate::metrics::Metrics>,
    pub(crate) max_patterns: usize,
    pub(crate) max_event_bytes: usize,
    pub(crate) max_batch_bytes: usize,
}

/// All routes.
pub(crate) fn router(service: Service) -> Router {
    let callers = match *service.access {
        Access::Local => Callers::Loopback,
        Access::Anonymous { .. } => Callers::Everyone,
    };
    Router::new()
        .route("/", get(health::index))
        .route("/feeds", get(subscribe::several).post(publish::many))
        .route("/feeds/{feed}", get(subscribe::one).post(publish::one))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::disable()) // each route that reads a body bounds it
        .layer(from_fn_with_state(callers, access::guard))
        .with_state(service)
}

async fn not_found(uri: Uri) -> Problem {
    let detail = format!(
        "there is nothing at `{}`; feeds are at `/feeds/{{name}}`",
        uri.path().escape_debug()
    );
    Problem::new(StatusCode::NOT_FOUND, detail)
}

async fn method_not_allowed() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "read feeds with GET, publish to them with POST",
    )
}

/// The query's parameters, in order.
struct Params(Vec<(String, String)>);

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        match Query::try_from_uri(&parts.uri) {
            Ok(Query(params)) => Ok(Self(params)),
            Err(error) => Err(Problem::bad_request(format!(
                "the query can't be read: {error}"
            ))),
        }
    }
}

fn path_text(path: Result<Path<String>, PathRejection>) -> Result<String, Problem> {
    match path {
        Ok(Path(text)) => Ok(text),
        Err(error) => Err(Problem::bad_request(format!(
            "the path can't be read: {error}"
        ))),
    }
}
