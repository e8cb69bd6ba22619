//! Days and times of day. The daemon tells the civil time in the host's zone; nothing here knows of zones.

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
        let always = [Span { start: 0, end: DAY }];
        let wanted = if other.times.is_empty() { &always[..] } else { &other.times };
        let days = self.days.is_every() || (!other.days.is_every() && other.days.0 & !self.days.0 == 0);
        days && (self.times.is_empty() || wanted.iter().all(|span| self.times.iter().any(|wide| wide.covers(span))))
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

    fn bit(self) -> u8 {
        1 << (self as u8)
    }

    fn before(self) -> Self {
        let days = Self::ALL.into_iter().chain([Self::Monday]);
        days.zip(Self::ALL.into_iter().skip(1).chain([Self::Monday]))
            .find(|(_, next)| *next == self)
            .map_or(self, |(day, _)| day)
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

    fn covers(self, other: &Self) -> bool {
        // Measured from this one's start, so that midnight is nothing special. A span that began on another day
        // belongs to another day: both must begin on the same.
        let length = |from: u16, to: u16| if to > from { to - from } else { DAY - from + to };
        other.start >= self.start
            && length(self.start, other.start.max(self.start)) % DAY + length(other.start, other.end)
                <= length(self.start, self.end)
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
