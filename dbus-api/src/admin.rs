//! `Admin`: what administrators see and do.

use std::fmt;

use serde::{Deserialize, Serialize};
use zbus::{DeserializeDict, SerializeDict, Type};
use zeroize::Zeroize;

use crate::{
    Error, Explanation, Origin, Rehearsed, Supposition,
    audit::{AuditFilter, AuditPage, AuditReport, AuditWitness},
    enrollment::{EnrollmentSummary, Offer},
    health::Health,
    keeping::KeyStatus,
};

/// Which accounts to list. Absent keys do not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct AccountFilter {
    /// Only accounts whose state is this [`AccountState`], as its number.
    pub state: Option<u32>,
    /// With `true`: only accounts that the name service answers not to know. Where it does not answer, for
    /// whichever of them, the whole call fails.
    pub gone: Option<bool>,
}

/// One account in a list.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct Account {
    /// Its name, as the name service spells it.
    pub name: String,
    /// Its uid; absent where it was imported and has not logged in yet.
    pub uid: Option<u32>,
    /// An [`AccountState`] as its number.
    pub state: u32,
    /// How many authenticators are active and have not ended.
    pub authenticators: u32,
    /// How many others it has: they are disabled, or have ended.
    pub authenticators_off: u32,
    /// Recovery codes that were not used yet.
    pub recovery_codes_left: u32,
    /// Wrong codes since the last login.
    pub failures: u32,
    /// Seconds until a lock lifts, where there is one.
    pub locked_for: Option<u64>,
    /// When the last login was granted, in seconds since the epoch.
    pub last_used: Option<u64>,
    /// How many logins are remembered and need not show a code for a time.
    pub remembered: u32,
    /// As [`EnrollmentSummary::enroll_by`].
    pub enroll_by: Option<String>,
}

/// How an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AccountState {
    /// At least one authenticator is active and has not ended.
    Active = 1,
    /// Too many wrong codes: locked for a time.
    Locked = 2,
    /// Disabled until an administrator enables it.
    Disabled = 3,
    /// Known to the store, but without an active authenticator.
    NotEnrolled = 4,
    /// Its record was altered on the disk: every login of it is refused until an administrator resets it.
    Corrupt = 5,
}

impl AccountState {
    /// The state with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Active, Self::Locked, Self::Disabled, Self::NotEnrolled, Self::Corrupt]
            .into_iter()
            .find(|state| *state as u32 == number)
    }
}

/// A page of [`Account`]s in order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct AccountPage {
    /// At most [`crate::MAX_RECORDS`] accounts.
    pub accounts: Vec<Account>,
    /// What to pass as `after` for the next page; empty where this is the last one.
    pub next: String,
    /// `all` where the policy observes, so that nobody is asked; `some` where a rule does; empty where none does.
    pub observe: String,
}

/// One authenticator to import.
#[derive(Clone, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct ImportRecord {
    /// The account's name.
    pub account: String,
    /// A name for the authenticator; absent: the daemon chooses one.
    pub label: Option<String>,
    /// `totp` or `hotp`.
    pub kind: String,
    /// `SHA1`, `SHA256` or `SHA512`.
    pub algorithm: String,
    /// Digits of a code, 6 to 8.
    pub digits: u32,
    /// Seconds of a time step, 15 to 120; ignored for `hotp`.
    pub period: u32,
    /// The next counter; ignored for `totp`. With `last_code`: the counter that this code may be of.
    pub counter: u64,
    /// The secret's bytes, 10 to 128 of them. With fewer than 16 the authenticator ends at `renew_by`.
    pub secret: Vec<u8>,
    /// The last time step of which a code was used; ignored for `hotp`. One that lies in the future counts as now's.
    pub last_step: Option<u64>,
    /// By how many steps its clock runs ahead (+) or behind (-); ignored for `hotp`. Beyond 10 it counts as 0, and the
    /// authenticator needs a resynchronisation.
    pub drift: Option<i64>,
    /// The code that was used last, where its step or counter is not known. It is accepted no more.
    pub last_code: Option<u32>,
    /// When `last_code` was used, in seconds since the epoch; absent: now.
    pub last_code_at: Option<u64>,
    /// Single-use codes of 8 digits that come with it, as numbers; an account has 10 at most. Absent where nothing is
    /// known of any: then those of an earlier import stay as they are.
    pub scratch_codes: Option<Vec<u32>>,
    /// From when on these open nothing, in seconds since the epoch, within 366 days; absent: in 90 days.
    pub scratch_codes_until: Option<u64>,
    /// From when on a secret of fewer than 16 bytes opens nothing, in seconds since the epoch, within 732 days; absent:
    /// in 365 days.
    pub renew_by: Option<u64>,
}

