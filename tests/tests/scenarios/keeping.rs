//! Backups and new keys on a host that people log in to: nothing spent comes back, and a kill loses nothing.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use scenarios::{Host, HostBuilder, HotpKey, Outcome, PAM_AUTH_ERR, PAM_SUCCESS, Random, Stack, seed};

const FILE: &str = "/root/backup.age";
const PASSPHRASE: &[u8] = b"correct horse battery\n";
/// After that, codes by time work again on a restored host: 11 steps, and the window around them.
const AFTER_A_RESTORE: Duration = Duration::from_secs(14 * 30);

const STATE: &str = "/var/lib/countersign";
/// How often each thing is killed.
const KILLS: usize = 20;
/// The longest that a login may take while a key is rotated or a backup is made: alone it takes a few hundredths.
const LONGEST_LOGIN: Duration = Duration::from_secs(2);

fn builder() -> HostBuilder {
    Host::build()
        .user_without_password("alice")
        .configuration("fail_delay = \"0s\"\n")
        .pam(Stack::code_alone("door"))
        .fake_clock()
}

fn host() -> Result<Host> {
    builder().start()
}

/// The tool, with the passphrase on its standard input.
fn keep(host: &Host, words: &[&str]) -> Result<Outcome> {
    let words = [&["countersign"], words, &["--passphrase-fd", "0"]].concat();
    host.feed_as("root", &words, PASSPHRASE)
}

fn log_in(host: &Host, code: &str) -> Result<i32> {
    Ok(host.attempt("door", "alice", &[code])?.result)
}

/// Carries the backup to another host, as a disk or a network would.
fn carry(from: &Host, to: &Host) -> Result<()> {
    std::fs::copy(from.outside(FILE), to.outside(FILE)).context("carrying the backup")?;
    Ok(())
}

#[test]
fn on_another_host_no_code_that_let_in_before_or_after_the_backup_lets_in_again() -> Result<()> {
    let old = host()?;
    let phone = old.enrol("alice")?;
    let fob = HotpKey::numbered(7);
    old.import_hotp("alice", &fob)?;
    let fob = fob.codes(0, 6)?;
    let before = [old.code(&phone, 0)?, fob[0].clone(), phone.recovery_codes[0].clone()];
    for code in &before {
        assert_eq!(log_in(&old, code)?, PAM_SUCCESS, "{code}");
    }
    keep(&old, &["backup", FILE])?.success()?;
    old.logged(&[("event", "backup"), ("outcome", "granted")])?;
    let after = [old.code(&phone, 1)?, fob[1].clone(), phone.recovery_codes[1].clone()];
    for code in &after {
        assert_eq!(log_in(&old, code)?, PAM_SUCCESS, "{code}");
    }

    let new = host()?;
    carry(&old, &new)?;
    // A daemon at work is left alone.
    let refused = keep(&new, &["restore", FILE])?;
    assert!(!refused.succeeded() && refused.stderr.contains("stop it first"), "{refused:?}");
    new.daemon().stop()?;
    let restored = keep(&new, &["restore", FILE])?.success()?;
    assert!(restored.stdout.contains("waits for enable"), "{restored:?}");
    new.start_daemon()?;
    for code in before.iter().chain(&after) {
        assert_ne!(log_in(&new, code)?, PAM_SUCCESS, "{code}");
        new.countersign(&["unlock", "alice"])?.success()?;
    }
    new.advance(AFTER_A_RESTORE)?;
    assert_eq!(log_in(&new, &new.code(&phone, 0)?)?, PAM_SUCCESS);
    assert_ne!(log_in(&new, &fob[2])?, PAM_SUCCESS, "it waits");
    new.countersign(&["enable", "alice"])?.success()?;
    assert_eq!(log_in(&new, &fob[2])?, PAM_SUCCESS);
    assert_eq!(log_in(&new, &phone.recovery_codes[2])?, PAM_SUCCESS);
    Ok(())
}

