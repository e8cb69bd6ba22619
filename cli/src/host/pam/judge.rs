//! What is wrong with a stack: whether somebody gets in without a code, whether somebody who has one does not, and
//! whether a stranger reaches the prompt.

use super::{
    arguments,
    control::{Action, Code},
    module::{self, OURS, Role},
    search::{self, Ours, Way, Ways},
    stack::{Entry, Runs, Stack, Unusable},
};
use crate::host::finding::{Area, Finding, Level};

/// The line that asks for a code.
pub(crate) const ASKING: &str = "auth requisite pam_countersign.so";
/// The line that follows it.
const PERMITTING: &str = "auth required  pam_permit.so";

/// Services in which somebody has logged in already, so that a code alone is a factor more.
const LOGGED_IN: [&str; 8] =
    ["sudo", "sudo-i", "sudo-rs", "doas", "polkit-1", "vlock", "cinnamon-screensaver", "xscreensaver"];

/// Services known to answer every prompt with the password, or to have nobody to ask. cron and at are none of them:
/// they run no `auth` phase.
const SINGLE_PROMPT: [&str; 13] = [
    "dovecot",
    "imap",
    "pop3",
    "smtp",
    "exim",
    "sieve",
    "samba",
    "cups",
    "vsftpd",
    "proftpd",
    "pure-ftpd",
    "ftp",
    "ppp",
];

/// What a stack came to.
#[derive(Debug, Default)]
pub(crate) struct Judged {
    /// What is wrong.
    pub(crate) findings: Vec<Finding>,
    /// Whether the stack holds our module.
    pub(crate) asks: bool,
    /// Whether it holds a first factor.
    pub(crate) first_factor: bool,
}

/// Judges the `auth` stack of a service.
pub(crate) fn judge(read: &Result<Stack, Unusable>, service: &str) -> Judged {
    let stack = match read {
        Ok(stack) => stack,
        Err(unusable) => {
            let what = format!("{service}: the stack cannot be used: {}", unusable.why);
            let finding = danger("pam-unusable", what)
                .because("libpam then refuses everybody in this service")
                .at(&unusable.place);
            return Judged { findings: vec![finding], ..Judged::default() };
        }
    };
    let ours: Vec<&Entry> = of(stack, Role::Countersign).collect();
    let mut findings: Vec<_> = stack.entries.iter().filter_map(|entry| misspelt(entry, service)).collect();
    let first_factor = of(stack, Role::Factor).next().is_some();
    if let Some(first) = ours.first() {
        findings.extend(ours.iter().flat_map(|entry| lines(entry, service)));
        findings.extend(stack.entries.iter().filter_map(|entry| bad_line(entry, service)));
        findings.extend(runs(stack, first, first_factor));
        findings.extend(alone(service, first, first_factor));
        findings.extend(single_prompt(service, first));
    }
    Judged { findings, asks: !ours.is_empty(), first_factor }
}

/// Judges the `password` stack: our module does not belong there.
pub(crate) fn judge_password(stack: &Stack) -> Option<Finding> {
    let entry = of(stack, Role::Countersign).next()?;
    let what = format!("{}: {OURS} stands in the password stack", stack.service);
    let why = "it refuses there, so that nobody can change a password; authenticators are changed with the tool";
    Some(danger("pam-wrong-stack", what).because(why).at(&entry.place).change("remove this line"))
}

/// Findings about a service that should ask and has no line that does.
pub(crate) fn unasked(stack: &Stack) -> Finding {
    let place =
        stack.entries.last().map_or_else(|| super::stack::place_of(&stack.service), |entry| entry.place.clone());
    danger("pam-not-asked", format!("{}: the stack does not ask for a code", stack.service))
        .because("whoever passes the first factor is let in")
        .at(&place)
        .change(format!("add below the first factor:\n{ASKING}\n{PERMITTING}"))
}

fn danger(name: &'static str, what: impl Into<String>) -> Finding {
    Finding::new(Area::Pam, Level::Danger, name, what)
}

