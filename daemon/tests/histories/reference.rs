//! What shall become of a reply, written down from the rules as people are told them (README, RFC 4226, RFC 6238) and
//! not from the daemon's code: whole seconds, lists of all that happened, no tricks.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use hmac::{Hmac, KeyInit, Mac};

/// The limits of throttling; times in seconds.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) failures: usize,
    pub(crate) window: u64,
    pub(crate) locks: Vec<u64>,
    pub(crate) disable_after: usize,
}

/// An authenticator that can be imported: which one decides about everything that is fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Model(pub(crate) usize);

/// How many of them there are.
pub(crate) const MODELS: usize = 4;
/// The first counter of those that count.
pub(crate) const FIRST_COUNTER: u64 = 5;

impl Model {
    pub(crate) fn period(self) -> Option<u64> {
        [Some(30), None, Some(60), None][self.0]
    }

    pub(crate) fn digits(self) -> u32 {
        [6, 6, 8, 8][self.0]
    }

    pub(crate) fn algorithm(self) -> &'static str {
        ["SHA1", "SHA1", "SHA256", "SHA256"][self.0]
    }

    pub(crate) fn secret(self) -> Vec<u8> {
        (0..20).map(|byte| byte * 3 + self.0 as u8).collect()
    }

    /// The code of a step or counter (RFC 4226, section 5.3), remembered because it is asked for again and again.
    pub(crate) fn code(self, factor: u64) -> String {
        thread_local!(static MADE: RefCell<HashMap<(Model, u64), u32>> = RefCell::default());
        let value = MADE.with_borrow_mut(|made| *made.entry((self, factor)).or_insert_with(|| self.compute(factor)));
        format!("{value:0digits$}", digits = self.digits() as usize)
    }

    fn compute(self, factor: u64) -> u32 {
        let message = factor.to_be_bytes();
        let digest: Vec<u8> = match self.algorithm() {
            "SHA1" => {
                let mac = <Hmac<sha1::Sha1> as KeyInit>::new_from_slice(&self.secret()).unwrap();
                mac.chain_update(message).finalize().into_bytes().to_vec()
            }
            _ => {
                let mac = <Hmac<sha2::Sha256> as KeyInit>::new_from_slice(&self.secret()).unwrap();
                mac.chain_update(message).finalize().into_bytes().to_vec()
            }
        };
        let offset = usize::from(digest.last().unwrap() & 15);
        let truncated = u32::from_be_bytes(digest[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
        truncated % 10_u32.pow(self.digits())
    }
}

/// Why nothing is looked at until an administrator enables the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disabled {
    TooManyFailures,
    ByAdministrator,
}

/// Failures, locks, disabling of one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Throttling {
    /// Consecutive ones.
    pub(crate) failures: usize,
    /// When those were that count towards the first lock.
    recent: Vec<u64>,
    /// How many locks there were since the last success or unlock.
    locks: usize,
    /// When the last one began, and for how long.
    lock: Option<(u64, u64)>,
    pub(crate) disabled: Option<Disabled>,
}

impl Throttling {
    /// How many seconds the lock still lasts.
    pub(crate) fn locked_for(&self, now: u64) -> Option<u64> {
        let (since, lasts) = self.lock?;
        // A clock that stands before the lock's beginning makes it no longer than it is.
        lasts.checked_sub(now.saturating_sub(since)).filter(|left| *left > 0)
    }

    fn fail(&mut self, now: u64, limits: &Limits) {
        self.failures += 1;
        // What has left the window does not come back with the clock; what lies ahead of the clock was just now.
        self.recent.retain(|at| now <= at + limits.window);
        self.recent.iter_mut().for_each(|at| *at = now.min(*at));
        self.recent.push(now);
        if self.failures >= limits.disable_after {
            self.disabled = Some(Disabled::TooManyFailures);
        } else if self.locks > 0 || self.recent.len() >= limits.failures {
            let lasts = limits.locks[self.locks.min(limits.locks.len() - 1)];
            self.lock = Some((now, lasts));
            self.locks += 1;
        }
    }
}

/// How far an authenticator has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Steps {
        last: Option<u64>,
        drift: i64,
    },
    /// Beside the next counter: one that was far out, and when it was presented.
    Counters {
        next: u64,
        far: Option<(u64, u64)>,
    },
}

/// A single-use code of an imported authenticator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scratch {
    of: Model,
    pub(crate) code: u32,
    used: bool,
    ends: u64,
}

/// What is known of an account that has a record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Person {
    pub(crate) throttling: Throttling,
    pub(crate) authenticators: Vec<(Model, Progress)>,
    /// The valid set of recovery codes, and which of them were used.
    pub(crate) recovery_codes: Vec<(String, bool)>,
    pub(crate) scratch_codes: Vec<Scratch>,
    last_decision: Option<u64>,
}

