//! Errors as clients read them.

use serde::Deserialize;

/// What is read of a problem (RFC 9457), or of what `/readyz` answers.
#[derive(Deserialize)]
struct Problem {
    #[serde(alias = "reason")]
    detail: String,
}

/// What an answer with this body says went wrong; `None` where it is no problem.
pub(crate) fn detail(body: &[u8]) -> Option<String> {
    let problem: Problem = serde_json::from_slice(body).ok()?;
    Some(problem.detail)
}
