//! One history, played by the daemon and by the reference at once.
//!
//! Where two logins answer at one moment, or the daemon is killed while it writes, more than one thing may have happened:
//! then every truth that is possible is followed until what is seen tells them apart. None may be seen that is not among
//! them.

use std::collections::BTreeSet;
use std::path::Path;

use daemon::audit::{Kind, Outcome as Told};
use dbus_api::{EnrollmentSummary, Error, ImportOutcome};
use proptest::prelude::*;
use tokio::runtime::Builder;

use crate::action::{Action, History, KNOWN, NAMES, SCRATCH_CODES, Typed};
use crate::reference::{Limits, Model, Outcome, Person, Truth};
use crate::world::World;

/// For how long scratch codes open anything after their import, in seconds.
const SCRATCH_CODES_LAST: u64 = 400;

/// What happened in all histories together, so that it shows that they are about something.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    granted: usize,
    locked: usize,
    disabled: usize,
    no_clock: usize,
    kills: usize,
    cut_and_kept: usize,
    cut_and_lost: usize,
}

struct Play<'a> {
    world: World,
    limits: Limits,
    /// All that may have happened; more than one only until something tells them apart.
    truths: Vec<Truth>,
    retired: Vec<String>,
    last: String,
    tally: &'a mut Tally,
}

pub(crate) fn play(clock: &Path, history: &History, tally: &mut Tally) -> Result<(), TestCaseError> {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let world = World::begin(clock, &history.limits).await;
        let (limits, truths) = (history.limits.clone(), vec![Truth::default()]);
        let mut play = Play { world, limits, truths, retired: Vec::new(), last: String::new(), tally };
        // New recovery codes end the scratch codes of what was imported before.
        for (index, model) in history.imported.iter().rev().enumerate() {
            play.act(Action::Import(0, *model)).await?;
            if index == 0 {
                play.act(Action::NewRecoveryCodes(0)).await?;
            }
        }
        for (index, action) in history.actions.iter().enumerate() {
            play.act(*action).await.map_err(|error| match error {
                TestCaseError::Fail(why) => TestCaseError::fail(format!("action {}, {action:?}: {why}", index + 1)),
                other => other,
            })?;
        }
        play.end().await
    })
}

