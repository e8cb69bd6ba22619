//! `countersign explain`: what would become of a login, and why. The daemon finds that out, by the way that a login goes.

use dbus_api::{Error, Explanation, LoginOutcome, Origin, PassedOver, Supposition};
use serde::Serialize;

use super::outcome::{self, Refusal};
use crate::{
    cli::Explain,
    client,
    failure::Failure,
    output::Output,
    table::{Tone, paint},
    wording::{self, printable, wrap},
};

/// Rules that are shown; the others are counted.
const SHOWN: usize = 20;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    account: &'a str,
    uid: Option<u32>,
    service: &'a str,
    tty: Option<&'a str>,
    rhost: Option<&'a str>,
    ruser: Option<&'a str>,
    claimed: bool,
    at: String,
    outcome: &'static str,
    let_in: bool,
    asked: bool,
    observe: bool,
    reason: Option<&'a str>,
    rule: Option<&'a str>,
    rule_origin: Option<&'a str>,
    passed_over: Vec<ReportedRule<'a>>,
    shown: &'a [String],
    tries: Option<u32>,
    code_of: Option<&'a str>,
    authenticators: Option<u32>,
    recovery_codes_left: Option<u32>,
    retry_after: Option<u64>,
    remembered_for: Option<u64>,
    enroll_by: Option<&'a str>,
}

/// A rule that does not decide, in [`Report`].
#[derive(Serialize)]
struct ReportedRule<'a> {
    rule: &'a str,
    origin: &'a str,
    condition: &'a str,
    why: &'a str,
}

/// Runs the command.
///
/// # Errors
/// What the daemon refuses; silently where the login would be refused.
pub(super) async fn run(arguments: &Explain, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let Explain { user, service, tty, rhost, ruser, at, claimed, json } = arguments;
    let origin =
        Origin { service: Some(service.clone()), tty: tty.clone(), rhost: rhost.clone(), ruser: ruser.clone() };
    let supposition = Supposition { at: at.clone(), claimed: claimed.then_some(true), each: None };
    let (admin, _agent) = client::administer(bus).await?;
    let command = format!("explain {user} --service {service}");
    let explained = admin.explain(user, &origin, &supposition).await;
    let explanation = explained.map_err(|error| explain_error(&error, user, &command))?;
    if *json {
        output.json(&report(&explanation, arguments))?;
    } else {
        describe(&explanation, arguments, output)?;
    }
    if explanation.let_in { Ok(()) } else { Err(Failure::silent()) }
}

/// What an error of the daemon means: the only argument that it can find wrong is the moment.
pub(super) fn explain_error(error: &Error, user: &str, command: &str) -> Failure {
    match error {
        Error::InvalidArgument(text) => Failure::usage(format!("--at: {}", printable(text))),
        other => client::explain(other, user, command),
    }
}

fn report<'a>(explanation: &'a Explanation, arguments: &'a Explain) -> Report<'a> {
    let rule = |passed: &'a PassedOver| {
        let PassedOver { rule, origin, condition, why } = passed;
        ReportedRule { rule, origin, condition, why }
    };
    Report {
        account: &explanation.account,
        uid: explanation.uid,
        service: &arguments.service,
        tty: arguments.tty.as_deref(),
        rhost: arguments.rhost.as_deref(),
        ruser: arguments.ruser.as_deref(),
        claimed: arguments.claimed,
        at: wording::iso8601(explanation.at),
        outcome: outcome::name(LoginOutcome::from_number(explanation.outcome)),
        let_in: explanation.let_in,
        asked: explanation.asked,
        observe: explanation.observe,
        reason: explanation.reason.as_deref(),
        rule: explanation.rule.as_deref(),
        rule_origin: explanation.rule_origin.as_deref(),
        passed_over: explanation.passed_over.iter().map(rule).collect(),
        shown: &explanation.shown,
        tries: explanation.tries,
        code_of: explanation.code_of.as_deref(),
        authenticators: explanation.authenticators,
        recovery_codes_left: explanation.recovery_codes_left,
        retry_after: explanation.retry_after,
        remembered_for: explanation.remembered_for,
        enroll_by: explanation.enroll_by.as_deref(),
    }
}

fn describe(explanation: &Explanation, arguments: &Explain, output: &Output) -> Result<(), Failure> {
    let outcome = LoginOutcome::from_number(explanation.outcome);
    output.head(&login(explanation, arguments))?;
    let sentence = sentence(explanation, outcome);
    if explanation.observe {
        verdict("Let through: the policy observes, so that nobody is asked.", Tone::Warning, output)?;
        output.say(&format!("If it did not: {}", lowered(&sentence)))?;
    } else {
        verdict(&sentence, outcome::tone(outcome), output)?;
    }
    for line in &explanation.shown {
        indented(&printable(line), output)?;
    }
    facts(explanation, output)?;
    output.print("\n")?;
    rules(explanation, output)?;
    let reason = explanation.reason.as_deref().filter(|_| !explanation.let_in);
    let account = explanation.code_of.as_ref().unwrap_or(&explanation.account);
    match reason.and_then(|reason| Refusal { reason, account }.help()) {
        Some(help) => {
            output.print("\n")?;
            output.say(&help)
        }
        None => Ok(()),
    }
}

