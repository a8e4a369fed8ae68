//! `tidings health`.

use super::remote::{Remote, refusal};
use anyhow::bail;
use clap::Args;
use reqwest::StatusCode;
use std::process::ExitCode;
use std::time::Duration;

/// How long the server may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

const EXAMPLES: &str = "\
Exit codes:
  0  it is ready; with NATS away it is too
  1  it is not: it starts, shuts down, or does not answer; the reason is on standard error
  2  the command line is wrong";

/// See [`super::Command::Health`].
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Health {
    #[command(flatten)]
    remote: Remote,
}

impl Health {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let request = self.remote.client()?.get(self.remote.readiness());
        match request.timeout(ANSWER).send().await {
            Ok(response) if response.status() == StatusCode::OK => Ok(ExitCode::SUCCESS),
            Ok(response) => bail!("{}", refusal(response).await),
            Err(error) => bail!(
                "{} does not answer: {}",
                self.remote.shown(),
                self.remote.cause(&error)
            ),
        }
    }
}
