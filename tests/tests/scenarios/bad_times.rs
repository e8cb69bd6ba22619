//! Bad input and bad times: whatever happens to the daemon, its disk, its clock, its log and its key, the refusal
//! is clear and nothing is lost.

use std::{
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};
use scenarios::{
    Attempt, Enrolment, Host, HotpKey, Line, Outcome, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, Stack, wait,
};

/// Chooses the moments of the kills, so that a run that failed can be played again.
const SEED: &str = "COUNTERSIGN_TEST_SEED";
const KILLS: usize = 20;
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

const KEY: &str = "/var/lib/countersign/master.key";

/// A small generator of numbers (Marsaglia's xorshift64).
struct Random(u64);

impl Random {
    fn seeded() -> Result<Self> {
        let seed = match std::env::var(SEED) {
            Ok(seed) => seed.parse().context(SEED)?,
            Err(_) => u64::from(SystemTime::now().duration_since(UNIX_EPOCH)?.subsec_nanos()) | 1,
        };
        println!("{SEED}={seed}");
        Ok(Self(seed))
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// A fob and its first codes, none of which repeats within the look-ahead window: a repeated one would be taken
/// for the later one and skip those between.
fn fob(seed: u32, count: u32) -> Result<(HotpKey, Vec<String>)> {
    for number in (seed..).step_by(1000) {
        let fob = HotpKey::numbered(number);
        let codes = fob.codes(0, count)?;
        if codes.windows(12).all(|window| !window[1..].contains(&window[0])) {
            return Ok((fob, codes));
        }
    }
    anyhow::bail!("no such fob")
}

fn failures(host: &Host, user: &str) -> Result<u64> {
    let status = host.countersign(&["status", user, "--json"])?.success()?;
    let status: serde_json::Value = serde_json::from_str(&status.stdout)?;
    status.get("failures").and_then(serde_json::Value::as_u64).with_context(|| status.to_string())
}

/// Every code of these was right, so that none may have been charged and nobody locked.
fn nobody_was_charged(host: &Host) {
    let charged = |line: &Line| line.has(&[("event", "lock")]) || line.has(&[("reason", "wrong")]);
    let lines: Vec<Line> = host.syslog().into_iter().filter(charged).collect();
    assert!(lines.is_empty(), "right codes were charged: {lines:?}");
}

/// Logs in until there is a daemon that decides; true where it let in.
fn log_in_at_last(host: &Host, user: &str, code: &str, decided: &AtomicUsize) -> Result<bool> {
    for _ in 0..1000 {
        let attempt = host.attempt("door", user, &[code])?;
        if attempt.result != PAM_AUTHINFO_UNAVAIL {
            decided.fetch_add(1, Ordering::Relaxed);
            // A code that was accepted when its answer was lost is a reused one when it is presented again.
            ensure!([PAM_SUCCESS, PAM_AUTH_ERR].contains(&attempt.result), "{user} typed a right code: {attempt:?}");
            return Ok(attempt.result == PAM_SUCCESS);
        }
    }
    anyhow::bail!("{user} never found a daemon")
}

/// Logs in with one code after the other, and tries each one that let in again. Returns how many were used.
fn use_up(host: &Host, user: &str, codes: &[String], over: &AtomicBool, decided: &AtomicUsize) -> Result<usize> {
    for (used, code) in codes.iter().enumerate() {
        if over.load(Ordering::Relaxed) {
            return Ok(used);
        }
        log_in_at_last(host, user, code, decided)?;
        ensure!(!log_in_at_last(host, user, code, decided)?, "code {used} of {user} was granted again");
    }
    Ok(codes.len())
}

/// Kills and starts the daemon [`KILLS`] times at random moments. Meanwhile each recovery code is used once.
fn kill_at_random(host: &Host, recovery: &[(&str, &String)], decided: &AtomicUsize) -> Result<()> {
    let mut random = Random::seeded()?;
    for (user, code) in recovery {
        let enough = decided.load(Ordering::Relaxed) + usize::try_from(random.below(4))?;
        wait("further logins", || Ok((decided.load(Ordering::Relaxed) >= enough).then_some(())))?;
        thread::scope(|scope| {
            let login = scope.spawn(|| log_in_at_last(host, user, code, decided));
            // Some moment between the start of that login and after its end.
            thread::park_timeout(Duration::from_micros(random.below(30_000)));
            let killed = host.daemon().kill().and_then(|()| host.start_daemon());
            login.join().unwrap().and(killed)
        })?;
    }
    Ok(())
}

#[test]
fn a_daemon_that_is_killed_twenty_times_under_load_forgets_no_spent_code_and_locks_nobody() -> Result<()> {
    let fobs = [("alice", fob(20, 2000)?), ("bob", fob(21, 2000)?), ("carol", fob(22, 2000)?)];
    let mut builder = Host::build().pam(Stack::code_alone("door"));
    for user in ["alice", "bob", "carol", "dave", "erin"] {
        builder = builder.user_without_password(user);
    }
    let host = builder.start()?;
    for (user, (fob, _)) in &fobs {
        host.import_hotp(user, fob)?;
    }
    let phones = [("dave", host.enrol("dave")?), ("erin", host.enrol("erin")?)];
    let recovery: Vec<(&str, &String)> =
        phones.iter().flat_map(|(user, phone)| phone.recovery_codes.iter().map(|code| (*user, code))).collect();
    assert_eq!(recovery.len(), KILLS);

    let (over, decided) = (AtomicBool::new(false), AtomicUsize::new(0));
    let used = thread::scope(|scope| {
        let mut people = Vec::new();
        for (user, (_, codes)) in &fobs {
            let (host, over, decided) = (&host, &over, &decided);
            people.push(scope.spawn(move || use_up(host, user, codes, over, decided)));
        }
        let killed = kill_at_random(&host, &recovery, &decided);
        over.store(true, Ordering::Relaxed);
        let used: Result<Vec<usize>> = people.into_iter().map(|person| person.join().unwrap()).collect();
        // What befell somebody says more than that nobody logs in any more.
        used.and_then(|used| killed.map(|()| used))
    })?;

    nobody_was_charged(&host);
    host.countersign(&["audit", "--verify"])?.success()?;
    for (user, code) in &recovery {
        let again = host.attempt("door", user, &[code])?;
        assert_eq!(again.result, PAM_AUTH_ERR, "a recovery code of {user}: {again:?}");
    }
    for ((user, (_, codes)), used) in fobs.iter().zip(used) {
        assert!(used > 0, "{user} never logged in");
        let last = host.attempt("door", user, &[&codes[used - 1]])?;
        assert_eq!(last.result, PAM_AUTH_ERR, "the last code of {user}: {last:?}");
        let next = host.attempt("door", user, &[&codes[used]])?;
        assert_eq!(next.result, PAM_SUCCESS, "the next code of {user}: {next:?}");
    }
    for (user, phone) in &phones {
        assert_eq!(failures(&host, user)?, 0, "{user}");
        let attempt = host.attempt("door", user, &[&host.code(phone, 0)?])?;
        assert_eq!(attempt.result, PAM_SUCCESS, "{user}: {attempt:?}");
    }
    nobody_was_charged(&host);
    Ok(())
}

/// A login that was asked and answers when it is let go.
struct Held {
    login: Child,
    hand: Option<ChildStdin>,
    said: Lines<BufReader<ChildStdout>>,
}

impl Held {
    fn begin(host: &Host, user: &str, code: &str) -> Result<Self> {
        let mut login = host.command("root", &["/usr/lib/scratch/pam_client", "hold", "door", user, code])?;
        let mut login = login.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let hand = login.stdin.take();
        let said = BufReader::new(login.stdout.take().context("a piped output")?).lines();
        Ok(Self { login, hand, said })
    }

    fn wait_for_prompt(&mut self) -> Result<()> {
        let line = self.said.next().context("it ended before it was asked")??;
        ensure!(line.starts_with("prompt: "), "{line}");
        Ok(())
    }

    fn result(mut self) -> Result<i32> {
        let last = self.said.by_ref().map_while(Result::ok).last().context("it said nothing")?;
        self.login.wait()?;
        let number = last.strip_prefix("result ").with_context(|| last.clone())?;
        Ok(number.parse()?)
    }
}

#[test]
fn a_restart_under_fifty_logins_lets_each_right_code_in_or_calls_it_used_and_holds_nobody() -> Result<()> {
    let timeout = Duration::from_secs(10);
    let mut builder = Host::build().pam(Stack::code_alone("door")).module_arguments("timeout=10");
    let users = ["alice", "bob", "carol", "dave", "erin"];
    for user in users {
        builder = builder.user_without_password(user);
    }
    let host = builder.start()?;
    let mut entries = Vec::new();
    for user in users {
        entries.extend(host.enrol(user)?.recovery_codes.into_iter().map(|code| (user, code)));
    }
    assert_eq!(entries.len(), 50);
    let begun: Result<Vec<Held>> = entries.iter().map(|(user, code)| Held::begin(&host, user, code)).collect();
    let mut logins = begun?;
    logins.iter_mut().try_for_each(Held::wait_for_prompt)?;

    let start = Instant::now();
    let let_go = |login: &mut Held| drop(login.hand.take());
    thread::scope(|scope| {
        let restart = scope.spawn(|| host.restart_daemon());
        logins.iter_mut().take(25).for_each(let_go);
        restart.join().unwrap()
    })?;
    // Of these the daemon that asked them is gone for certain.
    logins.iter_mut().skip(25).for_each(let_go);
    let results: Result<Vec<i32>> = logins.into_iter().map(Held::result).collect();
    let (results, took) = (results?, start.elapsed());
    assert!(took < timeout + Duration::from_secs(2), "somebody was held: {took:?}");
    let known = |result: &i32| [PAM_SUCCESS, PAM_AUTH_ERR].contains(result);
    assert!(results.iter().all(known), "{results:?}\n{}", host.diagnosis());
    nobody_was_charged(&host);
    for (user, code) in &entries {
        let again = host.attempt("door", user, &[code])?;
        assert_eq!(again.result, PAM_AUTH_ERR, "a code of {user} is not spent: {again:?}");
    }
    nobody_was_charged(&host);
    Ok(())
}

#[test]
fn a_full_disk_refuses_everybody_says_why_and_spends_nothing_until_there_is_room() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).state_on_a_disk().start()?;
    let fob = HotpKey::numbered(23);
    host.import_hotp("alice", &fob)?;
    let codes = fob.codes(0, 3)?;
    assert_eq!(host.attempt("door", "alice", &[&codes[0]])?.result, PAM_SUCCESS);

