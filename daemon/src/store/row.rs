//! Records as rows: how an account's state is written down, signed, and recognised as altered.
//! Everything read here comes from the disk and is believed only after its signature was checked.

use std::time::Duration;

use rusqlite::types::{FromSql, Type};
use rusqlite::{Row, Statement, params};
use verifier::throttling::{Disabled, Lock};
use verifier::{
    Account, Algorithm, Authenticator, AuthenticatorId, BootTime, Counter, Digits, Hotp, Kind, Moving, Parameters,
    Period, RecoveryDigest, Secret, StoredRecoveryCode, Throttle, TimeStep, Totp, WallTime,
};

use super::encoding::Encoding;
use super::seal::{Belonging, Keys, Mac, Sealed};
use super::{Record, StoreError};
use crate::notice::LastFailure;

/// Bytes of one recovery code in its row: the digest, whether it was used, when.
const RECOVERY_CODE: usize = 32 + 1 + 8;

/// One row of `accounts`.
pub(super) struct AccountRow {
    pub(super) name: String,
    pub(super) uid: Option<u32>,
    throttle: Throttle,
    last_decision: Option<WallTime>,
    last_granted: Option<WallTime>,
    enrolment_until: Option<WallTime>,
    last_failure: Option<LastFailure>,
    pub(super) attached: Signatures,
}

/// The signatures of what is attached to a record.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Signatures {
    pub(super) remembered: Option<Mac>,
    pub(super) notices: Option<Mac>,
    pub(super) scratch_codes: Option<Mac>,
}

impl AccountRow {
    pub(super) const SELECT: &'static str = "SELECT name, uid, failures, recent, locks, lock_since, lock_boot, \
        lock_elapsed, lock_lasts, disabled, last_decision, last_granted, enrolment_until, failed_at, failed_from, \
        remembered, notices, scratch_codes, mac \
        FROM accounts WHERE name = ?";
    pub(super) const WRITE: &'static str = "INSERT INTO accounts \
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) \
        ON CONFLICT (name) DO UPDATE SET uid = excluded.uid, failures = excluded.failures, recent = excluded.recent, locks = excluded.locks, lock_since = excluded.lock_since, \
        lock_boot = excluded.lock_boot, lock_elapsed = excluded.lock_elapsed, lock_lasts = excluded.lock_lasts, \
        disabled = excluded.disabled, last_decision = excluded.last_decision, last_granted = excluded.last_granted, \
        enrolment_until = excluded.enrolment_until, mac = excluded.mac, failed_at = excluded.failed_at, \
        failed_from = excluded.failed_from, remembered = excluded.remembered, notices = excluded.notices, \
        scratch_codes = excluded.scratch_codes";

    pub(super) fn of(record: &Record, attached: Signatures) -> Self {
        Self {
            name: record.name.clone(),
            uid: record.uid,
            throttle: record.account.throttle.clone(),
            last_decision: record.account.last_decision,
            last_granted: record.account.last_granted,
            enrolment_until: record.enrolment_until,
            last_failure: record.last_failure.clone(),
            attached,
        }
    }

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<(Self, Mac)> {
        let mut row = InOrder::of(row);
        let (name, uid) = (row.next()?, row.next()?);
        let (failures, recent, locks) = (row.next()?, moments(&row.next::<Vec<u8>>()?), row.next()?);
        let (since, boot, elapsed, lasts) =
            (row.moment()?, row.next::<Option<[u8; 16]>>()?, row.number()?, row.number()?);
        let disabled = row.next::<Option<String>>()?;
        let (last_decision, last_granted, enrolment_until) = (row.moment()?, row.moment()?, row.moment()?);
        let (failed_at, from) = (row.moment()?, row.next()?);
        let attached = Signatures { remembered: row.next()?, notices: row.next()?, scratch_codes: row.next()? };
        let lock = match (since, boot, elapsed, lasts) {
            (Some(since), Some(boot), Some(elapsed), Some(lasts)) => {
                Some(Lock { since, since_boot: BootTime { boot, elapsed }, lasts: Duration::from_millis(lasts) })
            }
            (None, ..) => None,
            // Half a lock was never written.
            _ => return Err(rusqlite::Error::InvalidColumnType(5, "lock_since".to_owned(), Type::Null)),
        };
        let disabled = match disabled.as_deref() {
            None => None,
            Some("failures") => Some(Disabled::Failures),
            // Whatever else stands there disables as well: an altered word must not enable.
            Some(_) => Some(Disabled::Administrator),
        };
        let throttle = Throttle { failures, recent, locks, lock, disabled };
        let last_failure = failed_at.map(|at| LastFailure { at, from });
        let read = Self { name, uid, throttle, last_decision, last_granted, enrolment_until, last_failure, attached };
        Ok((read, row.next()?))
    }

