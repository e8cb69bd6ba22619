//! Decisions against their slow model: every answer is worked out from all replies there ever were.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use verifier::otp::code;
use verifier::{
    Account, Algorithm, Authenticator, AuthenticatorId, Counter, Decision, Digits, Factor, Kind, Moving, Now,
    Parameters, Period, Phantoms, Reason, RecoveryCode, RecoveryKey, Reply, Rules, Secret, Standing,
    StoredRecoveryCode, Verdict, WallTime,
};

use crate::clocks::{Clocks, Tick, ticks};
use crate::failures::{Event, History};
use crate::throttling::limits;

/// What somebody presents.
#[derive(Clone, Copy, Debug)]
enum Presented {
    /// The code of an authenticator, so many steps from where its clock stands or counters from its next one.
    Code {
        authenticator: usize,
        away: i64,
    },
    /// Two codes of an HOTP authenticator, one directly after the other.
    Pair {
        authenticator: usize,
        away: i64,
    },
    Recovery(usize),
    Again,
    Wrong,
    Malformed,
    Filler,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Tick(Tick),
    Present(Presented),
    Unlock,
    Enable,
    Disable,
}

fn presented() -> impl Strategy<Value = Presented> {
    // Authenticators beyond those that there are make codes of nobody's; most often there are one or two.
    let at_one = |away| (0..3_usize, away);
    let far = || prop_oneof![9..13_i64, 9..103_i64, 98..103_i64];
    prop_oneof![
        8 => at_one((-3..4_i64).boxed()).prop_map(|(authenticator, away)| Presented::Code { authenticator, away }),
        2 => at_one(far().boxed()).prop_map(|(authenticator, away)| Presented::Code { authenticator, away }),
        2 => at_one(far().boxed()).prop_map(|(authenticator, away)| Presented::Pair { authenticator, away }),
        2 => (0..4_usize).prop_map(Presented::Recovery),
        3 => Just(Presented::Again),
        3 => Just(Presented::Wrong),
        1 => Just(Presented::Malformed),
        1 => Just(Presented::Filler),
    ]
}

fn actions() -> impl Strategy<Value = Action> {
    prop_oneof![
        10 => ticks().prop_map(Action::Tick),
        20 => presented().prop_map(Action::Present),
        1 => Just(Action::Unlock),
        1 => Just(Action::Enable),
        1 => (0..10_u8).prop_map(|dice| if dice == 0 { Action::Disable } else { Action::Unlock }),
    ]
}

fn authenticators() -> impl Strategy<Value = Vec<Authenticator>> {
    let kind = prop_oneof![(15..=120_u32).prop_map(Some), Just(None)];
    let algorithm = prop_oneof![Just(Algorithm::Sha1), Just(Algorithm::Sha256), Just(Algorithm::Sha512)];
    let one = (kind, algorithm, 6..=8_u32, prop::bool::weighted(0.85), any::<[u8; 20]>());
    prop::collection::vec(one, 0..3)
        .prop_map(|all| (1..).zip(all).map(|(id, fields)| authenticator(id, fields)).collect())
}

fn authenticator(id: u32, fields: (Option<u32>, Algorithm, u32, bool, [u8; 20])) -> Authenticator {
    let (period, algorithm, digits, active, secret) = fields;
    let kind = period.map_or(Kind::Hotp, |seconds| Kind::Totp(Period::new(seconds).unwrap()));
    Authenticator {
        id: AuthenticatorId(id),
        label: String::new(),
        active,
        parameters: Parameters { kind, algorithm, digits: Digits::new(digits).unwrap() },
        secret: Secret::new(secret.to_vec()).unwrap(),
        moving: kind.begin(Counter(5)),
        created: WallTime(0),
        last_used: None,
        expires: None,
        suspended: false,
    }
}

fn recovery_codes() -> Vec<RecoveryCode> {
    (0..3).map(|number| RecoveryCode::from_random(&[number; 25])).collect()
}

