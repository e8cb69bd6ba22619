//! Days and times of day. The daemon tells the civil time in the host's zone; nothing here knows of zones.

use std::fmt;
use std::str::FromStr;

/// Minutes of a day.
const DAY: u16 = 24 * 60;

/// A moment in the host's time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// The day of the week.
    pub weekday: Weekday,
    /// Minutes since midnight by the clock on the wall, 0 to 1439.
    pub minute: u16,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "their names say it all")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// Days of the week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days(u8);

/// A span of the day, to the minute: from its start up to, not including, its end. One whose end comes before its
/// start goes over midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// 0 to 1439.
    start: u16,
    /// 0 to 1440; never `start`.
    end: u16,
}

/// Why a text is no span of the day.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// Not two times with a hyphen between them.
    #[error("{0:?} is no span of the day: allowed is from 00:00 to 24:00, such as \"08:00-18:00\" or \"22:00-06:00\"")]
    NotASpan(String),
    /// It ends when it starts.
    #[error("{0:?} is empty: the whole day is \"00:00-24:00\"")]
    Empty(String),
}

/// When a rule applies. Where both are given, a span that goes over midnight belongs to the day on which it begins:
/// `fri` with `22:00-06:00` holds on Saturday at 05:00.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Empty: every day.
    pub days: Days,
    /// Empty: the whole day.
    pub times: Vec<Span>,
}

impl Schedule {
    /// Whether the moment is in it.
    #[must_use]
    pub fn holds(&self, moment: &Moment) -> bool {
        if self.times.is_empty() {
            return self.days.hold(moment.weekday);
        }
        self.times.iter().any(|span| span.day_of(moment).is_some_and(|begun| self.days.hold(begun)))
    }

    /// Whether it never ends.
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.days.is_every() && self.times.is_empty()
    }

    /// Whether every moment of `other` is in this one. A `false` may be wrong where spans adjoin.
    pub(super) fn covers(&self, other: &Self) -> bool {
        if self.is_always() {
            return true;
        }
        let day = [Span { start: 0, end: DAY }];
        let spans = |schedule: &Self| if schedule.times.is_empty() { day.to_vec() } else { schedule.times.clone() };
        let (wide, narrow) = (spans(self), spans(other));
        let days = self.days.is_every() || (!other.days.is_every() && other.days.0 & !self.days.0 == 0);
        days && narrow.iter().all(|span| wide.iter().any(|wide| wide.covers(span)))
    }
}

impl Days {
    /// Adds a day.
    pub fn insert(&mut self, day: Weekday) {
        self.0 |= day.bit();
    }

    /// Whether no day was added, which means every day.
    #[must_use]
    pub fn is_every(self) -> bool {
        self.0 == 0 || self.0 == 0x7f
    }

    fn hold(self, day: Weekday) -> bool {
        self.is_every() || self.0 & day.bit() != 0
    }
}

impl Weekday {
    /// All, from Monday on.
    pub const ALL: [Self; 7] =
        [Self::Monday, Self::Tuesday, Self::Wednesday, Self::Thursday, Self::Friday, Self::Saturday, Self::Sunday];

    /// The names that rules know them by, from Monday on.
    pub const NAMES: [&'static str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    /// The day of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().zip(Self::NAMES).find(|(_, known)| *known == name).map(|(day, _)| day)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        let mut named = Self::ALL.into_iter().zip(Self::NAMES);
        named.find(|(day, _)| *day == self).map_or("", |(_, name)| name)
    }

    fn bit(self) -> u8 {
        1 << (self as u8)
    }

    fn before(self) -> Self {
        match self {
            Self::Monday => Self::Sunday,
            Self::Tuesday => Self::Monday,
            Self::Wednesday => Self::Tuesday,
            Self::Thursday => Self::Wednesday,
            Self::Friday => Self::Thursday,
            Self::Saturday => Self::Friday,
            Self::Sunday => Self::Saturday,
        }
    }
}

impl Span {
    /// The day on which the span that holds this moment began; `None` where the moment is outside.
    fn day_of(self, moment: &Moment) -> Option<Weekday> {
        let Self { start, end } = self;
        let minute = moment.minute;
        if start < end {
            return (start..end).contains(&minute).then_some(moment.weekday);
        }
        if minute >= start {
            return Some(moment.weekday);
        }
        (minute < end).then(|| moment.weekday.before())
    }

    /// Whether every moment of `other` is in this one, and belongs to the same day.
    fn covers(self, other: &Self) -> bool {
        self.start <= other.start && other.last() <= self.last()
    }

