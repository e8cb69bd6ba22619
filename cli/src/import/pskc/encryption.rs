//! How the values of a PSKC file are encrypted (RFC 6030, section 6): AES-CBC with a pre-shared key, or one that PBKDF2
//! makes of a passphrase. CBC authenticates nothing: a value without a MAC is refused, and the MAC is checked before
//! anything is decrypted.

use aes::{Aes128, Aes192, Aes256};
use cbc::{
    Decryptor,
    cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, InnerIvInit as _, KeyInit, block_padding::NoPadding},
};
use hmac::{Hmac, Mac as _, digest::block_api::EagerHash};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};
use zeroize::Zeroizing;

use crate::import::{
    Bad, base64,
    xml::{self, Node},
};

/// The most rounds of PBKDF2 that are made: some seconds.
const MOST_ROUNDS: u32 = 10_000_000;
/// The longest salt, in bytes.
const LONGEST_SALT: usize = 1024;
/// The bytes of AES's blocks, and of CBC's initialization vector.
const BLOCK: usize = 16;

/// Why a value is not decrypted.
pub(super) const ALTERED: &str = "it does not authenticate: it was altered, or the key is not the right one";
/// Why the whole file is not.
pub(super) const WRONG_KEY: Bad = Bad::file("the key or passphrase is not the right one, or the file was altered");

/// With what the keys of a file are encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
    /// With nothing.
    None,
    /// With a key that vendor and customer agreed upon, and its name where the file tells it. Escape it before it
    /// reaches a terminal.
    PreSharedKey(Option<String>),
    /// With a passphrase, and its name as above.
    Passphrase(Option<String>),
}

/// What opens a file.
pub(crate) enum Credential {
    /// Nothing: it is in clear.
    None,
    /// A pre-shared key of 16, 24 or 32 bytes.
    Key(Zeroizing<Vec<u8>>),
    /// A passphrase.
    Passphrase(Zeroizing<String>),
}

/// See [`super::Container::protection`].
///
/// # Errors
/// As there.
pub(super) fn protection(root: Node<'_, '_>) -> Result<Protection, Bad> {
    let Some(key) = xml::child(root, "EncryptionKey") else { return Ok(Protection::None) };
    let owned = |name: Option<&str>| name.map(str::to_owned);
    if let Some(derived) = xml::child(key, "DerivedKey") {
        return Ok(Protection::Passphrase(owned(xml::value(derived, &["MasterKeyName"]))));
    }
    if xml::child(key, "X509Data").is_some() || xml::child(key, "KeyValue").is_some() {
        return Err(Bad::file("the file is encrypted for a certificate: ask its vendor for one with a passphrase"));
    }
    Ok(Protection::PreSharedKey(owned(xml::value(key, &["KeyName"]))))
}

/// The keys with which the values of a file are authenticated and decrypted.
pub(super) struct Cipher {
    key: Zeroizing<Vec<u8>>,
    mac: Option<MacKey>,
}

/// How values are authenticated.
struct MacKey {
    algorithm: &'static str,
    key: Zeroizing<Vec<u8>>,
}

impl Cipher {
    /// `None` for a file in clear.
    ///
    /// # Errors
    /// Where the credential does not fit, or the file wants what is not known.
    pub(super) fn prepare(root: Node<'_, '_>, credential: &Credential) -> Result<Option<Self>, Bad> {
        let key = match (protection(root)?, credential) {
            (Protection::None, _) => return Ok(None),
            (Protection::PreSharedKey(_), Credential::Key(key)) => key.clone(),
            (Protection::Passphrase(_), Credential::Passphrase(passphrase)) => derive(root, passphrase)?,
            (Protection::PreSharedKey(_), _) => return Err(Bad::file("the file is encrypted with a pre-shared key")),
            (Protection::Passphrase(_), _) => return Err(Bad::file("the file is encrypted with a passphrase")),
        };
        let mut cipher = Self { key, mac: None };
        cipher.mac = cipher.mac_key(root)?;
        Ok(Some(cipher))
    }

    /// The key of the MAC is encrypted as the values are, but cannot be authenticated itself; without one it is the
    /// key of the encryption.
    fn mac_key(&self, root: Node<'_, '_>) -> Result<Option<MacKey>, Bad> {
        let Some(method) = xml::child(root, "MACMethod") else { return Ok(None) };
        let named = method.attribute("Algorithm").unwrap_or_default();
        let name = named.rsplit('#').next().unwrap_or_default();
        let algorithm =
            ["hmac-sha1", "hmac-sha256", "hmac-sha384", "hmac-sha512"].into_iter().find(|known| *known == name);
        let algorithm = algorithm.ok_or(Bad::file("the file's MAC is none of HMAC with SHA-1, -256, -384, -512"))?;
        let key = match xml::child(method, "MACKey") {
            Some(encrypted) => {
                let bytes = cipher_value(encrypted).map_err(|_| Bad::file("the key of the file's MAC is damaged"))?;
                self.decrypt_bytes(encrypted, &bytes).map_err(|reason| match reason {
                    ALTERED => WRONG_KEY,
                    reason => Bad::file(reason),
                })?
            }
            None => self.key.clone(),
        };
        // An empty key would let anybody make MACs.
        if key.is_empty() { Err(WRONG_KEY) } else { Ok(Some(MacKey { algorithm, key })) }
    }

