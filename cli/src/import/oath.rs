//! `users.oath`, the file of pam_oath (liboath's "UsersFile"), line by line. It is root's, and yet read like anything
//! else from outside.

use jiff::{civil::DateTime, tz::TimeZone};

use super::{Bad, Found, LastCode, Moving, Place, decode_hex};

/// Reads one line; `None` where it is blank or a comment. Times are the host's own, so its zone is needed.
///
/// # Errors
/// The line and the reason.
pub(crate) fn parse(number: u64, line: &str, zone: &TimeZone) -> Result<Option<Found>, Bad> {
    let bad = |reason| Bad { place: Place::Line(number), reason };
    if line.contains('\0') {
        return Err(bad("it holds NUL bytes"));
    }
    // Nothing else begins with this, and liboath passes over whatever does not.
    let mut fields = line.split_ascii_whitespace();
    let Some(kind) = fields.next().filter(|first| !first.starts_with('#')) else { return Ok(None) };
    let (period, digits) = read_type(kind).map_err(bad)?;
    let user = fields.next().ok_or(bad("the user is missing"))?;
    let pin = fields.next().ok_or(bad("the PIN is missing"))?;
    let secret = decode_hex(fields.next().ok_or(bad("the secret is missing"))?).map_err(bad)?;
    let counter: u64 = fields.next().map_or(Ok(0), str::parse).map_err(|_| bad("the counter is no number"))?;
    let last_code = fields.next().map(|text| read_code(text, digits)).transpose().map_err(bad)?;
    let at = fields.next();
    if fields.next().is_some() {
        return Err(bad("it has more than 7 fields"));
    }
    let moving = period.map_or(Moving::Hotp { next: counter }, Moving::totp);
    let mut found = Found::new(Place::Line(number), secret, moving);
    found.account = Some(user.to_owned());
    found.digits = digits;
    if !matches!(pin, "-" | "+") {
        found.remarks.push("its PIN is left out: the password is the first factor here".into());
    }
    let used = at.and_then(|text| read_time(text, zone));
    if at.is_some() && used.is_none() {
        found.remarks.push("its time is not understood and counts as now".into());
    }
    found.last_code = last_code.map(|value| LastCode { value, at: used });
    if period.is_some() && last_code.is_none() {
        found.remarks.push("which codes were used is not known".into());
    }
    Ok(Some(found))
}

/// `HOTP`, `HOTP/E`, `HOTP/E/6` to `8` by counting; `HOTP/T30`, `HOTP/T60/7` and so on by time.
fn read_type(text: &str) -> Result<(Option<u32>, u32), &'static str> {
    const WRONG: &str = "its type is none of HOTP, HOTP/E/6, HOTP/T30, HOTP/T60/8 and the like";
    let mut parts = text.split('/');
    if parts.next() != Some("HOTP") {
        return Err(WRONG);
    }
    let period = match parts.next() {
        None | Some("E") => None,
        Some(time) => Some(time.strip_prefix('T').and_then(|seconds| seconds.parse().ok()).ok_or(WRONG)?),
    };
    let digits = match parts.next() {
        None => 6,
        Some(digits @ ("6" | "7" | "8")) => digits.parse().map_err(|_| WRONG)?,
        Some(_) => return Err(WRONG),
    };
    if parts.next().is_some() { Err(WRONG) } else { Ok((period, digits)) }
}

fn read_code(text: &str, digits: u32) -> Result<u32, &'static str> {
    let is_code = u32::try_from(text.len()) == Ok(digits) && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_code).ok_or("the last code is none of its type")
}

