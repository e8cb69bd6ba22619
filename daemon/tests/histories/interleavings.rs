//! Two logins and the end of a daemon, in every order there is. Each state is reached by really doing what leads to it:
//! the daemon's interfaces, its rules, its store and SQLite's log are the real ones; only when each step is taken is
//! chosen here. A state that was seen before is not followed again.
//!
//! The steps: a login begins; its reply arrives at the store's thread and waits; the thread decides about all that wait
//! and commits; an answer is heard; the daemon is killed, between any two steps or while it writes a commit, before and
//! within every page of it. Who heard nothing begins once more, as the module does. A login begins only while no reply
//! waits: what it reads is what was committed, before or after.

use std::collections::HashSet;
use std::path::Path;
use std::sync::mpsc;

use daemon::audit::{Kind, Outcome as Told};
use daemon::store::{StoreError, Urgency};
use dbus_api::{Action, Origin, Step};
use tokio::task::JoinHandle;
use verifier::Moving;

use crate::reference::{FIRST_COUNTER, Limits, Model, Outcome};
use crate::world::{BEGINNING, Disk, World, outcome};

const ALICE: &str = "daemon";
const SCRATCH_CODE: u32 = 12_345_678;
const WRONG: &str = "7654321";
/// A name with which nothing is decided.
const NOBODY: &str = "nobody-knows-me";
/// How often somebody begins who hears nothing.
const ATTEMPTS: usize = 2;

/// What the two of them type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pair {
    /// One code of a phone.
    OneStep,
    /// A code of a phone and the one after it.
    TwoSteps,
    RightAndWrong,
    BothWrong,
    /// One code of a fob.
    OneCounter,
    TwoCounters,
    OneRecoveryCode,
    OneScratchCode,
}

pub(crate) const PAIRS: [Pair; 8] = [
    Pair::OneStep,
    Pair::TwoSteps,
    Pair::RightAndWrong,
    Pair::BothWrong,
    Pair::OneCounter,
    Pair::TwoCounters,
    Pair::OneRecoveryCode,
    Pair::OneScratchCode,
];

/// One step; the number is whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Do {
    Begin(usize),
    Reply(usize),
    Commit,
    Hear(usize),
    /// With what is committed.
    Kill,
    /// While this commit is written: at which of the moments.
    KillInCommit(usize),
}

/// How far one login is.
enum Login {
    /// It has begun so often, and heard nothing.
    Away(usize),
    Asked(usize, u64),
    Waits(usize, JoinHandle<Result<Step, dbus_api::Error>>),
    /// Decided, and on its way.
    Answered(usize, Outcome),
    Heard(Outcome),
    /// It heard nothing, and does not try again.
    GaveUp,
}

/// What a search found out about one pair.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) runs: usize,
}

/// What every run begins with.
struct Beginning<'a> {
    clock: &'a Path,
    limits: Limits,
    key: Vec<u8>,
    disk: Disk,
    replies: [String; 2],
    fine: bool,
}

struct Run<'a> {
    world: World,
    replies: &'a [String; 2],
    logins: [Login; 2],
    /// Who waits for the store's thread, in order.
    queue: Vec<usize>,
    hold: Option<Hold>,
    /// The record as it was before they came.
    before: String,
    kills: usize,
    /// Whether a commit is cut at more moments.
    fine: bool,
    /// How many moments the commit that waits has at which it can be cut.
    cuts: usize,
    /// The grants that the daemon answered with, heard or not.
    granted: [usize; 2],
}

/// The store's thread, kept in a decision.
struct Hold {
    entered: mpsc::Receiver<()>,
    leave: mpsc::Sender<()>,
    decision: JoinHandle<Result<(), StoreError>>,
}

/// Searches all states of a pair, with so many kills at most; with more than one, commits are cut at more moments.
pub(crate) async fn search(clock: &Path, pair: Pair, kills: usize) -> Found {
    let beginning = Beginning::of(clock, pair, kills > 1).await;
    let mut seen = HashSet::new();
    let mut found = Found::default();
    let mut paths = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        found.runs += 1;
        let mut run = beginning.run().await;
        for step in &path {
            run.take(*step).await;
        }
        run.check(&path, pair);
        if seen.insert(run.state().await) {
            let next = run.choices(kills).await;
            if next.is_empty() {
                run.check_end(&path, pair).await;
            }
            paths.extend(next.into_iter().map(|step| [&path[..], &[step]].concat()));
        }
        run.end().await;
    }
    found.states = seen.len();
    found
}