    /// The value of `node`, which has an `EncryptedValue` and a `ValueMAC`.
    ///
    /// # Errors
    /// Where it has no MAC or a wrong one, or the encryption is not known.
    pub(super) fn decrypt(&self, node: Node<'_, '_>) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        let unauthenticated = "it is encrypted without a MAC, so that anybody could have altered it";
        let encrypted = xml::child(node, "EncryptedValue").ok_or("the encrypted value is missing")?;
        let bytes = cipher_value(encrypted)?;
        let tag = base64::decode(xml::value(node, &["ValueMAC"]).ok_or(unauthenticated)?)?;
        if !self.mac.as_ref().ok_or(unauthenticated)?.verifies(&bytes, &tag) {
            return Err(ALTERED);
        }
        self.decrypt_bytes(encrypted, &bytes)
    }

    fn decrypt_bytes(&self, encrypted: Node<'_, '_>, bytes: &[u8]) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        let method = xml::child(encrypted, "EncryptionMethod").and_then(|method| method.attribute("Algorithm"));
        let name = method.and_then(|method| method.rsplit('#').next()).ok_or("the encryption is not named")?;
        let (vector, text) = bytes.split_at_checked(BLOCK).ok_or(ALTERED)?;
        let decrypt = match name {
            "aes128-cbc" => cbc_decrypt::<Aes128>,
            "aes192-cbc" => cbc_decrypt::<Aes192>,
            "aes256-cbc" => cbc_decrypt::<Aes256>,
            _ => return Err("the encryption is none of AES-128-CBC, AES-192-CBC, AES-256-CBC"),
        };
        decrypt(&self.key, vector, text)
    }
}

impl MacKey {
    fn verifies(&self, bytes: &[u8], tag: &[u8]) -> bool {
        match self.algorithm {
            "hmac-sha1" => verifies::<Sha1>(&self.key, bytes, tag),
            "hmac-sha256" => verifies::<Sha256>(&self.key, bytes, tag),
            "hmac-sha384" => verifies::<Sha384>(&self.key, bytes, tag),
            _ => verifies::<Sha512>(&self.key, bytes, tag),
        }
    }
}

/// In constant time; a tag that was cut short is none.
fn verifies<D: EagerHash>(key: &[u8], bytes: &[u8], tag: &[u8]) -> bool {
    Hmac::<D>::new_from_slice(key).is_ok_and(|mut mac| {
        mac.update(bytes);
        mac.verify_slice(tag).is_ok()
    })
}

/// Padded as XML Encryption wants it (section 5.2): the last byte says how many there are, the others may be anything.
fn cbc_decrypt<C: BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    vector: &[u8],
    text: &[u8],
) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    let wrong_length = "the key is not as long as the file's encryption wants it";
    let mut clear = Zeroizing::new(text.to_vec());
    let decryptor = Decryptor::<C>::inner_iv_slice_init(C::new_from_slice(key).map_err(|_| wrong_length)?, vector);
    decryptor.map_err(|_| ALTERED)?.decrypt_padded::<NoPadding>(&mut clear).map_err(|_| ALTERED)?;
    let padding = usize::from(*clear.last().ok_or(ALTERED)?);
    let length = clear.len().checked_sub(padding).filter(|_| (1..=BLOCK).contains(&padding)).ok_or(ALTERED)?;
    clear.truncate(length);
    Ok(clear)
}

fn cipher_value(encrypted: Node<'_, '_>) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    base64::decode(xml::value(encrypted, &["CipherData", "CipherValue"]).ok_or("the encrypted value is missing")?)
}

/// PBKDF2 (PKCS #5) with the parameters of the file, within bounds.
fn derive(root: Node<'_, '_>, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, Bad> {
    const DAMAGED: Bad = Bad::file("how the key is made of the passphrase is damaged");
    let method = xml::descend(root, &["EncryptionKey", "DerivedKey", "KeyDerivationMethod"]).ok_or(DAMAGED)?;
    let named = method.attribute("Algorithm").and_then(|named| named.rsplit('#').next()).unwrap_or_default();
    if named != "pbkdf2" {
        return Err(Bad::file("the key is not made of the passphrase by PBKDF2"));
    }
    let params = xml::child(method, "PBKDF2-params").ok_or(DAMAGED)?;
    let salt = base64::decode(xml::value(params, &["Salt", "Specified"]).ok_or(DAMAGED)?).map_err(|_| DAMAGED)?;
    let number = |name| xml::value(params, &[name]).and_then(|text| text.parse::<u32>().ok()).ok_or(DAMAGED);
    let (rounds, length) = (number("IterationCount")?, number("KeyLength")?);
    if rounds > MOST_ROUNDS || salt.len() > LONGEST_SALT {
        return Err(Bad::file("the file wants more than 10,000,000 rounds of PBKDF2, or a salt of more than 1 KiB"));
    }
    if rounds == 0 || ![16, 24, 32].contains(&length) {
        return Err(DAMAGED);
    }
    let mut key = Zeroizing::new(vec![0; length as usize]);
    let hash = xml::child(params, "PRF").and_then(|prf| prf.attribute("Algorithm"));
    let hash = hash.and_then(|named| named.rsplit(['#', '-']).next()).unwrap_or("sha1");
    match hash.to_ascii_lowercase().trim_start_matches("hmac") {
        "sha1" => pbkdf2::pbkdf2_hmac::<Sha1>(passphrase.as_bytes(), &salt, rounds, &mut key),
        "sha256" => pbkdf2::pbkdf2_hmac::<Sha256>(passphrase.as_bytes(), &salt, rounds, &mut key),
        "sha384" => pbkdf2::pbkdf2_hmac::<Sha384>(passphrase.as_bytes(), &salt, rounds, &mut key),
        "sha512" => pbkdf2::pbkdf2_hmac::<Sha512>(passphrase.as_bytes(), &salt, rounds, &mut key),
        _ => return Err(Bad::file("the file wants PBKDF2 with a hash other than SHA-1, -256, -384, -512")),
    }
    Ok(key)
}