    /// Signs the row together with the signatures of all that belongs to it, so that a removed, added or
    /// older part shows as well.
    pub(super) fn sign(&self, parts: &[Mac], keys: &Keys) -> Mac {
        keys.sign(&self.encoding(parts))
    }

    pub(super) fn verifies(&self, parts: &[Mac], mac: &Mac, keys: &Keys) -> bool {
        keys.verifies(&self.encoding(parts), mac)
    }

    pub(super) fn write(&self, statement: &mut Statement<'_>, mac: &Mac) -> rusqlite::Result<()> {
        let lock = self.throttle.lock;
        statement.execute(params![
            self.name,
            self.uid,
            self.throttle.failures,
            self.recent(),
            self.throttle.locks,
            lock.map(|lock| lock.since.0.cast_signed()),
            lock.map(|lock| lock.since_boot.boot),
            lock.map(|lock| lock.since_boot.elapsed.cast_signed()),
            lock.map(|lock| milliseconds(lock.lasts).cast_signed()),
            self.throttle.disabled.map(disabled_name),
            stored(self.last_decision),
            stored(self.last_granted),
            stored(self.enrolment_until),
            mac,
            stored(self.last_failure.as_ref().map(|last| last.at)),
            self.last_failure.as_ref().and_then(|last| last.from.as_deref()),
            self.attached.remembered,
            self.attached.notices,
            self.attached.scratch_codes,
        ])?;
        Ok(())
    }

    /// The record with these parts; what is attached to it is still to come.
    pub(super) fn record(self, authenticators: Vec<Authenticator>, recovery: Vec<StoredRecoveryCode>) -> Record {
        Record {
            name: self.name,
            uid: self.uid,
            account: Account {
                throttle: self.throttle,
                authenticators,
                recovery_codes: recovery,
                scratch_codes: Vec::new(),
                last_decision: self.last_decision,
                last_granted: self.last_granted,
                remembered: Vec::new(),
            },
            enrolment_until: self.enrolment_until,
            last_failure: self.last_failure,
            notices: Vec::new(),
        }
    }

    fn recent(&self) -> Vec<u8> {
        self.throttle.recent.iter().flat_map(|moment| moment.0.to_be_bytes()).collect()
    }

    /// What came with versions 2, 3 and 5 is written behind everything else, and only where it is there: a row without
    /// it is signed as version 1 signed it, so that no store has to be signed anew. The parts are counted and what
    /// versions 3 and 5 added is named, by names of other lengths than a number's, so that no two different rows share an
    /// encoding.
    fn encoding(&self, parts: &[Mac]) -> Encoding {
        let lock = self.throttle.lock;
        let encoding = Encoding::of("accounts")
            .text(&self.name)
            .optional_number(self.uid.map(u64::from))
            .number(u64::from(self.throttle.failures))
            .bytes(&self.recent())
            .number(u64::from(self.throttle.locks))
            .optional_number(lock.map(|lock| lock.since.0))
            .optional(lock.as_ref().map(|lock| lock.since_boot.boot.as_slice()))
            .optional_number(lock.map(|lock| lock.since_boot.elapsed))
            .optional_number(lock.map(|lock| milliseconds(lock.lasts)))
            .optional_text(self.throttle.disabled.map(disabled_name))
            .optional_number(self.last_decision.map(|moment| moment.0))
            .optional_number(self.last_granted.map(|moment| moment.0))
            .optional_number(self.enrolment_until.map(|moment| moment.0))
            .number(parts.len() as u64);
        let encoding = parts.iter().fold(encoding, |encoding, part| encoding.bytes(part));
        let encoding = match &self.last_failure {
            Some(last) => encoding.number(last.at.0).optional_text(last.from.as_deref()),
            None => encoding,
        };
        let Signatures { remembered, notices, scratch_codes } = &self.attached;
        let attached = [("remembered", remembered), ("notices", notices), ("scratch codes", scratch_codes)];
        attached.into_iter().fold(encoding, |encoding, (name, signature)| match signature {
            Some(signature) => encoding.text(name).bytes(signature),
            None => encoding,
        })
    }
}

