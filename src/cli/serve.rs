//! `tidings serve`.

use super::Serve;
use crate::app::App;
use crate::auth::Access;
use anyhow::Context;
use std::io::IsTerminal;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

pub(super) async fn run(serve: Serve) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&serve.log).with_context(|| {
        format!(
            "--log `{}` is no filter; try `info`, or `tidings=debug`",
            serve.log
        )
    })?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let app = App::bind(serve.settings)?;
    say_hello(&app)?;
    let mut signals = Signals::new()?;
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(app.run(async {
        // An error is the sender gone, which also means to stop.
        let _ = stopped.await;
    }));
    signals.next().await;
    drop(stop);
    tokio::select! {
        ended = running => Ok(ended?),
        () = signals.next() => anyhow::bail!("ended at once, on a second signal"),
    }
}

#[allow(clippy::print_stdout)] // the first thing a newcomer sees
fn say_hello(app: &App) -> anyhow::Result<()> {
    let address = app.local_addr()?;
    let log = app.hub().log();
    println!("tidings {}", env!("CARGO_PKG_VERSION"));
    println!("log:       {} ({})", log.name(), log.promise());
    println!("listening: http://{address}{}", audience(app.access()));
    println!("try:       curl -N 'http://{address}/feeds/orders.*'");
    println!("           curl -d '{{\"n\":1}}' 'http://{address}/feeds/orders.eu'");
    Ok(())
}

fn audience(access: &Access) -> &'static str {
    match access {
        Access::Local => ", for this machine alone",
        Access::Anonymous { .. } => ", for everyone within the anonymous patterns",
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

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
