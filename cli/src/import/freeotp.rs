//! What FreeOTP and FreeOTP+ write in clear: the JSON that FreeOTP+ exports, and `tokens.xml`, in which FreeOTP 1 keeps
//! its entries as JSON. The file is its owner's; its secrets are zeroised.

use serde_json::Value;
use zeroize::Zeroizing;

use crate::import::{
    Bad, Found, Place, Reading, issuer,
    json::{self, App, Document, Fields},
    xml,
};

/// FreeOTP counts on when it shows a code, and keeps the next counter.
const APP: App = App { algorithm: "algo", keeps_last_counter: false };
/// Where the order of the entries stands in `tokens.xml`.
const ORDER: &str = "tokenOrder";
/// How a serialized map of Java begins, which encrypted backups of FreeOTP 2 are.
const JAVA: [u8; 2] = [0xac, 0xed];

const NO_EXPORT: Bad = Bad::file("this is no export of FreeOTP+ and no tokens.xml of FreeOTP");

/// Reads either file.
///
/// # Errors
/// Where the file as a whole is none of both.
pub(crate) fn parse(bytes: &[u8]) -> Reading {
    if bytes.starts_with(&JAVA) {
        return Err(Bad::file("this is an encrypted backup of FreeOTP 2: FreeOTP+ exports in clear, as JSON"));
    }
    let text = bytes.trim_ascii_start();
    if text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text).starts_with(b"<") {
        return parse_preferences(bytes);
    }
    let document = Document::parse(bytes)?;
    let tokens = Fields::of(document.value()).and_then(|fields| fields.get("tokens")).and_then(Value::as_array);
    Ok(json::each(tokens.ok_or(NO_EXPORT)?, read_entry))
}

/// `tokens.xml`: preferences of Android, a `string` with the JSON of each entry.
fn parse_preferences(bytes: &[u8]) -> Reading {
    let text = xml::text(bytes)?;
    let document = xml::parse(text)?;
    let root = document.root_element();
    if root.tag_name().name() != "map" {
        return Err(NO_EXPORT);
    }
    let strings = xml::children(root, "string").filter(|string| string.attribute("name") != Some(ORDER));
    let places = (1..).map(Place::Entry);
    let read = |(place, string): (Place, xml::Node<'_, '_>)| {
        let entry = Document::parse(xml::value(string, &[]).unwrap_or_default().as_bytes());
        let entry = entry.map_err(|_| Bad { place: place.clone(), reason: "the entry is none of FreeOTP" })?;
        read_entry(place.clone(), entry.value()).map_err(|reason| Bad { place, reason })
    };
    Ok(places.zip(strings).map(read).collect())
}

fn read_entry(place: Place, entry: &Value) -> Result<Found, &'static str> {
    let entry = Fields::of(entry).ok_or("the entry is none of FreeOTP")?;
    if entry.text("issuerExt") == Some("Steam") {
        return Err("codes of Steam are none of RFC 6238");
    }
    let mut found = APP.build(place, entry.text("type"), entry, read_secret(entry)?)?;
    // What its owner changed stands beside what the URI said.
    let issuer = entry.text("issuerAlt").or(entry.text("issuerExt")).or(entry.text("issuerInt"));
    let label = entry.text("labelAlt").or(entry.text("label"));
    issuer::name(&mut found, issuer, label.unwrap_or_default())?;
    Ok(found)
}

