//! Vaults of Aegis (`docs/vault.md` of that app): plain, or encrypted with AES-256-GCM under a master key that each
//! password slot holds, sealed with scrypt. The file is its owner's; what scrypt may cost is bounded before it runs.

use aes_gcm::{Aes256Gcm, KeyInit as _, aead::AeadInOut as _};
use scrypt::{Params, scrypt};
use serde_json::Value;
use zeroize::Zeroizing;

use crate::import::{
    Bad, Found, Place, Reading, base64, decode_hex, issuer,
    json::{self, App, Document, Fields},
};

/// Aegis shows the code of the counter that it keeps, and counts on when another one is asked for.
const APP: App = App { algorithm: "algo", keeps_last_counter: true };

/// The kind of a slot that a passphrase opens.
const PASSWORD_SLOT: u64 = 1;
/// The most memory that scrypt may take, in bytes; Aegis takes 32 MiB.
const MOST_MEMORY: u64 = 256 * 1024 * 1024;
/// The most passphrases that are tried; Aegis lets people make a few.
const MOST_SLOTS: usize = 16;
/// The most that scrypt's parallelization may be; Aegis has 1.
const MOST_PARALLEL: u64 = 16;

const NO_VAULT: Bad = Bad::file("this is no vault of Aegis");
const DAMAGED: Bad = Bad::file("the vault's header is damaged");

/// A vault whose header was read.
pub(crate) struct Vault(Document);

impl Vault {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it is no vault of a version that is known.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Bad> {
        let document = Document::parse(bytes)?;
        let fields = Fields::of(document.value()).ok_or(NO_VAULT)?;
        if fields.get("header").is_none() || fields.get("db").is_none() {
            return Err(NO_VAULT);
        }
        match fields.number::<u64>("version", "") {
            Ok(Some(1)) => Ok(Self(document)),
            _ => Err(Bad::file("the vault is of a version that is not known")),
        }
    }

    /// Whether a passphrase is needed.
    pub(crate) fn is_locked(&self) -> bool {
        self.0.value().get("db").is_some_and(Value::is_string)
    }

    /// The entries of a plain vault.
    ///
    /// # Errors
    /// Where it is none.
    pub(crate) fn entries(&self) -> Reading {
        read_entries(self.0.value().get("db").ok_or(NO_VAULT)?)
    }

    /// The entries of an encrypted vault.
    ///
    /// # Errors
    /// Where the passphrase opens none of its slots, or the vault was altered.
    pub(crate) fn open(&self, passphrase: &str) -> Reading {
        let fields = Fields::of(self.0.value()).ok_or(NO_VAULT)?;
        let header = fields.fields("header").ok_or(DAMAGED)?;
        let slots = header.get("slots").and_then(Value::as_array).ok_or(DAMAGED)?;
        let slots = slots.iter().filter_map(Fields::of);
        let slots = slots.filter(|slot| slot.number("type", "") == Ok(Some(PASSWORD_SLOT)));
        let mut slots = slots.take(MOST_SLOTS).peekable();
        if slots.peek().is_none() {
            return Err(Bad::file("the vault has no passphrase: export it with one, or in clear"));
        }
        let mut master_key = None;
        for slot in slots {
            master_key = open_slot(slot, passphrase)?;
            if master_key.is_some() {
                break;
            }
        }
        let master_key = master_key.ok_or(Bad::file("the passphrase opens no slot of the vault"))?;
        let mut text = base64::decode(fields.text("db").ok_or(DAMAGED)?).map_err(|_| DAMAGED)?;
        let params = header.fields("params").ok_or(DAMAGED)?;
        if !decrypt(&master_key, params, &mut text)? {
            return Err(Bad::file("the vault was altered: what is in it is not what Aegis wrote"));
        }
        read_entries(Document::parse(&text)?.value())
    }
}

