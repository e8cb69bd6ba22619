//! The story of a verification: who asks, for whom, may they, how does the account stand, is the reply right,
//! is that on disk, what may be said about it.

mod console;
mod enrolment;
mod explaining;
mod opening;
mod remembering;
mod traces;
mod unasked;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dbus_api::{Error, Step};
use tokio::time::Instant;
use verifier::{Decision, Factor, Phantoms, Reason, Reply, RuleAction, SourceAddress, Sources, Standing, Verdict};

use opening::Opening;

use crate::audit::{Coalescer, Event, Kind, Origin, Outcome, RECOVERY_CODE};
use crate::caller::{Caller, ConnectionKey};
use crate::login_enrolment::LoginEnrolment;
use crate::notice::Untold;
use crate::policy::Ruling;
use crate::service::{Service, Settings, lock, unavailable};
use crate::store::{StoreError, Transaction, Urgency};
use crate::{answer, answer::Tries, clock, random};

/// How long a verification waits for a reply.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a granted verification lets its connection change the account's authenticators.
const FRESH: Duration = Duration::from_secs(300);
/// Verifications that one uid other than root may have under way.
const PER_UID: usize = 16;
/// Verifications that may be under way in all.
const IN_ALL: usize = 16_384;
/// Names without a record whose throttling is remembered.
const PHANTOMS: usize = 8192;
/// Source addresses whose failures are remembered.
const SOURCES: usize = 4096;

/// The verifications under way, and what granted ones allow.
pub struct Verifications {
    open: Mutex<HashMap<u64, Open>>,
    fresh: Mutex<HashMap<(ConnectionKey, String), Fresh>>,
    phantoms: Arc<Mutex<Phantoms>>,
    sources: Mutex<Sources>,
    coalescer: Arc<Mutex<Coalescer>>,
    /// Replies that are being decided about.
    deciding: AtomicUsize,
    /// Replies that were decided about since the daemon began.
    decided: AtomicU64,
}

/// A verification under way.
#[derive(Clone, Debug)]
struct Open {
    caller: Caller,
    /// Whose code is asked for.
    subject: Subject,
    /// The account that is logged in to, where it is another one.
    login_to: Option<Subject>,
    origin: Origin,
    /// What the policy says about it.
    ruling: Ruling,
    tries: Tries,
    ends: Instant,
    /// Where the account enrols in this login.
    enrolment: Option<LoginEnrolment>,
}

/// Whose login is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    /// As the name service spells it, or as it was typed where the name service does not know it.
    name: String,
    /// `None` where the name service does not know it.
    uid: Option<u32>,
}

/// A verification of this account was granted on this connection lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fresh {
    at: Instant,
    /// By which factor.
    pub by: Factor,
}

impl Fresh {
    /// Whether it was a code of an authenticator; otherwise it was a recovery code.
    #[must_use]
    pub fn by_code(self) -> bool {
        matches!(self.by, Factor::Authenticator(_))
    }

    /// Whether it still counts: an authenticator that was removed or disabled since, or has ended, proves nothing more.
    #[must_use]
    pub fn holds(self, account: &verifier::Account, now: verifier::WallTime) -> bool {
        match self.by {
            Factor::Authenticator(id) => account.authenticators.iter().any(|one| one.id == id && one.is_in_force(now)),
            Factor::RecoveryCode { .. } => true,
        }
    }
}

impl Verifications {
    /// None under way.
    ///
    /// # Errors
    /// Where the kernel gives no random bytes.
    pub fn new() -> Result<Self, random::NoRandomness> {
        let (names, sources) = (random::bytes::<32>()?, random::bytes::<32>()?);
        Ok(Self {
            open: Mutex::default(),
            fresh: Mutex::default(),
            phantoms: Arc::new(Mutex::new(Phantoms::new(*names, PHANTOMS))),
            sources: Mutex::new(Sources::new(*sources, SOURCES)),
            coalescer: Arc::default(),
            deciding: AtomicUsize::new(0),
            decided: AtomicU64::new(0),
        })
    }

