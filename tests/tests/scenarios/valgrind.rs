//! The shipped module under valgrind(1), in an application that lives on after each login: nothing is lost, nothing is
//! read that was not written.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use scenarios::{Host, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_MAXTRIES, PAM_SUCCESS, Stack};

const PAM_SERVICE_ERR: i32 = 3;
const PAM_CONV_ERR: i32 = 19;

/// What valgrind ends with where it found something.
const FOUND: &str = "99";

/// One stack of the module alone, with these arguments.
fn stack(arguments: &str) -> String {
    format!("auth required pam_countersign.so {arguments}\n")
}

#[test]
fn valgrind_finds_no_leak_and_no_unwritten_byte_in_any_way_that_a_login_ends() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .user_without_password("bob")
        .configuration("fail_delay = \"0s\"\n")
        .pam(Stack::code_alone("door"))
        .file("/etc/pam.d/closed", &stack("socket=none bus=unix:path=/nonexistent/bus"))
        .file("/etc/pam.d/misspelt", &stack("no_such_argument"))
        .file("/etc/pam.d/talkative", &stack("debug"))
        .file("/etc/pam.d/over-the-bus", &stack("socket=none"))
        .start()?;
    let phone = host.enrol("alice")?;
    let wrong = host.wrong_code(&phone)?;
    let of_bob = host.wrong_code(&host.enrol("bob")?)?;
    let (first, second) = (host.code(&phone, 0)?, host.code(&phone, 1)?);
    let logins = [
        ("door", "alice", Some(first.as_str()), PAM_SUCCESS),
        ("door", "alice", Some(&first), PAM_AUTH_ERR),
        ("over-the-bus", "alice", Some(&second), PAM_SUCCESS),
        ("door", "alice", Some(&wrong), PAM_AUTH_ERR),
        ("door", "alice", Some(""), PAM_AUTH_ERR),
        ("door", "alice", Some("correct horse battery staple"), PAM_AUTH_ERR),
        ("talkative", "alice", Some("12\u{ff13}"), PAM_AUTH_ERR),
        ("door", "alice", None, PAM_CONV_ERR),
        ("door", "nobody-at-all", Some("123456"), PAM_AUTH_ERR),
        ("door", "bob", Some(&of_bob), PAM_AUTH_ERR),
        ("talkative", "bob", Some(&of_bob), PAM_AUTH_ERR),
        ("door", "bob", Some(&of_bob), PAM_MAXTRIES),
        ("door", "bob", Some(&of_bob), PAM_MAXTRIES),
        ("closed", "alice", Some(&wrong), PAM_AUTHINFO_UNAVAIL),
        ("misspelt", "alice", Some(&wrong), PAM_SERVICE_ERR),
    ];
    // Three times over: what is kept once, such as libpam's and glibc's own, is no leak. A used code stays used.
    let mut lines = String::new();
    for (service, user, reply, _) in logins.iter().cycle().take(3 * logins.len()) {
        let _ = write!(lines, "{service}\t{user}");
        reply.iter().for_each(|reply| lines.push_str(&format!("\t{reply}")));
        lines.push('\n');
    }
    let errors = format!("--error-exitcode={FOUND}");
    let valgrind = ["valgrind", "--quiet", "--leak-check=full", "--errors-for-leak-kinds=definite,indirect", &errors];
    let options = ["--show-leak-kinds=definite,indirect", "--log-file=/run/scratch/valgrind"];
    let program = ["/usr/lib/scratch/pam_client", "series"];
    let outcome = host.feed_as("root", &[&valgrind[..], &options, &program].concat(), lines.as_bytes())?;
    let report = String::from_utf8_lossy(&host.read("/run/scratch/valgrind")?).into_owned();
    println!("{report}");
    assert!(outcome.succeeded(), "{outcome}\n{report}\n{}", host.diagnosis());
    let results: Vec<i32> = outcome
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("result "))
        .map(|number| number.parse().context("a number"))
        .collect::<Result<_>>()?;
    assert_eq!(results.len(), 3 * logins.len());
    let expected: Vec<i32> = logins.iter().map(|(.., result)| *result).collect();
    assert_eq!(results[..logins.len()], expected, "{outcome}");
    Ok(())
}
