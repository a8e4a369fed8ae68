//! The answers to a client's messages, and what the server says of itself.

use super::message::Ref;
use crate::http::problem::Problem;
use crate::http::publish::receipt;
use crate::log::Reply;
use crate::publish::Published;
use crate::wire::{self, Closing};
use bytes::Bytes;

/// A message to a client.
#[derive(Debug)]
pub(super) enum Answer {
    Text(String),
    /// A line of JSON, and bytes.
    Binary(String, Bytes),
}

/// What a message is answered with that could be read and done.
pub(super) fn result(reference: &Ref, json: &str) -> Answer {
    Answer::Text(format!("{{\"ref\":{reference},\"result\":{json}}}"))
}

/// What any other is answered with.
pub(super) fn error(reference: Option<&Ref>, problem: &Problem) -> Answer {
    let json = problem.json();
    Answer::Text(match reference {
        Some(reference) => format!("{{\"ref\":{reference},\"error\":{json}}}"),
        None => format!("{{\"ref\":null,\"error\":{json}}}"),
    })
}

pub(super) fn published(reference: &Ref, published: &Published) -> Answer {
    let mut json = receipt(published);
    if published.repeated {
        json.truncate(json.len() - 1);
        json.push_str(",\"repeated\":true}");
    }
    result(reference, &json)
}

/// What a backend has answered; in a binary message where the request came in one.
pub(super) fn replied(reference: &Ref, reply: Reply, binary: bool) -> Answer {
    match binary {
        true => Answer::Binary(
            format!("{{\"ref\":{reference},\"result\":{{}}}}\n"),
            reply.data,
        ),
        false => {
            let data = wire::data_members(reply.content_type.as_deref(), &reply.data);
            result(reference, &format!("{{{data}}}"))
        }
    }
}

/// The first message of a connection.
pub(super) fn connected(connection: &str) -> String {
    format!("{{\"type\":\"hub:connected\",\"data\":{{\"connection\":\"{connection}\"}}}}")
}

/// Says that the token holds for so many seconds more.
pub(super) fn expiring(seconds: u64) -> String {
    format!(
        "{{\"type\":\"{}\",\"data\":{{\"in\":{seconds}}}}}",
        wire::EXPIRING
    )
}

/// The end of a subscription that a new token does not cover.
pub(super) fn forbidden(subscription: &Ref) -> String {
    format!(
        "{{\"sub\":{subscription},\"type\":\"hub:closing\",\"data\":{{\"reason\":\"forbidden\"}}}}"
    )
}

/// The last one, where the server ends it.
pub(super) fn closing(reason: Closing) -> String {
    let reason = reason.as_str();
    format!("{{\"type\":\"hub:closing\",\"data\":{{\"reason\":\"{reason}\"}}}}")
}
