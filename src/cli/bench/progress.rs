//! One line that tells how far a run has come, for those who watch it.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a run looks how far it has come.
const LOOK: Duration = Duration::from_millis(5);
/// How often the line is written.
const WRITE: Duration = Duration::from_millis(200);

/// A line on standard error, written only where that is a terminal.
#[derive(Debug)]
pub(super) struct Line {
    shown: bool,
}

impl Line {
    pub(super) fn new() -> Self {
        Self {
            shown: std::io::stderr().is_terminal(),
        }
    }

    /// Waits until `done` has reached `total`, or nothing has been done for `patience`. Returns whether it
    /// was reached.
    pub(super) fn wait(
        &self,
        what: &str,
        total: u64,
        patience: Duration,
        mut done: impl FnMut() -> u64,
    ) -> bool {
        let (mut last, mut moved) = (0, Instant::now());
        let mut written: Option<Instant> = None;
        loop {
            let now = done();
            if now != last {
                (last, moved) = (now, Instant::now());
            }
            let ends = now >= total || moved.elapsed() >= patience;
            if ends || written.is_none_or(|at| at.elapsed() >= WRITE) {
                self.write(what, now, total);
                written = Some(Instant::now());
            }
            if ends {
                return now >= total;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn write(&self, what: &str, done: u64, total: u64) {
        if self.shown {
            // A terminal that is gone is no reason to stop.
            let _ = write!(std::io::stderr(), "\r\x1b[K{what}: {done} of {total}");
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
