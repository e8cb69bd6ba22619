//! Remembered logins: who showed a code of an authenticator need not show one again for a time, at the same service
//! and from the same address. The place comes from root's PAM items; what is remembered comes from the store, which
//! vouches for it.

use std::net::IpAddr;
use std::time::Duration;

use crate::{Account, BootTime, Now, Standing, WallTime};

/// The most logins that are remembered for one account. The one that ends first gives way to a new one.
pub const MOST: usize = 32;

/// The longest name of a service, in bytes, at which a login is remembered.
const LONGEST_SERVICE: usize = 64;

/// Where a login takes place: at this service, from this address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    service: String,
    address: IpAddr,
}

/// A login that was granted by a code of an authenticator, and for how long it counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Where.
    pub place: Place,
    /// When it was granted, by the wall clock.
    pub since: WallTime,
    /// When it was granted, by the clock of the boot.
    pub since_boot: BootTime,
    /// For how long it counts.
    pub lasts: Duration,
}

impl Place {
    /// A service and the remote host's address, by root's word. `None` where there is no service, or where the address
    /// does not mean one host: that of a link (`fe80::1`, `169.254.0.1`) may be another host on another link. An
    /// IPv4-mapped address is its IPv4 one.
    #[must_use]
    pub fn new(service: &str, address: IpAddr) -> Option<Self> {
        let address = address.to_canonical();
        let of_a_link = match address {
            IpAddr::V4(address) => address.is_link_local(),
            IpAddr::V6(address) => address.is_unicast_link_local(),
        };
        let named = !service.is_empty() && service.len() <= LONGEST_SERVICE;
        (named && !of_a_link && !address.is_unspecified()).then(|| Self { service: service.to_owned(), address })
    }

    /// The service.
    #[must_use]
    pub fn service(&self) -> &str {
        &self.service
    }

    /// The address, never an IPv4-mapped one.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }
}

impl Remembered {
    /// How long it still counts; `None` where it does not. It is over as soon as one clock says so, as a lock is, and
    /// where the wall clock stands before the moment at which it was granted.
    #[must_use]
    pub fn left(&self, now: &Now) -> Option<Duration> {
        let by_wall = now.wall.since(self.since)?;
        let by_boot = now.boot.since(self.since_boot).unwrap_or(Duration::from_millis(now.boot.elapsed));
        self.lasts.checked_sub(by_wall.max(by_boot)).filter(|left| !left.is_zero())
    }
}

impl Account {
    /// Whether a login from this place is remembered, and for how long still. Rules that remember for `at_most` so
    /// long by now shorten what was granted under others. What is over is forgotten here, also where a clock that
    /// went back ended it: it does not come back with the right time.
    ///
    /// While the account is locked or disabled nothing is looked at. A login that is let in by this counts as a
    /// decision for the guard of the clock.
    pub fn recall(&mut self, place: &Place, at_most: Duration, now: &Now) -> Option<Duration> {
        if self.standing(now) != Standing::Open {
            return None;
        }
        self.forget_ended(now);
        let found = self.remembered.iter_mut().find(|one| one.place == *place)?;
        found.lasts = found.lasts.min(at_most);
        let left = found.left(now)?;
        self.last_decision = self.last_decision.max(Some(now.wall));
        Some(left)
    }

    /// Remembers a login that was granted now by a code of an authenticator.
    pub fn remember(&mut self, place: Place, lasts: Duration, now: &Now) {
        self.forget_ended(now);
        self.remembered.retain(|one| one.place != place);
        if self.remembered.len() >= MOST {
            let first = self.remembered.iter().enumerate().min_by_key(|(_, one)| one.left(now));
            if let Some((first, _)) = first {
                self.remembered.remove(first);
            }
        }
        self.remembered.push(Remembered { place, since: now.wall, since_boot: now.boot, lasts });
    }

    /// Forgets every remembered login; tells how many there were.
    pub fn forget_remembered(&mut self) -> usize {
        self.remembered.drain(..).count()
    }

    /// Forgets what is over, and everything where the clock went back.
    pub(crate) fn forget_ended(&mut self, now: &Now) {
        let behind = self.clock_is_behind(now);
        self.remembered.retain(|one| !behind && one.left(now).is_some());
    }
}
