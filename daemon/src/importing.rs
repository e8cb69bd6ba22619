//! The story of an import: what root takes over from another program, checked as strictly as anything that comes over
//! the bus, and added record by record. Root vouches for whose it is; the rest was often its user's own to write.

mod record;

use std::collections::{HashMap, VecDeque};

use dbus_api::{Error, ImportOutcome, ImportRecord, ImportResult, MAX_RECORDS};
use verifier::{AuthenticatorId, Moving, scratch_code};

pub use record::Imported;

use crate::administration::administered;
use crate::audit::Kind;
use crate::authenticator;
use crate::authorizer::Action;
use crate::caller::Caller;
use crate::notice::{By, Notice, What, pending};
use crate::service::{Service, unavailable};
use crate::store::{Record, StoreError, Transaction};

impl Service {
    /// Imports up to 500 authenticators. Decisions about logins go first.
    ///
    /// # Errors
    /// `AccessDenied`, `InvalidArgument`, `Unavailable` where nothing was taken. A record that cannot be taken
    /// is told in its result and stops no other.
    pub async fn import(&self, caller: &Caller, records: Vec<ImportRecord>) -> Result<Vec<ImportResult>, Error> {
        let by = caller.clone();
        self.take_over(caller, records, move |name, uid, imported, tx| add(tx, &by, name, uid, imported)).await
    }

    /// What [`Service::import`] would answer. Changes nothing.
    ///
    /// # Errors
    /// As [`Service::import`].
    pub async fn check_import(&self, caller: &Caller, records: Vec<ImportRecord>) -> Result<Vec<ImportResult>, Error> {
        let by = caller.clone();
        // As the records before in this call would have left them.
        let mut changed: HashMap<String, Option<Record>> = HashMap::new();
        let check = move |name: &str, uid, imported, tx: &mut Transaction| {
            let record = changed.remove(name).unwrap_or_else(|| tx.record.clone());
            let mut trial = Transaction { record, events: Vec::new() };
            let result = add(&mut trial, &by, name, uid, imported);
            changed.insert(name.to_owned(), trial.record);
            result
        };
        self.take_over(caller, records, check).await
    }

    /// Parses each record, and has `take` decide about those that are right.
    async fn take_over<F>(
        &self,
        caller: &Caller,
        records: Vec<ImportRecord>,
        mut take: F,
    ) -> Result<Vec<ImportResult>, Error>
    where
        F: FnMut(&str, Option<u32>, Imported, &mut Transaction) -> ImportResult + Send + 'static,
    {
        self.admit_administrator(caller, Action::Import).await?;
        if records.len() > MAX_RECORDS {
            return Err(Error::InvalidArgument(format!("at most {MAX_RECORDS} records a call")));
        }
        // A name service that does not enumerate, or not now, leaves the accounts to be bound at their first login.
        let uids = self.accounts().enumerate(self.settings().config.nss).await.unwrap_or_default();
        let key = self.store().recovery_key();
        let mut results = Vec::with_capacity(records.len());
        let mut names = Vec::with_capacity(records.len());
        let mut taken = VecDeque::with_capacity(records.len());
        for record in &records {
            results.push(match Imported::parse(record, &key) {
                Ok(imported) => {
                    names.push(record.account.clone());
                    taken.push_back(imported);
                    None
                }
                Err(error) => Some(refused(&error.text())),
            });
        }
        let decided = self.store().decide_each(names, move |name, tx| match taken.pop_front() {
            Some(imported) => take(name, uids.get(name).copied(), imported, tx),
            None => refused("not taken"),
        });
        let mut decided = decided.await.map_err(|error| unavailable(&error))?.into_iter();
        let outcome = |decided: Option<Result<ImportResult, StoreError>>| match decided {
            Some(Ok(result)) => result,
            Some(Err(error)) => refused(&error.to_string()),
            None => refused("not taken"),
        };
        Ok(results.into_iter().map(|known| known.unwrap_or_else(|| outcome(decided.next()))).collect())
    }
}

