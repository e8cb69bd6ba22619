//! `countersign pam confirm`: keeps what was switched on for a time, where the audit has a login of the caller's through it.

use std::collections::BTreeSet;

use dbus_api::{AdminProxy, AuditEntry, AuditFilter, MAX_RECORDS};

use super::log;
use crate::{
    client::{self, Client},
    failure::Failure,
    host::Host,
    output::Output,
    switch::{
        ledger::{Change, Ledger, OnTrial},
        login::{self, Login},
    },
    wording::printable,
};

/// Services that ask within a login, so that a second window of it may confirm.
const WITHIN: [&str; 8] = ["sudo", "sudo-i", "sudo-rs", "su", "su-l", "doas", "polkit-1", "xscreensaver"];

/// Runs the command.
///
/// # Errors
/// Where there is nothing to confirm, or nothing proves that the caller got in.
pub(super) async fn run(bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let host = Host::here();
    let ledger = Ledger::of(&host);
    let waiting: Vec<Change> = ledger.changes()?.into_iter().filter(|change| change.trial.is_some()).collect();
    if waiting.is_empty() {
        return Err(Failure::refused("nothing is waiting to be confirmed")
            .with_help("What was taken back in the meantime is switched on again with: sudo countersign pam enable")
            .with_help("See how things stand: countersign pam status"));
    }
    let admin = Client::connect(bus).await?.admin().await?;
    let mut failure = None;
    for mut change in waiting {
        match prove(&change, &admin).await {
            Ok(record) => {
                let lock = ledger.lock()?;
                // It may have been taken back while the audit was read.
                if ledger.change(&change.what)?.as_ref() != Some(&change) {
                    return Err(Failure::refused(format!("{} was taken back already", change.name())));
                }
                change.trial = None;
                ledger.put(&change, &lock)?;
                log(&host, &format!("kept: {}, because of record {record} of the audit", change.name()));
                output.say(&format!(
                    "{} goes on asking for a code: record {record} of the audit is a login through it.",
                    change.name()
                ))?;
            }
            Err(unproven) => failure = Some(unproven),
        }
    }
    failure.map_or(Ok(()), Err)
}

/// The number of the record that proves it.
async fn prove(change: &Change, admin: &AdminProxy<'_>) -> Result<u64, Failure> {
    let Some(trial) = &change.trial else { return Ok(0) };
    let within = change.services.iter().all(|service| WITHIN.contains(&service.as_str()));
    if Login::here().is_same(&trial.from, within) {
        return Err(Failure::refused(format!("{} was switched on in this very login", change.name()))
            .with_help("Log in a second time, in another window, and confirm there: only that shows that it works."));
    }
    let accounts = login::accounts();
    match find(change, trial, &accounts, admin).await? {
        Some(record) => Ok(record),
        None => {
            let names: Vec<_> = accounts.iter().map(|name| printable(name)).collect();
            Err(Failure::refused(format!(
                "the audit has no login of {} with a code at {} since it was switched on",
                names.join(" or "),
                change.name()
            ))
            .with_help("Log in there with a code first. A login that a rule lets through proves nothing, nor a remembered one."))
        }
    }
}

async fn find(
    change: &Change,
    trial: &OnTrial,
    accounts: &BTreeSet<String>,
    admin: &AdminProxy<'_>,
) -> Result<Option<u64>, Failure> {
    let most = u32::try_from(MAX_RECORDS).unwrap_or(u32::MAX);
    let mut after = trial.after_record;
    loop {
        let page = admin.audit(&AuditFilter::default(), after, most).await;
        let page = page.map_err(|error| client::explain(&error, "", "pam confirm"))?;
        if let Some(entry) = page.entries.iter().find(|entry| proves(entry, &change.services, accounts)) {
            return Ok(Some(entry.seq));
        }
        // A number that does not grow is the end.
        if page.next <= after {
            return Ok(None);
        }
        after = page.next;
    }
}

/// A code let one of these accounts in at one of these services. A service of root's says where from; `pam try` does not.
fn proves(entry: &AuditEntry, services: &[String], accounts: &BTreeSet<String>) -> bool {
    let named = |name: &Option<String>, among: &dyn Fn(&str) -> bool| name.as_deref().is_some_and(among);
    entry.event == "verification"
        && entry.outcome == "granted"
        && entry.caller_uid == Some(0)
        && (entry.tty.is_some() || entry.rhost.is_some())
        && named(&entry.service, &|name| services.iter().any(|service| service == name))
        && named(&entry.account, &|name| accounts.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login() -> AuditEntry {
        AuditEntry {
            event: "verification".to_owned(),
            outcome: "granted".to_owned(),
            service: Some("sshd".to_owned()),
            account: Some("alice".to_owned()),
            tty: Some("ssh".to_owned()),
            caller_uid: Some(0),
            ..AuditEntry::default()
        }
    }

    #[test]
    fn only_a_granted_login_of_the_caller_at_the_service_proves_anything() {
        let proven = |entry: &AuditEntry| {
            proves(entry, &["sshd".to_owned(), "sudo".to_owned()], &BTreeSet::from(["alice".to_owned()]))
        };
        assert!(proven(&login()));
        assert!(proven(&AuditEntry { service: Some("sudo".to_owned()), ..login() }));
        for other in [
            AuditEntry { outcome: "refused".to_owned(), ..login() },
            AuditEntry { outcome: "note".to_owned(), ..login() },
            AuditEntry { event: "forget".to_owned(), ..login() },
            AuditEntry { service: Some("su".to_owned()), ..login() },
            AuditEntry { service: None, ..login() },
            AuditEntry { account: Some("bob".to_owned()), ..login() },
            AuditEntry { caller_uid: Some(1000), ..login() },
            AuditEntry { tty: None, ..login() },
        ] {
            assert!(!proven(&other), "{other:?}");
        }
    }
}
