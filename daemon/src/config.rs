//! The configuration: `countersign.toml`, parsed once into values that cannot be wrong.
//!
//! The file is root's, but people type it: an unknown key or a bad value is an error that names file, line,
//! key and what is allowed. Every key has a default, and the defaults are the strict ones.

mod effective;
mod file;
mod resolution;
pub mod rules;
pub mod throttling;
mod zone;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use verifier::{Algorithm, Digits, Period, Policy};

use crate::accounts::NssError;
use file::File;
use rules::{Keyword, Mode, RuleText, TrustedText};

pub use effective::Origins;
pub use resolution::{PlacedRule, TrustedCaller};
pub use throttling::{Sources, Throttling};
pub use zone::Zone;

/// The file's default place.
pub const DEFAULT_PATH: &str = "/etc/countersign/countersign.toml";

/// Everything that an administrator can set. See countersign.toml(5).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The prompt; 1 to 80 printable characters.
    pub prompt: Prompt,
    /// Replies that one verification takes, 1 to 10. sshd, sudo and login ask again by themselves.
    pub tries: Bounded<1, 10>,
    /// The least time before a refusal reaches the person, 0 to 10 s (pam_fail_delay(3)).
    pub fail_delay: Span<0, 10>,
    /// Whether somebody who logged in is told of the wrong codes before, and of what was changed.
    pub notices: bool,
    /// Whether an account without an authenticator may enrol its first one by itself.
    pub self_enrolment: bool,
    /// What authenticator apps show beside the account; the host's name where it is not set.
    pub issuer: Option<Label>,
    /// What new authenticators are like.
    pub enrolment: Enrolment,
    /// When wrong codes lock and disable.
    pub throttling: Throttling,
    /// When hosts that fail over many accounts are refused.
    pub sources: Sources,
    /// How the name service is asked.
    pub nss: Nss,
    /// How long the audit's table is kept.
    pub audit: Audit,
    /// What administrators may do.
    pub admin: Admin,
    /// Whether nobody is asked at all.
    pub mode: Keyword<Mode>,
    /// Rules and trusted callers of the main file, until they are resolved.
    #[serde(rename = "rule")]
    unresolved_rules: Vec<RuleText>,
    #[serde(rename = "trusted_caller")]
    unresolved_callers: Vec<TrustedText>,
    /// The rules of all files as they were typed, in the order in which they are asked.
    #[serde(skip)]
    pub rules: Vec<PlacedRule>,
    /// The same, with names resolved: who is asked, and when.
    #[serde(skip)]
    pub policy: Policy,
    /// Who else than root may verify others.
    #[serde(skip)]
    pub trusted_callers: Vec<TrustedCaller>,
    /// The host's time zone.
    #[serde(skip)]
    pub zone: Zone,
    /// What is allowed but was hardly meant.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// Where in its file each of these was set.
    #[serde(skip)]
    pub origins: Origins,
}

/// `[enrolment]`: what new authenticators are like unless the person enrolling says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Enrolment {
    /// `SHA1` (which every app knows), `SHA256` or `SHA512`.
    #[serde(deserialize_with = "algorithm")]
    pub algorithm: Algorithm,
    /// 6 to 8.
    #[serde(deserialize_with = "digits")]
    pub digits: Digits,
    /// 15 to 120, in seconds.
    #[serde(deserialize_with = "period")]
    pub period: Period,
}

/// `[nss]`: how the name service is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nss {
    /// How long a look-up may take, 1 s to 30 s.
    pub timeout: Span<1, 30>,
    /// How long a found account is remembered, 0 to 60 s.
    pub cache: Span<0, 60>,
}

/// `[audit]`: how much of the chained table is kept. What is older or over is removed behind a signed anchor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// 1 day to 10 years.
    pub keep: Span<86_400, { 3650 * 86_400 }>,
    /// 1 MiB to 1024 GiB.
    pub max_size: Size,
}

