//! Rows of the store and records of the audit, as somebody with the disk in hand alters them: whatever the daemon still
//! believes is what it wrote.
#![no_main]

use std::cell::OnceCell;

use daemon::{
    audit::AuditRecord,
    store::{
        Record,
        fuzzing::{Cell, Disk},
    },
};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary, Unstructured},
    fuzz_target,
};

#[derive(Debug)]
struct Alteration(u8, u8, u8, Cell);

impl<'a> Arbitrary<'a> for Alteration {
    fn arbitrary(input: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let (table, column, row) = (input.arbitrary()?, input.arbitrary()?, input.arbitrary()?);
        let cell = match input.int_in_range(0..=4)? {
            0 => Cell::Null,
            1 => Cell::Integer(input.arbitrary()?),
            2 => Cell::Text(input.arbitrary()?),
            3 => Cell::Bytes(input.arbitrary()?),
            _ => Cell::Gone,
        };
        Ok(Self(table, column, row, cell))
    }
}

struct Whole {
    disk: Disk,
    record: Record,
    chain: Vec<AuditRecord>,
}

thread_local! {
    static WHOLE: OnceCell<Whole> = const { OnceCell::new() };
}

fuzz_target!(|alterations: Vec<Alteration>| {
    let cells: Vec<_> = alterations.into_iter().take(4).map(|one| (one.0, one.1, one.2, one.3)).collect();
    WHOLE.with(|whole| {
        let whole = whole.get_or_init(|| {
            let disk = Disk::new().unwrap();
            let (record, chain) = disk.read_altered(&[]);
            Whole { disk, record: record.unwrap().unwrap(), chain: chain.unwrap() }
        });
        assert_eq!(whole.chain.len(), 4);
        let (record, chain) = whole.disk.read_altered(&cells);
        // A record that is gone altogether is "no record"; a part of one, or another one, is refused.
        if let Ok(Some(record)) = record {
            let mut expected = whole.record.clone();
            // Altered remembered logins are forgotten: who has them must show a code again.
            if record.account.remembered.is_empty() {
                expected.account.remembered.clear();
            }
            // Altered scratch codes open nothing any more.
            if record.account.scratch_codes.is_empty() {
                expected.account.scratch_codes.clear();
            }
            assert_eq!(format!("{record:?}"), format!("{expected:?}"), "{cells:?}");
            let secrets = |record: &Record| -> Vec<Vec<u8>> {
                record.account.authenticators.iter().map(|one| one.secret.bytes().to_vec()).collect()
            };
            assert_eq!(secrets(&record), secrets(&whole.record));
        }
        if let Ok(chain) = chain {
            assert_eq!(chain, whole.chain, "{cells:?}");
        }
    });
});