    /// Whether a verification of `account` was granted on this connection within the last 5 minutes.
    #[must_use]
    pub fn fresh(&self, connection: &ConnectionKey, account: &str) -> Option<Fresh> {
        let key = (connection.clone(), account.to_owned());
        lock(&self.fresh).get(&key).copied().filter(|fresh| fresh.at.elapsed() < FRESH)
    }

    /// Forgets what was charged to a name while it had no record.
    pub fn forget_phantom(&self, name: &str) {
        lock(&self.phantoms).forget(name);
    }

    /// Refuses a caller that has too much under way, before any work is done for it.
    fn admit(&self, caller: &Caller) -> Result<(), Error> {
        has_room(&lock(&self.open), caller)
    }

    /// Keeps a verification, if there is still room: others may have begun while this one's account was looked at.
    fn insert(&self, id: u64, new: Open) -> Result<(), Error> {
        let mut open = lock(&self.open);
        has_room(&open, &new.caller)?;
        open.insert(id, new);
        Ok(())
    }

    /// Takes a verification out, so that one reply at a time is looked at. Somebody else's is not found.
    fn take(&self, connection: &ConnectionKey, id: u64) -> Option<Open> {
        let mut open = lock(&self.open);
        if open.get(&id).is_none_or(|open| open.caller.connection != *connection) {
            return None;
        }
        open.remove(&id)
    }

    /// Takes out all verifications for which `ended` holds.
    fn drain(&self, ended: impl Fn(&Open) -> bool) -> Vec<Open> {
        lock(&self.open).extract_if(|_, open| ended(open)).map(|(_, open)| open).collect()
    }
}

impl Service {
    /// Begins a verification of `user`, or refuses it at once where the account is locked or disabled.
    ///
    /// # Errors
    /// `AccessDenied`, `LimitExceeded`, `Unavailable`.
    pub async fn begin_verification(
        &self,
        caller: Caller,
        user: &str,
        origin: dbus_api::Origin,
    ) -> Result<(u64, Step), Error> {
        let settings = self.settings();
        let (open, opening) = self.arrive(caller, user, origin, &settings).await?;
        match opening {
            opening if open.ruling.observe => {
                self.record(open.noted(opening.would())).await;
                Ok((0, answer::skipped(Vec::new())))
            }
            Opening::Skip(reason, messages) => {
                self.record(open.noted(reason)).await;
                Ok((0, answer::skipped(messages)))
            }
            Opening::Recall => match self.recall(&open).await? {
                true => Ok((0, answer::skipped(Vec::new()))),
                false => self.ask(open, &settings),
            },
            Opening::Refuse(reason, step) => {
                self.record_refusal(&open, reason).await;
                Ok((0, step))
            }
            Opening::Enrol => self.begin_login_enrolment(open).await,
            Opening::Ask(_) => self.ask(open, &settings),
        }
    }

    /// Decides about a reply. The decision is on disk before this returns.
    ///
    /// # Errors
    /// `NotFound` where no such verification is under way on this connection, `Unavailable`.
    pub async fn respond(&self, connection: &ConnectionKey, id: u64, reply: &str) -> Result<Step, Error> {
        let mut open = self.verifications().take(connection, id).ok_or_else(no_such_verification)?;
        if open.ends < Instant::now() {
            self.record_refusal(&open, "timeout").await;
            return Err(no_such_verification());
        }
        if let Some(enrolment) = open.enrolment.take() {
            return self.respond_enrolling(id, open, enrolment, reply).await;
        }
        let settings = self.settings();
        let (decision, untold) = self.decide(&open, Reply::parse(reply), Arc::clone(&settings)).await?;
        self.charge_source(&open, &decision);
        if let Verdict::Granted(factor) = decision.verdict {
            self.note_fresh(&open, factor);
        }
        let tries = open.tries.one_less();
        let mut step = answer::decided(&decision, tries, &settings.config);
        if matches!(decision.verdict, Verdict::Granted(_)) && settings.config.notices {
            step.messages.extend(untold.lines(decision.failures, clock::wall()).into_iter().map(answer::info));
        }
        if answer::asks_again(&step) {
            let again = Open { tries, ends: Instant::now() + PATIENCE, ..open };
            self.verifications().insert(id, again)?;
        }
        Ok(step)
    }