/// One row of `authenticators`.
pub(super) struct AuthenticatorRow {
    pub(super) authenticator: Authenticator,
    pub(super) key_id: String,
    pub(super) sealed: Sealed,
    pub(super) mac: Mac,
}

impl AuthenticatorRow {
    pub(super) const SELECT: &'static str = "SELECT id, key_id, nonce, sealed, kind, algorithm, digits, period, \
        label, active, created, last_used, last_step, drift, counter, far_counter, far_at, expires, suspended, mac \
        FROM authenticators WHERE account = ? ORDER BY created, id";
    pub(super) const WRITE: &'static str = "INSERT OR REPLACE INTO authenticators \
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

    /// Reads a row; its secret is still sealed, and an empty one stands in its place in `authenticator`.
    pub(super) fn read(row: &Row<'_>, placeholder: &Secret) -> rusqlite::Result<Option<Self>> {
        let mut row = InOrder::of(row);
        let (id, key_id) = (AuthenticatorId(row.next()?), row.next()?);
        let sealed = Sealed { nonce: row.next()?, bytes: row.next()? };
        let fixed = fixed(&mut row)?;
        let (label, active) = (row.next()?, row.next()?);
        let (created, last_used) = (WallTime(row.next::<i64>()?.cast_unsigned()), row.moment()?);
        let moving = Columns {
            last_step: row.number()?,
            drift: row.next()?,
            counter: row.number()?,
            far_counter: row.number()?,
            far_at: row.number()?,
        };
        let expires = row.moment()?;
        let (suspended, mac) = (row.number()?.is_some(), row.next()?);
        let Some(parameters) = fixed else { return Ok(None) };
        let moving = moving.moving(parameters.kind);
        let secret = placeholder.clone();
        let authenticator =
            Authenticator { id, label, active, parameters, secret, moving, created, last_used, expires, suspended };
        Ok(Some(Self { authenticator, key_id, sealed, mac }))
    }

    /// Seals and signs an authenticator. The sealed secret of `before` is kept unless the secret or anything
    /// it is bound to differs, the key among it.
    pub(super) fn make(
        record: &Record,
        authenticator: &Authenticator,
        before: Option<(&Self, Option<u32>)>,
        keys: &Keys,
    ) -> Result<Self, StoreError> {
        let kept = before.filter(|(row, uid)| {
            *uid == record.uid
                && row.key_id == keys.id.to_string()
                && row.authenticator.parameters == authenticator.parameters
                && row.authenticator.secret.bytes() == authenticator.secret.bytes()
        });
        let sealed = match kept {
            Some((row, _)) => row.sealed.clone(),
            None => keys.seal(
                authenticator.secret.bytes(),
                &keys.associated(&belonging(&record.name, record.uid, authenticator)),
            )?,
        };
        let mut row =
            Self { authenticator: authenticator.clone(), key_id: keys.id.to_string(), sealed, mac: Mac::default() };
        row.mac = keys.sign(&row.encoding(&record.name));
        Ok(row)
    }

    pub(super) fn verifies(&self, account: &str, keys: &Keys) -> bool {
        keys.verifies(&self.encoding(account), &self.mac)
    }

    /// Opens the secret and puts it in its place.
    pub(super) fn open(&mut self, account: &str, uid: Option<u32>, keys: &Keys) -> bool {
        let associated = keys.associated(&belonging(account, uid, &self.authenticator));
        let opened = keys.open(&self.sealed, &associated).and_then(|bytes| Secret::new(bytes.to_vec()).ok());
        let is_open = opened.is_some();
        if let Some(secret) = opened {
            self.authenticator.secret = secret;
        }
        is_open
    }

