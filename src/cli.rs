//! The command line.

mod bench;
mod config;
mod doctor;
mod environment;
mod file;
mod given;
mod health;
mod publish;
mod reload;
mod remote;
mod serve;
mod tail;
mod token;
mod verify;

use crate::config::Settings;
use crate::version::BUILD;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use config::Told;
use publish::Publish;
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use tail::Tail;

const EXAMPLES: &str = "\
Examples:
  tidings                                      a server on 127.0.0.1:8080, its log in memory
  tidings --nats nats://127.0.0.1:4222         its log in JetStream, shared by all replicas
  tidings publish orders.eu '{\"n\":1}'          publishes an event
  tidings tail 'orders.>'                      follows feeds
  tidings verify                               tries whether anything is lost
  tidings doctor                               looks at this machine, and says what to change
  tidings token --jwt-key-file F --sub ann     makes a token to develop with

Quote patterns and URLs: zsh expands `*`, and every shell redirects on `>`.
Each option can be given as the variable named beside it, and those of a server in a file (--config): the command \
line comes first, then the variables, then the file.";

/// A notification service: events in over NATS or HTTP, out as Server-Sent Events, with exact resume.
#[derive(Parser)]
#[command(version = BUILD, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
    #[arg(skip)]
    given: Given,
}

/// What the settings of a server were read from, and what came of it.
#[derive(Clone, Default)]
struct Given {
    arguments: Vec<OsString>,
    told: Vec<Told>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the server; what `tidings` does by itself.
    Serve(Box<Serve>),
    /// Prints the settings that a server would have, and where each comes from, without the secrets.
    Config(Box<Config>),
    /// Looks at this machine, the settings and the way to a server, and says what to change.
    Doctor(Box<doctor::Doctor>),
    /// Publishes one event, and prints its id.
    Publish(Publish),
    /// Follows feeds, and prints their events as they come.
    Tail(Tail),
    /// Asks a server whether it is ready: a health check for containers without a shell.
    Health(health::Health),
    /// Measures a server: opens readers, publishes, and tells what came of it.
    Bench(Box<bench::Bench>),
    /// Holds a deployment to its promise: publishes, reads, and tells what was lost without a word.
    Verify(Box<verify::Verify>),
    /// Makes a token to develop with, or an API key.
    Token(Box<token::Token>),
}

#[derive(Debug, Args)]
struct Config {
    /// Only the settings that are given anywhere.
    #[arg(long)]
    set: bool,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Debug, Args)]
struct Serve {
    /// A file of settings (TOML): its keys are the long names of these options. Read again on SIGHUP.
    #[arg(long, env = "TIDINGS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// What to log: error, warn, info, debug, trace or off, or a filter such as `info,tidings=debug`.
    #[arg(
        long,
        env = "TIDINGS_LOG",
        value_name = "FILTER",
        default_value = "info,async_nats=off",
        value_parser = serve::parse_filter
    )]
    log: String,
    /// How to log: lines for people, or a JSON object a line.
    #[arg(
        long,
        env = "TIDINGS_LOG_FORMAT",
        value_name = "FORMAT",
        default_value = "text"
    )]
    log_format: LogFormat,
}

/// The form of what is logged.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

impl Cli {
    /// What the command line, the variables and the file of settings say. Ends the program where that is wrong or asks
    /// for help.
    pub fn read() -> Self {
        let arguments: Vec<OsString> = std::env::args_os().collect();
        Self::of(arguments).unwrap_or_else(|error| error.exit())
    }

    /// The same with this command line.
    fn of(arguments: Vec<OsString>) -> Result<Self, clap::Error> {
        let mut command = Self::command();
        let (matches, places) = given::read(&mut command, &arguments)?;
        let mut read = Self::from_arg_matches(&matches)?;
        if let Some(text) = environment::unknown(&command, std::env::vars_os()) {
            return Err(wrong(&text));
        }
        let Some((server, of_server)) = given::of_server(&command, &matches) else {
            return Ok(read);
        };
        let told = config::told(server, of_server, &places);
        let given = environment::nats_without_server(server, of_server, &places).join(", ");
        if !given.is_empty() {
            let text = format!(
                "{given} without --nats (or TIDINGS_NATS): without it the log is in memory, and nothing is kept in NATS"
            );
            return Err(wrong(&text));
        }
        read.given = Given { arguments, told };
        Ok(read)
    }

    /// The settings of the server that is to run.
    fn into_serve(self) -> Option<Serve> {
        match self.command {
            None => Some(self.serve),
            Some(Command::Serve(serve)) => Some(*serve),
            Some(_) => None,
        }
    }

