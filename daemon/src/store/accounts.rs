//! One account's rows: loaded and checked as a whole, written back where they differ.

use rusqlite::{Connection, OptionalExtension, Statement, named_params};
use verifier::{Remembered, Secret, StoredScratchCode};

use super::attached::{self, Table};
use super::row::{AccountRow, AuthenticatorRow, RecoveryRow, Signatures};
use super::seal::{Keys, Mac};
use super::session::Trouble;
use super::{Record, StoreError};
use crate::notice::Notice;

/// The statements about accounts, prepared once a connection.
pub(super) struct Accounts<'c> {
    account: Statement<'c>,
    authenticators: Statement<'c>,
    recovery: Statement<'c>,
    names: Statement<'c>,
    write_account: Statement<'c>,
    write_authenticator: Statement<'c>,
    write_recovery: Statement<'c>,
    remove_account: Statement<'c>,
    remove_authenticator: Statement<'c>,
    remove_authenticators: Statement<'c>,
    remove_recovery: Statement<'c>,
    remembered: Table<'c, Remembered>,
    notices: Table<'c, Notice>,
    scratch_codes: Table<'c, StoredScratchCode>,
    placeholder: Secret,
}

/// A record and the signatures of its rows.
pub(super) struct Loaded {
    pub(super) record: Record,
    mac: Mac,
    authenticators: Vec<AuthenticatorRow>,
    recovery: Option<RecoveryRow>,
    attached: Signatures,
    /// What of the things attached to the record was altered. The record is without it.
    pub(super) altered: Vec<&'static str>,
}

impl<'c> Accounts<'c> {
    pub(super) fn new(connection: &'c Connection) -> Result<Self, StoreError> {
        Ok(Self {
            account: connection.prepare(AccountRow::SELECT)?,
            authenticators: connection.prepare(AuthenticatorRow::SELECT)?,
            recovery: connection.prepare(RecoveryRow::SELECT)?,
            names: connection.prepare("SELECT name FROM accounts WHERE name > :after ORDER BY name LIMIT :limit")?,
            write_account: connection.prepare(AccountRow::WRITE)?,
            write_authenticator: connection.prepare(AuthenticatorRow::WRITE)?,
            write_recovery: connection.prepare(RecoveryRow::WRITE)?,
            remove_account: connection.prepare("DELETE FROM accounts WHERE name = :account")?,
            remove_authenticator: connection
                .prepare("DELETE FROM authenticators WHERE account = :account AND id = :id")?,
            remove_authenticators: connection.prepare("DELETE FROM authenticators WHERE account = :account")?,
            remove_recovery: connection.prepare("DELETE FROM recovery_codes WHERE account = :account")?,
            remembered: Table::new(connection)?,
            notices: Table::new(connection)?,
            scratch_codes: Table::new(connection)?,
            placeholder: Secret::new(vec![0; 16]).map_err(|_| StoreError::Cryptography("an empty secret"))?,
        })
    }

    /// Loads a record, checks every signature and opens its secrets.
    pub(super) fn load(&mut self, account: &str, keys: &Keys) -> Result<Option<Loaded>, Trouble> {
        let corrupt = |what: &str| StoreError::Corrupt { account: account.to_owned(), what: what.to_owned() };
        let unreadable = |error| Trouble::reading(error, account);
        let row = self.account.query_row([account], AccountRow::read).optional();
        let row = row.map_err(unreadable)?;
        let mut authenticators = self.load_authenticators(account)?;
        let recovery = self.recovery.query_row([account], RecoveryRow::read).optional();
        let recovery = recovery.map_err(unreadable)?;
        let Some((row, mac)) = row else {
            if authenticators.is_empty() && recovery.is_none() {
                return Ok(None);
            }
            return Err(corrupt("its record was deleted, its authenticators or recovery codes were not").into());
        };
        for part in &mut authenticators {
            check(part, account, row.uid, keys)?;
        }
        if recovery.as_ref().is_some_and(|part| !part.verifies(account, keys)) {
            return Err(corrupt("its recovery codes were altered").into());
        }
        let codes = recovery.as_ref().map_or(Some(Vec::new()), RecoveryRow::codes);
        let codes = codes.ok_or_else(|| corrupt("its recovery codes cannot be read"))?;
        if !row.verifies(&parts(&authenticators, recovery.as_ref()), &mac, keys) {
            return Err(corrupt("its record was altered, or a part of it deleted, added or replaced").into());
        }
        let attached = row.attached;
        let mut record = row.record(authenticators.iter().map(|part| part.authenticator.clone()).collect(), codes);
        let altered = self.load_attached(&mut record, attached, keys)?;
        Ok(Some(Loaded { record, mac, authenticators, recovery, attached, altered }))
    }

