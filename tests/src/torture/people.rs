//! Those who log in: by fobs as fast as they can, by phones and recovery codes once a round.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    Report,
    gate::{Fresh, Gate, Way},
};
use crate::{Enrolment, Host, HostBuilder, HotpKey};

/// Of every TOTP authenticator here.
const PERIOD: Duration = Duration::from_secs(30);

/// One time step further, into its first half. At its end a code that was spent in the step before would be too old a
/// moment later, and be charged as a wrong one.
pub(super) fn next_period(host: &Host) -> Result<()> {
    let into = Duration::from_secs(host.now().duration_since(UNIX_EPOCH)?.as_secs() % PERIOD.as_secs());
    host.advance(if into < PERIOD / 2 { PERIOD } else { PERIOD - into })
}

/// Those who log in all the time.
const FOBS: [(&str, Way); 4] = [("alice", Way::Pam), ("bob", Way::Pam), ("carol", Way::Socket), ("judy", Way::Socket)];
const PHONES: [&str; 3] = ["dave", "erin", "frank"];
const PAPERS: [&str; 3] = ["grace", "heidi", "ivan"];

/// Codes of a fob that are made at a time.
const BATCH: u32 = 500;
/// HOTP's look-ahead window and its present code: a code that comes again within would be taken for the later one.
const WINDOW: usize = 11;

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
    granted: usize,
    lost: usize,
    replays: usize,
}

enum Source {
    Fob { key: HotpKey, made: u32, codes: VecDeque<String> },
    Phone { phone: Enrolment, code: String },
    Paper { codes: Vec<String> },
}

impl<'host> People<'host> {
    pub(super) fn invite(host: HostBuilder) -> HostBuilder {
        let names = FOBS.iter().map(|(name, _)| name).chain(&PHONES).chain(&PAPERS);
        names.fold(host, |host, name| host.user_without_password(name))
    }

    pub(super) fn enrol(host: &'host Host) -> Result<Self> {
        let mut fobs = Vec::new();
        for ((name, way), seed) in FOBS.into_iter().zip(70..) {
            let key = HotpKey::numbered(seed);
            host.import_hotp(name, &key)?;
            fobs.push(Person::new(name, way, Source::Fob { key, made: 0, codes: VecDeque::new() }));
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
    pub(super) fn examine(mut self, gate: &Gate<'_>, report: &mut Report) -> Result<()> {
        for person in self.fobs.iter_mut().chain(&mut self.guests) {
            ensure!(person.granted > 0, "{} never logged in", person.name);
            person.replay_all(gate)?;
            person.log_in_once(gate)?;
        }
        self.host.countersign(&["audit", "--verify"])?.success()?;
        for person in self.fobs.iter().chain(&self.guests) {
            person.compare_with_audit(self.host)?;
            report.granted += person.granted;
            report.lost += person.lost;
            report.replays += person.replays;
        }
        gate.closed_while(|| {
            self.host.daemon().stop()?;
            let check = ["sqlite3", "/var/lib/countersign/store.sqlite", "PRAGMA integrity_check"];
            let check = self.host.run(&check)?.success()?;
            ensure!(check.stdout.trim() == "ok", "the store is damaged: {check}");
            self.host.start_daemon()
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
            Source::Fob { .. } => {}
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
            Source::Fob { key, made, codes } => loop {
                if codes.len() < WINDOW {
                    codes.extend(key.codes(*made, BATCH)?);
                    *made += BATCH;
                }
                let code = codes.pop_front().context("a fob makes codes")?;
                if !codes.iter().take(WINDOW).any(|later| *later == code) {
                    return Ok(code);
                }
            },
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
            ensure!(!is("event", "lock") && !is("reason", "wrong"), "{name} was charged for a right code: {record}");
            let_in += usize::from(is("event", "verification") && is("outcome", "granted"));
        }
        ensure!(
            let_in == granted + lost,
            "{name} presented {granted} codes that let in and {lost} whose answer was lost; the audit knows {let_in}"
        );
        ensure!(host.failures(name)? == 0, "{name} has failures");
        Ok(())
    }
}
