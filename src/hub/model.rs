//! Readers, window and follower on a log that fails, and that comes back as another, against a naive model of
//! what each reader must be told.
//!
//! All is in one thread, with a clock that stands still: what happens depends on the seed alone, but for the
//! time stamps of events.

mod line;
mod readers;
mod told;
mod world;

use fastrand::Rng;
use world::World;

const STEPS: usize = 100_000;
/// Steps until all begins anew, with other limits.
const LIFE: usize = 1_000;

/// Seeds that have found something.
const FOUND: [u64; 2] = [14_009_878_283_266_287_647, 8_884_021_642_261_885_696];

/// A random seed, or the one that `TIDINGS_TEST_SEED` gives.
fn seed() -> u64 {
    let given = std::env::var("TIDINGS_TEST_SEED").ok();
    given.map_or_else(
        || fastrand::u64(..),
        |text| text.parse().expect("TIDINGS_TEST_SEED is a number"),
    )
}

/// What comes of a seed, which is printed for whom the test fails.
#[allow(clippy::print_stderr)] // cargo shows it where a test fails
async fn live(seed: u64) {
    eprintln!("TIDINGS_TEST_SEED={seed}");
    fastrand::seed(seed); // the hub's own pauses
    let mut rng = Rng::with_seed(seed);
    for _ in 0..STEPS / LIFE {
        let mut world = World::new(rng.fork()).await;
        for _ in 0..LIFE {
            world.step().await;
        }
        world.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_reader_is_told_what_the_model_says_whatever_becomes_of_the_log() {
    live(seed()).await;
}

#[test]
fn seeds_that_have_found_something_find_nothing_any_more() {
    for seed in FOUND {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(live(seed));
    }
}
