//! Publishing over HTTP.

use super::{Failure, Receipt, Sending};
use crate::event::Position;
use crate::verify::shared::{Shared, refusal};
use http::{HeaderMap, StatusCode};
use reqwest::{Client, Url};
use serde::Deserialize;
use std::error::Error;
use std::time::Duration;
use tokio_rustls::rustls::ClientConfig;

/// How long a connect may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take. A server gives up by itself before.
const ANSWER: Duration = Duration::from_secs(15);

pub(super) struct Door {
    client: Client,
    replicas: Vec<Url>,
    headers: HeaderMap,
    /// The replica to go to.
    replica: usize,
}

#[derive(Deserialize)]
struct Answer {
    id: String,
}

impl Door {
    pub(super) fn new(shared: &Shared, replica: usize) -> reqwest::Result<Self> {
        let plan = &shared.plan;
        let client = Client::builder()
            .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .no_proxy()
            .tls_backend_preconfigured(ClientConfig::clone(&shared.tls))
            .build()?;
        Ok(Self {
            client,
            replicas: plan.replicas.clone(),
            headers: plan.headers.clone(),
            replica,
        })
    }

    /// After a failure, the next attempt goes to the next replica.
    pub(super) async fn publish(&mut self, sending: &Sending) -> Result<Receipt, Failure> {
        let published = self.post(sending).await;
        if published.is_err() {
            self.replica = (self.replica + 1) % self.replicas.len();
        }
        published
    }

    async fn post(&self, sending: &Sending) -> Result<Receipt, Failure> {
        let mut url = self.replicas[self.replica].clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["feeds", &sending.feed]);
        }
        let request = self
            .client
            .post(url)
            .headers(self.headers.clone())
            .header("content-type", "text/plain")
            .header("idempotency-key", &sending.key)
            .body(sending.data.clone());
        let again = |error: reqwest::Error| Failure::Again(cause(&error));
        let response = request.send().await.map_err(again)?;
        let status = response.status();
        let body = response.bytes().await.map_err(again)?;
        let reason = || format!("a publish was answered with {}", refusal(status, &body));
        match status {
            StatusCode::OK | StatusCode::CREATED => {}
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Err(Failure::Again(reason()));
            }
            status if status.is_client_error() => return Err(Failure::Refused(reason())),
            _ => return Err(Failure::Again(reason())),
        }
        let answer = serde_json::from_slice::<Answer>(&body).ok();
        let id = answer.and_then(|answer| answer.id.parse::<Position>().ok());
        let id =
            id.ok_or_else(|| Failure::Again("a publish was answered with no id".to_owned()))?;
        Ok(Receipt {
            sequence: id.sequence(),
            // A repeat of an event that has expired is answered with its place alone.
            id: Some(id).filter(|id| id.has_check()),
        })
    }
}

/// The innermost of an error's reasons, as in `Connection refused`.
fn cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
