//! Replies, as anybody at a prompt types them: parsing never fails, and one code has one value however it is spaced.
#![no_main]

use libfuzzer_sys::fuzz_target;
use verifier::Reply;

fuzz_target!(|text: &str| {
    let reply = Reply::parse(text);
    if let Reply::Code(code) = &reply {
        assert!((6..=8).contains(&code.digits()));
        let plain = code.text();
        assert_eq!(plain.len(), usize::from(code.digits()));
        // CVE-2025-6015: a code with a space in it is the same code.
        let (front, back) = plain.split_at(3);
        for spelling in [plain.to_string(), format!(" {front} {back}\n"), format!("{front}-{back}")] {
            assert!(Reply::parse(&spelling) == reply);
        }
    }
    if let Reply::RecoveryCode(_) = &reply {
        assert!(Reply::parse(&text.to_ascii_lowercase()) == reply);
    }
    assert!(!format!("{reply:?}").chars().any(|character| character.is_ascii_digit()), "Debug tells a code");
});