fn verdict(sentence: &str, tone: Tone, output: &Output) -> Result<(), Failure> {
    output.print(&format!("{}\n", paint(&wrap(sentence, output.width(), ""), tone, output.color())))
}

fn indented(text: &str, output: &Output) -> Result<(), Failure> {
    output.print(&format!("  {}\n", wrap(text, output.width().saturating_sub(2), "    ")))
}

/// The login in a line.
fn login(explanation: &Explanation, arguments: &Explain) -> String {
    let mut text = format!("{} at {}", printable(&explanation.account), printable(&arguments.service));
    let parts = [
        ("from", &arguments.rhost),
        ("on", &arguments.tty),
        ("called by", &arguments.ruser),
        ("at the time", &arguments.at),
    ];
    for (word, value) in parts.iter().filter_map(|(word, value)| Some((word, value.as_ref()?))) {
        text.push_str(&format!(", {word} {}", printable(value)));
    }
    if arguments.claimed {
        text.push_str(", by a program of the account's own");
    }
    text
}

/// What becomes of it.
fn sentence(explanation: &Explanation, outcome: Option<LoginOutcome>) -> String {
    match outcome {
        Some(LoginOutcome::Asked) => match explanation.code_of.as_deref() {
            None => "A code is asked for, and a right one lets in.".to_owned(),
            Some(of) => format!("A code of {} is asked for, and a right one lets in.", printable(of)),
        },
        Some(LoginOutcome::Skipped) => "No code is asked for: the rule skips it.".to_owned(),
        Some(LoginOutcome::Reminded) => "Let in without a code, and asked to enrol.".to_owned(),
        Some(LoginOutcome::Passed) => {
            "Let in without a code: nothing is enrolled, and the rule lets that pass.".to_owned()
        }
        Some(LoginOutcome::Enrols) => {
            "Made to enrol: a key is shown, a code of it asked for, and recovery codes are shown.".to_owned()
        }
        Some(LoginOutcome::Remembered) => {
            let left = wording::duration(explanation.remembered_for.unwrap_or(0));
            format!("No code is asked for: an earlier login is remembered for {left} still.")
        }
        Some(LoginOutcome::Refused) | None => refusal(explanation),
    }
}

fn refusal(explanation: &Explanation) -> String {
    let reason = explanation.reason.as_deref().unwrap_or("unknown");
    let why = Refusal { reason, account: &explanation.account }.brief();
    let wait = explanation.retry_after.map(|seconds| format!(", for {} still", wording::duration(seconds)));
    let asked = if explanation.asked { " The question is asked all the same, and no answer is right." } else { "" };
    format!("Refused: {why}{}.{asked}", wait.unwrap_or_default())
}

fn lowered(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// What else decides whether the person can get in.
fn facts(explanation: &Explanation, output: &Output) -> Result<(), Failure> {
    if let Some(tries) = explanation.tries.filter(|tries| *tries > 1) {
        output.say(&format!("Replies that one login takes: {tries}"))?;
    }
    if let (Some(authenticators), Some(left)) = (explanation.authenticators, explanation.recovery_codes_left) {
        output.say(&format!("Active authenticators: {authenticators}. Recovery codes left: {left}"))?;
    }
    if let Some(day) = &explanation.enroll_by {
        output.say(&format!("From {} on the rule wants an authenticator.", printable(day)))?;
    }
    Ok(())
}

/// Which rule decides, and why those before it do not.
fn rules(explanation: &Explanation, output: &Output) -> Result<(), Failure> {
    let place = explanation.rule_origin.as_ref().map(|origin| format!(", {}", printable(origin))).unwrap_or_default();
    match &explanation.rule {
        Some(rule) => output.say(&format!("Decided by the rule {:?}{place}", printable(rule)))?,
        None if explanation.rule_origin.is_none() && explanation.authenticators.is_none() => {
            output.say("No rule could be asked.")?;
        }
        None => output.say("No rule matches: a code is required, and who has none is refused.")?,
    }
    if explanation.passed_over.is_empty() {
        return Ok(());
    }
    output.say("Rules before it that do not match:")?;
    // The nearest ones matter most.
    let hidden = explanation.passed_over.len().saturating_sub(SHOWN);
    if hidden > 0 {
        let further = wording::many(u64::try_from(hidden).unwrap_or(u64::MAX), "further one");
        indented(&format!("({further} before these: --json shows all)"), output)?;
    }
    for PassedOver { rule, origin: _, condition, why } in explanation.passed_over.iter().skip(hidden) {
        indented(&format!("{}: {}: {}", printable(rule), printable(condition), printable(why)), output)?;
    }
    Ok(())
}
