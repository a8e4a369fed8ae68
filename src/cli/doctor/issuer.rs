//! The keys of the tokens' issuer: whether they can be fetched, and how many can be used.

use super::Finding;
use crate::auth::jwks::Jwks;
use crate::config::shown_url;
use reqwest::Url;

/// Nothing where the URL can't be one, which the settings that go together say.
pub(super) async fn look(url: &Url) -> Option<Finding> {
    let jwks = Jwks::new(url).ok()?;
    let shown = shown_url(url.as_str());
    Some(match jwks.fetch().await {
        Ok(keys) => {
            let count = keys.len();
            Finding::ok(format!(
                "issuer: {shown} is reached, and {count} of its keys can be used (--jwks-url)"
            ))
        }
        Err(error) => Finding::fail(
            format!("issuer: the keys at {shown} can't be fetched (--jwks-url): {error}"),
            "let this machine reach the issuer, or mend the URL",
        ),
    })
}
