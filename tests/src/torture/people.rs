//! Those who log in: by fobs as fast as they can, by phones and recovery codes once a round.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Fob, Invariant, Tally,
    gate::{Fresh, Gate, Way},
    scene,
};
use crate::{Enrolment, Host, HostBuilder};

/// Of every TOTP authenticator here.
const PERIOD: Duration = Duration::from_secs(30);

/// Those who log in all the time.
const FOBS: [(&str, Way); 4] = [("alice", Way::Pam), ("bob", Way::Pam), ("carol", Way::Socket), ("judy", Way::Socket)];
const PHONES: [&str; 3] = ["dave", "erin", "frank"];
const PAPERS: [&str; 3] = ["grace", "heidi", "ivan"];

/// All of them.
pub(super) struct People<'host> {
    host: &'host Host,
    fobs: Vec<Person>,
    guests: Vec<Person>,
}

/// Somebody with one kind of code.
pub(super) struct Person {
    name: &'static str,
    way: Way,
    source: Source,
    /// The codes that are known to be spent; a replay of older ones would be a wrong code.
    spent: Vec<String>,
    granted: u64,
    lost: u64,
    replays: u64,
}

enum Source {
    Fob(Box<Fob>),
    Phone { phone: Enrolment, code: String },
    Paper { codes: Vec<String> },
}

/// The fobs log in all the time while `work` is done, which may make the others log in; then everything is examined.
pub(super) fn log_in_during(
    host: &Host,
    tally: &mut Tally,
    work: impl FnOnce(&Gate<'_>, &mut [Person], &mut Tally) -> Result<()>,
) -> Result<()> {
    let gate = Gate::new(host);
    let mut people = People::enrol(host)?;
    let over = AtomicBool::new(false);
    let (load, guests) = people.parted();
    let told = || host.diagnosis();
    thread::scope(|scope| {
        let load: Vec<_> = load.iter_mut().map(|person| scope.spawn(|| person.log_in_until(&gate, &over))).collect();
        let done = work(&gate, guests, tally);
        over.store(true, Ordering::Relaxed);
        // What befell one of them says more than that the work did not end.
        load.into_iter()
            .try_for_each(|person| person.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))?;
        done
    })
    .with_context(told)?;
    people.examine(&gate, tally).with_context(told)
}

/// The next code of a TOTP authenticator; and who has no recovery code left gets new ones.
pub(super) fn next_round(host: &Host, guests: &mut [Person]) -> Result<()> {
    // Into its first half: at its end a code that was spent in the step before would be too old a moment later, and be
    // charged as a wrong one.
    let into = Duration::from_secs(host.now().duration_since(UNIX_EPOCH)?.as_secs() % PERIOD.as_secs());
    host.advance(if into < PERIOD / 2 { PERIOD } else { PERIOD - into })?;
    guests.iter_mut().try_for_each(|guest| guest.prepare(host))
}

impl<'host> People<'host> {
    pub(super) fn invite(host: HostBuilder) -> HostBuilder {
        let names = FOBS.iter().map(|(name, _)| name).chain(&PHONES).chain(&PAPERS);
        names.fold(host, |host, name| host.user_without_password(name))
    }

    pub(super) fn enrol(host: &'host Host) -> Result<Self> {
        let mut fobs = Vec::new();
        for ((name, way), seed) in FOBS.into_iter().zip(70..) {
            fobs.push(Person::new(name, way, Source::Fob(Box::new(Fob::import(host, name, seed)?))));
        }
        let mut guests = Vec::new();
        for name in PHONES {
            let phone = host.enrol(name)?;
            guests.push(Person::new(name, Way::Pam, Source::Phone { phone, code: String::new() }));
        }
        for name in PAPERS {
            let codes = host.enrol(name)?.recovery_codes;
            guests.push(Person::new(name, Way::Pam, Source::Paper { codes }));
        }
        guests.iter_mut().try_for_each(|guest| guest.prepare(host))?;
        Ok(Self { host, fobs, guests })
    }

    /// Those who log in all the time, and those who log in once a round.
    pub(super) fn parted(&mut self) -> (&mut [Person], &mut [Person]) {
        (&mut self.fobs, &mut self.guests)
    }

