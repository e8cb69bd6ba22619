//! What fuzz/ reaches of the store: a database in memory whose cells an attacker writes, read as the daemon reads its own.
//! It is part of fuzzing builds alone.

use std::net::Ipv4Addr;
use std::time::Duration;

use rusqlite::{Connection, types::Value};
use verifier::{
    Account, Algorithm, Authenticator, AuthenticatorId, Counter, Digits, Kind as Factor, Now, Parameters, Period,
    Place, RecoveryDigest, Secret, StoredRecoveryCode, StoredScratchCode, WallTime,
};

use super::accounts::Accounts;
use super::key::MasterKey;
use super::seal::{self, Keys};
use super::session::Trouble;
use super::trail::Trail;
use super::{Record, StoreError, schema};
use crate::audit::chain::{AuditKey, Check};
use crate::audit::{AuditRecord, Event, Kind, Outcome};

/// The account that is there.
const NAME: &str = "alice";

/// What can be altered: a table and the number of its columns is asked of it.
const TABLES: [&str; 8] =
    ["accounts", "authenticators", "recovery_codes", "audit", "audit_ends", "remembered", "notices", "scratch_codes"];

/// A value that a cell can hold.
#[derive(Clone, Debug)]
pub enum Cell {
    /// NULL
    Null,
    /// An integer.
    Integer(i64),
    /// A text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// The row goes.
    Gone,
}

/// The database.
pub struct Disk {
    connection: Connection,
    keys: Keys,
    audit: AuditKey,
}

impl Disk {
    /// One account with two authenticators and recovery codes, and some records of the audit.
    ///
    /// # Errors
    /// SQLite does not work.
    pub fn new() -> Result<Self, StoreError> {
        let connection = Connection::open_in_memory()?;
        schema::migrate(&connection)?;
        let keys = Keys::derive(&MasterKey::from_bytes(&[7; 32]))?;
        let audit = AuditKey::new(seal::random()?);
        Trail::found(&connection, &audit, [3; 32])?;
        let disk = Self { connection, keys, audit };
        let saved = Accounts::new(&disk.connection)?.save(NAME, None, record().as_ref(), &disk.keys);
        saved.map_err(told)?;
        let (mut trail, _) = Trail::new(&disk.connection, &disk.audit)?;
        for second in 0..4 {
            let mut event = Event::new(WallTime(second * 1000), Kind::Verification, Outcome::Refused);
            event.account = Some(NAME.to_owned());
            trail.append(event)?;
        }
        trail.write_end()?;
        drop(trail);
        Ok(disk)
    }

    /// What is read once `cells` were altered, by table, column and row; then all is as it was.
    ///
    /// # Errors
    /// What the daemon says of it.
    pub fn read_altered(
        &self,
        cells: &[(u8, u8, u8, Cell)],
    ) -> (Result<Option<Record>, StoreError>, Result<Vec<AuditRecord>, StoreError>) {
        let _ = self.connection.execute_batch("SAVEPOINT whole; PRAGMA defer_foreign_keys = ON");
        for (table, column, row, cell) in cells {
            // What the table's own rules refuse stays as it was.
            let _ = self.alter(*table, *column, *row, cell);
        }
        let read = (self.account(), self.chain());
        let _ = self.connection.execute_batch("ROLLBACK TO whole; RELEASE whole");
        read
    }

    fn alter(&self, table: u8, column: u8, row: u8, cell: &Cell) -> Result<(), rusqlite::Error> {
        let table = TABLES.get(usize::from(table) % TABLES.len()).copied().unwrap_or("audit");
        let columns = self.connection.prepare(&format!("SELECT * FROM {table}"))?;
        let names: Vec<String> = columns.column_names().into_iter().map(str::to_owned).collect();
        drop(columns);
        let (key, name) = (names.first(), names.get(usize::from(column) % names.len().max(1)));
        let (Some(key), Some(name)) = (key, name) else { return Ok(()) };
        let second = if table == "authenticators" { names.get(1) } else { None };
        let order = second.map_or_else(|| key.clone(), |second| format!("{key}, {second}"));
        let place = format!("({order}) IN (SELECT {order} FROM {table} ORDER BY {order} LIMIT 1 OFFSET {})", row % 5);
        let value = match cell {
            Cell::Gone => return self.connection.execute(&format!("DELETE FROM {table} WHERE {place}"), []).map(drop),
            Cell::Null => Value::Null,
            Cell::Integer(number) => Value::Integer(*number),
            Cell::Text(text) => Value::Text(text.clone()),
            Cell::Bytes(bytes) => Value::Blob(bytes.clone()),
        };
        self.connection.execute(&format!("UPDATE {table} SET {name} = ?1 WHERE {place}"), [value]).map(drop)
    }

    fn account(&self) -> Result<Option<Record>, StoreError> {
        let loaded = Accounts::new(&self.connection)?.load(NAME, &self.keys).map_err(told)?;
        Ok(loaded.map(|loaded| loaded.record))
    }

    /// The records of a chain that was found whole.
    fn chain(&self) -> Result<Vec<AuditRecord>, StoreError> {
        let (mut trail, _) = Trail::new(&self.connection, &self.audit)?;
        let mut check = Some(Check::begin(trail.beginning().map_err(told)?));
        while trail.check(&mut check).map_err(told)?.is_none() {}
        let beginning = trail.beginning().map_err(told)?.seq;
        trail.page(beginning, 100).map_err(told)
    }
}

fn told(trouble: Trouble) -> StoreError {
    match trouble {
        Trouble::Refused(error) => error,
        Trouble::Engine(error) => error.into(),
    }
}

fn record() -> Option<Record> {
    let authenticator = |id: u8, kind| {
        Some(Authenticator {
            id: AuthenticatorId(id.into()),
            label: format!("phone {id}"),
            active: true,
            parameters: Parameters { kind, algorithm: Algorithm::Sha1, digits: Digits::COMMON },
            secret: Secret::new(vec![id; 20]).ok()?,
            moving: Factor::begin(kind, Counter(7)),
            created: WallTime(id.into()),
            last_used: None,
            expires: None,
            suspended: false,
        })
    };
    let codes = (0..3).map(|code| StoredRecoveryCode { digest: RecoveryDigest([code; 32]), used: None });
    let authenticators = vec![authenticator(1, Factor::Totp(Period::COMMON))?, authenticator(2, Factor::Hotp)?];
    let mut account = Account { authenticators, recovery_codes: codes.collect(), ..Account::default() };
    let key = verifier::RecoveryKey([3; 32]);
    let ends = WallTime(u64::MAX >> 1);
    account.scratch_codes = vec![StoredScratchCode::new(12_345_678, AuthenticatorId(1), [9; 16], ends, &key)];
    account.remember(Place::new("sshd", Ipv4Addr::new(192, 0, 2, 7).into())?, Duration::from_secs(60), &Now::default());
    Some(Record { account, ..Record::empty(NAME, Some(1000)) })
}