/// `[admin]`: what administrators may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Admin {
    /// Whether root may have the secret of an authenticator shown once more.
    pub export: bool,
}

/// Why a configuration was not taken.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: cannot be read: {why}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// The names in the rules could not be looked up.
    #[error("the names in the rules cannot be looked up: {0}")]
    NameService(#[from] NssError),
    /// The file says something wrong.
    #[error("{}:{line}:{column}: {rule}{key}{what}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// The rule that it stands in and a colon, or nothing.
        rule: String,
        /// The key and a colon, or nothing where no key stands on the line.
        key: String,
        /// What is wrong and what is allowed.
        what: String,
    },
}

impl Default for Config {
    fn default() -> Self {
        Self {
            prompt: Prompt("Verification code: ".into()),
            tries: Bounded(1),
            fail_delay: Span(Duration::from_secs(1)),
            notices: true,
            self_enrolment: false,
            issuer: None,
            enrolment: Enrolment::default(),
            throttling: Throttling::default(),
            sources: Sources::default(),
            nss: Nss::default(),
            audit: Audit::default(),
            admin: Admin::default(),
            mode: Keyword::default(),
            unresolved_rules: Vec::new(),
            unresolved_callers: Vec::new(),
            rules: Vec::new(),
            policy: Policy::default(),
            trusted_callers: Vec::new(),
            zone: Zone::default(),
            warnings: Vec::new(),
            origins: Origins::default(),
        }
    }
}

impl Default for Enrolment {
    fn default() -> Self {
        // What every authenticator app knows.
        Self { algorithm: Algorithm::Sha1, digits: Digits::COMMON, period: Period::COMMON }
    }
}

impl Default for Nss {
    fn default() -> Self {
        Self { timeout: Span(Duration::from_secs(2)), cache: Span(Duration::from_secs(5)) }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self { keep: Span(Duration::from_secs(400 * 86_400)), max_size: Size(1 << 30) }
    }
}

impl Config {
    /// Reads a file and the rules in `conf.d` beside it, and resolves their names through the name service. That
    /// may take as long as the name service does.
    ///
    /// # Errors
    /// [`ConfigError`] names the file, and where it is wrong, line, column, rule and key.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        Self::assemble(File::read(path)?, File::read_folder(path)?)
    }

    /// Reads the file, or takes the defaults where nothing is at its default place. A link that leads nowhere is
    /// something: the configuration was meant to be elsewhere. `conf.d` is read in either case.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn load_or_default(path: &Path) -> Result<Self, ConfigError> {
        let absent = |error: io::Error| error.kind() == io::ErrorKind::NotFound;
        if path == Path::new(DEFAULT_PATH) && path.symlink_metadata().is_err_and(absent) {
            return Self::assemble(File::new(path, ""), File::read_folder(path)?);
        }
        Self::load(path)
    }

    /// Parses a file's text, without those in `conf.d`.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        Self::assemble(File::new(path, text), Vec::new())
    }

    fn assemble(main: File, parts: Vec<File>) -> Result<Self, ConfigError> {
        let config: Self = main.parse()?;
        let origins = Origins::of(&main.path, &main.text);
        Ok(Self { origins, ..resolution::resolve(config, main, parts)? })
    }
}

/// A whole number between two bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounded<const MIN: u32, const MAX: u32>(pub u32);

impl<'de, const MIN: u32, const MAX: u32> Deserialize<'de> for Bounded<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let allowed = || format!("allowed is a whole number from {MIN} to {MAX}");
        let number = i64::deserialize(deserializer).map_err(|_| de::Error::custom(allowed()))?;
        u32::try_from(number)
            .ok()
            .filter(|number| (MIN..=MAX).contains(number))
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("{number} is out of range: {}", allowed())))
    }
}

