//! Every promise once, black box: what the design calls invariants is looked for on one host with a life of its own, in
//! a few seconds. Each finding has the name of what was broken; tests/planted breaks them one by one.

use std::time::Duration;

use anyhow::{Context, Result};
use dbus_api::Action;

use super::{Invariant, Play, Tally};
use crate::{
    Attempt, Enrolment, Host, HotpKey, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_MAXTRIES, PAM_SUCCESS, Stack, Verdict,
};

const PERIOD: Duration = Duration::from_secs(30);
/// Longer than any lock.
const LONG: Duration = Duration::from_secs(360);
/// Cycles of one process of which the first ones settle it.
const CYCLES: u32 = 130;
/// The lines of a service that asks for the password first.
const TWO_FACTORS: &str = "sshd-password-and-code";
/// Every write of the daemon to its store fails from now on.
const FAIL_WRITES: &str = "cd /run/scratch
    strace -f -o strace -e inject=pwrite64,fsync,fdatasync:error=EIO -p $(pidof countersignd) </dev/null >/dev/null 2>attached &
    echo $! >strace.pid
    until grep -q attached attached; do kill -0 $(cat strace.pid); done";
const DATABASE: &str = "/var/lib/countersign/store.sqlite";

/// The host and who lives there.
struct Life {
    host: Host,
    phone: Enrolment,
    /// All that was typed or handed out and must stand nowhere.
    secrets: Vec<String>,
    attempts: usize,
}

/// Looks for every promise, again and again where a time is given.
pub(super) fn play(play: &mut Play) -> Result<Tally> {
    let mut tally = Tally::default();
    loop {
        tally.add("logins", promises()? as u64);
        tally.count("lives");
        if play.end.is_none() || !play.goes_on() {
            return Ok(tally);
        }
    }
}

/// One life. Tells how many logins it had.
fn promises() -> Result<usize> {
    let host = Host::build()
        .user("alice", "correct horse")
        .user_without_password("bob")
        .user_without_password("mallory")
        .user_without_password("unenrolled")
        .pam(Stack::code_alone("door"))
        .pam(Stack::new("gate", TWO_FACTORS))
        .fake_clock()
        .start()?;
    let phone = host.enrol("alice")?;
    let mut secrets = vec![phone.secret.clone()];
    secrets.extend(phone.recovery_codes.iter().cloned());
    let mut life = Life { host, phone, secrets, attempts: 0 };
    let played = life.play();
    let told = life.host.diagnosis();
    played.with_context(|| told)?;
    a_power_cut()?;
    Ok(life.attempts)
}

impl Life {
    fn play(&mut self) -> Result<()> {
        self.codes_let_in_once()?;
        self.a_grant_is_kept_whatever_comes_next()?;
        self.nobody_else_lets_in()?;
        self.wrong_codes_are_charged_and_lock()?;
        self.nobody_learns_who_is_enrolled()?;
        self.passwords_stay_in_the_module()?;
        self.typed_text_forges_no_line()?;
        self.the_module_leaves_nothing_behind()?;
        self.errors_open_no_door()?;
        self.the_audit_tells_all()?;
        self.no_secret_is_in_a_log()
    }

    /// Invariant 1, over kills and in another spelling.
    fn codes_let_in_once(&mut self) -> Result<()> {
        let fob = HotpKey::distinct(40, 12)?;
        self.host.import_hotp("bob", &fob.0)?;
        let paper = self.phone.recovery_codes.first().context("recovery codes")?.clone();
        let other = paper.replace('-', " ").to_lowercase();
        let shown = fob.1.first().context("a fob makes codes")?.clone();
        let codes = [("alice", self.code()?, None), ("alice", paper, Some(other)), ("bob", shown, None)];
        for (user, code, spelling) in codes {
            let first = self.attempt(user, &code)?;
            Invariant::RightCodeRefused.holds(first.result == PAM_SUCCESS, || format!("{user}: {first:?}"))?;
            for kill in [false, true] {
                if kill {
                    self.host.daemon().kill()?;
                    self.start_daemon()?;
                }
                for code in spelling.iter().chain([&code]) {
                    let again = self.attempt(user, code)?;
                    let twice = || format!("{user}'s code, after a kill: {kill}: {again:?}");
                    Invariant::CodeTwice.holds(again.result != PAM_SUCCESS, twice)?;
                }
            }
        }
        for user in ["alice", "bob"] {
            let failures = self.host.failures(user)?;
            let what = || format!("{user} presented spent codes and has {failures} failures");
            Invariant::RightCodeCharged.holds(failures == 0, what)?;
        }
        self.old_recovery_codes_are_gone()
    }

