//! Accounts that do not exist or have nothing enrolled: the same work and the same throttling as for all
//! others, in a table of fixed size, so that neither wording nor time tells them apart. The names come from
//! anybody who reaches a prompt; the key keeps them from choosing whose slot they take.

use zeroize::Zeroizing;

use crate::recovery_code::hmac_sha256;
use crate::{Account, Decision, Now, Reply, Rules, Standing, Throttle};

/// How many slots a name may be in.
const WAYS: usize = 4;

/// The throttling of names that have no record, keyed by HMAC of the name.
///
/// The table has its slots from the beginning and never grows: [`Phantoms::BYTES_PER_SLOT`] each, and 8 bytes more
/// for each of the [`crate::Limits::failures`] moments that a used one remembers. Each name has four slots. Where
/// others have them all, the one with the fewest failures gives way, the longest untouched among equals: so a flood
/// of names does not wash out those that somebody is guessing at.
pub struct Phantoms {
    key: Zeroizing<[u8; 32]>,
    buckets: Box<[[Option<Phantom>; WAYS]]>,
    touches: u64,
}

/// One name.
struct Phantom {
    fingerprint: u128,
    throttle: Throttle,
    touched: u64,
}

impl Phantoms {
    /// What an unused slot takes, in bytes.
    pub const BYTES_PER_SLOT: usize = size_of::<Option<Phantom>>();

    /// A table of `slots` names (rounded up to a multiple of four, at least four) keyed by 32 random bytes.
    #[must_use]
    pub fn new(key: [u8; 32], slots: usize) -> Self {
        let buckets = (0..slots.div_ceil(WAYS).max(1)).map(|_| [const { None }; WAYS]).collect();
        Self { key: Zeroizing::new(key), buckets, touches: 0 }
    }

    /// As [`crate::Account::standing`].
    #[must_use]
    pub fn standing(&self, name: &str, now: &Now) -> Standing {
        let (index, fingerprint) = self.place(name);
        let found = self.buckets.get(index).into_iter().flatten().flatten().find(|one| one.fingerprint == fingerprint);
        Account { throttle: found.map(|one| one.throttle.clone()).unwrap_or_default(), ..Account::default() }
            .standing(now)
    }

    /// As [`crate::Account::decide`] of an account without an authenticator: never granted.
    pub fn decide(&mut self, name: &str, reply: &Reply, now: &Now, rules: &Rules) -> Decision {
        let (index, fingerprint) = self.place(name);
        let mut account = Account { throttle: self.take(index, fingerprint), ..Account::default() };
        let decision = account.decide(reply, now, rules);
        self.put(index, fingerprint, account.throttle);
        decision
    }

    /// Forgets a name, because it has a record now.
    pub fn forget(&mut self, name: &str) {
        let (index, fingerprint) = self.place(name);
        self.take(index, fingerprint);
    }

    /// The bucket of a name, and what tells it from the others there.
    fn place(&self, name: &str) -> (usize, u128) {
        let [high, low] = halves(hmac_sha256(&self.key, name.as_bytes()));
        let count = u128::try_from(self.buckets.len()).unwrap_or(1);
        (usize::try_from(high % count).unwrap_or_default(), low)
    }

    /// Takes what is known of a name out of its bucket.
    fn take(&mut self, index: usize, fingerprint: u128) -> Throttle {
        let slots = self.buckets.get_mut(index).into_iter().flatten();
        let mut found = slots.filter(|slot| slot.as_ref().is_some_and(|one| one.fingerprint == fingerprint));
        found.next().and_then(Option::take).map(|one| one.throttle).unwrap_or_default()
    }

    /// Puts it back, in the place of another if it must be; nothing is kept of a name without failures.
    fn put(&mut self, index: usize, fingerprint: u128, throttle: Throttle) {
        if throttle == Throttle::default() {
            return;
        }
        self.touches = self.touches.saturating_add(1);
        let slots = self.buckets.get_mut(index).into_iter().flatten();
        let least = slots.min_by_key(|slot| slot.as_ref().map(|one| (one.throttle.failures, one.touched)));
        if let Some(slot) = least {
            *slot = Some(Phantom { fingerprint, throttle, touched: self.touches });
        }
    }
}

/// The two halves of a MAC, as numbers.
fn halves(mac: [u8; 32]) -> [u128; 2] {
    let half = |bytes: &[u8]| bytes.iter().fold(0_u128, |number, byte| number << 8 | u128::from(*byte));
    let (high, low) = mac.split_at(16);
    [half(high), half(low)]
}
