//! What the hub says: gaps and resets.

use super::stretches::{Stretches, Why};
use super::{Checker, Passed};
use crate::event::Position;
use crate::verify::form::Told;
use crate::verify::tally::Found;
use serde::Deserialize;

#[derive(Deserialize)]
struct Gap {
    after: String,
    before: String,
    reason: String,
}

impl Checker {
    /// Excuses what lies after `after` and up to the id from which to go on: the place before the first event
    /// that is still to be had, or for the reason `limit` that of the event itself, which is left out.
    pub(super) fn gap(&mut self, id: Option<Position>, told: &Told) {
        let gap = serde_json::from_str::<Gap>(&told.data).ok();
        let ends = gap.as_ref().and_then(|gap| {
            let ends = (
                gap.after.parse::<Position>(),
                gap.before.parse::<Position>(),
            );
            Some((ends.0.ok()?, ends.1.ok()?))
        });
        let (Some(id), Some((after, before)), Some(gap)) = (id, ends, gap) else {
            let example = self.example(&told.id, format!("a gap of {:?}", told.data));
            self.tally.altered.note(|| example);
            return;
        };
        let what = format!(
            "gap after {after} and before {before} ({})",
            gap.reason.escape_debug()
        );
        let example = self.example(&told.id, what);
        self.tally.gaps.note(|| example);
        self.make_room();
        let through = id.sequence().min(before.sequence());
        self.told.add(after.sequence(), through, Why::Gap);
        self.come_to(id);
        self.sweep();
    }

    pub(super) fn make_room(&mut self) {
        if self.told.is_full() {
            self.sweep();
        }
    }

    /// Excuses what was acknowledged by now and has not come. All that has come may come again.
    pub(super) fn reset(&mut self, id: Option<Position>, told: &Told) {
        let Some(id) = id else {
            let example = self.example(&told.id, "a reset without an id".to_owned());
            self.tally.altered.note(|| example);
            return;
        };
        let example = self.example(&told.id, "reset".to_owned());
        self.tally.resets.note(|| example);
        self.sweep();
        let skipped = self.skipped.iter().filter(|one| one.due.is_some()).count();
        let mut covered = skipped as u64 + std::mem::take(&mut self.given_up);
        let ledger = self.ledger.clone();
        for (place, track) in self.tracks() {
            let mut records = ledger.track(track);
            covered += self.due(&records, place).count() as u64;
            let (settled, sent) = (records.settled(), records.sent());
            self.passed[place] = Passed {
                through: 0,
                settled,
                sent,
            };
            // What it has seen of an event that is not acknowledged may have been of the log as it was.
            if let Some(record) = records.get_mut(sent).filter(|_| sent > settled)
                && record.seen_by == Some(self.reader)
            {
                (record.id, record.seen_by) = (None, None);
            }
        }
        self.tally.resets.events += covered;
        self.skipped.clear();
        self.renamed = Found::default();
        self.told = Stretches::default();
        self.base = Some(id.sequence());
        self.last = Some(id);
    }
}
