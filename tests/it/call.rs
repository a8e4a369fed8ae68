//! Requests whose answers end, and what comes back.

use crate::replica::{Replica, within};
use reqwest::{Body, Client, Method, header::HeaderMap};
use serde_json::Value;

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let value = self.headers.get(name)?;
        Some(value.to_str().expect("text"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The detail of a problem with this status, which has the form of RFC 9457.
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        let form = Some("application/problem+json");
        assert_eq!(self.header("content-type"), form, "{self:?}");
        problem(&self.json(), status)
    }
}

/// The detail of a problem that has this status.
pub(crate) fn problem(body: &Value, status: u16) -> String {
    let members: Vec<&str> = body
        .as_object()
        .expect("an object")
        .keys()
        .map(String::as_str)
        .filter(|name| *name != "retry_after")
        .collect();
    assert_eq!(members, ["detail", "status", "title"], "{body}");
    assert_eq!(body["status"], status, "{body}");
    assert!(!body["title"].as_str().expect("a title").is_empty());
    let detail = body["detail"].as_str().expect("a detail");
    assert!(!detail.is_empty());
    detail.to_owned()
}

pub(crate) async fn call(
    replica: &Replica,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let client = replica.client().build().expect("a client");
    call_by(&client, replica, method, path, headers, body).await
}

/// The same by a client that has made others.
pub(crate) async fn call_by(
    client: &Client,
    replica: &Replica,
    method: Method,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    let mut request = client.request(method, replica.url(path)).body(body);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = within("the head", request.send()).await.expect("an answer");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = within("the body", response.text())
        .await
        .expect("a whole body");
    Answer {
        status,
        headers,
        text,
    }
}

pub(crate) async fn get(replica: &Replica, path: &str, headers: &[(&str, &str)]) -> Answer {
    call(replica, Method::GET, path, headers, "").await
}

pub(crate) async fn post(
    replica: &Replica,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Body>,
) -> Answer {
    call(replica, Method::POST, path, headers, body).await
}
