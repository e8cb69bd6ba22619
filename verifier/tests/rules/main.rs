//! The rules, each as a sentence with its figures: the RFCs' vectors, replies, codes, throttling, phantoms,
//! remembered logins, accounts that come back from a backup.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod codes;
mod console;
mod deadlines;
mod hopes;
mod phantoms;
mod recovery;
mod remembered;
mod replies;
mod restored;
mod resynchronisation;
mod scene;
mod scratch;
mod throttling;
mod vectors;