    let filler = "/var/lib/countersign/filler";
    let fill =
        host.run(&["sh", "-c", "cat /dev/zero >$0; df --output=avail /var/lib/countersign | tail -1", filler])?;
    assert_eq!(fill.stdout.trim(), "0", "the disk is not full: {fill}");
    for _ in 0..3 {
        let refused = host.attempt("door", "alice", &[&codes[1]])?;
        assert_eq!(refused.result, PAM_AUTHINFO_UNAVAIL, "{refused:?}");
    }
    let reason =
        |line: &Line| line.program == "countersignd" && line.text.contains("the disk that holds the store is full");
    wait("a line that says why", || Ok(host.syslog().into_iter().find(reason)))?;
    assert!(host.daemon().runs());

    host.run(&["rm", filler])?.success()?;
    let now = host.attempt("door", "alice", &[&codes[1]])?;
    assert_eq!(now.result, PAM_SUCCESS, "{now:?}\n{}", host.diagnosis());
    let again = host.attempt("door", "alice", &[&codes[1]])?;
    assert_eq!(again.result, PAM_AUTH_ERR, "{again:?}");
    assert_eq!(host.attempt("door", "alice", &[&codes[2]])?.result, PAM_SUCCESS);
    nobody_was_charged(&host);
    host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}

