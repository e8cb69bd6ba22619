//! The stories of auditors: reading the audit, checking its chain, comparing it with a syslog copy.
//!
//! What is read was written by whoever logged in; it goes out as it is, and whoever shows it escapes it.

use dbus_api::{AuditEntry, AuditFilter, AuditFinding, AuditPage, AuditReport, AuditWitness, Error, MAX_RECORDS};
use verifier::WallTime;

use crate::audit::{AuditRecord, Break, ChainMark, ChainReport, Witness};
use crate::caller::Caller;
use crate::reading::Place;
use crate::service::{Service, unavailable};
use crate::store::{AuditSearch, StoreError};

/// The most characters of a name that is searched for: a record keeps no more.
const LONGEST_NAME: usize = 257;

impl Service {
    /// Reads up to `limit` records after record `after`. Who may read the first page may read on, and wait for more.
    ///
    /// # Errors
    /// `AccessDenied`, `InvalidArgument`, `Unavailable`.
    pub async fn audit_page(
        &self,
        caller: &Caller,
        filter: AuditFilter,
        after: u64,
        limit: u32,
    ) -> Result<AuditPage, Error> {
        let until = self.admit_reader(caller, &Place::Audit(filter.clone(), after)).await?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if limit == 0 || limit > MAX_RECORDS {
            return Err(Error::InvalidArgument(format!("allowed are 1 to {MAX_RECORDS} records a call")));
        }
        // No record has a number that SQLite could not keep; nothing follows those that have none.
        if i64::try_from(after).is_err() {
            return Ok(AuditPage { entries: Vec::new(), next: after });
        }
        let account = filter.user.clone().map(|user| user.chars().take(LONGEST_NAME).collect());
        let since = WallTime::from_seconds(filter.since.unwrap_or(0).min(i64::MAX.unsigned_abs() / 1000));
        let search = AuditSearch { account, since };
        let found = self.store().search_audit(search, after, limit).await;
        let (records, next) = found.map_err(|error| unreadable(&error))?;
        self.read_on_from(caller, Place::Audit(filter, next), until);
        Ok(AuditPage { entries: records.into_iter().map(entry).collect(), next })
    }

    /// Checks the whole chain. Who may do that may compare a copy afterwards.
    ///
    /// # Errors
    /// `AccessDenied`, `Unavailable`. A chain that is broken is no error but a finding.
    pub async fn verify_audit(&self, caller: &Caller) -> Result<AuditReport, Error> {
        let until = self.admit_reader(caller, &Place::Comparison).await?;
        let report = report(self.store().verify_chain().await)?;
        self.read_on_from(caller, Place::Comparison, until);
        Ok(report)
    }

    /// Compares lines of a syslog copy with the audit.
    ///
    /// # Errors
    /// `AccessDenied`, `InvalidArgument`, `Unavailable`. A line that the audit contradicts is no error but a
    /// finding.
    pub async fn compare_audit(&self, caller: &Caller, witnesses: Vec<AuditWitness>) -> Result<AuditReport, Error> {
        let until = self.admit_reader(caller, &Place::Comparison).await?;
        if witnesses.len() > MAX_RECORDS {
            return Err(Error::InvalidArgument(format!("at most {MAX_RECORDS} lines a call")));
        }
        let parse = |witness: AuditWitness| {
            let mark = ChainMark::parse(&witness.chain).filter(|_| i64::try_from(witness.seq).is_ok());
            mark.map(|mark| Witness { seq: witness.seq, mark })
        };
        let parsed: Option<Vec<_>> = witnesses.into_iter().map(parse).collect();
        let parsed = parsed.ok_or_else(|| Error::InvalidArgument("a line's seq or chain is none of ours".into()))?;
        let report = report(self.store().compare_audit(parsed).await)?;
        self.read_on_from(caller, Place::Comparison, until);
        Ok(report)
    }
}

/// A record as the contract tells it.
fn entry(record: AuditRecord) -> AuditEntry {
    let line = record.line();
    let AuditRecord { seq, event, mark } = record;
    let origin = event.origin;
    let item = |text: Option<&String>| text.filter(|text| !text.is_empty()).cloned();
    AuditEntry {
        seq,
        at: event.at.seconds(),
        line,
        event: event.kind.name().into(),
        outcome: event.outcome.name().into(),
        account: event.account,
        service: item(origin.as_ref().map(|origin| &origin.service)),
        tty: item(origin.as_ref().map(|origin| &origin.tty)),
        rhost: item(origin.as_ref().map(|origin| &origin.rhost)),
        origin: origin.map(|origin| if origin.claimed { "claimed".into() } else { "trusted".into() }),
        rule: event.rule,
        authenticator: event.authenticator,
        reason: event.reason,
        failures: event.failures,
        count: event.count,
        caller_uid: event.caller_uid,
        chain: mark.to_string(),
    }
}

/// What a check came to; only trouble with the store itself is an error.
fn report(checked: Result<ChainReport, StoreError>) -> Result<AuditReport, Error> {
    let found = match checked {
        Ok(ChainReport { first, last }) => {
            let text = "every record is whole and in its place".to_owned();
            let (first, last) = (Some(first), Some(last));
            return Ok(AuditReport { finding: AuditFinding::Sound as u32, record: None, text, first, last });
        }
        Err(StoreError::Audit(found)) => found,
        Err(error) => return Err(unavailable(&error)),
    };
    let (finding, record) = match found {
        Break::Changed(seq) => (AuditFinding::Changed, Some(seq)),
        Break::Missing(seq) => (AuditFinding::Missing, Some(seq)),
        Break::CutOff { last, .. } => (AuditFinding::CutOff, Some(last.saturating_add(1))),
        Break::Ends => (AuditFinding::Ends, None),
        Break::Contradicted(seq) => (AuditFinding::Contradicted, Some(seq)),
    };
    Ok(AuditReport { finding: finding as u32, record, text: found.to_string(), first: None, last: None })
}

/// A broken record stands in the way of those that are read with it; whoever reads is told which one.
fn unreadable(error: &StoreError) -> Error {
    match error {
        StoreError::Audit(found) => Error::Unavailable(format!("{found}: see countersign audit --verify")),
        error => unavailable(error),
    }
}