impl Play<'_> {
    async fn act(&mut self, action: Action) -> Result<(), TestCaseError> {
        match action {
            Action::Clock(by) => self.world.set_clock(self.world.now.saturating_add_signed(by)),
            Action::Present(who, typed) => self.present(NAMES[who], typed).await?,
            Action::Pair(who, typed) => {
                let text = [typed, typed.next()].map(|typed| self.text(NAMES[who], typed));
                for text in text {
                    self.present_text(NAMES[who], text).await?;
                }
            }
            Action::Together(who, one, other) => self.present_together(NAMES[who], one, other).await?,
            Action::Cut(who, typed, share) => self.cut(NAMES[who], typed, share).await?,
            Action::Kill => {
                self.world.kill().await;
                self.tally.kills += 1;
                self.truths.iter_mut().for_each(Truth::restart);
            }
            Action::Restart => {
                self.world.restart().await;
                self.truths.iter_mut().for_each(Truth::restart);
            }
            Action::Import(who, model) => self.import(NAMES[who], Model(model)).await?,
            administering => self.administer(administering).await?,
        }
        self.compare().await
    }

    async fn present(&mut self, name: &'static str, typed: Typed) -> Result<(), TestCaseError> {
        let text = self.text(name, typed);
        self.present_text(name, text).await
    }

    async fn present_text(&mut self, name: &'static str, text: String) -> Result<(), TestCaseError> {
        let seen = self.world.present(name, &text).await;
        self.count(&seen);
        let (now, passed) = (self.world.now, self.world.passed());
        let mut expected = Vec::new();
        for truth in std::mem::take(&mut self.truths) {
            let mut truth = truth;
            let outcome = truth.reply(name, &text, now, &self.limits);
            if same(&outcome, &seen, passed) {
                self.truths.push(truth);
            }
            expected.push(outcome);
        }
        self.last = text;
        prop_assert!(!self.truths.is_empty(), "{name} typed {:?} and got {seen:?}, not {expected:?}", self.last);
        Ok(())
    }

    async fn present_together(&mut self, name: &'static str, one: Typed, other: Typed) -> Result<(), TestCaseError> {
        let texts = [self.text(name, one), self.text(name, other)];
        let seen = self.world.present_together(name, [&texts[0], &texts[1]]).await;
        seen.iter().for_each(|seen| self.count(seen));
        let (now, passed) = (self.world.now, self.world.passed());
        let mut expected = Vec::new();
        for truth in std::mem::take(&mut self.truths) {
            for order in [[0, 1], [1, 0]] {
                let mut truth = truth.clone();
                let outcomes = order.map(|index| truth.reply(name, &texts[index], now, &self.limits));
                if order.iter().zip(&outcomes).all(|(index, outcome)| same(outcome, &seen[*index], passed)) {
                    self.truths.push(truth);
                }
                expected.push((order, outcomes));
            }
        }
        self.last = texts[0].clone();
        prop_assert!(!self.truths.is_empty(), "{name} typed {texts:?} and got {seen:?}, not {expected:?}");
        Ok(())
    }

    /// The daemon decides, and is killed while that is written: it was decided, or it never was.
    async fn cut(&mut self, name: &'static str, typed: Typed, share: u8) -> Result<(), TestCaseError> {
        let text = self.text(name, typed);
        let before = self.world.disk();
        self.world.present(name, &text).await;
        let after = self.world.disk();
        let torn = before.torn(&after, share);
        let whole = torn.is_none();
        self.world.crash(torn.unwrap_or(after)).await;
        let now = self.world.now;
        let decided = self.truths.iter().map(|truth| {
            let mut truth = truth.clone();
            truth.reply(name, &text, now, &self.limits);
            truth
        });
        let mut decided: Vec<Truth> = decided.collect();
        if !whole {
            decided.extend(self.truths.iter().cloned());
        }
        self.truths = decided;
        self.truths.iter_mut().for_each(Truth::restart);
        match whole {
            true => self.tally.cut_and_kept += 1,
            false => self.tally.cut_and_lost += 1,
        }
        self.last = text;
        Ok(())
    }

    async fn import(&mut self, name: &'static str, model: Model) -> Result<(), TestCaseError> {
        let ends = self.world.now + SCRATCH_CODES_LAST;
        let has_scratch_codes = model == Model(0);
        let scratch_codes = if has_scratch_codes { &SCRATCH_CODES[..] } else { &[] };
        let outcome = self.world.import(name, model, scratch_codes, SCRATCH_CODES_LAST).await;
        prop_assert!(matches!(outcome, ImportOutcome::Added | ImportOutcome::Present), "{outcome:?}");
        for truth in &mut self.truths {
            truth.people.entry(name).or_default().import(model, scratch_codes, ends);
        }
        Ok(())
    }

    async fn administer(&mut self, action: Action) -> Result<(), TestCaseError> {
        let (Action::Unlock(who)
        | Action::Disable(who)
        | Action::Enable(who)
        | Action::Reset(who)
        | Action::Remove(who, _)
        | Action::NewRecoveryCodes(who)) = action
        else {
            return Err(TestCaseError::fail("this is nothing that administrators do"));
        };
        let name = NAMES[who];
        let (admin, enrollment) = (self.world.admin(), self.world.enrollment());
        let mut codes = Vec::new();
        let done = match action {
            Action::Unlock(_) => admin.unlock(name).await,
            Action::Disable(_) => admin.disable(name).await,
            Action::Enable(_) => admin.enable(name).await,
            Action::Reset(_) => admin.reset(name, 0).await,
            Action::Remove(_, index) => {
                let list = self.world.look(name).await.map_or(Vec::new(), |seen| seen.authenticators);
                let Some(one) = list.get(index) else { return Ok(()) };
                enrollment.remove(name, &one.id).await
            }
            _ => enrollment.new_recovery_codes(name).await.map(|made| codes = made),
        };
        let codes: Vec<String> = codes.iter().map(|code| code.replace('-', "")).collect();
        let mut retired = Vec::new();
        for truth in &mut self.truths {
            let may = truth.people.get(name).is_some_and(|person| match action {
                Action::NewRecoveryCodes(_) => !person.authenticators.is_empty(),
                _ => true,
            });
            prop_assert_eq!(may, done.is_ok(), "{:?}: {:?}", action, done);
            let Some(person) = truth.people.get_mut(name).filter(|_| may) else { continue };
            match action {
                Action::Unlock(_) => person.unlock(),
                Action::Disable(_) => person.disable(),
                Action::Enable(_) => person.enable(),
                Action::Reset(_) => *person = Person::default(),
                Action::Remove(_, index) => person.remove(index),
                _ => {
                    retired = person.recovery_codes.iter().map(|(code, _)| code.clone()).collect();
                    person.replace_recovery_codes(&codes);
                }
            }
        }
        self.retired.extend(retired);
        if let Err(error) = done {
            prop_assert!(matches!(error, Error::NotEnrolled(_)), "{error:?}");
        }
        Ok(())
    }

    /// What administrators see of everybody is what one of the truths says.
    async fn compare(&mut self) -> Result<(), TestCaseError> {
        for name in &NAMES[..KNOWN] {
            let seen = self.world.look(name).await;
            let (now, passed) = (self.world.now, self.world.passed());
            let before = self.truths.clone();
            self.truths.retain(|truth| agree(truth.people.get(name), seen.as_ref(), now, passed));
            for person in self.truths.iter_mut().filter_map(|truth| truth.people.get_mut(name)) {
                let listed: Vec<Model> = seen.iter().flat_map(|seen| &seen.authenticators).map(model).collect();
                person.authenticators.sort_by_key(|(model, _)| listed.iter().position(|listed| listed == model));
            }
            prop_assert!(!self.truths.is_empty(), "{name} stands as {seen:?}, not as {before:?}");
        }
        let mut distinct: Vec<Truth> = Vec::new();
        for truth in std::mem::take(&mut self.truths) {
            if !distinct.contains(&truth) {
                distinct.push(truth);
            }
        }
        self.truths = distinct;
        Ok(())
    }

    /// The audit is whole and knows each login that was let in, whether it was answered or not.
    async fn end(self) -> Result<(), TestCaseError> {
        let audit = self.world.audit().await;
        let granted = |record: &&daemon::audit::AuditRecord| {
            record.event.kind == Kind::Verification && record.event.outcome == Told::Granted
        };
        let granted = audit.iter().filter(granted).count();
        let known: Vec<usize> = self.truths.iter().map(|truth| truth.granted).collect();
        self.world.end().await;
        prop_assert!(known.contains(&granted), "the audit tells of {granted} logins, and there were {known:?}");
        Ok(())
    }

    fn text(&self, name: &str, typed: Typed) -> String {
        let nobody = Person::default();
        let person = self.truths[0].people.get(name).unwrap_or(&nobody);
        typed.text(person, &self.retired, &self.last, self.world.now)
    }

    fn count(&mut self, seen: &Outcome) {
        match seen {
            Outcome::Granted => self.tally.granted += 1,
            Outcome::Refused => {}
            Outcome::Locked(_) => self.tally.locked += 1,
            Outcome::Disabled => self.tally.disabled += 1,
            Outcome::NoClock => self.tally.no_clock += 1,
        }
    }
}