impl ImportRecord {
    /// Of an authenticator of this account, TOTP with SHA-1, 6 digits and 30 seconds, of which nothing was used.
    #[must_use]
    pub fn new(account: impl Into<String>, secret: Vec<u8>) -> Self {
        let mut record = Self::default();
        record.account = account.into();
        record.kind = "totp".into();
        record.algorithm = "SHA1".into();
        record.digits = 6;
        record.period = 30;
        record.secret = secret;
        record
    }
}

impl fmt::Debug for ImportRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImportRecord")
            .field("account", &self.account)
            .field("secret", &"[REDACTED]")
            .finish_non_exhaustive()
    }
}

impl Drop for ImportRecord {
    fn drop(&mut self) {
        self.secret.zeroize();
        self.last_code.zeroize();
        self.scratch_codes.zeroize();
    }
}

/// What became of one [`ImportRecord`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct ImportResult {
    /// An [`ImportOutcome`] as its number.
    pub outcome: u32,
    /// Why, where it was refused; a remark, where it was taken.
    pub remark: String,
}

/// How the import of one record ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ImportOutcome {
    /// A new authenticator is active.
    Added = 1,
    /// The account has this very authenticator already; nothing changed.
    Present = 2,
    /// Not taken; the remark says why.
    Refused = 3,
    /// A new authenticator is active, but the name service does not list the account: its uid is bound at
    /// its first login.
    AddedUnbound = 4,
    /// The account has this very authenticator already; what was used of it elsewhere since is spent here now too.
    CaughtUp = 5,
}

impl ImportOutcome {
    /// The outcome with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Added, Self::Present, Self::Refused, Self::AddedUnbound, Self::CaughtUp]
            .into_iter()
            .find(|outcome| *outcome as u32 == number)
    }
}

/// One setting of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct Setting {
    /// Its key, with its section: `throttling.window`.
    pub key: String,
    /// The value in force, as TOML.
    pub value: String,
    /// `FILE:LINE`, or `default`.
    pub origin: String,
}

/// What administrators see and do: root, or members of the polkit actions `org.countersign.read`,
/// `org.countersign.unlock` and `org.countersign.manage`. Callers wait while polkit asks somebody for a password.
#[zbus::proxy(
    interface = "org.countersign.Countersign1.Admin",
    default_service = "org.countersign.Countersign1",
    default_path = "/org/countersign/Countersign1"
)]
pub trait Admin {
    /// Lists accounts whose names sort after `after`.
    #[zbus(allow_interactive_auth)]
    fn accounts(&self, filter: &AccountFilter, after: &str) -> Result<AccountPage, Error>;

    /// One account in full.
    #[zbus(allow_interactive_auth)]
    fn account(&self, user: &str) -> Result<EnrollmentSummary, Error>;

    /// Lifts a lock. The count of consecutive failures stays.
    #[zbus(allow_interactive_auth)]
    fn unlock(&self, user: &str) -> Result<(), Error>;

    /// Refuses every code of the account until [`AdminProxy::enable`].
    #[zbus(allow_interactive_auth)]
    fn disable(&self, user: &str) -> Result<(), Error>;

    /// Ends [`AdminProxy::disable`], or the disabling by too many failures, and clears the failures.
    #[zbus(allow_interactive_auth)]
    fn enable(&self, user: &str) -> Result<(), Error>;

    /// Refuses the codes of one authenticator until [`AdminProxy::enable_authenticator`]; the others go on.
    #[zbus(allow_interactive_auth)]
    fn disable_authenticator(&self, user: &str, authenticator: &str) -> Result<(), Error>;

    /// Accepts the codes of one authenticator again. What ended stays ended.
    #[zbus(allow_interactive_auth)]
    fn enable_authenticator(&self, user: &str, authenticator: &str) -> Result<(), Error>;

    /// Hands out the secret of an authenticator once more, for a new phone; one of HOTP with its next counter. Root's
    /// alone, and only where the configuration switches it on (`admin.export`).
    fn export(&self, user: &str, authenticator: &str) -> Result<Offer, Error>;

