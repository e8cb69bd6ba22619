//! Sealing secrets and signing rows: what lies on the disk can neither be read nor altered unnoticed without
//! the master key. Trusts the master key and nothing that was read from the disk.

use std::fmt;

use aes_gcm_siv::aead::{AeadInOut, KeyInit};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::StoreError;
use super::encoding::Encoding;
use super::key::MasterKey;

/// The version of the associated data. Part of it, so that a later form never passes for this one.
const SCHEMA: u64 = 1;

/// What AES-256-GCM-SIV adds to the length of a secret.
const TAG: usize = 16;

/// An HMAC-SHA-256.
pub(crate) type Mac = [u8; 32];

/// 32 secret bytes that stay where they are and are zeroised there.
pub(crate) type SecretBytes = Box<Zeroizing<[u8; 32]>>;

/// Names a master key without telling anything about it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyId([u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A secret as it lies on the disk.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// Fresh for each sealing.
    pub(crate) nonce: [u8; 12],
    /// Ciphertext and tag.
    pub(crate) bytes: Vec<u8>,
}

/// What a sealed secret belongs to; it opens for nothing else.
pub(crate) struct Belonging<'a> {
    pub(crate) account: &'a str,
    pub(crate) uid: Option<u32>,
    pub(crate) authenticator: u32,
    pub(crate) parameters: verifier::Parameters,
}

/// The keys derived from the master key (HKDF-SHA256, RFC 5869).
pub(crate) struct Keys {
    /// The name of the master key.
    pub(crate) id: KeyId,
    sealing: SecretBytes,
    rows: SecretBytes,
}

impl Keys {
    /// Derives them.
    pub(crate) fn derive(master: &MasterKey) -> Result<Self, StoreError> {
        let hkdf = Hkdf::<Sha256>::new(Some(b"countersign"), master.bytes());
        let mut id = [0; 8];
        hkdf.expand(b"countersign key id v1", &mut id).map_err(|_| StoreError::Cryptography("key derivation"))?;
        Ok(Self {
            id: KeyId(id),
            sealing: expand(&hkdf, b"countersign sealing v1")?,
            rows: expand(&hkdf, b"countersign rows v1")?,
        })
    }

    /// Seals a secret under a fresh random nonce.
    pub(crate) fn seal(&self, secret: &[u8], associated: &Encoding) -> Result<Sealed, StoreError> {
        let mut nonce = [0; 12];
        getrandom::fill(&mut nonce).map_err(|_| StoreError::Cryptography("the random number generator"))?;
        let mut bytes = Vec::with_capacity(secret.len().saturating_add(TAG));
        bytes.extend_from_slice(secret);
        self.cipher()?
            .encrypt_in_place(&Nonce::from(nonce), associated.as_bytes(), &mut bytes)
            .map_err(|_| StoreError::Cryptography("sealing"))?;
        Ok(Sealed { nonce, bytes })
    }

    /// Opens a secret; `None` where anything about it or about what it belongs to was altered.
    pub(crate) fn open(&self, sealed: &Sealed, associated: &Encoding) -> Option<Zeroizing<Vec<u8>>> {
        let mut bytes = Zeroizing::new(sealed.bytes.clone());
        self.cipher()
            .ok()?
            .decrypt_in_place(&Nonce::from(sealed.nonce), associated.as_bytes(), &mut *bytes)
            .ok()
            .map(|()| bytes)
    }

    /// Signs a row.
    pub(crate) fn sign(&self, row: &Encoding) -> Mac {
        authenticate(&self.rows, row)
    }

    /// Whether a row is as it was signed.
    pub(crate) fn verifies(&self, row: &Encoding, mac: &Mac) -> bool {
        self.sign(row).ct_eq(mac).into()
    }

    /// The associated data of an authenticator's secret.
    pub(crate) fn associated(&self, of: &Belonging<'_>) -> Encoding {
        let period = match of.parameters.kind {
            verifier::Kind::Totp(period) => Some(u64::from(period.seconds())),
            verifier::Kind::Hotp => None,
        };
        Encoding::of("authenticator")
            .number(SCHEMA)
            .bytes(&self.id.0)
            .text(of.account)
            .optional_number(of.uid.map(u64::from))
            .number(u64::from(of.authenticator))
            .text(of.parameters.kind.name())
            .text(of.parameters.algorithm.name())
            .number(u64::from(of.parameters.digits.number()))
            .optional_number(period)
    }

