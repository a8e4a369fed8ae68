//! When each connection is next looked at for a heartbeat: coarse, without a timer for each.

use std::time::{Duration, Instant};

/// Slots; those due more than half a turn ahead can be told from those past.
const SLOTS: u32 = 128;

/// A point in time, in steps since the wheel began to turn.
pub(super) type Tick = u32;

/// A wheel of names, each in the slot of its due time.
#[derive(Debug)]
pub(super) struct Wheel {
    began: Instant,
    step: Duration,
    /// Everything due up to and including this tick was given out.
    done: Tick,
    slots: Vec<Vec<(u32, Tick)>>,
    entries: usize,
}

impl Wheel {
    /// A wheel on which something can be due up to `horizon` ahead.
    pub(super) fn new(horizon: Duration) -> Self {
        Self {
            began: Instant::now(),
            step: (horizon / (SLOTS / 2)).max(Duration::from_millis(1)),
            done: 0,
            slots: (0..SLOTS).map(|_| Vec::new()).collect(),
            entries: 0,
        }
    }

    /// How many ticks a time is.
    pub(super) fn ticks(&self, time: Duration) -> Tick {
        let ticks = time.as_nanos() / self.step.as_nanos();
        Tick::try_from(ticks).unwrap_or(Tick::MAX).max(1)
    }

    /// How long so many ticks are.
    pub(super) fn time(&self, ticks: Tick) -> Duration {
        self.step * ticks
    }

    /// The tick that it is now.
    pub(super) fn now(&self) -> Tick {
        let ticks = self.began.elapsed().as_nanos() / self.step.as_nanos();
        Tick::try_from(ticks).unwrap_or(Tick::MAX)
    }

    /// Notes a name; returns when it will be given out, which is after the next look, and before its time where
    /// that is too far ahead.
    pub(super) fn insert(&mut self, name: u32, after: Tick) -> Tick {
        let due = self.now().max(self.done) + after.clamp(1, SLOTS / 2 + SLOTS / 4);
        self.slots[(due % SLOTS) as usize].push((name, due));
        self.entries += 1;
        due
    }

    /// Adds the names that are due by now to `due`, each with its tick.
    pub(super) fn take_due(&mut self, due: &mut Vec<(u32, Tick)>) {
        let now = self.now();
        // After a long pause every slot is looked at once.
        let first = (self.done + 1).max(now.saturating_sub(SLOTS - 1));
        for tick in first..=now {
            // What was noted after a pause may stand in a slot of the past, and is due at its next turn.
            let slot = &mut self.slots[(tick % SLOTS) as usize];
            let known = slot.len();
            due.extend(slot.extract_if(.., |(_, due)| *due <= now));
            self.entries -= known - slot.len();
        }
        self.done = self.done.max(now);
    }

    /// How long until something may be due; `None` while nothing is noted.
    pub(super) fn pause(&self) -> Option<Duration> {
        if self.entries == 0 {
            return None;
        }
        let ahead = (1..=SLOTS)
            .find(|ahead| !self.slots[((self.done + ahead) % SLOTS) as usize].is_empty())?;
        let at = self.step * (self.done + ahead);
        Some(at.saturating_sub(self.began.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_secs(1);

    /// A wheel that has not been looked at for this long.
    fn after_a_pause_of(steps: u32) -> Wheel {
        let mut wheel = Wheel::new(STEP * (SLOTS / 2));
        wheel.began -= STEP * steps;
        wheel
    }

    fn taken(wheel: &mut Wheel) -> Vec<(u32, Tick)> {
        let mut due = Vec::new();
        wheel.take_due(&mut due);
        due
    }

    #[test]
    fn what_is_noted_after_a_long_pause_is_given_out_when_it_is_due() {
        for pause in [1, 60, 127, 128, 1000, 100_000] {
            let mut wheel = after_a_pause_of(pause);
            let due = wheel.insert(7, 60);
            assert!(taken(&mut wheel).is_empty(), "after {pause}");
            wheel.began -= STEP * 60;
            assert_eq!(taken(&mut wheel), [(7, due)], "after {pause}");
            assert_eq!(wheel.pause(), None);
        }
    }

    #[test]
    fn what_is_overdue_is_given_out_once() {
        let mut wheel = after_a_pause_of(0);
        let due = wheel.insert(7, 60);
        wheel.began -= STEP * 10_000;
        assert_eq!(wheel.pause(), Some(Duration::ZERO));
        assert_eq!(taken(&mut wheel), [(7, due)]);
        assert!(taken(&mut wheel).is_empty());
        assert_eq!(wheel.pause(), None);
    }
}
