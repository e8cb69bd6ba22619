//! The packages, installed on a Debian that boots. They and the machines' roots are made first: `make packages`, and the
//! root at the first test that wants it. They need root.
//!
//! `COUNTERSIGN_SUITES` names the Debian releases, by default `bookworm`.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a test fails by panicking, and says by which seed"
)]

mod accidents;
mod bus;
mod copies;
mod keeping;
mod life;
mod package;
mod refusals;
mod sandbox;
mod services;
mod trouble;

/// The Debian releases to play on.
fn suites() -> Vec<String> {
    let named = std::env::var("COUNTERSIGN_SUITES").unwrap_or_else(|_| "bookworm".to_owned());
    named.split_whitespace().map(str::to_owned).collect()
}
