//! An issuer's public keys, from where it serves them (RFC 7517, section 5).
//!
//! They are fetched at the start, every [`REFRESH`], and when a token names a key that is not among them: an issuer that
//! changes its keys need not be waited for. Two fetches are [`FLOOR`] apart at least, whatever callers send. When the
//! issuer can't be reached, the keys that are there go on being used.
//!
//! Whether a key that is not there is one of the issuer's is known once a fetch has succeeded that began after the key was
//! first asked for. Until then those who name it are to come back, and after that they are refused.

#[cfg(test)]
mod tests;

use super::authenticator::AuthError;
use super::key::{Key, read_jwks};
use super::unauthorized::Unauthorized;
use crate::config::shown_url;
use parking_lot::Mutex;
use reqwest::{Client, Url, redirect};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// After how long keys are fetched anew, behind those who come meanwhile.
pub const REFRESH: Duration = Duration::from_secs(600);
/// After how long a caller waits for that, unless the issuer is away: keys that nobody has asked for in so long may have
/// been taken back.
pub const STALE: Duration = Duration::from_secs(3600);
/// How far two fetches are apart at least.
pub const FLOOR: Duration = Duration::from_secs(10);
/// How long a fetch may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// The largest answer that is read, in bytes.
pub const MAX_BYTES: usize = 256 << 10;
/// Of how many keys that are not there it is known since when they have been asked for. It is not remembered of more: those
/// who name them may be told to come back once more than they need be.
const MAX_MISSED: usize = 10_000;

/// The keys of one issuer.
#[derive(Debug)]
pub struct Jwks {
    url: Url,
    client: Client,
    held: Mutex<Held>,
    /// Whether they are being fetched: once at a time. It changes while `held` is locked.
    fetching: watch::Sender<bool>,
    /// For the names of keys that are missed.
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Held {
    /// And when their fetch began.
    keys: Option<(Arc<Vec<Key>>, Instant)>,
    /// Since when keys have been asked for that are not there, by the hashes of their names.
    missed: HashMap<u64, Instant>,
    tried: Option<Instant>,
    is_failing: bool,
}

impl Jwks {
    /// Those at `url`; none are fetched yet. It is `https`, or `http` on this machine.
    pub fn new(url: &Url) -> Result<Arc<Self>, AuthError> {
        let is_local = is_local(url);
        if url.scheme() != "https" && !(url.scheme() == "http" && is_local) {
            return Err(AuthError::JwksUrl);
        }
        let mut client = Client::builder()
            .user_agent(concat!("tidings/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            // Whom it sends elsewhere is not whom the settings name.
            .redirect(redirect::Policy::none());
        if is_local {
            client = client.no_proxy();
        }
        let client = client
            .build()
            .map_err(|error| AuthError::Client(error.to_string()))?;
        Ok(Arc::new(Self {
            url: url.clone(),
            client,
            held: Mutex::default(),
            fetching: watch::Sender::new(false),
            hasher: RandomState::new(),
        }))
    }

    /// Whether these are the keys at `url`.
    pub(super) fn is_of(&self, url: &Url) -> bool {
        self.url == *url
    }

    /// The keys, among them one with this `kid` if the issuer has it. Waits for the issuer only where there are none,
    /// none such, or none but old ones. Fails where it can't be known yet whether the issuer has it.
    pub async fn keys(self: &Arc<Self>, kid: Option<&str>) -> Result<Arc<Vec<Key>>, Unauthorized> {
        if let Some((keys, age, is_failing)) = self.held()
            && (age < STALE || is_failing)
            && keys.iter().any(|key| key.is_meant(kid))
        {
            if age >= REFRESH {
                self.start();
            }
            return Ok(keys);
        }
        let asked = self.asked_since(kid);
        self.start();
        self.settled().await;
        let held = self.held.lock();
        let (keys, began) = held.keys.as_ref().ok_or(Unauthorized::Unavailable)?;
        let is_there = keys.iter().any(|key| key.is_meant(kid));
        match is_there || *began >= asked {
            true => Ok(keys.clone()),
            false => Err(Unauthorized::UnknownYet),
        }
    }

    /// Waits until no fetch is under way.
    async fn settled(&self) {
        let mut fetching = self.fetching.subscribe();
        // The sender lives in `self`, so it can't be gone.
        let _ = fetching.wait_for(|fetching| !fetching).await;
    }

    /// When a key that is not there was first asked for.
    fn asked_since(&self, kid: Option<&str>) -> Instant {
        let (name, now) = (self.hasher.hash_one(kid), Instant::now());
        let mut held = self.held.lock();
        match held.missed.len() < MAX_MISSED {
            true => *held.missed.entry(name).or_insert(now),
            false => held.missed.get(&name).copied().unwrap_or(now),
        }
    }

    /// Begins to fetch them, unless that is under way, or was done a moment ago. A task of its own: a caller who goes
    /// away must not take it with him. Needs a tokio runtime.
    pub fn start(self: &Arc<Self>) {
        let mut held = self.held.lock();
        let is_early = held.tried.is_some_and(|tried| tried.elapsed() < FLOOR);
        if is_early || *self.fetching.borrow() {
            return;
        }
        let began = Instant::now();
        held.tried = Some(began);
        self.fetching.send_replace(true);
        drop(held);
        let under_way = UnderWay(self.clone());
        tokio::spawn(async move {
            let UnderWay(jwks) = &under_way;
            let fetched = jwks.fetch().await;
            jwks.take(fetched, began);
        });
    }

    /// The keys that are there, how old they are, and whether the last fetch has failed.
    fn held(&self) -> Option<(Arc<Vec<Key>>, Duration, bool)> {
        let held = self.held.lock();
        let (keys, since) = held.keys.as_ref()?;
        Some((keys.clone(), since.elapsed(), held.is_failing))
    }

    fn take(&self, fetched: Result<Vec<Key>, String>, began: Instant) {
        let mut held = self.held.lock();
        let was_failing = held.is_failing;
        held.is_failing = fetched.is_err();
        let stale = held.keys.is_some();
        let url = shown_url(self.url.as_str());
        match fetched {
            Ok(keys) => {
                // What the fetch before has decided can be asked anew; what this one decides holds until the next.
                if let Some((_, before)) = held.keys.replace((Arc::new(keys), began)) {
                    held.missed.retain(|_, since| *since > before);
                }
                if was_failing {
                    tracing::info!(url, "the keys of the tokens' issuer are fetched again");
                }
            }
            Err(error) if !was_failing => {
                tracing::warn!(
                    url,
                    error,
                    stale,
                    "the keys of the tokens' issuer can't be fetched"
                );
            }
            Err(_) => {}
        }
    }

    /// Those that the issuer serves now, of which at least one can be used; else why there are none. They are not kept.
    pub(crate) async fn fetch(&self) -> Result<Vec<Key>, String> {
        let readable = |error: reqwest::Error| cause(&error.without_url());
        let sent = self.client.get(self.url.clone()).send().await;
        let mut response = sent.map_err(readable)?;
        if response.status() != http::StatusCode::OK {
            return Err(format!("the answer is {}", response.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(readable)? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(format!("the answer has over {MAX_BYTES} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        read_jwks(&body).map_err(|error| error.to_string())
    }
}

/// A fetch, which ends when this is dropped, be it by a panic.
struct UnderWay(Arc<Jwks>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        let _held = self.0.held.lock();
        self.0.fetching.send_replace(false);
    }
}

fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address = address.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// What is at the bottom of an error: that says most.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