    /// New ones take the old ones back.
    fn old_recovery_codes_are_gone(&mut self) -> Result<()> {
        let old = self.phone.recovery_codes.last().context("recovery codes")?.clone();
        self.host.countersign(&["recovery-codes", "alice", "--yes"])?.success()?;
        let attempt = self.attempt("alice", &old)?;
        Invariant::RevokedCodeLetIn.holds(attempt.result != PAM_SUCCESS, || format!("{attempt:?}"))
    }

    /// Invariant 1: the daemon is killed the moment its answer is there.
    fn a_grant_is_kept_whatever_comes_next(&mut self) -> Result<()> {
        let (fob, codes) = HotpKey::distinct(70, 5)?;
        self.host.countersign(&["reset", "bob", "--yes"])?.success()?;
        self.host.import_hotp("bob", &fob)?;
        for code in &codes {
            let verdict = self.host.private_socket()?.verify("bob", code);
            self.host.daemon().kill()?;
            self.start_daemon()?;
            Invariant::RightCodeRefused.holds(verdict == Verdict::Granted, || format!("{verdict:?}"))?;
            let again = self.attempt("bob", code)?;
            let what = || format!("the daemon was killed the moment it granted: {again:?}");
            Invariant::CodeTwice.holds(again.result != PAM_SUCCESS, what)?;
        }
        Ok(())
    }

    /// Invariants 1 and 5: codes that differ in one digit, and callers that ask for somebody else.
    fn nobody_else_lets_in(&mut self) -> Result<()> {
        let right = self.fresh_code()?;
        for place in 0..right.len() {
            let close = self.close_to(&right, place)?;
            let attempt = self.attempt("alice", &close)?;
            let what = || format!("a code with one digit that is wrong: {attempt:?}");
            Invariant::WrongCodeLetIn.holds(attempt.result != PAM_SUCCESS, what)?;
            self.host.countersign(&["enable", "alice"])?.success()?;
        }
        let code = self.fresh_code()?;
        let attempt = self.host.attempt_as("mallory", "door", "alice", &[&code])?;
        let what = || format!("mallory asked for alice: {attempt:?}");
        Invariant::CallerBelieved.holds(attempt.result != PAM_SUCCESS, what)?;
        let own = self.attempt("alice", &code)?;
        Invariant::RightCodeRefused.holds(own.result == PAM_SUCCESS, || format!("{own:?}"))
    }

    /// Invariant 2: charges and locks outlive the daemon, and end.
    fn wrong_codes_are_charged_and_lock(&mut self) -> Result<()> {
        let wrong = self.host.wrong_code(&self.phone)?;
        for failures in 1..=3 {
            self.attempt("alice", &wrong)?;
            self.host.daemon().kill()?;
            self.start_daemon()?;
            let counted = self.host.failures("alice")?;
            let what = || format!("{counted} failures after {failures} wrong codes");
            Invariant::ChargeLost.holds(counted == failures, what)?;
        }
        self.host.advance(PERIOD / 2)?;
        let code = self.code()?;
        let locked = self.attempt("alice", &code)?;
        Invariant::LockLost.holds(locked.result == PAM_MAXTRIES, || format!("{locked:?}"))?;
        self.host.advance(LONG)?;
        let free = self.attempt_afresh()?;
        Invariant::RightCodeRefused.holds(free.result == PAM_SUCCESS, || format!("a lock that ended: {free:?}"))
    }

    /// Invariant 7: by words; the scenarios of timing look at time.
    fn nobody_learns_who_is_enrolled(&mut self) -> Result<()> {
        let wrong = self.host.wrong_code(&self.phone)?;
        let enrolled = self.attempt("alice", &wrong)?.talk;
        for user in ["unenrolled", "nobody-knows-me"] {
            let other = self.attempt(user, &wrong)?.talk;
            Invariant::AccountTold
                .holds(other == enrolled, || format!("{other:?}, and {enrolled:?} who is enrolled"))?;
        }
        let free = self.attempt_afresh()?;
        Invariant::RightCodeRefused.holds(free.result == PAM_SUCCESS, || format!("after one wrong code: {free:?}"))
    }

    /// Invariant 9: of a service that answers every prompt with the password nothing reaches the daemon.
    fn passwords_stay_in_the_module(&mut self) -> Result<()> {
        let password = "correct horse";
        let attempt = self.host.attempt("gate", "alice", &[password, password])?;
        Invariant::WrongCodeLetIn.holds(attempt.result != PAM_SUCCESS, || format!("a password: {attempt:?}"))?;
        let sent = |line: &&crate::Line| line.has(&[("service", "gate"), ("reason", "malformed")]);
        let sent = self.host.syslog().iter().filter(sent).count();
        Invariant::PasswordSent.holds(sent == 0, || "the daemon was told the password".to_owned())?;
        self.secrets.push(password.to_owned());
        Ok(())
    }