#[test]
fn a_planned_move_keeps_what_was_not_used_and_nothing_else() -> Result<()> {
    let old = host()?;
    let phone = old.enrol("alice")?;
    let used = old.code(&phone, 0)?;
    assert_eq!(log_in(&old, &used)?, PAM_SUCCESS);
    keep(&old, &["backup", FILE])?.success()?;
    let new = host()?;
    carry(&old, &new)?;
    new.daemon().stop()?;
    keep(&new, &["restore", FILE, "--trust-counters"])?.success()?;
    new.start_daemon()?;
    assert_eq!(log_in(&new, &used)?, PAM_AUTH_ERR);
    assert_eq!(log_in(&new, &new.code(&phone, 1)?)?, PAM_SUCCESS);
    assert_eq!(log_in(&new, &phone.recovery_codes[0])?, PAM_SUCCESS);
    Ok(())
}

#[test]
fn a_backup_that_was_cut_anywhere_is_refused_and_the_host_goes_on_as_before() -> Result<()> {
    let host = host()?;
    let phone = host.enrol("alice")?;
    keep(&host, &["backup", FILE])?.success()?;
    let whole = host.read(FILE)?;
    host.daemon().stop()?;
    for length in [whole.len() - 1, whole.len() / 2, 300, 100] {
        std::fs::write(host.outside(FILE), whole.get(..length).context("a shorter file")?)?;
        let refused = keep(&host, &["restore", FILE, "--replace", "--yes"])?;
        assert!(!refused.succeeded() && refused.stderr.contains("Nothing was changed"), "{length}: {refused:?}");
    }
    host.start_daemon()?;
    assert_eq!(log_in(&host, &host.code(&phone, 0)?)?, PAM_SUCCESS);
    Ok(())
}

#[test]
fn a_daemon_that_is_killed_while_the_key_is_rotated_goes_on_with_it_and_people_log_in() -> Result<()> {
    let host = host()?;
    let fob = HotpKey::numbered(9);
    host.import_hotp("alice", &fob)?;
    let uris: String =
        (0..3000).map(|number| HotpKey::numbered(number).uri(&format!("person{number}")) + "\n").collect();
    host.write("/root/people", &uris)?;
    host.countersign(&["import", "otpauth", "/root/people"])?.success()?;
    let old = host.countersign(&["key", "status", "--json"])?.success()?.stdout;
    host.countersign(&["key", "rotate", "--no-wait"])?.success()?;
    for code in fob.codes(0, 4)? {
        assert_eq!(log_in(&host, &code)?, PAM_SUCCESS);
        host.daemon().kill()?;
        host.start_daemon()?;
        assert_ne!(log_in(&host, &code)?, PAM_SUCCESS, "a spent code is spent under any key");
        host.countersign(&["unlock", "alice"])?.success()?;
    }
    let status = scenarios::wait("the end of the rotation", || {
        let status = host.countersign(&["key", "status", "--json"])?.success()?.stdout;
        Ok(status.contains("\"previous\": null").then_some(status))
    })?;
    assert_ne!(old, status);
    assert!(!host.has("/var/lib/countersign/master.key.previous"));
    let listed = host.countersign(&["list", "--state", "altered"])?.success()?.stdout;
    assert!(listed.contains("No account matches"), "{listed}");
    Ok(())
}

/// Somebody who logs in with one code after the other.
struct Person {
    name: &'static str,
    codes: Vec<String>,
}

impl Person {
    /// Imported on the host, with a fob of so many codes.
    fn new(host: &Host, name: &'static str, number: u32, codes: u32) -> Result<Self> {
        let (fob, codes) = HotpKey::distinct(number, codes)?;
        host.import_hotp(name, &fob)?;
        Ok(Self { name, codes })
    }

    /// Logs in until there is no code left or it is told to stop; tells how many codes were accepted, and the longest
    /// login.
    fn log_in_until(&self, host: &Host, stop: &AtomicBool) -> Result<(usize, Duration)> {
        let mut longest = Duration::ZERO;
        for (used, code) in self.codes.iter().enumerate() {
            if stop.load(Ordering::Relaxed) {
                return Ok((used, longest));
            }
            let attempt = host.attempt("door", self.name, &[code])?;
            if attempt.result != PAM_SUCCESS {
                bail!("{} was refused: {attempt:?}\n{}", self.name, host.diagnosis());
            }
            longest = longest.max(attempt.took);
        }
        bail!("{} has no code left", self.name)
    }
}

