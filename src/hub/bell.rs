//! How readers hear that something for them has come.

use parking_lot::Mutex;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Rung when a group has matched an event, or has to look for another reason.
#[derive(Debug, Default)]
pub(super) struct Bell {
    tasks: Notify,
    ears: Mutex<Vec<(Arc<Ear>, u32)>>,
}

impl Bell {
    pub(super) fn ring(&self) {
        self.tasks.notify_waiters();
        for (ear, name) in &*self.ears.lock() {
            ear.hear(*name);
        }
    }

    /// Done at the next ring after it was enabled or polled for the first time.
    pub(super) fn rung(&self) -> Notified<'_> {
        self.tasks.notified()
    }
}

/// A name that an ear hears at each ring of a bell, until this is dropped.
#[derive(Debug)]
pub(super) struct Listening {
    bell: Arc<Bell>,
    ear: Arc<Ear>,
    name: u32,
}

impl Listening {
    pub(super) fn new(bell: Arc<Bell>, ear: Arc<Ear>, name: u32) -> Self {
        bell.ears.lock().push((ear.clone(), name));
        Self { bell, ear, name }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let mut ears = self.bell.ears.lock();
        let mine =
            |(ear, name): &(Arc<Ear>, u32)| Arc::ptr_eq(ear, &self.ear) && *name == self.name;
        if let Some(at) = ears.iter().position(mine) {
            ears.swap_remove(at);
        }
    }
}

/// What a thread that is no task hears: names, gathered until it looks.
#[derive(Debug)]
pub(super) struct Ear {
    heard: Mutex<Heard>,
    waker: mio::Waker,
}

/// Names, each once, however often and for however long bells ring.
#[derive(Debug, Default)]
struct Heard {
    names: Vec<u32>,
    /// By name, whether it is among `names`. Names are small: a slab's indexes.
    known: Vec<bool>,
}

impl Ear {
    pub(super) fn new(waker: mio::Waker) -> Self {
        Self {
            heard: Mutex::default(),
            waker,
        }
    }

    fn hear(&self, name: u32) {
        let first = {
            let mut heard = self.heard.lock();
            heard.add(name) && heard.names.len() == 1
        };
        if first {
            self.wake();
        }
    }

    /// Wakes the thread, for another reason than a bell.
    pub(super) fn wake(&self) {
        if let Err(error) = self.waker.wake() {
            tracing::error!(%error, "a shard could not be woken");
        }
    }

    /// What was heard since the last call, each name once, in exchange for an empty list.
    pub(super) fn take(&self, empty: Vec<u32>) -> Vec<u32> {
        debug_assert!(empty.is_empty());
        self.heard.lock().take(empty)
    }
}

impl Heard {
    /// Whether the name is new.
    fn add(&mut self, name: u32) -> bool {
        let at = name as usize;
        if self.known.len() <= at {
            self.known.resize(at + 1, false);
        }
        let new = !std::mem::replace(&mut self.known[at], true);
        if new {
            self.names.push(name);
        }
        new
    }

    fn take(&mut self, empty: Vec<u32>) -> Vec<u32> {
        for &name in &self.names {
            self.known[name as usize] = false;
        }
        std::mem::replace(&mut self.names, empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_rings_on_while_nobody_looks_is_gathered_once() {
        let mut heard = Heard::default();
        for _ in 0..2 {
            for name in [7, 3, 7, 7, 3] {
                heard.add(name);
            }
            assert_eq!(heard.take(Vec::new()), [7, 3]);
            assert!(heard.take(Vec::new()).is_empty());
        }
    }
}