    /// Writes what differs between `before` and `after`; tells whether anything did.
    pub(super) fn save(
        &mut self,
        account: &str,
        before: Option<&Loaded>,
        after: Option<&Record>,
        keys: &Keys,
    ) -> Result<bool, Trouble> {
        let Some(record) = after else {
            return Ok(before.is_some() && self.remove(account)?);
        };
        validate(account, record)?;
        let authenticators = make_authenticators(record, before, keys)?;
        let recovery = RecoveryRow::make(account, &record.account.recovery_codes, keys);
        let attached = Signatures {
            remembered: attached::sign(account, record.uid, &record.account.remembered, keys),
            notices: attached::sign(account, record.uid, &record.notices, keys),
            scratch_codes: attached::sign(account, record.uid, &record.account.scratch_codes, keys),
        };
        let row = AccountRow::of(record, attached);
        let mac = row.sign(&parts(&authenticators, recovery.as_ref()), keys);
        // The signature covers every column of the record and the signatures of all its parts.
        if before.is_some_and(|before| before.mac == mac) {
            return Ok(false);
        }
        row.write(&mut self.write_account, &mac)?;
        self.save_authenticators(account, before, &authenticators)?;
        let old = before.and_then(|before| before.recovery.as_ref());
        match &recovery {
            Some(new) if old.is_none_or(|old| old.mac != new.mac) => new.write(account, &mut self.write_recovery)?,
            None if old.is_some() => drop(self.remove_recovery.execute(named_params! { ":account": account })?),
            _ => {}
        }
        let before = before.map(|before| before.attached).unwrap_or_default();
        if before.remembered != attached.remembered {
            self.remembered.save(account, &record.account.remembered)?;
        }
        if before.notices != attached.notices {
            self.notices.save(account, &record.notices)?;
        }
        if before.scratch_codes != attached.scratch_codes {
            self.scratch_codes.save(account, &record.account.scratch_codes)?;
        }
        Ok(true)
    }

    /// Removes every row of an account, whatever state they are in; tells whether there were any.
    pub(super) fn remove(&mut self, account: &str) -> Result<bool, rusqlite::Error> {
        let mut removed =
            self.remembered.remove(account)? + self.notices.remove(account)? + self.scratch_codes.remove(account)?;
        for statement in [&mut self.remove_authenticators, &mut self.remove_recovery, &mut self.remove_account] {
            removed += statement.execute(named_params! { ":account": account })?;
        }
        Ok(removed > 0)
    }

