//! Accounts, as the name service (NSS) knows them.
//!
//! A name service may be slow, hang or fail: look-ups run on at most four threads, each is bounded in time,
//! and what cannot be answered is an error, never "no such account".

mod roll;
mod threads;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::unistd::{Gid, Group, User, getgrouplist};

pub(crate) use roll::Names;
use threads::Threads;

/// Answers that are remembered.
const REMEMBERED: usize = 1024;
/// The longest name that is looked up, in bytes; Linux allows 32, directories more.
const LONGEST_NAME: usize = 256;
/// How long one enumeration of all accounts is used.
const ENUMERATION_KEPT: Duration = Duration::from_secs(60);

/// An account: a name as NSS spells it, with its uid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// As NSS spells it, which may differ from what was typed.
    pub name: String,
    /// Its uid.
    pub uid: u32,
}

/// The name service did not answer. Whoever asked must refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NssError {
    /// It took longer than it may.
    #[error("the name service did not answer in time")]
    Timeout,
    /// All threads hang in look-ups that are overdue, or too many wait.
    #[error("the name service hangs")]
    Busy,
    /// It knew a group of this id when the configuration was read, and knows none now.
    #[error("the name service does not know the group {0} any more: a rule names it")]
    NoGroup(u32),
    /// It answered with an error.
    #[error("the name service failed: {0}")]
    Failed(Errno),
}

/// Looks accounts up. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    inner: Arc<Inner>,
}

/// All accounts that NSS enumerated, and when.
type Enumerated = (Arc<HashMap<String, u32>>, Instant);

/// The groups that were asked about, and those among them that the account is in.
#[derive(Clone, Debug)]
struct Membership {
    asked: BTreeSet<u32>,
    member_of: BTreeSet<u32>,
    at: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    threads: Threads,
    answers: Mutex<HashMap<String, (Option<Account>, Instant)>>,
    memberships: Mutex<HashMap<String, Membership>>,
    enumerated: tokio::sync::Mutex<Option<Enumerated>>,
    roll: tokio::sync::Mutex<roll::Kept>,
}

impl Accounts {
    /// Threads start when they are needed.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The account of this name; `None` where NSS says that there is none. Both answers are remembered for the
    /// same few seconds, so that the time of a second question tells nobody which one it was.
    ///
    /// # Errors
    /// [`NssError`] where NSS did not say.
    pub async fn resolve(&self, name: &str, settings: crate::config::Nss) -> Result<Option<Account>, NssError> {
        if !is_possible(name) {
            return Ok(None);
        }
        if let Some(answer) = self.remembered(name, settings.cache.0) {
            return Ok(answer);
        }
        self.resolve_afresh(name, settings).await
    }

    /// As [`Accounts::resolve`], but NSS is asked in any case: for administrators, who may have made the account
    /// a moment ago.
    ///
    /// # Errors
    /// As [`Accounts::resolve`].
    pub async fn resolve_afresh(&self, name: &str, settings: crate::config::Nss) -> Result<Option<Account>, NssError> {
        if !is_possible(name) {
            return Ok(None);
        }
        let wanted = name.to_owned();
        let answer = self.inner.threads.ask(settings.timeout.0, move || look_up(&wanted)).await??;
        self.remember(name, &answer);
        Ok(answer)
    }

    /// Whether NSS answers that there is no account of this name. It is asked anew, and only a plain "no"
    /// counts: a directory that cannot be reached may show as any error number, `ENOENT` among them.
    ///
    /// # Errors
    /// [`NssError`] where NSS did not say.
    pub async fn is_gone(&self, name: &str, settings: crate::config::Nss) -> Result<bool, NssError> {
        if !is_possible(name) {
            return Ok(true);
        }
        let wanted = name.to_owned();
        let found = self.inner.threads.ask(settings.timeout.0, move || User::from_name(&wanted)).await?;
        found.map(|user| user.is_none()).map_err(NssError::Failed)
    }

