//! What a single client may have and do, and that it takes nothing from others.

mod addresses;
mod heads;
mod rates;
mod subjects;

use crate::auth::{bearer, token};
use crate::call::get;
use crate::replica::{Replica, within};
use reqwest::{Client, Response};
use serde_json::json;

/// What a metric stands at.
async fn metric(replica: &Replica, name: &str) -> u64 {
    let shown = bearer(&token(&json!({"tidings": {"admin": true}})));
    let text = get(replica, "/metrics", &[("Authorization", &shown)])
        .await
        .text;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let value = line.unwrap_or_else(|| panic!("no {name} in {text}"));
    value.trim().parse().expect("a number")
}

/// Asks for something, and keeps the answer open.
async fn open(replica: &Replica, path: &str, accept: &str, headers: &[(&str, &str)]) -> Response {
    let mut request = Client::new()
        .get(replica.url(path))
        .header("Accept", accept);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    within("the head", request.send()).await.expect("an answer")
}

/// Asks until it is served: those who are gone give back what they held as soon as the server hears of it.
async fn served(replica: &Replica, path: &str, headers: &[(&str, &str)]) -> Response {
    within("a place", async {
        loop {
            let response = open(replica, path, "application/x-ndjson", headers).await;
            match response.status().as_u16() {
                200 => return response,
                status => assert_eq!(status, 429),
            }
        }
    })
    .await
}
