//! Lines of a syslog copy, as anybody who writes to syslog may have made them: marks and numbers come out of lines of ours
//! alone, and no field of an event makes a second line.
#![no_main]

use daemon::audit::{AuditRecord, ChainMark, Event, Kind, Outcome, Witness};
use libfuzzer_sys::fuzz_target;
use verifier::WallTime;

fuzz_target!(|parts: (&str, &str, u64, [u8; 8])| {
    let (copy, typed, seq, mark) = parts;
    if let Some(witness) = Witness::parse(copy) {
        let end = format!(" chain={}", witness.mark);
        assert!(copy.trim_end().to_ascii_lowercase().ends_with(&end));
    }
    // The user name, the reason: what somebody typed.
    let mut event = Event::new(WallTime(0), Kind::Verification, Outcome::Refused);
    event.account = Some(typed.to_owned());
    event.reason = Some(typed.to_owned());
    let line = AuditRecord { seq, event, mark: ChainMark(mark) }.line();
    assert!(line.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
    assert_eq!(Witness::parse(&line), Some(Witness { seq, mark: ChainMark(mark) }), "{line}");
});