    /// The names and uids of all accounts that NSS enumerates. Directory services often enumerate none.
    ///
    /// # Errors
    /// [`NssError`] where NSS did not answer within ten times the bound of a look-up.
    pub async fn enumerate(&self, settings: crate::config::Nss) -> Result<Arc<HashMap<String, u32>>, NssError> {
        let mut kept = self.inner.enumerated.lock().await;
        if let Some((accounts, _)) = kept.as_ref().filter(|(_, at)| at.elapsed() < ENUMERATION_KEPT) {
            return Ok(Arc::clone(accounts));
        }
        let accounts = Arc::new(self.inner.threads.ask(settings.timeout.0.saturating_mul(10), enumerate_all).await?);
        *kept = Some((Arc::clone(&accounts), Instant::now()));
        Ok(accounts)
    }

    /// Which of these groups the account is in, by its primary group or another. That it is *not* in one is believed
    /// only where that group itself could be looked up: getgrouplist(3) tells of no error. A name that NSS does not
    /// know is in none, after the same work.
    ///
    /// # Errors
    /// [`NssError`] where NSS did not say.
    pub async fn member_of(
        &self,
        name: &str,
        groups: &BTreeSet<u32>,
        settings: crate::config::Nss,
    ) -> Result<BTreeSet<u32>, NssError> {
        if groups.is_empty() || !is_possible(name) {
            return Ok(BTreeSet::new());
        }
        let kept = lock(&self.inner.memberships).get(name).cloned();
        let kept = kept.filter(|kept| kept.at.elapsed() < settings.cache.0 && groups.is_subset(&kept.asked));
        if let Some(kept) = kept {
            return Ok(kept.member_of);
        }
        let (account, asked) = (name.to_owned(), groups.clone());
        let member_of = self.inner.threads.ask(settings.timeout.0, move || look_up_groups(&account, &asked)).await??;
        let mut memberships = lock(&self.inner.memberships);
        if memberships.len() >= REMEMBERED {
            memberships.clear();
        }
        let answer = Membership { asked: groups.clone(), member_of: member_of.clone(), at: Instant::now() };
        memberships.insert(name.to_owned(), answer);
        Ok(member_of)
    }

    /// Does slow work that asks NSS many questions, on one of the threads.
    ///
    /// # Errors
    /// [`NssError`] where it is not done within ten times the bound of a look-up.
    pub(crate) async fn work_out<T, F>(&self, settings: crate::config::Nss, work: F) -> Result<T, NssError>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.inner.threads.ask(settings.timeout.0.saturating_mul(10), work).await
    }

    /// Forgets all answers, so that a changed name service is seen at once.
    pub fn forget(&self) {
        lock(&self.inner.answers).clear();
        lock(&self.inner.memberships).clear();
        // One that is being enumerated is new anyway.
        if let Ok(mut enumerated) = self.inner.enumerated.try_lock() {
            *enumerated = None;
        }
        if let Ok(mut roll) = self.inner.roll.try_lock() {
            *roll = None;
        }
    }

    fn remembered(&self, name: &str, kept: Duration) -> Option<Option<Account>> {
        let answers = lock(&self.inner.answers);
        answers.get(name).filter(|(_, at)| at.elapsed() < kept).map(|(answer, _)| answer.clone())
    }

    fn remember(&self, name: &str, answer: &Option<Account>) {
        let mut answers = lock(&self.inner.answers);
        if answers.len() >= REMEMBERED {
            answers.clear();
        }
        answers.insert(name.to_owned(), (answer.clone(), Instant::now()));
    }
}

/// Whether an account can have this name at all.
fn is_possible(name: &str) -> bool {
    !name.is_empty() && name.len() <= LONGEST_NAME && !name.contains('\0')
}

/// getpwnam_r(3). glibc says "not found" without an error. The manual's other ways of saying it (`ENOENT`, `ESRCH`)
/// are what a directory says that cannot be reached: they are errors.
fn look_up(name: &str) -> Result<Option<Account>, NssError> {
    let user = User::from_name(name).map_err(NssError::Failed)?;
    Ok(user.map(|user| Account { name: user.name, uid: user.uid.as_raw() }))
}

