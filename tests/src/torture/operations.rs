//! What the daemon is asked to do while something fails, and what must hold after each. One more operation is one more
//! line in [`all`].

use anyhow::{Context, Result};
use dbus_api::Denial;

use super::{
    Fob, Invariant,
    scene::{Answer, Scene, examine_audit, first_line, stop},
};
use crate::{Enrolment, HostBuilder, Verdict, wait};

const STATE: &str = "/var/lib/countersign";
const BACKUP: &str = "/root/torture.age";
const PASSPHRASE: &str = "correct horse battery\n";

/// One of them.
pub(super) trait Operation {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Brings the host to where it can begin.
    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<()>;

    /// Does it.
    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer>;

    /// The daemon was started anew, and nothing fails any more: is everything as it was answered?
    fn examine(&mut self, scene: &mut Scene<'_>, answer: &Answer) -> Result<()>;
}

/// Accounts for all of them.
pub(super) fn invite(host: HostBuilder) -> HostBuilder {
    ["alice", "bob", "carol", "dave", "erin", "frank", "grace"]
        .into_iter()
        .fold(host, HostBuilder::user_without_password)
}

/// All of them.
pub(super) fn all(scene: &mut Scene<'_>) -> Result<Vec<Box<dyn Operation>>> {
    let mut fob = |user: &str, seed| -> Result<Fob> {
        let fob = Fob::import(scene.host, user, seed)?;
        scene.keep_secret(fob.secret());
        Ok(fob)
    };
    let (alice, bob, frank, grace) = (fob("alice", 70)?, fob("bob", 71)?, fob("frank", 72)?, fob("grace", 73)?);
    Ok(vec![
        Box::new(RightCode { fob: alice, code: String::new() }),
        Box::new(WrongCode { fob: bob, presented: 0 }),
        Box::new(Lock { fob: grace, presented: 0 }),
        Box::new(Enrol { made: None }),
        Box::new(Import { fob: None, seed: 100 }),
        Box::new(NewRecoveryCodes { old: Vec::new(), new: Vec::new() }),
        Box::new(Unlock { fob: frank, presented: 0, before: 0 }),
        Box::new(Rotation { fob: fob("alice", 76)?, old: String::new() }),
        Box::new(Backup { fob: fob("alice", 77)? }),
        Box::new(Start { fob: fob("alice", 74)? }),
        Box::new(FirstStart),
    ])
}

/// Somebody logs in.
struct RightCode {
    fob: Fob,
    code: String,
}

impl Operation for RightCode {
    fn name(&self) -> &'static str {
        "login"
    }

    fn prepare(&mut self, _: &mut Scene<'_>) -> Result<()> {
        self.code = self.fob.code()?;
        Ok(())
    }

    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer> {
        match scene.verify(self.fob.user(), &self.code) {
            Verdict::Granted => Ok(Answer::Done),
            other => unavailable(other),
        }
    }

    fn examine(&mut self, scene: &mut Scene<'_>, answer: &Answer) -> Result<()> {
        scene.settle(&mut self.fob, &self.code, *answer == Answer::Done)
    }
}

/// Somebody guesses.
struct WrongCode {
    fob: Fob,
    presented: usize,
}

impl Operation for WrongCode {
    fn name(&self) -> &'static str {
        "wrong-code"
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        log_in(scene, &mut self.fob)
    }

    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer> {
        present_wrong(scene, &mut self.fob, &mut self.presented)
    }

    fn examine(&mut self, scene: &mut Scene<'_>, answer: &Answer) -> Result<()> {
        let failures = scene.status(self.fob.user())?.failures;
        let least = u64::from(*answer == Answer::Done);
        Invariant::ChargeLost
            .holds(failures >= least, || format!("a wrong code was answered, {failures} are counted"))?;
        Invariant::RightCodeCharged.holds(failures <= 1, || format!("one wrong code, {failures} are counted"))
    }
}

/// The third wrong code locks.
struct Lock {
    fob: Fob,
    presented: usize,
}

