//! What somebody who just logged in is told: of the wrong codes before, how many and where the last one came from, and
//! of changes to the account. What stands there of a host was typed or named by whoever failed, so it is escaped and
//! capped.

pub mod pending;

use std::net::IpAddr;
use std::time::Duration;

use verifier::WallTime;

use crate::audit;
use crate::store::Record;

pub use pending::{By, Notice, What};

/// The most bytes of a host that are shown, escapes included.
const LONGEST_HOST: usize = 64;

/// The most bytes of a label that are shown, escapes included.
const LONGEST_LABEL: usize = 64;

/// How long before its end an authenticator's owner is told of it at every login.
const ENDING: Duration = Duration::from_secs(60 * 86_400);

/// The last reply that was charged since the last login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastFailure {
    /// When, by the wall clock.
    pub at: WallTime,
    /// From which host, as root's `PAM_RHOST` said, cut. What another caller claims is not kept.
    pub from: Option<String>,
}

impl LastFailure {
    /// A failure at this moment of a login from there.
    #[must_use]
    pub fn new(at: WallTime, origin: &audit::Origin) -> Self {
        Self { at, from: host_of(origin) }
    }
}

/// What waits to be told at an account's next login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Untold {
    last_failure: Option<LastFailure>,
    notices: Vec<Notice>,
    /// The labels of authenticators that end, and when.
    ending: Vec<(String, WallTime)>,
}

impl Untold {
    /// Of this account, before the login that is told of it.
    #[must_use]
    pub fn of(record: Option<&Record>) -> Self {
        record.map_or_else(Self::default, |record| Self {
            last_failure: record.last_failure.clone(),
            notices: record.notices.clone(),
            ending: record
                .account
                .authenticators
                .iter()
                .filter(|one| one.is_on())
                .filter_map(|one| Some((one.label.clone(), one.expires?)))
                .collect(),
        })
    }

    /// The lines for somebody who logged in now after so many wrong codes, what changed first.
    #[must_use]
    pub fn lines(&self, failures: u32, now: WallTime) -> Vec<String> {
        let wrong_codes = wrong_codes(failures, self.last_failure.as_ref());
        let ending = self.ending.iter().filter_map(|(label, end)| ending(label, *end, now));
        self.notices.iter().map(Notice::line).chain(ending).chain(wrong_codes).collect()
    }
}

/// The line about an authenticator that ends soon, or did so lately; `None` where that is far off.
fn ending(label: &str, end: WallTime, now: WallTime) -> Option<String> {
    let label = audit::escape(label, LONGEST_LABEL);
    match end.since(now) {
        Some(left) if left > ENDING => None,
        Some(_) => Some(format!(
            "Your authenticator \"{label}\" works until {} only. Replace it: countersign enroll",
            minute(end)
        )),
        None => Some(format!("Your authenticator \"{label}\" ended at {}.", minute(end))),
    }
}

/// The line for somebody who logged in after so many wrong codes; `None` after none. Accounts that come from a
/// store of version 1 have failures of which nothing more is known.
#[must_use]
pub fn wrong_codes(failures: u32, last: Option<&LastFailure>) -> Option<String> {
    let (count, the_last) = match failures {
        0 => return None,
        1 => ("1 wrong code".to_owned(), ""),
        many => (format!("{many} wrong codes"), " the last"),
    };
    let details = last.map(|last| {
        let from = last.from.as_deref().map(|host| format!(" from {}", audit::escape(host, LONGEST_HOST)));
        format!(",{the_last}{} at {}", from.unwrap_or_default(), minute(last.at))
    });
    Some(format!("{count} since your last login{}.", details.unwrap_or_default()))
}

/// The host that root names; what another caller claims is not kept.
fn host_of(origin: &audit::Origin) -> Option<String> {
    (!origin.claimed && !origin.rhost.is_empty()).then(|| host(&origin.rhost))
}

/// An address in its usual spelling, or the beginning of a name: one character more than is shown, which makes
/// the cut show.
fn host(rhost: &str) -> String {
    match rhost.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().to_string(),
        Err(_) => rhost.chars().take(LONGEST_HOST + 1).collect(),
    }
}

/// The minute of a moment, as ISO 8601 writes it, in UTC: the host's zone is nothing the daemon reads.
pub(crate) fn minute(at: WallTime) -> String {
    let minutes = at.seconds() / 60;
    let (day, minute) = (minutes / 1440, minutes % 1440);
    let (year, month, day) = date(day);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", minute / 60, minute % 60)
}