    /// The end, in minutes since midnight of the day on which the span begins.
    fn last(self) -> u16 {
        if self.end > self.start { self.end } else { self.end + DAY }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { start, end } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", start / 60, start % 60, end / 60, end % 60)
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let none = || SpanError::NotASpan(text.to_owned());
        let (start, end) = text.split_once('-').ok_or_else(none)?;
        let (start, end) = (minute(start).ok_or_else(none)?, minute(end).ok_or_else(none)?);
        if start == end {
            return Err(SpanError::Empty(text.to_owned()));
        }
        if start == DAY {
            return Err(none());
        }
        Ok(Self { start, end })
    }
}

/// Minutes since midnight of `HH:MM`, up to 24:00.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| -> Option<u16> {
        (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let at = hour.checked_mul(60)?.checked_add(minute)?;
    (minute < 60 && at <= DAY).then_some(at)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn schedule(days: &[Weekday], times: &[&str]) -> Schedule {
        let mut set = Days::default();
        days.iter().for_each(|day| set.insert(*day));
        Schedule { days: set, times: times.iter().map(|text| text.parse().unwrap()).collect() }
    }

    fn at(weekday: Weekday, time: &str) -> Moment {
        Moment { weekday, minute: minute(time).unwrap() }
    }

    #[test]
    fn a_span_holds_from_its_start_up_to_its_end() {
        let office = schedule(&[], &["08:00-18:00"]);
        for (time, holds) in [("07:59", false), ("08:00", true), ("17:59", true), ("18:00", false)] {
            assert_eq!(office.holds(&at(Weekday::Monday, time)), holds, "{time}");
        }
        assert!(schedule(&[], &["00:00-24:00"]).holds(&at(Weekday::Sunday, "23:59")));
    }

    #[test]
    fn a_span_over_midnight_belongs_to_the_day_on_which_it_begins() {
        let night = schedule(&[Weekday::Friday], &["22:00-06:00"]);
        for (day, time, holds) in [
            (Weekday::Friday, "05:59", false),
            (Weekday::Friday, "21:59", false),
            (Weekday::Friday, "22:00", true),
            (Weekday::Saturday, "00:00", true),
            (Weekday::Saturday, "05:59", true),
            (Weekday::Saturday, "06:00", false),
            (Weekday::Saturday, "22:00", false),
        ] {
            assert_eq!(night.holds(&at(day, time)), holds, "{day:?} {time}");
        }
        assert!(schedule(&[Weekday::Sunday], &["22:00-06:00"]).holds(&at(Weekday::Monday, "01:00")));
    }

    #[test]
    fn days_alone_hold_all_day_and_none_means_every_day() {
        assert!(schedule(&[Weekday::Monday], &[]).holds(&at(Weekday::Monday, "00:00")));
        assert!(!schedule(&[Weekday::Monday], &[]).holds(&at(Weekday::Tuesday, "00:00")));
        assert!(schedule(&[], &[]).is_always() && schedule(&Weekday::ALL, &[]).is_always());
    }

    #[test]
    fn a_mistyped_span_is_refused_with_what_is_allowed() {
        for text in [
            "",
            "-",
            "8:00-18:00",
            "08:00",
            "08:00-25:00",
            "08:60-09:00",
            "24:00-06:00",
            "08:00-24:01",
            "08:00 - 09:00",
        ] {
            assert_eq!(text.parse::<Span>(), Err(SpanError::NotASpan(text.to_owned())), "{text}");
        }
        assert_eq!("08:00-08:00".parse::<Span>(), Err(SpanError::Empty("08:00-08:00".to_owned())));
        for text in ["08:00-18:00", "22:00-06:00", "00:00-24:00"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn whatever_covers_a_schedule_holds_whenever_it_holds() {
        let lists: [&[Weekday]; 4] = [&[], &[Weekday::Monday], &[Weekday::Monday, Weekday::Sunday], &Weekday::ALL];
        let times: [&[&str]; 6] =
            [&[], &["08:00-18:00"], &["09:00-12:00"], &["22:00-06:00"], &["23:00-01:00"], &["00:00-24:00"]];
        let all: Vec<_> = lists.iter().flat_map(|days| times.iter().map(|times| schedule(days, times))).collect();
        let mut covering = 0;
        for (wide, narrow) in all.iter().flat_map(|wide| all.iter().map(move |narrow| (wide, narrow))) {
            if !wide.covers(narrow) {
                continue;
            }
            covering += 1;
            for (weekday, hour) in Weekday::ALL.iter().flat_map(|day| (0..24).map(move |hour| (*day, hour))) {
                let moment = Moment { weekday, minute: hour * 60 };
                assert!(!narrow.holds(&moment) || wide.holds(&moment), "{wide:?} {narrow:?} {moment:?}");
            }
        }
        assert!(covering > all.len() * 3, "{covering}");
    }
}
