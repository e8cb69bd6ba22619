//! What a look at the host came to: findings, each with why it matters and what to change, and what was found right.

use super::Place;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    /// Worth knowing; nothing to change.
    Note,
    /// Something to change that locks nobody out and lets nobody in by itself.
    Warning,
    /// Somebody could be locked out or let in.
    Danger,
}

/// What a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Area {
    /// The stacks of PAM.
    Pam,
    /// The SSH server.
    Sshd,
    /// The daemon, its buses and its store.
    Daemon,
    /// Owners and modes.
    Files,
    /// Clock and confinement.
    System,
    /// People.
    Accounts,
}

impl Area {
    /// Its name for people and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pam => "pam",
            Self::Sshd => "sshd",
            Self::Daemon => "daemon",
            Self::Files => "files",
            Self::System => "system",
            Self::Accounts => "accounts",
        }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Its name: the same for the same mistake at every version (docs/doctor.md).
    pub(crate) name: &'static str,
    /// What it is about.
    pub(crate) area: Area,
    /// How much it matters.
    pub(crate) level: Level,
    /// What is wrong.
    pub(crate) what: String,
    /// Why it matters.
    pub(crate) why: String,
    /// The line to change.
    pub(crate) place: Option<Place>,
    /// What to put there, or to run.
    pub(crate) change: Option<String>,
}

/// All that was found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    findings: Vec<Finding>,
    sound: Vec<(Area, String)>,
}

impl Finding {
    /// A finding without place and change.
    pub(crate) fn new(area: Area, level: Level, name: &'static str, what: impl Into<String>) -> Self {
        Self { name, area, level, what: what.into(), why: String::new(), place: None, change: None }
    }

    /// Says why it matters.
    pub(crate) fn because(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// Names the line to change.
    pub(crate) fn at(mut self, place: &Place) -> Self {
        self.place = Some(place.clone());
        self
    }

    /// Proposes what to put there, or what to run.
    pub(crate) fn change(mut self, change: impl Into<String>) -> Self {
        self.change = Some(change.into());
        self
    }
}

impl Report {
    /// Adds a finding, unless the same one stands there already.
    pub(crate) fn add(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }

    /// Adds findings.
    pub(crate) fn extend(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    /// Says what was found right.
    pub(crate) fn sound(&mut self, area: Area, what: impl Into<String>) {
        self.sound.push((area, what.into()));
    }

    /// The findings, in the order in which they were made.
    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// What was found right.
    pub(crate) fn all_sound(&self) -> &[(Area, String)] {
        &self.sound
    }

    /// The worst level; `None` where nothing was found.
    pub(crate) fn worst(&self) -> Option<Level> {
        self.findings.iter().map(|finding| finding.level).max()
    }
}