/// A reply that was looked at, and all that came of it.
#[derive(Clone, Debug)]
struct Looked {
    reply: Reply,
    now: Now,
    verdict: Verdict,
    /// The step or counter that was spent.
    spent: Option<u64>,
    /// The lock that the charge set.
    lock: Duration,
}

/// The model: what there was at the beginning, and everything since.
struct Model {
    authenticators: Vec<Authenticator>,
    recovery_codes: Vec<RecoveryCode>,
    looked: Vec<Looked>,
    throttling: History,
}

impl Model {
    fn standing(&self, now: &Now) -> Standing {
        if self.throttling.disabled().is_some() {
            return Standing::Disabled;
        }
        self.throttling.locked_for(now).map_or(Standing::Open, Standing::Locked)
    }

    fn decide(&mut self, reply: &Reply, now: &Now) -> Decision {
        let before = self.throttling.clone();
        let refused = |reason| (Verdict::Refused(reason), None);
        let (verdict, spent) = match self.standing(now) {
            Standing::Disabled => refused(Reason::Disabled),
            Standing::Locked(_) => refused(Reason::Locked),
            Standing::Open => match reply {
                Reply::BlockedBySshd => refused(Reason::BlockedBySshd),
                Reply::Malformed => refused(Reason::Malformed),
                _ => self.look(reply, now),
            },
        };
        match verdict {
            Verdict::Granted(_) => self.throttling.events.push(Event::Success),
            Verdict::Refused(Reason::Wrong | Reason::NotEnrolled) => self.throttling.events.push(Event::Failure(*now)),
            Verdict::Refused(_) => {}
        }
        let lock_set = self.throttling.lock().is_some() && self.throttling.lock() != before.lock();
        let was_open = before.disabled().is_none() && before.locked_for(now).is_none();
        if was_open && matches!(reply, Reply::Code(_) | Reply::RecoveryCode(_)) {
            let lock = if lock_set { self.throttling.lock().unwrap().1 } else { Duration::ZERO };
            self.looked.push(Looked { reply: reply.clone(), now: *now, verdict, spent, lock });
        }
        let granted = matches!(verdict, Verdict::Granted(_));
        Decision {
            verdict,
            lock_set,
            disabled_now: before.disabled().is_none() && self.throttling.disabled().is_some(),
            standing: self.standing(now),
            failures: u32::try_from(if granted { before.failures() } else { self.throttling.failures() }).unwrap(),
            delay: None,
        }
    }

    fn look(&self, reply: &Reply, now: &Now) -> (Verdict, Option<u64>) {
        if let Reply::RecoveryCode(presented) = reply {
            return (self.look_at_recovery_code(presented), None);
        }
        let behind = self.clock_is_behind(now);
        let active = || (0..self.authenticators.len()).filter(|index| self.authenticators[*index].active);
        let accepts = |index: &usize| self.acceptable(*index, reply, now).filter(|_| !(behind && self.is_totp(*index)));
        if let Some((index, factor)) = active().find_map(|index| accepts(&index).map(|factor| (index, factor))) {
            return (Verdict::Granted(Factor::Authenticator(self.authenticators[index].id)), Some(factor));
        }
        let matches_in_vain =
            |index: usize| self.acceptable(index, reply, now).is_some() || self.is_spent(index, reply, now);
        if behind && active().any(|index| self.is_totp(index) && matches_in_vain(index)) {
            return (Verdict::Refused(Reason::ClockBackwards), None);
        }
        if active().any(|index| self.is_spent(index, reply, now)) {
            return (Verdict::Refused(Reason::Reused), None);
        }
        (self.no_match(), None)
    }