impl<'a> Beginning<'a> {
    async fn of(clock: &'a Path, pair: Pair, fine: bool) -> Self {
        let limits = Limits { failures: 2, window: 300, locks: vec![30], disable_after: 50 };
        let world = World::begin(clock, &limits).await;
        let model = Model(match pair {
            Pair::OneCounter | Pair::TwoCounters => 1,
            _ => 0,
        });
        world.import(ALICE, model, &[SCRATCH_CODE], 400).await;
        // They end the scratch code.
        let codes = match pair {
            Pair::OneScratchCode => Vec::new(),
            _ => world.enrollment().new_recovery_codes(ALICE).await.unwrap(),
        };
        let now = model.period().map_or(FIRST_COUNTER, |period| BEGINNING / period);
        let (code, next) = (model.code(now), model.code(now + 1));
        let wrong = || WRONG.to_owned();
        let replies = match pair {
            Pair::OneStep | Pair::OneCounter => [code.clone(), code],
            Pair::TwoSteps | Pair::TwoCounters => [code, next],
            Pair::RightAndWrong => [code, wrong()],
            Pair::BothWrong => [wrong(), wrong()],
            Pair::OneScratchCode => [SCRATCH_CODE.to_string(), SCRATCH_CODE.to_string()],
            Pair::OneRecoveryCode => [codes[0].clone(), codes[0].replace('-', "").to_lowercase()],
        };
        let (key, disk) = (world.key(), world.disk());
        world.end().await;
        Self { clock, limits, key, disk, replies, fine }
    }

    async fn run(&self) -> Run<'_> {
        let world = World::go_on(self.clock, &self.limits, &self.key, &self.disk).await;
        Run {
            world,
            replies: &self.replies,
            logins: [Login::Away(0), Login::Away(0)],
            queue: Vec::new(),
            hold: None,
            before: String::new(),
            kills: 0,
            fine: self.fine,
            cuts: 0,
            granted: [0, 0],
        }
    }
}