fn host_with_a_clock() -> Result<(Host, Enrolment)> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).fake_clock().start()?;
    let phone = host.enrol("alice")?;
    Ok((host, phone))
}

fn by_phone(host: &Host, phone: &Enrolment) -> Result<Attempt> {
    host.attempt("door", "alice", &[&host.code(phone, 0)?])
}

#[test]
fn a_clock_that_went_back_an_hour_refuses_totp_charges_nothing_and_takes_a_recovery_code() -> Result<()> {
    let (host, phone) = host_with_a_clock()?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_SUCCESS);
    host.turn_back(HOUR)?;
    for _ in 0..5 {
        let refused = by_phone(&host, &phone)?;
        assert_eq!(refused.result, PAM_AUTHINFO_UNAVAIL, "{refused:?}");
        assert!(refused.says("This host's clock ran backwards"), "{refused:?}");
    }
    host.logged(&[("event", "verification"), ("outcome", "refused"), ("reason", "clock-backwards")])?;
    assert_eq!(failures(&host, "alice")?, 0);
    let recovered = host.attempt("door", "alice", &[&phone.recovery_codes[0]])?;
    assert_eq!(recovered.result, PAM_SUCCESS, "{recovered:?}");
    // The clock is believed again, but the steps up to the last accepted one stay spent.
    assert_eq!(by_phone(&host, &phone)?.result, PAM_AUTH_ERR);
    host.advance(HOUR + Duration::from_secs(2 * phone.period))?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_SUCCESS);
    nobody_was_charged(&host);
    Ok(())
}

