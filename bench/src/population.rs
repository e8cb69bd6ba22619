//! The accounts that log in, their secrets, and which of their codes are unused. Secrets are computed from the account's
//! number: they open nothing but scratch hosts.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// The period of TOTP codes, in seconds.
const PERIOD: u64 = 30;

/// How much of a period must be left when codes are made: whoever presents the code of the step before must do so
/// before it leaves the window.
const MARGIN: u64 = 6;

/// An account; its number is all there is to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account(pub u32);

/// What an account's codes are made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// RFC 6238: SHA-1, 6 digits, 30 s.
    Totp,
    /// RFC 4226: SHA-1, 6 digits.
    Hotp,
}

impl Account {
    /// The first ten accounts have key fobs, so that ten accounts are enough for many logins; later every fourth.
    #[must_use]
    pub const fn kind(self) -> Kind {
        if self.0 < 10 || self.0 % 4 == 3 { Kind::Hotp } else { Kind::Totp }
    }

    /// As the name service of the scratch host knows it (`native/nss_bench.c`).
    #[must_use]
    pub fn name(self) -> String {
        format!("u{:07}", self.0)
    }

    /// Its uid.
    #[must_use]
    pub const fn uid(self) -> u32 {
        1_000_000 + self.0
    }

    /// 160 bits, as RFC 4226 recommends.
    fn secret(self) -> Vec<u8> {
        let hash = Sha256::digest(format!("bench {}", self.0));
        hash.iter().copied().take(20).collect()
    }

    /// The secret in base32 (RFC 4648).
    #[must_use]
    pub fn base32(self) -> String {
        let bits = self.secret().into_iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1));
        let bits: Vec<u8> = bits.collect();
        let letter = |five: &[u8]| match five.iter().fold(0, |number, bit| number << 1 | bit) {
            number @ 0..26 => char::from(b'A' + number),
            number => char::from(b'2' + (number - 26)),
        };
        bits.chunks(5).map(letter).collect()
    }

    /// The secret in hexadecimal digits.
    #[must_use]
    pub fn hex(self) -> String {
        self.secret().iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The code of a time step or counter.
    #[must_use]
    pub fn code(self, factor: u64) -> String {
        let codes = totp_rs::Builder::new().with_digits(6).with_step_duration(1);
        let codes = codes.with_secret(totp_rs::Secret::new(self.secret().into())).build_noncompliant();
        codes.generate(factor).to_string()
    }

    /// A code that is none of those around the step of now, nor of the counters nearby.
    fn wrong_code(self, around: u64) -> String {
        let near: Vec<String> = (around.saturating_sub(10)..around + 10).map(|factor| self.code(factor)).collect();
        let wrong = (0..1000).map(|number: u32| format!("{number:06}")).find(|code| !near.contains(code));
        wrong.unwrap_or_default()
    }
}

/// Which codes a login presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Codes {
    /// Right TOTP codes that were never presented before.
    Right,
    /// Right HOTP codes that were never presented before.
    Hotp,
    /// Wrong codes of TOTP accounts.
    Wrong,
}

/// One login to come.
#[derive(Clone, Debug)]
pub struct Login {
    /// Which of the workers does it.
    pub worker: u32,
    /// Whose.
    pub account: Account,
    /// Its code.
    pub code: String,
    /// The step or counter of the code.
    pub factor: u64,
}

/// What one store has been presented with: which codes of its accounts are used.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The next unused step or counter of each account.
    next: BTreeMap<u32, u64>,
    cursor: usize,
}

/// The first counter that all modules take.
const FIRST: u64 = 1;

impl Ledger {
    /// A store with these accounts, of which nothing was presented yet.
    #[must_use]
    pub fn of(accounts: Vec<Account>) -> Self {
        Self { next: accounts.into_iter().map(|account| (account.0, FIRST)).collect(), cursor: 0 }
    }

    /// Lets the store have the accounts up to this number.
    pub fn grow(&mut self, accounts: u32) {
        for number in 0..accounts {
            self.next.entry(number).or_insert(FIRST);
        }
    }

    /// Logins for `workers`, at most `most`, none of whose codes was presented before. No account belongs to two workers. Waits
    /// until there are enough codes that are right now.
    ///
    /// # Errors
    /// There are no accounts of this kind.
    pub fn logins(&mut self, codes: Codes, workers: u32, most: usize) -> Result<Vec<Login>> {
        let kind = if codes == Codes::Hotp { Kind::Hotp } else { Kind::Totp };
        let accounts: Vec<Account> =
            self.next.keys().copied().map(Account).filter(|account| account.kind() == kind).collect();
        let count = accounts.len();
        anyhow::ensure!(count >= workers as usize, "there are fewer accounts than workers");
        match codes {
            Codes::Right => self.right(&accounts, workers, most.min(count)),
            Codes::Wrong => self.wrong(&accounts, workers, most.min(count)),
            Codes::Hotp => Ok(self.hotp(&accounts, workers, most)),
        }
    }

