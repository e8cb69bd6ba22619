//! PSKC (RFC 6030): the seed files of key fobs, in clear, encrypted with a pre-shared key, or with a passphrase. The file
//! is its vendor's, and whoever carried it could change it: what is encrypted is authenticated before it is decrypted,
//! and a policy that is not understood forbids the key, as section 5 of the RFC wants it.

mod encryption;
mod policy;
#[cfg(test)]
mod tests;

use zeroize::Zeroizing;

use crate::import::{
    Algorithm, Bad, Found, Moving, Place, Reading, base64, issuer,
    xml::{self, Node},
};
use encryption::Cipher;
pub(crate) use encryption::{Credential, Protection};

/// The only version there is.
const VERSION: &str = "1.0";
const NAMESPACE: &str = "urn:ietf:params:xml:ns:keyprov:pskc";

const NO_PSKC: Bad = Bad::file("this is no PSKC file of RFC 6030");

/// A file that was parsed.
pub(crate) struct Container<'a>(roxmltree::Document<'a>);

impl<'a> Container<'a> {
    /// Parses a file.
    ///
    /// # Errors
    /// Where it is no PSKC file of version 1.0.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Bad> {
        let document = xml::parse(xml::text(bytes)?)?;
        let root = document.root_element();
        if root.tag_name().name() != "KeyContainer" || root.tag_name().namespace() != Some(NAMESPACE) {
            return Err(NO_PSKC);
        }
        if root.attribute("Version") != Some(VERSION) {
            return Err(Bad::file("this PSKC file is not of version 1.0"));
        }
        Ok(Self(document))
    }

    /// With what its keys are encrypted.
    ///
    /// # Errors
    /// Where it is with something that cannot be had here, such as a certificate.
    pub(crate) fn protection(&self) -> Result<Protection, Bad> {
        encryption::protection(self.0.root_element())
    }

    /// Its keys. `now` is the time as `2026-11-20T10:00:00Z`, by which a key's policy is judged.
    ///
    /// # Errors
    /// Where the credential is not the right one, or the file as a whole cannot be taken.
    pub(crate) fn open(&self, credential: &Credential, now: &str) -> Reading {
        let root = self.0.root_element();
        let cipher = Cipher::prepare(root, credential)?;
        let signed = xml::child(root, "Signature").is_some();
        let keys = xml::children(root, "KeyPackage").flat_map(|package| {
            let keys: Vec<_> = xml::children(package, "Key").map(|key| (package, key)).collect();
            keys
        });
        let mut read: Vec<_> = keys
            .enumerate()
            .map(|(index, (package, key))| {
                let place = place(package, key, index as u64 + 1);
                let found = Key { package, key, cipher: cipher.as_ref(), now }.read(place.clone());
                found.map_err(|reason| Bad { place, reason })
            })
            .collect();
        // Nothing authenticates: the key is a wrong one, and not every record altered.
        let wrong = |one: &Result<Found, Bad>| matches!(one, Err(bad) if bad.reason == encryption::ALTERED);
        if !read.is_empty() && read.iter().all(wrong) {
            return Err(encryption::WRONG_KEY);
        }
        if signed {
            read.iter_mut()
                .flatten()
                .for_each(|found| found.remarks.push("the file's signature is not checked".into()));
        }
        Ok(read)
    }
}

/// By what people know a key: the serial number of the device, or the key's id, or which one it is.
fn place(package: Node<'_, '_>, key: Node<'_, '_>, number: u64) -> Place {
    let serial = xml::value(package, &["DeviceInfo", "SerialNo"]).or_else(|| key.attribute("Id"));
    let serial = serial.map(str::trim).filter(|serial| !serial.is_empty());
    serial.map_or(Place::Entry(number), |serial| Place::Serial(serial.to_owned()))
}

/// A `Key` element, the package around it, and what is needed to read it.
struct Key<'a, 'input> {
    package: Node<'a, 'input>,
    key: Node<'a, 'input>,
    cipher: Option<&'a Cipher>,
    now: &'a str,
}

