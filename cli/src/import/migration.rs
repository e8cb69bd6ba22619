//! What Google Authenticator exports: `otpauth-migration://offline?data=…`, a protocol buffer in base64, one URI a QR
//! code and up to ten entries in each. The format is not documented by its maker; its fields are those that every
//! reader of it knows. The text is secret as a whole: no reason repeats any of it.

use std::collections::{BTreeMap, BTreeSet};

use zeroize::Zeroizing;

use crate::import::{Algorithm, Bad, Found, Moving, Place, Reading, base64, issuer, json::PAST_THE_LAST};

/// The longest text, in bytes: a QR code holds 2,953, and an export of 1,000 entries takes 100 of them.
pub(crate) const LONGEST: usize = 1 << 20;
/// How such a URI begins, in any case.
const SCHEME: &str = "otpauth-migration://";

const DAMAGED: &str = "the URI is damaged: its data are cut off or altered";

/// Reads the URIs of `text`, one a line. Entries are counted through all of them. Where QR codes of an export are
/// missing, an error at the end says so.
///
/// # Errors
/// Where the text holds no such URI.
pub(crate) fn parse(text: &str) -> Reading {
    if text.len() > LONGEST {
        return Err(Bad::file("the file is larger than 1 MiB"));
    }
    let lines = (1..).map(Place::Line).zip(text.trim_start_matches('\u{feff}').lines());
    let mut read = Vec::new();
    let (mut uris, mut batches) = (0_u64, Batches::default());
    for (place, line) in lines {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        uris += 1;
        match read_uri(line) {
            Ok(payload) => {
                batches.add(&payload);
                let count = read.len() as u64;
                let places = (count + 1..).map(Place::Entry);
                read.extend(places.zip(payload.entries).map(|(place, entry)| {
                    entry.and_then(|entry| entry.into_found(place.clone())).map_err(|reason| Bad { place, reason })
                }));
            }
            Err(reason) => read.push(Err(Bad { place, reason })),
        }
    }
    match uris {
        0 => Err(Bad::file("the file is empty")),
        _ => {
            read.extend(batches.missing().map(Err));
            Ok(read)
        }
    }
}

/// Which QR codes of which exports were seen: their indices, by the export's number and how many codes it has.
#[derive(Default)]
struct Batches(BTreeMap<(u64, u64), BTreeSet<u64>>);

impl Batches {
    fn add(&mut self, payload: &Payload) {
        self.0.entry((payload.batch, payload.batches)).or_default().insert(payload.index);
    }

    /// What to say where an export has more codes than were seen.
    fn missing(&self) -> Option<Bad> {
        let incomplete = self.0.iter().any(|((_, batches), indices)| (indices.len() as u64) < *batches);
        incomplete.then_some(Bad::file("the export has more QR codes than were given: give the others too"))
    }
}

fn read_uri(text: &str) -> Result<Payload, &'static str> {
    let scheme = text.get(..SCHEME.len()).filter(|scheme| scheme.eq_ignore_ascii_case(SCHEME));
    let rest = scheme.and(text.get(SCHEME.len()..)).ok_or("this is no otpauth-migration:// URI")?;
    let (_, query) = rest.split_once('?').ok_or("the URI has no data")?;
    let query = query.split('#').next().unwrap_or_default();
    let data = query.split('&').find_map(|pair| pair.strip_prefix("data=")).ok_or("the URI has no data")?;
    let bytes = base64::decode(&percent_decode(data)).map_err(|_| DAMAGED)?;
    Payload::read(&bytes)
}

/// `text` with its `%2B` decoded. A `+` stands for itself: base64 has some, and no space.
fn percent_decode(text: &str) -> Zeroizing<String> {
    let mut decoded = Zeroizing::new(String::with_capacity(text.len()));
    let mut rest = text.chars();
    while let Some(first) = rest.next() {
        let mut ahead = rest.clone();
        let mut digit = || ahead.next().and_then(|character| character.to_digit(16));
        match (first == '%').then(|| Some((digit()?, digit()?))).flatten() {
            Some((high, low)) => {
                decoded.push(char::from_u32(high << 4 | low).unwrap_or('%'));
                rest = ahead;
            }
            None => decoded.push(first),
        }
    }
    decoded
}

/// `MigrationPayload`: the entries of one QR code, and which code of how many it is.
#[derive(Default)]
struct Payload {
    entries: Vec<Result<Entry, &'static str>>,
    batches: u64,
    index: u64,
    batch: u64,
}

impl Payload {
    fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let mut payload = Self::default();
        let mut message = Message(bytes);
        while let Some((field, value)) = message.next()? {
            match (field, value) {
                (1, Value::Bytes(entry)) => payload.entries.push(Entry::read(entry)),
                (3, Value::Number(number)) => payload.batches = number,
                (4, Value::Number(number)) => payload.index = number,
                (5, Value::Number(number)) => payload.batch = number,
                // 2 is the version, which never told anything.
                _ => {}
            }
        }
        Ok(payload)
    }
}

