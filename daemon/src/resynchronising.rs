//! The story of a resynchronisation: who asks, for which authenticator, may they, where does it stand by two of its codes.
//!
//! The codes come from whoever may ask. They are charged like a login's, so that nobody tries many.

use dbus_api::{Error, Resynchronisation};
use verifier::resynchronisation::{Found, Pair, Search};
use verifier::{Account as State, Authenticator, AuthenticatorId, Decision, Factor, Moving, Reason, Standing, Verdict};

use crate::accounts::Account;
use crate::audit::{Event, Kind, Origin, Outcome};
use crate::caller::Caller;
use crate::enrollment::{disabled, event, locked, named, no_such_authenticator, refuse_stranger};
use crate::notice::{By, LastFailure, Notice, What, pending};
use crate::service::{Service, unavailable};
use crate::store::{Record, Transaction, Urgency};
use crate::verification::{Fresh, reason_name};
use crate::{answer, clock, summary};

/// How many steps or counters are looked at before others have their turn: about a millisecond of them.
const STRIDE: u32 = 500;

/// What is asked for.
struct Request {
    caller: Caller,
    account: Account,
    authenticator: AuthenticatorId,
    fresh: Option<Fresh>,
}

impl Service {
    /// Resynchronises an authenticator by two codes that it showed one after the other.
    ///
    /// # Errors
    /// `AccessDenied`, `UnknownAccount`, `NotEnrolled`, `InvalidArgument`, `VerificationRequired`, `WrongCode`, `Locked`,
    /// `Disabled`, `Unavailable`.
    pub async fn resynchronise(
        &self,
        caller: Caller,
        user: &str,
        authenticator: &str,
        (first, second): (&str, &str),
    ) -> Result<Resynchronisation, Error> {
        let account = self.own_account(&caller, user).await?;
        let authenticator = authenticator.parse().map_err(|_| no_such_authenticator())?;
        let fresh = self.verifications().fresh(&caller.connection, &account.name);
        let request = Request { caller, account, authenticator, fresh };
        // Each search is charged before the next one begins, so that a lock ends a burst of them.
        let _one_at_a_time = self.resynchronising().lock().await;
        let record = self.store().read(&request.account.name).await.map_err(|error| unavailable(&error))?;
        let sought_in = request.permitted(record.as_ref())?.clone();
        let pair = Pair::parse(first, second).map_err(|error| Error::InvalidArgument(error.to_string()))?;
        let standing = record.map_or(Standing::Open, |record| record.account.standing(&clock::now()));
        let found = match standing {
            Standing::Open => search(&sought_in, pair).await,
            Standing::Locked(_) | Standing::Disabled => Found::Nothing,
        };
        let settings = self.settings();
        let name = request.account.name.clone();
        let decided = self.store().decide(&name, Urgency::Login, move |tx| {
            let one = request.permitted(tx.record.as_ref())?;
            // The search is worth something only for the very secret in which it sought.
            if one.secret != sought_in.secret || one.parameters != sought_in.parameters {
                return Err(no_such_authenticator());
            }
            request.decide(tx, found, &settings.rules.limits)
        });
        decided.await.map_err(|error| unavailable(&error))?
    }
}

/// Looks for the codes through all that the authenticator may show now. Logins have their turn in between.
async fn search(authenticator: &Authenticator, pair: Pair) -> Found {
    let mut search = Search::new(authenticator, pair, &clock::now());
    while !search.advance(STRIDE) {
        tokio::task::yield_now().await;
    }
    search.found()
}

