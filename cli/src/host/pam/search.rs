//! All runs of a stack: every module returns everything that it can. What is asked of them is whether some run ends
//! well that should not, and whether one does that should.

use std::collections::HashSet;

use super::{
    control::{Action, Code},
    module::{self, OUR_FAILURES, Role},
    simulate::{Need, Run},
    stack::{Entry, Stack},
};

/// More states than any stack that a person wrote has.
const MOST: usize = 200_000;

/// What our module has said in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Ours {
    /// It did not run.
    Unasked,
    /// A code was right.
    Granted,
    /// Policy asked for none.
    Skipped,
    /// It refused, or could not be loaded.
    Refused,
}

/// What happened in a run so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Story {
    /// What ours said at last.
    pub(crate) ours: Ours,
    /// Whether ours was asked a second time.
    pub(crate) again: bool,
    /// Whether a first factor was proven.
    pub(crate) proven: bool,
    /// Whether a first factor was tried and not proven.
    pub(crate) failed: bool,
}

/// One run, to its end or to where ours is asked.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// What happened.
    pub(crate) story: Story,
    /// Which entries ran and what they returned.
    pub(crate) steps: Vec<(usize, Code)>,
}

/// All runs of a stack, one of each kind.
#[derive(Debug, Default)]
pub(crate) struct Ways {
    /// Those that let in.
    pub(crate) granted: Vec<Way>,
    /// Those up to where ours is asked.
    pub(crate) asked: Vec<Way>,
    /// Whether there were too many to look at all of them.
    pub(crate) unfinished: bool,
}

/// Plays all runs.
pub(crate) fn all(stack: &Stack) -> Ways {
    let mut ways = Ways::default();
    let beginning = Story { ours: Ours::Unasked, again: false, proven: false, failed: false };
    let mut seen = HashSet::new();
    let mut open = vec![(Run::new(), Way { story: beginning, steps: Vec::new() })];
    while let Some((mut run, way)) = open.pop() {
        if seen.len() > MOST {
            ways.unfinished = true;
            return ways;
        }
        if !seen.insert((run.clone(), way.story)) {
            continue;
        }
        let at = match run.need(stack) {
            Need::Nothing(Code::SUCCESS) => {
                ways.granted.push(way);
                continue;
            }
            Need::Nothing(_) => continue,
            Need::Code(at) => at,
        };
        let Some(entry) = stack.entries.get(at) else { continue };
        let ours = module::role(entry) == Role::Countersign;
        if ours {
            ways.asked.push(way.clone());
        }
        for code in distinct(entry, ours) {
            let mut next = run.clone();
            next.give(stack, code);
            let mut steps = way.steps.clone();
            steps.push((at, code));
            open.push((next, Way { story: way.story.after(entry, code), steps }));
        }
    }
    ways
}

/// One code of each kind that the control and the story tell apart: the others lead to the same runs.
fn distinct(entry: &Entry, ours: bool) -> Vec<Code> {
    let failures = if ours { &OUR_FAILURES[..] } else { &[] };
    let mut kinds = HashSet::new();
    let codes = module::returns(entry).iter().chain(failures);
    codes.copied().filter(|code| kinds.insert((entry.control.action(*code), is_answer(*code)))).collect()
}

/// Success and "I have nothing to say" are told apart from everything else, and from each other.
fn is_answer(code: Code) -> Option<Code> {
    [Code::SUCCESS, Code::IGNORE].into_iter().find(|answer| *answer == code)
}

impl Story {
    fn after(mut self, entry: &Entry, code: Code) -> Self {
        match module::role(entry) {
            Role::Countersign => {
                self.again = self.ours != Ours::Unasked;
                self.ours = match code {
                    Code::SUCCESS => Ours::Granted,
                    Code::IGNORE => Ours::Skipped,
                    _ => Ours::Refused,
                };
            }
            Role::Factor if code == Code::SUCCESS => self.proven = true,
            Role::Factor => self.failed = true,
            _ => {}
        }
        self
    }
}

impl Way {
    /// The last entry that made others not run: it jumped over them or ended the stack.
    pub(crate) fn skipper<'s>(&self, stack: &'s Stack) -> Option<&'s Entry> {
        let skips = |(at, code): &(usize, Code)| {
            let entry = stack.entries.get(*at)?;
            matches!(entry.control.action(*code), Action::Jump(_) | Action::Done).then_some(entry)
        };
        self.steps.iter().rev().find_map(skips)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use super::*;
    use crate::host::{Host, pam::stack::Kind};

    fn ways(lines: &str) -> Ways {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("etc/pam.d");
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("door"), lines).unwrap();
        let host = Host::below(folder.path(), |_, _| Err(std::io::ErrorKind::NotFound.into()));
        all(&Stack::read(&host, "door", Kind::Auth).unwrap())
    }

    #[test]
    fn a_factor_that_suffices_lets_in_without_a_code_and_one_that_is_required_does_not() {
        let unasked = |lines: &str| ways(lines).granted.iter().any(|way| way.story.ours == Ours::Unasked);
        assert!(unasked("auth sufficient pam_unix.so\nauth required pam_countersign.so\n"));
        assert!(!unasked("auth required pam_unix.so\nauth required pam_countersign.so\n"));
    }

    #[test]
    fn a_long_stack_of_choices_is_looked_at_to_its_end() {
        let mut lines = "auth [success=1 default=ignore] pam_a.so\nauth optional pam_b.so\n".repeat(20);
        lines.push_str("auth required pam_countersign.so\n");
        let ways = ways(&lines);
        assert!(!ways.unfinished && ways.granted.iter().all(|way| way.story.ours != Ours::Unasked));
    }
}
