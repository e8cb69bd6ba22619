//! The connection to the daemon, and what its errors mean to the person at the keyboard. Whatever the daemon says is
//! escaped here.

use std::{future::Future, time::Duration};

use dbus_api::{AdminProxy, EnrollmentProxy, Error, VerifierProxy};
use nix::unistd::{Uid, User, getegid, geteuid, getgid, getuid};
use zbus::{Connection, connection, fdo, proxy::CacheProperties};

use crate::{agent::Agent, failure::Failure, wording::printable};

/// How long to wait for the bus itself.
const CONNECTING: Duration = Duration::from_secs(10);
/// How long to wait for an answer of the daemon, the time to start it included.
const USUAL_PATIENCE: Duration = Duration::from_secs(30);
/// As [`USUAL_PATIENCE`], for a call that carries hundreds of records, each of which may need the name service.
pub(crate) const LONG_PATIENCE: Duration = Duration::from_secs(600);

/// As [`USUAL_PATIENCE`], where somebody may have to type an administrator's password first.
const TYPING_PATIENCE: Duration = Duration::from_secs(150);

/// Under what name sudo and its like leave the account that called them. It is used for questions
/// back, and for guards against mistakes.
const CALLERS: [&str; 3] = ["SUDO_USER", "DOAS_USER", "PKEXEC_UID"];

/// A connection to the bus on which the daemon lives.
pub(crate) struct Client {
    connection: Connection,
}

impl Client {
    /// Connects to the system bus at its fixed address, or to `bus`.
    ///
    /// # Errors
    /// Where the bus cannot be reached, or `bus` was given to a setuid program.
    pub(crate) async fn connect(bus: Option<&str>) -> Result<Self, Failure> {
        Self::connect_patiently(bus, USUAL_PATIENCE).await
    }

    /// As [`Client::connect`], with another time to wait for answers.
    ///
    /// # Errors
    /// As [`Client::connect`].
    pub(crate) async fn connect_patiently(bus: Option<&str>, patience: Duration) -> Result<Self, Failure> {
        // The address is the caller's choice only where the caller has no more rights than itself: CVE-2012-3524.
        let elevated = getuid() != geteuid() || getgid() != getegid();
        if bus.is_some() && elevated {
            return Err(Failure::usage("--bus cannot be used by a setuid or setgid program"));
        }
        let address = bus.unwrap_or(dbus_api::SYSTEM_BUS);
        // zbus's own timeout covers neither connecting nor the handshake.
        let connecting = connection::Builder::address(address).method_timeout(patience).build();
        match tokio::time::timeout(CONNECTING, connecting).await {
            Ok(Ok(connection)) => Ok(Self { connection }),
            Ok(Err(zbus::Error::Address(why))) if bus.is_some() => {
                Err(Failure::usage(format!("--bus: this is no D-Bus address: {}", printable(&why))))
            }
            Ok(Err(error)) => Err(bus_unreachable(&printable(&error.to_string()))),
            Err(_elapsed) => Err(bus_unreachable(&format!("it did not answer within {} s", CONNECTING.as_secs()))),
        }
    }

    /// The connection itself, for questions to the bus.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The interface for enrolling.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub(crate) async fn enrollment(&self) -> Result<EnrollmentProxy<'static>, Failure> {
        reach(EnrollmentProxy::builder(&self.connection).cache_properties(CacheProperties::No).build()).await
    }

    /// The interface for administrators.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub(crate) async fn admin(&self) -> Result<AdminProxy<'static>, Failure> {
        reach(AdminProxy::builder(&self.connection).cache_properties(CacheProperties::No).build()).await
    }

    /// The interface for verifying.
    ///
    /// # Errors
    /// Where the connection is lost.
    pub(crate) async fn verifier(&self) -> Result<VerifierProxy<'static>, Failure> {
        reach(VerifierProxy::builder(&self.connection).cache_properties(CacheProperties::No).build()).await
    }
}

/// The interface for administrators, and for others than root the agent that asks for an administrator's password on
/// this terminal; it must live until the answer is there.
///
/// # Errors
/// As [`Client::connect`].
pub(crate) async fn administer(bus: Option<&str>) -> Result<(AdminProxy<'static>, Option<Agent>), Failure> {
    administer_patiently(bus, USUAL_PATIENCE).await
}

