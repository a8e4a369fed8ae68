//! How many connections each address and each subject holds.

use super::Address;
use parking_lot::{Mutex, RwLock};
use prometheus_client::metrics::counter::Counter;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use tokio::sync::watch;

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct SeatLimits {
    /// For one address.
    pub address: usize,
    /// For one subject.
    pub subject: usize,
}

/// Those who were refused. Cloning it shares the counts.
#[derive(Clone, Debug, Default)]
pub struct SeatCounters {
    /// As their address had as many as it may have.
    pub address: Counter,
    /// As their subject had.
    pub subject: Counter,
}

/// Who holds how many connections. Cloning it gives another handle.
#[derive(Clone, Debug)]
pub struct Seats(Arc<Table>);

#[derive(Debug)]
struct Table {
    limits: RwLock<SeatLimits>,
    refused: SeatCounters,
    /// By holder; none without any.
    held: Mutex<HashMap<Holder, Held>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Holder {
    Address(Address),
    Subject(Arc<str>),
}

#[derive(Debug, Default)]
struct Held {
    count: usize,
    /// Told when the connections are to end.
    revoked: watch::Sender<()>,
}

/// Somebody has as many as he may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// An address.
    #[error(
        "{0} has {1} connections open, as many as one address may have (--max-connections-per-address)"
    )]
    Address(Address, usize),
    /// A subject.
    #[error(
        "there are {0} connections open with these credentials, as many as one subject may have (--max-connections-per-subject)"
    )]
    Subject(usize),
}

/// What a connection holds of what its address and its subject may have, given back when dropped. Nothing, where it
/// has neither.
#[derive(Debug, Default)]
pub struct Seat(Option<Box<Taken>>);

#[derive(Debug)]
struct Taken {
    table: Arc<Table>,
    address: Option<Address>,
    subject: Option<(Arc<str>, watch::Receiver<()>)>,
}

impl Seats {
    /// None is taken.
    pub fn new(limits: SeatLimits) -> Self {
        Self(Arc::new(Table {
            limits: RwLock::new(limits),
            refused: SeatCounters::default(),
            held: Mutex::default(),
        }))
    }

    /// How many there may be.
    pub fn limits(&self) -> SeatLimits {
        *self.0.limits.read()
    }

    /// How many there may be from now on. Who has more keeps what he has.
    pub fn set(&self, limits: SeatLimits) {
        *self.0.limits.write() = limits;
    }

    /// Those who were refused.
    pub fn refused(&self) -> &SeatCounters {
        &self.0.refused
    }

    /// How many an address holds.
    pub fn of_address(&self, address: Address) -> usize {
        self.0.count(&Holder::Address(address))
    }

    /// How many a subject holds.
    pub fn of_subject(&self, subject: &str) -> usize {
        self.0.count(&Holder::Subject(subject.into()))
    }

    /// A seat for a connection of these.
    pub fn take(&self, address: Option<Address>, subject: Option<&str>) -> Result<Seat, Full> {
        if address.is_none() && subject.is_none() {
            return Ok(Seat::default());
        }
        let SeatLimits {
            address: most,
            subject: most_of_subject,
        } = self.limits();
        // What is taken of it is given back where the rest can't be had, once the lock is: it was declared before.
        let mut taken = Taken {
            table: self.0.clone(),
            address: None,
            subject: None,
        };
        let mut held = self.0.held.lock();
        if let Some(address) = address {
            if take(&mut held, Holder::Address(address), most).is_none() {
                self.0.refused.address.inc();
                return Err(Full::Address(address, most));
            }
            taken.address = Some(address);
        }
        if let Some(subject) = subject {
            let subject: Arc<str> = subject.into();
            let Some(revoked) = take(&mut held, Holder::Subject(subject.clone()), most_of_subject)
            else {
                self.0.refused.subject.inc();
                return Err(Full::Subject(most_of_subject));
            };
            taken.subject = Some((subject, revoked));
        }
        Ok(Seat(Some(Box::new(taken))))
    }

    /// Tells the connections of a subject to end, and says how many there are.
    pub fn revoke(&self, subject: &str) -> usize {
        let held = self.0.held.lock();
        let Some(held) = held.get(&Holder::Subject(subject.into())) else {
            return 0;
        };
        held.revoked.send_replace(());
        held.count
    }
}

/// Counts one more, unless there are as many as may be.
fn take(
    held: &mut HashMap<Holder, Held>,
    holder: Holder,
    most: usize,
) -> Option<watch::Receiver<()>> {
    // A holder that is not there has none, and one is always allowed.
    let held = held.entry(holder).or_default();
    if held.count >= most {
        return None;
    }
    held.count += 1;
    Some(held.revoked.subscribe())
}