fn of(stack: &Stack, role: Role) -> impl Iterator<Item = &Entry> {
    stack.entries.iter().filter(move |entry| entry.module().is_some() && module::role(entry) == role)
}

/// A name that looks like ours and is not: libpam loads nothing, or something else.
fn misspelt(entry: &Entry, service: &str) -> Option<Finding> {
    let name = entry.module()?;
    let plain: String = name.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
    if name == OURS || !plain.contains("countersign") {
        return None;
    }
    let what = format!("{service}: {name} is not the module's name");
    let why = "libpam cannot load it, and refuses or goes on without it, as the control says";
    Some(danger("pam-module-name", what).because(why).at(&entry.place).change(ASKING))
}

fn bad_line(entry: &Entry, service: &str) -> Option<Finding> {
    let Runs::Failure(why) = &entry.runs else { return None };
    let what = format!("{service}: a line is wrong: {why}");
    Some(danger("pam-bad-line", what).because("libpam refuses in its place").at(&entry.place))
}

/// What can be seen of our line alone.
fn lines(entry: &Entry, service: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(wrong) = entry.arguments().iter().find(|argument| !arguments::allowed(argument)) {
        let what = format!("{service}: the module does not take the argument {wrong}");
        let why = format!("it refuses every login through this line; it takes {}", arguments::ALLOWED);
        let kept: Vec<_> = entry.arguments().iter().filter(|argument| arguments::allowed(argument)).collect();
        let kept: String = kept.iter().map(|argument| format!(" {argument}")).collect();
        findings.push(danger("pam-arguments", what).because(why).at(&entry.place).change(format!("{ASKING}{kept}")));
    }
    if let Some(code) = module::OUR_FAILURES.into_iter().find(|code| lets_pass(entry.control.action(*code))) {
        let what = format!("{service}: the control {} lets a refused code pass ({})", shown(entry), code.name());
        let why = "whoever has no right code goes on as if nothing had been asked, and a stopped daemon asks nobody";
        findings.push(danger("pam-refusal-passes", what).because(why).at(&entry.place).change(line(entry)));
    }
    findings
}

fn lets_pass(action: Action) -> bool {
    matches!(action, Action::Ignore | Action::Ok | Action::Done | Action::Reset | Action::Jump(_))
}

/// The control as it is written in the file.
fn shown(entry: &Entry) -> String {
    if entry.written.contains('=') { format!("[{}]", entry.written) } else { entry.written.clone() }
}

/// Our line with the right control and the arguments it has.
fn line(entry: &Entry) -> String {
    entry.arguments().iter().fold(ASKING.to_owned(), |line, argument| format!("{line} {argument}"))
}

/// What only the runs of the whole stack show.
fn runs(stack: &Stack, ours: &Entry, first_factor: bool) -> Vec<Finding> {
    let ways = search::all(stack);
    let service = &stack.service;
    let mut findings = Vec::new();
    if ways.unfinished {
        let what = format!("{service}: the stack has too many ways to look at all of them");
        findings.push(Finding::new(Area::Pam, Level::Warning, "pam-too-many-ways", what).at(&ours.place));
    }
    findings.extend(bypasses(stack, &ways, ours));
    findings.extend(refusals(stack, &ways, ours));
    let granted = |ours: Ours| ways.granted.iter().filter(move |way| way.story.ours == ours);
    if granted(Ours::Granted).next().is_none() {
        let what = format!("{service}: nobody gets in through the code");
        let why = "no outcome of the modules lets somebody in who gave a right code";
        findings.push(danger("pam-nobody", what).because(why).at(&ours.place).change(order(first_factor)));
    } else if granted(Ours::Skipped).next().is_none() {
        let what = format!("{service}: where policy asks for no code, the login is refused");
        let why = "the module then answers PAM_IGNORE, and libpam refuses a stack in which every module ignores";
        let change = format!("add below this line:\n{PERMITTING}");
        findings.push(danger("pam-skip-refused", what).because(why).at(&ours.place).change(change));
    }
    if first_factor && granted(Ours::Granted).any(|way| !way.story.proven) {
        findings.push(code_alone(stack, ours));
    }
    findings.extend(prompts(stack, &ways, ours));
    findings.extend(rest_skipped(stack, ours));
    findings
}

