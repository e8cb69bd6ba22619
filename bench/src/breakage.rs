//! What becomes of codes when logins race, processes are killed and the power fails: how often a code lets in twice, right
//! codes are refused, failures are forgotten, and whether anybody still gets in afterwards.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};
use scenarios::{Host, HostBuilder, PAM_SUCCESS};
use serde::Serialize;

use crate::{
    contestant::{self, Contestant},
    load::{self, Run, Workers},
    population::{Account, Codes, Kind, Ledger, Login},
};

/// Processes that present one code at one instant.
const RIVALS: u32 = 32;
/// Accounts that log in at one instant, each with its own right code.
const TOGETHER: u32 = 32;

/// Those that keep state. pam_faillock checks no code: with it only failures are counted, and logins killed.
pub const PLAYERS: [Contestant; 4] =
    [Contestant::Countersign, Contestant::GoogleAuthenticator, Contestant::Oath, Contestant::Faillock];

/// What one contestant came to.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Breakage {
    /// Rounds of every experiment.
    pub rounds: u32,
    /// Rounds in which one code let in more than once, of two processes.
    pub twice_of_two: u32,
    /// The same of 32 processes.
    pub twice_of_many: u32,
    /// The most logins that one code let in.
    pub most_by_one_code: usize,
    /// Right codes of different accounts at one instant that were refused, in all rounds.
    pub right_refused: usize,
    /// How many right codes that was out of.
    pub right_presented: usize,
    /// Wrong codes of one account at one instant that were not counted, in all rounds; none where none are counted at all.
    pub failures_lost: Option<usize>,
    /// How many wrong codes that was out of.
    pub failures_made: usize,
    /// Rounds after which nobody else got in, because a login was killed.
    pub locked_out_by_kill: u32,
    /// Rounds in which a code that had let in let in again after a power cut.
    pub replayed_after_power_cut: u32,
    /// Rounds in which nobody got in after a power cut, not even with a code that was never used.
    pub locked_out_by_power_cut: u32,
    /// Rounds in which a wrong code that was answered is not counted after a power cut; none where none are counted.
    pub forgotten_by_power_cut: Option<u32>,
    /// Rounds with a power cut.
    pub power_cuts: u32,
}

/// The accounts of an experiment, taken one after the other, so that no round knows of another.
struct Fresh<'a> {
    host: &'a Host,
    next: u32,
}

/// Plays races and kills on a host with enough accounts.
///
/// # Errors
/// The host does not work.
pub fn play(host: &Host, first: u32, rounds: u32) -> Result<BTreeMap<Contestant, Breakage>> {
    let mut found = BTreeMap::new();
    for contestant in PLAYERS {
        let mut fresh = Fresh { host, next: first };
        let mut breakage = Breakage { rounds, ..Breakage::default() };
        for _ in 0..rounds {
            let races = [(2, &mut breakage.twice_of_two), (RIVALS, &mut breakage.twice_of_many)];
            for (rivals, twice) in races.into_iter().filter(|_| contestant.checks_codes()) {
                let granted = fresh.one_code(contestant, rivals)?;
                *twice += u32::from(granted > 1);
                breakage.most_by_one_code = breakage.most_by_one_code.max(granted);
            }
            breakage.right_refused += fresh.right_codes(contestant)?;
            breakage.right_presented += TOGETHER as usize;
            if let Some(counted) = fresh.wrong_codes(contestant)? {
                let lost = (RIVALS as usize).saturating_sub(counted);
                *breakage.failures_lost.get_or_insert(0) += lost;
                breakage.failures_made += RIVALS as usize;
            }
        }
        let whole = fresh.one_login(contestant)?;
        for round in 0..rounds {
            // All over a login, from its beginning to its end.
            let after = whole * (2 * round + 1) / (2 * rounds);
            breakage.locked_out_by_kill += u32::from(fresh.killed(contestant, after)?);
        }
        found.insert(contestant, breakage);
    }
    Ok(found)
}

