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

/// A generator, its seed printed for whom the test fails: `TIDINGS_TEST_SEED` sets it again.
#[allow(clippy::print_stderr)] // cargo shows it where a test fails
fn rng() -> Rng {
    let given = std::env::var("TIDINGS_TEST_SEED").ok();
    let seed = given.map_or_else(
        || fastrand::u64(..),
        |text| text.parse().expect("TIDINGS_TEST_SEED is a number"),
    );
    eprintln!("TIDINGS_TEST_SEED={seed}");
    fastrand::seed(seed); // the hub's own pauses
    Rng::with_seed(seed)
}

#[tokio::test(start_paused = true)]
async fn every_reader_is_told_what_the_model_says_whatever_becomes_of_the_log() {
    let mut rng = rng();
    for _ in 0..STEPS / LIFE {
        let mut world = World::new(rng.fork()).await;
        for _ in 0..LIFE {
            world.step().await;
        }
        world.end().await;
    }
}
