//! Everything below a path, for a proxy that mounts the service there and passes the path on as it came.

use super::problem::Problem;
use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Redirect, Response};
use http::uri::PathAndQuery;
use http::{StatusCode, Uri};
use std::sync::Arc;
use tower::ServiceExt;

/// These routes below `base`, which is empty, or a path without a slash at its end.
pub(super) fn below(base: &Arc<str>, routes: Router) -> Router {
    if base.is_empty() {
        return routes;
    }
    let base = base.clone();
    let routes = routes.layer(from_fn(name_route));
    Router::new().fallback(async move |request: Request| pass_on(&base, routes, request).await)
}

async fn pass_on(base: &str, routes: Router, mut request: Request) -> Response {
    match inner(base, request.uri()) {
        Some(uri) => {
            *request.uri_mut() = uri;
            match routes.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
        None if request.uri().path() == base => {
            Redirect::permanent(&format!("{base}/")).into_response()
        }
        None => Problem::new(
            StatusCode::NOT_FOUND,
            format!("everything here is below `{base}/` (--base-path)"),
        )
        .into_response(),
    }
}

/// Leaves in an answer by which route it is: what is around these routes has not seen that in the request.
async fn name_route(route: Option<MatchedPath>, request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    if let Some(route) = route {
        response.extensions_mut().insert(route);
    }
    response
}

/// The same without the base.
fn inner(base: &str, uri: &Uri) -> Option<Uri> {
    let path = uri.path_and_query()?.as_str().strip_prefix(base)?;
    let path: PathAndQuery = path.starts_with('/').then(|| path.parse().ok())??;
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_below_the_base_is_passed_on_without_it() {
        let inner =
            |uri: &'static str| inner("/a/b", &Uri::from_static(uri)).map(|uri| uri.to_string());
        assert_eq!(inner("/a/b/").as_deref(), Some("/"));
        assert_eq!(inner("/a/b/c%2F?d=/a/b").as_deref(), Some("/c%2F?d=/a/b"));
        assert_eq!(inner("/a/b//c").as_deref(), Some("//c"));
        assert_eq!(inner("http://h/a/b/c").as_deref(), Some("http://h/c"));
        for elsewhere in ["/a/b", "/a/bc", "/a/b?c", "/", "/a", "/A/b/", "/c/a/b/"] {
            assert_eq!(inner(elsewhere), None, "{elsewhere}");
        }
    }
}
