//! Files of other programs: `.google_authenticator`, `users.oath`, tables. The first byte chooses the format. What is read
//! is what the daemon takes or refuses by name, and no secret stands in what is said about it.
#![no_main]

#[path = "../../cli/src/base32.rs"]
mod base32;
#[path = "../../cli/src/import/mod.rs"]
#[allow(dead_code)]
mod import;

use daemon::importing::Imported;
use import::{Bad, Found, Moving, csv::Columns, google_authenticator, oath};
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;
use verifier::RecoveryKey;

fuzz_target!(|bytes: &[u8]| {
    let Some((format, rest)) = bytes.split_first() else { return };
    match format % 3 {
        0 => judge(google_authenticator::parse(rest)),
        1 => lines(rest, |number, line| oath::parse(number, line, &TimeZone::UTC)),
        _ => {
            let mut columns: Option<Columns> = None;
            lines(rest, |number, line| match &columns {
                Some(columns) => columns.read(number, line),
                None => Columns::parse(number, line).map(|read| {
                    columns = Some(read);
                    None
                }),
            });
        }
    }
});

fn lines(bytes: &[u8], mut parse: impl FnMut(u64, &str) -> Result<Option<Found>, Bad>) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(parsed) = parse(number, line).transpose() {
            judge(parsed);
        }
    }
}

/// What the tool lets through, the daemon parses; it may still refuse by name.
fn judge(parsed: Result<Found, Bad>) {
    let found = match parsed {
        Ok(found) => found,
        Err(bad) => return assert!(!bad.reason.is_empty()),
    };
    let said = format!("{found:?}");
    assert!(!said.contains(&format!("{:?}", &*found.secret)) || found.secret.len() < 4, "{said}");
    if found.check().is_err() {
        return;
    }
    let mut record = dbus_api::ImportRecord::new("alice", found.secret.to_vec());
    record.digits = found.digits;
    record.algorithm = found.algorithm.name().to_owned();
    match found.moving {
        Moving::Totp { period, last_step, drift } => {
            (record.period, record.last_step, record.drift) = (period, last_step, Some(drift));
        }
        Moving::Hotp { next } => (record.kind, record.counter) = ("hotp".to_owned(), next),
    }
    record.last_code = found.last_code.map(|last| last.value);
    record.last_code_at = found.last_code.and_then(|last| last.at);
    record.scratch_codes = found.scratch_codes.codes().map(<[u32]>::to_vec);
    let Ok(imported) = Imported::parse(&record, &RecoveryKey([7; 32])) else { return };
    match imported.authenticator.moving {
        verifier::Moving::Totp(totp) => {
            assert!(totp.drift.is_none_or(|drift| drift.unsigned_abs() <= 10));
            // No step is spent that a login could not accept within the next minutes.
            let now = daemon::clock::wall().seconds() / u64::from(record.period);
            assert!(totp.last.is_none_or(|last| last.0 <= now + 12));
        }
        verifier::Moving::Hotp(hotp) => assert!(hotp.next.0 >= record.counter && hotp.next.0 < u64::MAX),
    }
}