    /// Does what was asked. The code is the program's exit code; an error is to be shown, and is a failure.
    pub async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            None => serve::run(self.serve, self.given).await,
            Some(Command::Serve(serve)) => serve::run(*serve, self.given).await,
            Some(Command::Config(config)) => {
                let told = self.given.told.iter();
                let told = told.filter(|one| !config.set || one.is_given());
                let text: String = told.map(Told::line).collect();
                std::io::stdout().write_all(text.as_bytes())?;
                Ok(ExitCode::SUCCESS)
            }
            Some(Command::Doctor(doctor)) => doctor.run(&self.given.told).await,
            Some(Command::Publish(publish)) => publish.run().await,
            Some(Command::Tail(tail)) => tail.run().await,
            Some(Command::Health(health)) => health.run().await,
            Some(Command::Bench(bench)) => bench.run().await,
            Some(Command::Verify(verify)) => verify.run().await,
            Some(Command::Token(token)) => token.run(),
        }
    }
}

/// An error about settings that clap finds nothing wrong with: it says all by itself, and how the program is used
/// would not help.
fn wrong(text: &str) -> clap::Error {
    clap::Error::raw(ErrorKind::ValueValidation, format!("{text}\n"))
}

/// Text from elsewhere as it can be shown on a terminal, on one line: control characters are escaped.
fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c.is_control() {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_option_is_a_variable_too() {
        let mut root = Cli::command();
        root.build();
        // These options are for one run: a variable left over would spoil the next.
        let lasting = root
            .get_subcommands()
            .filter(|one| !matches!(one.get_name(), "bench" | "config" | "verify" | "token"));
        let commands = std::iter::once(&root).chain(lasting);
        for command in commands {
            let options = command.get_arguments().filter(|one| !one.is_positional());
            for option in options.filter(|option| !is_built_in(option)) {
                let name = option.get_long().expect("a long name").replace('-', "_");
                let expected = format!("TIDINGS_{}", name.to_ascii_uppercase());
                let found = option.get_env().map(|name| name.to_string_lossy());
                assert_eq!(found.as_deref(), Some(expected.as_str()));
            }
        }
    }

    #[test]
    fn every_option_says_of_a_wrong_value_what_would_be_right() {
        let mut root = Cli::command();
        root.build();
        for command in std::iter::once(&root).chain(root.get_subcommands()) {
            for option in command.get_opts().filter(|option| !is_switch(option)) {
                let name = option.get_long().expect("a long name");
                for value in ["", "1e3x", "-1", "htps://x", "99999999999999999999999"] {
                    let argument = format!("--{name}={value}");
                    let is_root = command.get_name() == root.get_name();
                    let subcommand = (!is_root).then(|| command.get_name());
                    let all = ["tidings"].into_iter().chain(subcommand);
                    let read = Cli::command().try_get_matches_from(all.chain([&*argument]));
                    let text = read.err().map(|error| error.to_string());
                    let text = text.unwrap_or_default();
                    for bare in [
                        "in string",
                        "empty string",
                        "too large",
                        "float",
                        "relative",
                    ] {
                        assert!(!text.contains(bare), "{argument}: {text}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_table_has_every_option_of_the_server_with_its_variable_and_default() {
        let settings = include_str!("../docs/settings.md");
        let rows: Vec<&str> = settings
            .lines()
            .filter(|line| line.starts_with("| `--"))
            .collect();
        let root = Cli::command();
        for option in root.get_opts() {
            let name = format!("`--{}`", option.get_long().expect("a long name"));
            let row = rows.iter().find(|row| row.contains(&name));
            let row = row.unwrap_or_else(|| panic!("no row has {name}"));
            let variable = option.get_env().expect("a variable").to_string_lossy();
            assert!(row.contains(&format!("`{variable}`")), "{row}");
            for default in option.get_default_values() {
                let default = default.to_string_lossy();
                let cell = row.split(" | ").nth(2).expect("a default");
                assert!(
                    is_switch(option) || cell.trim_matches('`') == default,
                    "{row}: {default}"
                );
            }
        }
    }

    fn is_switch(option: &clap::Arg) -> bool {
        !option.get_action().takes_values()
    }

    fn is_built_in(option: &clap::Arg) -> bool {
        matches!(option.get_id().as_str(), "help" | "version")
    }

    #[test]
    fn what_is_shown_can_do_nothing_to_a_terminal() {
        assert_eq!(printable("plain ✓ text"), "plain ✓ text");
        assert_eq!(
            printable("a\u{1b}[2Jb\r\n\tc\u{9b}"),
            "a\\u{1b}[2Jb\\r\\n\\tc\\u{9b}"
        );
    }
}
