//! Who may do what.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`authenticator`] | credentials → who calls |
//! | [`caller`] | who calls, and what he may do |
//! | [`grants`], [`template`] | what may be done, and how it is written down |
//! | [`api_key`] | keys of backends |
//! | [`jwt`], [`claims`] | tokens, and what they say |
//! | [`key`], [`jwks`] | the keys that tokens are signed with |
//! | [`secret`] | what is not to be shown |

pub mod api_key;
pub mod authenticator;
pub mod caller;
pub mod claims;
pub mod grants;
pub mod jwks;
pub mod jwt;
pub mod key;
pub mod secret;
pub mod template;
mod unauthorized;

pub use authenticator::{AuthError, Authenticator};
pub use caller::{Caller, Deed, Denied, Who};
pub use grants::{ClaimGrant, Grants, Permissions};
pub use secret::Secret;
pub use template::Template;
pub use unauthorized::Unauthorized;

use crate::event::{Feed, Pattern, Patterns};

/// What those may do of whom nothing is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Everything: only this machine can reach the listener.
    Local,
    /// What was said to be meant for everyone.
    Anonymous {
        /// What everyone may read.
        subscribe: Vec<Pattern>,
        /// What everyone may publish to.
        publish: Vec<Pattern>,
    },
}

impl Access {
    /// Whether all of the patterns may be read. A grant has to cover the whole of a pattern.
    pub fn subscribe(&self, patterns: &Patterns) -> Result<(), Denied> {
        let Self::Anonymous { subscribe, .. } = self else {
            return Ok(());
        };
        let denied = |asked: &&Pattern| !subscribe.iter().any(|grant| grant.covers(asked));
        match patterns.iter().find(denied) {
            Some(asked) => Err(Denied::anonymous(Deed::Subscribe, asked.as_str())),
            None => Ok(()),
        }
    }

    /// Whether the feed may be published to.
    pub fn publish(&self, feed: &Feed) -> Result<(), Denied> {
        match self {
            Self::Anonymous { publish, .. } if !publish.iter().any(|grant| grant.matches(feed)) => {
                Err(Denied::anonymous(Deed::Publish, feed.as_str()))
            }
            _ => Ok(()),
        }
    }

    /// Whether requests may be sent to backends.
    pub fn request(&self) -> Result<(), Denied> {
        match self {
            Self::Local => Ok(()),
            Self::Anonymous { .. } => Err(Denied::anonymous(Deed::Request, "")),
        }
    }
}