    /// Notes which codes were accepted; a refused HOTP code was not consumed.
    pub fn note(&mut self, login: &Login, accepted: bool) {
        if let Some(next) = self.next.get_mut(&login.account.0).filter(|_| accepted) {
            *next = (*next).max(login.factor + 1);
        }
    }

    fn right(&mut self, accounts: &[Account], workers: u32, most: usize) -> Result<Vec<Login>> {
        loop {
            let (step, left) = time_step()?;
            let logins = self.fresh_now(accounts, workers, most, step);
            if left >= MARGIN && logins.len() == most {
                self.cursor += most;
                for login in &logins {
                    self.note(login, true);
                }
                return Ok(logins);
            }
            // The next step brings a code for everybody.
            std::thread::sleep(Duration::from_secs(left) + Duration::from_millis(50));
        }
    }

    /// One login for each account that has an unused code now, beginning where the last ones ended.
    fn fresh_now(&self, accounts: &[Account], workers: u32, most: usize, step: u64) -> Vec<Login> {
        let from = accounts.iter().cycle().skip(self.cursor % accounts.len()).take(accounts.len());
        let fresh = from.filter_map(|account| {
            let next = *self.next.get(&account.0)?;
            let factor = next.max(step - 1);
            (factor <= step).then_some((*account, factor))
        });
        let login = |(worker, (account, factor)): (u32, (Account, u64))| Login {
            worker: worker % workers,
            account,
            code: account.code(factor),
            factor,
        };
        (0..).zip(fresh.take(most)).map(login).collect()
    }

    fn wrong(&mut self, accounts: &[Account], workers: u32, most: usize) -> Result<Vec<Login>> {
        let (step, _) = time_step()?;
        let from = accounts.iter().cycle().skip(self.cursor % accounts.len()).take(most);
        self.cursor += most;
        let login = |(worker, account): (u32, &Account)| Login {
            worker: worker % workers,
            account: *account,
            code: account.wrong_code(step),
            factor: 0,
        };
        Ok((0..).zip(from).map(login).collect())
    }

    /// Each worker goes round its own accounts.
    fn hotp(&self, accounts: &[Account], workers: u32, most: usize) -> Vec<Login> {
        let mut logins = Vec::with_capacity(most);
        let mut next = self.next.clone();
        for (number, account) in (0..).zip(accounts.iter().cycle().take(most)) {
            let place: u32 = number % u32::try_from(accounts.len()).unwrap_or(u32::MAX);
            let Some(factor) = next.get_mut(&account.0) else { continue };
            let code = account.code(*factor);
            logins.push(Login { worker: place % workers, account: *account, code, factor: *factor });
            *factor += 1;
        }
        logins
    }
}

/// The time step of now, and the seconds until the next.
fn time_step() -> Result<(u64, u64)> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?.as_secs();
    Ok((now / PERIOD, PERIOD - now % PERIOD))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_read_the_same_in_base32_and_hexadecimal_digits() {
        // RFC 4648, section 10, has "foobar" as MZXW6YTBOI; here the account's own 20 bytes are 32 letters.
        let account = Account(12);
        assert_eq!(account.base32().len(), 32);
        assert_eq!(account.hex().len(), 40);
        let bits = |letter: char| match letter {
            'A'..='Z' => letter as u32 - 'A' as u32,
            _ => letter as u32 - '2' as u32 + 26,
        };
        let first: u32 = account.base32().chars().take(4).fold(0, |number, letter| number << 5 | bits(letter));
        let hex: String = account.hex().chars().take(5).collect();
        assert_eq!(format!("{first:05x}"), hex);
    }

    #[test]
    fn no_code_is_given_out_twice_and_no_account_to_two_workers() -> Result<()> {
        for codes in [Codes::Right, Codes::Hotp] {
            let mut ledger = Ledger::default();
            ledger.grow(400);
            let mut given = std::collections::HashSet::new();
            for _ in 0..2 {
                let logins = ledger.logins(codes, 8, 60)?;
                assert_eq!(logins.len(), 60);
                let mut worker_of = std::collections::HashMap::new();
                for login in &logins {
                    assert!(given.insert((login.account.0, login.factor)), "{login:?}");
                    assert_eq!(*worker_of.entry(login.account.0).or_insert(login.worker), login.worker);
                    ledger.note(login, true);
                }
            }
        }
        Ok(())
    }
}