    pub(super) fn write(&self, account: &str, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        let Authenticator { id, label, active, parameters, moving, created, last_used, expires, suspended, .. } =
            &self.authenticator;
        let moving = Columns::of(*moving);
        statement.execute(params![
            account,
            id.0,
            self.key_id,
            self.sealed.nonce,
            self.sealed.bytes,
            parameters.kind.name(),
            parameters.algorithm.name(),
            parameters.digits.number(),
            period(*parameters),
            label,
            active,
            created.0.cast_signed(),
            stored(*last_used),
            moving.last_step.map(u64::cast_signed),
            moving.drift,
            moving.counter.map(u64::cast_signed),
            moving.far_counter.map(u64::cast_signed),
            moving.far_at.map(u64::cast_signed),
            self.mac,
            stored(*expires),
            suspended.then_some(1),
        ])?;
        Ok(())
    }

    /// What came with versions 5 and 6 is written behind everything else, and only where it is there, as in `AccountRow`.
    fn encoding(&self, account: &str) -> Encoding {
        let Authenticator { id, label, active, parameters, moving, created, last_used, expires, suspended, .. } =
            &self.authenticator;
        let moving = Columns::of(*moving);
        let encoding = Encoding::of("authenticators")
            .text(account)
            .number(u64::from(id.0))
            .text(&self.key_id)
            .bytes(&self.sealed.nonce)
            .bytes(&self.sealed.bytes)
            .text(parameters.kind.name())
            .text(parameters.algorithm.name())
            .number(u64::from(parameters.digits.number()))
            .optional_number(period(*parameters).map(u64::from))
            .text(label)
            .number(u64::from(*active))
            .number(created.0)
            .optional_number(last_used.map(|moment| moment.0))
            .optional_number(moving.last_step)
            .optional(moving.drift.map(drift_bytes).as_deref())
            .optional_number(moving.counter)
            .optional_number(moving.far_counter)
            .optional_number(moving.far_at);
        let encoding = match expires {
            Some(expires) => encoding.number(expires.0),
            None => encoding,
        };
        if *suspended { encoding.text("suspended") } else { encoding }
    }
}

/// One row of `recovery_codes`: all of an account's, used ones too.
pub(super) struct RecoveryRow {
    codes: Vec<u8>,
    pub(super) mac: Mac,
}

impl RecoveryRow {
    pub(super) const SELECT: &'static str = "SELECT codes, mac FROM recovery_codes WHERE account = ?";
    pub(super) const WRITE: &'static str = "INSERT OR REPLACE INTO recovery_codes VALUES (?, ?, ?)";

    /// The row of these codes; `None` where there are none.
    pub(super) fn make(account: &str, codes: &[StoredRecoveryCode], keys: &Keys) -> Option<Self> {
        let codes: Vec<u8> = codes.iter().flat_map(write_code).collect();
        let row = Self { codes, mac: Mac::default() };
        (!row.codes.is_empty()).then(|| Self { mac: keys.sign(&row.encoding(account)), ..row })
    }

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { codes: row.get(0)?, mac: row.get(1)? })
    }

    pub(super) fn verifies(&self, account: &str, keys: &Keys) -> bool {
        keys.verifies(&self.encoding(account), &self.mac)
    }

    /// The codes, once the signature was checked.
    pub(super) fn codes(&self) -> Option<Vec<StoredRecoveryCode>> {
        let (whole, rest) = self.codes.as_chunks::<RECOVERY_CODE>();
        rest.is_empty().then(|| whole.iter().map(read_code).collect()).flatten()
    }

    pub(super) fn write(&self, account: &str, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        statement.execute(params![account, self.codes, self.mac])?;
        Ok(())
    }

    fn encoding(&self, account: &str) -> Encoding {
        Encoding::of("recovery_codes").text(account).bytes(&self.codes)
    }
}

/// A row's columns in the order of its `SELECT`: SQLite finds a column by its name only by comparing all names.
struct InOrder<'r, 's> {
    row: &'r Row<'s>,
    next: usize,
}

impl<'r, 's> InOrder<'r, 's> {
    fn of(row: &'r Row<'s>) -> Self {
        Self { row, next: 0 }
    }

    fn next<T: FromSql>(&mut self) -> rusqlite::Result<T> {
        let value = self.row.get(self.next)?;
        self.next += 1;
        Ok(value)
    }

    fn number(&mut self) -> rusqlite::Result<Option<u64>> {
        Ok(self.next::<Option<i64>>()?.map(i64::cast_unsigned))
    }

