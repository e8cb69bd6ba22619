//! `countersign status`: what an account has and how it stands. The daemon decides whether the caller may know.

use dbus_api::{AccountState, Authenticator, EnrollmentSummary, Error, RememberedLogin};
use serde::Serialize;

use crate::{
    cli::Status,
    client::{self, Client},
    commands::{observing, state_name, state_words},
    failure::Failure,
    output::{self, Output},
    table::{Cell, Column, Table, Tone, paint},
    wording::{self, printable},
};

/// With fewer recovery codes left it is time for new ones.
const FEW_CODES: u32 = 3;

/// What a clock may be off by, in seconds, before it is worth a word: more than successes move the drift by themselves with
/// the longest time step.
const HARDLY_OFF: u64 = 240;

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    account: &'a str,
    state: &'static str,
    locked_for: Option<u64>,
    failures: u32,
    recovery_codes_left: u32,
    scratch_codes_left: u32,
    enroll_by: Option<&'a str>,
    authenticators: Vec<ReportedAuthenticator<'a>>,
    remembered: Vec<ReportedLogin<'a>>,
    observe: Option<&'a str>,
}

/// One remembered login in [`Report`].
#[derive(Serialize)]
struct ReportedLogin<'a> {
    service: &'a str,
    address: &'a str,
    since: String,
    left: u64,
}

/// One authenticator in [`Report`].
#[derive(Serialize)]
struct ReportedAuthenticator<'a> {
    id: &'a str,
    label: &'a str,
    kind: &'a str,
    algorithm: &'a str,
    digits: u32,
    period: Option<u32>,
    active: bool,
    suspended: bool,
    created: String,
    last_used: Option<String>,
    expires: Option<String>,
    clock_off: Option<i64>,
    needs_resync: bool,
    weak: bool,
}

/// Runs the command.
///
/// # Errors
/// What the daemon refuses.
pub(super) async fn run(arguments: &Status, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let user = client::account(arguments.user.as_deref(), "status")?;
    let client = Client::connect(bus).await?;
    let explain = |error: &Error| client::explain(error, &user, &format!("status {user}"));
    let (summary, known) = match client.enrollment().await?.list(&user).await {
        Ok(summary) => (summary, true),
        // What is stored for a name that the host does not know (any more) is for administrators to see.
        Err(unknown @ Error::UnknownAccount(_)) => match client.admin().await?.account(&user).await {
            Ok(summary) => (summary, false),
            Err(Error::NotEnrolled(_) | Error::AccessDenied(_)) => return Err(explain(&unknown)),
            Err(error) => return Err(explain(&error)),
        },
        Err(error) => return Err(explain(&error)),
    };
    if arguments.json {
        return output.json(&report(&summary));
    }
    describe(&summary, output)?;
    if known {
        return Ok(());
    }
    output.say(&format!(
        "The name service does not know {0}. To forget all that is stored: sudo countersign reset {0}, or of all such \
         accounts: sudo countersign prune",
        printable(&summary.account)
    ))
}

fn state(summary: &EnrollmentSummary) -> AccountState {
    if summary.disabled {
        AccountState::Disabled
    } else if summary.locked_for.is_some() {
        AccountState::Locked
    } else if summary.authenticators.iter().any(is_in_force) {
        AccountState::Active
    } else {
        AccountState::NotEnrolled
    }
}

fn is_in_force(authenticator: &Authenticator) -> bool {
    authenticator.active && !authenticator.suspended && authenticator.expires.is_none_or(|end| end > output::now())
}

fn report(summary: &EnrollmentSummary) -> Report<'_> {
    Report {
        account: &summary.account,
        state: state_name(Some(state(summary))),
        locked_for: summary.locked_for,
        failures: summary.failures,
        recovery_codes_left: summary.recovery_codes_left,
        scratch_codes_left: summary.scratch_codes_left,
        enroll_by: summary.enroll_by.as_deref(),
        authenticators: summary.authenticators.iter().map(report_authenticator).collect(),
        remembered: summary.remembered.iter().map(report_login).collect(),
        observe: summary.observe.as_deref(),
    }
}

fn report_login(login: &RememberedLogin) -> ReportedLogin<'_> {
    let RememberedLogin { service, address, since, left } = login;
    ReportedLogin { service, address, since: wording::iso8601(*since), left: *left }
}

fn report_authenticator(authenticator: &Authenticator) -> ReportedAuthenticator<'_> {
    ReportedAuthenticator {
        id: &authenticator.id,
        label: &authenticator.label,
        kind: &authenticator.kind,
        algorithm: &authenticator.algorithm,
        digits: authenticator.digits,
        period: (authenticator.period > 0).then_some(authenticator.period),
        active: authenticator.active,
        suspended: authenticator.suspended,
        created: wording::iso8601(authenticator.created),
        last_used: authenticator.last_used.map(wording::iso8601),
        expires: authenticator.expires.map(wording::iso8601),
        clock_off: authenticator.clock_off,
        needs_resync: authenticator.needs_resync,
        weak: authenticator.weak,
    }
}