impl Operation for Lock {
    fn name(&self) -> &'static str {
        "lock"
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        scene.sound_tool(&["unlock", self.fob.user()], "")?;
        log_in(scene, &mut self.fob)?;
        for _ in 0..2 {
            present_wrong(scene, &mut self.fob, &mut self.presented)?;
        }
        Ok(())
    }

    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer> {
        present_wrong(scene, &mut self.fob, &mut self.presented)
    }

    fn examine(&mut self, scene: &mut Scene<'_>, answer: &Answer) -> Result<()> {
        let status = scene.status(self.fob.user())?;
        let told = *answer == Answer::Done;
        Invariant::LockLost.holds(status.locked || !told, || "a lock that was answered is gone".to_owned())?;
        Invariant::ChargeLost.holds(status.failures == 3 || !told && status.failures == 2, || {
            format!("{} are counted", status.failures)
        })?;
        Invariant::LockLost.holds(status.locked == (status.failures == 3), || format!("{status:?}"))?;
        if status.locked {
            let code = self.fob.code()?;
            let verdict = scene.verify(self.fob.user(), &code);
            Invariant::LockLost
                .holds(matches!(verdict, Verdict::Denied(Denial::Locked, Some(_))), || format!("{verdict:?}"))?;
        }
        Ok(())
    }
}

/// A phone is enrolled.
struct Enrol {
    made: Option<Enrolment>,
}

impl Operation for Enrol {
    fn name(&self) -> &'static str {
        "enrolment"
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        self.made = None;
        reset(scene, "carol")
    }

    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer> {
        let (answer, outcome) = scene.tool(&["enroll", "carol", "--no-confirm", "--json"], "")?;
        if answer == Answer::Done {
            let made = Enrolment::parse(&outcome.stdout)?;
            made.recovery_codes.iter().for_each(|code| scene.keep_secret(code));
            scene.keep_secret(&made.secret);
            self.made = Some(made);
        }
        Ok(answer)
    }

    fn examine(&mut self, scene: &mut Scene<'_>, answer: &Answer) -> Result<()> {
        let status = scene.status("carol")?;
        whole(answer, status.authenticators, status.recovery_codes)?;
        let events = scene.events("carol", "enrolment-confirmed")?;
        Invariant::AuditBroken
            .holds(status.authenticators == 0 || events > 0, || "an authenticator, and no event of it".to_owned())?;
        let Some(phone) = self.made.take() else { return Ok(()) };
        let code = scene.host.code(&phone, 0)?;
        let verdict = scene.verify("carol", &code);
        Invariant::ToldNotKept.holds(verdict == Verdict::Granted, || format!("its first code got {verdict:?}"))?;
        scene.spent_after_one_more("carol", &code, true)
    }
}

/// A fob is imported.
struct Import {
    fob: Option<Fob>,
    seed: u32,
}

impl Operation for Import {
    fn name(&self) -> &'static str {
        "import"
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        self.seed += 1;
        let fob = Fob::numbered("dave", self.seed);
        scene.keep_secret(fob.secret());
        self.fob = Some(fob);
        reset(scene, "dave")
    }

    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer> {
        let uri = self.fob.as_ref().context("a fob was prepared")?.uri();
        Ok(scene.tool(&["import", "otpauth", "-"], &uri)?.0)
    }

    fn examine(&mut self, scene: &mut Scene<'_>, answer: &Answer) -> Result<()> {
        let status = scene.status("dave")?;
        whole(answer, status.authenticators, 0)?;
        let mut fob = self.fob.take().context("a fob was prepared")?;
        let code = fob.code()?;
        let verdict = scene.verify("dave", &code);
        let expected = status.authenticators == 1;
        Invariant::ToldNotKept
            .holds(expected == (verdict == Verdict::Granted), || format!("{status:?}, its first code got {verdict:?}"))
    }
}

/// The recovery codes are replaced.
struct NewRecoveryCodes {
    old: Vec<String>,
    new: Vec<String>,
}

impl NewRecoveryCodes {
    fn read(scene: &mut Scene<'_>, json: &str) -> Result<Vec<String>> {
        let json: serde_json::Value = serde_json::from_str(json)?;
        let codes = json.get("recovery_codes").and_then(serde_json::Value::as_array).context("no recovery codes")?;
        let codes: Vec<String> = codes.iter().filter_map(|code| Some(code.as_str()?.to_owned())).collect();
        codes.iter().for_each(|code| scene.keep_secret(code));
        Ok(codes)
    }
}