impl Fresh<'_> {
    /// The next accounts with this kind of authenticator.
    fn take(&mut self, kind: Kind, count: u32) -> Vec<Account> {
        let accounts: Vec<Account> =
            (self.next..).map(Account).filter(|account| account.kind() == kind).take(count as usize).collect();
        self.next = accounts.last().map_or(self.next, |last| last.0 + 1);
        accounts
    }

    /// How many of so many processes one code lets in.
    fn one_code(&mut self, contestant: Contestant, rivals: u32) -> Result<usize> {
        let mut ledger = Ledger::of(self.take(Kind::Totp, 1));
        let login = ledger.logins(Codes::Right, 1, 1)?.pop().context("a login")?;
        let logins: Vec<Login> = (0..rivals).map(|worker| Login { worker, ..login.clone() }).collect();
        self.granted(contestant, &logins)
    }

    /// How many right codes of different accounts are refused.
    fn right_codes(&mut self, contestant: Contestant) -> Result<usize> {
        let mut ledger = Ledger::of(self.take(Kind::Totp, TOGETHER));
        let logins = ledger.logins(Codes::Right, TOGETHER, TOGETHER as usize)?;
        Ok(logins.len() - self.granted(contestant, &logins)?)
    }

    /// How many of the wrong codes of one account are counted; `None` where the module counts none.
    fn wrong_codes(&mut self, contestant: Contestant) -> Result<Option<usize>> {
        let accounts = self.take(Kind::Totp, 1);
        let account = accounts.first().copied().context("an account")?;
        let login = Ledger::of(accounts).logins(Codes::Wrong, 1, 1)?.pop().context("a login")?;
        let logins: Vec<Login> = (0..RIVALS).map(|worker| Login { worker, ..login.clone() }).collect();
        self.run(contestant, Codes::Wrong, &logins)?;
        contestant::failures(contestant, self.host, account, false)
    }

    /// How long a login takes.
    fn one_login(&mut self, contestant: Contestant) -> Result<Duration> {
        let logins = Ledger::of(self.take(Kind::Totp, 1)).logins(Codes::Right, 1, 1)?;
        let run = self.run(contestant, Codes::Right, &logins)?;
        Ok(Duration::from_secs_f64(run.figures.max / 1e6))
    }

    /// Whether a login that is killed so long after its beginning keeps everybody else out.
    fn killed(&mut self, contestant: Contestant, after: Duration) -> Result<bool> {
        let accounts = self.take(Kind::Totp, 2);
        let mut ledger = Ledger::of(accounts);
        let mut logins = ledger.logins(Codes::Right, 1, 2)?;
        let (Some(other), Some(victim)) = (logins.pop(), logins.pop()) else { return Ok(false) };
        let line = format!("0 {} {}\n", victim.account.name(), victim.code);
        let kill = format!("kill={}", after.as_micros());
        let service = contestant.service(Codes::Right);
        let arguments = ["/usr/lib/scratch/pam_load", service, "1", &kill];
        self.host.feed_as("root", &arguments, line.as_bytes())?.success()?;
        let locked_out = self.granted(contestant, &[other])? == 0;
        if contestant == Contestant::Oath {
            // What an administrator would have to do before anybody gets in again.
            self.host.run(&["rm", "-f", "/srv/oath/users.oath.lock"])?;
        }
        Ok(locked_out)
    }

    fn run(&self, contestant: Contestant, codes: Codes, logins: &[Login]) -> Result<Run> {
        let workers = logins.iter().map(|login| login.worker + 1).max().unwrap_or(1);
        load::run(self.host, contestant.service(codes), workers, Workers::Lasting, logins)
    }

    fn granted(&self, contestant: Contestant, logins: &[Login]) -> Result<usize> {
        let run = self.run(contestant, Codes::Right, logins)?;
        Ok(run.results.iter().filter(|result| **result == Some(PAM_SUCCESS)).count())
    }
}

/// Lets in by a code and refuses another, cuts the power, presents the code again and counts the failure: on an ext4 of
/// its own, whose image holds what had reached the disk. `build` makes the host without its disk.
///
/// # Errors
/// A host does not work.
pub fn cut_power(
    build: &dyn Fn() -> HostBuilder,
    scratch: &Path,
    contestant: Contestant,
    rounds: u32,
    found: &mut Breakage,
) -> Result<()> {
    found.power_cuts = rounds;
    for round in 0..rounds {
        let [user, other, clumsy] = [12, 13, 14].map(|number| Account(number + round * 4));
        let mut ledger = Ledger::of(vec![user, other]);
        let host = build().state_on_a_disk().start()?;
        contestant::enrol_countersign(&host, user.0, clumsy.0 + 1)?;
        contestant::enrol_on_disk(&host, &[user, other, clumsy])?;
        // What was enrolled is on the disk; the logins are what may be lost.
        host.run(&["sync"])?.success()?;
        let mut logins = ledger.logins(Codes::Right, 1, 2)?;
        let (other, login) = (logins.pop().context("a login")?, logins.pop().context("a login")?);
        let wrong = Ledger::of(vec![clumsy]).logins(Codes::Wrong, 1, 1)?.pop().context("a login")?;
        let service = contestant.service_on_disk();
        let let_in = |host: &Host, login: &Login| -> Result<bool> {
            let attempt = host.attempt(service, &login.account.name(), &[&login.code])?;
            Ok(attempt.result == PAM_SUCCESS)
        };
        // The power fails right after each of the two: whatever comes later may bring to the disk what came before.
        let image = |host: &Host, name: &str| -> Result<PathBuf> {
            let path = scratch.join(name);
            fs::write(&path, host.disk()?)?;
            Ok(path)
        };
        if contestant.checks_codes() {
            anyhow::ensure!(let_in(&host, &login)?, "{} refuses a right code: {}", contestant.name(), host.diagnosis());
        }
        let after_right = image(&host, "disk-after-right-code")?;
        host.run(&["sync"])?.success()?;
        anyhow::ensure!(!let_in(&host, &wrong)?, "{} lets a wrong code in", contestant.name());
        let after_wrong = image(&host, "disk-after-wrong-code")?;
        let counted = contestant::failures(contestant, &host, clumsy, true)?;
        anyhow::ensure!(counted.is_none_or(|counted| counted > 0), "{} counts nothing", contestant.name());
        drop(host);
        if contestant.checks_codes() {
            let host = build().state_on_this_disk(&after_right).start()?;
            found.replayed_after_power_cut += u32::from(let_in(&host, &login)?);
            found.locked_out_by_power_cut += u32::from(!let_in(&host, &other)?);
        }
        if counted.is_some() {
            let host = build().state_on_this_disk(&after_wrong).start()?;
            let counted = contestant::failures(contestant, &host, clumsy, true)?;
            *found.forgotten_by_power_cut.get_or_insert(0) += u32::from(counted == Some(0));
        }
    }
    Ok(())
}