impl Request {
    /// The authenticator, if this caller may have it resynchronised: root, or the account itself that verified another
    /// factor on this connection just now.
    fn permitted<'r>(&self, record: Option<&'r Record>) -> Result<&'r Authenticator, Error> {
        refuse_stranger(&self.account, record)?;
        if !self.caller.is_root() {
            self.verified_otherwise(record)?;
        }
        let authenticators = record.map(|record| &record.account.authenticators);
        let one = authenticators.into_iter().flatten().find(|one| one.id == self.authenticator);
        let one = one.ok_or_else(no_such_authenticator)?;
        if !one.is_in_force(clock::wall()) {
            let why = match one {
                one if !one.active => "is disabled",
                one if one.suspended => "waits since a restore until an administrator enables it",
                _ => "has ended",
            };
            return Err(Error::NotEnrolled(format!("this authenticator {why}: its codes are refused in any case")));
        }
        Ok(one)
    }

    fn verified_otherwise(&self, record: Option<&Record>) -> Result<(), Error> {
        match record.map(|record| record.account.standing(&clock::now())) {
            Some(Standing::Disabled) => return Err(disabled()),
            Some(Standing::Locked(time)) => return Err(locked(time)),
            Some(Standing::Open) | None => {}
        }
        let holds = |fresh: &Fresh| record.is_some_and(|record| fresh.holds(&record.account, clock::wall()));
        match self.fresh.filter(holds).map(|fresh| fresh.by) {
            Some(Factor::RecoveryCode { .. }) => Ok(()),
            Some(Factor::Authenticator(id)) if id != self.authenticator => Ok(()),
            _ => Err(Error::VerificationRequired(
                "a code of another authenticator, or a recovery code, must be verified first".into(),
            )),
        }
    }

    /// Runs inside the store's transaction.
    fn decide(
        &self,
        tx: &mut Transaction,
        found: Found,
        limits: &verifier::Limits,
    ) -> Result<Resynchronisation, Error> {
        let now = clock::now();
        let Some(record) = tx.record.as_mut() else { return Err(no_such_authenticator()) };
        let Some(before) = self.own(&record.account).cloned() else { return Err(no_such_authenticator()) };
        let decision = record.account.resynchronise(self.authenticator, found, &now, limits, self.caller.is_root());
        let mut told = event(&self.caller, &self.account.name, Kind::Resync);
        told.authenticator = Some(named(&before));
        told.failures = Some(decision.failures);
        let outcome = match decision.verdict {
            Verdict::Granted(_) => {
                let after =
                    self.own(&record.account).map_or_else(Resynchronisation::default, |one| shift(&before, one));
                told.reason = Some(words(&after));
                let by = By::caller(&self.caller, record.uid);
                pending::add(
                    &mut record.notices,
                    Notice { at: now.wall, what: What::Resynchronised(before.label), by },
                );
                Ok(after)
            }
            Verdict::Refused(reason) => {
                told.outcome = Outcome::Refused;
                told.reason = Some(reason_name(reason).to_owned());
                if reason.is_charged() {
                    record.last_failure = Some(LastFailure::new(now.wall, &Origin::default()));
                }
                Err(self.refusal(reason, found, &decision))
            }
        };
        if decision.disabled_now {
            let by = By::login(&Origin::default());
            pending::add(&mut record.notices, Notice { at: now.wall, what: What::Disabled, by });
        }
        tx.events.push(told);
        tx.events.extend(self.consequences(&decision));
        outcome
    }

    fn own<'s>(&self, state: &'s State) -> Option<&'s Authenticator> {
        state.authenticators.iter().find(|one| one.id == self.authenticator)
    }

    /// What the caller is told. Root may know what was found; everybody else learns of no code whether it is one.
    fn refusal(&self, reason: Reason, found: Found, decision: &Decision) -> Error {
        let root = self.caller.is_root();
        match (reason, decision.standing) {
            (Reason::Disabled, _) => disabled(),
            (Reason::Locked, Standing::Locked(time)) => locked(time),
            (Reason::ClockBackwards, _) => {
                Error::Unavailable("the clock of this host ran backwards: set it, or let root resynchronise".into())
            }
            (Reason::Reused, _) if root => Error::WrongCode(
                "one of these codes, or a later one, was used already: it shows new ones later. Was its clock put back \
                 lately?"
                    .into(),
            ),
            _ if root && found == Found::Apart => Error::WrongCode(
                "these are codes of this authenticator, but the second one does not follow the first directly".into(),
            ),
            _ => Error::WrongCode(
                "these are no two codes of it that follow each other, or it is too far off: more than 24 hours, or 1000 \
                 codes"
                    .into(),
            ),
        }
    }

    /// A lock or the disabling that the codes brought about.
    fn consequences(&self, decision: &Decision) -> Vec<Event> {
        let note = |kind, reason: String| Event {
            outcome: Outcome::Note,
            reason: Some(reason),
            failures: Some(decision.failures),
            ..event(&self.caller, &self.account.name, kind)
        };
        let mut events = Vec::new();
        if let (Standing::Locked(time), true) = (decision.standing, decision.lock_set) {
            events.push(note(Kind::Lock, format!("for {} s", answer::whole_seconds(time))));
        }
        if decision.disabled_now {
            events.push(note(Kind::Disable, "too many wrong codes".into()));
        }
        events
    }
}

/// How far the authenticator was off.
fn shift(before: &Authenticator, after: &Authenticator) -> Resynchronisation {
    let skipped = match (before.moving, after.moving) {
        // The two codes themselves were not passed over.
        (Moving::Hotp(before), Moving::Hotp(after)) => Some((after.next.0 - before.next.0).saturating_sub(2)),
        _ => None,
    };
    Resynchronisation { clock_off: summary::clock_off(after), skipped }
}

/// The same for the audit.
fn words(found: &Resynchronisation) -> String {
    match (found.clock_off, found.skipped) {
        (Some(seconds), _) => format!("clock off by {seconds} s"),
        (None, skipped) => format!("{} codes passed over", skipped.unwrap_or_default()),
    }
}