/// `OtpParameters`: one entry.
#[derive(Default)]
struct Entry {
    secret: Zeroizing<Vec<u8>>,
    name: String,
    issuer: String,
    algorithm: u64,
    digits: u64,
    kind: u64,
    counter: u64,
}

impl Entry {
    fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).map_err(|_| "a name is not UTF-8");
        let mut entry = Self::default();
        let mut message = Message(bytes);
        while let Some((field, value)) = message.next()? {
            match (field, value) {
                (1, Value::Bytes(secret)) => entry.secret = Zeroizing::new(secret.to_vec()),
                (2, Value::Bytes(name)) => entry.name = text(name)?,
                (3, Value::Bytes(issuer)) => entry.issuer = text(issuer)?,
                (4, Value::Number(number)) => entry.algorithm = number,
                (5, Value::Number(number)) => entry.digits = number,
                (6, Value::Number(number)) => entry.kind = number,
                (7, Value::Number(number)) => entry.counter = number,
                _ => {}
            }
        }
        Ok(entry)
    }

    /// The numbers are those of the enumerations; 0 is what is not said.
    fn into_found(self, place: Place) -> Result<Found, &'static str> {
        let moving = match self.kind {
            0 | 2 => Moving::totp(30),
            // The app counts on before it shows a code, and keeps that counter.
            1 => Moving::Hotp { next: self.counter.saturating_add(1) },
            _ => return Err("the type is neither totp nor hotp"),
        };
        if self.secret.is_empty() {
            return Err("the secret is missing");
        }
        let mut found = Found::new(place, self.secret, moving);
        found.algorithm = match self.algorithm {
            0 | 1 => Algorithm::Sha1,
            2 => Algorithm::Sha256,
            3 => Algorithm::Sha512,
            _ => return Err("the algorithm is none of SHA1, SHA256, SHA512"),
        };
        found.digits = match self.digits {
            0 | 1 => 6,
            2 => 8,
            _ => return Err("the digits are not 6 or 8"),
        };
        issuer::name(&mut found, Some(&self.issuer), &self.name)?;
        if matches!(moving, Moving::Hotp { .. }) {
            found.remarks.push(PAST_THE_LAST.into());
        }
        Ok(found)
    }
}

/// The value of a field, as far as its kind is of interest.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    Other,
}

/// What is left of a message in the encoding of protocol buffers (protobuf.dev, "Encoding"). Nothing is allocated, and
/// a length never leads out of the message.
struct Message<'a>(&'a [u8]);

