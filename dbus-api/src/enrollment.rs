//! `Enrollment`: binding authenticators to accounts.

use std::fmt;

use zbus::{DeserializeDict, SerializeDict, Type};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::Error;

/// What the enrolled authenticator shall be. Absent keys take the daemon's configured default.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct EnrollmentOptions {
    /// A name for it, 1 to 64 printable characters, unique within the account.
    pub label: Option<String>,
    /// `totp` (default) or `hotp`.
    pub kind: Option<String>,
    /// `SHA1`, `SHA256` or `SHA512` (RFC 6238, section 1.2).
    pub algorithm: Option<String>,
    /// Digits of a code, 6 to 8 (RFC 4226, section 5.3).
    pub digits: Option<u32>,
    /// Seconds of a time step, 15 to 120 (TOTP only).
    pub period: Option<u32>,
    /// Activate at once, without a code to confirm. Root's alone.
    pub no_confirm: Option<bool>,
}

/// A pending enrolment: the one moment at which the secret leaves the daemon, but for [`crate::AdminProxy::export`].
#[derive(Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct Offer {
    /// The secret in base32 without padding (RFC 4648, section 6).
    pub secret: String,
    /// The `otpauth://` URI that a QR code carries.
    pub uri: String,
    /// The account, as the name service spells it.
    pub account: String,
    /// The label that was chosen.
    pub label: String,
    /// `totp` or `hotp`.
    pub kind: String,
    /// `SHA1`, `SHA256` or `SHA512`.
    pub algorithm: String,
    /// Digits of a code.
    pub digits: u32,
    /// Seconds of a time step; 0 for `hotp`.
    pub period: u32,
    /// Recovery codes, only where `no_confirm` activated the authenticator at once.
    pub recovery_codes: Option<Vec<String>>,
}

impl fmt::Debug for Offer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Offer").field("account", &self.account).field("secret", &"[REDACTED]").finish_non_exhaustive()
    }
}

impl Zeroize for Offer {
    fn zeroize(&mut self) {
        self.secret.zeroize();
        self.uri.zeroize();
        self.recovery_codes.zeroize();
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.zeroize();
    }
}

impl ZeroizeOnDrop for Offer {}

/// The end of an enrolment.
#[derive(Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct Confirmation {
    /// The new authenticator's id.
    pub authenticator: String,
    /// Fresh recovery codes, shown once. Empty where the account had unused ones already.
    pub recovery_codes: Vec<String>,
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmation")
            .field("authenticator", &self.authenticator)
            .field("recovery_codes", &"[REDACTED]")
            .finish()
    }
}

impl Drop for Confirmation {
    fn drop(&mut self) {
        self.recovery_codes.zeroize();
    }
}

/// One authenticator, without its secret.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct Authenticator {
    /// Its id, unique within the account: 8 hexadecimal digits.
    pub id: String,
    /// Its name.
    pub label: String,
    /// `totp` or `hotp`.
    pub kind: String,
    /// `SHA1`, `SHA256` or `SHA512`.
    pub algorithm: String,
    /// Digits of a code.
    pub digits: u32,
    /// Seconds of a time step; 0 for `hotp`.
    pub period: u32,
    /// Whether it is switched on. Its codes are accepted where it is, is not suspended and has not ended.
    pub active: bool,
    /// Whether its codes are refused since a restore, until an administrator enables the account or the authenticator.
    pub suspended: bool,
    /// When it was enrolled, in seconds since the epoch.
    pub created: u64,
    /// When it last let somebody in, in seconds since the epoch.
    pub last_used: Option<u64>,
    /// From when on its codes are refused, in seconds since the epoch; absent where it does not end.
    pub expires: Option<u64>,
    /// By how many seconds its clock is known to run ahead (+) or behind (-); absent for `hotp`, and where nobody knows.
    pub clock_off: Option<i64>,
    /// Whether its clock is off by more than an import could keep, so that a resynchronisation is needed first.
    pub needs_resync: bool,
    /// Whether its secret is shorter than the 128 bits that new ones have at least (RFC 4226, section 4, R6).
    pub weak: bool,
}

/// What a resynchronisation found. One of the two is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct Resynchronisation {
    /// By how many seconds the clock of a `totp` authenticator runs ahead (+) or behind (-). A code may be a time step old
    /// when it is typed: it is known no better than that.
    pub clock_off: Option<i64>,
    /// How many codes of an `hotp` authenticator were passed over.
    pub skipped: Option<u64>,
}

/// The authenticators of an account and what is left of its recovery codes.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct EnrollmentSummary {
    /// The account, as the name service spells it.
    pub account: String,
    /// Its authenticators, oldest first.
    pub authenticators: Vec<Authenticator>,
    /// Recovery codes that were not used yet.
    pub recovery_codes_left: u32,
    /// Scratch codes of imported authenticators that were not used yet and have not ended.
    pub scratch_codes_left: u32,
    /// Whether the account is disabled until an administrator enables it.
    pub disabled: bool,
    /// Seconds until a lock lifts, where there is one.
    pub locked_for: Option<u64>,
    /// Wrong codes since the last login.
    pub failures: u32,
    /// Where nothing is enrolled: the first day (`2027-01-31`) on which a rule that may concern the account needs that.
    pub enroll_by: Option<String>,
    /// Logins that need not show a code for a time.
    pub remembered: Vec<RememberedLogin>,
    /// `all` where the policy observes, so that nobody is asked; `some` where a rule that may concern the account by
    /// name and groups does.
    pub observe: Option<String>,
}

/// A login that is remembered: where, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct RememberedLogin {
    /// The PAM service.
    pub service: String,
    /// The remote host's address.
    pub address: String,
    /// When it was granted, in seconds since the epoch.
    pub since: u64,
    /// Seconds for which it still counts, rounded up.
    pub left: u64,
}

/// Enrols, lists, renames and removes authenticators. Root may do so for any account; another uid for its
/// own, within the rules of the configuration.
#[zbus::proxy(
    interface = "org.countersign.Countersign1.Enrollment",
    default_service = "org.countersign.Countersign1",
    default_path = "/org/countersign/Countersign1"
)]
pub trait Enrollment {
    /// Begins an enrolment, which is pending for 10 minutes and ends with this connection. The id is 0 where
    /// `no_confirm` made it final at once.
    fn begin(&self, user: &str, options: &EnrollmentOptions) -> Result<(u64, Offer), Error>;

    /// Activates the pending authenticator if `code` is a right one of it, which is thereby used.
    fn confirm(&self, id: u64, code: &str) -> Result<Confirmation, Error>;

    /// Forgets a pending enrolment. Unknown ids are ignored.
    fn cancel(&self, id: u64) -> Result<(), Error>;

    /// What the account has.
    fn list(&self, user: &str) -> Result<EnrollmentSummary, Error>;

    /// Gives an authenticator another label.
    fn rename(&self, user: &str, authenticator: &str, label: &str) -> Result<(), Error>;

    /// Removes an authenticator for good.
    fn remove(&self, user: &str, authenticator: &str) -> Result<(), Error>;

    /// Resynchronises an authenticator by two codes that it showed one after the other; both are used up. An account
    /// may do so for itself after it verified another factor, another authenticator or a recovery code, on this connection.
    fn resync(&self, user: &str, authenticator: &str, first: &str, second: &str) -> Result<Resynchronisation, Error>;

    /// Replaces all recovery codes; the old ones stop working.
    fn new_recovery_codes(&self, user: &str) -> Result<Vec<String>, Error>;
}
