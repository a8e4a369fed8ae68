//! What has not come: skipped, announced, or still due.

use super::stretches::Why;
use super::{Checker, Passed, Skipped};
use crate::verify::ledger::{Outcome, Track};
use crate::verify::tally::Tally;

/// Events that were skipped and may come late, at most; of more, the first are given up for lost.
pub(super) const MAX_SKIPPED: usize = 10_000;

impl Checker {
    /// Notes what was due after the last number passed, and through this one.
    pub(super) fn skip(&mut self, records: &Track, track: usize, place: usize, through: u32) {
        let passed = self.passed[place];
        let base = self.base.unwrap_or(u64::MAX);
        for number in passed.through + 1..=through {
            // What was dropped, the reader had passed before a reset.
            let Some(record) = records.get(number) else {
                continue;
            };
            let sequence = match record.outcome {
                Outcome::Acknowledged(sequence) => Some(sequence),
                Outcome::Pending | Outcome::Unknown => None,
            };
            let due = match sequence {
                Some(sequence) if number <= passed.settled || sequence <= base => continue,
                Some(sequence) => match self.told.why(sequence) {
                    Some(Why::Gap) => {
                        self.tally.gaps.events += 1;
                        continue;
                    }
                    Some(Why::Altered) => continue,
                    None => {
                        let id = record.id.map_or(sequence.to_string(), |id| id.to_string());
                        Some(self.example(&id, self.name(track, number)))
                    }
                },
                None => None,
            };
            if self.skipped.len() >= MAX_SKIPPED {
                self.give_up();
            }
            self.skipped.push(Skipped { track, number, due });
        }
    }

    fn give_up(&mut self) {
        let half = self.skipped.drain(..MAX_SKIPPED / 2);
        self.given_up += half.filter(|one| one.due.is_some()).count() as u64;
    }

    /// Passes what lies before the position that was told last and has not come: it can't come in order any more.
    pub(in crate::verify) fn sweep(&mut self) {
        let Some(last) = self.last else { return };
        let ledger = self.ledger.clone();
        for (place, track) in self.tracks() {
            let records = ledger.track(track);
            let through = self.passed[place].through;
            let behind = records.acknowledged_after(through);
            let behind = behind.take_while(|(_, sequence)| *sequence <= last.sequence());
            if let Some((number, _)) = behind.last() {
                self.skip(&records, track, place, number);
                self.passed[place].through = number;
            }
        }
    }

    /// Whether all that is due has come. What was skipped may still: late, or after a reset that is on its way, where
    /// the reader stands further on in the log as it was than the new one reaches.
    pub(in crate::verify) fn is_complete(&mut self) -> bool {
        self.outstanding() == 0
            && self.given_up == 0
            && self.skipped.iter().all(|one| one.due.is_none())
    }

    /// What is due behind the last number passed.
    pub(super) fn due<'a>(
        &'a self,
        records: &'a Track,
        place: usize,
    ) -> impl Iterator<Item = (u32, u64)> + 'a {
        let Passed {
            through, settled, ..
        } = self.passed[place];
        let base = self.base.unwrap_or(u64::MAX);
        records
            .acknowledged_after(through.max(settled))
            .filter(move |(_, sequence)| *sequence > base && self.told.why(*sequence).is_none())
    }

    /// Up to which number each of its tracks is passed for good.
    pub(in crate::verify) fn passed(&self) -> impl Iterator<Item = (usize, u32)> {
        self.tracks().map(|(place, track)| {
            let passed = self.passed[place];
            (track, passed.through.max(passed.settled))
        })
    }

    /// How much is due that could still come in order.
    pub(in crate::verify) fn outstanding(&mut self) -> u64 {
        self.sweep();
        let count = |(place, track)| self.due(&self.ledger.track(track), place).count() as u64;
        self.tracks().map(count).sum()
    }

    /// Takes for lost what is due behind the last number passed.
    pub(in crate::verify) fn lose(&mut self) {
        let ledger = self.ledger.clone();
        for (place, track) in self.tracks() {
            let records = ledger.track(track);
            if let Some((number, _)) = records.acknowledged_after(0).last() {
                self.skip(&records, track, place, number);
            }
        }
    }

    /// What was found.
    pub(in crate::verify) fn finish(&mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        let mut lost: Vec<_> = std::mem::take(&mut self.skipped);
        lost.retain(|one| one.due.is_some());
        lost.sort_by_key(|one| (one.track, one.number));
        let goes_on =
            |two: &&[Skipped]| (two[0].track, two[0].number + 1) == (two[1].track, two[1].number);
        let joined = lost.windows(2).filter(goes_on).count();
        tally.silent_gaps += (lost.len() - joined) as u64 + self.given_up.min(1);
        for one in lost {
            one.due
                .into_iter()
                .for_each(|example| tally.lost.note(|| example));
        }
        tally.lost.count += std::mem::take(&mut self.given_up);
        tally.altered.add(std::mem::take(&mut self.renamed));
        tally
    }
}