impl<'a> Message<'a> {
    /// The next field's number and value; `None` at the end.
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, &'static str> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| DAMAGED)?;
                Value::Bytes(self.take(length)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            // Groups, 3 and 4, are older than the format.
            _ => return Err(DAMAGED),
        };
        Ok(Some((tag >> 3, value)))
    }

    /// A number in groups of seven bits, the lowest first, at most ten of them.
    fn number(&mut self) -> Result<u64, &'static str> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = *self.take(1)?.first().ok_or(DAMAGED)?;
            let bits = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit.
            if shift == 63 && bits > 1 {
                return Err(DAMAGED);
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DAMAGED)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], &'static str> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(DAMAGED)?;
        self.0 = rest;
        Ok(taken)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use super::*;

    /// Written by `tests/data/apps/make`: two QR codes of one export.
    const EXPORT: &str = include_str!("../../tests/data/apps/migration.txt");

    /// A URI of these bytes, in base64 without padding, which is one more thing that others write.
    fn uri(bytes: &[u8]) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut text = "otpauth-migration://offline?data=".to_owned();
        for chunk in bytes.chunks(3) {
            let bits =
                chunk.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte)) << (8 * (3 - chunk.len()));
            text.extend((0..=chunk.len()).map(|index| char::from(ALPHABET[bits >> (18 - 6 * index) & 0x3f])));
        }
        text
    }

    /// A payload of one entry with these fields.
    fn entry(fields: &[u8]) -> Vec<u8> {
        [&[0x0a, u8::try_from(fields.len()).unwrap()][..], fields].concat()
    }

    fn reason(bytes: &[u8]) -> &'static str {
        parse(&uri(bytes)).unwrap().remove(0).unwrap_err().reason
    }

    #[test]
    fn an_export_of_two_codes_is_read_as_one() {
        let read = parse(EXPORT).unwrap();
        assert_eq!(read.len(), 3);
        let one = read[0].as_ref().unwrap();
        assert_eq!(
            (&one.place, one.account.as_deref(), one.label.as_deref()),
            (&Place::Entry(1), Some("mason"), Some("Deno"))
        );
        assert_eq!((one.algorithm, one.digits, one.moving), (Algorithm::Sha1, 6, Moving::totp(30)));
        assert_eq!(one.secret[..4], [0xe4, 0x92, 0x70, 0xf0]);
        let two = read[1].as_ref().unwrap();
        assert_eq!((two.account.as_deref(), two.label.as_deref()), (Some("mason"), Some("WWE")));
        // The app showed the code of 10299 last.
        assert_eq!((two.algorithm, two.digits, two.moving), (Algorithm::Sha256, 8, Moving::Hotp { next: 10300 }));
        assert_eq!(two.remarks, [PAST_THE_LAST]);
        let three = read[2].as_ref().unwrap();
        assert_eq!((three.account.as_deref(), three.label.as_deref()), (Some("elijah"), None));
        assert_eq!((&three.place, three.algorithm, three.digits), (&Place::Entry(3), Algorithm::Sha512, 8));
    }

    #[test]
    fn a_code_of_the_export_that_is_missing_is_told_and_the_rest_goes_in() {
        let first = EXPORT.lines().next().unwrap();
        let read = parse(first).unwrap();
        assert_eq!((read.len(), read[0].is_ok(), read[1].is_ok()), (3, true, true));
        assert!(read[2].as_ref().unwrap_err().reason.contains("more QR codes than were given"));
        // The same code twice is one code.
        let twice = parse(&format!("{first}\r\n# again\n\n{}", first.replace("otpauth", "OTPAUTH"))).unwrap();
        assert_eq!((twice.len(), twice[4].is_err()), (5, true));
    }

    #[test]
    fn a_line_that_is_no_such_uri_is_named() {
        let read =
            parse("otpauth://totp/a?secret=b\n\notpauth-migration://offline\n\u{e9}tpauth-migration://offline?data=")
                .unwrap();
        let bad: Vec<String> = read.iter().map(|one| one.as_ref().unwrap_err().to_string()).collect();
        assert_eq!(
            bad,
            [
                "line 1: this is no otpauth-migration:// URI",
                "line 3: the URI has no data",
                "line 4: this is no otpauth-migration:// URI",
            ]
        );
        assert_eq!(parse(" \n#").unwrap_err().reason, "the file is empty");
        assert_eq!(parse(&"x".repeat(LONGEST + 1)).unwrap_err().reason, "the file is larger than 1 MiB");
        assert!(parse("otpauth-migration://offline?data=").unwrap().is_empty());
    }

    #[test]
    fn a_length_or_number_that_lies_is_damage() {
        for bad in [
            // A length behind the end, one of 2^63, a number without an end, one of eleven bytes, a group, half a tag.
            &[0x0a, 5, 1][..],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f],
            &[0x18, 0x80],
            &[0x18, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0],
            &[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0x1b],
            &[0x80],
            &[0x1d, 0, 0, 0],
        ] {
            assert_eq!(reason(bad), DAMAGED, "{bad:?}");
        }
        let cut = EXPORT.lines().next().unwrap();
        assert_eq!(parse(&cut[..cut.len() - 20]).unwrap()[0].as_ref().unwrap_err().reason, DAMAGED);
        assert_eq!(parse(&cut.replace("data=", "data=%00")).unwrap()[0].as_ref().unwrap_err().reason, DAMAGED);
    }

    #[test]
    fn a_bad_entry_is_named_and_stops_no_other() {
        let secret = [&[0x0a, 10][..], &[7; 10]].concat();
        let with = |fields: &[u8]| entry(&[&secret[..], fields].concat());
        // A field that nobody knows yet, of each kind, is passed over.
        let new = with(&[0x78, 1, 0x79, 1, 2, 3, 4, 5, 6, 7, 8, 0x7a, 1, 0, 0x7d, 1, 2, 3, 4]);
        let read = parse(&uri(&[with(&[0x20, 4]), new].concat())).unwrap();
        assert_eq!(read[0].as_ref().unwrap_err().to_string(), "entry 1: the algorithm is none of SHA1, SHA256, SHA512");
        let good = read[1].as_ref().unwrap();
        assert_eq!((good.moving, good.digits, good.account.as_deref()), (Moving::totp(30), 6, None));
        assert_eq!(reason(&with(&[0x28, 3])), "the digits are not 6 or 8");
        assert_eq!(reason(&with(&[0x30, 9])), "the type is neither totp nor hotp");
        assert_eq!(reason(&with(&[0x12, 1, 0xff])), "a name is not UTF-8");
        assert_eq!(reason(&with(&[0x12, 1, b'/'])), "the account's name holds a character that no account has");
        assert_eq!(reason(&entry(&[0x20, 1])), "the secret is missing");
    }
}