impl Operation for NewRecoveryCodes {
    fn name(&self) -> &'static str {
        "recovery-codes"
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        self.new.clear();
        reset(scene, "erin")?;
        self.old = scene.host.enrol("erin")?.recovery_codes;
        Ok(())
    }

    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer> {
        let (answer, outcome) = scene.tool(&["recovery-codes", "erin", "--yes", "--json"], "")?;
        if answer == Answer::Done {
            self.new = Self::read(scene, &outcome.stdout)?;
        }
        Ok(answer)
    }

    fn examine(&mut self, scene: &mut Scene<'_>, answer: &Answer) -> Result<()> {
        let old = self.old.first().context("old codes")?;
        let verdict = scene.verify("erin", old);
        if let Some(new) = self.new.first() {
            Invariant::RevokedCodeLetIn
                .holds(verdict != Verdict::Granted, || "an old recovery code lets in beside the new ones".to_owned())?;
            let verdict = scene.verify("erin", new);
            Invariant::ToldNotKept.holds(verdict == Verdict::Granted, || format!("a new code got {verdict:?}"))?;
            return scene.spent_after_one_more("erin", new, true);
        }
        let left = scene.status("erin")?.recovery_codes;
        let expected = if verdict == Verdict::Granted { 9 } else { 10 };
        Invariant::HalfDone
            .holds(left == expected, || format!("after {answer:?} the old code got {verdict:?}, {left} are left"))
    }
}

/// An administrator lifts a lock.
struct Unlock {
    fob: Fob,
    presented: usize,
    before: usize,
}

impl Operation for Unlock {
    fn name(&self) -> &'static str {
        "unlock"
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        let user = self.fob.user().to_owned();
        scene.sound_tool(&["unlock", &user], "")?;
        log_in(scene, &mut self.fob)?;
        for _ in 0..3 {
            present_wrong(scene, &mut self.fob, &mut self.presented)?;
        }
        self.before = scene.events(&user, "unlock")?;
        Ok(())
    }

    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer> {
        Ok(scene.tool(&["unlock", self.fob.user()], "")?.0)
    }

    fn examine(&mut self, scene: &mut Scene<'_>, answer: &Answer) -> Result<()> {
        let locked = scene.status(self.fob.user())?.locked;
        let unlocked = scene.events(self.fob.user(), "unlock")? > self.before;
        Invariant::LockLost.holds(locked != unlocked, || format!("locked: {locked}, in the audit: {unlocked}"))?;
        Invariant::ToldNotKept
            .holds(!locked || *answer != Answer::Done, || "a lock that was lifted is there".to_owned())
    }
}

/// The master key is replaced.
struct Rotation {
    fob: Fob,
    old: String,
}

impl Rotation {
    /// The name of the key in use, and whether one before it is in use as well.
    fn key(scene: &Scene<'_>) -> Result<(String, bool)> {
        let outcome = scene.sound_tool(&["key", "status", "--json"], "")?;
        let json: serde_json::Value = serde_json::from_str(&outcome.stdout)?;
        let id = json.get("id").and_then(serde_json::Value::as_str).context("no name of a key")?;
        Ok((id.to_owned(), json.get("previous").is_some_and(serde_json::Value::is_string)))
    }

    /// The name of the key, once it alone is in use.
    fn key_alone(scene: &Scene<'_>) -> Result<String> {
        let one = || Ok(Some(Self::key(scene)?).filter(|(_, rotates)| !rotates).map(|(id, _)| id));
        wait("the end of the rotation", one)
            .map_err(|error| Invariant::NotOpening.broken(format!("a rotation does not go on: {error:#}")))
    }
}

impl Operation for Rotation {
    fn name(&self) -> &'static str {
        "rotation"
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        self.old = Self::key_alone(scene)?;
        Ok(())
    }

    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer> {
        Ok(scene.tool(&["key", "rotate", "--no-wait"], "")?.0)
    }

    fn examine(&mut self, scene: &mut Scene<'_>, answer: &Answer) -> Result<()> {
        let new = Self::key_alone(scene)?;
        Invariant::ToldNotKept.holds(new != self.old || *answer != Answer::Done, || {
            "a new key was answered, the old one is used".to_owned()
        })?;
        let code = self.fob.code()?;
        scene.settle(&mut self.fob, &code, false)
    }
}

/// A backup is made; it is tried by restoring it.
struct Backup {
    fob: Fob,
}

impl Operation for Backup {
    fn name(&self) -> &'static str {
        "backup"
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        // It may have none beside it while its key is rotated.
        Rotation::key_alone(scene)?;
        scene.host.run(&["rm", "-f", BACKUP])?.success()?;
        log_in(scene, &mut self.fob)
    }

    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer> {
        Ok(scene.tool(&["backup", BACKUP, "--passphrase-fd", "0"], PASSPHRASE)?.0)
    }

    fn examine(&mut self, scene: &mut Scene<'_>, answer: &Answer) -> Result<()> {
        if *answer == Answer::Done {
            stop(scene.host)?;
            let restore = ["restore", BACKUP, "--replace", "--trust-counters", "--yes", "--passphrase-fd", "0"];
            let (restored, outcome) = scene.tool(&restore, PASSPHRASE)?;
            Invariant::ToldNotKept.holds(restored == Answer::Done, || outcome.to_string())?;
            scene.start()?;
            scene.serves_the_bus()?;
        }
        let code = self.fob.code()?;
        scene.settle(&mut self.fob, &code, false)
    }
}