/// `2026-11-22T10:15:42L`, in the host's zone. Where clocks were put back the later moment counts.
fn read_time(text: &str, zone: &TimeZone) -> Option<u64> {
    let civil: DateTime = text.strip_suffix('L')?.parse().ok()?;
    let moment = zone.clone().into_ambiguous_zoned(civil).later().ok()?;
    u64::try_from(moment.timestamp().as_second()).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const SECRET: &str = "3132333435363738393031323334353637383930";

    fn read(line: &str) -> Option<Found> {
        parse(7, line, &TimeZone::fixed(jiff::tz::offset(1))).unwrap_or_else(|bad| unreachable!("{line}: {bad}"))
    }

    #[test]
    fn every_type_is_read() {
        for (kind, moving, digits) in [
            ("HOTP", Moving::Hotp { next: 0 }, 6),
            ("HOTP/E", Moving::Hotp { next: 0 }, 6),
            ("HOTP/E/6", Moving::Hotp { next: 0 }, 6),
            ("HOTP/E/7", Moving::Hotp { next: 0 }, 7),
            ("HOTP/E/8", Moving::Hotp { next: 0 }, 8),
            ("HOTP/T30", Moving::totp(30), 6),
            ("HOTP/T30/8", Moving::totp(30), 8),
            ("HOTP/T60", Moving::totp(60), 6),
            ("HOTP/T60/7", Moving::totp(60), 7),
        ] {
            let found = read(&format!("{kind}\talice\t-\t{SECRET}")).unwrap();
            assert_eq!((found.moving, found.digits, found.secret.len()), (moving, digits, 20), "{kind}");
            assert_eq!(found.account.as_deref(), Some("alice"));
        }
    }

    #[test]
    fn counter_last_code_and_its_time_are_kept() {
        let found = read(&format!("HOTP/E/6 bob - {SECRET} 5 254676 2026-11-22T11:15:42L")).unwrap();
        assert_eq!(found.moving, Moving::Hotp { next: 5 });
        assert_eq!(found.last_code, Some(LastCode { value: 254_676, at: Some(1_795_342_542) }));
        let found = read(&format!("HOTP/T30/6 bob - {SECRET} 0 054676 yesterday")).unwrap();
        assert_eq!(found.last_code, Some(LastCode { value: 54_676, at: None }));
        assert_eq!(found.remarks, ["its time is not understood and counts as now"]);
    }

    #[test]
    fn a_pin_is_reported_and_blank_lines_and_comments_are_passed_over() {
        for none in ["", "   \t", "# HOTP alice - 00"] {
            assert!(read(none).is_none(), "{none}");
        }
        let found = read(&format!("HOTP alice 1234 {SECRET}")).unwrap();
        assert_eq!(found.remarks, ["its PIN is left out: the password is the first factor here"]);
        assert!(!format!("{found:?}").contains("1234"));
        assert!(read(&format!("HOTP alice + {SECRET}")).unwrap().remarks.is_empty());
    }

    #[test]
    fn bad_lines_are_refused_by_number_and_reason() {
        let wrong_type = "its type is none of HOTP, HOTP/E/6, HOTP/T30, HOTP/T60/8 and the like";
        for (line, reason) in [
            ("TOTP alice - 00", wrong_type),
            ("HOTP/X alice - 00", wrong_type),
            ("HOTP/E/9 alice - 00", wrong_type),
            ("HOTP/Tx alice - 00", wrong_type),
            ("HOTP/T30/6/1 alice - 00", wrong_type),
            ("HOTP", "the user is missing"),
            ("HOTP alice", "the PIN is missing"),
            ("HOTP alice -", "the secret is missing"),
            ("HOTP alice - xyz0", "the secret is not hexadecimal"),
            ("HOTP alice - 00 -1", "the counter is no number"),
            ("HOTP alice - 00 1 12345", "the last code is none of its type"),
            ("HOTP/E/8 alice - 00 1 123456", "the last code is none of its type"),
            ("HOTP alice - 00 1 123456 2026-11-22T11:15:42L more", "it has more than 7 fields"),
            ("HOTP al\0ice - 00", "it holds NUL bytes"),
        ] {
            let expected = Bad { place: Place::Line(7), reason };
            assert_eq!(parse(7, line, &TimeZone::UTC).err(), Some(expected), "{line}");
        }
    }
}