/// As [`administer`], with another time to wait for answers: nobody but root is waited for less than somebody may type.
///
/// # Errors
/// As [`Client::connect`].
pub(crate) async fn administer_patiently(
    bus: Option<&str>,
    patience: Duration,
) -> Result<(AdminProxy<'static>, Option<Agent>), Failure> {
    if geteuid().is_root() {
        return Ok((Client::connect_patiently(bus, patience).await?.admin().await?, None));
    }
    // The agent speaks to the polkit of the system bus, which does not ask about callers on another one.
    let agent = if bus.is_none() { Agent::start().await } else { None };
    let patience = patience.max(TYPING_PATIENCE);
    Ok((Client::connect_patiently(bus, patience).await?.admin().await?, agent))
}

/// The account that a command is about: the one that was named, else the caller's own.
///
/// # Errors
/// Where none was named and the caller became root through sudo: root's own account is hardly meant.
pub(crate) fn account(named: Option<&str>, command: &str) -> Result<String, Failure> {
    if let Some(user) = named {
        return Ok(user.to_owned());
    }
    if let Some(caller) = sudo_caller() {
        return Err(Failure::usage("under sudo the account must be named").with_help(format!(
            "Try: sudo countersign {command} {caller} or, if root itself is meant: sudo countersign {command} root",
            caller = printable(&caller)
        )));
    }
    own_name(getuid().as_raw()).ok_or_else(|| {
        Failure::usage(format!("your uid {} has no name here", getuid()))
            .with_help(format!("Name the account: countersign {command} USER"))
    })
}

/// The account that called this through sudo or its like. Only for what the caller may do anyway.
pub(crate) fn sudo_caller() -> Option<String> {
    let caller = CALLERS.iter().find_map(|name| std::env::var(name).ok()).filter(|_| geteuid().is_root())?;
    Some(caller.parse().ok().and_then(own_name).unwrap_or(caller))
}

fn own_name(uid: u32) -> Option<String> {
    User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name)
}

/// What an error of the daemon means. `user` is the account in question, `command` what to type again with sudo, such as
/// `unlock alice`.
pub(crate) fn explain(error: &Error, user: &str, command: &str) -> Failure {
    let (text, user, command) = (printable(&error.text()), printable(user), &printable(command));
    let or = |usual: &str| if text.is_empty() { usual.to_owned() } else { text.clone() };
    match error {
        Error::ZBus(error) => explain_transport(error, command),
        Error::AccessDenied(_) => access_denied(&or("you may not do this"), command),
        Error::InvalidArgument(_) => Failure::refused(or("the daemon does not take these arguments"))
            .with_help("Nothing was changed. The command's --help says what is allowed."),
        Error::NotFound(_) => Failure::refused(or("it took too long, and was ended")).with_help("Begin again."),
        Error::UnknownAccount(_) => Failure::refused(format!("this host knows no account {user}"))
            .with_help(format!("Check the spelling: getent passwd {user}")),
        Error::NotEnrolled(_) => not_enrolled(&or(&format!("{user} has no such authenticator")), &user, command),
        Error::Busy(_) => Failure::refused(or("somebody else is enrolling this account, or the label is taken"))
            .with_help(format!("Show the labels in use: countersign status {user}")),
        Error::LimitExceeded(_) => Failure::refused(or("too many requests are under way"))
            .with_help("Wait for the others to end, and try again."),
        Error::WrongCode(_) => Failure::refused(or("the code is wrong or was used already"))
            .with_help("Wait for the next code, and check that the clocks of phone and host are right."),
        Error::Locked(_) => Failure::refused(or(&format!("{user} is locked after too many wrong codes")))
            .with_help(format!("The lock lifts by itself. Sooner: sudo countersign unlock {user}")),
        Error::Disabled(_) => Failure::refused(or(&format!("{user} is disabled")))
            .with_help(format!("An administrator ends that: sudo countersign enable {user}")),
        Error::VerificationRequired(_) => Failure::refused(or("a code of an active authenticator is needed first"))
            .with_help(format!(
                "Run the command again and enter a code when asked, or ask an administrator: sudo countersign {command}"
            )),
        Error::LastAuthenticator(_) => Failure::refused(or("this is the last active authenticator"))
            .with_help(format!("Add another one first: countersign enroll {user}"))
            .with_help(format!("Or ask an administrator: sudo countersign {command}")),
        Error::BadConfiguration(_) => Failure::refused(or("the configuration is wrong"))
            .with_help("The one in force stays. See /etc/countersign/countersign.toml"),
        Error::Unavailable(_) => Failure::refused(or("the daemon could not decide; nothing was changed"))
            .with_help("See why: journalctl -u countersignd"),
    }
}

