//! The pure rules of Countersign: what a reply is, which codes are right, who must wait.
//!
//! Nothing here reads a clock, a file, a socket or a random number: time and randomness are passed in, state
//! goes in and comes out. So every rule can be tested against a slow model of itself.

#![forbid(unsafe_code)]

pub mod account;
pub mod otp;
pub mod phantom;
pub mod policy;
pub mod recovery_code;
pub mod remembered;
pub mod reply;
mod restored;
pub mod resynchronisation;
pub mod scratch_code;
pub mod source;
pub mod throttling;
pub mod time;
mod window;

pub use account::{Account, Authenticator, AuthenticatorId, Decision, Factor, Reason, Rules, Standing, Verdict};
pub use otp::{Algorithm, Counter, Digits, Hotp, Kind, Moving, Parameters, Period, Secret, TimeStep, Totp};
pub use phantom::Phantoms;
pub use policy::{Deadline, FactorOf, Policy, Rule, RuleAction, Unenrolled};
pub use recovery_code::{RecoveryCode, RecoveryDigest, RecoveryKey, StoredRecoveryCode};
pub use remembered::{Place, Remembered};
pub use reply::{Code, Reply};
pub use scratch_code::StoredScratchCode;
pub use source::{SourceAddress, SourceLimits, Sources};
pub use throttling::{Limits, Throttle};
pub use time::{BootTime, Now, WallTime};