/// The master key, where the passphrase opens the slot.
fn open_slot(slot: Fields<'_>, passphrase: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Bad> {
    let number = |name| slot.number::<u64>(name, "").ok().flatten().ok_or(DAMAGED);
    let (cost, block, parallel) = (number("n")?, number("r")?, number("p")?);
    let memory = cost.checked_mul(block).and_then(|product| product.checked_mul(128)).ok_or(DAMAGED)?;
    if !cost.is_power_of_two() || cost < 2 || block == 0 || !(1..=MOST_PARALLEL).contains(&parallel) {
        return Err(DAMAGED);
    }
    if memory > MOST_MEMORY {
        return Err(Bad::file("the vault's passphrase would take more than 256 MiB of memory to try"));
    }
    let narrow = |number| u32::try_from(number).map_err(|_| DAMAGED);
    let log_cost = u8::try_from(cost.trailing_zeros()).map_err(|_| DAMAGED)?;
    let params = Params::new(log_cost, narrow(block)?, narrow(parallel)?).map_err(|_| DAMAGED)?;
    let salt = hexadecimal(slot, "salt")?;
    let mut key = Zeroizing::new(vec![0; 32]);
    scrypt(passphrase.as_bytes(), &salt, &params, &mut key).map_err(|_| DAMAGED)?;
    let mut master_key = hexadecimal(slot, "key")?;
    let opened = decrypt(&key, slot.fields("key_params").ok_or(DAMAGED)?, &mut master_key)?;
    Ok(opened.then_some(master_key))
}

/// Decrypts `text` in place; false where key, nonce, tag and text do not belong together, and it stays as it was.
fn decrypt(key: &[u8], params: Fields<'_>, text: &mut [u8]) -> Result<bool, Bad> {
    let nonce: [u8; 12] = hexadecimal(params, "nonce")?.as_slice().try_into().map_err(|_| DAMAGED)?;
    let tag: [u8; 16] = hexadecimal(params, "tag")?.as_slice().try_into().map_err(|_| DAMAGED)?;
    let cipher = Aes256Gcm::new_from_slice(key).map_err(|_| DAMAGED)?;
    Ok(cipher.decrypt_inout_detached(&nonce.into(), b"", text.into(), &tag.into()).is_ok())
}

fn hexadecimal(fields: Fields<'_>, name: &str) -> Result<Zeroizing<Vec<u8>>, Bad> {
    decode_hex(fields.text(name).ok_or(DAMAGED)?).map_err(|_| DAMAGED)
}

fn read_entries(content: &Value) -> Reading {
    let content = Fields::of(content).ok_or(NO_VAULT)?;
    // Version 2 knows groups, 3 what they are called: the entries stayed as they were.
    if !matches!(content.number::<u64>("version", ""), Ok(Some(1..=3))) {
        return Err(Bad::file("what is in the vault is of a version that is not known"));
    }
    let entries = content.get("entries").and_then(Value::as_array).ok_or(NO_VAULT)?;
    Ok(json::each(entries, read_entry))
}

