//! Who calls, and what he may do.

use super::Access;
use super::denied::{Deed, Denied};
use super::grants::Grants;
use super::unauthorized::NotTaken;
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
    /// What everyone may do, where he has shown credentials: that is not his by itself.
    everyone: Option<Arc<Grants>>,
    /// Where he has shown no credentials and these are taken: what he has shown in their place.
    may_show: Option<NotTaken>,
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

impl Caller {
    /// One on this machine, where there is no authentication: everything is allowed.
    pub fn local() -> Self {
        Self {
            who: Who::Local,
            grants: Arc::default(),
            expires: None,
            issued: None,
            everyone: None,
            may_show: None,
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
            everyone: None,
            may_show: None,
            is_backend: false,
        }
    }

    /// The same where credentials are taken, and he has shown none.
    #[must_use]
    pub fn who_may_show_more(self) -> Self {
        Self {
            may_show: Some(NotTaken::Nothing),
            ..self
        }
    }

    /// The same where he has shown this in the place of credentials.
    #[must_use]
    pub fn having_shown(self, not_taken: NotTaken) -> Self {
        Self {
            may_show: self.may_show.map(|_| not_taken),
            ..self
        }
    }

    /// The same where everyone may do what that one may who has shown nothing.
    #[must_use]
    pub fn beside(self, nobody: Option<&Self>) -> Self {
        Self {
            everyone: nobody.map(|nobody| nobody.grants.clone()),
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
            everyone: None,
            may_show: None,
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
            false => {
                let everyone = self.everyone(|all| &all.subscribe, |grant| grant.covers(asked));
                Err(self.denied(Deed::Subscribe, asked.as_str(), everyone))
            }
        }
    }

    /// Whether he may publish to the feed.
    pub fn publish(&self, feed: &Feed) -> Result<(), Denied> {
        match self.may(|grants| grants.may_publish(feed)) {
            true => Ok(()),
            false => {
                let everyone = self.everyone(|all| &all.publish, |grant| grant.matches(feed));
                Err(self.denied(Deed::Publish, feed.as_str(), everyone))
            }
        }
    }

    /// Whether he may publish to any feed at all.
    pub fn publish_anything(&self) -> Result<(), Denied> {
        match self.may(|grants| !grants.publish.is_empty()) {
            true => Ok(()),
            false => {
                let everyone = self.everyone(|all| &all.publish, |_| true);
                Err(self.denied(Deed::Publish, ">", everyone))
            }
        }
    }

    /// Whether he may request this.
    pub fn request(&self, name: &Feed) -> Result<(), Denied> {
        match self.may(|grants| grants.may_request(name)) {
            true => Ok(()),
            false => {
                let everyone = self.everyone(|all| &all.request, |grant| grant.matches(name));
                Err(self.denied(Deed::Request, name.as_str(), everyone))
            }
        }
    }

    /// Whether the operators' pages are open to him.
    pub fn admin(&self) -> Result<(), Denied> {
        match self.may(|grants| grants.admin) {
            true => Ok(()),
            false => Err(self.denied(Deed::Admin, "", None)),
        }
    }

    fn may(&self, granted: impl FnOnce(&Grants) -> bool) -> bool {
        self.who == Who::Local || granted(&self.grants)
    }

    /// The pattern of everyone's that allows something.
    fn everyone(
        &self,
        of: impl FnOnce(&Grants) -> &Vec<Pattern>,
        allows: impl Fn(&Pattern) -> bool,
    ) -> Option<Pattern> {
        let mut grants = of(self.everyone.as_deref()?).iter();
        grants.find(|grant| allows(grant)).cloned()
    }

    fn denied(&self, deed: Deed, name: &str, everyone: Option<Pattern>) -> Denied {
        Denied {
            deed,
            name: name.to_owned(),
            anonymous: self.who == Who::Anonymous,
            subject: match &self.who {
                Who::Known(subject) => subject.clone(),
                Who::Local | Who::Anonymous => None,
            },
            is_backend: self.is_backend,
            everyone,
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
    fn who_shows_credentials_is_told_where_he_could_do_it_without() {
        let nobody = Caller::anonymous(grants());
        let caller = Caller::known(Some("ann"), Grants::default(), None).beside(Some(&nobody));
        for (denied, told) in [
            (
                caller.subscribe(&patterns(&["a.x"])),
                Some("--grant-subscribe 'a.>'"),
            ),
            (
                caller.publish(&"b.x".parse().unwrap()),
                Some("--grant-publish 'b.*'"),
            ),
            (
                caller.request(&"c".parse().unwrap()),
                Some("--grant-request 'c'"),
            ),
            (caller.subscribe(&patterns(&["z"])), None),
            (caller.admin(), None),
        ] {
            let text = denied.unwrap_err().to_string();
            assert_eq!(text.contains("everyone"), told.is_some(), "{text}");
            assert!(text.contains(told.unwrap_or_default()), "{text}");
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
