//! The host's time zone, as it stood when the configuration was read.

use jiff::Timestamp;
use jiff::civil::{Date, Weekday as CivilWeekday};
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
    /// The zone of `/etc/localtime` (tzset(3)).
    ///
    /// # Errors
    /// Where it cannot be told, with the reason.
    pub(super) fn of_host() -> Result<Self, String> {
        TimeZone::try_system().map(Self).map_err(|error| error.to_string())
    }

    /// What the clock on the wall shows.
    #[must_use]
    pub fn moment(&self, at: WallTime) -> Moment {
        let timestamp = i64::try_from(at.0).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok());
        let civil = self.0.to_datetime(timestamp.unwrap_or(Timestamp::MAX));
        let minute = u16::try_from(civil.hour()).unwrap_or(0) * 60 + u16::try_from(civil.minute()).unwrap_or(0);
        Moment { weekday: weekday(civil.weekday()), minute }
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