/// A lock may be said to be shorter by the time that the history has really taken until now.
fn same(expected: &Outcome, seen: &Outcome, passed: u64) -> bool {
    match (expected, seen) {
        (Outcome::Locked(expected), Outcome::Locked(seen)) => within(*expected, *seen, passed),
        _ => expected == seen,
    }
}

fn within(expected: u64, seen: u64, passed: u64) -> bool {
    seen <= expected && expected - seen <= passed
}

fn agree(person: Option<&Person>, seen: Option<&EnrollmentSummary>, now: u64, passed: u64) -> bool {
    let (person, seen) = match (person, seen) {
        (None, None) => return true,
        (Some(person), Some(seen)) => (person, seen),
        _ => return false,
    };
    let disabled = person.throttling.disabled.is_some();
    let lock = match (person.throttling.locked_for(now).filter(|_| !disabled), seen.locked_for) {
        (Some(expected), Some(seen)) => within(expected, seen, passed),
        (expected, seen) => expected.is_none() && seen.is_none(),
    };
    lock && person.throttling.failures == seen.failures as usize
        && disabled == seen.disabled
        && person.recovery_codes_left() == seen.recovery_codes_left as usize
        && person.scratch_codes_left(now) == seen.scratch_codes_left as usize
        && models(person) == seen.authenticators.iter().map(model).collect()
}

fn models(person: &Person) -> BTreeSet<Model> {
    person.authenticators.iter().map(|(model, _)| *model).collect()
}

fn model(seen: &dbus_api::Authenticator) -> Model {
    match (seen.period, seen.digits) {
        (30, _) => Model(0),
        (0, 6) => Model(1),
        (60, _) => Model(2),
        _ => Model(3),
    }
}