/// Does `work` while everybody logs in. Tells how many codes of each were accepted; none of them was refused, and none
/// had to wait.
fn while_people_log_in(host: &Host, people: &[Person], work: impl FnOnce() -> Result<()>) -> Result<Vec<usize>> {
    let stop = AtomicBool::new(false);
    let (worked, logins) = thread::scope(|scope| {
        let logins: Vec<_> = people.iter().map(|person| scope.spawn(|| person.log_in_until(host, &stop))).collect();
        let worked = work();
        stop.store(true, Ordering::Relaxed);
        (
            worked,
            logins.into_iter().map(|login| login.join().expect("a thread that does not panic")).collect::<Vec<_>>(),
        )
    });
    worked?;
    let logins = logins.into_iter().collect::<Result<Vec<_>>>()?;
    let longest = logins.iter().map(|(_, longest)| *longest).max().unwrap_or_default();
    println!("logins: {:?}, the longest {longest:?}", logins.iter().map(|(used, _)| *used).collect::<Vec<_>>());
    assert!(logins.iter().all(|(used, _)| *used > 0), "nobody logged in meanwhile");
    assert!(longest < LONGEST_LOGIN, "{longest:?}");
    Ok(logins.into_iter().map(|(used, _)| used).collect())
}

/// Sums of everything that the state is, but of the empty lock.
fn state(host: &Host) -> Result<String> {
    let sums = "cd $0 && find . -type f ! -name lock -exec sha256sum {} + | sort; find . | sort";
    Ok(host.run(&["sh", "-c", sums, STATE])?.success()?.stdout)
}

fn import_many(host: &Host, count: u32) -> Result<()> {
    let uris: String = (0..count).map(|number| HotpKey::numbered(number).uri(&format!("person{number}"))).collect();
    host.write("/root/people", &uris)?;
    host.countersign(&["import", "otpauth", "/root/people"])?.success()?;
    Ok(())
}

#[test]
fn a_backup_under_load_revives_no_code_of_any_kind_on_another_host() -> Result<()> {
    let scratch_codes = ["87654321", "12345678", "23456789"];
    let hosts = || builder().user_without_password("bob").user_without_password("carol").start();
    let old = hosts()?;
    // First the phone: with it alice gets recovery codes, which would replace scratch codes.
    let phone = old.enrol("alice")?;
    let people = [Person::new(&old, "bob", 41, 3000)?, Person::new(&old, "carol", 42, 3000)?];
    let file = format!("{}\n\" TOTP_AUTH\n{}\n", HotpKey::numbered(43).secret, scratch_codes.join("\n"));
    old.write("/home/alice/.google_authenticator", &file)?;
    old.run(&["sh", "-c", "cd /home/alice && chown alice .google_authenticator && chmod 0400 .google_authenticator"])?;
    let own = "/home/alice/.google_authenticator";
    old.countersign(&["import", "google-authenticator", own, "--user", "alice", "--apply"])?.success()?;

    let before = [old.code(&phone, 0)?, phone.recovery_codes[0].clone(), scratch_codes[0].to_owned()];
    for code in &before {
        assert_eq!(log_in(&old, code)?, PAM_SUCCESS, "{code}");
    }
    let used = while_people_log_in(&old, &people, || {
        // The first is the one that comes back; the others show that one does not keep the next from being made.
        for file in [FILE, "/root/second", "/root/third"] {
            keep(&old, &["backup", file])?.success()?;
        }
        Ok(())
    })?;
    let after = [old.code(&phone, 1)?, phone.recovery_codes[1].clone(), scratch_codes[1].to_owned()];
    for code in &after {
        assert_eq!(log_in(&old, code)?, PAM_SUCCESS, "{code}");
    }
    old.countersign(&["audit", "--verify"])?.success()?;

    let new = hosts()?;
    carry(&old, &new)?;
    new.daemon().stop()?;
    keep(&new, &["restore", FILE])?.success()?;
    new.start_daemon()?;
    new.countersign(&["audit", "--verify"])?.success()?;
    let refused = |user: &str, code: &str| -> Result<()> {
        let attempt = new.attempt("door", user, &[code])?;
        assert_ne!(attempt.result, PAM_SUCCESS, "{user} got in again with {code}");
        new.countersign(&["unlock", user])?.success()?;
        Ok(())
    };
    for code in before.iter().chain(&after) {
        refused("alice", code)?;
    }
    for (person, used) in people.iter().zip(used) {
        // All around the instant of the backup, and the last ones.
        for code in person.codes[..used].iter().rev().take(6).chain(&person.codes[..used.min(6)]) {
            refused(person.name, code)?;
        }
    }
    new.countersign(&["enable", "alice"])?.success()?;
    assert_eq!(log_in(&new, scratch_codes[2])?, PAM_SUCCESS);
    assert_eq!(log_in(&new, scratch_codes[0])?, PAM_AUTH_ERR, "spent before the backup");
    Ok(())
}