/// The daemon starts with a store that is there.
struct Start {
    fob: Fob,
}

impl Operation for Start {
    fn name(&self) -> &'static str {
        "start"
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        // Something for the write-ahead log to hold: the daemon does not end in order.
        log_in(scene, &mut self.fob)?;
        scene.host.daemon().kill()
    }

    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer> {
        started(scene)
    }

    fn examine(&mut self, scene: &mut Scene<'_>, _: &Answer) -> Result<()> {
        let code = self.fob.code()?;
        scene.settle(&mut self.fob, &code, false)
    }
}

/// The daemon starts for the first time, and makes key and store.
struct FirstStart;

impl Operation for FirstStart {
    fn name(&self) -> &'static str {
        "first-start"
    }

    fn prepare(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        scene.host.daemon().stop()?;
        let aside = "mkdir -m 0700 $0.aside && chown countersign: $0.aside && \
                     find $0 -mindepth 1 -maxdepth 1 -exec mv -t $0.aside {} +";
        scene.host.run(&["sh", "-c", aside, STATE])?.success()?;
        Ok(())
    }

    fn perform(&mut self, scene: &mut Scene<'_>) -> Result<Answer> {
        started(scene)
    }

    fn examine(&mut self, scene: &mut Scene<'_>, _: &Answer) -> Result<()> {
        let mut fob = Fob::import(scene.host, "alice", 75)?;
        let code = fob.code()?;
        scene.settle(&mut fob, &code, false)?;
        examine_audit(scene.host)?;
        stop(scene.host)?;
        let back = "find $0 -mindepth 1 -delete && find $0.aside -mindepth 1 -maxdepth 1 -exec mv -t $0 {} + && rmdir $0.aside";
        scene.host.run(&["sh", "-c", back, STATE])?.success()?;
        scene.start()
    }
}

fn started(scene: &Scene<'_>) -> Result<Answer> {
    Ok(match scene.host.start_daemon() {
        Ok(()) => Answer::Done,
        Err(error) => Answer::Refused(first_line(&error)),
    })
}

/// A login that something broken refuses says so, and nothing else.
fn unavailable(verdict: Verdict) -> Result<Answer> {
    match verdict {
        Verdict::Denied(Denial::Unavailable, _) | Verdict::Refused(_) => Ok(Answer::Refused(format!("{verdict:?}"))),
        other => Err(Invariant::ClosedNotClear.broken(format!("a right code got {other:?}"))),
    }
}

/// `Done` where the daemon said that the code is wrong.
fn present_wrong(scene: &Scene<'_>, fob: &mut Fob, presented: &mut usize) -> Result<Answer> {
    *presented += 1;
    let code = fob.wrong_code(*presented * 31)?;
    match scene.verify(fob.user(), &code) {
        Verdict::Granted => Err(Invariant::WrongCodeLetIn.broken(format!("a wrong code let {} in", fob.user()))),
        Verdict::Denied(Denial::Unavailable, _) => Ok(Answer::Refused("unavailable".to_owned())),
        Verdict::Denied(..) => Ok(Answer::Done),
        Verdict::Refused(error) => Ok(Answer::Refused(error)),
    }
}

fn log_in(scene: &Scene<'_>, fob: &mut Fob) -> Result<()> {
    let code = fob.code()?;
    let verdict = scene.verify(fob.user(), &code);
    Invariant::RightCodeRefused.holds(verdict == Verdict::Granted, || format!("{}'s code got {verdict:?}", fob.user()))
}

fn reset(scene: &Scene<'_>, user: &str) -> Result<()> {
    let status = scene.status(user)?;
    if status.authenticators > 0 || status.failures > 0 {
        scene.sound_tool(&["reset", user, "--yes"], "")?;
    }
    Ok(())
}

/// One authenticator and its recovery codes, or nothing; what was answered as done is there.
fn whole(answer: &Answer, authenticators: usize, recovery_codes: u64) -> Result<()> {
    let seen = || format!("{authenticators} authenticators and {recovery_codes} recovery codes after {answer:?}");
    Invariant::HalfDone.holds(matches!((authenticators, recovery_codes), (0 | 1, 0) | (1, 10)), seen)?;
    Invariant::ToldNotKept.holds(authenticators == 1 || *answer != Answer::Done, seen)
}
