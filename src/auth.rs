//! Who may do what.

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

/// Something that is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// A pattern that no grant covers.
    #[error(
        "reading `{0}` is not allowed here; what everyone may read is set with --anonymous-subscribe"
    )]
    Subscribe(Pattern),
    /// A feed that no grant covers.
    #[error(
        "publishing to `{0}` is not allowed here; what everyone may publish to is set with --anonymous-publish"
    )]
    Publish(Feed),
    /// A request to a backend, which only this machine may send.
    #[error(
        "requests to backends are not allowed here: what everyone may do is set with --anonymous-subscribe and --anonymous-publish, and there is no such setting for requests yet"
    )]
    Request,
}

impl Access {
    /// Whether all of the patterns may be read. A grant has to cover the whole of a pattern.
    pub fn subscribe(&self, patterns: &Patterns) -> Result<(), Denied> {
        let Self::Anonymous { subscribe, .. } = self else {
            return Ok(());
        };
        let denied = |asked: &&Pattern| !subscribe.iter().any(|grant| grant.covers(asked));
        match patterns.iter().find(denied) {
            Some(asked) => Err(Denied::Subscribe(asked.clone())),
            None => Ok(()),
        }
    }

    /// Whether the feed may be published to.
    pub fn publish(&self, feed: &Feed) -> Result<(), Denied> {
        match self {
            Self::Anonymous { publish, .. } if !publish.iter().any(|grant| grant.matches(feed)) => {
                Err(Denied::Publish(feed.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether requests may be sent to backends.
    pub fn request(&self) -> Result<(), Denied> {
        match self {
            Self::Local => Ok(()),
            Self::Anonymous { .. } => Err(Denied::Request),
        }
    }
}