    /// Writes everything that was coalesced, at the end of the daemon.
    pub async fn record_counted(&self) {
        let counted = lock(&self.verifications().coalescer).rest();
        for event in counted {
            self.record(event).await;
        }
    }

    /// How many replies are being decided about.
    #[must_use]
    pub fn deciding(&self) -> usize {
        self.verifications().deciding.load(Ordering::Acquire)
    }

    /// How many replies were decided about since the daemon began.
    #[must_use]
    pub fn decided(&self) -> u64 {
        self.verifications().decided.load(Ordering::Relaxed)
    }

    /// Ends a verification without a reply.
    pub async fn cancel(&self, connection: &ConnectionKey, id: u64) {
        if let Some(open) = self.verifications().take(connection, id) {
            self.record_refusal(&open, "cancelled").await;
        }
    }

    /// Ends all verifications of a connection that is gone.
    pub(crate) async fn cancel_verifications(&self, connection: &ConnectionKey) {
        lock(&self.verifications().fresh).retain(|(of, _), _| of != connection);
        for open in self.verifications().drain(|open| open.caller.connection == *connection) {
            self.record_refusal(&open, "cancelled").await;
        }
    }

    /// Ends what nobody waits for any more, and writes what was coalesced.
    pub async fn sweep(&self) {
        let now = Instant::now();
        for open in self.verifications().drain(|open| open.ends < now) {
            self.record_refusal(&open, "timeout").await;
        }
        lock(&self.verifications().fresh).retain(|_, fresh| fresh.at.elapsed() < FRESH);
        self.enrollments().sweep();
        let coalesced = lock(&self.verifications().coalescer).due(clock::wall());
        for event in coalesced {
            self.record(event).await;
        }
        // A full disk is noticed although nobody logs in. A store that fails says so in syslog by itself.
        let _ = self.store().ping().await;
    }

    /// Asks for a code, if there is still room for another verification.
    fn ask(&self, open: Open, settings: &Settings) -> Result<(u64, Step), Error> {
        let id = random::id().map_err(|error| Error::Unavailable(error.to_string()))?;
        self.verifications().insert(id, open)?;
        Ok((id, answer::ask(&settings.config, Vec::new())))
    }

    /// One reply, one committed transaction, the audit record in it (invariants 1 and 2).
    /// Beside the decision stands what a login is told of, as it was before it.
    async fn decide(&self, open: &Open, reply: Reply, settings: Arc<Settings>) -> Result<(Decision, Untold), Error> {
        let phantoms = Arc::clone(&self.verifications().phantoms);
        let coalescer = Arc::clone(&self.verifications().coalescer);
        let verification = open.clone();
        let decided = self.store().decide(&open.subject.name, Urgency::Login, move |tx| {
            let untold = Untold::of(tx.record.as_ref());
            let (decision, events) = verification.decide(tx, &reply, &settings, &phantoms);
            let mut coalescer = lock(&coalescer);
            let at = clock::wall();
            tx.events.extend(events.into_iter().filter_map(|event| coalescer.pass(event, at)));
            (decision, untold)
        });
        self.verifications().deciding.fetch_add(1, Ordering::AcqRel);
        let decided = decided.await;
        self.verifications().deciding.fetch_sub(1, Ordering::AcqRel);
        self.verifications().decided.fetch_add(1, Ordering::Relaxed);
        match decided {
            Ok(decided) => Ok(decided),
            Err(error) => {
                self.record_coalesced(open.refused(store_reason(&error))).await;
                Err(unavailable(&error))
            }
        }
    }

