//! Who calls, and what he may do.

use super::Access;
use super::grants::Grants;
use crate::clients::{Account, Address};
use crate::event::{Feed, Pattern, Patterns};
use std::sync::Arc;
use std::time::SystemTime;

/// One who asks for something, and what he may do. Cloning shares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    who: Who,
    grants: Arc<Grants>,
    /// When what he has shown of himself ends.
    expires: Option<SystemTime>,
    /// When it was issued, where that is known.
    issued: Option<SystemTime>,
    /// Whether he has shown nothing where credentials are taken.
    may_show: bool,
    /// Whether he may do as much as he likes of what he may do.
    is_backend: bool,
}

/// What is known of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// Nothing, and nothing need be: only this machine can reach the listener.
    Local,
    /// Nothing.
    Anonymous,
    /// The subject of a token or the name of an API key; a token need not have a subject.
    Known(Option<Arc<str>>),
}

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

/// Something that a caller may not do; says what it would take, and nothing of what others may.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.text())]
pub struct Denied {
    /// What was asked for.
    pub deed: Deed,
    /// The pattern or feed; empty for [`Deed::Admin`].
    pub name: String,
    /// Whether nothing is known of the caller.
    pub anonymous: bool,
    /// Whether he has shown nothing where credentials are taken: they might help.
    pub may_show: bool,
}

impl Caller {
    /// One on this machine, where there is no authentication: everything is allowed.
    pub fn local() -> Self {
        Self {
            who: Who::Local,
            grants: Arc::default(),
            expires: None,
            issued: None,
            may_show: false,
            is_backend: false,
        }
    }

    /// One of whom nothing is known.
    pub fn anonymous(grants: Grants) -> Self {
        Self {
            who: Who::Anonymous,
            grants: Arc::new(grants),
            expires: None,
            issued: None,
            may_show: false,
            is_backend: false,
        }
    }

    /// The same where credentials are taken, and he has shown none.
    #[must_use]
    pub fn who_may_show_more(self) -> Self {
        Self {
            may_show: true,
            ..self
        }
    }

    /// One who has shown an API key, which are for the operator's own backends.
    pub fn backend(name: &str, grants: Grants) -> Self {
        Self {
            is_backend: true,
            ..Self::known(Some(name), grants, None)
        }
    }

    /// One who has shown a token.
    pub fn known(subject: Option<&str>, grants: Grants, expires: Option<SystemTime>) -> Self {
        Self {
            who: Who::Known(subject.map(Arc::from)),
            grants: Arc::new(grants),
            expires,
            issued: None,
            may_show: false,
            is_backend: false,
        }
    }

    /// The same by what was issued then.
    #[must_use]
    pub fn issued_at(self, issued: Option<SystemTime>) -> Self {
        Self { issued, ..self }
    }

    /// Whose doing it is what he does, from this address; nobody's where he may do as much as he likes.
    pub fn account(&self, address: Option<Address>) -> Option<Account> {
        match self.subject() {
            _ if self.is_backend => None,
            Some(subject) => Some(Account::Subject(subject.into())),
            None => address.map(Account::Address),
        }
    }

    /// What is known of him.
    pub fn who(&self) -> &Who {
        &self.who
    }

    /// The subject of his token, or the name of his API key.
    pub fn subject(&self) -> Option<&str> {
        match &self.who {
            Who::Known(subject) => subject.as_deref(),
            Who::Local | Who::Anonymous => None,
        }
    }

    /// What he has been granted; a local caller may do everything without any of it.
    pub fn grants(&self) -> &Grants {
        &self.grants
    }

    /// From when on he is not known any more: the token's `exp` and the leeway. `None` for never.
    pub fn expires(&self) -> Option<SystemTime> {
        self.expires
    }

    /// When his token was issued, where it says so.
    pub fn issued(&self) -> Option<SystemTime> {
        self.issued
    }

    /// Whether he has shown an API key.
    pub fn is_backend(&self) -> bool {
        self.is_backend
    }

    /// Whether he may read all of the patterns. One grant has to cover the whole of a pattern: `a.>` covers `a.*`, and
    /// not the other way.
    pub fn subscribe(&self, patterns: &Patterns) -> Result<(), Denied> {
        patterns
            .iter()
            .try_for_each(|asked| self.may_subscribe(asked))
    }

    /// The same of a single one.
    pub fn may_subscribe(&self, asked: &Pattern) -> Result<(), Denied> {
        match self.may(|grants| grants.may_subscribe(asked)) {
            true => Ok(()),
            false => Err(self.denied(Deed::Subscribe, asked.as_str())),
        }
    }

    /// Whether he may publish to the feed.
    pub fn publish(&self, feed: &Feed) -> Result<(), Denied> {
        match self.may(|grants| grants.may_publish(feed)) {
            true => Ok(()),
            false => Err(self.denied(Deed::Publish, feed.as_str())),
        }
    }

