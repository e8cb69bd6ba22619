//! Rows attached to a record: remembered logins, scratch codes, and notices that wait. One signature covers all of an account's rows
//! of a kind and stands in its record, which is signed itself: an added, altered, deleted, swapped or older row shows.
//! The record does not need them, so it goes on without: whoever alters them makes no more of it than that a code is
//! asked for, and a line in the log.

use std::marker::PhantomData;
use std::time::Duration;

use rusqlite::{Connection, Row, Statement, named_params};
use verifier::{AuthenticatorId, BootTime, Place, RecoveryDigest, Remembered, StoredScratchCode, WallTime};

use super::StoreError;
use super::encoding::Encoding;
use super::row::milliseconds;
use super::seal::{Keys, Mac};
use super::trail::is_type;
use crate::notice::{By, Notice, What};

/// What one row holds.
pub(super) trait Attached: Sized {
    /// The table.
    const TABLE: &'static str;
    /// The names of the table's columns behind `account` and `number`, as parameters.
    const COLUMNS: &'static str;
    /// Reads a row; `None` where it holds what was never written.
    fn read(row: &Row<'_>) -> rusqlite::Result<Option<Self>>;
    /// Writes a row.
    fn write(&self, account: &str, number: u32, statement: &mut Statement<'_>) -> rusqlite::Result<usize>;
    /// Writes it down for the signature.
    fn encode(&self, encoding: Encoding) -> Encoding;
}

/// The signature of an account's rows; `None` where there are none.
pub(super) fn sign<T: Attached>(account: &str, uid: Option<u32>, rows: &[T], keys: &Keys) -> Option<Mac> {
    (!rows.is_empty()).then(|| keys.sign(&encode(account, uid, rows)))
}

/// All of an account's rows. The uid is part of it: who comes under the same name with another one has none of them.
fn encode<T: Attached>(account: &str, uid: Option<u32>, rows: &[T]) -> Encoding {
    let encoding = Encoding::of(T::TABLE).text(account).optional_number(uid.map(u64::from)).number(rows.len() as u64);
    rows.iter().fold(encoding, |encoding, row| row.encode(encoding))
}

/// The statements about one kind of rows, prepared once a connection.
pub(super) struct Table<'c, T> {
    select: Statement<'c>,
    write: Statement<'c>,
    remove: Statement<'c>,
    rows: PhantomData<T>,
}

impl<'c, T: Attached> Table<'c, T> {
    pub(super) fn new(connection: &'c Connection) -> Result<Self, StoreError> {
        let (table, columns) = (T::TABLE, T::COLUMNS);
        Ok(Self {
            select: connection.prepare(&format!("SELECT * FROM {table} WHERE account = :account ORDER BY number"))?,
            write: connection.prepare(&format!("INSERT INTO {table} VALUES (:account, :number, {columns})"))?,
            remove: connection.prepare(&format!("DELETE FROM {table} WHERE account = :account"))?,
            rows: PhantomData,
        })
    }

