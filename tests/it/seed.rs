//! Chance that can be repeated.

use fastrand::Rng;

/// A generator, its seed printed for whom the test fails: `TIDINGS_TEST_SEED` sets it again.
#[allow(clippy::print_stderr)] // cargo shows it where a test fails
pub(crate) fn rng() -> Rng {
    let given = std::env::var("TIDINGS_TEST_SEED").ok();
    let seed = given.map_or_else(
        || fastrand::u64(..),
        |text| text.parse().expect("TIDINGS_TEST_SEED is a number"),
    );
    eprintln!("TIDINGS_TEST_SEED={seed}");
    Rng::with_seed(seed)
}
