//! The `tidings` program.

use std::process::ExitCode;
use std::time::Duration;
use tidings::cli::Cli;
use tokio::runtime::Runtime;

/// Returns what connections leave behind, and keeps little for each thread: the measured difference to the
/// system's allocator is in the benchmarks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How long the end waits for what can't be cancelled: a name that is looked up, a file of a file system that hangs.
const LAST_PATIENCE: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    let ended = runtime.block_on(Cli::read().run());
    runtime.shutdown_timeout(LAST_PATIENCE);
    ended.unwrap_or_else(|error| fail(&error))
}

#[allow(clippy::print_stderr)] // what a shell user sees
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("tidings: {error:#}");
    ExitCode::FAILURE
}
