//! The daemon's two clocks, read together.
//!
//! Nothing else in the daemon reads a clock to decide about a login.

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};
use verifier::{BootTime, Now, WallTime};

/// This moment, by the wall clock and by the clock of this boot.
#[must_use]
pub fn now() -> Now {
    Now { wall: wall(), boot: BootTime { boot: boot_id(), elapsed: since_boot() } }
}

/// This moment by the wall clock; one before the epoch counts as the epoch.
#[must_use]
pub fn wall() -> WallTime {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
}

/// Milliseconds since the machine booted, suspend included (clock_gettime(2), `CLOCK_BOOTTIME`). Where the
/// kernel cannot tell, 0: then a lock is judged by the wall clock alone.
fn since_boot() -> u64 {
    let Ok(time) = clock_gettime(ClockId::CLOCK_BOOTTIME) else { return 0 };
    let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec() / 1_000_000).unwrap_or(0);
    seconds.saturating_mul(1000).saturating_add(millis)
}

/// The random id of this boot (random(4)). Where it cannot be read, zeros: two boots then look like one, and
/// the wall clock alone ends a lock that the boot's clock would not.
fn boot_id() -> [u8; 16] {
    static BOOT: OnceLock<[u8; 16]> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        parse_boot_id(&text).unwrap_or_default()
    })
}

/// Parses 32 hexadecimal digits with hyphens between them.
fn parse_boot_id(text: &str) -> Option<[u8; 16]> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32).map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_parsed_and_anything_else_is_not() {
        let parsed = parse_boot_id("00112233-4455-6677-8899-aabbccddeeff\n");
        assert_eq!(parsed, Some([0, 17, 34, 51, 68, 85, 102, 119, 136, 153, 170, 187, 204, 221, 238, 255]));
        assert_eq!(parse_boot_id(""), None);
        assert_eq!(parse_boot_id("0011"), None);
    }

    #[test]
    fn the_clock_of_the_boot_runs_and_keeps_its_boot() {
        let (first, second) = (now(), now());
        assert!(first.boot.elapsed > 0);
        assert!(second.boot.since(first.boot).is_some());
        assert_ne!(first.boot.boot, [0; 16]);
    }
}
