//! `[throttling]` and `[sources]`: when wrong codes lock, disable, and refuse a host. A preset names a rule book; keys
//! beside it may be stricter than it is and never laxer, so that what a file claims is what holds.

use std::time::Duration;

use serde::Deserialize;
use verifier::{Limits, SourceLimits};

use super::rules::{Keyword, Words};
use super::{Bounded, Locks, Span, spell};

/// `[throttling]`: see [`Limits`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "ThrottlingText")]
pub struct Throttling {
    /// The preset from which the keys that are not given are taken.
    pub lockout: Keyword<Lockout>,
    /// Failures within `window` that set the first lock, 1 to 100.
    pub failures: Bounded<1, 100>,
    /// 1 s to a day.
    pub window: Span<1, 86_400>,
    /// How long the first, second, … lock lasts, 1 s to a day each; the last one repeats.
    pub locks: Locks,
    /// Consecutive failures that disable the account, 1 to 100 (NIST SP 800-63B-4, section 3.2.2).
    pub disable_after: Bounded<1, 100>,
    /// What locks mean for root at the console.
    pub root_console: Keyword<RootConsole>,
}

/// A rule book for locks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lockout {
    /// Short locks that grow, and disabling (NIST SP 800-63B-4, section 3.2.2).
    #[default]
    Nist,
    /// A lock of 30 minutes after 10 failures (PCI DSS 4.0.1, requirement 8.3.4).
    Pci,
}

/// What locks mean for root at the console: account uid 0, service `login`, a terminal of this host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RootConsole {
    /// Wrong codes make it wait and never lock it out; being disabled by them does not hold there. A deviation from
    /// NIST SP 800-63B-4, so that nobody at a distance can take the last way in away.
    #[default]
    NeverLock,
    /// What they mean everywhere.
    Lock,
}

/// `[sources]`: see [`SourceLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sources {
    /// Whether hosts that fail over many accounts are refused.
    pub enabled: bool,
    /// Failures at so many different accounts refuse the host, 2 to 100.
    pub accounts: Bounded<2, 100>,
    /// Within this time failures count together, 1 minute to a day.
    pub window: Span<60, 86_400>,
}

/// `[throttling]` as it is typed.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ThrottlingText {
    lockout: Keyword<Lockout>,
    failures: Option<Bounded<1, 100>>,
    window: Option<Span<1, 86_400>>,
    locks: Option<Locks>,
    disable_after: Option<Bounded<1, 100>>,
    root_console: Keyword<RootConsole>,
}

impl Words for Lockout {
    const WORDS: &'static [(&'static str, Self)] = &[("nist", Self::Nist), ("pci", Self::Pci)];
}

impl Words for RootConsole {
    const WORDS: &'static [(&'static str, Self)] = &[("never-lock", Self::NeverLock), ("lock", Self::Lock)];
}

impl Lockout {
    /// All limits as the rule book has them.
    #[must_use]
    pub fn limits(self) -> Limits {
        match self {
            Self::Nist => Limits::default(),
            // It counts attempts whenever they were: so the longest window. It says nothing of disabling.
            Self::Pci => Limits {
                failures: 10,
                window: Duration::from_secs(86_400),
                locks: vec![Duration::from_secs(1800)],
                ..Limits::default()
            },
        }
    }
}

impl Throttling {
    /// As the rules want them.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            failures: self.failures.0,
            window: self.window.0,
            locks: self.locks.0.clone(),
            disable_after: self.disable_after.0,
        }
    }

    /// Whether it keeps what the rule book that it names demands. NIST's one demand, at most 100 failures in a row, is
    /// kept by every value that `disable_after` can have.
    fn keeps_its_promise(&self) -> Result<(), String> {
        if self.lockout.0 == Lockout::Nist {
            return Ok(());
        }
        let Limits { failures, window, locks, .. } = self.lockout.0.limits();
        let shortest = locks.first().copied().unwrap_or_default();
        let demand = |key: &str, allowed: String| Err(format!("{key}: lockout = \"pci\" allows {allowed}"));
        if self.failures.0 > failures {
            return demand("failures", format!("at most {failures}"));
        }
        if self.window.0 < window {
            return demand("window", format!("\"{}\" alone", spell(window.as_secs())));
        }
        if self.locks.0.iter().any(|lock| *lock < shortest) {
            return demand("locks", format!("none shorter than \"{}\"", spell(shortest.as_secs())));
        }
        Ok(())
    }
}

