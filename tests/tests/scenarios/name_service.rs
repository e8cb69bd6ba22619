//! The name service of a running daemon is slow, hangs, fails, is gone or changes its mind: no error of it is an
//! answer, nobody is let in or charged by it, and people whom it does not concern log in as always.

use std::{thread, time::Duration};

use anyhow::Result;
use scenarios::{
    Attempt, Host, HostBuilder, HotpKey, NameService, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_MAXTRIES, PAM_SUCCESS,
    Stack, wait,
};

/// `carol` and others are known to the directory, `bob` to the host's own files.
const DIRECTORY: [(&str, u32); 6] =
    [("carol", 61_101), ("dora", 61_102), ("emil", 61_103), ("fred", 61_104), ("gina", 61_105), ("hugo", 61_106)];

/// The daemon's bound on a look-up is 2 s unless it is set.
const BOUND: Duration = Duration::from_secs(2);
/// What is quick beside it.
const AT_ONCE: Duration = Duration::from_millis(900);

const FORGET: &str = "[nss]\ncache = \"0s\"\n";

fn builder(configuration: &str) -> Result<HostBuilder> {
    let host = Host::build().user_without_password("bob").pam(Stack::code_alone("door"));
    host.configuration(configuration).name_service(&DIRECTORY)
}

/// Gives each of them a fob; returns their first codes.
fn fobs(host: &Host, users: &[&str]) -> Result<Vec<Vec<String>>> {
    let mut codes = Vec::new();
    for (user, seed) in users.iter().zip(40..) {
        let (fob, first) = HotpKey::distinct(seed, 12)?;
        host.import_hotp(user, &fob)?;
        codes.push(first);
    }
    Ok(codes)
}

/// Logs all of them in at one time.
fn together(host: &Host, logins: &[(&str, &str)]) -> Result<Vec<Attempt>> {
    thread::scope(|scope| {
        let begin = |(user, code): &(&str, &str)| {
            let (user, code) = ((*user).to_owned(), (*code).to_owned());
            scope.spawn(move || host.attempt("door", &user, &[&code]))
        };
        let logins: Vec<_> = logins.iter().map(begin).collect();
        logins.into_iter().map(|login| login.join().unwrap()).collect()
    })
}

fn is_let_in(host: &Host, user: &str, code: &str) -> Result<()> {
    let attempt = host.attempt("door", user, &[code])?;
    assert_eq!(attempt.result, PAM_SUCCESS, "{user}: {attempt:?}\n{}", host.diagnosis());
    assert!(attempt.took < AT_ONCE, "{user}: {attempt:?}");
    Ok(())
}

fn refused_by_the_name_service(host: &Host, user: &str) -> Result<()> {
    let fields = [("event", "verification"), ("outcome", "refused"), ("account", user), ("reason", "name-service")];
    host.logged(&fields).map(drop)
}

#[test]
fn a_look_up_slower_than_the_bound_refuses_charges_nothing_and_holds_nobody_else() -> Result<()> {
    let host = builder(FORGET)?.start()?;
    let codes = fobs(&host, &["bob", "carol", "dora", "emil"])?;
    host.name_service(NameService::Slow(3000), &DIRECTORY)?;
    let slow = thread::scope(|scope| {
        let slow = [("carol", 1), ("dora", 2), ("emil", 3)].map(|(user, index)| (user, codes[index][0].as_str()));
        let host = &host;
        let slow = scope.spawn(move || together(host, &slow));
        // Three of the four threads wait for the directory meanwhile; what the files answer has the fourth.
        for code in &codes[0][..10] {
            is_let_in(host, "bob", code)?;
        }
        slow.join().unwrap()
    })?;
    for attempt in slow {
        assert_eq!((attempt.result, attempt.prompts()), (PAM_AUTHINFO_UNAVAIL, 0), "{attempt:?}");
        assert!(attempt.took >= BOUND && attempt.took < BOUND + AT_ONCE, "{attempt:?}");
    }
    host.name_service(NameService::Answers, &DIRECTORY)?;
    for (user, codes) in ["carol", "dora", "emil"].iter().zip(&codes[1..]) {
        refused_by_the_name_service(&host, user)?;
        assert_eq!(host.failures(user)?, 0, "{user}");
        is_let_in(&host, user, &codes[0])?;
    }
    assert_eq!(host.charged(), []);
    Ok(())
}

#[test]
fn a_name_that_was_looked_up_a_moment_ago_does_not_wait_for_a_name_service_that_hangs() -> Result<()> {
    let host = builder("[nss]\ncache = \"60s\"\n")?.start()?;
    let codes = fobs(&host, &["carol"])?;
    is_let_in(&host, "carol", &codes[0][0])?;
    host.name_service(NameService::Hangs, &DIRECTORY)?;
    is_let_in(&host, "carol", &codes[0][1])?;
    Ok(())
}