    fn look_at_recovery_code(&self, presented: &RecoveryCode) -> Verdict {
        if !self.recovery_codes.contains(presented) {
            return self.no_match();
        }
        let uses = self.looked.iter().filter(|looked| by_recovery_code(looked.verdict));
        if uses.clone().any(|looked| looked.reply == Reply::RecoveryCode(presented.clone())) {
            return Verdict::Refused(Reason::Reused);
        }
        let left = u32::try_from(self.recovery_codes.len() - uses.count() - 1).unwrap();
        Verdict::Granted(Factor::RecoveryCode { left })
    }

    fn no_match(&self) -> Verdict {
        let used = self.looked.iter().filter(|looked| by_recovery_code(looked.verdict)).count();
        let enrolled = used < self.recovery_codes.len() || self.authenticators.iter().any(|one| one.active);
        Verdict::Refused(if enrolled { Reason::Wrong } else { Reason::NotEnrolled })
    }

    fn is_totp(&self, index: usize) -> bool {
        self.authenticators[index].parameters.kind != Kind::Hotp
    }

    /// Believed is the latest charge since the last grant, or that grant.
    fn clock_is_behind(&self, now: &Now) -> bool {
        let granted = |looked: &&Looked| matches!(looked.verdict, Verdict::Granted(_));
        let begin = self.looked.iter().rposition(|looked| granted(&looked)).unwrap_or(0);
        let decided = self.looked[begin..].iter().filter(|looked| granted(looked) || is_charged(looked.verdict));
        decided.map(|looked| looked.now.wall.0).max().is_some_and(|latest| latest > now.wall.0 + 120_000)
    }

    /// The grants by one authenticator.
    fn grants(&self, index: usize) -> impl Iterator<Item = &Looked> {
        let verdict = Verdict::Granted(Factor::Authenticator(self.authenticators[index].id));
        self.looked.iter().filter(move |looked| looked.verdict == verdict)
    }

    fn period(&self, index: usize) -> i64 {
        let Kind::Totp(period) = self.authenticators[index].parameters.kind else { panic!("it is HOTP") };
        i64::from(period.seconds())
    }

    fn expected_step(&self, index: usize, now: &Now) -> i64 {
        let mut drift = 0;
        for grant in self.grants(index) {
            let own = i64::try_from(grant.now.wall.seconds()).unwrap() / self.period(index);
            drift = (i64::try_from(grant.spent.unwrap()).unwrap() - own).clamp(drift - 1, drift + 1).clamp(-2, 2);
        }
        i64::try_from(now.wall.seconds()).unwrap() / self.period(index) + drift
    }

    fn next_counter(&self, index: usize) -> u64 {
        self.grants(index).map(|grant| grant.spent.unwrap() + 1).last().unwrap_or(5)
    }

    /// The factors of a range of which the reply is the code.
    fn matching(&self, index: usize, reply: &Reply, range: std::ops::RangeInclusive<i64>) -> Vec<u64> {
        let Reply::Code(presented) = reply else { return Vec::new() };
        let authenticator = &self.authenticators[index];
        let is_it =
            |factor: &u64| code(&authenticator.secret, authenticator.parameters, *factor).text() == presented.text();
        range.filter_map(|factor| u64::try_from(factor).ok()).filter(is_it).collect()
    }

    /// The step or counter that the reply spends, where it may.
    fn acceptable(&self, index: usize, reply: &Reply, now: &Now) -> Option<u64> {
        if self.is_totp(index) {
            let expected = self.expected_step(index, now);
            let greatest = self.grants(index).map(|grant| grant.spent.unwrap()).max();
            let fits = self.matching(index, reply, expected - 1..=expected + 1);
            return fits.into_iter().filter(|step| greatest.is_none_or(|greatest| *step > greatest)).max();
        }
        let next = i64::try_from(self.next_counter(index)).unwrap();
        let following = self
            .following(index, now)
            .filter(|following| self.matching(index, reply, *following..=*following).len() == 1);
        let near = self.matching(index, reply, next..=next + 10).into_iter().max();
        following.map(|following| u64::try_from(following).unwrap()).or(near)
    }

