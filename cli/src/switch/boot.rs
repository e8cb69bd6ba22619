//! Time that no clock changes: since the host was booted, together with which boot that was.

use std::fs;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// A point in time since the boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Which boot: the kernel's own id, and when the first process started, which tells containers apart.
    boot: String,
    /// Seconds since then, those in suspend included (`CLOCK_BOOTTIME`, clock_gettime(2)).
    seconds: u64,
}

impl Moment {
    /// Now.
    pub(crate) fn now() -> Self {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let first = started(1).unwrap_or_default();
        let seconds = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| time.tv_sec());
        Self { boot: format!("{} {first}", id.trim()), seconds: u64::try_from(seconds).unwrap_or(0) }
    }

    /// So many seconds later.
    pub(crate) fn after(mut self, seconds: u64) -> Self {
        self.seconds = self.seconds.saturating_add(seconds);
        self
    }

    /// The seconds from now to this one. `None` where it has come, or belongs to another boot: who waited for it is
    /// gone.
    pub(crate) fn left(&self) -> Option<u64> {
        let now = Self::now();
        (now.boot == self.boot).then(|| self.seconds.saturating_sub(now.seconds)).filter(|left| *left > 0)
    }
}

/// When a process was started, in clock ticks since the boot (proc(5), `starttime`).
pub(crate) fn started(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything.
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_another_boot_has_come() {
        assert!(Moment::now().after(60).left().is_some_and(|left| left > 50));
        assert_eq!(Moment::now().left(), None);
        let elsewhere = Moment { boot: "another".to_owned(), ..Moment::now().after(60) };
        assert_eq!(elsewhere.left(), None);
    }
}
