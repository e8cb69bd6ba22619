//! The daemon on D-Bus: thin interfaces that decode, ask who calls, hand on and encode.
//!
//! Everything that comes in here was written by somebody else.

mod admin;
mod enrollment;
mod peer;
pub mod private;
pub mod system;
pub mod transport;
mod verifier;
mod wire;

pub use admin::Admin;
pub use enrollment::Enrollment;
pub use verifier::Verifier;
#[cfg(fuzzing)]
pub use wire::read_as_fuzzed;

/// The longest user name, reply, label or code that is looked at, in bytes. A longer text is refused before
/// anything else happens.
const LONGEST_TEXT: usize = 1024;

/// Refuses a text that is too long to be meant honestly.
fn bounded<'a>(what: &str, text: &'a str) -> Result<&'a str, dbus_api::Error> {
    if text.len() > LONGEST_TEXT {
        return Err(dbus_api::Error::InvalidArgument(format!("{what} is longer than {LONGEST_TEXT} bytes")));
    }
    Ok(text)
}
