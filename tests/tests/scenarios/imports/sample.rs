//! A file of each format with the same three people in it, and what of it is secret.

use std::fmt::Write as _;

/// Whose the three authenticators are, and their secrets of 20 bytes.
pub(super) const PEOPLE: [(&str, [u8; 20]); 3] =
    [("alice", *b"alice's-secret-01234"), ("bob", *b"bob's-secret-5678901"), ("carol", *b"carol's-secret-23456")];

/// A file to import.
pub(super) struct Sample {
    /// The format as the tool calls it.
    pub(super) format: &'static str,
    /// What else the command needs.
    pub(super) arguments: &'static [&'static str],
    /// The file.
    pub(super) bytes: Vec<u8>,
    /// A text of it, and what makes a record of it one that nobody can read: alone that of bob.
    pub(super) wrong: (&'static str, &'static str),
    /// A text of it, and the same with something beside it that is not known.
    pub(super) unknown: (&'static str, &'static str),
    /// How the place of bob's record is named.
    pub(super) place: &'static str,
}

/// All formats but that of homes.
pub(super) fn all() -> Vec<Sample> {
    let sample = |format, bytes: String| Sample {
        format,
        arguments: &[],
        bytes: bytes.into_bytes(),
        wrong: ("", ""),
        unknown: ("", ""),
        place: "line 2",
    };
    vec![
        Sample {
            wrong: ("bob?", "bob?digits=-6&"),
            unknown: ("bob?", "bob?colour=red&"),
            ..sample("otpauth", each(|name, secret| format!("otpauth://totp/{name}?secret={}\n", base32(secret))))
        },
        Sample {
            wrong: ("\tbob", "/T-30\tbob"),
            unknown: ("HOTP\tbob", "HOTP/T60/7\tbob"),
            ..sample("oath", each(|name, secret| format!("HOTP\t{name}\t-\t{}\n", hexadecimal(secret))))
        },
        Sample {
            wrong: ("bob,6", "bob,six"),
            unknown: ("bob,6", "\"bob\",6"),
            place: "line 3",
            ..sample(
                "csv",
                "account,digits,secret\n".to_owned() + &each(|name, secret| format!("{name},6,{}\n", base32(secret))),
            )
        },
        Sample {
            wrong: ("Id=\"bob\" Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:hotp\"", "Id=\"bob\" Algorithm=\"x\""),
            unknown: ("<Key Id=\"bob\"", "<Colour/><Key Id=\"bob\""),
            place: "serial bob",
            ..sample(
                "pskc",
                format!(
                    "<?xml version=\"1.0\"?>\n<KeyContainer Version=\"1.0\" xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\">\n{}</KeyContainer>\n",
                    each(package)
                ),
            )
        },
        Sample {
            wrong: ("\"name\":\"bob\",\"info\":{\"digits\":6", "\"name\":\"bob\",\"info\":{\"digits\":-6"),
            unknown: ("\"name\":\"bob\"", "\"name\":\"bob\",\"colour\":{\"red\":[1,null]}"),
            place: "entry 2",
            ..sample(
                "aegis",
                format!(
                    "{{\"version\":1,\"header\":{{\"slots\":null,\"params\":null}},\n\"db\":{{\"version\":2,\"entries\":[\n{}]}}}}\n",
                    list(|name, secret| format!(
                        "{{\"type\":\"totp\",\"name\":\"{name}\",\"info\":{{\"digits\":6,\"secret\":\"{}\"}}}}",
                        base32(secret)
                    ))
                ),
            )
        },
        Sample {
            wrong: ("\"bob\",\"digits\":6", "\"bob\",\"digits\":6.5"),
            unknown: ("\"bob\"", "\"bob\",\"colour\":\"red\""),
            place: "entry 2",
            ..sample(
                "andotp",
                format!(
                    "[\n{}]\n",
                    list(|name, secret| format!(
                        "{{\"type\":\"TOTP\",\"label\":\"{name}\",\"digits\":6,\"secret\":\"{}\"}}",
                        base32(secret)
                    ))
                ),
            )
        },
        Sample {
            wrong: ("\"bob\",\"digits\":6", "\"bob\",\"digits\":\"six\""),
            unknown: ("\"bob\"", "\"bob\",\"colour\":\"red\""),
            place: "entry 2",
            ..sample(
                "freeotp",
                format!(
                    "{{\"tokenOrder\":[],\"tokens\":[\n{}]}}\n",
                    list(|name, secret| format!(
                        "{{\"type\":\"TOTP\",\"issuerExt\":\"x\",\"label\":\"{name}\",\"digits\":6,\"period\":30,\"algo\":\"SHA1\",\"secret\":[{}]}}",
                        numbers(secret)
                    ))
                ),
            )
        },
        Sample {
            // The kind of the first field of bob's entry, which is the only one of 33 bytes, becomes one that is not known.
            wrong: ("CiEK", "CiEL"),
            place: "entry 2",
            unknown: ("otpauth-migration://offline?data=", "otpauth-migration://offline?colour=red&data="),
            ..sample(
                "migration",
                each(|name, secret| format!("otpauth-migration://offline?data={}\n", base64(&payload(name, secret)))),
            )
        },
    ]
}