    /// Up to `limit` names that sort after `after`.
    pub(super) fn names(&mut self, after: &str, limit: usize) -> Result<Vec<String>, Trouble> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let names = self.names.query_map(named_params! { ":after": after, ":limit": limit }, |row| row.get(0))?;
        names.collect::<Result<_, _>>().map_err(|error| Trouble::reading(error, after))
    }

    /// Completes a record by what is attached to it; tells what of that was altered.
    fn load_attached(
        &mut self,
        record: &mut Record,
        signatures: Signatures,
        keys: &Keys,
    ) -> Result<Vec<&'static str>, rusqlite::Error> {
        let mut altered = Vec::new();
        let (account, uid) = (&record.name, record.uid);
        match self.remembered.load(account, uid, signatures.remembered.as_ref(), keys)? {
            Some(remembered) => record.account.remembered = remembered,
            None => altered.push("its remembered logins were altered: they are forgotten"),
        }
        match self.notices.load(account, uid, signatures.notices.as_ref(), keys)? {
            Some(notices) => record.notices = notices,
            None => altered.push("its notices were altered: they are not told"),
        }
        match self.scratch_codes.load(account, uid, signatures.scratch_codes.as_ref(), keys)? {
            Some(scratch_codes) => record.account.scratch_codes = scratch_codes,
            None => altered.push("its scratch codes were altered: they are refused"),
        }
        Ok(altered)
    }

    fn load_authenticators(&mut self, account: &str) -> Result<Vec<AuthenticatorRow>, Trouble> {
        let placeholder = &self.placeholder;
        let rows = self.authenticators.query_map([account], |row| AuthenticatorRow::read(row, placeholder))?;
        let rows: Result<Option<Vec<_>>, _> = rows.collect();
        rows.map_err(|error| Trouble::reading(error, account))?.ok_or_else(|| {
            let what = "an authenticator has parameters that do not exist".to_owned();
            StoreError::Corrupt { account: account.to_owned(), what }.into()
        })
    }

    fn save_authenticators(
        &mut self,
        account: &str,
        before: Option<&Loaded>,
        after: &[AuthenticatorRow],
    ) -> Result<(), Trouble> {
        let old = before.map_or(&[][..], |before| &before.authenticators);
        for gone in old.iter().filter(|row| !after.iter().any(|new| same(new, row))) {
            let id = gone.authenticator.id.0;
            self.remove_authenticator.execute(named_params! { ":account": account, ":id": id })?;
        }
        for new in after.iter().filter(|new| !old.iter().any(|row| row.mac == new.mac)) {
            new.write(account, &mut self.write_authenticator)?;
        }
        Ok(())
    }
}

fn check(part: &mut AuthenticatorRow, account: &str, uid: Option<u32>, keys: &Keys) -> Result<(), Trouble> {
    let id = part.authenticator.id.0;
    let corrupt = |what: String| StoreError::Corrupt { account: account.to_owned(), what };
    if !part.verifies(account, keys) {
        return Err(corrupt(format!("its authenticator {id:08x} was altered")).into());
    }
    if part.key_id != keys.id.to_string() {
        return Err(corrupt(format!("its authenticator {id:08x} was sealed under key {}", part.key_id)).into());
    }
    if !part.open(account, uid, keys) {
        return Err(corrupt(format!("the secret of its authenticator {id:08x} does not open")).into());
    }
    Ok(())
}

/// The rows of the record's authenticators in the order in which they are read back, which the record's
/// signature covers.
fn make_authenticators(
    record: &Record,
    before: Option<&Loaded>,
    keys: &Keys,
) -> Result<Vec<AuthenticatorRow>, Trouble> {
    let mut authenticators: Vec<_> = record.account.authenticators.iter().collect();
    authenticators.sort_by_key(|authenticator| (authenticator.created.0.cast_signed(), authenticator.id));
    let rows = authenticators.into_iter().map(|authenticator| {
        let old = before.and_then(|before| {
            let row = before.authenticators.iter().find(|row| row.authenticator.id == authenticator.id)?;
            Some((row, before.record.uid))
        });
        AuthenticatorRow::make(record, authenticator, old, keys)
    });
    Ok(rows.collect::<Result<_, _>>()?)
}

fn validate(account: &str, record: &Record) -> Result<(), StoreError> {
    let invalid = |what| StoreError::Invalid { account: account.to_owned(), what };
    if record.name != account {
        return Err(invalid("the record bears another name"));
    }
    let mut ids: Vec<_> = record.account.authenticators.iter().map(|authenticator| authenticator.id).collect();
    ids.sort_unstable();
    if ids.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(invalid("two authenticators have one id"));
    }
    Ok(())
}

fn same(one: &AuthenticatorRow, other: &AuthenticatorRow) -> bool {
    one.authenticator.id == other.authenticator.id
}

fn parts(authenticators: &[AuthenticatorRow], recovery: Option<&RecoveryRow>) -> Vec<Mac> {
    authenticators.iter().map(|row| row.mac).chain(recovery.map(|row| row.mac)).collect()
}