/// A time between two bounds, written as a number and `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span<const MIN: u64, const MAX: u64>(pub Duration);

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Span<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let allowed = || {
            let (min, max) = (spell(MIN), spell(MAX));
            format!("allowed is a time from {min} to {max}, such as \"30s\", \"5m\", \"8h\" or \"1d\"")
        };
        let text = deserializer.deserialize_str(Text).map_err(|_| de::Error::custom(allowed()))?;
        parse_time(&text)
            .filter(|time| (MIN..=MAX).contains(&time.as_secs()))
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is not allowed: {}", allowed())))
    }
}

/// The lengths of the locks: 1 to 16 times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locks(pub Vec<Duration>);

impl<'de> Deserialize<'de> for Locks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let locks = Vec::<Span<1, 86_400>>::deserialize(deserializer)?;
        if locks.is_empty() || locks.len() > 16 {
            return Err(de::Error::custom("allowed are 1 to 16 times, such as [\"30s\", \"1m\", \"2m\", \"5m\"]"));
        }
        Ok(Self(locks.into_iter().map(|span| span.0).collect()))
    }
}

/// A size in bytes, written as a number and `MiB` or `GiB`: 1 MiB to 1024 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let allowed = "allowed is a size from 1MiB to 1024GiB, such as \"200MiB\" or \"1GiB\"";
        let text = deserializer.deserialize_str(Text).map_err(|_| de::Error::custom(allowed))?;
        parse_size(&text)
            .filter(|size| (1 << 20..=1024 << 30).contains(size))
            .map(Self)
            .ok_or_else(|| de::Error::custom(format!("{text:?} is not allowed: {allowed}")))
    }
}

/// The prompt: 1 to 80 printable characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt(pub String);

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        printable(deserializer, 80).map(Self)
    }
}

/// A name that is shown to people: 1 to 64 printable characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(pub String);

impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        printable(deserializer, 64).map(Self)
    }
}

struct Text;

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text in quotes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

fn printable<'de, D: Deserializer<'de>>(deserializer: D, max: usize) -> Result<String, D::Error> {
    let text = deserializer.deserialize_str(Text)?;
    let length = text.chars().count();
    if length == 0 || length > max || text.chars().any(char::is_control) {
        return Err(de::Error::custom(format!("allowed are 1 to {max} printable characters")));
    }
    Ok(text)
}

fn algorithm<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Algorithm, D::Error> {
    let text = deserializer.deserialize_str(Text)?;
    Algorithm::parse(&text).map_err(|_| de::Error::custom("allowed is \"SHA1\", \"SHA256\" or \"SHA512\""))
}

fn digits<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digits, D::Error> {
    let Bounded(number) = Bounded::<6, 8>::deserialize(deserializer)?;
    Digits::new(number).map_err(de::Error::custom)
}

fn period<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
    let Span(time) = Span::<15, 120>::deserialize(deserializer)?;
    Period::new(u32::try_from(time.as_secs()).unwrap_or(u32::MAX)).map_err(de::Error::custom)
}

/// Parses a number and its unit: `s`, `m`, `h` or `d`.
fn parse_time(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds).map(Duration::from_secs)
}

