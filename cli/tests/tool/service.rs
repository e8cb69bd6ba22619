//! A service in the daemon's place: it answers by the names of accounts and remembers what it was asked.

use std::{
    io::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

use dbus_api::{
    Account, AccountFilter, AccountPage, AccountState, Action, AuditEntry, AuditFilter, AuditFinding, AuditPage,
    AuditReport, AuditWitness, Authenticator, Confirmation, Denial, Details, EnrollmentOptions, EnrollmentSummary,
    Error, Explanation, Health, ImportOutcome, ImportRecord, ImportResult, KeyStatus, Message, MessageKind, Offer,
    Origin, Rehearsed, RememberedLogin, Resynchronisation, Setting, Step, Supposition,
};
use tokio::sync::Notify;

use crate::explanation;

/// The code that the service takes.
pub(crate) const RIGHT: &str = "123456";
/// The secret that the service offers.
pub(crate) const SECRET: &str = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP";
/// What a backup holds in clear.
pub(crate) const SEALED_MARK: &[u8] = b"MASTER KEY AND DATABASE";
/// How many calls of `Import` the account `together` waits for.
pub(crate) const TOGETHER: usize = 4;

/// How long it then waits for one more, which would be wrong.
const ONE_TOO_MANY: Duration = Duration::from_secs(1);

/// What the service was asked, in order, without secrets' sakes: it is a test.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

/// What the service holds, for a test to fill.
#[derive(Default)]
pub(crate) struct Held {
    /// Accounts that the name service does not know.
    pub(crate) gone: Vec<Account>,
    /// The audit; numbered from 1.
    pub(crate) audit: Vec<AuditEntry>,
    /// What the daemon says of itself.
    pub(crate) health: Health,
    /// Accounts without an authenticator, for the end of the list.
    pub(crate) unenrolled: Vec<Account>,
    /// What it says of a policy that observes.
    pub(crate) observe: String,
    /// The master key.
    pub(crate) key: KeyStatus,
    /// Why a backup breaks off.
    pub(crate) no_backup: Option<String>,
    /// What a check of the audit finds, where it is not sound.
    pub(crate) broken: Option<AuditReport>,
}

/// Serves on the bus at this address.
pub(crate) async fn serve(address: &str, log: Log, held: Arc<Mutex<Held>>) -> zbus::Result<zbus::Connection> {
    let verified = Arc::new(Mutex::new(false));
    zbus::connection::Builder::address(address)
        .serve_at(dbus_api::OBJECT_PATH, Enrollment { log: Arc::clone(&log), verified: Arc::clone(&verified) })
        .serve_at(dbus_api::OBJECT_PATH, Verifier { log: Arc::clone(&log), verified })
        .serve_at(dbus_api::OBJECT_PATH, Admin { log, held, calls: Arc::default(), arrived: Notify::new() })
        .name(dbus_api::BUS_NAME)
        .build()
        .await
}

fn note(log: &Log, what: String) {
    log.lock().unwrap().push(what);
}

/// Accounts that the service refuses, and how.
fn refuse(user: &str) -> Result<(), Error> {
    match user {
        "denied" => Err(Error::AccessDenied("only root may do this".to_owned())),
        "unknown" | "gone" => Err(Error::UnknownAccount(String::new())),
        "fresh" => Err(Error::NotEnrolled(String::new())),
        "locked" => Err(Error::Locked("locked for 27 s".to_owned())),
        "disabled" => Err(Error::Disabled(String::new())),
        "broken" => Err(Error::Unavailable(String::new())),
        "hostile" => Err(Error::InvalidArgument("\x1b]0;owned\x07".to_owned())),
        _ => Ok(()),
    }
}

fn recovery_codes() -> Vec<String> {
    (0..10).map(|number| format!("AAAAA-BBBBB-CCCCC-DDDDD-0000{number}")).collect()
}

struct Enrollment {
    log: Log,
    verified: Arc<Mutex<bool>>,
}

#[zbus::interface(name = "org.countersign.Countersign1.Enrollment")]
impl Enrollment {
    fn begin(&self, user: &str, options: EnrollmentOptions) -> Result<(u64, Offer), Error> {
        note(&self.log, format!("Enrollment.Begin {user} {options:?}"));
        refuse(user)?;
        if user == "careful" && !*self.verified.lock().unwrap() {
            return Err(Error::VerificationRequired(String::new()));
        }
        let at_once = options.no_confirm == Some(true);
        let counting = options.kind.as_deref() == Some("hotp");
        let kind = if counting { "hotp" } else { "totp" };
        let offer = Offer {
            secret: SECRET.to_owned(),
            uri: format!(
                "otpauth://{kind}/gate.example.org:{user}?secret={SECRET}&issuer=gate.example.org&algorithm=SHA1&digits=6&period=30"
            ),
            account: user.to_owned(),
            label: options.label.unwrap_or_else(|| "phone".to_owned()),
            kind: kind.to_owned(),
            algorithm: "SHA1".to_owned(),
            digits: 6,
            period: if counting { 0 } else { 30 },
            recovery_codes: at_once.then(recovery_codes),
        };
        Ok((if at_once { 0 } else { 7 }, offer))
    }

    fn confirm(&self, id: u64, code: &str) -> Result<Confirmation, Error> {
        note(&self.log, format!("Enrollment.Confirm {id} {code}"));
        match code {
            RIGHT => Ok(Confirmation { authenticator: "3f9a2c01".to_owned(), recovery_codes: recovery_codes() }),
            "654321" => Ok(Confirmation::default()),
            "999999" => Err(Error::Locked("locked for 27 s".to_owned())),
            _ => Err(Error::WrongCode(String::new())),
        }
    }

    fn cancel(&self, id: u64) {
        note(&self.log, format!("Enrollment.Cancel {id}"));
    }

    fn list(&self, user: &str) -> Result<EnrollmentSummary, Error> {
        note(&self.log, format!("Enrollment.List {user}"));
        if user != "locked" && user != "disabled" {
            refuse(user)?;
        }
        let authenticator = |id: &str, label: &str, last_used| Authenticator {
            id: id.to_owned(),
            label: label.to_owned(),
            kind: "totp".to_owned(),
            algorithm: "SHA1".to_owned(),
            digits: 6,
            period: 30,
            active: true,
            created: 1_111_111_109,
            last_used,
            suspended: false,
            expires: None,
            clock_off: Some(if label == "phone" { 0 } else { -10_800 }),
            needs_resync: false,
            weak: false,
        };
        Ok(EnrollmentSummary {
            account: user.to_owned(),
            authenticators: if user == "empty" {
                Vec::new()
            } else {
                let one = |id, label: &str| authenticator(id, label, None);
                let trouble = [
                    Authenticator { active: false, ..one("00000003", "lost") },
                    Authenticator { suspended: true, ..one("00000008", "restored") },
                    Authenticator { expires: Some(1_234_567_890), weak: true, ..one("00000004", "ended") },
                    Authenticator { expires: Some(4_102_444_800), weak: true, ..one("00000005", "old") },
                    Authenticator { clock_off: None, needs_resync: true, ..one("00000006", "moved") },
                    Authenticator { clock_off: None, kind: "hotp".to_owned(), period: 0, ..one("00000007", "fob") },
                ];
                [authenticator("3f9a2c01", "phone", Some(1_234_567_890)), authenticator("00000002", "a\x1b[2Jb", None)]
                    .into_iter()
                    .filter(|one| user != "ended" || one.id == "none")
                    .chain(
                        trouble
                            .into_iter()
                            .filter(|one| user == "various" || (user == "ended" && one.label == "ended")),
                    )
                    .collect()
            },
            recovery_codes_left: 8,
            scratch_codes_left: 0,
            disabled: user == "disabled",
            locked_for: (user == "locked").then_some(27),
            failures: 2,
            enroll_by: (user == "empty").then(|| "2027-01-31".into()),
            remembered: vec![RememberedLogin {
                service: "ss\x1b[2Jhd".to_owned(),
                address: "192.0.2.7".to_owned(),
                since: 1_234_567_890,
                left: 27_000,
            }],
            observe: (user == "observed").then(|| "all".into()),
        })
    }

    fn rename(&self, user: &str, authenticator: &str, label: &str) -> Result<(), Error> {
        note(&self.log, format!("Enrollment.Rename {user} {authenticator} {label}"));
        refuse(user)
    }

    fn remove(&self, user: &str, authenticator: &str) -> Result<(), Error> {
        note(&self.log, format!("Enrollment.Remove {user} {authenticator}"));
        if user == "last" {
            return Err(Error::LastAuthenticator(String::new()));
        }
        refuse(user)
    }

    fn resync(&self, user: &str, authenticator: &str, first: &str, second: &str) -> Result<Resynchronisation, Error> {
        note(&self.log, format!("Enrollment.Resync {user} {authenticator} {first} {second}"));
        refuse(user)?;
        if user == "careful" && !*self.verified.lock().unwrap() {
            return Err(Error::VerificationRequired(String::new()));
        }
        match (user, authenticator) {
            ("far", _) => Err(Error::WrongCode("these are no two codes of it".to_owned())),
            (_, "00000002") => Ok(Resynchronisation { clock_off: Some(-10_800), skipped: None }),
            (_, "00000007") => Ok(Resynchronisation { clock_off: None, skipped: Some(60) }),
            _ => Ok(Resynchronisation { clock_off: Some(30), skipped: None }),
        }
    }

    fn new_recovery_codes(&self, user: &str) -> Result<Vec<String>, Error> {
        note(&self.log, format!("Enrollment.NewRecoveryCodes {user}"));
        refuse(user)?;
        Ok(recovery_codes())
    }
}

struct Verifier {
    log: Log,
    verified: Arc<Mutex<bool>>,
}

fn step(action: Action, text: &str, details: Details) -> Step {
    Step { messages: Vec::new(), action: action as u32, text: text.to_owned(), details }
}

fn denied(denial: Denial, retry_after: Option<u64>) -> Step {
    step(Action::Denied, "", Details { denial: Some(denial as u32), retry_after, ..Details::default() })
}

#[zbus::interface(name = "org.countersign.Countersign1.Verifier")]
impl Verifier {
    fn begin(&self, user: &str, origin: Origin) -> Result<(u64, Step), Error> {
        note(&self.log, format!("Verifier.Begin {user} {:?}", origin.service));
        let mut step = match user {
            "locked" => return Ok((0, denied(Denial::Locked, Some(27)))),
            "disabled" => return Ok((0, denied(Denial::Disabled, None))),
            "free" => return Ok((0, step(Action::Skipped, "", Details::default()))),
            "strange" => return Ok((0, Step { action: 99, ..step(Action::Granted, "", Details::default()) })),
            _ => step(Action::AskHidden, "Verification code: ", Details::default()),
        };
        step.messages.push(Message { kind: MessageKind::Info as u32, text: "Hello\x1b[2J".to_owned() });
        Ok((9, step))
    }

    fn respond(&self, id: u64, reply: &str) -> Step {
        note(&self.log, format!("Verifier.Respond {id} {reply}"));
        if reply != RIGHT {
            return denied(Denial::Refused, None);
        }
        *self.verified.lock().unwrap() = true;
        step(Action::Granted, "", Details::default())
    }

    fn cancel(&self, id: u64) {
        note(&self.log, format!("Verifier.Cancel {id}"));
    }
}

struct Admin {
    log: Log,
    held: Arc<Mutex<Held>>,
    /// Calls of `Import` so far, those under way, and the most under way at a time.
    calls: Arc<Mutex<(usize, usize, usize)>>,
    arrived: Notify,
}

#[zbus::interface(name = "org.countersign.Countersign1.Admin")]
impl Admin {
    fn accounts(&self, filter: AccountFilter, after: &str) -> AccountPage {
        note(&self.log, format!("Admin.Accounts {filter:?} {after:?}"));
        if filter.gone == Some(true) {
            return AccountPage { accounts: self.held.lock().unwrap().gone.clone(), ..AccountPage::default() };
        }
        let account = |name: &str, state: AccountState, locked_for, last_used| Account {
            name: name.to_owned(),
            uid: (name != "carol").then_some(1000),
            state: state as u32,
            authenticators: 1,
            authenticators_off: u32::from(name == "carol") * 2,
            recovery_codes_left: 10,
            failures: if name == "carol" { 7 } else { 3 },
            locked_for,
            last_used,
            remembered: 2,
            enroll_by: None,
        };
        let observe = self.held.lock().unwrap().observe.clone();
        match after {
            "" => AccountPage {
                accounts: vec![
                    account("alice", AccountState::Active, None, Some(1_234_567_890)),
                    account("bo\x1b[2Jb", AccountState::Locked, Some(27), None),
                ],
                next: "bob".to_owned(),
                observe,
            },
            _ => AccountPage {
                accounts: [account("carol", AccountState::Disabled, None, None)]
                    .into_iter()
                    .chain(self.held.lock().unwrap().unenrolled.clone())
                    .collect(),
                next: String::new(),
                observe,
            },
        }
    }

    fn unlock(&self, user: &str) -> Result<(), Error> {
        note(&self.log, format!("Admin.Unlock {user}"));
        refuse(user)
    }

    fn disable(&self, user: &str) -> Result<(), Error> {
        note(&self.log, format!("Admin.Disable {user}"));
        refuse(user)
    }

    fn enable(&self, user: &str) -> Result<(), Error> {
        note(&self.log, format!("Admin.Enable {user}"));
        refuse(user)
    }

    fn disable_authenticator(&self, user: &str, authenticator: &str) -> Result<(), Error> {
        note(&self.log, format!("Admin.DisableAuthenticator {user} {authenticator}"));
        refuse(user)
    }

    fn enable_authenticator(&self, user: &str, authenticator: &str) -> Result<(), Error> {
        note(&self.log, format!("Admin.EnableAuthenticator {user} {authenticator}"));
        refuse(user)
    }

    fn export(&self, user: &str, authenticator: &str) -> Result<Offer, Error> {
        note(&self.log, format!("Admin.Export {user} {authenticator}"));
        refuse(user)?;
        let kind = if authenticator == "00000007" { "hotp" } else { "totp" };
        let mut offer = Offer::default();
        offer.secret = SECRET.to_owned();
        offer.uri = format!("otpauth://{kind}/gate:{user}?secret={SECRET}&issuer=gate");
        offer.account = user.to_owned();
        offer.label = "phone".to_owned();
        offer.kind = kind.to_owned();
        offer.algorithm = "SHA1".to_owned();
        offer.digits = 6;
        offer.period = if kind == "hotp" { 0 } else { 30 };
        Ok(offer)
    }

    fn reset(&self, user: &str, allow_enrolment: u64) -> Result<(), Error> {
        note(&self.log, format!("Admin.Reset {user} {allow_enrolment}"));
        refuse(user)
    }

    fn account(&self, user: &str) -> Result<EnrollmentSummary, Error> {
        note(&self.log, format!("Admin.Account {user}"));
        match user {
            "gone" => Ok(EnrollmentSummary {
                account: user.to_owned(),
                failures: 2,
                enroll_by: Some("2027-01-31".into()),
                ..EnrollmentSummary::default()
            }),
            _ => Err(Error::NotEnrolled(String::new())),
        }
    }

    fn forget(&self, user: &str) -> Result<u32, Error> {
        note(&self.log, format!("Admin.Forget {user}"));
        refuse(user).map(|()| if user == "alice" { 2 } else { 0 })
    }

    fn prune(&self, user: &str) -> Result<(), Error> {
        note(&self.log, format!("Admin.Prune {user}"));
        match user {
            "came-back" => Err(Error::InvalidArgument(String::new())),
            _ => refuse(user),
        }
    }

    fn audit(&self, filter: AuditFilter, after: u64, limit: u32) -> Result<AuditPage, Error> {
        note(&self.log, format!("Admin.Audit {filter:?} {after}"));
        refuse(filter.user.as_deref().unwrap_or_default())?;
        let held = self.held.lock().unwrap();
        let later = held.audit.iter().filter(|entry| entry.seq > after);
        let entries: Vec<_> = later.take(limit.min(2) as usize).cloned().collect();
        let next = entries.last().map_or(after, |entry| entry.seq);
        Ok(AuditPage { entries, next })
    }

    fn verify_audit(&self) -> AuditReport {
        note(&self.log, "Admin.VerifyAudit".to_owned());
        let held = self.held.lock().unwrap();
        held.broken.clone().unwrap_or_else(|| sound(&held.audit))
    }

    fn compare_audit(&self, witnesses: Vec<AuditWitness>) -> AuditReport {
        note(&self.log, format!("Admin.CompareAudit {}", witnesses.len()));
        match witnesses.iter().find(|witness| witness.chain == "ffffffffffffffff") {
            None => sound(&self.held.lock().unwrap().audit),
            Some(other) => AuditReport {
                finding: AuditFinding::Contradicted as u32,
                record: Some(other.seq),
                text: format!("audit record {} is not the one that syslog was told of", other.seq),
                ..AuditReport::default()
            },
        }
    }

    fn health(&self) -> Health {
        note(&self.log, "Admin.Health".to_owned());
        self.held.lock().unwrap().health.clone()
    }

    fn rotate_key(&self) -> Result<(), Error> {
        note(&self.log, "Admin.RotateKey".to_owned());
        let mut held = self.held.lock().unwrap();
        if held.key.source == "credential" {
            return Err(Error::InvalidArgument("the master key is a systemd credential".to_owned()));
        }
        if held.key.previous.is_some() {
            return Err(Error::Busy(String::new()));
        }
        held.key.previous = Some("1111111111111111".to_owned());
        held.key.resealed = Some(0);
        Ok(())
    }

    /// A rotation comes to one more account each time that it is looked at.
    fn key_status(&self) -> KeyStatus {
        note(&self.log, "Admin.KeyStatus".to_owned());
        let mut held = self.held.lock().unwrap();
        let status = held.key.clone();
        if let Some(resealed) = &mut held.key.resealed {
            *resealed += 1;
            if *resealed > status.accounts {
                held.key = KeyStatus { previous: None, resealed: None, ..status.clone() };
            }
        }
        status
    }

    /// Writes what the daemon would, with a marker in the place of the database.
    fn backup(&self, pipe: zbus::OwnedFd) -> Result<u64, Error> {
        note(&self.log, "Admin.Backup".to_owned());
        let mut pipe = std::fs::File::from(std::os::fd::OwnedFd::from(pipe));
        pipe.write_all(dbus_api::BACKUP_HEADER).unwrap();
        pipe.write_all(SEALED_MARK).unwrap();
        match self.held.lock().unwrap().no_backup.clone() {
            Some(why) => Err(Error::Unavailable(why)),
            None => Ok(2),
        }
    }

    fn accept_host(&self) {
        note(&self.log, "Admin.AcceptHost".to_owned());
    }

    fn settings(&self) -> Vec<Setting> {
        let setting = |key: &str, value: &str, origin: &str| Setting {
            key: key.to_owned(),
            value: value.to_owned(),
            origin: origin.to_owned(),
        };
        vec![
            setting("tries", "2", "/etc/countersign/countersign.toml:1"),
            setting("throttling.locks", "[\"30s\", \"1m\"]", "default"),
            setting("prompt", "\"C\u{9b}2J: \"", "default"),
        ]
    }

    fn explain(&self, user: &str, origin: Origin, supposition: Supposition) -> Result<Explanation, Error> {
        note(&self.log, format!("Admin.Explain {user} {origin:?} {supposition:?}"));
        refuse(user).or_else(|error| if user == "fresh" { Ok(()) } else { Err(error) })?;
        if supposition.at.as_deref() == Some("soon") {
            return Err(Error::InvalidArgument("a moment is written as 2027-01-31".to_owned()));
        }
        Ok(explanation::of(user))
    }

    fn rehearse(&self, users: Vec<String>, origin: Origin, supposition: Supposition) -> Result<Vec<Rehearsed>, Error> {
        note(&self.log, format!("Admin.Rehearse {} {:?} {supposition:?}", users.len(), origin.service));
        Ok(users.iter().map(|user| explanation::in_short(user)).collect())
    }

    async fn import(&self, records: Vec<ImportRecord>) -> Result<Vec<ImportResult>, Error> {
        let first = records[0].account.clone();
        let most = {
            let mut calls = self.calls.lock().unwrap();
            calls.0 += 1;
            calls.1 += 1;
            calls.2 = calls.2.max(calls.1);
            calls.2
        };
        note(&self.log, format!("Admin.Import {} {first} {most}", records.len()));
        self.arrived.notify_waiters();
        if first == "together" {
            self.wait_for_calls(TOGETHER).await;
            // Whether one more comes that should not can only be waited for.
            let _ = tokio::time::timeout(ONE_TOO_MANY, self.wait_for_calls(TOGETHER + 1)).await;
        }
        self.calls.lock().unwrap().1 -= 1;
        if first == "denied" {
            return Err(Error::AccessDenied("importing is root's alone".to_owned()));
        }
        Ok(records.iter().map(import_one).collect())
    }

    fn check_import(&self, records: Vec<ImportRecord>) -> Vec<ImportResult> {
        note(&self.log, format!("Admin.CheckImport {} {}", records.len(), records[0].account));
        records.iter().map(import_one).collect()
    }
}

impl Admin {
    async fn wait_for_calls(&self, number: usize) {
        loop {
            let arrived = self.arrived.notified();
            if self.calls.lock().unwrap().0 >= number {
                return;
            }
            arrived.await;
        }
    }
}

fn sound(audit: &[AuditEntry]) -> AuditReport {
    let seq = |entry: Option<&AuditEntry>| entry.map_or(0, |entry| entry.seq);
    AuditReport {
        finding: AuditFinding::Sound as u32,
        record: None,
        text: String::new(),
        first: Some(seq(audit.first()).max(1)),
        last: Some(seq(audit.last())),
    }
}

fn import_one(record: &ImportRecord) -> ImportResult {
    let (outcome, remark) = match record.account.as_str() {
        "known" => (ImportOutcome::Present, ""),
        "later" => (ImportOutcome::AddedUnbound, ""),
        "moved" => (ImportOutcome::CaughtUp, "spent"),
        "refused" => (ImportOutcome::Refused, "too \x1b[2J short"),
        _ => (ImportOutcome::Added, ""),
    };
    ImportResult { outcome: outcome as u32, remark: remark.to_owned() }
}
