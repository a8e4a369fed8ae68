//! `tidings serve`.

use super::config::with_places;
use super::reload::{Reloader, SetFilter, tell_init};
use super::{Given, LogFormat, Serve};
use crate::app::{App, Shutdown};
use crate::auth::Access;
use crate::version::BUILD;
use sd_notify::NotifyState;
use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{self, SignalKind, signal};
use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

pub(super) async fn run(serve: Serve, given: Given) -> anyhow::Result<ExitCode> {
    let set_filter = start_log(&serve.log, serve.log_format)?;
    raise_open_files();
    let format = serve.log_format;
    let nats = serve.settings.nats.shown_servers();
    let takes_tokens = serve.settings.auth.is_given();
    let folder = serve.settings.data.folder.clone();
    let app = match App::bind(&serve.settings) {
        Ok(app) => app,
        Err(error) => {
            let text = with_places(&error, &given.told);
            return match error.is_of_settings() {
                true => Ok(wrong(&text)),
                false => Err(anyhow::Error::msg(text)),
            };
        }
    };
    // Before anyone is told that it is there.
    let mut signals = Signals::new()?;
    let hello = Hello {
        app: &app,
        nats: &nats,
        folder: folder.as_deref(),
        takes_tokens,
    };
    hello.say(format)?;
    let mut reloader = Reloader::new(given, app.reload(), set_filter);
    // It listens: what comes before its log was reached is told to come back.
    tell_init(&[NotifyState::Ready]);
    let (stop, stopped) = tokio::sync::oneshot::channel();
    let running = tokio::spawn(app.run(async {
        // An error is the sender gone, which also means to stop.
        stopped.await.unwrap_or(Shutdown::AtOnce)
    }));
    let shutdown = loop {
        match signals.next().await {
            Signal::Reload => reloader.run(),
            Signal::End(shutdown) => break shutdown,
        }
    };
    tell_init(&[NotifyState::Stopping]);
    tracing::info!("told to end; a second signal ends it at once");
    // It is there to hear of it, unless it has panicked, which comes next.
    let _ = stop.send(shutdown);
    tokio::select! {
        ended = running => ended?,
        () = signals.end() => anyhow::bail!("ended at once, on a second signal"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Has as many files open as the system lets this process have: one for each connection.
fn raise_open_files() {
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files can't be raised");
    }
}

/// Starts to log, and returns what changes the filter.
fn start_log(filter: &str, format: LogFormat) -> anyhow::Result<SetFilter> {
    let (filter, handle) = reload::Layer::new(filter_of(filter)?);
    let log = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // It would say so on standard error, and panic where that can't be written to.
        .log_internal_errors(false);
    // They log whole messages, and tokens come in them.
    let discreet =
        filter_fn(|told| !told.target().contains("tungstenite") || *told.level() <= Level::INFO);
    let registry = tracing_subscriber::registry().with(filter).with(discreet);
    match format {
        LogFormat::Text => registry
            .with(log.with_ansi(std::io::stderr().is_terminal()))
            .init(),
        // Without spans there is nothing to tell but the event.
        LogFormat::Json => registry.with(log.json().flatten_event(true)).init(),
    }
    Ok(Box::new(move |filter| {
        Ok(handle.reload(filter_of(filter)?)?)
    }))
}

fn filter_of(text: &str) -> anyhow::Result<EnvFilter> {
    Ok(EnvFilter::try_new(text)?)
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
fn wrong(text: &str) -> ExitCode {
    eprintln!("tidings: {text}");
    ExitCode::from(2)
}

/// What a server says of itself at its start.
struct Hello<'a> {
    app: &'a App,
    nats: &'a str,
    folder: Option<&'a Path>,
    takes_tokens: bool,
}

impl Hello<'_> {
    /// For people, on standard output; where the log is for programs, as a line of it, and nothing else.
    fn say(&self, format: LogFormat) -> anyhow::Result<()> {
        match format {
            LogFormat::Text => self.print(),
            LogFormat::Json => self.log(),
        }
    }

    #[allow(clippy::print_stdout)] // the first thing a newcomer sees
    fn print(&self) -> anyhow::Result<()> {
        let log = self.app.hub().log();
        println!("tidings {BUILD}");
        println!("log:       {} ({})", log.name(), log.promise());
        if !self.nats.is_empty() {
            println!("           connecting to {}", self.nats);
        }
        if let Some(folder) = self.folder {
            println!("           in {}", folder.display());
        }
        println!("listening: {}, {}", self.url()?, self.audience());
        if let Some(url) = self.admin_url()? {
            println!("operators: {url}");
        }
        for (number, command) in self.app.examples()?.iter().enumerate() {
            let label = if number == 0 { "try:" } else { "" };
            println!("{label:10} {command}");
        }
        Ok(())
    }

    fn log(&self) -> anyhow::Result<()> {
        let log = self.app.hub().log();
        tracing::info!(
            version = BUILD,
            url = self.url()?,
            audience = self.audience(),
            operators = self.admin_url()?,
            log = log.name(),
            promise = log.promise(),
            nats = Some(self.nats).filter(|nats| !nats.is_empty()),
            folder = self.folder.map(|folder| folder.display().to_string()),
            "listening"
        );
        Ok(())
    }

    fn url(&self) -> anyhow::Result<String> {
        let (address, base) = (self.app.local_addr()?, self.app.base_path());
        Ok(format!("{}://{address}{base}", self.app.scheme()))
    }

    fn admin_url(&self) -> anyhow::Result<Option<String>> {
        let (scheme, base) = (self.app.scheme(), self.app.base_path());
        let address = self.app.admin_addr()?;
        Ok(address.map(|address| format!("{scheme}://{address}{base}/")))
    }

    fn audience(&self) -> &'static str {
        match (self.app.access(), self.takes_tokens) {
            (Access::Local, _) => "for this machine alone",
            (Access::Anonymous { .. }, false) => "for everyone, within the --anonymous-… patterns",
            (Access::Anonymous { .. }, true) => {
                "for those who show a token or an API key; for everyone else within the --anonymous-… patterns"
            }
            (Access::Nothing, _) => "for those who show a token or an API key",
        }
    }
}

/// What a signal says.
enum Signal {
    /// Read the settings again.
    Reload,
    /// End.
    End(Shutdown),
}

/// SIGINT, SIGTERM and SIGHUP.
struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
    on_terminal: bool,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            on_terminal: std::io::stderr().is_terminal(),
        })
    }

    /// The next signal: a person who presses Ctrl-C waits for the end, and who sends SIGTERM has others to go on.
    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::End(Shutdown::AtOnce),
            _ = self.terminate.recv() => Signal::End(Shutdown::Spread),
            // A terminal that is closed says so by SIGHUP too, and is none any more.
            _ = self.hangup.recv() => match self.on_terminal && !std::io::stderr().is_terminal() {
                true => Signal::End(Shutdown::AtOnce),
                false => Signal::Reload,
            },
        }
    }

    /// Waits for one that says to end.
    async fn end(&mut self) {
        while let Signal::Reload = self.next().await {}
    }
}