#[test]
fn a_clock_that_went_back_a_second_is_no_reason_to_refuse() -> Result<()> {
    let (host, phone) = host_with_a_clock()?;
    // To the sixth second of a time step, so that a second earlier is the same step.
    let into_step = host.now().duration_since(UNIX_EPOCH)?.as_secs() % phone.period;
    host.advance(Duration::from_secs(phone.period - into_step + 5))?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_SUCCESS);
    host.turn_back(Duration::from_secs(1))?;
    let next = host.attempt("door", "alice", &[&host.code(&phone, 1)?])?;
    assert_eq!(next.result, PAM_SUCCESS, "{next:?}");
    Ok(())
}

#[test]
fn a_clock_that_went_forward_a_day_and_back_locks_nobody_out_who_did_not_log_in_meanwhile() -> Result<()> {
    let (host, phone) = host_with_a_clock()?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_SUCCESS);
    host.advance(DAY)?;
    host.restart_daemon()?;
    host.turn_back(DAY)?;
    host.restart_daemon()?;
    let next = host.attempt("door", "alice", &[&host.code(&phone, 1)?])?;
    assert_eq!(next.result, PAM_SUCCESS, "{next:?}\n{}", host.diagnosis());
    Ok(())
}

#[test]
fn a_code_of_a_day_ahead_stays_spent_and_a_recovery_code_helps_when_the_clock_is_right_again() -> Result<()> {
    let (host, phone) = host_with_a_clock()?;
    host.advance(DAY)?;
    let ahead = host.code(&phone, 0)?;
    assert_eq!(host.attempt("door", "alice", &[&ahead])?.result, PAM_SUCCESS);
    host.turn_back(DAY)?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_AUTHINFO_UNAVAIL);
    let recovered = host.attempt("door", "alice", &[&phone.recovery_codes[0]])?;
    assert_eq!(recovered.result, PAM_SUCCESS, "{recovered:?}");
    host.advance(DAY)?;
    let again = host.attempt("door", "alice", &[&ahead])?;
    assert_eq!(again.result, PAM_AUTH_ERR, "a code of the day ahead works twice: {again:?}");
    host.advance(Duration::from_secs(2 * phone.period))?;
    assert_eq!(by_phone(&host, &phone)?.result, PAM_SUCCESS);
    Ok(())
}

const STOP_SYSLOG: &str = "kill -KILL $(cat /run/rsyslogd.pid) && rm -f /dev/log /run/rsyslogd.pid";
const START_SYSLOG: &str = "rsyslogd -f /etc/scratch-rsyslog.conf -i /run/rsyslogd.pid";