    /// The rows that this signature covers; `None` where what lies there is something else. Where the record knows of
    /// none, nothing is looked for.
    pub(super) fn load(
        &mut self,
        account: &str,
        uid: Option<u32>,
        signature: Option<&Mac>,
        keys: &Keys,
    ) -> Result<Option<Vec<T>>, rusqlite::Error> {
        let Some(signature) = signature else { return Ok(Some(Vec::new())) };
        let rows = self.select.query_map(named_params! { ":account": account }, T::read)?;
        match rows.collect::<Result<Option<Vec<T>>, _>>() {
            Ok(rows) => Ok(rows.filter(|rows| keys.verifies(&encode(account, uid, rows), signature))),
            Err(error) if is_type(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Replaces an account's rows.
    pub(super) fn save(&mut self, account: &str, rows: &[T]) -> Result<(), rusqlite::Error> {
        self.remove(account)?;
        for (number, row) in (0..).zip(rows) {
            row.write(account, number, &mut self.write)?;
        }
        Ok(())
    }

    /// Removes an account's rows, whatever state they are in; tells how many there were.
    pub(super) fn remove(&mut self, account: &str) -> Result<usize, rusqlite::Error> {
        self.remove.execute(named_params! { ":account": account })
    }
}

impl Attached for Remembered {
    const TABLE: &'static str = "remembered";
    const COLUMNS: &'static str = ":service, :address, :since, :boot, :elapsed, :lasts";

    fn read(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let (service, address) = (row.get::<_, String>("service")?, row.get::<_, String>("address")?);
        let number = |name| Ok::<_, rusqlite::Error>(row.get::<_, i64>(name)?.cast_unsigned());
        let since = WallTime(number("since")?);
        let since_boot = BootTime { boot: row.get("boot")?, elapsed: number("elapsed")? };
        let lasts = Duration::from_millis(number("lasts")?);
        let place = address.parse().ok().and_then(|address| Place::new(&service, address));
        Ok(place.map(|place| Self { place, since, since_boot, lasts }))
    }

    fn write(&self, account: &str, number: u32, statement: &mut Statement<'_>) -> rusqlite::Result<usize> {
        statement.execute(named_params! {
            ":account": account, ":number": number, ":service": self.place.service(),
            ":address": self.place.address().to_string(), ":since": self.since.0.cast_signed(),
            ":boot": self.since_boot.boot, ":elapsed": self.since_boot.elapsed.cast_signed(),
            ":lasts": milliseconds(self.lasts).cast_signed(),
        })
    }

    fn encode(&self, encoding: Encoding) -> Encoding {
        encoding
            .text(self.place.service())
            .text(&self.place.address().to_string())
            .number(self.since.0)
            .bytes(&self.since_boot.boot)
            .number(self.since_boot.elapsed)
            .number(milliseconds(self.lasts))
    }
}

impl Attached for StoredScratchCode {
    const TABLE: &'static str = "scratch_codes";
    const COLUMNS: &'static str = ":authenticator, :salt, :digest, :used, :expires";

    fn read(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let moment = |name| Ok::<_, rusqlite::Error>(row.get::<_, Option<i64>>(name)?.map(i64::cast_unsigned));
        let (used, expires) = (moment("used")?.map(WallTime), moment("expires")?.map(WallTime));
        let authenticator = AuthenticatorId(row.get("authenticator")?);
        let (salt, digest) = (row.get("salt")?, RecoveryDigest(row.get("digest")?));
        Ok(expires.map(|expires| Self { authenticator, salt, digest, used, expires }))
    }

    fn write(&self, account: &str, number: u32, statement: &mut Statement<'_>) -> rusqlite::Result<usize> {
        statement.execute(named_params! {
            ":account": account, ":number": number, ":authenticator": self.authenticator.0, ":salt": self.salt,
            ":digest": self.digest.0, ":used": self.used.map(|used| used.0.cast_signed()),
            ":expires": self.expires.0.cast_signed(),
        })
    }

    fn encode(&self, encoding: Encoding) -> Encoding {
        encoding
            .number(u64::from(self.authenticator.0))
            .bytes(&self.salt)
            .bytes(&self.digest.0)
            .optional_number(self.used.map(|used| used.0))
            .number(self.expires.0)
    }
}

impl Attached for Notice {
    const TABLE: &'static str = "notices";
    const COLUMNS: &'static str = ":at, :what, :label, :further, :by, :host";

    fn read(row: &Row<'_>) -> rusqlite::Result<Option<Self>> {
        let label = row.get::<_, Option<String>>("label")?;
        let further = row.get::<_, Option<u32>>("further")?;
        let what = match (row.get::<_, String>("what")?.as_str(), label, further) {
            ("added", Some(label), None) => What::Added(label),
            ("removed", Some(label), None) => What::Removed(label),
            ("disabled-one", Some(label), None) => What::DisabledOne(label),
            ("enabled-one", Some(label), None) => What::EnabledOne(label),
            ("resynchronised", Some(label), None) => What::Resynchronised(label),
            ("exported", Some(label), None) => What::Exported(label),
            ("recovery-code", None, None) => What::RecoveryCode,
            ("disabled", None, None) => What::Disabled,
            ("reset", None, None) => What::Reset,
            ("further", None, Some(many)) => What::Further(many),
            _ => return Ok(None),
        };
        let by = match (row.get::<_, String>("by")?.as_str(), row.get("host")?) {
            ("administrator", None) => By::Administrator,
            ("owner", None) => By::Owner,
            ("login", host) => By::Login(host),
            _ => return Ok(None),
        };
        Ok(Some(Self { at: WallTime(row.get::<_, i64>("at")?.cast_unsigned()), what, by }))
    }

    fn write(&self, account: &str, number: u32, statement: &mut Statement<'_>) -> rusqlite::Result<usize> {
        let Texts { what, label, further, by, host } = Texts::of(self);
        statement.execute(named_params! {
            ":account": account, ":number": number, ":at": self.at.0.cast_signed(), ":what": what,
            ":label": label, ":further": further, ":by": by, ":host": host,
        })
    }

    fn encode(&self, encoding: Encoding) -> Encoding {
        let Texts { what, label, further, by, host } = Texts::of(self);
        encoding
            .number(self.at.0)
            .text(what)
            .optional_text(label)
            .optional_number(further.map(u64::from))
            .text(by)
            .optional_text(host)
    }
}

/// A notice as columns.
struct Texts<'a> {
    what: &'static str,
    label: Option<&'a str>,
    further: Option<u32>,
    by: &'static str,
    host: Option<&'a str>,
}

impl<'a> Texts<'a> {
    fn of(notice: &'a Notice) -> Self {
        let (what, label, further) = match &notice.what {
            What::Added(label) => ("added", Some(label.as_str()), None),
            What::Removed(label) => ("removed", Some(label.as_str()), None),
            What::DisabledOne(label) => ("disabled-one", Some(label.as_str()), None),
            What::EnabledOne(label) => ("enabled-one", Some(label.as_str()), None),
            What::Resynchronised(label) => ("resynchronised", Some(label.as_str()), None),
            What::Exported(label) => ("exported", Some(label.as_str()), None),
            What::RecoveryCode => ("recovery-code", None, None),
            What::Disabled => ("disabled", None, None),
            What::Reset => ("reset", None, None),
            What::Further(many) => ("further", None, Some(*many)),
        };
        let (by, host) = match &notice.by {
            By::Administrator => ("administrator", None),
            By::Owner => ("owner", None),
            By::Login(host) => ("login", host.as_deref()),
        };
        Self { what, label, further, by, host }
    }
}