/// Which of these groups the account is in.
fn look_up_groups(name: &str, groups: &BTreeSet<u32>) -> Result<BTreeSet<u32>, NssError> {
    let user = match User::from_name(name) {
        Ok(user) => user,
        Err(Errno::ENOENT | Errno::ESRCH) => None,
        Err(error) => return Err(NssError::Failed(error)),
    };
    let c_name = CString::new(name).map_err(|_| NssError::Failed(Errno::EINVAL))?;
    // The group that is passed in comes back among the others.
    let primary = user.as_ref().map_or(Gid::from_raw(u32::MAX), |user| user.gid);
    let listed = getgrouplist(&c_name, primary).map_err(NssError::Failed)?;
    let listed: HashSet<u32> = listed.into_iter().map(Gid::as_raw).collect();
    let mut member_of = BTreeSet::new();
    for group in groups {
        if listed.contains(group) || lists_member(*group, name)? {
            member_of.insert(*group);
        }
    }
    Ok(if user.is_some() { member_of } else { BTreeSet::new() })
}

/// Whether a group's own entry lists this member. A group that is not there now was there when the configuration was
/// read: that is no answer.
fn lists_member(group: u32, name: &str) -> Result<bool, NssError> {
    match Group::from_gid(Gid::from_raw(group)) {
        Ok(Some(group)) => Ok(group.mem.iter().any(|member| member == name)),
        Ok(None) => Err(NssError::NoGroup(group)),
        Err(error) => Err(NssError::Failed(error)),
    }
}

/// All entries by getpwent(3): names and uids.
fn enumerate_all() -> HashMap<String, u32> {
    let mut accounts = HashMap::new();
    for_each_entry(|entry, name| {
        accounts.entry(name.to_owned()).or_insert(entry.pw_uid);
    });
    accounts
}

/// The groups that some account has as its primary one, as far as NSS enumerates accounts. Not bounded in time.
pub(crate) fn primary_groups() -> HashSet<u32> {
    let mut groups = HashSet::new();
    for_each_entry(|entry, _| {
        groups.insert(entry.pw_gid);
    });
    groups
}