    /// Invariant 8.
    fn typed_text_forges_no_line(&mut self) -> Result<()> {
        let name = "x\" outcome=granted account=\"forged";
        // Whatever it answers: what it writes counts.
        let _ = self.host.private_socket()?.verify(name, "123456");
        let told = self.host.logged(&[("service", "scenario"), ("reason", "unknown-account")]);
        told.map_err(|error| Invariant::AuditBroken.broken(format!("no line about a login: {error:#}")))?;
        let forged = |line: &&crate::Line| line.text.contains("x\" outcome=granted");
        let forged = self.host.syslog().into_iter().find(|line| forged(&line));
        Invariant::LogForged.holds(forged.is_none(), || format!("{forged:?}"))
    }

    /// Invariant 6.
    fn the_module_leaves_nothing_behind(&mut self) -> Result<()> {
        let fob = HotpKey::distinct(50, CYCLES)?;
        self.host.countersign(&["reset", "bob", "--yes"])?.success()?;
        self.host.import_hotp("bob", &fob.0)?;
        let cycles = self.host.cycles("door", "bob", &fob.1)?;
        self.attempts += fob.1.len();
        let granted = u64::from(CYCLES);
        Invariant::RightCodeRefused.holds(cycles.granted == granted, || format!("{cycles:?}"))?;
        let kept = |figures: &[String]| -> Vec<String> {
            figures.iter().filter(|figure| !figure.starts_with("resident")).cloned().collect()
        };
        Invariant::BadGuest.holds(kept(&cycles.before) == kept(&cycles.after), || format!("{cycles:?}"))
    }

    /// Invariant 3: no daemon, and a record that somebody altered on the disk.
    fn errors_open_no_door(&mut self) -> Result<()> {
        let spent = self.fresh_code()?;
        let first = self.attempt("alice", &spent)?;
        Invariant::RightCodeRefused.holds(first.result == PAM_SUCCESS, || format!("{first:?}"))?;
        self.host.daemon().stop()?;
        let down = self.attempt("alice", &spent)?;
        Invariant::ErrorLetIn.holds(down.result != PAM_SUCCESS, || format!("without a daemon: {down:?}"))?;
        Invariant::ClosedNotClear.holds(down.result == PAM_AUTHINFO_UNAVAIL, || format!("{down:?}"))?;
        self.alter("UPDATE authenticators SET last_step = NULL WHERE account = 'alice'")?;
        self.start_daemon()?;
        let replayed = self.attempt("alice", &spent)?;
        let what = || format!("a record that was altered on the disk was believed: {replayed:?}");
        Invariant::CodeTwice.holds(replayed.result != PAM_SUCCESS, what)?;
        self.host.countersign(&["reset", "alice", "--yes"])?.success()?;
        self.phone = self.host.enrol("alice")?;
        self.secrets.push(self.phone.secret.clone());
        self.an_error_in_the_middle()
    }

    /// Nothing can be written when the reply is decided about.
    fn an_error_in_the_middle(&mut self) -> Result<()> {
        let client = self.host.private_socket()?;
        let (id, step) = client.begin("alice").map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let code = self.code()?;
        self.host.run(&["sh", "-c", FAIL_WRITES])?.success()?;
        let answer = client.respond(id, &code);
        self.host.run(&["sh", "-c", "kill $(cat /run/scratch/strace.pid)"])?.success()?;
        let granted = answer.as_ref().is_ok_and(|step| step.action() == Some(Action::Granted));
        let what = || format!("asked by {step:?}, it let in although nothing could be written: {answer:?}");
        Invariant::ErrorLetIn.holds(!granted, what)?;
        Invariant::ClosedNotClear.holds(answer.is_err(), || format!("nothing could be written: {answer:?}"))?;
        let why = |line: &&crate::Line| line.program == "countersignd" && line.text.starts_with("store: ");
        let told = self.host.syslog().iter().any(|line| why(&line));
        Invariant::NotLogged.holds(told, || "nothing could be written, and the log does not say so".to_owned())?;
        let free = self.attempt_afresh()?;
        Invariant::RightCodeRefused.holds(free.result == PAM_SUCCESS, || format!("after an error: {free:?}"))
    }

