//! The configuration: whatever root's editor left in the file is taken, or refused with its place in one line.
#![no_main]

use std::path::Path;

use daemon::config::Config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    match Config::parse(Path::new("countersign.toml"), text) {
        Ok(config) => {
            let limits = config.throttling.limits();
            assert!((1..=100).contains(&limits.failures) && (1..=100).contains(&limits.disable_after));
            assert!(!limits.locks.is_empty());
            assert!((1..=10).contains(&config.tries.0));
            assert!(config.effective("host").len() > 10);
        }
        Err(error) => assert!(error.to_string().starts_with("countersign.toml:"), "{error}"),
    }
});
