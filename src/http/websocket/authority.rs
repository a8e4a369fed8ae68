//! Who is at the other end of a WebSocket, and for how long.

use crate::auth::{Caller, Secret, Unauthorized, Who};
use crate::http::Service;
use crate::http::problem::Problem;
use crate::hub::{Due, Term};
use http::{HeaderMap, Method, StatusCode, Uri};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Who is at the other end.
#[derive(Debug)]
pub(super) enum Authority {
    /// Nobody yet: until then he has to say who he is.
    Awaited(Instant),
    /// This one, for as long as his token holds.
    Known(Caller, Option<Term>),
}

/// What comes due by itself.
pub(super) enum Turn {
    /// Nobody has said who he is.
    Silent,
    /// His token will have expired, or has.
    Token(Due),
}

impl Authority {
    /// Who opens a WebSocket by this request.
    pub(super) async fn of(
        service: &Service,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let credentials = &service.credentials;
        credentials.origins().check_socket(uri, headers)?;
        // What comes over it later may change things.
        let safe = false;
        let shown = credentials.shown(uri, headers, &Method::GET, safe)?;
        if shown.is_none() && !credentials.takes_nothing() {
            return Ok(Self::Awaited(Instant::now() + service.head_timeout));
        }
        let caller = credentials
            .caller(shown.as_ref().map(Secret::expose))
            .await?;
        Ok(Self::known(caller))
    }

    fn known(caller: Caller) -> Self {
        let term = caller.expires().map(Term::new);
        Self::Known(caller, term)
    }

    /// His subject, if it is known.
    pub(super) fn subject(&self) -> Option<&str> {
        match self {
            Self::Known(caller, _) => caller.subject(),
            Self::Awaited(_) => None,
        }
    }

    /// Who it is, if that is known.
    pub(super) fn caller(&self) -> Result<&Caller, Problem> {
        match self {
            Self::Known(caller, _) => Ok(caller),
            Self::Awaited(_) => Err(Unauthorized::Missing.into()),
        }
    }

    /// Takes another token in the place of what was shown before, of the same subject.
    pub(super) async fn renew(
        &mut self,
        service: &Service,
        shown: Option<&Secret>,
    ) -> Result<(), Problem> {
        if !service.credentials.are_taken() {
            return Err(Problem::new(
                StatusCode::NOT_IMPLEMENTED,
                "this server has no authentication: what may be done needs none",
            ));
        }
        let shown = shown.ok_or_else(|| {
            Problem::unprocessable("the message has no `token`, a token or an API key")
        })?;
        let caller = service.credentials.caller(Some(shown.expose())).await?;
        if let Self::Known(known, _) = self
            && matches!(known.who(), Who::Known(_))
            && known.who() != caller.who()
        {
            return Err(Problem::new(
                StatusCode::FORBIDDEN,
                "the token is of another subject than the one before: open another connection for it",
            ));
        }
        *self = Self::known(caller);
        Ok(())
    }

    /// What he is told of a token that was taken, as JSON.
    pub(super) fn json(&self) -> String {
        let Self::Known(caller, term) = self else {
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
        match self {
            Self::Awaited(until) => {
                sleep_until(*until).await;
                Turn::Silent
            }
            Self::Known(_, Some(term)) => Turn::Token(term.next().await),
            Self::Known(_, None) => std::future::pending().await,
        }
    }
}