#[test]
fn while_the_key_is_rotated_nobody_is_refused_and_nobody_waits() -> Result<()> {
    let host = builder().user_without_password("bob").start()?;
    let people = [Person::new(&host, "alice", 51, 3000)?, Person::new(&host, "bob", 52, 3000)?];
    import_many(&host, 4000)?;
    let keys = || -> Result<String> { Ok(host.countersign(&["key", "status", "--json"])?.success()?.stdout) };
    let first = keys()?;
    let used = while_people_log_in(&host, &people, || {
        host.countersign(&["key", "rotate"])?.success()?;
        host.countersign(&["key", "rotate"])?.success()?;
        Ok(())
    })?;
    assert_ne!(first, keys()?);
    assert!(!host.has("/var/lib/countersign/master.key.previous") && !host.has("/var/lib/countersign/master.key.next"));
    for (person, used) in people.iter().zip(used) {
        let again = host.attempt("door", person.name, &[&person.codes[used - 1]])?;
        assert_eq!(again.result, PAM_AUTH_ERR, "{again:?}");
        assert_eq!(host.attempt("door", person.name, &[&person.codes[used]])?.result, PAM_SUCCESS);
    }
    host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}

/// Lets a command of the tool run for a random time and kills something then; tells whether the command had ended in order.
fn kill_during(
    host: &Host,
    words: &[&str],
    most: Duration,
    random: &mut Random,
    kill: impl FnOnce() -> Result<()>,
) -> Result<bool> {
    let mut command =
        host.command("root", &[&["sh", "-c", "exec countersign \"$@\" </root/passphrase", "sh"], words].concat())?;
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut child = command.spawn()?;
    let most = usize::try_from(most.as_micros())?;
    thread::sleep(Duration::from_micros(random.below(most) as u64));
    kill()?;
    Ok(child.wait()?.success())
}

/// The tool, wherever it is in its work.
fn kill_tool(host: &Host) -> Result<()> {
    // Where it has ended already, there is nothing to be killed.
    host.run(&["pkill", "-KILL", "-x", "countersign"]).map(drop)
}

#[test]
fn twenty_kills_during_backups_leave_whole_backups_or_none_and_the_host_as_it_was() -> Result<()> {
    let host = host()?;
    let person = Person::new(&host, "alice", 61, 100)?;
    import_many(&host, 500)?;
    host.write("/root/passphrase", str::from_utf8(PASSPHRASE)?)?;
    let mut random = Random::new(seed());
    println!("SCENARIO_SEED={}", seed());
    let (mut whole, mut next) = (0, 0);
    for round in 0..2 * KILLS {
        let words = ["backup", FILE, "--passphrase-fd", "0"];
        let of_daemon = round % 2 == 1;
        let done = kill_during(&host, &words, Duration::from_millis(2500), &mut random, || {
            if of_daemon { host.daemon().kill() } else { kill_tool(&host) }
        })?;
        if of_daemon {
            host.start_daemon()?;
        }
        assert!(!done || host.has(FILE), "round {round}: there is no backup");
        if host.has(FILE) {
            // What has the name is whole: it is opened and compared to its last byte by whoever restores it.
            let new = Host::build().daemon_waits().start()?;
            carry(&host, &new)?;
            keep(&new, &["restore", FILE])?.success()?;
            host.run(&["rm", FILE])?.success()?;
            whole += 1;
        }
        let attempt = host.attempt("door", "alice", &[&person.codes[next]])?;
        assert_eq!(attempt.result, PAM_SUCCESS, "round {round}: {attempt:?}\n{}", host.diagnosis());
        next += 1;
    }
    println!("{whole} backups were whole");
    // And one that nobody disturbs is made, whatever was left.
    keep(&host, &["backup", FILE])?.success()?;
    assert!(!host.has("/root/backup.age.partial"));
    host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}