    /// Forgets every authenticator, recovery code and failure of the account. With `allow_enrolment` greater
    /// than 0 the account may enrol itself within that many seconds.
    #[zbus(allow_interactive_auth)]
    fn reset(&self, user: &str, allow_enrolment: u64) -> Result<(), Error>;

    /// Forgets the account's remembered logins, so that a code is asked for everywhere; tells how many there were. Of
    /// one's own account everybody may.
    #[zbus(allow_interactive_auth)]
    fn forget(&self, user: &str) -> Result<u32, Error>;

    /// Forgets an account that the name service does not know any more, as if it had never been there. Refuses
    /// with `InvalidArgument` where the name service knows it, with `Unavailable` where it does not answer.
    #[zbus(allow_interactive_auth)]
    fn prune(&self, user: &str) -> Result<(), Error>;

    /// Imports up to [`crate::MAX_RECORDS`] authenticators in one transaction. Root's alone.
    fn import(&self, records: &[ImportRecord]) -> Result<Vec<ImportResult>, Error>;

    /// What [`AdminProxy::import`] would answer, record by record; changes nothing. Root's alone.
    fn check_import(&self, records: &[ImportRecord]) -> Result<Vec<ImportResult>, Error>;

    /// Reads up to `limit` (1 to [`crate::MAX_RECORDS`]) records of the audit whose numbers are greater than
    /// `after`.
    #[zbus(allow_interactive_auth)]
    fn audit(&self, filter: &AuditFilter, after: u64, limit: u32) -> Result<AuditPage, Error>;

    /// Checks the whole chain of the audit. It may take minutes where there are millions of records.
    #[zbus(allow_interactive_auth)]
    fn verify_audit(&self) -> Result<AuditReport, Error>;

    /// Compares up to [`crate::MAX_RECORDS`] lines of a syslog copy with the audit; those from before its
    /// beginning are passed over. It proves something only of a chain that [`AdminProxy::verify_audit`] found sound.
    #[zbus(allow_interactive_auth)]
    fn compare_audit(&self, witnesses: &[AuditWitness]) -> Result<AuditReport, Error>;

    /// The settings in force and where they come from.
    #[zbus(allow_interactive_auth)]
    fn settings(&self) -> Result<Vec<Setting>, Error>;

    /// How the daemon is: its key, its store, its clock, its settings' warnings.
    #[zbus(allow_interactive_auth)]
    fn health(&self) -> Result<Health, Error>;

    /// Takes the state as this host's from now on, where it came from another one: [`Health::at_home`].
    #[zbus(allow_interactive_auth)]
    fn accept_host(&self) -> Result<(), Error>;

    /// What would become of a login of this account, and why. Nothing is charged, spent or written down by it.
    #[zbus(allow_interactive_auth)]
    fn explain(&self, user: &str, origin: &Origin, supposition: &Supposition) -> Result<Explanation, Error>;

    /// What would become of the same login of up to [`crate::MAX_RECORDS`] accounts. Whoever was let through may
    /// rehearse on for a while, on the same connection, with the same origin.
    #[zbus(allow_interactive_auth)]
    fn rehearse(&self, users: &[&str], origin: &Origin, supposition: &Supposition) -> Result<Vec<Rehearsed>, Error>;

    /// Makes a new master key and seals everything under it while logins go on. Returns once the new key is in use;
    /// [`AdminProxy::key_status`] tells how far the rest has come. Refuses with `Busy` where that is under way, with
    /// `InvalidArgument` where the key is a systemd credential.
    #[zbus(allow_interactive_auth)]
    fn rotate_key(&self) -> Result<(), Error>;

    /// Which master key is in use, and how far a rotation has come.
    #[zbus(allow_interactive_auth)]
    fn key_status(&self) -> Result<KeyStatus, Error>;

    /// Writes the master key and the store, as it is at one instant, into the writing end of a pipe: [`crate::BACKUP_HEADER`],
    /// the 32 bytes of the key, the length of the database as 8 bytes (big-endian), the database. Tells how many accounts
    /// are kept; where it fails, what came through the pipe is worth nothing. Root's alone.
    fn backup(&self, pipe: zbus::Fd<'_>) -> Result<u64, Error>;

    /// Reads the configuration again; the one in force stays if the new one is wrong.
    #[zbus(allow_interactive_auth)]
    fn reload(&self) -> Result<(), Error>;
}