#[test]
fn four_hanging_look_ups_refuse_at_once_and_logins_work_again_as_soon_as_it_answers() -> Result<()> {
    let host = builder("[nss]\ncache = \"0s\"\ntimeout = \"1s\"\n")?.start()?;
    let users = ["bob", "carol", "dora", "emil", "fred", "gina", "hugo"];
    let codes = fobs(&host, &users)?;
    host.name_service(NameService::Hangs, &DIRECTORY)?;
    // Six wait for four threads: two of them are given up before a thread takes them.
    let logins: Vec<(&str, &str)> =
        users.iter().zip(&codes).skip(1).map(|(user, codes)| (*user, codes[0].as_str())).collect();
    for attempt in together(&host, &logins)? {
        assert_eq!(attempt.result, PAM_AUTHINFO_UNAVAIL, "{attempt:?}");
        assert!(attempt.took < Duration::from_secs(1) + AT_ONCE, "{attempt:?}");
    }
    for (user, codes) in users.iter().zip(&codes) {
        let attempt = host.attempt("door", user, &[&codes[0]])?;
        assert_eq!(attempt.result, PAM_AUTHINFO_UNAVAIL, "{user}: {attempt:?}");
        assert!(attempt.took < AT_ONCE / 2, "{user} waits: {attempt:?}");
        refused_by_the_name_service(&host, user)?;
    }
    host.name_service(NameService::Answers, &DIRECTORY)?;
    let back = || Ok((host.attempt("door", "bob", &[&codes[0][0]])?.result == PAM_SUCCESS).then_some(()));
    wait("the name service to answer", back)?;
    for (user, codes) in users.iter().zip(&codes).skip(1) {
        is_let_in(&host, user, &codes[0])?;
    }
    assert_eq!(host.charged(), []);
    Ok(())
}

#[test]
fn an_error_of_the_name_service_is_never_taken_for_an_unknown_account() -> Result<()> {
    let host = builder(FORGET)?.start()?;
    let codes = fobs(&host, &["carol"])?;
    let errors = [
        NameService::TryAgain(libc::EAGAIN),
        NameService::Unavailable(libc::ECONNREFUSED),
        // What a directory whose socket is gone says; glibc says "no such account" without any error.
        NameService::Unavailable(libc::ENOENT),
        NameService::Unavailable(libc::ESRCH),
        NameService::Unavailable(libc::EACCES),
    ];
    for error in errors {
        host.name_service(error, &DIRECTORY)?;
        for user in ["carol", "nobody-knows"] {
            let attempt = host.attempt("door", user, &[&codes[0][0]])?;
            assert_eq!((attempt.result, attempt.prompts()), (PAM_AUTHINFO_UNAVAIL, 0), "{error:?} {user}: {attempt:?}");
        }
    }
    refused_by_the_name_service(&host, "carol")?;
    refused_by_the_name_service(&host, "nobody-knows")?;
    let unknown: Vec<_> = host.syslog().into_iter().filter(|line| line.text.contains("unknown-account")).collect();
    assert_eq!(unknown, [], "an error is no answer");
    host.name_service(NameService::Answers, &DIRECTORY)?;
    is_let_in(&host, "carol", &codes[0][0])
}

#[test]
fn a_name_service_that_was_removed_lets_nobody_in_whom_it_alone_knew_and_others_as_always() -> Result<()> {
    let host = builder(FORGET)?.start()?;
    let codes = fobs(&host, &["bob", "carol"])?;
    // glibc says of accounts of a service that is not installed that they do not exist.
    host.write("/etc/nsswitch.conf", "passwd: files nosuchservice\n")?;
    host.restart_daemon()?;
    let stranger = host.attempt("door", "carol", &[&codes[1][0]])?;
    assert_eq!(stranger.result, PAM_AUTH_ERR, "{stranger:?}");
    host.logged(&[("outcome", "refused"), ("account", "carol"), ("reason", "unknown-account")])?;
    is_let_in(&host, "bob", &codes[0][0])?;
    host.write("/etc/nsswitch.conf", "passwd: files countersigntest\n")?;
    // The running daemon sees it: what was charged to the unknown name stays with the unknown name.
    assert_eq!(host.failures("carol")?, 0);
    is_let_in(&host, "carol", &codes[1][0])
}