/// What became of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Granted,
    /// Nobody learns whether it was wrong, spent, or no code.
    Refused,
    /// For so many seconds.
    Locked(u64),
    Disabled,
    /// The clock went backwards.
    NoClock,
}

/// A reply as it is understood.
enum Understood {
    Code(String),
    Recovery(String),
    Nothing,
}

/// All accounts, as they shall be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Truth {
    pub(crate) people: BTreeMap<&'static str, Person>,
    /// Names that have no record; a daemon that ends forgets them.
    strangers: BTreeMap<&'static str, Throttling>,
    /// Logins that were let in.
    pub(crate) granted: usize,
}

impl Truth {
    /// What becomes of a reply of somebody who logs in as `name`.
    pub(crate) fn reply(&mut self, name: &'static str, text: &str, now: u64, limits: &Limits) -> Outcome {
        let Some(person) = self.people.get_mut(name) else {
            let throttling = self.strangers.entry(name).or_default();
            if closed(throttling, now).is_none() && !matches!(understand(text), Understood::Nothing) {
                throttling.fail(now, limits);
            }
            return closed(throttling, now).unwrap_or(Outcome::Refused);
        };
        let outcome = person.reply(text, now, limits);
        self.granted += usize::from(outcome == Outcome::Granted);
        outcome
    }

    /// The daemon ended, however.
    pub(crate) fn restart(&mut self) {
        self.strangers.clear();
    }
}

impl Person {
    pub(crate) fn import(&mut self, model: Model, scratch_codes: &[u32], ends: u64) {
        if self.authenticators.iter().any(|(one, _)| *one == model) {
            return;
        }
        self.authenticators.push((
            model,
            match model.period() {
                Some(_) => Progress::Steps { last: None, drift: 0 },
                None => Progress::Counters { next: FIRST_COUNTER, far: None },
            },
        ));
        let scratch = scratch_codes.iter().map(|code| Scratch { of: model, code: *code, used: false, ends });
        self.scratch_codes.extend(scratch);
    }

    pub(crate) fn remove(&mut self, index: usize) {
        let (model, _) = self.authenticators.remove(index);
        self.scratch_codes.retain(|code| code.of != model);
    }

    pub(crate) fn unlock(&mut self) {
        let Throttling { failures, disabled, .. } = self.throttling;
        self.throttling = Throttling { failures, disabled, ..Throttling::default() };
    }

    pub(crate) fn disable(&mut self) {
        self.throttling.disabled = Some(Disabled::ByAdministrator);
    }

    pub(crate) fn enable(&mut self) {
        self.throttling = Throttling::default();
    }

    /// Scratch codes are recovery codes of another program: new ones end them, too.
    pub(crate) fn replace_recovery_codes(&mut self, codes: &[String]) {
        self.recovery_codes = codes.iter().map(|code| (code.clone(), false)).collect();
        self.scratch_codes.clear();
    }

    pub(crate) fn recovery_codes_left(&self) -> usize {
        self.recovery_codes.iter().filter(|(_, used)| !used).count()
    }

    pub(crate) fn scratch_codes_left(&self, now: u64) -> usize {
        let latest = self.latest(now);
        self.scratch_codes.iter().filter(|code| !code.used && latest < code.ends).count()
    }

    fn reply(&mut self, text: &str, now: u64, limits: &Limits) -> Outcome {
        if let Some(closed) = closed(&self.throttling, now) {
            return closed;
        }
        let (outcome, charged) = match understand(text) {
            Understood::Nothing => (Outcome::Refused, false),
            Understood::Recovery(code) => self.recovery_code(&code),
            Understood::Code(code) => self.code(&code, now),
        };
        if outcome == Outcome::Granted {
            self.throttling = Throttling::default();
            self.last_decision = Some(now);
        }
        if charged {
            self.throttling.fail(now, limits);
            self.last_decision = Some(self.latest(now));
            return closed(&self.throttling, now).unwrap_or(outcome);
        }
        outcome
    }

    /// Beside the outcome: whether it is charged.
    fn recovery_code(&mut self, presented: &str) -> (Outcome, bool) {
        self.forget_far_counters();
        match self.recovery_codes.iter_mut().find(|(code, _)| code == presented) {
            Some((_, used @ false)) => {
                *used = true;
                (Outcome::Granted, false)
            }
            Some(_) => (Outcome::Refused, false),
            None => (Outcome::Refused, true),
        }
    }