/// The date of a day counted from 1970-01-01, in the proleptic Gregorian calendar. Years are counted from March,
/// so that the day of a leap year comes last (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn date(day: u64) -> (u64, u64, u64) {
    /// Days of 400 years, which repeat.
    const ERA: u64 = 146_097;
    /// Days from 0000-03-01 to 1970-01-01.
    const EPOCH: u64 = 719_468;
    let day = day.saturating_add(EPOCH);
    let (era, of_era) = (day / ERA, day % ERA);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let (month, later) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + later, month, of_month)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(rhost: &str, claimed: bool) -> audit::Origin {
        audit::Origin { rhost: rhost.to_owned(), claimed, ..audit::Origin::default() }
    }

    /// 2026-11-22 10:15:42 UTC, by date(1).
    const THEN: WallTime = WallTime(1_795_342_542_999);

    #[test]
    fn nothing_is_said_after_no_failure_and_one_is_not_called_the_last() {
        let last = LastFailure::new(THEN, &origin("192.0.2.7", false));
        assert_eq!(wrong_codes(0, Some(&last)), None);
        let one = "1 wrong code since your last login, from 192.0.2.7 at 2026-11-22 10:15 UTC.";
        assert_eq!(wrong_codes(1, Some(&last)).as_deref(), Some(one));
        let three = "3 wrong codes since your last login, the last from 192.0.2.7 at 2026-11-22 10:15 UTC.";
        assert_eq!(wrong_codes(3, Some(&last)).as_deref(), Some(three));
        assert_eq!(wrong_codes(3, None).as_deref(), Some("3 wrong codes since your last login."));
    }

    #[test]
    fn an_authenticator_that_ends_is_told_of_from_two_months_before_on() {
        let days = |days: u64| WallTime(THEN.0 - days * 86_400_000);
        assert_eq!(ending("old", THEN, days(61)), None);
        let soon = "Your authenticator \"old\" works until 2026-11-22 10:15 UTC only. Replace it: countersign enroll";
        assert_eq!(ending("old", THEN, days(60)).as_deref(), Some(soon));
        let ended = "Your authenticator \"o\\x0ald\" ended at 2026-11-22 10:15 UTC.";
        assert_eq!(ending("o\nld", days(0), WallTime(THEN.0 + 1)).as_deref(), Some(ended));
    }

    #[test]
    fn no_host_is_named_where_there_is_none_or_where_it_is_only_claimed() {
        let expected = "2 wrong codes since your last login, the last at 2026-11-22 10:15 UTC.";
        for origin in [origin("", false), origin("192.0.2.7", true)] {
            assert_eq!(wrong_codes(2, Some(&LastFailure::new(THEN, &origin))).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_hosts_name_is_escaped_and_capped_and_an_address_is_spelled_as_usual() {
        let from = |rhost: &str| {
            let line = wrong_codes(2, Some(&LastFailure::new(THEN, &origin(rhost, false))));
            let line = line.unwrap_or_default();
            let (_, from) = line.split_once(" from ").unwrap_or_default();
            from.strip_suffix(" at 2026-11-22 10:15 UTC.").unwrap_or_default().to_owned()
        };
        assert_eq!(from("evil\x1b[2J\n.example"), "evil\\x1b[2J\\x0a.example");
        assert_eq!(from(&"a".repeat(64)), "a".repeat(64));
        assert_eq!(from(&"a".repeat(5000)), format!("{}\\...", "a".repeat(64)));
        assert_eq!(from(&"\u{e9}".repeat(64)), format!("{}\\...", "\\u{e9}".repeat(10)));
        assert_eq!(from("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(from("2001:DB8:0:0::1"), "2001:db8::1");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        // By date(1): date -ud 'DATE' +%s, divided by 86,400.
        for (day, expected) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_779, (2026, 11, 22)),
            (21_608, (2029, 2, 28)),
            (21_609, (2029, 3, 1)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
            (47_846, (2100, 12, 31)),
        ] {
            assert_eq!(date(day), expected, "{day}");
        }
        // The farthest moment that can be stored is no reason to panic.
        assert!(minute(WallTime(u64::MAX)).ends_with(" UTC"));
    }
}