#[test]
fn twenty_kills_during_restores_leave_the_old_state_or_the_restored_one() -> Result<()> {
    let host = host()?;
    let person = Person::new(&host, "alice", 71, 20)?;
    import_many(&host, 500)?;
    assert_eq!(log_in(&host, &person.codes[0])?, PAM_SUCCESS);
    keep(&host, &["backup", FILE])?.success()?;
    assert_eq!(log_in(&host, &person.codes[1])?, PAM_SUCCESS);
    host.write("/root/passphrase", str::from_utf8(PASSPHRASE)?)?;
    let mut random = Random::new(seed());
    println!("SCENARIO_SEED={}", seed());
    let mut restored = 0;
    for round in 0..2 * KILLS {
        host.daemon().stop()?;
        let words = ["restore", FILE, "--replace", "--trust-counters", "--yes", "--passphrase-fd", "0"];
        let done = kill_during(&host, &words, Duration::from_millis(1500), &mut random, || {
            let program = if round % 2 == 0 { "countersign" } else { "countersignd" };
            host.run(&["pkill", "-KILL", "-x", program]).map(drop)
        })?;
        restored += usize::from(done);
        // The program that the tool began goes on without it, and gives up for want of the rest.
        scenarios::wait("the end of the restore", || {
            Ok((!host.run(&["pgrep", "-x", "countersignd"])?.succeeded()).then_some(()))
        })?;
        host.start_daemon().with_context(|| format!("round {round}"))?;
        for spent in &person.codes[..2] {
            assert_eq!(log_in(&host, spent)?, PAM_AUTH_ERR, "round {round}: {spent}");
        }
        // A fob's spent code is a wrong one: where two rounds restored nothing, it would be the lock that refuses.
        host.countersign(&["enable", "alice"])?.success()?;
        let altered = host.countersign(&["list", "--state", "altered"])?.success()?.stdout;
        assert!(altered.contains("No account matches"), "round {round}: {altered}");
        host.countersign(&["audit", "--verify"])?.success()?;
    }
    println!("{restored} restores were done before the kill");
    assert_eq!(log_in(&host, &person.codes[2])?, PAM_SUCCESS, "nothing was lost");
    let listed = host.run(&["sh", "-c", "countersign list --json | grep -c '\"account\"'"])?;
    println!("{}", listed.stdout);
    assert!(!host.has("/var/lib/countersign/.restore"));
    Ok(())
}

#[test]
fn twenty_kills_while_the_key_is_rotated_lose_nobody_and_no_key() -> Result<()> {
    let host = host()?;
    let person = Person::new(&host, "alice", 81, 100)?;
    import_many(&host, 2000)?;
    host.write("/root/passphrase", "")?;
    let mut random = Random::new(seed());
    println!("SCENARIO_SEED={}", seed());
    for (round, code) in person.codes.iter().take(KILLS).enumerate() {
        kill_during(&host, &["key", "rotate"], Duration::from_millis(250), &mut random, || host.daemon().kill())?;
        // A second one while it opens the store and goes on.
        host.start_daemon_and_kill(Duration::from_millis(random.below(40) as u64))?;
        host.start_daemon().with_context(|| format!("round {round}"))?;
        let attempt = host.attempt("door", "alice", &[code])?;
        assert_eq!(attempt.result, PAM_SUCCESS, "round {round}: {attempt:?}\n{}", host.diagnosis());
    }
    scenarios::wait("the end of the last rotation", || {
        let status = host.countersign(&["key", "status", "--json"])?.success()?.stdout;
        Ok(status.contains("\"previous\": null").then_some(()))
    })?;
    let altered = host.countersign(&["list", "--state", "altered"])?.success()?.stdout;
    assert!(altered.contains("No account matches"), "{altered}");
    let keys = host.run(&["sh", "-c", "ls -A /var/lib/countersign | grep -i key"])?.stdout;
    assert_eq!(keys, "master.key\n");
    host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}