fn read_entry(place: Place, entry: &Value) -> Result<Found, &'static str> {
    let entry = Fields::of(entry).ok_or("the entry is none of Aegis")?;
    let info = entry.fields("info").ok_or("the entry is none of Aegis")?;
    let mut found = APP.build(place, entry.text("type"), info, json::secret(info, "secret")?)?;
    issuer::name(&mut found, entry.text("issuer"), entry.text("name").unwrap_or_default())?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use super::*;
    use crate::import::{Algorithm, Moving};

    /// Written by `tests/data/apps/make`.
    const PLAIN: &str = include_str!("../../tests/data/apps/aegis-plain.json");
    const ENCRYPTED: &str = include_str!("../../tests/data/apps/aegis-encrypted.json");
    const PASSPHRASE: &str = "correct horse é";

    fn read(text: &str) -> Result<Vault, &'static str> {
        Vault::read(text.as_bytes()).map_err(|bad| bad.reason)
    }

    fn open(text: &str, passphrase: &str) -> Result<Vec<Result<Found, Bad>>, &'static str> {
        read(text)?.open(passphrase).map_err(|bad| bad.reason)
    }

    fn check_entries(entries: &[Result<Found, Bad>]) {
        assert_eq!(entries.len(), 4);
        let one = entries[0].as_ref().unwrap();
        assert_eq!((one.account.as_deref(), one.label.as_deref()), (Some("mason"), Some("Deno")));
        assert_eq!((one.algorithm, one.digits, one.moving), (Algorithm::Sha1, 6, Moving::totp(30)));
        assert_eq!(one.secret[..4], [0xe4, 0x92, 0x70, 0xf0]);
        let two = entries[1].as_ref().unwrap();
        assert_eq!((two.algorithm, two.digits, two.moving), (Algorithm::Sha512, 8, Moving::totp(50)));
        let three = entries[2].as_ref().unwrap();
        assert_eq!((three.algorithm, three.digits, three.moving), (Algorithm::Sha256, 7, Moving::Hotp { next: 10301 }));
        let four = entries[3].as_ref().unwrap_err();
        assert_eq!(four.to_string(), "entry 4: codes of Steam are none of RFC 6238");
    }

    #[test]
    fn a_plain_vault_is_read_entry_by_entry() {
        let vault = read(PLAIN).unwrap();
        assert!(!vault.is_locked());
        check_entries(&vault.entries().unwrap());
    }

    #[test]
    fn an_encrypted_vault_opens_by_the_passphrase_of_any_of_its_slots() {
        let vault = read(ENCRYPTED).unwrap();
        assert!(vault.is_locked());
        check_entries(&vault.open(PASSPHRASE).unwrap());
        check_entries(&vault.open("the backup's").unwrap());
        let wrong = vault.open("Correct horse é").unwrap_err();
        assert_eq!(wrong.reason, "the passphrase opens no slot of the vault");
    }

    #[test]
    fn an_altered_vault_is_told_from_a_wrong_passphrase() {
        let start = ENCRYPTED.find("\"db\": \"").unwrap() + 7;
        let letter = start + ENCRYPTED[start..].find(|character: char| character.is_ascii_lowercase()).unwrap();
        let other = ENCRYPTED[letter..=letter].to_uppercase();
        let altered = format!("{}{other}{}", &ENCRYPTED[..letter], &ENCRYPTED[letter + 1..]);
        assert!(open(&altered, "the backup's").unwrap_err().starts_with("the vault was altered"));
        let damaged = format!("{}?{}", &ENCRYPTED[..letter], &ENCRYPTED[letter + 1..]);
        assert_eq!(open(&damaged, "the backup's").unwrap_err(), DAMAGED.reason);
    }

    #[test]
    fn what_scrypt_may_cost_is_bounded_before_it_runs() {
        for (from, to, reason) in [
            (
                "\"n\": 1024",
                "\"n\": 1073741824",
                "the vault's passphrase would take more than 256 MiB of memory to try",
            ),
            ("\"n\": 1024", "\"n\": 1000", DAMAGED.reason),
            ("\"n\": 1024", "\"n\": 0", DAMAGED.reason),
            ("\"n\": 1024", "\"n\": 1", DAMAGED.reason),
            ("\"r\": 8", "\"r\": 18446744073709551615", DAMAGED.reason),
            ("\"r\": 8", "\"r\": 0", DAMAGED.reason),
            ("\"p\": 1,", "\"p\": 17,", DAMAGED.reason),
            ("\"salt\": \"", "\"salt\": \"0", DAMAGED.reason),
            ("\"nonce\": \"", "\"nonce\": \"00", DAMAGED.reason),
            ("\"tag\": \"", "\"x\": \"", DAMAGED.reason),
        ] {
            assert!(ENCRYPTED.contains(from));
            assert_eq!(open(&ENCRYPTED.replace(from, to), "the backup's").unwrap_err(), reason, "{to}");
        }
        let biometric = ENCRYPTED.replace("\"type\": 1", "\"type\": 2");
        assert!(open(&biometric, PASSPHRASE).unwrap_err().contains("has no passphrase"));
    }

    #[test]
    fn a_file_that_is_no_vault_is_refused_as_a_whole() {
        assert_eq!(read("").err(), Some("the file is empty"));
        assert_eq!(read("[]").err(), Some(NO_VAULT.reason));
        assert_eq!(read(&PLAIN.replace("\"header\"", "\"x\"")).err(), Some(NO_VAULT.reason));
        assert_eq!(read(&PLAIN[..PLAIN.len() / 2]).err(), Some("the file is cut off"));
        let newer = PLAIN.replacen("\"version\": 1", "\"version\": 2", 1);
        assert_eq!(read(&newer).err(), Some("the vault is of a version that is not known"));
        let newer = read(&PLAIN.replace("\"version\": 3", "\"version\": 4")).unwrap();
        assert!(newer.entries().unwrap_err().reason.contains("of a version that is not known"));
        assert_eq!(read(&PLAIN.replace("\"entries\"", "\"x\"")).unwrap().entries().unwrap_err(), NO_VAULT);
    }
}
