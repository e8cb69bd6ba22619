//! A stack's run, as libpam's dispatcher does it: one module a step. `differential` plays random stacks against the
//! real libpam.

use super::{
    control::{Action, Code},
    stack::{Entry, Runs, Stack},
};

/// What the stack thinks of the person so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Impression {
    /// Nothing yet.
    Undefined,
    /// Good.
    Positive,
    /// Bad: it stays so, unless it is reset.
    Negative,
}

/// What a substack goes back to at a reset, and what the whole run has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Verdict {
    impression: Impression,
    status: Code,
}

/// A run under way. Two that are equal go on equally.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Run {
    next: usize,
    verdict: Verdict,
    before: usize,
    substacks: Vec<Verdict>,
}

/// What a run needs to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// What the entry with this number returns.
    Code(usize),
    /// Nothing: this is what `pam_authenticate` returns.
    Nothing(Code),
}

const NOTHING_YET: Verdict = Verdict { impression: Impression::Undefined, status: Code::PERM_DENIED };

impl Run {
    /// The beginning of a stack.
    pub(crate) fn new() -> Self {
        Self { next: 0, verdict: NOTHING_YET, before: 0, substacks: vec![NOTHING_YET] }
    }

    /// Goes on to the next module that is asked, or to the end.
    pub(crate) fn need(&mut self, stack: &Stack) -> Need {
        while let Some(entry) = stack.entries.get(self.next) {
            self.enter(entry);
            match entry.runs {
                Runs::Module(..) => return Need::Code(self.next),
                Runs::Failure(_) => self.give(stack, Code::PERM_DENIED),
                Runs::Substack => self.advance(entry),
            }
        }
        let Verdict { impression, status } = self.verdict;
        let unproven = status == Code::SUCCESS && impression != Impression::Positive;
        Need::Nothing(if unproven { Code::PERM_DENIED } else { status })
    }

    /// Takes what the module that was asked for returned.
    pub(crate) fn give(&mut self, stack: &Stack, code: Code) {
        let Some(entry) = stack.entries.get(self.next) else { return };
        let action = entry.control.action(code);
        match action {
            Action::Ignore => {}
            Action::Reset => self.verdict = self.substacks.get(entry.level).copied().unwrap_or(NOTHING_YET),
            Action::Ok | Action::Done => self.count_for(code),
            Action::Bad | Action::Die => self.count_against(code),
            Action::Jump(over) => return self.jump(stack, entry.level, over),
        }
        let ends = match action {
            Action::Done => self.verdict.impression == Impression::Positive,
            Action::Die => true,
            _ => false,
        };
        if ends {
            self.leave(stack, entry.level);
        }
        self.advance(entry);
    }

    /// Remembers what stood when a substack is entered.
    fn enter(&mut self, entry: &Entry) {
        if self.before < entry.level {
            self.substacks.resize(entry.level + 1, NOTHING_YET);
            if let Some(place) = self.substacks.get_mut(entry.level) {
                *place = self.verdict;
            }
        }
    }

    fn count_for(&mut self, code: Code) {
        let Verdict { impression, status } = self.verdict;
        let open =
            impression == Impression::Undefined || (impression == Impression::Positive && status == Code::SUCCESS);
        if open {
            self.verdict = Verdict { impression: Impression::Positive, status: code };
        }
    }

    fn count_against(&mut self, code: Code) {
        if self.verdict.impression != Impression::Negative {
            let status = if code == Code::IGNORE { Code::PERM_DENIED } else { code };
            self.verdict = Verdict { impression: Impression::Negative, status };
        }
    }

    /// Passes over so many modules; a substack counts as one. Where there are fewer, libpam refuses.
    fn jump(&mut self, stack: &Stack, level: usize, mut over: u32) {
        let follows = |at: usize| stack.entries.get(at + 1).map(|entry| entry.level);
        while over > 0 && follows(self.next).is_some_and(|next| next >= level) {
            self.next += 1;
            while follows(self.next).is_some_and(|next| next > level) {
                self.next += 1;
            }
            over -= 1;
        }
        if over > 0 {
            self.verdict = Verdict { impression: Impression::Negative, status: Code::PERM_DENIED };
        }
        self.before = level;
        self.next += 1;
    }

    /// Ends this stack, or the substack in which a decision was made.
    fn leave(&mut self, stack: &Stack, level: usize) {
        while stack.entries.get(self.next + 1).is_some_and(|entry| entry.level >= level) {
            self.next += 1;
        }
    }

    fn advance(&mut self, entry: &Entry) {
        self.before = entry.level;
        self.next += 1;
    }
}

/// What `pam_authenticate` returns where each module returns what `returns` says of it.
#[cfg(test)]
pub(crate) fn simulate(stack: &Stack, returns: impl Fn(&Entry) -> Code) -> Code {
    let mut run = Run::new();
    loop {
        match run.need(stack) {
            Need::Nothing(code) => return code,
            Need::Code(at) => {
                let code = stack.entries.get(at).map_or(Code::MODULE_UNKNOWN, &returns);
                run.give(stack, code);
            }
        }
    }
}