    /// Whether he may request this.
    pub fn request(&self, name: &Feed) -> Result<(), Denied> {
        match self.may(|grants| grants.may_request(name)) {
            true => Ok(()),
            false => Err(self.denied(Deed::Request, name.as_str())),
        }
    }

    /// Whether the operators' pages are open to him.
    pub fn admin(&self) -> Result<(), Denied> {
        match self.may(|grants| grants.admin) {
            true => Ok(()),
            false => Err(self.denied(Deed::Admin, "")),
        }
    }

    fn may(&self, granted: impl FnOnce(&Grants) -> bool) -> bool {
        self.who == Who::Local || granted(&self.grants)
    }

    fn denied(&self, deed: Deed, name: &str) -> Denied {
        Denied {
            deed,
            name: name.to_owned(),
            anonymous: self.who == Who::Anonymous,
            may_show: self.may_show,
        }
    }
}

/// One of whom nothing is known, where nothing need be.
impl From<&Access> for Caller {
    fn from(access: &Access) -> Self {
        match access {
            Access::Local => Self::local(),
            Access::Anonymous {
                subscribe,
                publish,
                request,
                admin,
            } => Self::anonymous(Grants {
                subscribe: subscribe.clone(),
                publish: publish.clone(),
                request: request.clone(),
                admin: *admin,
                ..Grants::default()
            }),
            Access::Nothing => Self::anonymous(Grants::default()),
        }
    }
}

impl Denied {
    fn text(&self) -> String {
        let (doing, all, word) = match self.deed {
            Deed::Subscribe => ("reading", "read", "subscribe"),
            Deed::Publish => ("publishing to", "publish to", "publish"),
            Deed::Request => ("requesting", "request", "request"),
            Deed::Admin if self.anonymous && !self.may_show => {
                return "this takes the permission `admin`, which nobody has without authentication; --admin-listen opens a listener for operators".to_owned();
            }
            Deed::Admin => return "this takes the permission `admin`".to_owned(),
        };
        let name = &self.name;
        match (self.anonymous, self.may_show) {
            (true, true) => format!(
                "{doing} `{name}` takes credentials: a token or an API key as `Authorization: Bearer …`; what everyone may {all} is set with --anonymous-{word}"
            ),
            (true, false) => format!(
                "{doing} `{name}` is not allowed here; what everyone may {all} is set with --anonymous-{word}"
            ),
            (false, _) => format!(
                "{doing} `{name}` is not allowed with these credentials; it takes the permission `{word}` for a pattern that covers `{name}`"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants() -> Grants {
        Grants {
            subscribe: vec!["a.>".parse().unwrap()],
            publish: vec!["b.*".parse().unwrap()],
            request: vec!["c".parse().unwrap()],
            ..Grants::default()
        }
    }

    fn patterns(all: &[&str]) -> Patterns {
        let all = all.iter().map(|one| one.parse().unwrap()).collect();
        Patterns::new(all, 9).unwrap()
    }

    #[test]
    fn a_local_caller_may_do_everything() {
        let caller = Caller::from(&Access::Local);
        assert_eq!(caller.subscribe(&patterns(&[">"])), Ok(()));
        assert_eq!(caller.publish(&"x".parse().unwrap()), Ok(()));
        assert_eq!(caller.request(&"x".parse().unwrap()), Ok(()));
        assert_eq!(caller.admin(), Ok(()));
        assert_eq!((caller.subject(), caller.expires()), (None, None));
    }

    #[test]
    fn the_others_may_do_what_they_are_granted_and_are_told_what_it_would_take() {
        let caller = Caller::known(Some("ann"), grants(), None);
        assert_eq!(caller.subject(), Some("ann"));
        assert_eq!(
            caller.subscribe(&patterns(&["a.x", "a.*", "a.b.>"])),
            Ok(())
        );
        assert_eq!(caller.publish(&"b.x".parse().unwrap()), Ok(()));
        assert_eq!(caller.request(&"c".parse().unwrap()), Ok(()));
        let denied = caller.subscribe(&patterns(&["a.x", "z.>"])).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "reading `z.>` is not allowed with these credentials; it takes the permission `subscribe` for a pattern that covers `z.>`"
        );
        for denied in [
            caller.subscribe(&patterns(&["*.x"])),
            caller.publish(&"b".parse().unwrap()),
            caller.request(&"c.d".parse().unwrap()),
            caller.admin(),
        ] {
            let text = denied.unwrap_err().to_string();
            assert!(!text.contains("a.>") && !text.contains("b.*"), "{text}");
        }
    }

    #[test]
    fn one_of_whom_nothing_is_known_is_told_of_the_options() {
        let caller = Caller::anonymous(grants());
        let denied = caller.publish(&"x".parse().unwrap()).unwrap_err();
        assert!(denied.anonymous);
        assert_eq!(
            denied.to_string(),
            "publishing to `x` is not allowed here; what everyone may publish to is set with --anonymous-publish"
        );
    }
}
