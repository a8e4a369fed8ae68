//! Requests that are refused for who sends them, from where, or how many: counted, and told in the log at the level `debug`.

use super::client::Client;
use super::problem::Problem;
use crate::clients::Proxies;
use crate::metrics::{Reason, Refused};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use std::sync::Arc;
use tracing::Level;

/// Why somebody is refused, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    what: What,
    reason: &'static str,
    subject: Option<Arc<str>>,
}

/// What is no good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Credentials,
    /// What was shown is good, and does not allow it.
    Grant,
    Origin,
    /// There is as much of it as one client may have.
    Limit,
}

impl Refusal {
    pub(super) fn credentials(reason: &'static str, subject: Option<Arc<str>>) -> Self {
        Self::new(What::Credentials, reason, subject)
    }

    pub(super) fn grant(permission: &'static str, subject: Option<Arc<str>>) -> Self {
        Self::new(What::Grant, permission, subject)
    }

    pub(super) fn origin(reason: &'static str) -> Self {
        Self::new(What::Origin, reason, None)
    }

    pub(super) fn limit(what: &'static str, subject: Option<Arc<str>>) -> Self {
        Self::new(What::Limit, what, subject)
    }

    fn new(what: What, reason: &'static str, subject: Option<Arc<str>>) -> Self {
        Self {
            what,
            reason,
            subject,
        }
    }

    fn count(&self, refused: &Refused) {
        let reason = self.reason;
        match self.what {
            What::Credentials => refused.credentials.get_or_create(&Reason { reason }).inc(),
            What::Origin => refused.origins.get_or_create(&Reason { reason }).inc(),
            // Those are requests with the status 403, and these have counters of their own.
            What::Grant | What::Limit => 0,
        };
    }
}

/// What was refused with this detail, as an answer bears it on its way out.
#[derive(Clone, Debug)]
struct Told(Refusal, String);

/// Leaves in an answer why it is a refusal, for [`watch`].
pub(super) fn mark(response: &mut Response, problem: &Problem) {
    if let Some(refusal) = &problem.refusal {
        let told = Told((**refusal).clone(), problem.detail.clone());
        response.extensions_mut().insert(told);
    }
}

/// Counts and tells what is refused on the way in.
pub(super) async fn watch(
    State((refused, proxies)): State<(Refused, Arc<Proxies>)>,
    request: Request,
    next: Next,
) -> Response {
    let asked = tracing::enabled!(Level::DEBUG).then(|| {
        let client = Client::of(request.extensions(), request.headers(), &proxies);
        (client, request.method().clone(), request.uri().clone())
    });
    let mut response = next.run(request).await;
    if let Some(Told(refusal, detail)) = response.extensions_mut().remove() {
        refusal.count(&refused);
        if let Some((client, method, uri)) = asked {
            log(&refusal, &detail, client, &method, uri.path());
        }
    }
    response
}

/// Counts and tells what is refused of a request that has been let in: a line of a batch, or a message.
pub(super) fn tell(
    refused: &Refused,
    problem: &Problem,
    client: Client,
    method: &Method,
    path: &str,
) {
    if let Some(refusal) = &problem.refusal {
        refusal.count(refused);
        log(refusal, &problem.detail, client, method, path);
    }
}

/// The one line in which a refusal is told. No detail quotes credentials, and a path has no query.
fn log(refusal: &Refusal, detail: &str, client: Client, method: &Method, path: &str) {
    tracing::debug!(
        refused = refusal.what.as_str(),
        reason = refusal.reason,
        detail,
        %method,
        path,
        %client,
        subject = refusal.subject.as_deref(),
        "a request was refused"
    );
}

impl What {
    fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Grant => "grant",
            Self::Origin => "origin",
            Self::Limit => "limit",
        }
    }
}
