//! Where one operation after the other meets its fault: a host, the answers, and what must hold after each.

use anyhow::{Context, Result};
use dbus_api::Denial;
use serde_json::Value;

use super::{Fob, Invariant};
use crate::{Faults, Host, Outcome, Verdict, wait};

/// The database as the host sees it.
const STORE: &str = "/var/lib/countersign/store.sqlite";

/// What an operation was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It was done.
    Done,
    /// It was refused, because something is broken.
    Refused(String),
}

/// A host that faults are done to.
pub(super) struct Scene<'host> {
    pub(super) host: &'host Host,
    pub(super) faults: Faults,
    /// What must stand in no log.
    secrets: Vec<String>,
    /// Lines of the log that were looked at.
    read: usize,
}

impl<'host> Scene<'host> {
    pub(super) fn new(host: &'host Host) -> Result<Self> {
        Ok(Self { host, faults: Faults::of(host)?, secrets: Vec::new(), read: 0 })
    }

    /// From now on this must stand in no log.
    pub(super) fn keep_secret(&mut self, secret: &str) {
        self.secrets.push(secret.to_owned());
    }

    /// A verification by root over the private socket.
    pub(super) fn verify(&self, user: &str, code: &str) -> Verdict {
        verify(self.host, user, code)
    }

    /// The tool, as root. What it refuses because it must is trouble; what it refuses because something is broken is
    /// an answer.
    pub(super) fn tool(&self, arguments: &[&str], input: &str) -> Result<(Answer, Outcome)> {
        let mut all = vec!["countersign"];
        all.extend_from_slice(arguments);
        let outcome = self.host.feed_as("root", &all, input.as_bytes())?;
        Invariant::ClosedNotClear.holds([0, 1, 3].contains(&outcome.status), || outcome.to_string())?;
        if outcome.succeeded() {
            return Ok((Answer::Done, outcome));
        }
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        Ok((Answer::Refused(said), outcome))
    }

    /// The tool where nothing is broken.
    pub(super) fn sound_tool(&self, arguments: &[&str], input: &str) -> Result<Outcome> {
        match self.tool(arguments, input)? {
            (Answer::Done, outcome) => Ok(outcome),
            (Answer::Refused(said), _) => Err(Invariant::NotOpening.broken(format!("{arguments:?}: {said}"))),
        }
    }

    /// What `countersign status --json` says of somebody.
    pub(super) fn status(&self, user: &str) -> Result<Status> {
        let outcome = self.sound_tool(&["status", user, "--json"], "")?;
        let json: Value = serde_json::from_str(&outcome.stdout)?;
        let number = |key: &str| json.get(key).and_then(Value::as_u64).with_context(|| format!("no {key} in {json}"));
        Ok(Status {
            failures: number("failures")?,
            recovery_codes: number("recovery_codes_left")?,
            authenticators: json.get("authenticators").and_then(Value::as_array).map_or(0, Vec::len),
            locked: json.get("state").and_then(Value::as_str) == Some("locked"),
        })
    }

    /// Whether the audit holds an event of this account that it did not hold before `count` such events.
    pub(super) fn events(&self, user: &str, event: &str) -> Result<usize> {
        let outcome = self.sound_tool(&["audit", "--user", user, "--json"], "")?;
        let is = |line: &&str| {
            line.contains(&format!("\"event\":\"{event}\"")) || line.contains(&format!("\"event\": \"{event}\""))
        };
        Ok(outcome.stdout.lines().filter(is).count())
    }

    /// A code that was presented once: where it was granted it is spent; else it lets in once now, unless it is spent.
    /// After that the fob's next code lets in, once.
    pub(super) fn settle(&self, fob: &mut Fob, code: &str, granted: bool) -> Result<()> {
        self.spent_after_one_more(fob.user(), code, granted)?;
        let next = fob.code()?;
        let verdict = self.verify(fob.user(), &next);
        Invariant::RightCodeRefused
            .holds(verdict == Verdict::Granted, || format!("{}'s next code got {verdict:?}", fob.user()))?;
        self.spent_after_one_more(fob.user(), &next, true)
    }