    /// How long the host that this login comes from is refused, whatever the account.
    fn source_refused_for(&self, open: &Open) -> Option<Duration> {
        let limits = self.settings().config.sources.limits()?;
        lock(&self.verifications().sources).refused_for(open.source()?, &clock::now(), &limits)
    }

    fn charge_source(&self, open: &Open, decision: &Decision) {
        let Some(limits) = self.settings().config.sources.limits() else { return };
        if let Some(source) = open.source().filter(|_| is_charged(decision)) {
            lock(&self.verifications().sources).charge(source, &open.subject.name, &clock::now(), &limits);
        }
    }

    async fn record_refusal(&self, open: &Open, reason: &str) {
        self.record_coalesced(open.refused(reason)).await;
    }

    /// Records an event that stands alone, or counts it where it is one of many.
    pub(crate) async fn record_coalesced(&self, event: Event) {
        let passed = lock(&self.verifications().coalescer).pass(event, clock::wall());
        if let Some(event) = passed {
            self.record(event).await;
        }
    }

    fn note_fresh(&self, open: &Open, by: Factor) {
        // Changes come over the bus alone, so that a login over the private socket opens nothing.
        if matches!(open.caller.connection, ConnectionKey::Bus(..)) {
            let key = (open.caller.connection.clone(), open.subject.name.clone());
            lock(&self.verifications().fresh).insert(key, Fresh { at: Instant::now(), by });
        }
    }
}

impl Subject {
    /// Whether a record that was bound to `bound` is this account's: another uid under the same name is a
    /// stranger until an administrator resets the account.
    fn owns(&self, bound: Option<u32>) -> bool {
        self.uid.is_some_and(|uid| bound.is_none_or(|bound| bound == uid))
    }
}

impl Open {
    /// Runs inside the store's transaction.
    fn decide(
        &self,
        tx: &mut Transaction,
        reply: &Reply,
        settings: &Settings,
        phantoms: &Mutex<Phantoms>,
    ) -> (Decision, Vec<Event>) {
        let now = clock::now();
        let stranger = tx.record.as_ref().is_some_and(|record| !self.subject.owns(record.uid));
        let record = tx.record.as_mut().filter(|_| !stranger && !self.is_denied());
        let (decision, remembered) = match record {
            Some(record) => {
                let decision = self.weigh(&mut record.account, reply, &now, settings);
                let remembered = self.leave_traces(record, &decision, &now);
                (decision, remembered)
            }
            None => (lock(phantoms).decide(&self.subject.name, reply, &now, &settings.rules), None),
        };
        let label = granted_by(&decision, tx);
        let reason = match decision.verdict {
            Verdict::Refused(Reason::NotEnrolled) => Some(self.without_factor(stranger)),
            Verdict::Refused(reason) => Some(reason_name(reason)),
            Verdict::Granted(_) => None,
        };
        let mut event = self.refused(reason.unwrap_or_default());
        event.failures = Some(decision.failures);
        if let Verdict::Granted(factor) = decision.verdict {
            event.outcome = Outcome::Granted;
            event.authenticator = label;
            let said = match factor {
                Factor::RecoveryCode { left } => Some(format!("{left} recovery codes left")),
                Factor::Authenticator(_) => remembered,
            };
            let login_to = self.login_to.as_ref().map(|to| format!("for the account {}", to.name));
            event.reason = said.into_iter().chain(login_to).reduce(|said, login_to| format!("{said}, {login_to}"));
        }
        let mut events = vec![event];
        events.extend(self.consequences(&decision));
        (decision, events)
    }

    /// A lock or the disabling that this reply brought about.
    fn consequences(&self, decision: &Decision) -> Vec<Event> {
        let consequence = |kind, reason: String| {
            let mut event = self.refused(&reason);
            event.kind = kind;
            event.outcome = Outcome::Note;
            event.failures = Some(decision.failures);
            event
        };
        let mut events = Vec::new();
        let lock = match decision.standing {
            Standing::Locked(time) => Some(time),
            Standing::Open | Standing::Disabled => decision.delay,
        };
        if let Some(time) = lock.filter(|_| decision.lock_set) {
            events.push(consequence(Kind::Lock, format!("for {} s", answer::whole_seconds(time))));
        }
        if decision.disabled_now {
            events.push(consequence(Kind::Disable, "too many wrong codes".into()));
        }
        events
    }

