//! What may not be done, and what it would take.

use super::unauthorized::NotTaken;
use crate::event::Pattern;
use std::sync::Arc;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Reading feeds.
    Subscribe,
    /// Publishing to a feed.
    Publish,
    /// Requesting something of a backend.
    Request,
    /// Opening the operators' pages.
    Admin,
}

impl Deed {
    /// The permission that it takes.
    pub fn permission(self) -> &'static str {
        match self {
            Self::Subscribe => "subscribe",
            Self::Publish => "publish",
            Self::Request => "request",
            Self::Admin => "admin",
        }
    }
}

/// Something that a caller may not do; says what it would take, and nothing of what others may who show credentials.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Denied {
    /// What was asked for.
    pub deed: Deed,
    /// The pattern or feed; empty for [`Deed::Admin`].
    pub name: String,
    /// Whether nothing is known of the caller.
    pub anonymous: bool,
    /// The subject of his token, or the name of his API key.
    pub subject: Option<Arc<str>>,
    /// Whether he has shown an API key.
    pub is_backend: bool,
    /// What allows it to everyone who shows nothing.
    pub everyone: Option<Pattern>,
    /// Where he has shown no credentials and these might help: what he has shown in their place.
    pub may_show: Option<NotTaken>,
}

impl Denied {
    /// What is to be known where it would be allowed without credentials.
    fn of_everyone(&self) -> String {
        let word = self.deed.permission();
        let Some(pattern) = &self.everyone else {
            return String::new();
        };
        let grant = match self.is_backend {
            true => format!("`{word}={pattern}` in its line grants it to an API key"),
            false => format!("--grant-{word} '{pattern}' grants it to every token"),
        };
        format!(
            "; it is for everyone who shows nothing (--anonymous-{word}), and who shows a token or an API key may do what that grants and nothing else: {grant}"
        )
    }

    fn text(&self) -> String {
        let (doing, all) = match self.deed {
            Deed::Subscribe => ("reading", "read"),
            Deed::Publish => ("publishing to", "publish to"),
            Deed::Request => ("requesting", "request"),
            Deed::Admin if self.anonymous && self.may_show.is_none() => {
                return "this takes the permission `admin`, which nobody has without authentication; --admin-listen opens a listener for operators".to_owned();
            }
            Deed::Admin => {
                let how = match self.may_show {
                    Some(shown) => format!(
                        ": a token or an API key, as `Authorization: Bearer …`{}",
                        shown.beside()
                    ),
                    None => String::new(),
                };
                return format!("this takes the permission `admin`{how}");
            }
        };
        let (name, word) = (&self.name, self.deed.permission());
        match (self.anonymous, self.may_show) {
            (true, Some(not_taken)) => format!(
                "{doing} `{name}` takes credentials: a token or an API key as `Authorization: Bearer …`{}; what everyone may {all} is set with --anonymous-{word}",
                not_taken.beside()
            ),
            (true, None) => format!(
                "{doing} `{name}` is not allowed here; what everyone may {all} is set with --anonymous-{word}"
            ),
            (false, _) => format!(
                "{doing} `{name}` is not allowed with these credentials; it takes the permission `{word}` for a pattern that covers `{name}`{}",
                self.of_everyone()
            ),
        }
    }
}
