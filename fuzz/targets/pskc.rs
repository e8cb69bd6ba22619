//! Seed files of key fobs: whatever is in one, it is read within bounds, and a record that comes out of an encrypted file
//! is one that its MAC vouched for.
#![no_main]

#[path = "../../cli/src/base32.rs"]
#[allow(dead_code)]
mod base32;
#[path = "../../cli/src/import/mod.rs"]
#[allow(dead_code, unused_imports)]
mod import;

use import::{
    Place,
    pskc::{Container, Credential, Protection},
};
use libfuzzer_sys::fuzz_target;
use zeroize::Zeroizing;

/// The key of figure 6 of RFC 6030.
const KEY: [u8; 16] = [0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12];
const SECRET: &[u8] = b"12345678901234567890";

fuzz_target!(|bytes: &[u8]| {
    let Ok(container) = Container::read(bytes) else { return };
    let Ok(protection) = container.protection() else { return };
    // As many rounds as figure 7 has; more are only slow.
    let text = String::from_utf8_lossy(bytes);
    let cheap = text.matches("IterationCount").count() == 2 && text.contains("<IterationCount>1000<");
    let credential = match protection {
        Protection::None => Credential::None,
        Protection::PreSharedKey(_) => Credential::Key(Zeroizing::new(KEY.to_vec())),
        Protection::Passphrase(_) if cheap => Credential::Passphrase(Zeroizing::new("qwerty".to_owned())),
        Protection::Passphrase(_) => return,
    };
    let Ok(records) = container.open(&credential, "2026-11-20T10:00:00Z") else { return };
    for found in records.iter().flatten() {
        assert!(found.place != Place::File);
        let encrypted = protection != Protection::None && !text.contains("PlainValue");
        assert!(!encrypted || *found.secret == SECRET, "a value was believed that nobody vouched for");
        let _ = found.check();
    }
});