/// Ways that let in and never asked for a code.
fn bypasses(stack: &Stack, ways: &Ways, ours: &Entry) -> Vec<Finding> {
    let service = &stack.service;
    let mut findings: Vec<Finding> = Vec::new();
    for way in ways.granted.iter().filter(|way| way.story.ours == Ours::Unasked) {
        let skipper = way.skipper(stack);
        let by = skipper.unwrap_or(ours);
        let module = by.module().unwrap_or("a line");
        // Which accounts a condition exempts is the administrator's to say; a factor exempts whoever has it.
        let condition = skipper.is_some_and(|entry| module::role(entry) != Role::Factor);
        let finding = if condition {
            let what = format!("{service}: {module} lets some accounts in without a code");
            Finding::new(Area::Pam, Level::Warning, "pam-exempt", what)
                .because("what it exempts, no policy of the daemon and no line of its audit knows of")
        } else {
            danger("pam-bypass", format!("{service}: after {module} no code is asked for"))
                .because("its control ends the stack or jumps over the line that asks: one factor lets in")
        };
        let finding = finding.at(&by.place).change(no_skipping(stack, by, ours));
        if !findings.contains(&finding) {
            findings.push(finding);
        }
    }
    findings
}

/// What the line that skips should be.
fn no_skipping(stack: &Stack, skipper: &Entry, ours: &Entry) -> String {
    let at = |wanted: &Entry| stack.entries.iter().position(|entry| entry == wanted);
    let Runs::Module(path, arguments) = &skipper.runs else { return order(true) };
    let tail = arguments.iter().fold(path.clone(), |line, argument| format!("{line} {argument}"));
    if skipper.control.action(Code::SUCCESS) == Action::Done {
        return format!("auth requisite {tail}");
    }
    match (at(skipper), at(ours)) {
        (Some(from), Some(to)) if to > from + 1 => {
            format!(
                "let it jump to the line that asks, no further: auth [success={} default=ignore] {tail}",
                to - from - 1
            )
        }
        _ => order(true),
    }
}

fn order(first_factor: bool) -> String {
    let first = if first_factor { "auth requisite pam_unix.so   (or @include common-auth)\n" } else { "" };
    format!("the lines, in this order:\n{first}{ASKING}\n{PERMITTING}")
}

/// Ways that let in although ours refused, where its own line is not to blame.
fn refusals(stack: &Stack, ways: &Ways, ours: &Entry) -> Option<Finding> {
    let way = ways.granted.iter().find(|way| way.story.ours == Ours::Refused)?;
    let blamed = module::OUR_FAILURES.into_iter().any(|code| lets_pass(ours.control.action(code)));
    if blamed {
        return None;
    }
    let by = last(stack, way).unwrap_or(ours);
    let what = format!("{}: a line after the module lets in whom it refused", stack.service);
    let why = "its control forgets what was counted before it";
    Some(danger("pam-refusal-forgotten", what).because(why).at(&by.place).change(order(true)))
}

fn last<'s>(stack: &'s Stack, way: &Way) -> Option<&'s Entry> {
    way.steps.last().and_then(|(at, _)| stack.entries.get(*at))
}

/// A first factor stands in the stack, and a code lets in without it.
fn code_alone(stack: &Stack, ours: &Entry) -> Finding {
    let factor = of(stack, Role::Factor).next().unwrap_or(ours);
    let module = factor.module().unwrap_or("the first factor");
    let ends = matches!(ours.control.action(Code::SUCCESS), Action::Done | Action::Jump(_));
    let at = if ends { ours } else { factor };
    let what = format!("{}: a code lets in without {module}", stack.service);
    let change = if ends { line(ours) } else { requisite(factor) };
    danger("pam-code-alone", what).because("two factors have become one").at(&at.place).change(change)
}

/// The line of a first factor as it should be.
fn requisite(factor: &Entry) -> String {
    match &factor.runs {
        Runs::Module(path, arguments) => {
            arguments.iter().fold(format!("auth requisite {path}"), |line, argument| format!("{line} {argument}"))
        }
        Runs::Failure(_) | Runs::Substack => order(true),
    }
}

