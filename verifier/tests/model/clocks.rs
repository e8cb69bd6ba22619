//! True time, and a machine whose clocks tell it as people, time servers and reboots leave them.

use proptest::prelude::*;
use verifier::{BootTime, Now, WallTime};

/// What may happen to the clocks, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tick {
    /// Time passes.
    Wait(u64),
    /// Somebody sets the wall clock forward or back.
    Set(i64),
    /// The machine is off for as long, and begins a new boot.
    Reboot(u64),
}

/// The machine. True time, also that of the latest boot, is in milliseconds since it was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) truth: u64,
    wall: i64,
    boot: u8,
    pub(crate) booted: u64,
}

impl Clocks {
    pub(crate) fn new() -> Self {
        Self { truth: 0, wall: 1_700_000_000_000, boot: 0, booted: 0 }
    }

    pub(crate) fn tick(&mut self, tick: Tick) {
        match tick {
            Tick::Wait(passed) => self.pass(passed),
            Tick::Set(by) => self.wall = (self.wall + by).max(0),
            Tick::Reboot(off) => {
                self.pass(off);
                self.boot += 1;
                self.booted = self.truth;
            }
        }
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            wall: WallTime(self.wall.unsigned_abs()),
            boot: BootTime { boot: [self.boot; 16], elapsed: self.truth - self.booted },
        }
    }

    fn pass(&mut self, passed: u64) {
        self.truth += passed;
        self.wall += i64::try_from(passed).unwrap();
    }
}

/// Waits of the lengths that matter to the rules, a few jumps of the wall clock, reboots now and then.
pub(crate) fn ticks() -> impl Strategy<Value = Tick> {
    const DAY: i64 = 86_400_000;
    prop_oneof![
        12 => (0..40_000_u64).prop_map(Tick::Wait),
        6 => (0..400_000_u64).prop_map(Tick::Wait),
        1 => Just(Tick::Wait(30_000)),
        1 => (-130_000..130_000_i64).prop_map(Tick::Set),
        1 => (-DAY..DAY).prop_map(Tick::Set),
        1 => (0..400_000_u64).prop_map(Tick::Reboot),
    ]
}
