//! The command line.

mod bench;
mod serve;

use crate::config::Settings;
use clap::{Args, Parser, Subcommand};

/// A notification service: events in over NATS or HTTP, out as Server-Sent Events, with exact resume.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true, flatten_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server; what `tidings` does by itself.
    Serve(Box<Serve>),
    /// Measures a server: opens readers, publishes, and tells what came of it.
    Bench(Box<bench::Bench>),
}

#[derive(Debug, Args)]
struct Serve {
    #[command(flatten)]
    settings: Settings,
    /// What to log: error, warn, info, debug or trace, or a filter such as `tidings=debug`.
    #[arg(
        long,
        env = "TIDINGS_LOG",
        value_name = "FILTER",
        default_value = "info"
    )]
    log: String,
}

impl Cli {
    /// Does what was asked.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            None => serve::run(self.serve).await,
            Some(Command::Serve(serve)) => serve::run(*serve).await,
            Some(Command::Bench(bench)) => bench.run().await,
        }
    }
}
