//! What the NATS client has told of its connection by callbacks.

use super::link::Failure;
use crate::config::{NatsSettings, shown_url};
use async_nats::{Event, Server, ServerError};
use std::sync::Arc;
use tokio::sync::watch;

/// What the client's callbacks have heard.
pub(super) struct Notes {
    news: watch::Sender<News>,
    /// The servers' addresses, as they may be shown.
    pub(super) servers: String,
    inbox_prefix: String,
}

#[derive(Clone, Debug, Default)]
pub(super) struct News {
    /// Why there is no connection, or why the last one ended, as a sentence.
    problem: Option<String>,
    /// The last "permissions violation", and how many there have been.
    refusal: (u64, String),
    /// The same for an inbox of ours, over this connection: no answer will ever come.
    inbox_refusal: Option<String>,
}

/// What the server forbids from now on.
pub(super) struct Refusals {
    news: watch::Receiver<News>,
    /// How many there were before.
    before: u64,
}

impl Notes {
    pub(super) fn new(settings: &NatsSettings) -> Arc<Self> {
        Arc::new(Self {
            news: watch::Sender::default(),
            servers: settings.shown_servers(),
            inbox_prefix: format!("\"{}.", settings.inbox_prefix),
        })
    }

    /// Takes in what the client has to say.
    pub(super) fn event(&self, event: &Event) {
        self.news.send_if_modified(|news| match event {
            Event::Connected => {
                news.problem = None;
                news.inbox_refusal = None;
                true
            }
            Event::Disconnected => {
                let cut = || self.unreachable("the connection was cut");
                news.problem.get_or_insert_with(cut);
                true
            }
            Event::ServerError(ServerError::Other(text)) if is_refusal(text) => {
                if text.contains(&self.inbox_prefix) {
                    news.inbox_refusal = Some(text.clone());
                }
                news.refusal = (news.refusal.0 + 1, text.clone());
                true
            }
            Event::ServerError(error) => {
                news.problem = Some(self.unreachable(&error.to_string()));
                true
            }
            // Tells the kind alone; `attempts` may know more.
            Event::ClientError(error) => {
                let unknown = || self.unreachable(&error.to_string());
                news.problem.get_or_insert_with(unknown);
                true
            }
            _ => false,
        });
    }

    /// Takes in why the servers could not be reached, as the client knows it before its next attempt.
    pub(super) fn attempts(&self, servers: &[Server]) {
        let failed = |server: &Server| {
            let error = server.last_error.as_ref()?;
            Some(unreachable(&shown_url(server.addr.as_url_str()), error))
        };
        let failures: Vec<_> = servers.iter().filter_map(failed).collect();
        if !failures.is_empty() {
            self.news
                .send_modify(|news| news.problem = Some(failures.join("; ")));
        }
    }

    /// Tells of whatever is heard from now on.
    pub(super) fn news(&self) -> watch::Receiver<News> {
        self.news.subscribe()
    }

    /// Why there is no connection, as far as it is known.
    pub(super) fn problem(&self) -> String {
        let problem = self.news.borrow().problem.clone();
        problem.unwrap_or_else(|| self.unreachable("no answer yet"))
    }

    /// That there is no connection, and why.
    pub(super) fn unreachable(&self, error: &str) -> String {
        unreachable(&self.servers, error)
    }

    /// What the server forbids from now on.
    pub(super) fn refusals(&self) -> Refusals {
        let news = self.news();
        let before = news.borrow().refusal.0;
        Refusals { news, before }
    }
}

impl Refusals {
    /// That it has forbidden us to hear any answer, where it has.
    pub(super) fn of_inbox(&self) -> Option<String> {
        self.news.borrow().inbox_refusal.clone()
    }

    /// Waits until it forbids `subject`, or forbids us to hear any answer.
    pub(super) async fn of(mut self, subject: &str) -> Failure {
        let quoted = format!("\"{subject}\"");
        loop {
            {
                let news = self.news.borrow_and_update();
                if let Some(text) = &news.inbox_refusal {
                    return Failure::Deaf(text.clone());
                }
                if news.refusal.0 > self.before && news.refusal.1.contains(&quoted) {
                    return Failure::Refused(news.refusal.1.clone());
                }
            }
            if self.news.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }
}

/// That there is no connection to these servers, and why. The client gives a refused login no type of its own.
fn unreachable(servers: &str, error: &str) -> String {
    let lower = error.to_ascii_lowercase();
    let is_login = ["authorization violation", "failed signing nonce"]
        .iter()
        .any(|reason| lower.contains(reason));
    match is_login {
        true => format!("NATS refused the login at {servers}: {error}"),
        false => format!("NATS can't be reached at {servers}: {error}"),
    }
}

fn is_refusal(text: &str) -> bool {
    text.to_ascii_lowercase()
        .starts_with("permissions violation")
}