    pub(super) fn spent_after_one_more(&self, user: &str, code: &str, granted: bool) -> Result<()> {
        let again = match self.verify(user, code) {
            Verdict::Granted if granted => return Err(twice(user)),
            Verdict::Granted => self.verify(user, code),
            other => other,
        };
        match again {
            Verdict::Granted => Err(twice(user)),
            Verdict::Denied(Denial::Refused, _) => Ok(()),
            other => Err(Invariant::RightCodeRefused.broken(format!("{user}'s code, once more, got {other:?}"))),
        }
    }

    /// Whether the daemon serves; one that does not is waited for until it has ended.
    pub(super) fn lives(&self) -> Result<bool> {
        if !self.host.daemon().runs() {
            return Ok(false);
        }
        if self.host.private_socket().is_ok() {
            return Ok(true);
        }
        let ended = wait("the daemon to end", || Ok((!self.host.daemon().runs()).then_some(())));
        ended.map_err(|_| Invariant::Died.broken("the daemon neither serves nor ends"))?;
        Ok(false)
    }

    /// Waits until the daemon serves the bus, which it may have to join again.
    pub(super) fn serves_the_bus(&self) -> Result<()> {
        let served = || Ok(self.host.countersign(&["status", "alice"])?.succeeded().then_some(()));
        wait("the bus", served).map_err(|_| Invariant::NotOpening.broken("the daemon does not come back to the bus"))
    }

    /// The daemon ends in order, the database is whole, and the daemon starts again.
    pub(super) fn restart(&self) -> Result<()> {
        stop(self.host)?;
        self.start()
    }

    pub(super) fn start(&self) -> Result<()> {
        self.host.start_daemon().map_err(|error| Invariant::NotOpening.broken(first_line(&error)))
    }

    /// Waits until the log names what was broken: a line of the daemon's own that was not there before.
    pub(super) fn told(&mut self, answer: &str) -> Result<()> {
        let said = || Ok(self.trouble_since().then_some(()));
        wait("a line about the fault", said)
            .map_err(|_| Invariant::NotLogged.broken(format!("no line in the log for: {answer}")))?;
        Ok(())
    }

    /// What is in the log by now belongs to what was before.
    pub(super) fn turn_the_page(&mut self) {
        self.read = self.host.syslog().len();
    }

    fn trouble_since(&self) -> bool {
        let lines = self.host.syslog();
        lines.iter().skip(self.read).any(|line| {
            line.program == "countersignd"
                && (line.text.contains("store: ")
                    || line.text.contains("cannot run")
                    || line.text.contains("reason=\"store\"")
                    || ["key", "backup"]
                        .iter()
                        .any(|kind| line.text.contains(&format!("event={kind} outcome=refused"))))
        })
    }

    /// No secret stands in a log.
    pub(super) fn examine_secrets(&self) -> Result<()> {
        let logs = self.host.diagnosis();
        let leaked = self.secrets.iter().find(|secret| logs.contains(secret.as_str()));
        Invariant::SecretLeaked.holds(leaked.is_none(), || "a secret or a recovery code stands in the log".to_owned())
    }
}

/// What is known of an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) failures: u64,
    pub(super) recovery_codes: u64,
    pub(super) authenticators: usize,
    pub(super) locked: bool,
}

/// A verification by root over the private socket; a daemon that is not there refuses.
pub(super) fn verify(host: &Host, user: &str, code: &str) -> Verdict {
    match host.private_socket() {
        Ok(client) => client.verify(user, code),
        Err(error) => Verdict::Refused(format!("{error:#}")),
    }
}

/// The audit's chain is whole.
pub(super) fn examine_audit(host: &Host) -> Result<()> {
    let audit = host.countersign(&["audit", "--verify"])?;
    Invariant::AuditBroken.holds(audit.succeeded(), || audit.to_string())
}

/// The daemon ends when it is told to, and leaves a database that is whole.
pub(super) fn stop(host: &Host) -> Result<()> {
    host.daemon().stop().map_err(|error| Invariant::NotOpening.broken(format!("{error:#}")))?;
    let check = host.run(&["sqlite3", STORE, "PRAGMA integrity_check; PRAGMA foreign_key_check"])?;
    Invariant::StoreBroken.holds(check.succeeded() && check.stdout.trim() == "ok", || check.to_string())
}

/// Why, without the whole log before it.
pub(super) fn first_line(error: &anyhow::Error) -> String {
    error.root_cause().to_string()
}

fn twice(user: &str) -> anyhow::Error {
    Invariant::CodeTwice.broken(format!("a code of {user} let in twice"))
}