impl Table {
    fn count(&self, holder: &Holder) -> usize {
        self.held.lock().get(holder).map_or(0, |held| held.count)
    }

    fn give_back(held: &mut HashMap<Holder, Held>, holder: Holder) {
        if let Entry::Occupied(mut entry) = held.entry(holder) {
            entry.get_mut().count -= 1;
            if entry.get().count == 0 {
                entry.remove();
            }
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut held = self.table.held.lock();
        if let Some(address) = self.address {
            Table::give_back(&mut held, Holder::Address(address));
        }
        if let Some((subject, _)) = self.subject.take() {
            Table::give_back(&mut held, Holder::Subject(subject));
        }
    }
}

impl Seat {
    /// The subject whose it is.
    pub fn subject(&self) -> Option<&str> {
        let (subject, _) = self.0.as_ref()?.subject.as_ref()?;
        Some(subject)
    }

    /// Whether the connection is to end, as its subject's are.
    pub fn is_revoked(&self) -> bool {
        let taken = self.0.as_ref().and_then(|taken| taken.subject.as_ref());
        taken.is_some_and(|(_, revoked)| revoked.has_changed().unwrap_or(false))
    }

    /// Waits until the connection is to end, as its subject's are. Cancel-safe.
    pub async fn revoked(&mut self) {
        if let Some((_, revoked)) = self.0.as_mut().and_then(|taken| taken.subject.as_mut())
            && revoked.changed().await.is_ok()
        {
            return;
        }
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use proptest::prelude::*;

    fn seats(address: usize, subject: usize) -> Seats {
        Seats::new(SeatLimits { address, subject })
    }

    fn address(last: u8) -> Option<Address> {
        Address::of([192, 0, 2, last].into())
    }

    #[test]
    fn an_address_and_a_subject_have_so_many_and_no_more() {
        let seats = seats(2, 1);
        let _one = seats.take(address(1), Some("ann")).unwrap();
        let refused = seats.take(address(1), Some("ann")).unwrap_err();
        assert_eq!(refused, Full::Subject(1));
        assert_eq!(seats.of_address(address(1).unwrap()), 1);
        let _two = seats.take(address(1), None).unwrap();
        let refused = seats.take(address(1), Some("bob")).unwrap_err();
        assert!(matches!(refused, Full::Address(_, 2)));
        assert_eq!(seats.of_subject("bob"), 0);
        assert_eq!(seats.refused().address.get(), 1);
        assert_eq!(seats.refused().subject.get(), 1);
        let none = seats.take(None, None).unwrap();
        assert_eq!(none.subject(), None);
    }

    #[test]
    fn those_who_are_there_are_told_to_end_and_those_who_come_later_are_not() {
        let seats = seats(9, 9);
        let mut ann = seats.take(address(1), Some("ann")).unwrap();
        let mut bob = seats.take(address(1), Some("bob")).unwrap();
        assert!(ann.revoked().now_or_never().is_none());
        assert_eq!(seats.revoke("ann"), 1);
        let mut later = seats.take(address(1), Some("ann")).unwrap();
        assert_eq!((ann.is_revoked(), later.is_revoked()), (true, false));
        assert!(ann.revoked().now_or_never().is_some());
        assert!(bob.revoked().now_or_never().is_none());
        assert!(later.revoked().now_or_never().is_none());
        assert_eq!(seats.revoke("nobody"), 0);
    }

    proptest! {
        /// However they come and go: each has as many as are held, and nothing is kept of those who have left.
        #[test]
        fn what_is_held_is_what_was_taken_and_not_given_back(
            steps in prop::collection::vec((0u8..3, 0u8..4, any::<prop::sample::Index>()), 0..60),
        ) {
            let seats = seats(4, 3);
            let mut open: Vec<(u8, u8, Seat)> = Vec::new();
            for (from, who, at) in steps {
                if who == 3 {
                    if !open.is_empty() {
                        open.swap_remove(at.index(open.len()));
                    }
                    continue;
                }
                let name = ["ann", "bob", ""][usize::from(who)];
                let subject = (!name.is_empty()).then_some(name);
                let of_address = open.iter().filter(|(one, _, _)| *one == from).count();
                let of_subject = open.iter().filter(|(_, one, _)| *one == who).count();
                let fits = of_address < 4 && (subject.is_none() || of_subject < 3);
                let taken = seats.take(address(from), subject);
                prop_assert_eq!(taken.is_ok(), fits);
                if let Ok(seat) = taken {
                    open.push((from, who, seat));
                }
                for from in 0..3 {
                    let count = open.iter().filter(|(one, _, _)| *one == from).count();
                    prop_assert_eq!(seats.of_address(address(from).unwrap()), count);
                }
            }
            drop(open);
            prop_assert!(seats.0.held.lock().is_empty());
        }
    }
}