    fn moment(&mut self) -> rusqlite::Result<Option<WallTime>> {
        Ok(self.number()?.map(WallTime))
    }
}

/// What changes in an authenticator, as columns.
#[derive(Default)]
struct Columns {
    last_step: Option<u64>,
    drift: Option<i16>,
    counter: Option<u64>,
    far_counter: Option<u64>,
    far_at: Option<u64>,
}

impl Columns {
    fn of(moving: Moving) -> Self {
        match moving {
            Moving::Totp(Totp { last, drift }) => Self { last_step: last.map(|step| step.0), drift, ..Self::default() },
            Moving::Hotp(Hotp { next, far }) => Self {
                counter: Some(next.0),
                far_counter: far.map(|(counter, _)| counter.0),
                far_at: far.map(|(_, at)| at.0),
                ..Self::default()
            },
        }
    }

    fn moving(&self, kind: Kind) -> Moving {
        match kind {
            Kind::Totp(_) => Moving::Totp(Totp { last: self.last_step.map(TimeStep), drift: self.drift }),
            Kind::Hotp => Moving::Hotp(Hotp {
                next: Counter(self.counter.unwrap_or_default()),
                far: self.far_counter.map(Counter).zip(self.far_at.map(WallTime)),
            }),
        }
    }
}

/// What of an authenticator never changes; `None` where it was never written like this.
fn fixed(row: &mut InOrder<'_, '_>) -> rusqlite::Result<Option<Parameters>> {
    let (kind, algorithm, digits) = (row.next::<String>()?, row.next::<String>()?, row.next()?);
    let kind = match (kind.as_str(), row.next::<Option<u32>>()?) {
        ("totp", Some(period)) => Period::new(period).ok().map(Kind::Totp),
        ("hotp", None) => Some(Kind::Hotp),
        _ => None,
    };
    let parts = kind.zip(Algorithm::parse(&algorithm).ok()).zip(Digits::new(digits).ok());
    Ok(parts.map(|((kind, algorithm), digits)| Parameters { kind, algorithm, digits }))
}

/// A drift as it is signed: in one byte, as version 1 signed every one, or in two where it does not fit.
fn drift_bytes(drift: i16) -> Vec<u8> {
    i8::try_from(drift).map_or_else(|_| drift.to_be_bytes().to_vec(), |drift| drift.to_be_bytes().to_vec())
}

fn belonging<'a>(account: &'a str, uid: Option<u32>, authenticator: &Authenticator) -> Belonging<'a> {
    Belonging { account, uid, authenticator: authenticator.id.0, parameters: authenticator.parameters }
}

fn period(parameters: Parameters) -> Option<u16> {
    match parameters.kind {
        Kind::Totp(period) => Some(period.seconds()),
        Kind::Hotp => None,
    }
}

fn write_code(code: &StoredRecoveryCode) -> [u8; RECOVERY_CODE] {
    let mut bytes = [0; RECOVERY_CODE];
    let used = code.used.map_or(0, |at| at.0).to_be_bytes();
    let fields = code.digest.0.into_iter().chain([u8::from(code.used.is_some())]).chain(used);
    bytes.iter_mut().zip(fields).for_each(|(byte, field)| *byte = field);
    bytes
}

fn read_code(bytes: &[u8; RECOVERY_CODE]) -> Option<StoredRecoveryCode> {
    let (digest, rest) = bytes.split_first_chunk::<32>()?;
    let (used, at) = rest.split_first()?;
    let at = WallTime(u64::from_be_bytes(at.try_into().ok()?));
    Some(StoredRecoveryCode { digest: RecoveryDigest(*digest), used: (*used == 1).then_some(at) })
}

fn moments(bytes: &[u8]) -> Vec<WallTime> {
    // A remainder has no meaning; what has one is signed.
    bytes.as_chunks::<8>().0.iter().map(|chunk| WallTime(u64::from_be_bytes(*chunk))).collect()
}

fn stored(moment: Option<WallTime>) -> Option<i64> {
    moment.map(|moment| moment.0.cast_signed())
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

const fn disabled_name(disabled: Disabled) -> &'static str {
    match disabled {
        Disabled::Failures => "failures",
        Disabled::Administrator => "administrator",
    }
}
