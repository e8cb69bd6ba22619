//! Moments, as the daemon's clocks tell them.

use std::time::Duration;

/// Milliseconds since the epoch, by the wall clock, which people and time servers may turn back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallTime(pub u64);

impl WallTime {
    /// The moment this many seconds after the epoch.
    #[must_use]
    pub const fn from_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }

    /// Whole seconds since the epoch.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// How much later this is than `earlier`; `None` where it is before it.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<Duration> {
        self.0.checked_sub(earlier.0).map(Duration::from_millis)
    }
}

/// Milliseconds since the machine booted, suspend included (`CLOCK_BOOTTIME`), and which boot that was
/// (`/proc/sys/kernel/random/boot_id`). Nobody turns this clock back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BootTime {
    /// The boot's random id.
    pub boot: [u8; 16],
    /// Milliseconds since then.
    pub elapsed: u64,
}

impl BootTime {
    /// How much later this is than `earlier`; `None` where the two are of different boots.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<Duration> {
        (self.boot == earlier.boot).then(|| Duration::from_millis(self.elapsed.saturating_sub(earlier.elapsed)))
    }
}

/// One moment by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// By the wall clock.
    pub wall: WallTime,
    /// By the clock of this boot.
    pub boot: BootTime,
}
