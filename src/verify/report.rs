//! What came of a run.

use super::shared::Progress;
use super::tally::{Example, Found, Tally};
use serde::Serialize;
use std::fmt;

/// What came of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The seed, to draw the same again.
    pub seed: u64,
    /// All feeds of the run, as a pattern.
    pub feeds: String,
    /// What was done.
    pub progress: Progress,
    /// Readers in all.
    pub readers: u64,
    /// What readers have met.
    #[serde(flatten)]
    pub tally: Tally,
    /// Readers that were without a connection at the end, and had not had everything: nobody knows whether they
    /// would have got it.
    pub unreached: Found,
    /// What last went wrong for a publisher.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

impl Report {
    /// How many silent faults there were: losses, duplicates, events out of order, not asked for, or altered,
    /// of which no reader was told.
    pub fn silent_faults(&self) -> u64 {
        self.tally
            .faults()
            .iter()
            .map(|(_, found)| found.count)
            .sum()
    }

    /// Whether something was published, every reader could be reached, and there was no silent fault.
    pub fn is_sound(&self) -> bool {
        let was_checked = self.progress.acknowledged > 0 && self.unreached.count == 0;
        self.silent_faults() == 0 && was_checked
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Progress {
            acknowledged,
            unknown,
            repeats,
            deliveries,
            connections,
            cuts,
            ends,
            failures,
            ..
        } = self.progress;
        let (gaps, resets) = (&self.tally.gaps, &self.tally.resets);
        writeln!(f, "feeds      {} (seed {})", self.feeds, self.seed)?;
        writeln!(
            f,
            "published  {acknowledged} acknowledged, {unknown} unknown, {repeats} repeats"
        )?;
        writeln!(
            f,
            "read       {deliveries} deliveries to {} readers over {connections} streams ({cuts} cut off, {ends} ended, {failures} failed connects)",
            self.readers
        )?;
        let (lost, silent) = (self.tally.lost.count, self.tally.silent_gaps);
        writeln!(
            f,
            "announced  {} gaps over {} events, {} resets over {} events",
            gaps.count, gaps.events, resets.count, resets.events
        )?;
        writeln!(f, "silent     {silent} gaps over {lost} events")?;
        for (name, found) in self.tally.faults() {
            list(f, name, found.count, &found.examples)?;
        }
        list(
            f,
            "unreached",
            self.unreached.count,
            &self.unreached.examples,
        )?;
        if let Some(trouble) = self.trouble.as_ref().filter(|_| acknowledged == 0) {
            writeln!(f, "nothing was acknowledged: {trouble}")?;
        }
        match self.is_sound() {
            true => writeln!(
                f,
                "sound: nothing was lost, doubled, altered or out of order without a word"
            ),
            false => writeln!(f, "NOT SOUND: {} silent faults", self.silent_faults()),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, name: &str, count: u64, examples: &[Example]) -> fmt::Result {
    if count > 0 {
        writeln!(f, "{name}: {count}")?;
    }
    examples
        .iter()
        .try_for_each(|example| writeln!(f, "  {example}"))
}