fn describe(summary: &EnrollmentSummary, output: &Output) -> Result<(), Failure> {
    let user = printable(&summary.account);
    let state = state(summary);
    if let Some(remark) = summary.observe.as_deref().and_then(observing) {
        output.print(&format!(
            "{}\n",
            paint(&wording::wrap(remark, output.width(), ""), Tone::Warning, output.color())
        ))?;
    }
    let (words, tone) = state_words(Some(state), None);
    output.print(&format!("{user}: {}\n", paint(&words, tone, output.color())))?;
    if !summary.authenticators.is_empty() {
        output.print("\n")?;
        output.print(&authenticators(summary, output))?;
        output.print("\n")?;
        for authenticator in &summary.authenticators {
            remark_on(authenticator, &user, output)?;
        }
        output.say(&format!("Recovery codes left: {}", summary.recovery_codes_left))?;
        if summary.scratch_codes_left > 0 {
            output.say(&format!("Imported scratch codes left: {}", summary.scratch_codes_left))?;
        }
        output.say(&format!("Wrong codes since the last login: {}", summary.failures))?;
    }
    if let Some(day) = &summary.enroll_by {
        output.say(&format!("From {} on a second factor is needed.", printable(day)))?;
    }
    for login in &summary.remembered {
        let (service, address) = (printable(&login.service), printable(&login.address));
        output.say(&format!("No code is asked for {}: {service} from {address}", wording::duration(login.left)))?;
    }
    match state {
        AccountState::Locked => output.say(&format!(
            "The lock lifts in {}. Sooner: sudo countersign unlock {user}",
            wording::duration(summary.locked_for.unwrap_or(0))
        )),
        AccountState::Disabled => output.say(&format!("Every code is refused until: sudo countersign enable {user}")),
        AccountState::NotEnrolled => output.say(&format!("Add an authenticator: sudo countersign enroll {user}")),
        AccountState::Active if summary.recovery_codes_left <= FEW_CODES => {
            output.say(&format!("New recovery codes: countersign recovery-codes {user}"))
        }
        AccountState::Corrupt => output.say(&format!(
            "Its record was altered on the disk: every login is refused until: sudo countersign reset {user}"
        )),
        AccountState::Active => Ok(()),
    }
}

fn authenticators(summary: &EnrollmentSummary, output: &Output) -> String {
    let column = |heading, rank| Column { heading, rank, right: false };
    let columns =
        vec![column("ID", 0), column("LABEL", 0), column("CODES", 3), column("LAST LOGIN", 1), column("STATE", 2)];
    let now = output::now();
    let rows: Vec<Vec<Cell>> = summary.authenticators.iter().map(|authenticator| row(authenticator, now)).collect();
    Table::new(columns, output.columns(), output.color()).page(&rows)
}

fn row(authenticator: &Authenticator, now: u64) -> Vec<Cell> {
    let state = match authenticator.expires {
        _ if !authenticator.active => Cell::toned("disabled", Tone::Bad),
        _ if authenticator.suspended => Cell::toned("waits", Tone::Bad),
        Some(end) if end <= now => Cell::toned("ended", Tone::Bad),
        Some(end) => Cell::toned(format!("ends in {}", wording::duration(end - now)), Tone::Warning),
        None if authenticator.needs_resync => Cell::toned("needs resync", Tone::Warning),
        None => Cell::toned("active", Tone::Good),
    };
    vec![
        printable(&authenticator.id).into(),
        printable(&authenticator.label).into(),
        codes(&authenticator.kind, &authenticator.algorithm, authenticator.digits, authenticator.period).into(),
        authenticator.last_used.map_or_else(|| "never".to_owned(), |then| wording::ago(then, now)).into(),
        state,
    ]
}

/// What there is to say of one that is not as it should be.
fn remark_on(authenticator: &Authenticator, user: &str, output: &Output) -> Result<(), Failure> {
    let (id, label) = (printable(&authenticator.id), printable(&authenticator.label));
    if !authenticator.active {
        return output.say(&format!("\"{label}\" is disabled until: sudo countersign enable {user} {id}"));
    }
    if authenticator.suspended {
        return output.say(&format!("\"{label}\" waits since a restore: sudo countersign enable {user}"));
    }
    if let Some(end) = authenticator.expires.filter(|end| *end <= output::now()) {
        return output.say(&format!("\"{label}\" ended at {}: its codes are refused.", wording::iso8601(end)));
    }
    if authenticator.needs_resync {
        output.say(&format!("The clock of \"{label}\" is off: sudo countersign resync {user} {id}"))?;
    }
    if let Some(off) = authenticator.clock_off.filter(|off| off.unsigned_abs() > HARDLY_OFF) {
        let side = if off < 0 { "behind" } else { "ahead" };
        let off = wording::duration(off.unsigned_abs());
        output.say(&format!("The clock of \"{label}\" is {off} {side}, which is allowed for."))?;
    }
    match (authenticator.weak, authenticator.expires) {
        (true, Some(end)) => output.say(&format!(
            "The key of \"{label}\" is short, and accepted until {} only. Replace it: countersign enroll {user}",
            wording::iso8601(end)
        )),
        (true, None) => output.say(&format!("The key of \"{label}\" is short. Replace it: countersign enroll {user}")),
        (false, _) => Ok(()),
    }
}

/// How an authenticator makes its codes, for people.
pub(super) fn codes(kind: &str, algorithm: &str, digits: u32, period: u32) -> String {
    let made = format!("{}, {}, {digits} digits", printable(kind).to_uppercase(), printable(algorithm));
    if period > 0 { format!("{made}, {period} s") } else { made }
}