    /// Everybody's spent codes are refused and fresh ones let in, and the audit and the store tell the same.
    pub(super) fn examine(mut self, gate: &Gate<'_>, tally: &mut Tally) -> Result<()> {
        for person in self.fobs.iter_mut().chain(&mut self.guests) {
            ensure!(person.granted > 0, "{} never logged in", person.name);
            person.replay_all(gate)?;
            person.log_in_once(gate)?;
        }
        scene::examine_audit(self.host)?;
        for person in self.fobs.iter().chain(&self.guests) {
            person.compare_with_audit(self.host)?;
            tally.add("codes let in", person.granted);
            tally.add("spent by a login whose answer was lost", person.lost);
            tally.add("replays refused", person.replays);
        }
        gate.closed_while(|| {
            scene::stop(self.host)?;
            gate.open_again()
        })?;
        self.guests.iter_mut().try_for_each(|guest| guest.replay_all(gate))
    }
}

impl Person {
    const fn new(name: &'static str, way: Way, source: Source) -> Self {
        Self { name, way, source, spent: Vec::new(), granted: 0, lost: 0, replays: 0 }
    }

    /// Logs in with one code after the other.
    pub(super) fn log_in_until(&mut self, gate: &Gate<'_>, over: &AtomicBool) -> Result<()> {
        while !over.load(Ordering::Relaxed) {
            self.log_in_once(gate)?;
        }
        Ok(())
    }

    /// Logs in with a fresh code, and tries it again at once.
    pub(super) fn log_in_once(&mut self, gate: &Gate<'_>) -> Result<()> {
        let code = self.fresh_code()?;
        match gate.present(self.way, self.name, &code)? {
            Fresh::LetIn => self.granted += 1,
            Fresh::Lost => self.lost += 1,
        }
        gate.present_again(self.way, self.name, &code)?;
        self.replays += 1;
        if !matches!(self.source, Source::Paper { .. }) {
            self.spent.clear();
        }
        self.spent.push(code);
        Ok(())
    }

    /// Provides the code of the next round, while there is a daemon.
    pub(super) fn prepare(&mut self, host: &Host) -> Result<()> {
        match &mut self.source {
            Source::Fob(_) => {}
            Source::Phone { phone, code } => *code = host.code(phone, 0)?,
            Source::Paper { codes } if codes.is_empty() => {
                let made = host.countersign(&["recovery-codes", self.name, "--yes", "--json"])?.success()?;
                let made: Value = serde_json::from_str(&made.stdout)?;
                let made = made.get("recovery_codes").and_then(Value::as_array).context("no recovery codes")?;
                *codes = made.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                ensure!(!codes.is_empty(), "no recovery codes");
                self.spent.clear();
            }
            Source::Paper { .. } => {}
        }
        Ok(())
    }

    fn fresh_code(&mut self) -> Result<String> {
        match &mut self.source {
            Source::Fob(fob) => fob.code(),
            Source::Phone { code, .. } => Ok(code.clone()),
            Source::Paper { codes } => codes.pop().context("no recovery code is left"),
        }
    }

    fn replay_all(&mut self, gate: &Gate<'_>) -> Result<()> {
        for code in &self.spent {
            gate.present_again(self.way, self.name, code)?;
            self.replays += 1;
        }
        Ok(())
    }

    /// The audit knows of as many logins as there were codes, of no wrong code and of no lock.
    fn compare_with_audit(&self, host: &Host) -> Result<()> {
        let Self { name, granted, lost, .. } = self;
        let audit = host.countersign(&["audit", "--user", name, "--json"])?.success()?;
        let mut let_in = 0;
        for line in audit.stdout.lines() {
            let record: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let is = |key: &str, value: &str| record.get(key).and_then(Value::as_str) == Some(value);
            let charged = is("event", "lock") || is("reason", "wrong");
            Invariant::RightCodeCharged.holds(!charged, || format!("{name} was charged for a right code: {record}"))?;
            let_in += u64::from(is("event", "verification") && is("outcome", "granted"));
        }
        Invariant::AuditBroken.holds(let_in == granted + lost, || {
            format!("{name}: {granted} codes let in, the answers of {lost} were lost; the audit knows of {let_in}")
        })?;
        let failures = host.failures(name)?;
        Invariant::RightCodeCharged.holds(failures == 0, || format!("{name} has {failures} failures"))
    }
}
