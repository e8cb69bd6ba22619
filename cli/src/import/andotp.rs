//! Backups of andOTP in clear: a JSON list. Its encrypted ones are bytes of their own, and are not read. The file is its
//! owner's; its secrets are zeroised.

use serde_json::Value;

use crate::import::{
    Bad, Found, Place, Reading, issuer,
    json::{self, App, Document, Fields},
};

/// andOTP shows the code of the counter that it keeps, and counts on when another one is asked for.
const APP: App = App { algorithm: "algorithm", keeps_last_counter: true };

/// Reads a backup in clear.
///
/// # Errors
/// Where the file as a whole is none.
pub(crate) fn parse(bytes: &[u8]) -> Reading {
    let document = Document::parse(bytes).map_err(explain)?;
    let entries = document.value().as_array().ok_or(Bad::file("this is no backup of andOTP in clear"))?;
    Ok(json::each(entries, read_entry))
}

/// What is no text is likely an encrypted backup.
fn explain(bad: Bad) -> Bad {
    if bad.reason != json::NO_TEXT {
        return bad;
    }
    Bad::file("this is no backup of andOTP in clear; an encrypted one must be saved in clear first, in the app")
}

fn read_entry(place: Place, entry: &Value) -> Result<Found, &'static str> {
    let entry = Fields::of(entry).ok_or("the entry is none of andOTP")?;
    let mut found = APP.build(place, entry.text("type"), entry, json::secret(entry, "secret")?)?;
    let label = entry.text("label").unwrap_or_default();
    // Versions before 0.6.3 kept both names in the label.
    match (entry.text("issuer"), label.split_once(" - ")) {
        (None, Some((issuer, account))) => issuer::name(&mut found, Some(issuer), account)?,
        (issuer, _) => issuer::name(&mut found, issuer, label)?,
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use super::*;
    use crate::import::{Algorithm, Moving};

    /// The fields that andOTP writes, in its order.
    const BACKUP: &str = r#"[
        {"secret":"4SJHB4GSD43FZBAI7C2HLRJGPQ======","issuer":"Deno","label":"mason","digits":6,"type":"TOTP",
         "algorithm":"SHA1","thumbnail":"Default","last_used":1608146844162,"used_frequency":0,"period":30,"tags":[]},
        {"secret":"7ELGJSGXNCCTV3O6LKJWYFV2RA======","issuer":"Airbnb","label":"elijah","digits":8,"type":"TOTP",
         "algorithm":"SHA512","thumbnail":"AirBNB","last_used":1608146856099,"used_frequency":0,"period":50,"tags":["a"]},
        {"secret":"5VAML3X35THCEBVRLV24CGBKOY======","issuer":"WWE","label":"mason","digits":8,"type":"HOTP",
         "algorithm":"SHA256","thumbnail":"Default","last_used":1608146871644,"used_frequency":0,"counter":10300,"tags":[]},
        {"secret":"JRZCL47CMXVOQMNPZR2F7J4RGI======","issuer":"Boeing","label":"sophia","digits":5,"type":"STEAM",
         "algorithm":"SHA1","thumbnail":"Default","last_used":1608146877325,"used_frequency":0,"tags":[]},
        {"secret":"4SJHB4GSD43FZBAI7C2HLRJGPQ","label":"Old - alice","type":"TOTP"}]"#;

    #[test]
    fn a_backup_in_clear_is_read_entry_by_entry() {
        let read = parse(BACKUP.as_bytes()).unwrap();
        let one = read[0].as_ref().unwrap();
        assert_eq!((one.account.as_deref(), one.label.as_deref()), (Some("mason"), Some("Deno")));
        assert_eq!((one.algorithm, one.digits, one.moving), (Algorithm::Sha1, 6, Moving::totp(30)));
        assert_eq!(one.secret[..4], [0xe4, 0x92, 0x70, 0xf0]);
        let two = read[1].as_ref().unwrap();
        assert_eq!((two.algorithm, two.digits, two.moving), (Algorithm::Sha512, 8, Moving::totp(50)));
        let three = read[2].as_ref().unwrap();
        assert_eq!((three.algorithm, three.moving), (Algorithm::Sha256, Moving::Hotp { next: 10301 }));
        assert_eq!(three.remarks, [json::PAST_THE_LAST]);
        let four = read[3].as_ref().unwrap_err();
        assert_eq!(four.to_string(), "entry 4: codes of Steam are none of RFC 6238");
        let five = read[4].as_ref().unwrap();
        assert_eq!((five.account.as_deref(), five.label.as_deref()), (Some("alice"), Some("Old")));
        assert_eq!((five.digits, five.moving), (6, Moving::totp(30)));
    }

    #[test]
    fn a_bad_entry_is_named_and_stops_no_other() {
        let backup = r#"[7, {"type":"TOTP"}, {"secret":"1","type":"TOTP"}, {"secret":"MZXW6YTB","type":"TOTP","digits":"x"},
            {"secret":"MZXW6YTB","type":"HOTP"}, {"secret":"MZXW6YTB"}, {"secret":"MZXW6YTB","type":"TOTP","algorithm":"MD5"},
            {"secret":"MZXW6YTB","type":"TOTP","period":-1}, {"secret":"MZXW6YTB","type":"TOTP","digits":1e30},
            {"secret":"MZXW6YTB","type":"totp","digits":"8","new":{"a":null},"label":"a/b"},
            {"secret":"MZXW6YTB","type":"totp","digits":"8","new":{"a":null},"label":"bob"}]"#;
        let read = parse(backup.as_bytes()).unwrap();
        let bad: Vec<String> = read.iter().filter_map(|one| one.as_ref().err()).map(ToString::to_string).collect();
        assert_eq!(
            bad,
            [
                "entry 1: the entry is none of andOTP",
                "entry 2: the secret is missing",
                "entry 3: the secret is not base32",
                "entry 4: the digits are no number",
                "entry 5: the counter is missing, which hotp needs",
                "entry 6: the type is missing",
                "entry 7: the algorithm is none of SHA1, SHA256, SHA512",
                "entry 8: the period is no number",
                "entry 9: the digits are no number",
                "entry 10: the account's name holds a character that no account has",
            ]
        );
        assert_eq!(read[10].as_ref().unwrap().digits, 8);
    }

    #[test]
    fn a_file_that_is_no_backup_is_refused_as_a_whole() {
        let refused = |bytes: &[u8]| parse(bytes).unwrap_err().to_string();
        assert_eq!(refused(b""), "the file: the file is empty");
        assert_eq!(refused(&BACKUP.as_bytes()[..100]), "the file: the file is cut off");
        assert_eq!(refused(b"[\0]"), "the file: the file is not JSON");
        assert_eq!(refused(br#"{"a":1}"#), "the file: this is no backup of andOTP in clear");
        assert!(refused(b"\x9c\xff\xfe\x00").contains("an encrypted one must be saved in clear"));
        let utf_16: Vec<u8> = "[]".encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(refused(&utf_16).contains("not JSON"));
        assert_eq!(refused(&vec![b' '; 100 << 20]), "the file: the file is larger than 16 MiB");
        assert_eq!(refused("[".repeat(100_000).as_bytes()), "the file: the file is not JSON");
        assert_eq!(parse("\u{feff}[]".as_bytes()).unwrap().len(), 0);
    }
}