fn not_enrolled(text: &str, user: &str, command: &str) -> Failure {
    let failure = Failure::refused(text).with_help(format!("Show what there is: countersign status {user}"));
    // Whoever names an authenticator has mistyped its id, and wants no other one.
    let words: Vec<&str> = command.split(' ').collect();
    if matches!(words.as_slice(), ["rename" | "remove" | "resync" | "export", ..] | ["enable" | "disable", _, _]) {
        return failure;
    }
    failure.with_help(format!("Add one: sudo countersign enroll {user}"))
}

fn access_denied(text: &str, command: &str) -> Failure {
    let failure = Failure::refused(text);
    if geteuid().is_root() {
        return failure.with_help("See why: journalctl -u countersignd");
    }
    failure.with_help(format!("An administrator may: sudo countersign {command}"))
}

/// What it means that no answer of the contract came.
fn explain_transport(error: &zbus::Error, command: &str) -> Failure {
    let text = printable(&error.to_string());
    match error {
        zbus::Error::FDO(error) => match error.as_ref() {
            fdo::Error::AccessDenied(_) => access_denied("the system bus does not let you do this", command),
            fdo::Error::UnknownMethod(_) | fdo::Error::UnknownInterface(_) | fdo::Error::UnknownObject(_) => {
                other_version()
            }
            fdo::Error::InvalidArgs(_) | fdo::Error::InvalidSignature(_) => other_version(),
            _ => daemon_unreachable(&text),
        },
        zbus::Error::SignatureMismatch(..) | zbus::Error::InvalidReply | zbus::Error::IncorrectType => other_version(),
        zbus::Error::InputOutput(error) if error.kind() == std::io::ErrorKind::TimedOut => {
            daemon_unreachable("it does not answer")
        }
        _ => daemon_unreachable(&text),
    }
}

fn other_version() -> Failure {
    Failure::refused("the daemon's answer is not understood: it is of another version than this tool")
        .with_help("Restart it: systemctl restart countersignd")
}

fn daemon_unreachable(why: &str) -> Failure {
    Failure::unreachable(format!("the daemon countersignd cannot be reached: {why}"))
        .with_help("See how it is: systemctl status countersignd")
}

fn bus_unreachable(why: &str) -> Failure {
    Failure::unreachable(format!("the system bus cannot be reached: {why}"))
        .with_help("See how bus and daemon are: systemctl status dbus countersignd")
}

async fn reach<T>(proxy: impl Future<Output = zbus::Result<T>>) -> Result<T, Failure> {
    proxy.await.map_err(|error| daemon_unreachable(&printable(&error.to_string())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::{REFUSED, UNREACHABLE};

    #[test]
    fn an_absent_daemon_is_unreachable_and_a_refusing_bus_refuses() {
        let transport = |error| explain(&Error::ZBus(zbus::Error::FDO(Box::new(error))), "alice", "unlock alice");
        assert_eq!(transport(fdo::Error::ServiceUnknown(String::new())).exit(), UNREACHABLE);
        assert_eq!(transport(fdo::Error::NameHasNoOwner(String::new())).exit(), UNREACHABLE);
        assert_eq!(transport(fdo::Error::NoReply(String::new())).exit(), UNREACHABLE);
        assert_eq!(transport(fdo::Error::AccessDenied(String::new())).exit(), REFUSED);
        assert_eq!(transport(fdo::Error::UnknownMethod(String::new())).exit(), REFUSED);
    }

    #[test]
    fn texts_of_the_daemon_cannot_steer_the_terminal() {
        let failure = format!("{:?}", explain(&Error::Locked("\x1b[2J".to_owned()), "a\x1bb", "status"));
        assert!(failure.contains("\\\\u{1b}[2J") && failure.contains("a\\\\u{1b}b"), "{failure}");
    }
}
