//! What administrators read of the audit, and what a check of it found.

use serde::{Deserialize, Serialize};
use zbus::{DeserializeDict, SerializeDict, Type};

/// Which records of the audit to read. Absent keys do not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct AuditFilter {
    /// Only records about this account, spelled as the record has it.
    pub user: Option<String>,
    /// Only records of this moment and later, in seconds since the epoch.
    pub since: Option<u64>,
}

/// One record of the audit. The texts are as they were typed, neither escaped nor trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct AuditEntry {
    /// Its number; they follow each other without a gap.
    pub seq: u64,
    /// When, in seconds since the epoch.
    pub at: u64,
    /// The line that syslog was given, escaped to printable ASCII.
    pub line: String,
    /// What happened (docs/events.md).
    pub event: String,
    /// `granted`, `refused` or `note`.
    pub outcome: String,
    /// The account.
    pub account: Option<String>,
    /// `PAM_SERVICE`.
    pub service: Option<String>,
    /// `PAM_TTY`.
    pub tty: Option<String>,
    /// `PAM_RHOST`.
    pub rhost: Option<String>,
    /// `trusted`: root said where the login came from; `claimed`: another caller did.
    pub origin: Option<String>,
    /// The policy rule that decided.
    pub rule: Option<String>,
    /// The authenticator's id and label, or `recovery-code`.
    pub authenticator: Option<String>,
    /// Why it was refused, or what else there is to say.
    pub reason: Option<String>,
    /// Consecutive failures.
    pub failures: Option<u32>,
    /// How many like this one it stands for.
    pub count: Option<u32>,
    /// Who asked, by the transport's word.
    pub caller_uid: Option<u32>,
    /// The beginning of its place in the chain: 16 hexadecimal digits.
    pub chain: String,
}

/// Some records of the audit, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct AuditPage {
    /// As many as were asked for at most. A page may be empty although more follow: a call looks at a bounded
    /// number of records.
    pub entries: Vec<AuditEntry>,
    /// What to pass as `after` to go on; what was passed where there is nothing more yet.
    pub next: u64,
}

/// What a line of a syslog copy says: this record was written, with this place in the chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, Type)]
pub struct AuditWitness {
    /// From `seq=…`.
    pub seq: u64,
    /// From `chain=…`: 16 hexadecimal digits.
    pub chain: String,
}

/// What a check of the audit found.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct AuditReport {
    /// An [`AuditFinding`] as its number: the first thing that is wrong, if anything is.
    pub finding: u32,
    /// The first record that is broken or missing, where the finding is about one.
    pub record: Option<u64>,
    /// The finding in words.
    pub text: String,
    /// The first record that is kept; one more than `last` where there is none.
    pub first: Option<u64>,
    /// The last record; 0 where there never was one.
    pub last: Option<u64>,
}

/// What is wrong with the audit, if anything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum AuditFinding {
    /// Nothing.
    Sound = 1,
    /// A record was changed, or another stands in its place.
    Changed = 2,
    /// A record between others is not there.
    Missing = 3,
    /// Records at the end are not there.
    CutOff = 4,
    /// The signed mark of the beginning or the end was altered.
    Ends = 5,
    /// A record is not the one that syslog was told of.
    Contradicted = 6,
}

impl AuditFinding {
    /// The finding with this number.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Sound, Self::Changed, Self::Missing, Self::CutOff, Self::Ends, Self::Contradicted]
            .into_iter()
            .find(|finding| *finding as u32 == number)
    }
}