impl TryFrom<ThrottlingText> for Throttling {
    type Error = String;

    fn try_from(text: ThrottlingText) -> Result<Self, String> {
        let limits = text.lockout.0.limits();
        let throttling = Self {
            lockout: text.lockout,
            failures: text.failures.unwrap_or(Bounded(limits.failures)),
            window: text.window.unwrap_or(Span(limits.window)),
            locks: text.locks.unwrap_or(Locks(limits.locks)),
            disable_after: text.disable_after.unwrap_or(Bounded(limits.disable_after)),
            root_console: text.root_console,
        };
        throttling.keeps_its_promise()?;
        Ok(throttling)
    }
}

impl Default for Throttling {
    fn default() -> Self {
        let limits = Limits::default();
        Self {
            lockout: Keyword::default(),
            failures: Bounded(limits.failures),
            window: Span(limits.window),
            locks: Locks(limits.locks),
            disable_after: Bounded(limits.disable_after),
            root_console: Keyword::default(),
        }
    }
}

impl Sources {
    /// As the rules want them; `None` where no host is refused.
    #[must_use]
    pub fn limits(&self) -> Option<SourceLimits> {
        let accounts = usize::try_from(self.accounts.0).unwrap_or(usize::MAX);
        self.enabled.then_some(SourceLimits { accounts, window: self.window.0 })
    }
}

impl Default for Sources {
    fn default() -> Self {
        Self { enabled: true, accounts: Bounded(20), window: Span(SourceLimits::default().window) }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Config, String> {
        Config::parse(Path::new("/etc/countersign/countersign.toml"), text).map_err(|error| error.to_string())
    }

    fn throttling(text: &str) -> Throttling {
        parse(&format!("[throttling]\n{text}")).unwrap().throttling
    }

    #[test]
    fn presets_are_what_their_rule_books_say_and_nist_is_the_usual_one() {
        assert_eq!(throttling(""), Throttling::default());
        assert_eq!(throttling("lockout = \"nist\"").limits(), Limits::default());
        let pci = throttling("lockout = \"pci\"").limits();
        assert_eq!((pci.failures, pci.locks), (10, vec![Duration::from_secs(1800)]));
        assert_eq!((pci.window, pci.disable_after), (Duration::from_secs(86_400), 50));
    }

    #[test]
    fn keys_beside_a_preset_make_it_stricter_and_never_laxer() {
        let strict = throttling("lockout = \"pci\"\nfailures = 6\nlocks = [\"1h\", \"2h\"]\ndisable_after = 20");
        assert_eq!((strict.failures, strict.disable_after), (Bounded(6), Bounded(20)));
        for (key, expected) in [
            ("failures = 11", "failures: lockout = \"pci\" allows at most 10"),
            ("window = \"1h\"", "window: lockout = \"pci\" allows \"1d\" alone"),
            ("locks = [\"1h\", \"29m\"]", "locks: lockout = \"pci\" allows none shorter than \"30m\""),
        ] {
            let error = parse(&format!("tries = 1\n[throttling]\nlockout = \"pci\"\n{key}\n")).unwrap_err();
            assert_eq!(error, format!("/etc/countersign/countersign.toml:2:1: {expected}"));
        }
    }

    #[test]
    fn unknown_words_and_keys_are_named_with_what_is_allowed() {
        for (text, expected) in [
            ("[throttling]\nlockout = \"hipaa\"", "\"nist\", \"pci\""),
            ("[throttling]\nroot_console = true", "\"never-lock\", \"lock\""),
            ("[throttling]\ndisable_afer = 5", "`disable_after`"),
            ("[sources]\naccounts = 1", "from 2 to 100"),
            ("[sources]\nwindow = \"59s\"", "from 1m to 1d"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
            assert!(error.starts_with("/etc/countersign/countersign.toml:2:"), "{text}: {error}");
        }
    }

    #[test]
    fn sources_can_be_set_and_switched_off() {
        let set = parse("[sources]\naccounts = 5\nwindow = \"1h\"").unwrap().sources;
        assert_eq!(set.limits(), Some(SourceLimits { accounts: 5, window: Duration::from_secs(3600) }));
        assert_eq!(parse("[sources]\nenabled = false").unwrap().sources.limits(), None);
        assert_eq!(parse("").unwrap().sources.limits(), Some(SourceLimits::default()));
    }
}
