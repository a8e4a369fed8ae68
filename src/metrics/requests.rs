//! Requests over HTTP, by route and status.

use super::Metrics;
use http::{Method, StatusCode};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use std::borrow::Cow;

/// Requests, by what was asked for and how it was answered. Cloning it shares the counts.
pub type Requests = Family<Request, Counter>;

/// A request. There are as many different ones as routes, three methods and five classes make.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// The route as the server knows it, with the names of its parts; `none` where there is none.
    pub route: Cow<'static, str>,
    /// `GET`, `POST`, or `other`.
    pub method: &'static str,
    /// The class of the answer's status, as in `2xx`.
    pub status: &'static str,
}

impl Request {
    /// Of a route, if there is one.
    pub fn new(route: Option<&str>, method: &Method, status: StatusCode) -> Self {
        Self {
            route: route.map_or(Cow::Borrowed("none"), |route| route.to_owned().into()),
            method: match *method {
                Method::GET => "GET",
                Method::POST => "POST",
                Method::DELETE => "DELETE",
                _ => "other",
            },
            status: match status.as_u16() / 100 {
                1 => "1xx",
                2 => "2xx",
                3 => "3xx",
                4 => "4xx",
                _ => "5xx",
            },
        }
    }
}

impl Metrics {
    /// The same with the requests that were answered.
    #[must_use]
    pub fn with_requests(mut self, requests: &Requests) -> Self {
        self.registry.register(
            "http_requests",
            "Requests that were answered, or whose stream has begun, by route, method and class of status",
            requests.clone(),
        );
        self
    }
}
