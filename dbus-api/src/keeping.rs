//! What whoever keeps a host asks about its master key.

use zbus::{DeserializeDict, SerializeDict, Type};

/// Which master key is in use, and how far a rotation of it has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, SerializeDict, DeserializeDict, Type)]
#[zbus(signature = "dict")]
pub struct KeyStatus {
    /// Its name: 16 hexadecimal digits, from which nothing of it can be computed.
    pub id: String,
    /// Where it came from: `credential`, `file`, or `unknown`.
    pub source: String,
    /// The path of that.
    pub path: Option<String>,
    /// How many accounts are kept.
    pub accounts: u64,
    /// The name of the key that a rotation moves away from; absent where none is under way, as what follows.
    pub previous: Option<String>,
    /// How many accounts the rotation has come to since it began or went on.
    pub resealed: Option<u64>,
    /// How many of them are refused, because they were altered on the disk.
    pub refused: Option<u64>,
    /// Whether the store stopped it for now; it is tried again.
    pub stopped: Option<bool>,
}