/// The secret as a list of Java's bytes, -128 to 127.
fn read_secret(entry: Fields<'_>) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    const NO_BYTES: &str = "the secret is no list of bytes";
    let values = entry.get("secret").ok_or("the secret is missing")?.as_array().ok_or(NO_BYTES)?;
    let mut secret = Zeroizing::new(Vec::with_capacity(values.len()));
    for value in values {
        let byte = value.as_i64().and_then(|number| i8::try_from(number).ok()).ok_or(NO_BYTES)?;
        secret.push(byte.cast_unsigned());
    }
    Ok(secret)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use super::*;
    use crate::import::{Algorithm, Moving};

    const HOTP: &str = r#"{"algo":"SHA512","counter":10299,"digits":8,"issuerExt":"WWE","issuerInt":"WWE","label":"mason",
        "period":30,"secret":[-19,64,-59,-18,-5,-20,-50,34,6,-79,93,117,-63,24,42,118],"type":"HOTP"}"#;
    const TOTP: &str = r#"{"algo":"SHA256","counter":0,"digits":7,"issuerExt":"SPDX","issuerInt":null,"issuerAlt":"Mine",
        "label":"james","labelAlt":"jim","period":20,"secret":[-21,-103,-53,57,-58,122,-32,66,-6,-122,110],"type":"TOTP"}"#;

    fn export(tokens: &[&str]) -> String {
        format!(r#"{{"tokenOrder":["WWE:mason"],"tokens":[{}]}}"#, tokens.join(","))
    }

    fn preferences(tokens: &[&str]) -> String {
        let string = |token: &&str| format!("<string name=\"x\">{}</string>", token.replace('"', "&quot;"));
        let strings: String = tokens.iter().map(string).collect();
        format!(
            "<?xml version='1.0' encoding='utf-8' standalone='yes' ?>\n<map>\n{strings}\n\
             <string name=\"tokenOrder\">[&quot;x&quot;]</string>\n<int name=\"n\" value=\"1\"/></map>"
        )
    }

    #[test]
    fn both_files_say_the_same() {
        for file in [export(&[HOTP, TOTP]), preferences(&[HOTP, TOTP])] {
            let read = parse(file.as_bytes()).unwrap();
            assert_eq!(read.len(), 2);
            let hotp = read[0].as_ref().unwrap();
            assert_eq!((hotp.account.as_deref(), hotp.label.as_deref()), (Some("mason"), Some("WWE")));
            // FreeOTP made the code of 10298 last.
            assert_eq!((hotp.algorithm, hotp.digits), (Algorithm::Sha512, 8));
            assert_eq!((hotp.moving, hotp.remarks.len()), (Moving::Hotp { next: 10299 }, 0));
            assert_eq!(hotp.secret[..5], [0xed, 0x40, 0xc5, 0xee, 0xfb]);
            let totp = read[1].as_ref().unwrap();
            assert_eq!((totp.account.as_deref(), totp.label.as_deref()), (Some("jim"), Some("Mine")));
            assert_eq!((totp.algorithm, totp.digits, totp.moving), (Algorithm::Sha256, 7, Moving::totp(20)));
        }
    }

    #[test]
    fn a_bad_entry_is_named_and_stops_no_other() {
        let bad = [
            HOTP.replace("-19,", "128,"),
            HOTP.replace("-19,", "1.5,"),
            HOTP.replace("[-19", "\"x\",\"y\":[1"),
            TOTP.replace("SPDX", "Steam"),
            TOTP.replace("SHA256", "MD5"),
        ];
        let tokens: Vec<&str> = bad.iter().map(String::as_str).chain([TOTP]).collect();
        for file in [export(&tokens), preferences(&tokens)] {
            let read = parse(file.as_bytes()).unwrap();
            let reasons: Vec<String> =
                read.iter().filter_map(|one| one.as_ref().err()).map(ToString::to_string).collect();
            assert_eq!(
                reasons,
                [
                    "entry 1: the secret is no list of bytes",
                    "entry 2: the secret is no list of bytes",
                    "entry 3: the secret is no list of bytes",
                    "entry 4: codes of Steam are none of RFC 6238",
                    "entry 5: the algorithm is none of SHA1, SHA256, SHA512",
                ]
            );
            assert!(read[5].is_ok());
        }
        let read = parse(preferences(&["no json", TOTP]).as_bytes()).unwrap();
        assert_eq!(read[0].as_ref().unwrap_err().to_string(), "entry 1: the entry is none of FreeOTP");
        assert!(read[1].is_ok());
    }

    #[test]
    fn an_entry_that_never_showed_a_code_begins_at_0() {
        let counter = |number: &str| {
            let file = export(&[&HOTP.replace("10299", number)]);
            parse(file.as_bytes()).unwrap().remove(0).map(|found| found.moving).map_err(|bad| bad.reason)
        };
        assert_eq!(counter("-1"), Ok(Moving::Hotp { next: 0 }));
        assert_eq!(counter("0"), Ok(Moving::Hotp { next: 0 }));
        assert_eq!(counter("-2"), Err("the counter is no number"));
    }

    #[test]
    fn a_file_that_is_none_of_both_is_refused_as_a_whole() {
        let refused = |bytes: &[u8]| parse(bytes).unwrap_err().reason;
        assert_eq!(refused(b"[]"), NO_EXPORT.reason);
        assert_eq!(refused(b"<html/>"), NO_EXPORT.reason);
        assert_eq!(refused(b" "), "the file is empty");
        assert_eq!(refused(b"<map><string>"), "the file is not XML, or cut off");
        assert!(refused(b"\xac\xed\x00\x05sr\x00\x11java.util.HashMap").contains("FreeOTP 2"));
        let bomb = b"<!DOCTYPE map [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><map><string name='x'>&b;</string></map>";
        assert_eq!(refused(bomb), "the file declares a document type, which no such file has");
    }
}
