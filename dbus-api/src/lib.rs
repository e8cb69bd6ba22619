//! The D-Bus contract of Countersign: every name, type, error and proxy, written once.
//!
//! The daemon serves it, the PAM module and the tool call it. Nothing here decides anything, and every value
//! that comes out of these types was written by the other side of a socket: treat it as an attacker's until
//! it has been parsed.

#![forbid(unsafe_code)]

mod admin;
mod audit;
mod enrollment;
mod error;
mod explanation;
mod health;
mod keeping;
mod verification;

pub use admin::{
    Account, AccountFilter, AccountPage, AccountState, AdminProxy, ImportOutcome, ImportRecord, ImportResult, Setting,
};
pub use audit::{AuditEntry, AuditFilter, AuditFinding, AuditPage, AuditReport, AuditWitness};
pub use enrollment::{
    Authenticator, Confirmation, EnrollmentOptions, EnrollmentProxy, EnrollmentSummary, Offer, RememberedLogin,
    Resynchronisation,
};
pub use error::Error;
pub use explanation::{Explanation, LoginOutcome, PassedOver, Rehearsed, Supposition};
pub use health::Health;
pub use keeping::KeyStatus;
pub use verification::{Action, Denial, Details, Message, MessageKind, Origin, Step, VerifierProxy};

/// The well-known name that the daemon owns on the system bus.
pub const BUS_NAME: &str = "org.countersign.Countersign1";

/// The one object that carries all interfaces, on the system bus and on the private socket alike.
pub const OBJECT_PATH: &str = "/org/countersign/Countersign1";

/// The interface by which a login is verified.
pub const VERIFIER_INTERFACE: &str = "org.countersign.Countersign1.Verifier";

/// The interface by which authenticators are enrolled, renamed and removed.
pub const ENROLLMENT_INTERFACE: &str = "org.countersign.Countersign1.Enrollment";

/// The interface of administrators.
pub const ADMIN_INTERFACE: &str = "org.countersign.Countersign1.Admin";

/// The private D-Bus socket (peer to peer, [`VERIFIER_INTERFACE`] only), which the module tries first.
pub const PRIVATE_SOCKET: &str = "/run/countersign/verifier.sock";

/// The address of the system bus. It is fixed: a program that runs with privileges must not take it from
/// `DBUS_SYSTEM_BUS_ADDRESS`, which its caller controls (CVE-2012-3524).
pub const SYSTEM_BUS: &str = "unix:path=/run/dbus/system_bus_socket";

/// Where the packages put the daemon. The tool runs it to check a configuration, and looks nowhere else.
pub const DAEMON: &str = "/usr/libexec/countersignd";

/// How a backup begins, and the version of its form.
pub const BACKUP_HEADER: &[u8] = b"countersign-backup 1\n";

/// The largest message, in bytes, that the private socket accepts.
pub const MAX_MESSAGE: usize = 64 * 1024;

/// The most import records, audit records or rehearsed logins in one call.
pub const MAX_RECORDS: usize = 500;