#[test]
fn logins_go_on_without_syslog_and_lines_that_were_dropped_are_told_when_it_is_back() -> Result<()> {
    let fobs = [("alice", fob(24, 1401)?), ("bob", fob(25, 1401)?), ("carol", fob(26, 1401)?)];
    let mut builder = Host::build().pam(Stack::code_alone("door"));
    for (user, _) in &fobs {
        builder = builder.user_without_password(user);
    }
    let host = builder.start()?;
    for (user, (fob, _)) in &fobs {
        host.import_hotp(user, fob)?;
    }
    host.run(&["sh", "-c", STOP_SYSLOG])?.success()?;
    // More than the 4096 lines that wait in the daemon.
    let granted: Result<Vec<u64>> = thread::scope(|scope| {
        let log_in = |user, codes| Ok(host.cycles("door", user, codes)?.granted);
        let people: Vec<_> =
            fobs.iter().map(|(user, (_, codes))| scope.spawn(move || log_in(user, &codes[..1400]))).collect();
        people.into_iter().map(|person| person.join().unwrap()).collect()
    });
    assert_eq!(granted?, [1400; 3]);
    host.run(&["sh", "-c", START_SYSLOG])?.success()?;
    let told = |line: &Line| {
        line.program == "countersignd" && line.text.ends_with("lines were dropped while syslog took none")
    };
    wait("the dropped lines to be told", || Ok(host.syslog().into_iter().find(told)))?;
    let attempt = host.attempt("door", "alice", &[&fobs[0].1.1[1400]])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
    host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}

#[test]
fn a_login_without_syslog_is_logged_when_it_is_back() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let fob = HotpKey::numbered(27);
    host.import_hotp("alice", &fob)?;
    host.run(&["sh", "-c", STOP_SYSLOG])?.success()?;
    let attempt = host.attempt("door", "alice", &[&fob.codes(0, 1)?[0]])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
    host.run(&["sh", "-c", START_SYSLOG])?.success()?;
    host.logged(&[("event", "verification"), ("outcome", "granted"), ("account", "alice")])?;
    Ok(())
}

/// Runs a daemon in the foreground, as the account of the daemon.
fn run_daemon(host: &Host) -> Result<Outcome> {
    let own = ["setpriv", "--reuid", "countersign", "--regid", "countersign", "--clear-groups"];
    host.run(&[&own[..], &["/usr/libexec/countersignd"]].concat())
}

#[test]
fn a_second_daemon_on_the_same_state_is_refused_and_the_first_goes_on() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let fob = HotpKey::numbered(28);
    host.import_hotp("alice", &fob)?;
    let second = run_daemon(&host)?;
    assert_eq!(second.status, 1, "{second}");
    let reason = "/var/lib/countersign: another countersignd works with this state; stop it first";
    assert!(second.stderr.contains(reason), "{second}");
    let line = |line: &Line| line.program == "countersignd" && line.text.contains(reason);
    wait("its line in the log", || Ok(host.syslog().into_iter().find(line)))?;
    let attempt = host.attempt("door", "alice", &[&fob.codes(0, 1)?[0]])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
    Ok(())
}

#[test]
fn a_daemon_whose_key_is_lost_or_altered_does_not_start_says_what_to_do_and_overwrites_nothing() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let fob = HotpKey::numbered(29);
    host.import_hotp("alice", &fob)?;
    host.daemon().stop()?;
    let state = || host.run(&["sh", "-c", "cd /var/lib/countersign && sha256sum countersign* master* .m* 2>&1"]);
    host.run(&["cp", "-p", KEY, "/run/scratch/key"])?.success()?;
    let cases = [
        ("rm $0", "but its master key does not: restore"),
        ("head -c 31 /run/scratch/key >$0", "it is shorter than 32 bytes; restore it from a backup"),
        ("(cat /run/scratch/key; echo) >$0", "it is longer than 32 bytes"),
        ("tr '\\000-\\377' '\\001-\\377\\000' </run/scratch/key >$0", "provide key "),
        ("chmod 0444 $0", "run: chmod 0400"),
        ("mv $0 /var/lib/countersign/other; ln -s other $0", "it is a symbolic link"),
    ];
    for (harm, reason) in cases {
        host.run(&["sh", "-c", harm, KEY])?.success()?;
        let before = state()?;
        let refused = run_daemon(&host)?;
        assert_eq!(refused.status, 1, "{harm}: {refused}");
        assert!(refused.stderr.contains(reason), "{harm}: {refused}");
        assert_eq!(state()?.stdout, before.stdout, "{harm}");
        host.run(&["sh", "-c", "rm -f $0 && cp -p /run/scratch/key $0", KEY])?.success()?;
    }
    host.start_daemon()?;
    let attempt = host.attempt("door", "alice", &[&fob.codes(0, 1)?[0]])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
    Ok(())
}

