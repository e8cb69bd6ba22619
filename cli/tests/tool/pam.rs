//! `countersign pam` before it looks at anything: what it does not take. The switching itself is played on scratch hosts
//! (tests/tests/scenarios/switching.rs), because it changes PAM's files.

use crate::stage::{Outcome, Stage};

fn run(arguments: &str) -> Outcome {
    let stage = Stage::without_service();
    stage.run(&arguments.split(' ').collect::<Vec<_>>(), "")
}

#[test]
fn what_makes_no_sense_is_wrong_usage_and_says_what_does() {
    for (arguments, says) in [
        ("pam enable", "<SERVICE|--common>"),
        ("pam enable sshd --common", "cannot be used with"),
        ("pam enable --common --first-factor key", "cannot be used with"),
        ("pam enable sshd --first-factor finger", "possible values: password, key, none"),
        ("pam enable sshd --yes --for 5s", "--for: 5s is no time from 10s to 1d"),
        ("pam enable sshd --yes --for 2d", "--for: 2d is no time from 10s to 1d"),
        ("pam enable ../sshd --yes --no-try", "is no PAM service"),
        ("pam enable common-auth --yes --no-try", "is shared by services"),
        ("pam disable", "<SERVICE|--common>"),
        // Nobody is there to answer.
        ("pam enable sshd", "there is no terminal to ask at"),
        ("pam disable sshd", "there is no terminal to ask at"),
    ] {
        let outcome = run(arguments);
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(2), ""), "{arguments}: {outcome:?}");
        assert!(outcome.err.contains(says), "{arguments}: {outcome:?}");
    }
}