#[test]
fn two_names_of_one_uid_are_two_accounts() -> Result<()> {
    let uid_of_bob = 61_001;
    let twins = [("carol", uid_of_bob), ("dora", 61_102)];
    let host = builder(FORGET)?.start()?;
    host.name_service(NameService::Answers, &twins)?;
    let codes = fobs(&host, &["bob", "carol"])?;
    let by_himself = host.attempt_as("bob", "door", "carol", &[&codes[1][0]])?;
    assert_eq!(by_himself.result, PAM_SUCCESS, "the uid is carol's too: {by_himself:?}");
    let of_another = host.attempt_as("bob", "door", "dora", &[&codes[1][1]])?;
    assert_ne!(of_another.result, PAM_SUCCESS, "{of_another:?}");
    for (tries, code) in codes[0][..3].iter().enumerate() {
        let wrong = host.attempt("door", "carol", &[code])?;
        let expected = if tries < 2 { PAM_AUTH_ERR } else { PAM_MAXTRIES };
        assert_eq!(wrong.result, expected, "bob's code at carol's prompt: {wrong:?}");
    }
    assert_eq!(host.failures("bob")?, 0, "carol's failures are hers");
    is_let_in(&host, "bob", &codes[0][0])
}

#[test]
fn a_name_that_got_another_uid_is_a_stranger_until_an_administrator_resets_the_account() -> Result<()> {
    let host = builder(FORGET)?.start()?;
    let codes = fobs(&host, &["carol"])?;
    is_let_in(&host, "carol", &codes[0][0])?;
    host.name_service(NameService::Answers, &[("carol", 61_999)])?;
    let stranger = host.attempt("door", "carol", &[&codes[0][1]])?;
    assert_eq!(stranger.result, PAM_AUTH_ERR, "{stranger:?}");
    host.logged(&[("outcome", "refused"), ("account", "carol"), ("reason", "uid-changed")])?;

    host.name_service(NameService::Answers, &DIRECTORY)?;
    is_let_in(&host, "carol", &codes[0][1])?;
    assert_eq!(host.failures("carol")?, 0, "the stranger's failure is not hers");

    host.name_service(NameService::Answers, &[("carol", 61_999)])?;
    host.countersign(&["reset", "carol", "--yes"])?.success()?;
    let (fob, codes) = HotpKey::distinct(50, 2)?;
    host.import_hotp("carol", &fob)?;
    is_let_in(&host, "carol", &codes[0])
}

/// Who is in the directory's group is asked; bob has a rule of his own before; everybody else is let through.
const GROUPS: &str = "[nss]\ncache = \"0s\"\n[[rule]]\nname = \"bob\"\naccounts = [\"bob\"]\n\
                      [[rule]]\nname = \"directory\"\ngroups = [\"directory\"]\n\
                      [[rule]]\nname = \"rest\"\naction = \"skip\"\n";

#[test]
fn an_error_or_delay_while_groups_are_asked_for_turns_no_require_into_a_skip_and_holds_nobody_else() -> Result<()> {
    // dora and emil are the host's own, so that their groups alone come from the directory.
    let host = builder(GROUPS)?.user_without_password("dora").user_without_password("emil").start()?;
    let members = [("dora", 61_002)];
    host.name_service(NameService::Answers, &members)?;
    let codes = fobs(&host, &["bob", "dora"])?;
    is_let_in(&host, "dora", &codes[1][0])?;
    assert_eq!(host.attempt("door", "dora", &[])?.prompts(), 1, "who is in the group is asked");
    assert_eq!(host.attempt("door", "emil", &[])?.result, PAM_SUCCESS, "who is not in it is not");

    let errors = [NameService::TryAgain(libc::EAGAIN), NameService::Unavailable(libc::ECONNREFUSED)];
    for (error, code) in errors.into_iter().zip(&codes[0]) {
        host.name_service(error, &members)?;
        for user in ["dora", "emil"] {
            let attempt = host.attempt("door", user, &[&codes[1][1]])?;
            assert_eq!(attempt.result, PAM_AUTHINFO_UNAVAIL, "{error:?}, {user}: {attempt:?}");
        }
        is_let_in(&host, "bob", code)?;
    }
    refused_by_the_name_service(&host, "dora")?;

    host.name_service(NameService::Slow(3000), &members)?;
    let slow = thread::scope(|scope| {
        let host = &host;
        let slow = scope.spawn(|| together(host, &[("dora", &codes[1][1]), ("emil", "")]));
        for code in &codes[0][2..8] {
            is_let_in(host, "bob", code)?;
        }
        slow.join().unwrap()
    })?;
    for attempt in slow {
        assert_eq!((attempt.result, attempt.prompts()), (PAM_AUTHINFO_UNAVAIL, 0), "{attempt:?}");
    }
    host.name_service(NameService::Answers, &members)?;
    is_let_in(&host, "dora", &codes[1][1])?;
    assert_eq!(host.charged(), []);
    Ok(())
}