impl Run<'_> {
    /// All that may happen next. Of two who type the same, the first one begins first.
    async fn choices(&mut self, kills: usize) -> Vec<Do> {
        let mut next = Vec::new();
        let alike = self.one_code() && matches!(self.logins[0], Login::Away(0));
        for (who, login) in self.logins.iter().enumerate() {
            match login {
                Login::Away(_) if who == 1 && alike => {}
                Login::Away(_) if self.queue.is_empty() => next.push(Do::Begin(who)),
                Login::Asked(..) => next.push(Do::Reply(who)),
                Login::Answered(..) => next.push(Do::Hear(who)),
                _ => {}
            }
        }
        let over = next.is_empty() && self.queue.is_empty();
        if !self.queue.is_empty() {
            next.push(Do::Commit);
        }
        if self.kills < kills && !over {
            next.push(Do::Kill);
            if !self.queue.is_empty() {
                self.count_cuts().await;
                next.extend((0..self.cuts).map(Do::KillInCommit));
            }
        }
        next
    }

    async fn take(&mut self, step: Do) {
        match step {
            Do::Begin(who) => self.begin(who).await,
            Do::Reply(who) => self.reply(who).await,
            Do::Commit => self.commit().await,
            Do::Hear(who) => self.hear(who),
            Do::Kill => {
                let disk = self.world.disk();
                self.kill(disk).await;
            }
            Do::KillInCommit(which) => {
                let (before, granted) = (self.world.disk(), self.granted);
                self.commit().await;
                let after = self.world.disk();
                // What that daemon answered, it answered after the moment at which it is killed.
                self.granted = granted;
                self.kill(before.cuts(&after, self.fine).remove(which)).await;
            }
        }
    }

    async fn begin(&mut self, who: usize) {
        let Login::Away(attempts) = self.logins[who] else { panic!("{who} has begun already") };
        let (id, step) = self.world.verifier().begin(ALICE, &Origin::default()).await.unwrap();
        self.logins[who] = match step.action() {
            Some(Action::AskHidden) => Login::Asked(attempts + 1, id),
            _ => Login::Answered(attempts + 1, outcome(&step)),
        };
    }

    /// The reply waits for the store's thread when this returns.
    async fn reply(&mut self, who: usize) {
        let Login::Asked(attempts, id) = self.logins[who] else { panic!("{who} was not asked") };
        if self.hold.is_none() {
            self.before = self.record().await;
            self.hold = Some(Hold::take(&self.world).await);
        }
        let (verifier, reply) = (self.world.verifier().clone(), self.replies[who].clone());
        let waits = tokio::spawn(async move { verifier.respond(id, &reply).await });
        self.queue.push(who);
        while self.world.service().deciding() < self.queue.len() {
            tokio::task::yield_now().await;
        }
        self.logins[who] = Login::Waits(attempts, waits);
    }

    /// Those that wait are decided about together. Between that and their commit nobody is answered.
    async fn commit(&mut self) {
        let behind = Hold::queue(&self.world).await;
        self.hold.take().unwrap().release().await;
        behind.has_entered();
        for _ in 0..3 {
            // Whatever was answered by now has arrived when this has.
            self.world.verifier().cancel(0).await.unwrap();
        }
        for login in &self.logins {
            let answered = matches!(login, Login::Waits(_, waits) if waits.is_finished());
            assert!(!answered, "a reply was answered before its decision was committed");
        }
        behind.release().await;
        for who in std::mem::take(&mut self.queue) {
            let Login::Waits(attempts, waits) = std::mem::replace(&mut self.logins[who], Login::GaveUp) else {
                panic!("{who} waits for nothing")
            };
            let outcome = outcome(&waits.await.unwrap().unwrap());
            self.granted[who] += usize::from(outcome == Outcome::Granted);
            self.logins[who] = Login::Answered(attempts, outcome);
        }
    }

    fn hear(&mut self, who: usize) {
        let Login::Answered(_, outcome) = &self.logins[who] else { panic!("{who} was not answered") };
        self.logins[who] = Login::Heard(outcome.clone());
    }

    async fn kill(&mut self, disk: Disk) {
        if let Some(hold) = self.hold.take() {
            hold.release().await;
        }
        for who in 0..2 {
            let login = std::mem::replace(&mut self.logins[who], Login::GaveUp);
            let attempts = match login {
                Login::Heard(outcome) => {
                    self.logins[who] = Login::Heard(outcome);
                    continue;
                }
                Login::Away(attempts) | Login::Asked(attempts, _) | Login::Answered(attempts, _) => attempts,
                Login::Waits(attempts, waits) => {
                    // The old daemon still answers it; the client is gone.
                    let _ = waits.await;
                    attempts
                }
                Login::GaveUp => ATTEMPTS,
            };
            if attempts < ATTEMPTS {
                self.logins[who] = Login::Away(attempts);
            }
        }
        self.queue.clear();
        self.kills += 1;
        self.world.crash(disk).await;
    }

    /// Commits, to count the pages; the run is over then.
    async fn count_cuts(&mut self) {
        let before = self.world.disk();
        self.commit().await;
        self.cuts = before.cuts(&self.world.disk(), self.fine).len();
    }

    /// What there is, without what is made anew in every run.
    async fn state(&self) -> String {
        let logins = self.logins.each_ref().map(|login| match login {
            Login::Away(attempts) => format!("away {attempts}"),
            Login::Asked(attempts, _) => format!("asked {attempts}"),
            Login::Waits(attempts, _) => format!("waits {attempts}"),
            Login::Answered(attempts, outcome) => format!("answered {attempts} {outcome:?}"),
            Login::Heard(outcome) => format!("heard {outcome:?}"),
            Login::GaveUp => "gave up".to_owned(),
        });
        let record = match self.queue.is_empty() {
            true => self.record().await,
            // While replies wait, nothing is committed.
            false => self.before.clone(),
        };
        format!("{logins:?} {:?} {} {:?} {record}", self.queue, self.kills, self.granted)
    }

    async fn record(&self) -> String {
        let record = self.world.store().read(ALICE).await.unwrap().unwrap();
        let account = record.account;
        let moving: Vec<Moving> = account.authenticators.iter().map(|one| one.moving).collect();
        let used: Vec<bool> = account.recovery_codes.iter().map(|code| code.used.is_some()).collect();
        let scratch: Vec<bool> = account.scratch_codes.iter().map(|code| code.used.is_some()).collect();
        let throttle = account.throttle;
        format!("{moving:?} {used:?} {scratch:?} {} {}", throttle.failures, throttle.locks)
    }

    /// Whether both type one code.
    fn one_code(&self) -> bool {
        let [first, second] = self.replies.each_ref().map(|reply| reply.replace('-', "").to_uppercase());
        first == second
    }

    /// In every state: no code was let in twice, and no wrong one at all.
    fn check(&self, path: &[Do], pair: Pair) {
        let [first, second] = self.granted;
        match self.one_code() {
            true => assert!(first + second <= 1, "{pair:?}: one code let in twice: {path:?}"),
            false => assert!(first <= 1 && second <= 1, "{pair:?}: one code let in twice: {path:?}"),
        }
        for (reply, granted) in self.replies.iter().zip(self.granted) {
            assert!(granted == 0 || reply != WRONG, "{pair:?}: a wrong code let in: {path:?}");
        }
    }

    /// At the end: what was heard is on the disk. Whoever was let in has spent the code, and each wrong code is charged;
    /// the audit tells of both, and is whole.
    async fn check_end(&self, path: &[Do], pair: Pair) {
        let heard = |wanted: &dyn Fn(usize, &Outcome) -> bool| {
            let is = |(who, login): &(usize, &Login)| matches!(login, Login::Heard(outcome) if wanted(*who, outcome));
            self.logins.iter().enumerate().filter(is).count()
        };
        let wrong = |who: usize| self.replies[who] == WRONG;
        let let_in = heard(&|_, outcome| *outcome == Outcome::Granted);
        let charged = heard(&|who, outcome| wrong(who) && *outcome == Outcome::Refused);
        let audit = self.world.audit().await;
        let told = |outcome: Told, reason: Option<&str>| {
            let is = |record: &&daemon::audit::AuditRecord| {
                let event = &record.event;
                event.kind == Kind::Verification
                    && event.outcome == outcome
                    && reason.is_none_or(|reason| event.reason.as_deref() == Some(reason))
            };
            audit.iter().filter(is).count()
        };
        assert!(told(Told::Granted, None) >= let_in, "{pair:?}: the audit does not know of a login: {path:?}");
        let known = told(Told::Refused, Some("wrong"));
        assert!(known >= charged, "{pair:?}: the audit does not know of a wrong code: {path:?}");
        if pair == Pair::BothWrong {
            let record = self.world.store().read(ALICE).await.unwrap().unwrap();
            let failures = record.account.throttle.failures as usize;
            assert!(failures == known && failures >= charged, "{pair:?}: {failures} failures after {known}: {path:?}");
        }
        if self.kills == 0 && pair != Pair::BothWrong {
            assert!(let_in > 0, "{pair:?}: a right code was refused: {path:?}");
        }
        self.world.admin().unlock(ALICE).await.unwrap();
        for (reply, login) in self.replies.iter().zip(&self.logins) {
            if matches!(login, Login::Heard(Outcome::Granted)) {
                let again = self.world.present(ALICE, reply).await;
                assert_eq!(again, Outcome::Refused, "{pair:?}: a code that let in is not spent: {path:?}");
            }
        }
    }

    async fn end(mut self) {
        if !self.queue.is_empty() {
            self.commit().await;
        }
        self.world.end().await;
    }
}

impl Hold {
    /// Keeps the store's thread in a decision, so that what comes now waits.
    async fn take(world: &World) -> Self {
        let hold = Self::queue(world).await;
        hold.has_entered();
        hold
    }

    /// The same as soon as the thread is there.
    async fn queue(world: &World) -> Self {
        let (enters, entered) = mpsc::channel();
        let (leave, may_leave) = mpsc::channel::<()>();
        let store = world.store().clone();
        let wait = move |_: &mut _| {
            enters.send(()).unwrap();
            may_leave.recv().unwrap();
        };
        let decision = tokio::spawn(async move { store.decide(NOBODY, Urgency::Login, wait).await });
        tokio::task::yield_now().await;
        Self { entered, leave, decision }
    }

    fn has_entered(&self) {
        self.entered.recv().unwrap();
    }

    async fn release(self) {
        self.leave.send(()).unwrap();
        self.decision.await.unwrap().unwrap();
    }
}