/// The secrets of the people in every way in which the samples write them, and parts that an error could repeat.
pub(super) fn secrets() -> Vec<String> {
    let ways = |secret: &[u8; 20]| [base32(secret), hexadecimal(secret), numbers(secret), base64(secret)];
    let mut all: Vec<String> = PEOPLE.iter().flat_map(|(_, secret)| ways(secret)).collect();
    all.extend(PEOPLE.iter().map(|(_, secret)| String::from_utf8_lossy(secret).into_owned()));
    all.extend(PEOPLE.iter().map(|(_, secret)| base32(secret)[..12].to_owned()));
    all
}

fn each(line: impl Fn(&str, &[u8; 20]) -> String) -> String {
    PEOPLE.iter().map(|(name, secret)| line(name, secret)).collect()
}

fn list(entry: impl Fn(&str, &[u8; 20]) -> String) -> String {
    let entries: Vec<String> = PEOPLE.iter().map(|(name, secret)| entry(name, secret)).collect();
    entries.join(",\n") + "\n"
}

fn package(name: &str, secret: &[u8; 20]) -> String {
    format!(
        "<KeyPackage><DeviceInfo><SerialNo>{name}</SerialNo></DeviceInfo>\n<Key Id=\"{name}\" \
         Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:hotp\">\n<UserId>{name}</UserId><Data><Secret><PlainValue>{}</PlainValue>\
         </Secret></Data></Key></KeyPackage>\n",
        base64(secret)
    )
}

/// A `MigrationPayload` of one entry (protocol buffers): secret, name, SHA-1, 6 digits, TOTP.
fn payload(name: &str, secret: &[u8; 20]) -> Vec<u8> {
    let length = |bytes: &[u8]| u8::try_from(bytes.len()).unwrap();
    let mut entry = vec![0x0a, length(secret)];
    entry.extend_from_slice(secret);
    entry.extend_from_slice(&[0x12, length(name.as_bytes())]);
    entry.extend_from_slice(name.as_bytes());
    entry.extend_from_slice(&[0x20, 1, 0x28, 1, 0x30, 2]);
    [&[0x0a, length(&entry)][..], &entry].concat()
}

fn base32(bytes: &[u8]) -> String {
    groups(bytes, 5, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
}

fn base64(bytes: &[u8]) -> String {
    let padding = (3 - bytes.len() % 3) % 3;
    groups(bytes, 6, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/") + &"=".repeat(padding)
}

/// The bits of `bytes` in groups of so many, each as a letter.
fn groups(bytes: &[u8], size: usize, letters: &[u8]) -> String {
    let bits: Vec<usize> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| usize::from(byte >> bit & 1))).collect();
    let value = |group: &[usize]| group.iter().fold(0, |value, bit| value << 1 | bit) << (size - group.len());
    bits.chunks(size).map(|group| char::from(letters[value(group)])).collect()
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn numbers(bytes: &[u8]) -> String {
    let signed: Vec<String> = bytes.iter().map(|byte| byte.cast_signed().to_string()).collect();
    signed.join(",")
}
