//! Histories drawn by chance.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    Drop,
    DropWithGap,
    DropWithGapElsewhere,
    TooLarge,
    Double,
    DoubleLater,
    Swap,
    Alter,
    Forge,
    Position,
}

fn fault() -> impl Strategy<Value = Fault> {
    use Fault::*;
    prop::sample::select(vec![
        None,
        Drop,
        DropWithGap,
        DropWithGapElsewhere,
        TooLarge,
        Double,
        DoubleLater,
        Swap,
        Alter,
        Forge,
        Position,
    ])
}

/// Four events that are sent with a fault; the second is the one that something happens to.
fn told(four: &[Sent], fault: Fault) -> Vec<Told> {
    let [a, b, c, d] = four else { unreachable!() };
    let [one, two, three, four] = [a, b, c, d].map(|sent| sent.told.clone());
    match fault {
        Fault::None => vec![one, two, three, four],
        Fault::Drop => vec![one, three, four],
        Fault::DropWithGap => vec![one, expired(a.id, c.id), three, four],
        Fault::DropWithGapElsewhere => vec![one, three, expired(c.id, d.id), four],
        Fault::TooLarge => vec![one, too_large(a.id, b.id), three, four],
        Fault::Double => vec![one, two.clone(), two, three, four],
        Fault::DoubleLater => vec![one, two.clone(), three, two, four],
        Fault::Swap => vec![one, three, two, four],
        Fault::Alter => {
            let data = two.data.replace("verify", "verifx");
            vec![one, Told { data, ..two }, three, four]
        }
        Fault::Forge => {
            let data = Mark {
                run: 0,
                publisher: 0,
                feed: 0,
                number: 1,
            }
            .data(0);
            vec![one, Told { data, ..two }, three, four]
        }
        Fault::Position => vec![one, two, said("hub:position", b.id, "{}"), three, four],
    }
}

/// The silent faults that are to be found, and the events that a gap is to excuse.
fn expected(fault: Fault) -> ([u64; 5], u64) {
    match fault {
        Fault::None | Fault::Position => ([0; 5], 0),
        Fault::DropWithGap | Fault::TooLarge => ([0; 5], 1),
        Fault::Drop | Fault::DropWithGapElsewhere => ([1, 0, 0, 0, 0], 0),
        Fault::Double | Fault::DoubleLater => ([0, 1, 0, 0, 0], 0),
        Fault::Swap => ([0, 0, 1, 0, 0], 0),
        Fault::Forge => ([0, 0, 0, 1, 0], 0),
        Fault::Alter => ([0, 0, 0, 0, 1], 0),
    }
}

proptest! {
    #[test]
    fn each_fault_is_found_and_what_was_announced_is_excused(
        rounds in prop::collection::vec((fault(), prop::array::uniform4(0usize..8), any::<bool>()), 1..12),
    ) {
        let mut world = World::new();
        let mut checker = world.reader(ALL);
        let (mut faults, mut excused) = ([0; 5], 0);
        for (fault, tracks, sweeps) in rounds {
            let four = world.publish_all(&tracks);
            for one in told(&four, fault) {
                checker.hear(&one);
                if sweeps {
                    checker.sweep();
                }
            }
            let (more, gap) = expected(fault);
            faults = std::array::from_fn(|kind| faults[kind] + more[kind]);
            excused += gap;
            prop_assert_eq!(checker.outstanding(), 0);
            prop_assert_eq!(checker.is_complete(), faults[0] == 0);
        }
        let (found, tally) = end(checker);
        prop_assert_eq!(found, faults, "{:?}", tally);
        prop_assert_eq!(tally.gaps.events, excused);
        prop_assert!(tally.silent_gaps <= tally.lost.count);
    }

    /// The receipt may come before the event or after it, and what all have passed is dropped.
    #[test]
    fn a_faithful_history_has_no_fault_however_it_interleaves(
        tracks in prop::collection::vec((0usize..8, any::<bool>(), any::<bool>()), 1..60),
    ) {
        let mut world = World::new();
        let mut readers = [world.reader(ALL), world.reader(ONE)];
        for (track, is_late, drops) in tracks {
            let sent = world.send(track);
            if !is_late {
                prop_assert_eq!(world.acknowledge(&sent), None);
            }
            readers[0].hear(&sent.told);
            if readers[1].tracks().any(|(_, own)| own == track) {
                readers[1].hear(&sent.told);
            }
            if is_late {
                prop_assert_eq!(world.acknowledge(&sent), None);
            }
            if drops {
                readers[0].sweep();
                for (track, number) in readers[0].passed().collect::<Vec<_>>() {
                    world.ledger.drop_through(track, number);
                }
            }
        }
        for mut reader in readers {
            prop_assert!(reader.is_complete());
            prop_assert_eq!(end(reader).0, [0; 5]);
        }
    }

    /// The reader had some of the events, hears the reset, and is sent what both logs share and what is new.
    #[test]
    fn after_a_reset_what_came_may_come_again_and_only_what_is_new_is_due(
        tracks in prop::collection::vec(0usize..8, 1..20), had in 0usize..20, shared in 0usize..20,
        new in prop::collection::vec(0usize..8, 1..20), again in any::<bool>(),
        lost in prop::option::of(0usize..20),
    ) {
        let mut world = World::new();
        let mut checker = world.reader(ALL);
        let old = world.publish_all(&tracks);
        let (had, shared) = (had.min(old.len()), shared.min(old.len()));
        hear(&mut checker, &old[..had]);
        let from = if again { 0 } else { shared };
        let base = from.checked_sub(1).map_or(Position::START, |last| old[last].id);
        checker.hear(&said("hub:reset", base, "{}"));
        hear(&mut checker, &old[from..shared]);
        world.sequence = shared as u64;
        let mut new = world.publish_all(&new);
        prop_assert!(!checker.is_complete());
        let lost = lost.filter(|lost| *lost < new.len()).map(|lost| new.remove(lost));
        hear(&mut checker, &new);
        let (found, tally) = end(checker);
        prop_assert_eq!(found, [u64::from(lost.is_some()), 0, 0, 0, 0], "{:?}", tally);
        prop_assert_eq!(tally.resets.events, (old.len() - had) as u64);
    }
}