impl Key<'_, '_> {
    fn read(&self, place: Place) -> Result<Found, &'static str> {
        let kind = self.kind()?;
        let mut remarks = policy::judge(xml::child(self.key, "Policy"), self.now)?;
        let secret = self.secret()?;
        let moving = match kind {
            Kind::Hotp => Moving::Hotp { next: self.number("Counter")?.unwrap_or(0) },
            Kind::Totp => self.time(&mut remarks)?,
        };
        let mut found = Found::new(place, secret, moving);
        found.digits = self.digits()?;
        if let Some(suite) = xml::value(self.key, &["AlgorithmParameters", "Suite"]) {
            found.algorithm = Algorithm::parse(suite)?;
        }
        found.account = self.account();
        let named = [&["FriendlyName"][..], &["Issuer"]].into_iter().find_map(|path| xml::value(self.key, path));
        let named = named.or_else(|| xml::value(self.package, &["DeviceInfo", "Manufacturer"]));
        found.label = named.and_then(issuer::label);
        found.remarks = remarks;
        Ok(found)
    }

    /// HOTP (RFC 6030, section 10.1) or TOTP (its profile is a draft's, and everybody's); older files write `#` for `:`.
    fn kind(&self) -> Result<Kind, &'static str> {
        let algorithm = self.key.attribute("Algorithm").ok_or("the algorithm is missing")?.trim();
        let name = algorithm.rsplit([':', '#']).next().unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            "hotp" => Ok(Kind::Hotp),
            "totp" => Ok(Kind::Totp),
            "pin" => Err("a PIN: none is asked for"),
            _ => Err("the algorithm is neither hotp nor totp"),
        }
    }

    fn secret(&self) -> Result<Zeroizing<Vec<u8>>, &'static str> {
        let missing = "the secret is missing";
        let node = xml::descend(self.key, &["Data", "Secret"]).ok_or(missing)?;
        if let Some(text) = xml::value(node, &["PlainValue"]) {
            return base64::decode(text);
        }
        if xml::child(node, "EncryptedValue").is_none() {
            return Err(missing);
        }
        self.cipher.ok_or("the secret is encrypted, but the file does not say with what")?.decrypt(node)
    }

    /// A number of the key's data: in clear as digits, encrypted as bytes, the highest first (section 4.2).
    fn number(&self, name: &'static str) -> Result<Option<u64>, &'static str> {
        let Some(node) = xml::descend(self.key, &["Data", name]) else { return Ok(None) };
        let wrong = "a number is none";
        if let Some(text) = xml::value(node, &["PlainValue"]) {
            return text.parse().map(Some).map_err(|_| wrong);
        }
        if xml::child(node, "EncryptedValue").is_none() {
            return Err(wrong);
        }
        let bytes = self.cipher.ok_or("a number is encrypted, but the file does not say with what")?.decrypt(node)?;
        if !(1..=8).contains(&bytes.len()) {
            return Err(wrong);
        }
        Ok(Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))))
    }

    fn time(&self, remarks: &mut Vec<std::borrow::Cow<'static, str>>) -> Result<Moving, &'static str> {
        let period = self.number("TimeInterval")?.unwrap_or(30);
        let period = u32::try_from(period).map_err(|_| "the period is not 15 to 120 s")?;
        // `Time` is where the fob's clock began, in steps: anything but the epoch is another algorithm's.
        if self.number("Time")?.is_some_and(|time| time != 0) {
            return Err("its time does not begin at the epoch, as that of RFC 6238 does");
        }
        if self.number("TimeDrift")?.is_some_and(|drift| drift != 0) {
            remarks.push("the drift of its clock is not kept: it may need countersign resync".into());
        }
        Ok(Moving::totp(period))
    }

    fn digits(&self) -> Result<u32, &'static str> {
        let Some(format) = xml::descend(self.key, &["AlgorithmParameters", "ResponseFormat"]) else { return Ok(6) };
        if format.attribute("Encoding").is_some_and(|encoding| !encoding.eq_ignore_ascii_case("DECIMAL")) {
            return Err("its codes are not decimal");
        }
        if format.attribute("CheckDigits").is_some_and(|check| !matches!(check, "false" | "0")) {
            return Err("its codes have a check digit");
        }
        format.attribute("Length").map_or(Ok(6), |length| length.trim().parse().map_err(|_| "the digits are no number"))
    }

    /// The user whom the file names: a plain name, or the `UID` of a distinguished one (section 4.2).
    fn account(&self) -> Option<String> {
        let key = xml::value(self.key, &["UserId"]);
        let name = key.or_else(|| xml::value(self.package, &["DeviceInfo", "UserId"]))?;
        if !name.contains('=') {
            return Some(name.to_owned());
        }
        let uid = |part: &str| {
            part.split_once('=')
                .filter(|(kind, _)| kind.trim().eq_ignore_ascii_case("uid"))
                .map(|(_, uid)| uid.trim().to_owned())
        };
        name.split(',').find_map(uid).filter(|uid| !uid.is_empty())
    }
}

/// What the codes of a key change by.
enum Kind {
    Hotp,
    Totp,
}
