//! What people are told, as far as scenarios look at it.

pub(crate) const PROMPT: &str = "Verification code: ";
pub(crate) const WRONG: &str = "Wrong code, or one that was used already.";
pub(crate) const TRY_AGAIN: &str = "try again in ";