    /// The address of the host that this login comes from. What a caller other than root says of it proves
    /// nothing and counts against nobody.
    fn source(&self) -> Option<SourceAddress> {
        if self.origin.claimed { None } else { SourceAddress::parse(&self.origin.rhost) }
    }

    /// Whether the policy refuses whatever is replied. It does so with the questions, the work and the words that a
    /// name without a record gets, so that nobody learns whom it denies; no code is spent and no account disabled.
    fn is_denied(&self) -> bool {
        self.ruling.action == RuleAction::Deny
    }

    /// Why no reply is right. A `stranger` is an account whose name belonged to another uid.
    fn without_factor(&self, stranger: bool) -> &'static str {
        match self.subject.uid {
            _ if self.is_denied() => "denied",
            None => "unknown-account",
            Some(_) if stranger => "uid-changed",
            Some(_) => reason_name(Reason::NotEnrolled),
        }
    }

    fn refused(&self, reason: &str) -> Event {
        let event = refused(&self.subject.name, &self.origin, self.caller.uid, reason);
        Event { rule: self.ruling.rule.clone(), ..event }
    }

    /// Neither granted nor refused: nobody was asked.
    fn noted(&self, reason: &str) -> Event {
        Event { outcome: Outcome::Note, ..self.refused(reason) }
    }
}

fn has_room(open: &HashMap<u64, Open>, caller: &Caller) -> Result<(), Error> {
    let own = open.values().filter(|open| open.caller.uid == caller.uid).count();
    if open.len() >= IN_ALL || (!caller.is_root() && own >= PER_UID) {
        return Err(Error::LimitExceeded("too many verifications are under way".into()));
    }
    Ok(())
}

fn refused(account: &str, origin: &Origin, caller_uid: u32, reason: &str) -> Event {
    let mut event = Event::new(clock::wall(), Kind::Verification, Outcome::Refused);
    event.account = Some(account.to_owned());
    event.origin = Some(origin.clone());
    event.caller_uid = Some(caller_uid);
    event.reason = Some(reason.to_owned());
    event
}

/// Whether the reply counted as a wrong code.
fn is_charged(decision: &Decision) -> bool {
    matches!(decision.verdict, Verdict::Refused(reason) if reason.is_charged())
}

/// The authenticator that let somebody in, for the audit.
fn granted_by(decision: &Decision, tx: &Transaction) -> Option<String> {
    match decision.verdict {
        Verdict::Granted(Factor::Authenticator(id)) => {
            let authenticators = tx.record.as_ref().map(|record| record.account.authenticators.as_slice());
            let label = authenticators.unwrap_or_default().iter().find(|one| one.id == id).map(|one| &one.label);
            Some(format!("{id} {}", label.map_or("", String::as_str)))
        }
        Verdict::Granted(Factor::RecoveryCode { .. }) => Some(RECOVERY_CODE.into()),
        Verdict::Refused(_) => None,
    }
}

/// The names of the reasons in the audit; docs/events.md explains each.
pub(crate) fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Wrong => "wrong",
        Reason::Reused => "reused",
        Reason::Locked => "locked",
        Reason::Disabled => "disabled",
        Reason::NotEnrolled => "not-enrolled",
        Reason::Expired => "expired",
        Reason::Malformed => "malformed",
        Reason::BlockedBySshd => "blocked-by-sshd",
        Reason::ClockBackwards => "clock-backwards",
    }
}

fn store_reason(error: &StoreError) -> &'static str {
    match error {
        StoreError::Corrupt { .. } => "corrupt-record",
        _ => "store",
    }
}

fn no_such_verification() -> Error {
    Error::NotFound("no such verification is under way on this connection".into())
}
