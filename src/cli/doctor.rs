//! `tidings doctor`: looks at the machine, the settings and the way to a server, and says what to change.

mod certificate;
mod files;
mod issuer;
mod log;
mod machine;
mod round_trip;

use super::config::{Told, with_places};
use super::remote::{Credential, Remote, Trust, parse_url};
use super::{Serve, printable};
use crate::app::check;
use clap::Args;
use reqwest::Url;
use std::fmt;
use std::io::Write;
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  tidings doctor                                       this machine, for a server with its defaults
  tidings doctor --config /etc/tidings.toml            with the settings of a server, as its user
  tidings doctor --url https://events.example.com      the way to a server that runs, proxies and all

It creates nothing and changes nothing; with --url it publishes one event to a feed `doctor.<run>`, and reads it: a server \
that says what everyone may do needs --anonymous-publish 'doctor.>' --anonymous-subscribe 'doctor.>' for it, or --token \
here.

Exit codes:
  0  nothing has failed
  1  something has, as its line says
  2  the settings are wrong";

/// See [`super::Command::Doctor`].
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {
    /// A server that runs, as its clients reach it: tries whether events come through at once.
    #[arg(long, env = "TIDINGS_URL", value_name = "URL", value_parser = parse_url)]
    url: Option<Url>,

    #[command(flatten)]
    credential: Credential,

    #[command(flatten)]
    trust: Trust,

    #[command(flatten)]
    serve: Serve,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Ok,
    /// It may do, and better would be otherwise.
    Warn,
    /// The server can't do what it is told.
    Fail,
}

/// What was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Finding {
    verdict: Verdict,
    what: String,
    /// What to change; empty where nothing is.
    change: String,
}

impl Finding {
    fn ok(what: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, what, "")
    }

    fn warn(what: impl Into<String>, change: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, what, change)
    }

    fn fail(what: impl Into<String>, change: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, what, change)
    }

    fn new(verdict: Verdict, what: impl Into<String>, change: impl Into<String>) -> Self {
        Self {
            verdict,
            what: what.into(),
            change: change.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Warn => "warn",
            Verdict::Fail => "fail",
        };
        write!(f, "{verdict:4}  {}", printable(&self.what))?;
        match self.change.is_empty() {
            true => Ok(()),
            false => write!(f, " — {}", printable(&self.change)),
        }
    }
}

impl Doctor {
    /// Looks at everything, and prints what it finds as it does.
    pub(super) async fn run(self, told: &[Told]) -> anyhow::Result<ExitCode> {
        let settings = &self.serve.settings;
        let mut all = machine::look(settings).await;
        all.push(match check(settings) {
            Ok(()) => Finding::ok("the settings go together"),
            Err(error) => Finding::fail(with_places(&error, told), ""),
        });
        if let Some(url) = &settings.auth.jwks_url {
            all.extend(issuer::look(url).await);
        }
        all.extend(certificate::look(&settings.tls));
        all.extend(files::secrets(told));
        all.extend(settings.data.folder.as_deref().map(files::data));
        let mut failed = show(&all)?;
        if !settings.nats.servers.is_empty() {
            failed |= show(&[log::look(settings).await])?;
        }
        if let Some(url) = self.url {
            let remote = Remote::new(url, self.credential, self.trust);
            failed |= show(&round_trip::look(&remote).await)?;
        }
        Ok(match failed {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    }
}

/// Prints findings, and says whether any has failed.
fn show(all: &[Finding]) -> std::io::Result<bool> {
    let mut out = std::io::stdout();
    for finding in all {
        writeln!(out, "{finding}")?;
    }
    Ok(all.iter().any(|one| one.verdict == Verdict::Fail))
}
