//! Who may do what.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`authenticator`] | credentials → who calls |
//! | [`caller`] | who calls, and what he may do |
//! | [`denied`] | what may not be done, and what it would take |
//! | [`grants`], [`template`] | what may be done, and how it is written down |
//! | [`overlooked`] | what was written down and grants nothing |
//! | [`api_key`] | keys of backends |
//! | [`jwt`], [`claims`] | tokens, and what they say |
//! | [`revoked`] | whose credentials of before are taken no more |
//! | [`key`], [`jwks`] | the keys that tokens are signed with |
//! | [`secret`] | what is not to be shown |

pub mod api_key;
pub mod authenticator;
pub mod caller;
pub mod claims;
pub mod denied;
pub mod grants;
pub mod jwks;
pub mod jwt;
pub mod key;
pub mod overlooked;
pub mod revoked;
pub mod secret;
pub mod template;
mod unauthorized;

pub use authenticator::{AuthError, Authenticator};
pub use caller::{Caller, Who};
pub use denied::{Deed, Denied};
pub use grants::{ClaimGrant, Grants, Permissions};
pub use overlooked::{Overlooked, Skipped};
pub use revoked::{Revocation, Revoked};
pub use secret::Secret;
pub use template::{Template, Unfilled};
pub(crate) use unauthorized::REVOKED;
pub use unauthorized::{NotTaken, Unauthorized};

use crate::event::Pattern;

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
        /// What everyone may request.
        request: Vec<Pattern>,
        /// Whether the operators' pages are for everyone too.
        admin: bool,
    },
    /// Nothing: they have to show credentials.
    Nothing,
}

impl Access {
    /// The same on a listener that others may reach, and whether the operators' pages are for everyone there.
    #[must_use]
    pub fn with_admin(&self, admin: bool) -> Self {
        let (subscribe, publish, request) = match self {
            Self::Anonymous {
                subscribe,
                publish,
                request,
                ..
            } => (subscribe.clone(), publish.clone(), request.clone()),
            Self::Local | Self::Nothing if admin => Default::default(),
            Self::Local | Self::Nothing => return Self::Nothing,
        };
        Self::Anonymous {
            subscribe,
            publish,
            request,
            admin,
        }
    }
}
