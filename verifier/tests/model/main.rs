//! The rules against slow models of themselves. A model keeps the whole history, works every answer out anew from
//! it, and knows the true time; what it is compared with keeps a few numbers and sees clocks that jump.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod clocks;
mod decisions;
mod failures;
mod policy;
mod slow;
mod throttling;

use proptest::test_runner::{Config, RngSeed};

/// The same cases in each run; nothing is written to the source tree.
fn cases(count: u32, seed: u64) -> Config {
    Config { failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::with_cases(count) }
}
