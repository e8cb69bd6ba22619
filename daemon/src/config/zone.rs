//! The host's time zone, as it stood when the configuration was read.

use std::io::ErrorKind;
use std::path::Path;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Weekday as CivilWeekday};
use jiff::tz::TimeZone;
use verifier::policy::{Moment, Weekday};
use verifier::{Deadline, WallTime};

/// The time zone in which rules tell days and times. UTC until it was looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

impl Default for Zone {
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl Zone {
    /// The zone of `/etc/localtime`; UTC where there is no such file (localtime(5)).
    ///
    /// # Errors
    /// Where the file cannot be read or is no time zone, with the reason.
    pub(crate) fn of_host() -> Result<Self, String> {
        Self::read(Path::new("/etc/localtime"))
    }

    fn read(path: &Path) -> Result<Self, String> {
        let data = match std::fs::read(path) {
            Ok(data) => data,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        TimeZone::tzif("", &data).map(Self).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// What the clock on the wall shows.
    #[must_use]
    pub fn moment(&self, at: WallTime) -> Moment {
        let timestamp = i64::try_from(at.0).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
        let civil = self.0.to_datetime(timestamp.unwrap_or(Timestamp::MAX));
        let minute = u16::try_from(civil.hour()).unwrap_or(0) * 60 + u16::try_from(civil.minute()).unwrap_or(0);
        Moment { weekday: weekday(civil.weekday()), minute }
    }

    /// The moment of a date, or a date and a time, that the clock on the wall shows; in UTC with a `Z` at its end. `None`
    /// where the text is none, or one before the epoch. A time that the clocks leave out comes at their change.
    #[must_use]
    pub fn instant(&self, text: &str) -> Option<WallTime> {
        let (text, zone) = match text.strip_suffix('Z') {
            Some(text) => (text, &TimeZone::UTC),
            None => (text, &self.0),
        };
        // No offsets, fractions or names of zones: jiff reads more than people are told of.
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || b"-:T ".contains(&byte));
        let civil: DateTime = text.parse().ok().filter(|_| plain)?;
        let millis = zone.to_timestamp(civil).ok()?.as_millisecond();
        u64::try_from(millis).ok().map(WallTime)
    }

    /// The start of a day: midnight, or the first moment after it where midnight does not exist.
    #[must_use]
    pub fn deadline(&self, date: Date) -> Option<Deadline> {
        let begins = self.0.to_zoned(date.at(0, 0, 0, 0)).ok()?.start_of_day().ok()?;
        let millis = begins.timestamp().as_millisecond();
        Some(Deadline {
            year: u16::try_from(date.year()).ok()?,
            month: u8::try_from(date.month()).ok()?,
            day: u8::try_from(date.day()).ok()?,
            at: WallTime(u64::try_from(millis).unwrap_or(0)),
        })
    }
}

fn weekday(day: CivilWeekday) -> Weekday {
    match day {
        CivilWeekday::Monday => Weekday::Monday,
        CivilWeekday::Tuesday => Weekday::Tuesday,
        CivilWeekday::Wednesday => Weekday::Wednesday,
        CivilWeekday::Thursday => Weekday::Thursday,
        CivilWeekday::Friday => Weekday::Friday,
        CivilWeekday::Saturday => Weekday::Saturday,
        CivilWeekday::Sunday => Weekday::Sunday,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// A zone from tzdata's database.
    fn zone(name: &str) -> Zone {
        Zone::read(&Path::new("/usr/share/zoneinfo").join(name)).unwrap()
    }

    fn at(seconds: u64) -> WallTime {
        WallTime::from_seconds(seconds)
    }

    fn clock(zone: &Zone, seconds: u64) -> (u16, u16) {
        let minute = zone.moment(at(seconds)).minute;
        (minute / 60, minute % 60)
    }

    #[test]
    fn the_clock_on_the_wall_follows_the_zone_through_its_changes() {
        // By date(1): TZ=Europe/Berlin date -d '2026-03-29 01:59:59' +%s and so on.
        let berlin = zone("Europe/Berlin");
        assert_eq!(clock(&berlin, 1_774_745_999), (1, 59));
        assert_eq!(clock(&berlin, 1_774_746_000), (3, 0));
        assert_eq!(clock(&berlin, 1_792_889_999), (2, 59));
        assert_eq!(clock(&berlin, 1_792_890_000), (2, 0));
        assert_eq!(berlin.moment(at(1_792_890_000)).weekday, Weekday::Sunday);
        assert_eq!(clock(&Zone::default(), 1_774_745_999), (0, 59));
    }

    #[test]
    fn a_deadline_is_the_first_moment_of_its_day() {
        let deadline = |zone: &str, date: &str| self::zone(zone).deadline(date.parse().unwrap()).unwrap().at;
        assert_eq!(deadline("Europe/Berlin", "2027-01-31"), at(1_801_350_000));
        assert_eq!(deadline("America/New_York", "2027-01-31"), at(1_801_371_600));
        // Midnight does not exist there on that day: the clocks go from 23:59:59 to 01:00.
        assert_eq!(deadline("America/Santiago", "2026-09-06"), at(1_788_667_200));
        assert_eq!(Zone::default().deadline("1969-12-31".parse().unwrap()).unwrap().at, at(0));
    }

    #[test]
    fn a_moment_is_that_of_the_clock_on_the_wall_or_of_utc() {
        // By date(1): TZ=Europe/Berlin date -d '2027-01-31 08:00' +%s.
        let berlin = zone("Europe/Berlin");
        for (text, seconds) in [
            ("2027-01-31", 1_801_350_000),
            ("2027-01-31T08:00", 1_801_378_800),
            ("2027-01-31 08:00:30", 1_801_378_830),
            ("2027-01-31T08:00Z", 1_801_382_400),
            ("2027-01-31Z", 1_801_353_600),
        ] {
            assert_eq!(berlin.instant(text), Some(at(seconds)), "{text}");
        }
        for text in
            ["", "Z", "now", "31.1.2027", "2027-02-29", "2027-01-31T25:00", "2027-01-31T08:00+01:00", "1969-12-31Z"]
        {
            assert_eq!(berlin.instant(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_without_a_zone_is_in_utc_and_a_broken_one_is_told() {
        assert_eq!(Zone::read(Path::new("/nonexistent")), Ok(Zone::default()));
        assert!(Zone::read(Path::new("/etc/passwd")).unwrap_err().starts_with("/etc/passwd: "));
        assert!(Zone::read(Path::new("/etc")).is_err());
    }

    #[test]
    fn the_farthest_moments_are_no_reason_to_panic() {
        for at in [WallTime(0), WallTime(u64::MAX), WallTime(i64::MAX.unsigned_abs())] {
            assert!(zone("Asia/Tokyo").moment(at).minute < 24 * 60);
        }
    }
}