    /// The counter that completes a pair, where the reply before was its first half, lately.
    fn following(&self, index: usize, now: &Now) -> Option<i64> {
        let before = self.looked.last().filter(|looked| is_charged(looked.verdict))?;
        let age = now.wall.0.checked_sub(before.now.wall.0)?;
        if u128::from(age) > 300_000 + before.lock.as_millis() {
            return None;
        }
        let next = i64::try_from(self.next_counter(index)).unwrap();
        let far = self.matching(index, &before.reply, next + 11..=next + 100).into_iter().min()?;
        Some(i64::try_from(far).unwrap() + 1)
    }

    fn is_spent(&self, index: usize, reply: &Reply, now: &Now) -> bool {
        if self.acceptable(index, reply, now).is_some() {
            return false;
        }
        if self.is_totp(index) {
            let expected = self.expected_step(index, now);
            return !self.matching(index, reply, expected - 1..=expected + 1).is_empty();
        }
        let last = i64::try_from(self.next_counter(index)).unwrap() - 1;
        !self.matching(index, reply, last..=last).is_empty()
    }
}

fn by_recovery_code(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Granted(Factor::RecoveryCode { .. }))
}

fn is_charged(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Refused(Reason::Wrong | Reason::NotEnrolled))
}

/// An account, its model and the clocks, played together.
struct Play {
    account: Account,
    model: Model,
    rules: Rules,
    clocks: Clocks,
    last: Reply,
    /// Each spent step, counter and recovery code, by authenticator.
    spent: HashSet<(u32, u64)>,
}

impl Play {
    fn begin(authenticators: Vec<Authenticator>, with_recovery_codes: bool, rules: Rules) -> Self {
        let recovery_codes = if with_recovery_codes { recovery_codes() } else { Vec::new() };
        let store = |code: &RecoveryCode| StoredRecoveryCode { digest: code.digest(&rules.recovery_key), used: None };
        let account = Account {
            authenticators: authenticators.clone(),
            recovery_codes: recovery_codes.iter().map(store).collect(),
            ..Account::default()
        };
        let throttling = History { events: Vec::new(), limits: rules.limits.clone() };
        let model = Model { authenticators, recovery_codes, looked: Vec::new(), throttling };
        Self { account, model, rules, clocks: Clocks::new(), last: Reply::Malformed, spent: HashSet::new() }
    }

    fn act(&mut self, action: Action) -> Result<(), TestCaseError> {
        let event = match action {
            Action::Tick(tick) => {
                self.clocks.tick(tick);
                return Ok(());
            }
            Action::Present(Presented::Pair { authenticator, away }) => {
                let first = self.reply(Presented::Code { authenticator, away });
                let second = self.reply(Presented::Code { authenticator, away: away + 1 });
                self.present(&first)?;
                return self.present(&second);
            }
            Action::Present(presented) => return self.present(&self.reply(presented)),
            Action::Unlock => Event::Unlock,
            Action::Enable => Event::Enable,
            Action::Disable => Event::Disable,
        };
        match event {
            Event::Unlock => self.account.throttle.unlock(),
            Event::Enable => self.account.throttle.enable(),
            _ => self.account.throttle.disable(),
        }
        self.model.throttling.events.push(event);
        Ok(())
    }

    fn reply(&self, presented: Presented) -> Reply {
        match presented {
            Presented::Code { authenticator, away } | Presented::Pair { authenticator, away } => {
                let Some(one) = self.account.authenticators.get(authenticator) else { return Reply::parse("000000") };
                let begin = match (one.parameters.kind, one.moving) {
                    (Kind::Totp(period), Moving::Totp(totp)) => {
                        let step = self.clocks.now().wall.seconds() / u64::from(period.seconds());
                        step.saturating_add_signed(totp.drift.unwrap_or_default().into())
                    }
                    (Kind::Hotp, Moving::Hotp(hotp)) => hotp.next.0,
                    _ => panic!("it has the state of another kind"),
                };
                Reply::parse(&code(&one.secret, one.parameters, begin.saturating_add_signed(away)).text())
            }
            Presented::Recovery(index) => Reply::RecoveryCode(RecoveryCode::from_random(&[index as u8; 25])),
            Presented::Again => self.last.clone(),
            Presented::Wrong => Reply::parse("7654321"),
            Presented::Malformed => Reply::parse("password"),
            Presented::Filler => Reply::parse("\u{8}\n\r\u{7f}IN"),
        }
    }