#[test]
fn every_restore_that_is_refused_says_why_and_changes_nothing() -> Result<()> {
    let host = builder().state_on_a_disk().start()?;
    let person = Person::new(&host, "alice", 91, 20)?;
    assert_eq!(log_in(&host, &person.codes[0])?, PAM_SUCCESS);
    keep(&host, &["backup", FILE])?.success()?;
    let refused = |words: &[&str], passphrase: &[u8], why: &str| -> Result<()> {
        let before = state(&host)?;
        let words = [&["countersign", "restore"], words, &["--passphrase-fd", "0"]].concat();
        let refused = host.feed_as("root", &words, passphrase)?;
        let text = refused.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!refused.succeeded() && text.contains(why) && text.contains("othing was changed"), "{why}: {refused}");
        assert!(!refused.stderr.contains("horse"), "{refused}");
        assert_eq!(state(&host)?, before, "{why}");
        Ok(())
    };
    let replace = [FILE, "--replace", "--yes"];
    host.daemon().stop()?;
    refused(&replace, b"correct horse batteries\n", "the passphrase is wrong")?;
    refused(&[FILE], PASSPHRASE, "--replace")?;
    let whole = host.read(FILE)?;
    for at in [60, 120, 250, whole.len() / 2, whole.len() - 1] {
        let mut altered = whole.clone();
        altered[at] ^= 1;
        std::fs::write(host.outside("/root/altered"), altered)?;
        refused(&["/root/altered", "--replace", "--yes"], PASSPHRASE, "cannot be restored")?;
    }
    refused(&["/etc/passwd", "--replace", "--yes"], PASSPHRASE, "no age file that a passphrase opens")?;

    // Opened, given a newer schema, and sealed again, by the age program.
    let passphrase = "correct horse battery";
    let opened = host.terminal("root", &["age", "-d", "-o", "/root/opened", FILE]);
    opened.answer_unseen("Enter passphrase", passphrase).end()?.success()?;
    let mut newer = host.read("/root/opened")?;
    assert!(newer.starts_with(b"countersign-backup 1\n"));
    // PRAGMA user_version (SQLite's file format, 1.3.14), behind the header, the key and the size.
    let version = 21 + 32 + 8 + 60;
    newer[version..version + 4].copy_from_slice(&99_u32.to_be_bytes());
    std::fs::write(host.outside("/root/newer"), newer)?;
    let sealed = host.terminal("root", &["age", "-p", "-o", "/root/newer.age", "/root/newer"]);
    sealed
        .answer_unseen("Enter passphrase", passphrase)
        .answer_unseen("Confirm passphrase", passphrase)
        .end()?
        .success()?;
    refused(&["/root/newer.age", "--replace", "--yes"], PASSPHRASE, "schema 99")?;

    let filler = "/var/lib/countersign/filler";
    host.run(&["sh", "-c", "cat /dev/zero >$0; sync", filler])?;
    refused(&replace, PASSPHRASE, "No space left on device")?;
    host.run(&["rm", filler])?.success()?;

    host.start_daemon()?;
    let words = ["countersign", "restore", FILE, "--replace", "--yes", "--passphrase-fd", "0"];
    let beside = host.feed_as("root", &words, PASSPHRASE)?;
    assert!(!beside.succeeded() && beside.stderr.contains("stop it first"), "{beside}");
    assert_eq!(log_in(&host, &person.codes[0])?, PAM_AUTH_ERR);
    assert_eq!(log_in(&host, &person.codes[1])?, PAM_SUCCESS);
    host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}