/// Looks at every entry of getpwent(3), which is one stream a process: a mutex guards it.
#[allow(unsafe_code, reason = "nix has no getpwent")]
fn for_each_entry(mut look: impl FnMut(&libc::passwd, &str)) {
    static STREAM: Mutex<()> = Mutex::new(());
    let _one_at_a_time = lock(&STREAM);
    // SAFETY: setpwent takes nothing; the mutex keeps all users of the stream apart.
    unsafe { libc::setpwent() };
    loop {
        // SAFETY: as above; the entry stays valid until the next call.
        let entry = unsafe { libc::getpwent() };
        // SAFETY: a non-null entry points at a passwd until the next getpwent.
        let Some(entry) = (unsafe { entry.as_ref() }) else { break };
        // SAFETY: pw_name is a C string as long as the entry is valid.
        let name = unsafe { CStr::from_ptr(entry.pw_name) };
        if let Ok(name) = name.to_str() {
            look(entry, name);
        }
    }
    // SAFETY: endpwent takes nothing.
    unsafe { libc::endpwent() };
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::sync::mpsc;

    use super::threads::THREADS;
    use super::*;
    use crate::config::{Nss, Span};

    fn settings() -> Nss {
        Nss { timeout: Span(Duration::from_millis(100)), cache: Span(Duration::ZERO) }
    }

    #[tokio::test]
    async fn root_is_found_and_a_stranger_is_not() {
        let accounts = Accounts::new();
        let settings = Nss::default();
        assert_eq!(accounts.resolve("root", settings).await, Ok(Some(Account { name: "root".into(), uid: 0 })));
        for stranger in ["no-such-account", "", "a\0b", &"x".repeat(300)] {
            assert_eq!(accounts.resolve(stranger, settings).await, Ok(None), "{stranger:?}");
        }
    }

    #[tokio::test]
    async fn both_answers_are_remembered_and_administrators_ask_anew() {
        let accounts = Accounts::new();
        let settings = Nss { cache: Span(Duration::from_secs(60)), ..Nss::default() };
        for name in ["root", "no-such-account"] {
            let answer = accounts.resolve(name, settings).await.unwrap();
            let forged = match answer {
                Some(_) => None,
                None => Some(Account { name: name.into(), uid: 7 }),
            };
            accounts.remember(name, &forged);
            assert_eq!(accounts.resolve(name, settings).await, Ok(forged));
            assert_eq!(accounts.resolve_afresh(name, settings).await, Ok(answer.clone()));
            assert_eq!(accounts.resolve(name, settings).await, Ok(answer));
        }
    }

    #[tokio::test]
    async fn groups_are_told_by_the_account_and_by_the_groups_themselves() {
        let accounts = Accounts::new();
        let ask = async |name: &str, groups: &[u32]| {
            let groups: BTreeSet<u32> = groups.iter().copied().collect();
            let answer = accounts.member_of(name, &groups, Nss::default()).await;
            answer.map(|groups| groups.into_iter().collect::<Vec<_>>())
        };
        assert_eq!(ask("daemon", &[0, 1]).await, Ok(vec![1]));
        assert_eq!(ask("bin", &[0, 1]).await, Ok(vec![]));
        assert_eq!(ask("no-such-account", &[0, 1]).await, Ok(vec![]));
        assert_eq!(ask("daemon", &[]).await, Ok(vec![]));
        // What was not asked before is not answered from memory.
        assert_eq!(ask("bin", &[2]).await, Ok(vec![2]));
    }

    #[tokio::test]
    async fn nobody_is_outside_of_a_group_that_cannot_be_looked_up() {
        let gone = 4_000_000_000;
        for name in ["root", "no-such-account"] {
            let answer = Accounts::new().member_of(name, &BTreeSet::from([0, gone]), Nss::default()).await;
            assert_eq!(answer, Err(NssError::NoGroup(gone)), "{name}");
        }
    }

    #[tokio::test]
    async fn only_a_plain_no_means_that_an_account_is_gone() {
        let accounts = Accounts::new();
        assert_eq!(accounts.is_gone("root", Nss::default()).await, Ok(false));
        assert_eq!(accounts.is_gone("no-such-account", Nss::default()).await, Ok(true));
    }

    #[tokio::test]
    async fn the_enumeration_holds_root() {
        let accounts = Accounts::new().enumerate(Nss::default()).await.unwrap();
        assert_eq!(accounts.get("root"), Some(&0));
    }

    #[tokio::test]
    async fn a_hanging_look_up_times_out_and_four_of_them_refuse_at_once_until_they_end() {
        let accounts = Accounts::new();
        let bound = settings().timeout.0;
        let (release, hold) = mpsc::channel::<()>();
        let hold = Arc::new(Mutex::new(hold));
        for _ in 0..THREADS {
            let hold = Arc::clone(&hold);
            assert_eq!(
                accounts.inner.threads.ask(bound, move || lock(&hold).recv().is_ok()).await,
                Err(NssError::Timeout)
            );
        }
        let before = Instant::now();
        while accounts.inner.threads.ask(bound, || ()).await != Err(NssError::Busy) {
            assert!(before.elapsed() < Duration::from_secs(5), "four hanging look-ups never refuse at once");
        }
        let asked = Instant::now();
        assert_eq!(accounts.resolve("root", settings()).await, Err(NssError::Busy));
        assert!(asked.elapsed() < bound);
        assert_eq!(accounts.is_gone("no-such-account", settings()).await, Err(NssError::Busy), "no answer is no no");

        drop(release);
        while accounts.inner.threads.ask(bound, || ()).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert!(accounts.resolve("root", settings()).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn one_hanging_look_up_does_not_hold_the_others() {
        let accounts = Accounts::new();
        let (release, hold) = mpsc::channel::<()>();
        let bound = settings().timeout.0;
        assert_eq!(accounts.inner.threads.ask(bound, move || hold.recv().is_ok()).await, Err(NssError::Timeout));
        for _ in 0..32 {
            assert!(accounts.resolve("root", settings()).await.unwrap().is_some());
        }
        drop(release);
    }
}
