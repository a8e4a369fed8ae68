//! Where a request comes from, and what it may take of what there is for that.

use super::Service;
use super::problem::Problem;
use super::refusal::Refusal;
use super::server::Peer;
use crate::auth::{Caller, Unauthorized};
use crate::clients::{Account, Address, Full, Left, Over, Proxies, Rates, Seat};
use axum::extract::FromRequestParts;
use http::header::HeaderName;
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderValue, StatusCode};
use std::convert::Infallible;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// When those may try again who have as many connections as they may have, in seconds.
const FULL_FOR: u64 = 10;

/// Whoever sends a request, by what is known of where he is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Client {
    /// `None` on this machine.
    pub(super) address: Option<Address>,
    /// The other end of the connection.
    pub(super) peer: Option<SocketAddr>,
}

impl FromRequestParts<Service> for Client {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, service: &Service) -> Result<Self, Infallible> {
        Ok(Self::of(
            &parts.extensions,
            &parts.headers,
            &service.proxies,
        ))
    }
}

impl Client {
    /// The one who sends a request with these.
    pub(super) fn of(extensions: &Extensions, headers: &HeaderMap, proxies: &Proxies) -> Self {
        let Some(Peer(peer)) = extensions.get().copied() else {
            let (address, peer) = (None, None);
            return Self { address, peer };
        };
        let values = headers.get_all(proxies.header()).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let origin = proxies.client(peer.ip(), values);
        // Who comes from this machine, a proxy of this machine alone can say; and of whomever it has said what can't be
        // read, he does not.
        let may_be_here = origin.is_told && peer.ip().to_canonical().is_loopback();
        Self {
            address: match may_be_here {
                true => Address::of(origin.address),
                false => Some(Address::of_proxy(origin.address)),
            },
            peer: Some(peer),
        }
    }

    /// A seat for a stream or a poll.
    pub(super) fn seat(self, service: &Service, caller: &Caller) -> Result<Seat, NoSeat> {
        let seat = service.seats.take(self.address, caller.subject())?;
        service.still(caller)?;
        Ok(seat)
    }

    /// Whose doing it is what a caller does from here.
    pub(super) fn account(self, caller: &Caller) -> Option<Account> {
        caller.account(self.address)
    }
}

/// For the log: by his address, on this machine by that of the connection.
impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.address, self.peer) {
            (Some(address), _) => address.fmt(f),
            (None, Some(peer)) => peer.ip().fmt(f),
            (None, None) => f.write_str("unknown"),
        }
    }
}

/// Why there is no seat.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoSeat {
    #[error(transparent)]
    Full(#[from] Full),
    /// What was shown has been revoked since it was looked at.
    #[error(transparent)]
    Unauthorized(#[from] Unauthorized),
}

impl From<Full> for Problem {
    fn from(error: Full) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())
            .retrying(FULL_FOR)
            .refusing(Refusal::limit("connections", None))
    }
}

/// Takes one of what may be published or sent; the error says with which option that is set.
pub(super) fn take(
    rates: &Rates,
    account: Option<&Account>,
    what: &str,
    option: &'static str,
) -> Result<Option<Left>, Problem> {
    rates.take(account).map_err(|Over { after, left }| {
        let Left { rate, burst, .. } = left;
        let detail = format!(
            "this client may {what} at {rate} a second, and {burst} at once after a pause (--{option}-rate, --{option}-burst); come back in {} ms",
            after.as_millis().max(1)
        );
        let mut problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, detail);
        problem.left = Some(left);
        let subject = match account {
            Some(Account::Subject(subject)) => Some(subject.clone()),
            Some(Account::Address(_)) | None => None,
        };
        let refusal = Refusal::limit(option, subject);
        problem.retrying(seconds(after)).refusing(refusal)
    })
}

/// Says in an answer what is left (draft-ietf-httpapi-ratelimit-headers-10).
pub(super) fn tell(headers: &mut HeaderMap, left: Left) {
    let Left { count, burst, rate } = left;
    let window = burst.div_ceil(rate);
    let policy = format!("\"publish\";q={burst};w={window}");
    let left = format!("\"publish\";r={count}");
    for (name, text) in [(POLICY, policy), (LIMIT, left)] {
        let value = HeaderValue::try_from(text).expect("letters, digits and signs");
        headers.insert(name, value);
    }
}

/// In whole seconds, so that it has surely passed.
fn seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
