//! Moving over from pam_google_authenticator and pam_oath: files that the real programs wrote and real logins moved on,
//! and a host that has both modules for a time.

mod many;
mod real_files;

use anyhow::{Context, Result};
use scenarios::{Enrolment, Host, PAM_AUTH_ERR, PAM_SUCCESS, Stack};
use serde_json::Value;

const PASSWORD: &str = "correct horse";
const FILE: &str = ".google_authenticator";

/// A host with the old module at the service `old` and ours at `door`.
fn host(people: &[&str], old: &str) -> Result<Host> {
    let builder = people.iter().fold(Host::build(), |host, name| host.user(name, PASSWORD));
    let host = builder.configuration("fail_delay = \"0s\"\n").pam(Stack::code_alone("door")).start()?;
    host.write("/etc/pam.d/old", &format!("auth required {old}\naccount required pam_permit.so\n"))?;
    Ok(host)
}

/// What `google-authenticator` wrote for somebody, as lines.
fn written(host: &Host, user: &str) -> Result<Vec<String>> {
    let text = String::from_utf8(host.read(&format!("/home/{user}/{FILE}"))?)?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn scratch_codes(lines: &[String]) -> Vec<&str> {
    lines.iter().skip(1).map(String::as_str).filter(|line| line.len() == 8 && !line.starts_with('"')).collect()
}

/// Runs the real program as its user.
fn make(host: &Host, user: &str, options: &str) -> Result<Enrolment> {
    let command = format!("HOME=/home/{user} google-authenticator -f -q -C -Q NONE {options}");
    host.run_as(user, &["sh", "-c", &command])?.success()?;
    let secret = written(host, user)?.first().context("no secret")?.clone();
    Ok(totp(&secret, 30))
}

fn totp(secret: &str, period: u64) -> Enrolment {
    let secret = secret.to_owned();
    Enrolment { secret, uri: String::new(), algorithm: "SHA1".into(), digits: 6, period, recovery_codes: Vec::new() }
}

fn import(host: &Host, arguments: &[&str]) -> Result<Value> {
    let outcome = host.countersign(&[&["import"], arguments, &["--json"]].concat())?;
    serde_json::from_str(&outcome.stdout).with_context(|| outcome.to_string())
}

fn outcomes(printed: &Value) -> Vec<(&str, &str)> {
    printed["records"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|record| Some((record["account"].as_str()?, record["outcome"].as_str()?)))
        .collect()
}

fn attempt(host: &Host, service: &str, user: &str, code: &str) -> Result<i32> {
    Ok(host.attempt(service, user, &[code])?.result)
}

#[test]
fn files_of_the_real_google_authenticator_are_taken_over_and_no_code_works_twice() -> Result<()> {
    let host = host(&["alice", "bob", "carol", "dave"], "pam_google_authenticator.so")?;
    let alice = make(&host, "alice", "-t -d -w 3 -r 3 -R 30 -e 5")?;
    let bob = make(&host, "bob", "-c -u -W -e 3")?;
    let carol = make(&host, "carol", "-t -D -w 17 -u -S 60 -e 1")?;
    make(&host, "dave", "-t -d -w 3 -u -e 10")?;

    // Real logins move the files on: a code, a scratch code, a counter.
    let used = host.code(&alice, 0)?;
    assert_eq!(attempt(&host, "old", "alice", &used)?, PAM_SUCCESS);
    let alices = written(&host, "alice")?;
    let alices = scratch_codes(&alices);
    assert_eq!(attempt(&host, "old", "alice", alices[0])?, PAM_SUCCESS);
    let counted = scenarios::HotpKey { secret: bob.secret.clone() }.codes(1, 4)?;
    assert_eq!(attempt(&host, "old", "bob", &counted[0])?, PAM_SUCCESS);
    assert_eq!(attempt(&host, "old", "bob", &counted[1])?, PAM_SUCCESS);

    // Without --apply nothing changes; with it all are there, and a second time nothing changes.
    let everybody = ["alice", "bob", "carol", "dave"];
    let dry = import(&host, &["google-authenticator"])?;
    assert_eq!(outcomes(&dry), everybody.map(|name| (name, "added")), "{dry}");
    assert!(host.countersign(&["status", "alice", "--json"])?.says("\"not-enrolled\""));
    let done = import(&host, &["google-authenticator", "--apply"])?;
    assert_eq!(outcomes(&done), everybody.map(|name| (name, "added")), "{done}");
    let again = import(&host, &["google-authenticator", "--apply"])?;
    assert_eq!(outcomes(&again), everybody.map(|name| (name, "present")), "{again}");
    let told = done.to_string();
    assert!(told.contains("its wider window becomes one step before and after"), "{told}");
    assert!(!told.contains(&alice.secret) && !alices.iter().any(|code| told.contains(code)), "{told}");

    // What was used there is used here; the next one works, once.
    assert_eq!(attempt(&host, "door", "alice", &used)?, PAM_AUTH_ERR);
    let next = host.code(&alice, 1)?;
    assert_eq!(attempt(&host, "door", "alice", &next)?, PAM_SUCCESS);
    assert_eq!(attempt(&host, "door", "alice", &next)?, PAM_AUTH_ERR);
    assert_eq!(attempt(&host, "door", "alice", alices[0])?, PAM_AUTH_ERR);
    for code in &alices[1..] {
        assert_eq!(attempt(&host, "door", "alice", code)?, PAM_SUCCESS, "{code}");
        assert_eq!(attempt(&host, "door", "alice", code)?, PAM_AUTH_ERR, "{code}");
    }
    assert_eq!(attempt(&host, "door", "bob", &counted[1])?, PAM_AUTH_ERR);
    assert_eq!(attempt(&host, "door", "bob", &counted[2])?, PAM_SUCCESS);
    let carol = Enrolment { period: 60, ..carol };
    assert_eq!(attempt(&host, "door", "carol", &host.code(&carol, 0)?)?, PAM_SUCCESS);
    let daves = written(&host, "dave")?;
    let daves = scratch_codes(&daves);
    assert_eq!(daves.len(), 10);
    for code in daves {
        assert_eq!(attempt(&host, "door", "dave", code)?, PAM_SUCCESS, "{code}");
    }
    Ok(())
}

#[test]
fn what_lies_below_a_home_is_read_as_its_owner_and_nothing_else_is_taken() -> Result<()> {
    let host = host(&["alice", "bob", "carol", "dave", "erin", "frank"], "pam_deny.so")?;
    make(&host, "alice", "-t -d -w 3 -u")?;
    let prepare = "set -e; cd /home
        install -o root -m 0600 alice/.google_authenticator bob/.google_authenticator
        ln -s /etc/shadow carol/.google_authenticator
        mkfifo dave/.google_authenticator; chown dave dave/.google_authenticator
        install -o erin -m 0660 alice/.google_authenticator erin/.google_authenticator
        head -c 104857600 /dev/zero >frank/.google_authenticator; chown frank frank/.google_authenticator
        mkdir -p old-alice && install -o alice -m 0600 alice/.google_authenticator old-alice/ && chown alice old-alice
        mkdir -p orphan && chown 54321 orphan && install -o 54321 -m 0600 alice/.google_authenticator orphan/";
    host.run(&["sh", "-c", prepare])?.success()?;
    let printed = import(&host, &["google-authenticator", "--apply"])?;
    let expected = [
        ("alice", ""),
        ("bob", "it cannot be opened: Permission denied"),
        ("carol", "it is a symbolic link"),
        ("dave", "it is a FIFO"),
        ("erin", "others may write it (mode 0660)"),
        ("frank", "it is larger than 64 KiB"),
        ("alice", "alice's home is /home/alice"),
        ("", "the home belongs to uid 54321"),
    ];
    let records = printed["records"].as_array().context("no records")?;
    assert_eq!(records.len(), expected.len(), "{printed}");
    for (record, (account, reason)) in records.iter().zip(expected) {
        let remark = record["remarks"][0].as_str().unwrap_or_default();
        assert_eq!(record["account"].as_str(), Some(account), "{record}");
        assert!(remark.starts_with(reason), "{record}");
        assert_eq!(record["outcome"] == "refused", !reason.is_empty(), "{record}");
    }
    let one = import(&host, &["google-authenticator", "/home/bob/.google_authenticator", "--user", "bob", "--apply"])?;
    assert_eq!(outcomes(&one), [("bob", "added")], "{one}");
    let refused = host.run_as("alice", &["countersign", "import", "google-authenticator", "--apply"])?;
    assert!(!refused.succeeded(), "{refused}");
    Ok(())
}

#[test]
fn a_usersfile_that_real_logins_through_pam_oath_moved_on_is_taken_over() -> Result<()> {
    let host = host(&["alice", "bob"], "pam_oath.so usersfile=/etc/users.oath window=5 digits=6")?;
    let hex = "3132333435363738393031323334353637383930";
    let base32 = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
    host.write("/etc/users.oath", &format!("# people\nHOTP\talice\t-\t{hex}\nHOTP/T30/6\tbob\t-\t{hex}\n"))?;
    host.run(&["chmod", "0600", "/etc/users.oath"])?.success()?;
    let counted = scenarios::HotpKey { secret: base32.into() }.codes(0, 5)?;
    assert_eq!(attempt(&host, "old", "alice", &counted[0])?, PAM_SUCCESS);
    assert_eq!(attempt(&host, "old", "alice", &counted[2])?, PAM_SUCCESS);
    let bob = totp(base32, 30);
    let used = host.code(&bob, 0)?;
    assert_eq!(attempt(&host, "old", "bob", &used)?, PAM_SUCCESS);
    let left = String::from_utf8(host.read("/etc/users.oath")?)?;
    assert!(left.contains(&counted[2]) && left.contains(&used), "pam_oath moved nothing on: {left}");

    let done = import(&host, &["oath", "/etc/users.oath"])?;
    assert_eq!(outcomes(&done), [("alice", "added"), ("bob", "added")], "{done}");
    assert_eq!(done["records"][0]["remarks"], Value::Array(Vec::new()), "{done}");
    assert_eq!(done["records"][1]["remarks"], Value::Array(Vec::new()), "{done}");
    for used in [&counted[1], &counted[2]] {
        assert_eq!(attempt(&host, "door", "alice", used)?, PAM_AUTH_ERR, "{used}");
    }
    assert_eq!(attempt(&host, "door", "alice", &counted[3])?, PAM_SUCCESS);
    assert_eq!(attempt(&host, "door", "bob", &used)?, PAM_AUTH_ERR);
    assert_eq!(attempt(&host, "door", "bob", &host.code(&bob, 1)?)?, PAM_SUCCESS);
    Ok(())
}

/// The lines of docs/moving.md for a service.
fn both_modules(old: &str) -> String {
    format!(
        "auth requisite pam_unix.so nodelay\n\
         auth [success=done ignore=ignore default=die] pam_countersign.so\n\
         auth required {old}\naccount required pam_permit.so\n"
    )
}

#[test]
fn while_both_modules_are_there_everybody_gets_in_by_one_of_them_and_at_the_end_the_old_one_goes() -> Result<()> {
    let people = ["alice", "bob"];
    let builder = people.iter().fold(Host::build(), |host, name| host.user(name, PASSWORD));
    let moving = "fail_delay = \"0s\"\n[[rule]]\nname = \"moving\"\nunenrolled = \"pass\"\n";
    let host = builder.configuration(moving).start()?;
    host.write("/etc/pam.d/gate", &both_modules("pam_google_authenticator.so"))?;
    let alice = make(&host, "alice", "-t -d -w 3 -u")?;
    let bob = make(&host, "bob", "-t -d -w 3 -u")?;
    let enter = |user: &str, replies: &[&str]| Ok::<_, anyhow::Error>(host.attempt("gate", user, replies)?.result);

    // Before anybody is imported the old module asks alone.
    let first = host.code(&alice, 0)?;
    assert_eq!(enter("alice", &[PASSWORD, &first])?, PAM_SUCCESS);
    assert_ne!(enter("alice", &[PASSWORD, &first])?, PAM_SUCCESS);
    assert_ne!(enter("alice", &["wrong", &host.code(&alice, 1)?])?, PAM_SUCCESS);

    // Alice moves: ours asks her, the old one does not; bob goes on as before.
    let file = format!("/home/alice/{FILE}");
    import(&host, &["google-authenticator", &file, "--user", "alice", "--apply"])?;
    assert_ne!(enter("alice", &[PASSWORD, &first])?, PAM_SUCCESS, "a used code works again");
    let next = host.code(&alice, 1)?;
    assert_eq!(enter("alice", &[PASSWORD, &next])?, PAM_SUCCESS);
    assert_ne!(enter("alice", &[PASSWORD, &next])?, PAM_SUCCESS);
    assert_ne!(enter("alice", &[PASSWORD, &host.wrong_code(&alice)?, &host.code(&alice, 1)?])?, PAM_SUCCESS);
    let bobs = host.code(&bob, 0)?;
    assert_eq!(enter("bob", &[PASSWORD, &bobs])?, PAM_SUCCESS);

    // Whoever is disabled is not passed on to the old module.
    host.countersign(&["disable", "alice"])?.success()?;
    assert_ne!(enter("alice", &[PASSWORD, &host.code(&alice, 1)?])?, PAM_SUCCESS);
    host.countersign(&["enable", "alice"])?.success()?;

    // The end: everybody is imported, the rule and the old module go.
    let done = import(&host, &["google-authenticator", "--apply"])?;
    assert_eq!(done["refused"], 0, "{done}");
    host.write("/etc/countersign/countersign.toml", "fail_delay = \"0s\"\n")?;
    host.daemon().reload()?;
    host.logged(&[("event", "reload"), ("outcome", "granted")])?;
    let ours = "auth requisite pam_unix.so nodelay\nauth requisite pam_countersign.so\nauth required pam_permit.so\n";
    host.write("/etc/pam.d/gate", &format!("{ours}account required pam_permit.so\n"))?;
    for name in people {
        host.run(&["shred", "-u", &format!("/home/{name}/{FILE}")])?.success()?;
    }
    assert_ne!(enter("bob", &[PASSWORD, &bobs])?, PAM_SUCCESS, "a used code works again");
    assert_eq!(enter("bob", &[PASSWORD, &host.code(&bob, 1)?])?, PAM_SUCCESS);
    Ok(())
}
