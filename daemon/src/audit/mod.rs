//! The audit: one closed enum of events, each in the chained table and in syslog.
//!
//! What attackers typed passes through here into the log; `line` escapes it.

pub mod chain;
pub mod coalescer;
mod line;
pub mod syslog;

use verifier::WallTime;

pub use self::syslog::Syslog;
pub use chain::{AuditRecord, Break, ChainMark, ChainReport, Witness};
pub use coalescer::Coalescer;
pub(crate) use line::escape;

/// What [`Event::authenticator`] says where a recovery code let somebody in.
pub const RECOVERY_CODE: &str = "recovery-code";

/// One thing worth keeping, as it is committed in the same transaction as the change it tells of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: WallTime,
    /// What happened.
    pub kind: Kind,
    /// How it ended.
    pub outcome: Outcome,
    /// To which account, as the name service spells it, or as the caller wrote it where it is unknown.
    pub account: Option<String>,
    /// Where from.
    pub origin: Option<Origin>,
    /// The policy rule that decided.
    pub rule: Option<String>,
    /// The authenticator's id and label, or `recovery-code`.
    pub authenticator: Option<String>,
    /// Why it was refused, or what else there is to say: one word or a short phrase of ours.
    pub reason: Option<String>,
    /// Consecutive failures.
    pub failures: Option<u32>,
    /// Who asked, by the transport's word.
    pub caller_uid: Option<u32>,
    /// How many like this one it stands for, where it was coalesced.
    pub count: Option<u32>,
}

/// Where a login came from, for the audit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// `PAM_SERVICE`.
    pub service: String,
    /// `PAM_TTY`.
    pub tty: String,
    /// `PAM_RHOST`.
    pub rhost: String,
    /// `PAM_RUSER`.
    pub ruser: String,
    /// Whether a caller other than root claims all this.
    pub claimed: bool,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Let in, or done.
    Granted,
    /// Not let in, or not done.
    Refused,
    /// Neither: something happened.
    Note,
}

/// What happened. The names below are what stands in `event=…`; they never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `verification`: a reply was decided about, or a verification ended.
    Verification,
    /// `lock`: an account was locked.
    Lock,
    /// `disable`: an account was disabled, by failures or an administrator.
    Disable,
    /// `enable`: an administrator enabled an account.
    Enable,
    /// `unlock`: an administrator lifted a lock.
    Unlock,
    /// `forget`: an account's remembered logins were forgotten, by an administrator or by its owner.
    Forget,
    /// `reset`: an administrator made an account forget everything.
    Reset,
    /// `prune`: an administrator removed an account that the name service does not know any more.
    Prune,
    /// `enrolment-begun`.
    EnrolmentBegun,
    /// `enrolment-confirmed`.
    EnrolmentConfirmed,
    /// `authenticator-renamed`.
    AuthenticatorRenamed,
    /// `authenticator-removed`.
    AuthenticatorRemoved,
    /// `authenticator-disabled`: the codes of one are refused from now on, those of the others are not.
    AuthenticatorDisabled,
    /// `authenticator-enabled`: they are accepted again.
    AuthenticatorEnabled,
    /// `resync`: an authenticator was resynchronised by two codes, or not.
    Resync,
    /// `export`: the secret of an authenticator was handed out once more, or not.
    Export,
    /// `recovery-codes`: new ones were made.
    RecoveryCodes,
    /// `import`: an authenticator was imported.
    Import,
    /// `start`: the daemon serves.
    Start,
    /// `stop`: the daemon ends.
    Stop,
    /// `reload`: the configuration was read again, or refused.
    Reload,
    /// `access`: a caller asked for what it may not do.
    Access,
    /// `store`: store or key trouble.
    Store,
    /// `key`: a rotation of the master key was begun or ended.
    Key,
    /// `backup`: the store and its key were handed out to root.
    Backup,
    /// `restore`: the store came back from a backup.
    Restore,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 26] = [
        Self::Verification,
        Self::Lock,
        Self::Disable,
        Self::Enable,
        Self::Unlock,
        Self::Forget,
        Self::Reset,
        Self::Prune,
        Self::EnrolmentBegun,
        Self::EnrolmentConfirmed,
        Self::AuthenticatorRenamed,
        Self::AuthenticatorRemoved,
        Self::AuthenticatorDisabled,
        Self::AuthenticatorEnabled,
        Self::Resync,
        Self::Export,
        Self::RecoveryCodes,
        Self::Import,
        Self::Start,
        Self::Stop,
        Self::Reload,
        Self::Access,
        Self::Store,
        Self::Key,
        Self::Backup,
        Self::Restore,
    ];

    /// What stands in `event=…`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Verification => "verification",
            Self::Lock => "lock",
            Self::Disable => "disable",
            Self::Enable => "enable",
            Self::Unlock => "unlock",
            Self::Forget => "forget",
            Self::Reset => "reset",
            Self::Prune => "prune",
            Self::EnrolmentBegun => "enrolment-begun",
            Self::EnrolmentConfirmed => "enrolment-confirmed",
            Self::AuthenticatorRenamed => "authenticator-renamed",
            Self::AuthenticatorRemoved => "authenticator-removed",
            Self::AuthenticatorDisabled => "authenticator-disabled",
            Self::AuthenticatorEnabled => "authenticator-enabled",
            Self::Resync => "resync",
            Self::Export => "export",
            Self::RecoveryCodes => "recovery-codes",
            Self::Import => "import",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Reload => "reload",
            Self::Access => "access",
            Self::Store => "store",
            Self::Key => "key",
            Self::Backup => "backup",
            Self::Restore => "restore",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl Outcome {
    /// What stands in `outcome=…`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Refused => "refused",
            Self::Note => "note",
        }
    }

    /// The outcome of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Granted, Self::Refused, Self::Note].into_iter().find(|outcome| outcome.name() == name)
    }
}

