//! Who is at the other end of a WebSocket, and for how long.

use crate::auth::{Caller, NotTaken, Secret, Unauthorized, Who};
use crate::clients::{Account, Seat};
use crate::http::Service;
use crate::http::client::Client;
use crate::http::problem::Problem;
use crate::http::refusal::Refusal;
use crate::hub::{Due, Term};
use http::{HeaderMap, Method, StatusCode, Uri};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Who is at the other end.
#[derive(Debug)]
pub(super) struct Authority {
    client: Client,
    who: Known,
    /// What his address holds of the connection, and what his subject does.
    _of_address: Seat,
    of_subject: Seat,
}

/// What is known of him.
#[derive(Debug)]
enum Known {
    /// Nothing yet: until then he has to say who he is.
    Awaited(Instant),
    /// This, for as long as his token holds.
    Caller(Caller, Option<Term>),
}

/// What comes due by itself.
pub(super) enum Turn {
    /// Nobody has said who he is.
    Silent,
    /// His token will have expired, or has.
    Token(Due),
    /// His subject was revoked.
    Revoked,
}

impl Authority {
    /// Who opens a WebSocket by this request.
    pub(super) async fn of(
        service: &Service,
        client: Client,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let credentials = &service.credentials;
        credentials.origins().check_socket(uri, headers)?;
        // What comes over it later may change things.
        let safe = false;
        let shown = credentials.shown(uri, headers, &Method::GET, safe)?;
        let who = match shown.is_none() && !credentials.takes_nothing() {
            true => Known::Awaited(Instant::now() + service.head_timeout),
            false => Known::new(credentials.sender(uri, headers, shown).await?),
        };
        let seats = &service.seats;
        let authority = Self {
            client,
            _of_address: seats.take(client.address, None)?,
            of_subject: seats.take(None, who.subject())?,
            who,
        };
        if let Known::Caller(caller, _) = &authority.who {
            credentials.still(&service.renewing.read(), caller)?;
        }
        Ok(authority)
    }

    /// Whether his subject was revoked.
    pub(super) fn is_revoked(&self) -> bool {
        self.of_subject.is_revoked()
    }

    /// His subject, if it is known.
    pub(super) fn subject(&self) -> Option<&str> {
        self.who.subject()
    }

    /// Where he is.
    pub(super) fn client(&self) -> Client {
        self.client
    }

    /// The other end of the connection.
    pub(super) fn peer(&self) -> Option<SocketAddr> {
        self.client.peer
    }

    /// Who it is, if that is known.
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        match &self.who {
            Known::Caller(caller, _) => Ok(caller),
            Known::Awaited(_) => Err(Unauthorized::Missing(NotTaken::Nothing).into()),
        }
    }

    /// Whose doing it is what he does.
    pub(super) fn account(&self) -> Option<Account> {
        match &self.who {
            Known::Caller(caller, _) => self.client.account(caller),
            Known::Awaited(_) => self.client.address.map(Account::Address),
        }
    }

    /// Takes another token in the place of what was shown before, of the same subject.
    pub(super) async fn renew(
        &mut self,
        service: &Service,
        shown: Option<&Secret>,
    ) -> Result<(), Problem> {
        let credentials = service.renewing.read().clone();
        if !credentials.are_taken() {
            return Err(Problem::new(
                StatusCode::NOT_IMPLEMENTED,
                "this server has no authentication: what may be done needs none",
            ));
        }
        let shown = shown.ok_or_else(|| {
            Problem::unprocessable("the message has no `token`, a token or an API key")
        })?;
        let caller = credentials.caller(Some(shown.expose())).await?;
        if let Known::Caller(known, _) = &self.who
            && matches!(known.who(), Who::Known(_))
            && known.who() != caller.who()
        {
            let detail = "the token is of another subject than the one before: open another connection for it";
            let refusal = Refusal::grant("auth", caller.subject().map(Arc::from));
            return Err(Problem::new(StatusCode::FORBIDDEN, detail).refusing(refusal));
        }
        let is_new = self.of_subject.subject() != caller.subject();
        let seat = is_new.then(|| service.seats.take(None, caller.subject()));
        let seat = seat.transpose()?;
        credentials.still(&service.renewing.read(), &caller)?;
        if let Some(seat) = seat {
            self.of_subject = seat;
        }
        self.who = Known::new(caller);
        Ok(())
    }

    /// What he is told of a token that was taken, as JSON.
    pub(super) fn json(&self) -> String {
        let Known::Caller(caller, term) = &self.who else {
            return "{}".to_owned();
        };
        let subject = caller.subject().map(|subject| {
            let subject = serde_json::to_string(subject).expect("strings are JSON");
            format!("\"subject\":{subject}")
        });
        let rest = |term: &Term| term.ends.saturating_duration_since(Instant::now());
        let expires = term.as_ref().map(rest).as_ref().map(Duration::as_secs);
        let expires = expires.map(|seconds| format!("\"expires_in\":{seconds}"));
        let members: Vec<String> = subject.into_iter().chain(expires).collect();
        format!("{{{}}}", members.join(","))
    }

    /// What comes due next, or never. Cancel-safe.
    pub(super) async fn turn(&mut self) -> Turn {
        tokio::select! {
            biased;
            () = self.of_subject.revoked() => Turn::Revoked,
            turn = self.who.turn() => turn,
        }
    }
}

impl Known {
    fn new(caller: Caller) -> Self {
        let term = caller.expires().map(Term::new);
        Self::Caller(caller, term)
    }

    fn subject(&self) -> Option<&str> {
        match self {
            Self::Awaited(_) => None,
            Self::Caller(caller, _) => caller.subject(),
        }
    }

    async fn turn(&mut self) -> Turn {
        match self {
            Self::Awaited(until) => {
                sleep_until(*until).await;
                Turn::Silent
            }
            Self::Caller(_, Some(term)) => Turn::Token(term.next().await),
            Self::Caller(_, None) => std::future::pending().await,
        }
    }
}