/// Adds an imported authenticator within a transaction. Importing twice changes nothing but what was spent elsewhere in
/// between.
fn add(tx: &mut Transaction, caller: &Caller, name: &str, uid: Option<u32>, imported: Imported) -> ImportResult {
    let stored = tx.record.as_ref().map_or(&[][..], |record| &record.account.authenticators);
    if let Some(id) = stored.iter().find(|one| imported.is(one)).map(|one| one.id) {
        return catch_up(tx, caller, name, id, &imported);
    }
    if stored.len() >= authenticator::MOST {
        return refused(&authenticator::too_many().text());
    }
    if tx.record.as_ref().and_then(|record| record.uid).zip(uid).is_some_and(|(bound, uid)| bound != uid) {
        return refused("this name belonged to another uid: countersign reset it first");
    }
    let record = tx.record.get_or_insert_with(|| Record::empty(name, uid));
    let existing = &record.account.authenticators;
    let Imported { mut authenticator, mut scratch_codes, mut remarks, .. } = imported;
    while existing.iter().any(|one| one.id == authenticator.id) {
        authenticator.id = AuthenticatorId(authenticator.id.0.wrapping_add(1));
    }
    authenticator.label = authenticator::free_label(existing, &authenticator.label);
    scratch_codes.iter_mut().for_each(|code| code.authenticator = authenticator.id);
    let mut event = administered(caller, name, Kind::Import);
    event.authenticator = Some(format!("{} {}", authenticator.id, authenticator.label));
    let what = What::Added(authenticator.label.clone());
    let codes = &mut record.account.scratch_codes;
    let room = scratch_code::MOST.saturating_sub(codes.len());
    if scratch_codes.len() > room {
        remarks.push(format!("{} scratch codes are left out: an account has 10 at most", scratch_codes.len() - room));
        scratch_codes.truncate(room);
    }
    event.reason = (!scratch_codes.is_empty()).then(|| format!("scratch codes: {}", scratch_codes.len()));
    codes.append(&mut scratch_codes);
    record.account.authenticators.push(authenticator);
    pending::change(record, Notice { at: event.at, what, by: By::Administrator });
    record.uid = record.uid.or(uid);
    tx.events.push(event);
    if record.uid.is_none() {
        remarks.push("the name service does not list this account".into());
        return result(ImportOutcome::AddedUnbound, remarks);
    }
    result(ImportOutcome::Added, remarks)
}

/// Spends here what was spent elsewhere since the authenticator was imported; nothing is ever given back.
fn catch_up(
    tx: &mut Transaction,
    caller: &Caller,
    name: &str,
    id: AuthenticatorId,
    imported: &Imported,
) -> ImportResult {
    let Some(account) = tx.record.as_mut().map(|record| &mut record.account) else { return refused("not taken") };
    let Some(own) = account.authenticators.iter_mut().find(|one| one.id == id) else { return refused("not taken") };
    let mut moved = false;
    match (&mut own.moving, imported.authenticator.moving) {
        (Moving::Totp(own), Moving::Totp(theirs)) if theirs.last > own.last => {
            own.last = theirs.last;
            moved = true;
        }
        (Moving::Hotp(own), Moving::Hotp(theirs)) if theirs.next > own.next => {
            own.next = theirs.next;
            own.far = None;
            moved = true;
        }
        _ => {}
    }
    let mut event = administered(caller, name, Kind::Import);
    event.authenticator = Some(format!("{id} {}", own.label));
    for code in &mut account.scratch_codes {
        if code.authenticator == id && code.used.is_none() && imported.lacks(code) {
            code.used = Some(event.at);
            moved = true;
        }
    }
    if !moved {
        return result(ImportOutcome::Present, vec!["the account has this authenticator already".into()]);
    }
    event.reason = Some("caught up".into());
    tx.events.push(event);
    result(ImportOutcome::CaughtUp, vec!["what was used of it elsewhere since is spent now".into()])
}

fn refused(why: &str) -> ImportResult {
    result(ImportOutcome::Refused, vec![why.to_owned()])
}

fn result(outcome: ImportOutcome, remarks: Vec<String>) -> ImportResult {
    ImportResult { outcome: outcome as u32, remark: remarks.join("; ") }
}