    /// The audit's chain is whole, it knows of every login, and a line that was altered in it is found.
    fn the_audit_tells_all(&mut self) -> Result<()> {
        let checked = self.host.countersign(&["audit", "--verify"])?;
        Invariant::AuditBroken.holds(checked.succeeded(), || checked.to_string())?;
        let refused = |host: &Host| -> Result<usize> {
            let audit = host.countersign(&["audit", "--user", "alice", "--json"])?.success()?;
            Ok(audit.stdout.lines().filter(|line| line.contains("\"wrong\"")).count())
        };
        let before = refused(&self.host)?;
        let wrong = self.host.wrong_code(&self.phone)?;
        self.attempt("alice", &wrong)?;
        let after = refused(&self.host)?;
        Invariant::AuditBroken.holds(after == before + 1, || "the audit does not know of a wrong code".to_owned())?;
        self.host.daemon().stop()?;
        self.alter("UPDATE audit SET outcome = 'granted' WHERE seq = (SELECT max(seq) - 1 FROM audit)")?;
        self.start_daemon()?;
        let altered = self.host.countersign(&["audit", "--verify"])?;
        Invariant::AuditBroken.holds(!altered.succeeded(), || "an altered record is not found".to_owned())
    }

    /// Invariant 4.
    fn no_secret_is_in_a_log(&self) -> Result<()> {
        let log = self.host.diagnosis();
        for secret in &self.secrets {
            let bare = secret.replace('-', "");
            let leaked = log.contains(secret) || log.contains(&bare);
            Invariant::SecretLeaked.holds(!leaked, || "a secret or a code stands in a log".to_owned())?;
        }
        Ok(())
    }

    fn start_daemon(&self) -> Result<()> {
        self.host.start_daemon().map_err(|error| Invariant::NotOpening.broken(error.root_cause().to_string()))
    }

    fn attempt(&mut self, user: &str, code: &str) -> Result<Attempt> {
        self.attempts += 1;
        self.secrets.push(code.to_owned());
        self.host.attempt("door", user, &[code])
    }

    /// A login with a code that was never shown before.
    fn attempt_afresh(&mut self) -> Result<Attempt> {
        let code = self.fresh_code()?;
        self.attempt("alice", &code)
    }

    fn fresh_code(&self) -> Result<String> {
        self.host.advance(PERIOD * 3)?;
        self.code()
    }

    fn code(&self) -> Result<String> {
        self.host.code(&self.phone, 0)
    }

    /// A code that differs in one digit and is none of the window.
    fn close_to(&self, right: &str, place: usize) -> Result<String> {
        let window: Vec<String> = (-3..=3).map(|step| self.host.code(&self.phone, step)).collect::<Result<_>>()?;
        let with = |digit: char| -> String {
            right.chars().enumerate().map(|(at, old)| if at == place { digit } else { old }).collect()
        };
        ('0'..='9').map(with).find(|code| !window.contains(code)).context("a code that is wrong")
    }

    fn alter(&self, statement: &str) -> Result<()> {
        let alter = format!("PRAGMA foreign_keys = OFF; {statement}; SELECT changes();");
        let changed = self.host.run(&["sqlite3", DATABASE, &alter])?.success()?;
        anyhow::ensure!(changed.stdout.trim().ends_with('1'), "nothing was altered: {changed}");
        Ok(())
    }
}

/// What was answered is on the disk itself, and not in the memory of a machine that loses it.
fn a_power_cut() -> Result<()> {
    let host = Host::build().user_without_password("bob").state_on_a_disk().start()?;
    let (fob, codes) = HotpKey::distinct(60, 2)?;
    host.import_hotp("bob", &fob)?;
    let [code, next] = &codes[..] else { anyhow::bail!("two codes were asked for") };
    // The import is on the disk. What is looked at is the login.
    host.run(&["sync"])?.success()?;
    let verdict = host.private_socket()?.verify("bob", code);
    let image = host.disk()?;
    Invariant::RightCodeRefused.holds(verdict == Verdict::Granted, || format!("{verdict:?}"))?;
    let copy = std::env::temp_dir().join(format!("countersign-promises-{}", std::process::id()));
    std::fs::write(&copy, image)?;
    let cut = Host::build().user_without_password("bob").pam(Stack::code_alone("door"));
    let cut = cut.state_on_this_disk(&copy).start();
    std::fs::remove_file(&copy)?;
    let cut = cut.map_err(|error| Invariant::ToldNotKept.broken(format!("after a power cut: {error:#}")))?;
    let again = cut.attempt("door", "bob", &[code])?;
    Invariant::ToldNotKept.holds(again.result == PAM_AUTH_ERR, || format!("after a power cut: {again:?}"))?;
    let next = cut.attempt("door", "bob", &[next])?;
    Invariant::ToldNotKept.holds(next.result == PAM_SUCCESS, || format!("bob is gone after a power cut: {next:?}"))
}
