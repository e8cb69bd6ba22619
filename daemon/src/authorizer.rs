//! Who may administer: root, and on the system bus whomever polkit lets.
//!
//! polkit is asked about the caller's unique name on the bus, never about a process: a pid can be another's by the
//! time it is looked at (CVE-2013-4288). Where polkit is not there, does not answer in time or answers with an
//! error, nobody but root may.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbus_api::Error;
use zbus::names::UniqueName;
use zbus::proxy::CacheProperties;
use zbus_polkit::policykit1::{AuthorityProxy, CheckAuthorizationFlags, Subject};

use crate::caller::{Caller, ConnectionKey};
use crate::service::lock;

/// How long polkit may take to answer by itself, its start included.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long somebody may take to type a password.
const TYPING: Duration = Duration::from_secs(120);
/// How many questions to polkit one uid may have under way.
const PER_UID: usize = 4;

/// What an administrator wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// See accounts and how they stand.
    Read,
    /// Lift locks.
    Unlock,
    /// Everything else.
    Manage,
    /// Import secrets: root's alone, whatever polkit says.
    Import,
    /// Take the store and its key away: root's alone, whatever polkit says.
    Backup,
    /// See a secret once more: root's alone, whatever polkit says.
    Export,
}

/// Decides who may administer.
#[derive(Clone, Debug, Default)]
pub enum Authorizer {
    /// Root alone.
    #[default]
    Root,
    /// Root, and whom polkit lets.
    Polkit(Polkit),
}

/// polkit, over one connection to the system bus. Clones share the count of questions under way.
#[derive(Clone, Debug)]
pub struct Polkit {
    connection: zbus::Connection,
    generation: u64,
    asking: Arc<Mutex<HashMap<u32, usize>>>,
}

impl Action {
    /// The action in packaging/polkit/org.countersign.policy; `None` where polkit is not asked.
    #[must_use]
    pub const fn id(self) -> Option<&'static str> {
        match self {
            Self::Read => Some("org.countersign.read"),
            Self::Unlock => Some("org.countersign.unlock"),
            Self::Manage => Some("org.countersign.manage"),
            Self::Import | Self::Backup | Self::Export => None,
        }
    }
}

impl Authorizer {
    /// Lets root do everything, without a question, and another caller what polkit lets it do.
    ///
    /// # Errors
    /// [`Error::AccessDenied`], and [`Error::LimitExceeded`] where this uid has too many questions under way.
    pub async fn authorize(&self, caller: &Caller, action: Action) -> Result<(), Error> {
        if caller.is_root() {
            return Ok(());
        }
        match (self, action.id()) {
            (Self::Polkit(polkit), Some(id)) if polkit.allows(caller, id).await? => Ok(()),
            (Self::Polkit(_), Some(_)) => Err(denied("you may not administer here: try it with sudo")),
            _ => Err(denied("only root may do this: try it with sudo")),
        }
    }
}

impl Polkit {
    /// Asks over this connection about callers on it. `generation` is that of their [`ConnectionKey`]s.
    #[must_use]
    pub fn new(connection: zbus::Connection, generation: u64) -> Self {
        Self { connection, generation, asking: Arc::default() }
    }

    /// Whether polkit lets this caller do it. Somebody is asked for a password only if the caller's message said
    /// that it waits for that.
    async fn allows(&self, caller: &Caller, action: &str) -> Result<bool, Error> {
        let ConnectionKey::Bus(generation, name) = &caller.connection else { return Ok(false) };
        if *generation != self.generation {
            return Ok(false);
        }
        let _place = Place::take(&self.asking, caller.uid)?;
        // First without anybody: a polkit that hangs must not cost the time that a person may take.
        let alone = self.ask(name, action, CheckAuthorizationFlags::empty(), PATIENCE).await;
        if alone.is || !alone.could_be || !caller.interactive {
            return Ok(alone.is);
        }
        let interaction = CheckAuthorizationFlags::ALLOW_USER_INTERACTION;
        Ok(self.ask(name, action, interaction, TYPING).await.is)
    }

    /// Whatever goes wrong, nobody is authorized.
    async fn ask(&self, name: &str, action: &str, flags: CheckAuthorizationFlags, patience: Duration) -> Authorized {
        let question = cancellation();
        match tokio::time::timeout(patience, self.check(name, action, flags, &question)).await {
            Ok(answer) => answer.unwrap_or_default(),
            Err(_elapsed) => {
                // Nobody shall type a password into a dialogue that nothing depends on any more.
                let _ = tokio::time::timeout(PATIENCE, self.cancel(&question)).await;
                Authorized::default()
            }
        }
    }

