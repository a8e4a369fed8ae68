//! The `tidings` program.

use std::process::ExitCode;
use tidings::cli::Cli;

/// Returns what connections leave behind, and keeps little for each thread: the measured difference to the
/// system's allocator is in the benchmarks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::read().run().await {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

#[allow(clippy::print_stderr)] // what a shell user sees
fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("tidings: {error:#}");
    ExitCode::FAILURE
}