    fn present(&mut self, reply: &Reply) -> Result<(), TestCaseError> {
        let now = self.clocks.now();
        let before = self.account.clone();
        let decision = self.account.decide(reply, &now, &self.rules);
        prop_assert_eq!(&decision, &self.model.decide(reply, &now), "{:?} at {:?}", reply, now);
        if let Verdict::Granted(factor) = decision.verdict {
            prop_assert!(self.spent.insert(self.spending(&before, factor)), "accepted twice");
        }
        if matches!(decision.verdict, Verdict::Refused(Reason::Locked | Reason::Disabled | Reason::ClockBackwards)) {
            prop_assert_eq!(essence(&self.account), essence(&before));
        }
        prop_assert_eq!(self.account.recovery_codes_left() as usize, self.recovery_codes_left());
        self.last = reply.clone();
        Ok(())
    }

    /// The factor that a grant spent, as the account's state shows it.
    fn spending(&self, before: &Account, factor: Factor) -> (u32, u64) {
        let Factor::Authenticator(id) = factor else {
            let codes = self.account.recovery_codes.iter().zip(&before.recovery_codes);
            return (0, codes.take_while(|(now, before)| now.used == before.used).count() as u64);
        };
        let one = self.account.authenticators.iter().find(|one| one.id == id).unwrap();
        match one.moving {
            Moving::Totp(totp) => (id.0, totp.last.unwrap().0),
            Moving::Hotp(hotp) => (id.0, hotp.next.0 - 1),
        }
    }

    fn recovery_codes_left(&self) -> usize {
        self.model.recovery_codes.len() - self.spent.iter().filter(|(id, _)| *id == 0).count()
    }
}

/// An account's state without the far counters, which whatever is looked at forgets.
fn essence(account: &Account) -> String {
    let mut account = account.clone();
    for one in &mut account.authenticators {
        if let Moving::Hotp(hotp) = &mut one.moving {
            hotp.far = None;
        }
    }
    format!("{account:?}")
}

fn rules(limits: verifier::Limits) -> Rules {
    Rules { limits, recovery_key: RecoveryKey([5; 32]) }
}

proptest! {
    #![proptest_config(crate::cases(512, 4226))]

    #[test]
    fn decisions_are_those_of_the_model_and_nothing_is_accepted_twice(
        limits in limits(),
        authenticators in authenticators(),
        with_recovery_codes in any::<bool>(),
        actions in prop::collection::vec(actions(), 1..40),
    ) {
        let mut play = Play::begin(authenticators, with_recovery_codes, rules(limits));
        for action in actions {
            play.act(action)?;
        }
    }

    #[test]
    fn a_phantom_and_an_account_with_nothing_enrolled_are_decided_about_alike(
        limits in limits(),
        actions in prop::collection::vec(actions(), 1..60),
    ) {
        let mut play = Play::begin(Vec::new(), false, rules(limits));
        let mut phantoms = Phantoms::new([1; 32], 16);
        for action in actions {
            let Action::Present(presented) = action else {
                if let Action::Tick(tick) = action {
                    play.clocks.tick(tick);
                }
                continue;
            };
            let (reply, now) = (play.reply(presented), play.clocks.now());
            prop_assert_eq!(phantoms.standing("nobody", &now), play.account.standing(&now));
            let decision = play.account.decide(&reply, &now, &play.rules);
            prop_assert_eq!(phantoms.decide("nobody", &reply, &now, &play.rules), decision);
        }
    }
}