/// The only line about a refusal that holds `text`; it is printable.
fn only_refusal(host: &Host, text: &str) -> Result<Line> {
    let about = || {
        host.syslog()
            .into_iter()
            .filter(|line| line.has(&[("outcome", "refused")]) || line.text.contains("pam_countersign("))
    };
    let line = wait(&format!("a line with {text}"), || Ok(about().find(|line| line.text.contains(text))))
        .with_context(|| host.diagnosis())?;
    assert_eq!(about().filter(|line| line.text.contains(text)).count(), 1, "{text}\n{}", host.diagnosis());
    assert!(line.text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line:?}");
    Ok(line)
}

#[test]
fn strange_names_and_sources_are_refused_and_logged_in_one_printable_line() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let phone = host.enrol("alice")?;
    let long = "x".repeat(300);
    let just = "y".repeat(255);
    let names = [
        ("al\"ice' OR 1=1 --", r#"account="al\"ice' OR 1=1 --""#),
        ("bob\nevent=verification outcome=granted", r#"account="bob\x0aevent=verification outcome=granted""#),
        ("\u{1b}[2Jcarol\r", r#"account="\x1b[2Jcarol\x0d""#),
        ("dàve", r#"account="d\u{e0}ve""#),
        (&long, "the user name is too long"),
        (&just, "account=\"yyyy"),
    ];
    for (name, logged) in names {
        let attempt = host.attempt("door", name, &["123456"])?;
        assert_eq!(attempt.result, PAM_AUTH_ERR, "{name:?}: {attempt:?}");
        only_refusal(&host, logged)?;
    }
    let rhost = "evil\n\u{1b}]0;owned\u{7}\" outcome=granted account=\"root";
    let attempt = host.attempt_from(rhost, "door", "alice", &["malformed"])?;
    assert_eq!(attempt.result, PAM_AUTH_ERR, "{attempt:?}");
    let line = only_refusal(&host, r#"rhost="evil\x0a\x1b]0;owned\x07\" outcome=granted account=\"root""#)?;
    assert!(line.text.contains(r#" account="alice" service="door""#), "{line:?}");
    let attempt = host.attempt("door", "alice", &[&host.code(&phone, 0)?])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{attempt:?}");
    Ok(())
}

#[test]
fn replies_that_are_no_codes_are_refused_logged_once_and_charged_to_nobody() -> Result<()> {
    let megabyte = "1".repeat(1 << 20);
    let replies = [
        ("empty", "", "malformed"),
        ("huge", megabyte.as_str(), "malformed"),
        ("control", "\u{1b}[2J\u{7}12\r3456", "malformed"),
        ("wide", "１２３４５６", "malformed"),
        ("filler", "\u{8}", "blocked-by-sshd"),
    ];
    let mut builder = Host::build().pam(Stack::code_alone("door"));
    for (user, ..) in replies {
        builder = builder.user_without_password(user);
    }
    let host = builder.start()?;
    for (user, reply, reason) in replies {
        let phone = host.enrol(user)?;
        for _ in 0..4 {
            let attempt = host.attempt("door", user, &[reply])?;
            assert_eq!((attempt.result, attempt.prompts()), (PAM_AUTH_ERR, 1), "{user}: {attempt:?}");
        }
        let line = only_refusal(&host, &format!("account=\"{user}\""))?;
        assert_eq!(line.field("reason"), Some(reason), "{line:?}");
        assert_eq!(failures(&host, user)?, 0, "{user}");
        let attempt = host.attempt("door", user, &[&host.code(&phone, 0)?])?;
        assert_eq!(attempt.result, PAM_SUCCESS, "{user}: {attempt:?}");
    }
    Ok(())
}
