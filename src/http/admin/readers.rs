//! `GET /admin/readers?slow=1`: the readers that are behind.

use super::{Operator, json, limit};
use crate::http::problem::Problem;
use crate::http::{Params, Service};
use crate::hub::Slow;
use crate::wire::Form;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;

/// The whole answer.
#[derive(Serialize)]
struct Readers {
    /// That which is furthest behind first.
    readers: Vec<Reader>,
    /// Readers in all, slow or not.
    total: usize,
}

#[derive(Serialize)]
struct Reader {
    /// Its patterns; none while the log is read for it.
    feeds: Vec<String>,
    /// How it reads.
    transport: &'static str,
    /// The last id that it was told.
    told: Option<String>,
    /// How many sequences that is behind.
    behind: u64,
    /// For how long its client has taken nothing; `null` where it takes what comes.
    stalled_seconds: Option<f64>,
    /// The other end of its connection: the client, or a proxy.
    peer: Option<String>,
}

pub(super) async fn readers(
    _: Operator,
    State(service): State<Service>,
    params: Params,
) -> Result<Response, Problem> {
    params.check(&["limit", "slow"])?;
    if !params.switch("slow")? {
        return Err(Problem::bad_request(
            "only readers that are behind are told of: ask for `/admin/readers?slow=1`",
        ));
    }
    let limit = limit(&params)?;
    let mut slow = service.shards.slow(limit).await;
    slow.extend(service.paces.slow(service.hub.head(), limit));
    slow.sort_by_key(|one| std::cmp::Reverse(one.behind));
    slow.truncate(limit);
    Ok(json(&Readers {
        readers: slow.into_iter().map(reader).collect(),
        total: service.hub.usage().readers,
    }))
}

fn reader(slow: Slow) -> Reader {
    Reader {
        feeds: slow.patterns,
        transport: match slow.form {
            Form::Lines => "ndjson",
            _ => "sse",
        },
        told: slow.told.map(|id| id.to_string()),
        behind: slow.behind,
        stalled_seconds: slow.stalled.map(|time| time.as_secs_f64()),
        peer: slow.peer.map(|peer| peer.to_string()),
    }
}