    fn code(&mut self, presented: &str, now: u64) -> (Outcome, bool) {
        let behind = self.last_decision.is_some_and(|last| last > now + 120);
        let lock = self.throttling.lock;
        let looks: Vec<Look> = self.authenticators.iter().map(|one| look(one, presented, now, lock)).collect();
        self.forget_far_counters();
        let by_time = |index: usize| self.authenticators[index].0.period().is_some();
        let fresh = |(index, look): (usize, &Look)| match look {
            Look::Fresh(progress) if !(behind && by_time(index)) => Some((index, progress.clone())),
            _ => None,
        };
        if let Some((index, progress)) = looks.iter().enumerate().find_map(fresh) {
            self.authenticators[index].1 = progress;
            return (Outcome::Granted, false);
        }
        let latest = self.latest(now);
        let same = |code: &&mut Scratch| presented.len() == 8 && format!("{:08}", code.code) == presented;
        let scratch = self.scratch_codes.iter_mut().find(same);
        let scratch_is_used = scratch.as_ref().is_some_and(|code| code.used);
        if let Some(code) = scratch.filter(|code| !code.used && latest < code.ends) {
            code.used = true;
            return (Outcome::Granted, false);
        }
        let known = |look: &Look| matches!(look, Look::Fresh(_) | Look::Spent);
        if behind
            && looks.iter().zip(&self.authenticators).any(|(look, (model, _))| known(look) && model.period().is_some())
        {
            return (Outcome::NoClock, false);
        }
        if scratch_is_used || looks.contains(&Look::Spent) {
            return (Outcome::Refused, false);
        }
        for ((_, progress), look) in self.authenticators.iter_mut().zip(looks) {
            if let (Progress::Counters { far, .. }, Look::Far(counter)) = (progress, look) {
                *far = Some((counter, now));
            }
        }
        (Outcome::Refused, true)
    }

    /// Only the code presented directly after one that was far out counts as the second of a pair.
    fn forget_far_counters(&mut self) {
        for (_, progress) in &mut self.authenticators {
            if let Progress::Counters { far, .. } = progress {
                *far = None;
            }
        }
    }

    /// The latest moment that is known to be over.
    fn latest(&self, now: u64) -> u64 {
        self.last_decision.map_or(now, |last| last.max(now))
    }
}

/// What a code is to an authenticator.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Look {
    Fresh(Progress),
    Spent,
    Far(u64),
    Nothing,
}

fn look(authenticator: &(Model, Progress), presented: &str, now: u64, lock: Option<(u64, u64)>) -> Look {
    let (model, progress) = authenticator;
    let is_it = |factor: &u64| model.code(*factor) == presented;
    match progress {
        Progress::Steps { last, drift } => {
            let centre = (now / model.period().unwrap()).saturating_add_signed(*drift);
            let hits: Vec<u64> = (centre - 1..=centre + 1).filter(is_it).collect();
            let Some(step) = hits.iter().copied().filter(|step| last.is_none_or(|last| *step > last)).max() else {
                return if hits.is_empty() { Look::Nothing } else { Look::Spent };
            };
            let moved = drift + (step as i64 - centre as i64).signum();
            Look::Fresh(Progress::Steps { last: Some(step), drift: moved.clamp(-2, 2) })
        }
        Progress::Counters { next, far } => {
            // The lock that the first of the pair set does not eat up its five minutes.
            let waited = |since: u64| lock.filter(|(begin, _)| *begin == since).map_or(0, |(_, lasts)| lasts);
            let pair = far.filter(|(_, since)| *since <= now && now - since <= 300 + waited(*since));
            let second = pair.map(|(first, _)| first + 1).filter(is_it);
            if let Some(counter) = second.or_else(|| (*next..=next + 10).filter(is_it).max()) {
                return Look::Fresh(Progress::Counters { next: counter + 1, far: None });
            }
            if is_it(&(next - 1)) {
                return Look::Spent;
            }
            (next + 11..=next + 100).find(is_it).map_or(Look::Nothing, Look::Far)
        }
    }
}

fn closed(throttling: &Throttling, now: u64) -> Option<Outcome> {
    if throttling.disabled.is_some() {
        return Some(Outcome::Disabled);
    }
    throttling.locked_for(now).map(Outcome::Locked)
}

/// Spaces and hyphens are nothing; 6 to 8 digits or 25 characters of Crockford's alphabet are a code.
fn understand(text: &str) -> Understood {
    let text: String = text.trim().chars().filter(|c| *c != ' ' && *c != '-').collect();
    if (6..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Understood::Code(text);
    }
    let kind = |c: char| match c.to_ascii_uppercase() {
        'O' => '0',
        'I' | 'L' => '1',
        other => other,
    };
    let text: String = text.chars().map(kind).collect();
    let is_crockford = |c: char| c.is_ascii_digit() || (c.is_ascii_uppercase() && !"ILOU".contains(c));
    if text.chars().count() == 25 && text.chars().all(is_crockford) {
        return Understood::Recovery(text);
    }
    Understood::Nothing
}