/// Parses a number and its unit: `MiB` or `GiB`.
fn parse_size(text: &str) -> Option<u64> {
    let (number, unit) = match text.strip_suffix("MiB") {
        Some(number) => (number, 1 << 20),
        None => (text.strip_suffix("GiB")?, 1 << 30),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// Spells a number of seconds with the greatest unit that divides it.
fn spell(seconds: u64) -> String {
    match seconds {
        0 => "0s".into(),
        s if s % 86_400 == 0 => format!("{}d", s / 86_400),
        s if s % 3600 == 0 => format!("{}h", s / 3600),
        s if s % 60 == 0 => format!("{}m", s / 60),
        s => format!("{s}s"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use verifier::Limits;

    use super::*;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("/etc/countersign/countersign.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn an_empty_file_gives_the_defaults() {
        let config = parse("").unwrap();
        assert_eq!(config, Config::default());
        assert_eq!(config.throttling.limits(), Limits::default());
        assert!(config.notices && !config.self_enrolment);
    }

    #[test]
    fn every_key_is_taken() {
        let config = parse(
            "prompt = \"Code: \"\ntries = 3\nfail_delay = \"0s\"\nnotices = false\nself_enrolment = true\nissuer = \"Example\"\n\
             [enrolment]\nalgorithm = \"SHA256\"\ndigits = 8\nperiod = \"1m\"\n\
             [throttling]\nfailures = 5\nwindow = \"10m\"\nlocks = [\"1m\", \"1h\"]\ndisable_after = 100\n\
             [nss]\ntimeout = \"3s\"\ncache = \"0s\"\n[audit]\nkeep = \"30d\"\nmax_size = \"200MiB\"\n\
             [admin]\nexport = true\n",
        )
        .unwrap();
        assert_eq!(config.prompt.0, "Code: ");
        assert_eq!(config.tries, Bounded(3));
        assert!(!config.notices);
        assert_eq!(config.enrolment.period.seconds(), 60);
        assert_eq!(config.enrolment.digits.number(), 8);
        assert_eq!(config.throttling.limits().locks, [60, 3600].map(Duration::from_secs));
        assert_eq!(config.nss.cache, Span(Duration::ZERO));
        assert_eq!(config.audit.max_size, Size(200 << 20));
        assert!(config.admin.export);
        assert_ne!(config, Config::default());
    }

    #[test]
    fn a_wrong_file_is_named_with_line_key_and_what_is_allowed() {
        let file = "/etc/countersign/countersign.toml";
        for (text, expected) in [
            ("tries = 0", ":1:9: tries: 0 is out of range: allowed is a whole number from 1 to 10"),
            ("\ntries = \"3\"", ":2:9: tries: allowed is a whole number from 1 to 10"),
            (
                "fail_delay = \"11s\"",
                ":1:14: fail_delay: \"11s\" is not allowed: allowed is a time from 0s to 10s, such as \
                 \"30s\", \"5m\", \"8h\" or \"1d\"",
            ),
            (
                "[audit]\nmax_size = \"1kB\"",
                ":2:12: max_size: \"1kB\" is not allowed: allowed is a size from 1MiB to 1024GiB, such as \
                 \"200MiB\" or \"1GiB\"",
            ),
            ("prompt = \"\"", ":1:10: prompt: allowed are 1 to 80 printable characters"),
            ("[enrolment]\nalgorithm = \"MD5\"", ":2:13: algorithm: allowed is \"SHA1\", \"SHA256\" or \"SHA512\""),
            ("[enrolment]\ndigits = 9", ":2:10: digits: 9 is out of range: allowed is a whole number from 6 to 8"),
            (
                "[throttling]\nlocks = []",
                ":2:9: locks: allowed are 1 to 16 times, such as [\"30s\", \"1m\", \"2m\", \"5m\"]",
            ),
        ] {
            assert_eq!(parse(text), Err(format!("{file}{expected}")), "{text}");
        }
    }

    #[test]
    fn an_unknown_key_is_an_error_that_lists_the_known_ones() {
        let error = parse("[throttling]\ndisable_afer = 50").unwrap_err();
        assert!(error.starts_with("/etc/countersign/countersign.toml:2:1: disable_afer: unknown field"), "{error}");
        assert!(error.contains("`disable_after`"), "{error}");
    }

    #[test]
    fn a_missing_file_means_the_defaults_only_at_the_default_place() {
        let absent = Path::new("/nonexistent/countersign.toml");
        assert!(matches!(Config::load_or_default(absent), Err(ConfigError::Unreadable { .. })));
    }

    #[test]
    fn times_that_overflow_or_lack_a_unit_are_refused() {
        for text in ["", "s", "5", "-5s", "5 s", "99999999999999999999s", "18446744073709551615d", "5w", "5é"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        assert_eq!(parse_time("400d"), Some(Duration::from_secs(400 * 86_400)));
    }
}
