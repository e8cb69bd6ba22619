//! Records as rows: how an account's state is written down, signed, and recognised as altered.
//! Everything read here comes from the disk and is believed only after its signature was checked.

use std::time::Duration;

use rusqlite::{Row, Statement, named_params};
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
        FROM accounts WHERE name = :name";
    pub(super) const WRITE: &'static str = "INSERT INTO accounts VALUES (:name, :uid, :failures, :recent, :locks, \
        :lock_since, :lock_boot, :lock_elapsed, :lock_lasts, :disabled, :last_decision, :last_granted, \
        :enrolment_until, :mac, :failed_at, :failed_from, :remembered, :notices, \
        :scratch_codes) \
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
        let lock = match row.get::<_, Option<i64>>("lock_since")? {
            Some(since) => Some(Lock {
                since: WallTime(since.cast_unsigned()),
                since_boot: BootTime {
                    boot: row.get("lock_boot")?,
                    elapsed: row.get::<_, i64>("lock_elapsed")?.cast_unsigned(),
                },
                lasts: Duration::from_millis(row.get::<_, i64>("lock_lasts")?.cast_unsigned()),
            }),
            None => None,
        };
        let throttle = Throttle {
            failures: row.get("failures")?,
            recent: moments(&row.get::<_, Vec<u8>>("recent")?),
            locks: row.get("locks")?,
            lock,
            disabled: match row.get::<_, Option<String>>("disabled")?.as_deref() {
                None => None,
                Some("failures") => Some(Disabled::Failures),
                // Whatever else stands there disables as well: an altered word must not enable.
                Some(_) => Some(Disabled::Administrator),
            },
        };
        let read = Self {
            name: row.get("name")?,
            uid: row.get("uid")?,
            throttle,
            last_decision: moment(row, "last_decision")?,
            last_granted: moment(row, "last_granted")?,
            enrolment_until: moment(row, "enrolment_until")?,
            last_failure: last_failure(row)?,
            attached: Signatures {
                remembered: row.get("remembered")?,
                notices: row.get("notices")?,
                scratch_codes: row.get("scratch_codes")?,
            },
        };
        Ok((read, row.get("mac")?))
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
        statement.execute(named_params! {
            ":name": self.name, ":uid": self.uid, ":failures": self.throttle.failures, ":recent": self.recent(),
            ":locks": self.throttle.locks, ":lock_since": lock.map(|lock| lock.since.0.cast_signed()),
            ":lock_boot": lock.map(|lock| lock.since_boot.boot),
            ":lock_elapsed": lock.map(|lock| lock.since_boot.elapsed.cast_signed()),
            ":lock_lasts": lock.map(|lock| milliseconds(lock.lasts).cast_signed()),
            ":disabled": self.throttle.disabled.map(disabled_name), ":last_decision": stored(self.last_decision),
            ":last_granted": stored(self.last_granted), ":enrolment_until": stored(self.enrolment_until),
            ":failed_at": stored(self.last_failure.as_ref().map(|last| last.at)),
            ":failed_from": self.last_failure.as_ref().and_then(|last| last.from.as_deref()),
            ":remembered": self.attached.remembered, ":notices": self.attached.notices,
            ":scratch_codes": self.attached.scratch_codes, ":mac": mac,
        })?;
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
        label, active, created, last_used, last_step, drift, counter, far_counter, far_at, expires, mac \
        FROM authenticators WHERE account = :account ORDER BY created, id";
    pub(super) const WRITE: &'static str = "INSERT OR REPLACE INTO authenticators VALUES (:account, :id, :key_id, \
        :nonce, :sealed, :kind, :algorithm, :digits, :period, :label, :active, :created, :last_used, :last_step, \
        :drift, :counter, :far_counter, :far_at, :mac, :expires)";

    /// Reads a row; its secret is still sealed, and an empty one stands in its place in `authenticator`.
    pub(super) fn read(row: &Row<'_>, placeholder: &Secret) -> rusqlite::Result<Option<Self>> {
        let Some((parameters, moving)) = fixed_and_moving(row)? else { return Ok(None) };
        Ok(Some(Self {
            authenticator: Authenticator {
                id: AuthenticatorId(row.get("id")?),
                label: row.get("label")?,
                active: row.get("active")?,
                parameters,
                secret: placeholder.clone(),
                moving,
                created: WallTime(row.get::<_, i64>("created")?.cast_unsigned()),
                last_used: moment(row, "last_used")?,
                expires: moment(row, "expires")?,
            },
            key_id: row.get("key_id")?,
            sealed: Sealed { nonce: row.get("nonce")?, bytes: row.get("sealed")? },
            mac: row.get("mac")?,
        }))
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
        let Authenticator { id, label, active, parameters, moving, created, last_used, expires, .. } =
            &self.authenticator;
        let moving = Columns::of(*moving);
        statement.execute(named_params! {
            ":account": account, ":id": id.0, ":key_id": self.key_id, ":nonce": self.sealed.nonce,
            ":sealed": self.sealed.bytes, ":kind": parameters.kind.name(), ":algorithm": parameters.algorithm.name(),
            ":digits": parameters.digits.number(), ":period": period(*parameters), ":label": label,
            ":active": active, ":created": created.0.cast_signed(), ":last_used": stored(*last_used),
            ":last_step": moving.last_step.map(u64::cast_signed), ":drift": moving.drift,
            ":counter": moving.counter.map(u64::cast_signed), ":far_counter": moving.far_counter.map(u64::cast_signed),
            ":far_at": moving.far_at.map(u64::cast_signed), ":mac": self.mac, ":expires": stored(*expires),
        })?;
        Ok(())
    }

    /// What came with version 5 is written behind everything else, and only where it is there, as in `AccountRow`.
    fn encoding(&self, account: &str) -> Encoding {
        let Authenticator { id, label, active, parameters, moving, created, last_used, expires, .. } =
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
            .optional(moving.drift.map(i8::to_be_bytes).as_ref().map(<[u8; 1]>::as_slice))
            .optional_number(moving.counter)
            .optional_number(moving.far_counter)
            .optional_number(moving.far_at);
        match expires {
            Some(expires) => encoding.number(expires.0),
            None => encoding,
        }
    }
}