    /// The associated data of a key that is kept sealed.
    pub(crate) fn associated_key(&self, name: &str) -> Encoding {
        Encoding::of("key").number(SCHEMA).bytes(&self.id.0).text(name)
    }

    fn cipher(&self) -> Result<Aes256GcmSiv, StoreError> {
        Aes256GcmSiv::new_from_slice(self.sealing.as_slice()).map_err(|_| StoreError::Cryptography("the sealing key"))
    }
}

/// HMAC-SHA-256 of an encoding.
pub(crate) fn authenticate(key: &SecretBytes, encoding: &Encoding) -> Mac {
    // HMAC takes a key of any length (RFC 2104, section 2), so `new_from_slice` cannot fail; were it to, a
    // MAC of zeros would match no stored one but another such failure.
    Hmac::<Sha256>::new_from_slice(key.as_slice())
        .map(|mac| mac.chain_update(encoding.as_bytes()).finalize().into_bytes().into())
        .unwrap_or_default()
}

/// 32 fresh random bytes.
pub(crate) fn random() -> Result<SecretBytes, StoreError> {
    let mut bytes = Box::new(Zeroizing::new([0; 32]));
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| StoreError::Cryptography("the random number generator"))?;
    Ok(bytes)
}

fn expand(hkdf: &Hkdf<Sha256>, info: &[u8]) -> Result<SecretBytes, StoreError> {
    let mut bytes = Box::new(Zeroizing::new([0; 32]));
    hkdf.expand(info, bytes.as_mut_slice()).map_err(|_| StoreError::Cryptography("key derivation"))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use verifier::{Algorithm, Digits, Kind, Parameters, Period};

    use super::*;

    fn keys(byte: u8) -> Keys {
        Keys::derive(&MasterKey::from_bytes(&[byte; 32])).unwrap()
    }

    fn parameters(kind: Kind, algorithm: Algorithm, digits: u32) -> Parameters {
        Parameters { kind, algorithm, digits: Digits::new(digits).unwrap() }
    }

    #[test]
    fn a_secret_opens_for_nothing_but_what_it_was_sealed_for() {
        let totp = |seconds| Kind::Totp(Period::new(seconds).unwrap());
        let right = parameters(totp(30), Algorithm::Sha1, 6);
        let of = |account, uid, authenticator, parameters| Belonging { account, uid, authenticator, parameters };
        let keys_of_one = keys(1);
        let sealed = keys_of_one.seal(b"secret", &keys_of_one.associated(&of("alice", Some(7), 1, right))).unwrap();
        let opens = |keys: &Keys, belonging: &Belonging<'_>| keys.open(&sealed, &keys.associated(belonging));
        let opened = opens(&keys_of_one, &of("alice", Some(7), 1, right)).unwrap();
        assert_eq!(opened.as_slice(), b"secret");
        for wrong in [
            of("bob", Some(7), 1, right),
            of("alice", Some(8), 1, right),
            of("alice", None, 1, right),
            of("alice", Some(7), 2, right),
            of("alice", Some(7), 1, parameters(Kind::Hotp, Algorithm::Sha1, 6)),
            of("alice", Some(7), 1, parameters(totp(60), Algorithm::Sha1, 6)),
            of("alice", Some(7), 1, parameters(totp(30), Algorithm::Sha256, 6)),
            of("alice", Some(7), 1, parameters(totp(30), Algorithm::Sha1, 8)),
        ] {
            assert!(opens(&keys_of_one, &wrong).is_none());
        }
        assert!(opens(&keys(2), &of("alice", Some(7), 1, right)).is_none());
    }

    #[test]
    fn every_altered_bit_keeps_a_secret_shut() {
        let keys = keys(1);
        let associated = keys.associated_key("test");
        let sealed = keys.seal(b"0123456789abcdefghij", &associated).unwrap();
        for bit in 0..sealed.bytes.len() * 8 {
            let mut altered = sealed.clone();
            *altered.bytes.get_mut(bit / 8).unwrap() ^= 1 << (bit % 8);
            assert!(keys.open(&altered, &associated).is_none(), "bit {bit}");
        }
        assert!(keys.open(&Sealed { nonce: sealed.nonce, bytes: Vec::new() }, &associated).is_none());
    }

    #[test]
    fn two_sealings_of_one_secret_differ() {
        let keys = keys(1);
        let associated = keys.associated_key("test");
        let seal = || keys.seal(b"secret", &associated).unwrap();
        assert!(seal() != seal());
    }
}
