//! `tidings serve`.

use super::{Cli, LogFormat, Serve, environment};
use crate::app::{App, Shutdown, StartError};
use crate::auth::Access;
use clap::CommandFactory;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

pub(super) async fn run(serve: Serve) -> anyhow::Result<ExitCode> {
    start_log(&serve.log, serve.log_format)?;
    if let Some(warning) = environment::warning(Cli::command(), std::env::vars_os()) {
        tracing::warn!("{warning}");
    }
    let nats = serve.settings.nats.shown_servers();
    let folder = serve.settings.data.folder.clone();
    let app = match App::bind(serve.settings) {
        Ok(app) => app,
        Err(StartError::Log(error)) => return Ok(wrong(&error)),
        Err(StartError::Auth(error)) => return Ok(wrong(&error)),
        Err(StartError::Tls(error)) => return Ok(wrong(&error)),
        Err(error) => return Err(error.into()),
    };
    say_hello(&app, &nats, folder.as_deref())?;
    let mut signals = Signals::new()?;
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(app.run(async {
        // An error is the sender gone, which also means to stop.
        stopped.await.unwrap_or(Shutdown::AtOnce)
    }));
    let shutdown = signals.next().await;
    tracing::info!("told to end; a second signal ends it at once");
    // It is there to hear of it, unless it has panicked, which comes next.
    let _ = stop.send(shutdown);
    tokio::select! {
        ended = running => ended?,
        _ = signals.next() => anyhow::bail!("ended at once, on a second signal"),
    }
    Ok(ExitCode::SUCCESS)
}

fn start_log(filter: &str, format: LogFormat) -> anyhow::Result<()> {
    // It logs whole messages, and tokens come in them.
    let filter = EnvFilter::try_new(filter)?.add_directive("tungstenite=info".parse()?);
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).init(),
        // Without spans there is nothing to tell but the event.
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}

/// A filter for what is logged. A word alone that is no level would be a target, and silence all others.
pub(super) fn parse_filter(text: &str) -> Result<String, String> {
    const RIGHT: &str = "error, warn, info, debug, trace or off, or targets with their levels, as in `info,tidings=debug`";
    let is_word = |part: &&str| {
        part.chars()
            .all(|c| c.is_alphanumeric() || "_:-".contains(c))
    };
    let words = text.split(',').map(str::trim).filter(is_word);
    for word in words {
        if word.parse::<LevelFilter>().is_err() || word.is_empty() {
            return Err(format!("`{word}` is no level; there are {RIGHT}"));
        }
    }
    match EnvFilter::try_new(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{error}; there are {RIGHT}")),
    }
}

/// A setting that can't be right, found where it is used: as wrong as one that does not parse.
#[allow(clippy::print_stderr)] // what a shell user sees
fn wrong(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("tidings: {error}");
    ExitCode::from(2)
}

#[allow(clippy::print_stdout)] // the first thing a newcomer sees
fn say_hello(app: &App, nats: &str, folder: Option<&Path>) -> anyhow::Result<()> {
    let address = app.local_addr()?;
    let log = app.hub().log();
    println!("tidings {}", env!("CARGO_PKG_VERSION"));
    println!("log:       {} ({})", log.name(), log.promise());
    if !nats.is_empty() {
        println!("           connecting to {nats}");
    }
    if let Some(folder) = folder {
        println!("           in {}", folder.display());
    }
    let (scheme, base) = (app.scheme(), app.base_path());
    println!(
        "listening: {scheme}://{address}{base}{}",
        audience(app.access())
    );
    if let Some(address) = app.admin_addr()? {
        println!("operators: {scheme}://{address}{base}/");
    }
    for (number, command) in app.examples()?.iter().enumerate() {
        let label = if number == 0 { "try:" } else { "" };
        println!("{label:10} {command}");
    }
    Ok(())
}

fn audience(access: &Access) -> &'static str {
    match access {
        Access::Local => ", for this machine alone",
        Access::Anonymous { .. } => ", for everyone within the anonymous patterns",
        Access::Nothing => ", for those who show a token or an API key",
    }
}

/// SIGINT and SIGTERM.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// The next signal: a person who presses Ctrl-C waits for the end, and who sends SIGTERM has others to go on.
    async fn next(&mut self) -> Shutdown {
        tokio::select! {
            _ = self.interrupt.recv() => Shutdown::AtOnce,
            _ = self.terminate.recv() => Shutdown::Spread,
        }
    }
}