/// Who reaches the prompt for a code, and how often.
fn prompts(stack: &Stack, ways: &Ways, ours: &Entry) -> Vec<Finding> {
    let service = &stack.service;
    let mut findings = Vec::new();
    let why = "whoever knows a name can give wrong codes for it, until the account is locked and in the end disabled";
    if let Some(way) = ways.asked.iter().find(|way| way.story.failed && !way.story.proven) {
        let mut factor = way.steps.iter().filter_map(|(at, _)| stack.entries.get(*at));
        let factor = factor.rfind(|entry| module::role(entry) == Role::Factor).unwrap_or(ours);
        let module = factor.module().unwrap_or("the first factor");
        let what = format!("{service}: the code is asked for although {module} refused");
        findings.push(danger("pam-open-prompt", what).because(why).at(&factor.place).change(requisite(factor)));
    } else if of(stack, Role::Factor).next().is_some()
        && ways.asked.iter().any(|way| !way.story.proven && !way.story.failed)
    {
        let what = format!("{service}: the code is asked for before the first factor");
        let finding = Finding::new(Area::Pam, Level::Warning, "pam-code-first", what);
        findings.push(finding.because(why).at(&ours.place).change("put this line below the first factor"));
    }
    if ways.granted.iter().any(|way| way.story.again) {
        let second = of(stack, Role::Countersign).nth(1).unwrap_or(ours);
        let what = format!("{service}: the stack asks for a code twice");
        let why = "a code works once: the second question wants the next one, which comes half a minute later";
        findings.push(danger("pam-asked-twice", what).because(why).at(&second.place).change("remove this line"));
    }
    findings
}

/// A right code ends the stack, and lines that may refuse do not run.
fn rest_skipped(stack: &Stack, ours: &Entry) -> Option<Finding> {
    if !matches!(ours.control.action(Code::SUCCESS), Action::Done | Action::Jump(_)) {
        return None;
    }
    let at = stack.entries.iter().position(|entry| entry == ours)?;
    let may_refuse = |entry: &&Entry| {
        matches!(entry.runs, Runs::Module(..))
            && !matches!(module::role(entry), Role::Inert | Role::Permit | Role::Deny)
    };
    let skipped = stack.entries.iter().skip(at + 1).find(may_refuse)?;
    let module = skipped.module().unwrap_or_default();
    let what = format!("{}: after a right code {module} does not run", stack.service);
    let why = format!("the control {} ends the stack or jumps, and {} may refuse", shown(ours), skipped.place);
    Some(danger("pam-rest-skipped", what).because(why).at(&ours.place).change(line(ours)))
}

/// The code is the only factor, where nobody has logged in before.
fn alone(service: &str, ours: &Entry, first_factor: bool) -> Option<Finding> {
    let logged_in = LOGGED_IN.contains(&service) || service.contains("lock");
    // What comes before sshd's stack is sshd's own settings.
    if first_factor || logged_in || service == "sshd" {
        return None;
    }
    let what = format!("{service}: the code is the only factor");
    let finding = Finding::new(Area::Pam, Level::Warning, "pam-single-factor", what);
    let why = "who holds the phone is let in, and who knows a name reaches the prompt";
    Some(finding.because(why).at(&ours.place).change(format!("@include common-auth\n{ASKING}")))
}

fn single_prompt(service: &str, ours: &Entry) -> Option<Finding> {
    let single = SINGLE_PROMPT.iter().any(|name| service == *name || service.starts_with(&format!("{name}-")));
    if !single {
        return None;
    }
    let what = format!("{service}: this service cannot ask for a code");
    let finding = Finding::new(Area::Pam, Level::Danger, "pam-single-prompt", what);
    let why = "it answers every prompt with the password, or has nobody to ask: all its logins are refused";
    let change = format!("ask in the services' own files, not in {}", ours.place.file.display());
    Some(finding.because(why).at(&ours.place).change(change))
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