    async fn check(
        &self,
        name: &str,
        action: &str,
        flags: CheckAuthorizationFlags,
        question: &str,
    ) -> Result<Authorized, Box<dyn std::error::Error + Send + Sync>> {
        let subject = subject(name)?;
        let authority = self.authority().await?;
        let result = authority.check_authorization(&subject, action, &HashMap::new(), flags, question).await?;
        Ok(Authorized { is: result.is_authorized, could_be: result.is_challenge })
    }

    async fn cancel(&self, question: &str) -> zbus::Result<()> {
        self.authority().await?.cancel_check_authorization(question).await
    }

    async fn authority(&self) -> zbus::Result<AuthorityProxy<'_>> {
        AuthorityProxy::builder(&self.connection).cache_properties(CacheProperties::No).build().await
    }
}

/// What polkit says of somebody.
#[derive(Clone, Copy, Debug, Default)]
struct Authorized {
    is: bool,
    /// Once somebody has typed a password.
    could_be: bool,
}

/// The caller of this unique name. zbus_polkit makes such a subject from a message's header alone.
fn subject(name: &str) -> Result<Subject, Box<dyn std::error::Error + Send + Sync>> {
    let message = zbus::Message::method_call(dbus_api::OBJECT_PATH, "Administer")
        .sender(UniqueName::try_from(name)?)
        .build(&())?;
    Ok(Subject::new_for_message_header(&message.header())?)
}

/// A name for one question, by which it can be taken back.
fn cancellation() -> String {
    static QUESTIONS: AtomicU64 = AtomicU64::new(1);
    format!("countersign-{}", QUESTIONS.fetch_add(1, Ordering::Relaxed))
}

/// One of the questions that a uid may have under way.
struct Place<'a> {
    asking: &'a Mutex<HashMap<u32, usize>>,
    uid: u32,
}

impl<'a> Place<'a> {
    fn take(asking: &'a Mutex<HashMap<u32, usize>>, uid: u32) -> Result<Self, Error> {
        let mut counts = lock(asking);
        let count = counts.entry(uid).or_default();
        if *count >= PER_UID {
            return Err(Error::LimitExceeded("too many questions to polkit are under way".into()));
        }
        *count += 1;
        Ok(Self { asking, uid })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut counts = lock(self.asking);
        if let Some(count) = counts.get_mut(&self.uid) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.uid);
            }
        }
    }
}

fn denied(text: &str) -> Error {
    Error::AccessDenied(text.into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_uid_has_four_questions_under_way_at_most_and_others_have_theirs() {
        let asking = Mutex::default();
        let taken: Vec<_> = (0..PER_UID).map(|_| Place::take(&asking, 7).unwrap()).collect();
        assert!(matches!(Place::take(&asking, 7), Err(Error::LimitExceeded(_))));
        let _other = Place::take(&asking, 8).unwrap();
        drop(taken);
        assert!(Place::take(&asking, 7).is_ok());
        assert_eq!(lock(&asking).len(), 1, "nothing is kept of a uid that asks nothing");
    }

    #[test]
    fn the_shipped_policy_has_our_actions_asks_each_time_and_lets_the_daemon_ask() {
        let policy = include_str!("../../packaging/polkit/org.countersign.policy");
        let shipped: Vec<_> =
            policy.split("<action id=\"").skip(1).filter_map(|action| action.split('"').next()).collect();
        let ours = [Action::Read, Action::Unlock, Action::Manage].map(|action| action.id().unwrap());
        assert_eq!(shipped, ours);
        assert_eq!(Action::Import.id(), None, "importing is root's alone");
        assert_eq!(Action::Backup.id(), None, "a backup is root's alone");
        for (part, count) in
            [(">auth_admin</allow_", 9), ("</allow_", 9), (".owner\">unix-user:countersign</annotate>", 3)]
        {
            assert_eq!(policy.matches(part).count(), count, "{part}");
        }
    }

    #[test]
    fn a_caller_is_named_to_polkit_by_its_name_on_the_bus() {
        assert_eq!(subject(":1.42").unwrap().kind(), "system-bus-name");
        assert!(subject("org.example.Other").is_err());
    }
}