/// One row of `recovery_codes`: all of an account's, used ones too.
pub(super) struct RecoveryRow {
    codes: Vec<u8>,
    pub(super) mac: Mac,
}

impl RecoveryRow {
    pub(super) const SELECT: &'static str = "SELECT codes, mac FROM recovery_codes WHERE account = :account";
    pub(super) const WRITE: &'static str = "INSERT OR REPLACE INTO recovery_codes VALUES (:account, :codes, :mac)";

    /// The row of these codes; `None` where there are none.
    pub(super) fn make(account: &str, codes: &[StoredRecoveryCode], keys: &Keys) -> Option<Self> {
        let codes: Vec<u8> = codes.iter().flat_map(write_code).collect();
        let row = Self { codes, mac: Mac::default() };
        (!row.codes.is_empty()).then(|| Self { mac: keys.sign(&row.encoding(account)), ..row })
    }

    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { codes: row.get("codes")?, mac: row.get("mac")? })
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
        statement.execute(named_params! { ":account": account, ":codes": self.codes, ":mac": self.mac })?;
        Ok(())
    }

    fn encoding(&self, account: &str) -> Encoding {
        Encoding::of("recovery_codes").text(account).bytes(&self.codes)
    }
}

/// What changes in an authenticator, as columns.
#[derive(Default)]
struct Columns {
    last_step: Option<u64>,
    drift: Option<i8>,
    counter: Option<u64>,
    far_counter: Option<u64>,
    far_at: Option<u64>,
}

impl Columns {
    fn of(moving: Moving) -> Self {
        match moving {
            Moving::Totp(Totp { last, drift }) => {
                Self { last_step: last.map(|step| step.0), drift: Some(drift), ..Self::default() }
            }
            Moving::Hotp(Hotp { next, far }) => Self {
                counter: Some(next.0),
                far_counter: far.map(|(counter, _)| counter.0),
                far_at: far.map(|(_, at)| at.0),
                ..Self::default()
            },
        }
    }
}

fn fixed_and_moving(row: &Row<'_>) -> rusqlite::Result<Option<(Parameters, Moving)>> {
    let number = |name| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(name)?.map(i64::cast_unsigned));
    let digits = Digits::new(row.get("digits")?).ok();
    let algorithm = Algorithm::parse(&row.get::<_, String>("algorithm")?).ok();
    let period = row.get::<_, Option<u32>>("period")?;
    let (kind, moving) = match (row.get::<_, String>("kind")?.as_str(), period) {
        ("totp", Some(period)) => {
            let drift = row.get::<_, Option<i8>>("drift")?.unwrap_or_default();
            let totp = Totp { last: number("last_step")?.map(TimeStep), drift };
            (Period::new(period).ok().map(Kind::Totp), Moving::Totp(totp))
        }
        ("hotp", None) => {
            let far = number("far_counter")?.zip(number("far_at")?);
            let far = far.map(|(counter, at)| (Counter(counter), WallTime(at)));
            let next = Counter(number("counter")?.unwrap_or_default());
            (Some(Kind::Hotp), Moving::Hotp(Hotp { next, far }))
        }
        _ => return Ok(None),
    };
    let fixed =
        kind.zip(algorithm).zip(digits).map(|((kind, algorithm), digits)| Parameters { kind, algorithm, digits });
    Ok(fixed.map(|fixed| (fixed, moving)))
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

fn moment(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<WallTime>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(|moment| WallTime(moment.cast_unsigned())))
}

fn last_failure(row: &Row<'_>) -> rusqlite::Result<Option<LastFailure>> {
    let from = row.get("failed_from")?;
    Ok(moment(row, "failed_at")?.map(|at| LastFailure { at, from }))
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
