//! Every error that a member of the contract can return, each with its own D-Bus name.

/// An error of the contract. Its D-Bus name is `org.countersign.Countersign1.Error.` and the variant's name.
///
/// The text beside it is for people; programs decide by the variant alone.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.countersign.Countersign1.Error")]
pub enum Error {
    /// The transport failed, or the answer was no answer of this contract.
    #[zbus(error)]
    ZBus(zbus::Error),
    /// The caller may not do this to this account, or its identity could not be established.
    AccessDenied(String),
    /// An argument is out of its range; nothing was changed.
    InvalidArgument(String),
    /// No such verification or enrolment belongs to this connection: it ended, expired or never was.
    NotFound(String),
    /// The name service does not know this account.
    UnknownAccount(String),
    /// The account has no authenticator (of this id).
    NotEnrolled(String),
    /// Somebody is enrolling this account already, or an authenticator with this label exists.
    Busy(String),
    /// Too many verifications, connections or requests of this caller are under way.
    LimitExceeded(String),
    /// The code was wrong or already used; it was charged like that of a login.
    WrongCode(String),
    /// Too many wrong codes: locked for a time, which the text names.
    Locked(String),
    /// Every authenticator of the account is disabled until an administrator enables them.
    Disabled(String),
    /// A code of an existing authenticator must be verified on this connection first.
    VerificationRequired(String),
    /// Only root may remove the last active authenticator.
    LastAuthenticator(String),
    /// The new configuration is wrong; the one in force stays. The text names file, line and key.
    BadConfiguration(String),
    /// The store, the key or the name service did not answer: nothing was granted and nothing changed.
    Unavailable(String),
}

impl Error {
    /// The text for people; empty where the error carries none.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::ZBus(error) => error.to_string(),
            Self::AccessDenied(text)
            | Self::InvalidArgument(text)
            | Self::NotFound(text)
            | Self::UnknownAccount(text)
            | Self::NotEnrolled(text)
            | Self::Busy(text)
            | Self::LimitExceeded(text)
            | Self::WrongCode(text)
            | Self::Locked(text)
            | Self::Disabled(text)
            | Self::VerificationRequired(text)
            | Self::LastAuthenticator(text)
            | Self::BadConfiguration(text)
            | Self::Unavailable(text) => text.clone(),
        }
    }
}