impl Event {
    /// An event of which nothing more is said yet.
    #[must_use]
    pub const fn new(at: WallTime, kind: Kind, outcome: Outcome) -> Self {
        Self {
            at,
            kind,
            outcome,
            account: None,
            origin: None,
            rule: None,
            authenticator: None,
            reason: None,
            failures: None,
            caller_uid: None,
            count: None,
        }
    }

    /// How loudly syslog is told.
    #[must_use]
    pub fn severity(&self) -> syslog::Severity {
        match (self.kind, self.outcome) {
            (Kind::Store, Outcome::Refused) => syslog::Severity::Error,
            (_, Outcome::Refused) | (Kind::Lock | Kind::Disable | Kind::Store, Outcome::Note) => {
                syslog::Severity::Warning
            }
            // Nobody is asked, or a rule is hardly meant as it stands.
            (Kind::Start | Kind::Reload, _) if self.reason.is_some() => syslog::Severity::Warning,
            // Somebody lost a phone, or somebody found the sheet of paper.
            (Kind::Verification, _) if self.authenticator.as_deref() == Some(RECOVERY_CODE) => syslog::Severity::Notice,
            (Kind::Verification, _) => syslog::Severity::Info,
            _ => syslog::Severity::Notice,
        }
    }

    /// The event with every text cut to what the log shows of it, so that nobody fills the disk with a name.
    /// One character more is kept: it makes the line show the cut whenever it is written again.
    #[must_use]
    pub(crate) fn bounded(mut self) -> Self {
        if let Some(origin) = &mut self.origin {
            line::bound(&mut origin.service, line::SHORT);
            line::bound(&mut origin.tty, line::SHORT);
            line::bound(&mut origin.rhost, line::LONG);
            line::bound(&mut origin.ruser, line::LONG);
        }
        for text in [&mut self.account, &mut self.rule, &mut self.authenticator, &mut self.reason].into_iter().flatten()
        {
            line::bound(text, line::LONG);
        }
        self
    }
}
