//! Rules and trusted callers as root types them, each value checked while it is read. A list that is given but empty
//! is an error: "nobody" is easily typed and easily read as "everybody".

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use toml::Spanned;
use toml::value::Datetime;
use verifier::policy::{Network, Span as TimeSpan, Weekday};
use verifier::{FactorOf, RuleAction, Unenrolled};

use super::{Bounded, Span, Text, printable};

/// The longest name of an account, a group or a service, in characters.
const LONGEST_NAME: usize = 256;

/// `[[rule]]`: see [`verifier::Rule`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleText {
    /// 1 to 64 printable characters, unique over all files.
    pub name: Spanned<RuleName>,
    /// Accounts as the name service spells them.
    pub accounts: Option<Listed<Name>>,
    /// Groups by their names; `!` before one excludes its members.
    pub groups: Option<Listed<Spanned<GroupName>>>,
    /// PAM services.
    pub services: Option<Listed<Name>>,
    /// Networks in CIDR notation.
    pub networks: Option<Listed<Parsed<Network>>>,
    /// Whether the login is at a console of this host.
    pub console: Option<bool>,
    /// Times of day.
    pub times: Option<Spanned<Listed<Parsed<TimeSpan>>>>,
    /// Days of the week.
    pub days: Option<Spanned<Listed<Day>>>,
    /// `require` where it is not given.
    #[serde(default)]
    pub action: Keyword<RuleAction>,
    /// `deny` where it is not given.
    pub unenrolled: Option<Keyword<Unenrolled>>,
    /// A date, without quotes.
    pub enroll_by: Option<Spanned<CalendarDay>>,
    /// 1 minute to 30 days.
    pub remember: Option<Span<60, { 30 * 86_400 }>>,
    /// Whether a remembered login counts for nothing.
    pub fresh: Option<bool>,
    /// 1 to 10.
    pub tries: Option<Bounded<1, 10>>,
    /// Whose code is asked for.
    pub factor_of: Option<Spanned<Keyword<FactorOf>>>,
    /// Whether nobody is asked.
    pub mode: Option<Keyword<Mode>>,
}

/// `[[trusted_caller]]`: a service account that may verify others for one service.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrustedText {
    /// The account that the service runs as.
    pub account: Spanned<Name>,
    /// The PAM service that it may name.
    pub service: Name,
}

/// `mode`: whether rules are enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are.
    #[default]
    Enforce,
    /// Nobody is asked; the audit says what would have happened.
    Observe,
}

/// A rule's name: 1 to 64 printable characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleName(pub String);

/// The name of an account or a PAM service: 1 to 256 printable characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(pub String);

/// The name of a group, which its members must or must not be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupName {
    /// Whether its members are excluded.
    pub excluded: bool,
    /// Without the `!`.
    pub name: String,
}

/// A list of one or more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed<T>(pub Vec<T>);

/// A value that reads itself from a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<T>(pub T);

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Day(pub Weekday);

/// A day of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CalendarDay(pub Date);

/// One of a few words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keyword<T>(pub T);

/// A value that is written as one of a few words.
pub trait Words: Copy + PartialEq + 'static {
    /// Each word with what it means.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for this value.
    fn word(self) -> &'static str {
        Self::WORDS.iter().find(|(_, value)| *value == self).map_or("", |(word, _)| word)
    }
}

impl Words for RuleAction {
    const WORDS: &'static [(&'static str, Self)] =
        &[("skip", Self::Skip), ("require", Self::Require), ("deny", Self::Deny)];
}

impl Words for Unenrolled {
    const WORDS: &'static [(&'static str, Self)] =
        &[("deny", Self::Deny), ("remind", Self::Remind), ("enroll", Self::Enroll), ("pass", Self::Pass)];
}

impl Words for FactorOf {
    const WORDS: &'static [(&'static str, Self)] = &[("account", Self::Account), ("ruser", Self::Ruser)];
}

impl Words for Mode {
    const WORDS: &'static [(&'static str, Self)] = &[("enforce", Self::Enforce), ("observe", Self::Observe)];
}

impl<'de, T: Words> Deserialize<'de> for Keyword<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words: Vec<_> = T::WORDS.iter().map(|(word, _)| format!("{word:?}")).collect();
        one_of(deserializer, &words.join(", "), |text| {
            T::WORDS.iter().find(|(word, _)| *word == text).map(|(_, value)| Self(*value))
        })
    }
}

impl<'de> Deserialize<'de> for Day {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words: Vec<_> = Weekday::NAMES.iter().map(|name| format!("{name:?}")).collect();
        one_of(deserializer, &words.join(", "), |text| Weekday::parse(text).map(Self))
    }
}

impl<'de> Deserialize<'de> for RuleName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        printable(deserializer, 64).map(Self)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        printable(deserializer, LONGEST_NAME).map(Self)
    }
}

impl<'de> Deserialize<'de> for GroupName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = printable(deserializer, LONGEST_NAME)?;
        let (excluded, name) = match text.strip_prefix('!') {
            Some(name) => (true, name.to_owned()),
            None => (false, text),
        };
        if name.is_empty() {
            return Err(de::Error::custom("allowed is the name of a group, or \"!\" and the name of one to exclude"));
        }
        Ok(Self { excluded, name })
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Listed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NotEmpty<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for NotEmpty<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list, such as [\"one\", \"two\"]")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut values: A) -> Result<Vec<T>, A::Error> {
                let mut list = Vec::new();
                while let Some(value) = values.next_element()? {
                    list.push(value);
                }
                Ok(list)
            }
        }
        let list = deserializer.deserialize_seq(NotEmpty(std::marker::PhantomData))?;
        if list.is_empty() {
            return Err(de::Error::custom("an empty list would match nobody: name at least one, or leave the key out"));
        }
        Ok(Self(list))
    }
}

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_str(Text)?;
        text.parse().map(Self).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for CalendarDay {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = || de::Error::custom("allowed is a date without quotes and without a time, such as 2027-01-31");
        let read = Datetime::deserialize(deserializer).map_err(|_| wrong())?;
        let Datetime { date: Some(date), time: None, offset: None } = read else { return Err(wrong()) };
        let part = |number: u8| i8::try_from(number).map_err(|_| wrong());
        let year = i16::try_from(date.year).ok().filter(|year| *year > 0).ok_or_else(wrong)?;
        Date::new(year, part(date.month)?, part(date.day)?).map(Self).map_err(|_| wrong())
    }
}

fn one_of<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    words: &str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<T, D::Error> {
    let text = deserializer.deserialize_str(Text).map_err(|_| de::Error::custom(format!("allowed are {words}")))?;
    parse(&text).ok_or_else(|| de::Error::custom(format!("{text:?} is not allowed: allowed are {words}")))
}
