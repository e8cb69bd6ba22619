//! The host that a store is at home on, so that a copy of it on another one shows.
//!
//! `/etc/machine-id` is everybody's to read, and machine-id(5) asks that nothing others can compute from it leaves the
//! host. What is kept is its HMAC under a key that comes from the master key: it tells this host from another one, and
//! nothing to whoever has only the database.

use std::fmt;
use std::fs;
use std::path::Path;

use super::encoding::Encoding;
use super::seal::{Keys, Mac};
use super::trail::is_type;
use super::{Store, StoreError, Urgency};
use crate::audit::Event;

/// Where a host keeps its id (machine-id(5)).
pub const MACHINE_ID: &str = "/etc/machine-id";

/// The id of a host: 128 bits, never zero. Its Debug shows none of them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MachineId(u128);

impl fmt::Debug for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MachineId([REDACTED])")
    }
}

impl MachineId {
    /// The id in this file; `None` where there is none yet (a first boot writes `uninitialized`), or no host has one.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        Self::parse(&fs::read_to_string(path).ok()?)
    }

    /// 32 hexadecimal digits and a newline.
    fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_suffix('\n').unwrap_or(text);
        if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        u128::from_str_radix(digits, 16).ok().filter(|id| *id != 0).map(Self)
    }

    /// The mark of a store that is at home here.
    pub(super) fn sign(self, keys: &Keys) -> Mac {
        keys.sign(&self.encode())
    }

    /// Whether this is the mark of a store that is at home here.
    pub(super) fn is_signed(self, keys: &Keys, mark: &Mac) -> bool {
        keys.verifies(&self.encode(), mark)
    }

    fn encode(self) -> Encoding {
        Encoding::of("host").bytes(&self.0.to_be_bytes())
    }
}

impl Store {
    /// Whether the store is at home on this host. One that is at home nowhere yet is at home here from now on.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn is_at_home(&self, machine: MachineId) -> Result<bool, StoreError> {
        self.ask("", Urgency::Background, move |session| {
            let found = session.connection().query_row("SELECT host FROM store", [], |row| row.get(0));
            let mark: Option<Vec<u8>> = match found {
                // What is no mark at all is none of this host.
                Err(error) if is_type(&error) => Some(Vec::new()),
                found => found?,
            };
            let signed = machine.sign(session.keys());
            match mark {
                Some(mark) => Ok(Mac::try_from(mark).is_ok_and(|mark| machine.is_signed(session.keys(), &mark))),
                None => {
                    session.connection().execute("UPDATE store SET host = ?1", [signed])?;
                    Ok(true)
                }
            }
        })
        .await
    }

    /// Makes the store at home on this host, and commits `event` with it.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn move_in(&self, machine: MachineId, event: Event) -> Result<(), StoreError> {
        self.ask("", Urgency::Login, move |session| {
            let signed = machine.sign(session.keys());
            session.connection().execute("UPDATE store SET host = ?1", [signed])?;
            Ok(session.append(event)?)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::MachineId;

    #[test]
    fn an_id_is_32_hexadecimal_digits_and_not_zero() {
        let id = MachineId::parse("0123456789abcdef0123456789abcdef\n");
        assert!(id.is_some());
        assert_eq!(id, MachineId::parse("0123456789abcdef0123456789abcdef"));
        for text in [
            "",
            "\n",
            "uninitialized\n",
            "00000000000000000000000000000000\n",
            "0123456789abcdef0123456789abcde\n",
            "0123456789abcdef0123456789abcdef\n\n",
            "+123456789abcdef0123456789abcdef\n",
            "0123456789abcdef0123456789abcdeg\n",
        ] {
            assert_eq!(MachineId::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_id_is_not_shown() {
        assert_eq!(format!("{:?}", MachineId(7)), "MachineId([REDACTED])");
    }
}
