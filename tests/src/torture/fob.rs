//! A key fob: HOTP codes one after the other, and codes that are certainly none of its own.

use std::collections::VecDeque;

use anyhow::{Context, Result};

use crate::{Host, HotpKey};

/// Codes that are made at a time.
const BATCH: u32 = 500;
/// HOTP's look-ahead window and its present code: a code that comes again within would be taken for the later one.
const WINDOW: usize = 11;
/// So far is looked for a resynchronisation (RFC 4226, section 7.4): no wrong code may be one of these.
const RESYNCHRONISED: usize = 120;

/// Somebody's fob.
pub(super) struct Fob {
    user: String,
    key: HotpKey,
    made: u32,
    codes: VecDeque<String>,
}

impl Fob {
    /// One whose secret goes by this number; `user` is given it.
    pub(super) fn import(host: &Host, user: &str, seed: u32) -> Result<Self> {
        let fob = Self::numbered(user, seed);
        host.import_hotp(user, &fob.key)?;
        Ok(fob)
    }

    /// One that nobody was given yet.
    pub(super) fn numbered(user: &str, seed: u32) -> Self {
        Self { user: user.to_owned(), key: HotpKey::numbered(seed), made: 0, codes: VecDeque::new() }
    }

    /// Whose it is.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// What an import takes.
    pub(super) fn uri(&self) -> String {
        self.key.uri(&self.user)
    }

    /// The secret in base32.
    pub(super) fn secret(&self) -> &str {
        &self.key.secret
    }

    /// The next code.
    pub(super) fn code(&mut self) -> Result<String> {
        loop {
            self.provide()?;
            let code = self.codes.pop_front().context("a fob makes codes")?;
            if !self.codes.iter().take(WINDOW).any(|later| *later == code) {
                return Ok(code);
            }
        }
    }

    /// A code that is none of those to come; `of` gives another one for each number.
    pub(super) fn wrong_code(&mut self, of: usize) -> Result<String> {
        self.provide()?;
        let mut candidates = (of % 500_000..).map(|number| format!("{number:06}"));
        candidates.find(|code| !self.codes.contains(code)).context("every code is right")
    }

    fn provide(&mut self) -> Result<()> {
        if self.codes.len() < RESYNCHRONISED {
            self.codes.extend(self.key.codes(self.made, BATCH)?);
            self.made += BATCH;
        }
        Ok(())
    }
}
