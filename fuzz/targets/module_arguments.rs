//! Arguments of the module in a PAM file: each is taken or refused by name, and what is taken is in range.
#![no_main]

#[path = "../../pam-module/src/options.rs"]
#[allow(dead_code, unreachable_pub)]
mod options;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    let Ok(options) = options::Options::parse(&arguments) else { return };
    assert!((1..=300).contains(&options.timeout.as_secs()));
    assert!((6..=8).contains(&options.forward_digits));
    assert!(options.bus.is_absolute());
    assert!(options.socket.is_none_or(|path| path.is_absolute()));
});
