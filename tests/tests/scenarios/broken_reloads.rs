//! A configuration that is wrong is put in place again and again while people log in.

use std::thread;

use anyhow::Result;
use scenarios::{Host, HotpKey, PAM_SUCCESS, Stack};

const RULE: &str = "[[rule]]\nname = \"all\"\n";
const EXTRA: &str = "/etc/countersign/conf.d/10.toml";

/// Each is refused for another reason.
const BROKEN: [&str; 5] = [
    "[[rule]]\nname = \"all\"\naction = \"skip\"\n",
    "[[rule]]\nname = \"x\"\nnetworks = [\"10.0.0.0/33\"]\naction = \"skip\"\n",
    "[[rule]]\nname = \"x\"\ngroups = [\"no-such-group\"]\naction = \"skip\"\n",
    "[[rule]\n",
    "mode = \"observe\"\n",
];

#[test]
fn broken_reloads_under_load_lose_no_login_and_open_no_door() -> Result<()> {
    let users = ["alice", "bob", "carol", "dave"];
    let mut builder = Host::build().pam(Stack::code_alone("door")).configuration(RULE).file(EXTRA, "");
    for user in users {
        builder = builder.user_without_password(user);
    }
    let host = builder.start()?;
    let mut fobs = Vec::new();
    for (user, seed) in users.into_iter().zip(70..) {
        let (fob, codes) = HotpKey::distinct(seed, 24)?;
        host.import_hotp(user, &fob)?;
        fobs.push((user, codes));
    }
    let log_in = |user: &str, codes: &[String]| -> Result<()> {
        for code in codes {
            let attempt = host.attempt("door", user, &[code])?;
            assert_eq!((attempt.result, attempt.prompts()), (PAM_SUCCESS, 1), "{attempt:?}");
        }
        Ok(())
    };
    thread::scope(|scope| -> Result<()> {
        let people: Vec<_> = fobs.iter().map(|(user, codes)| scope.spawn(|| log_in(user, codes))).collect();
        let mut broken = BROKEN.iter().cycle();
        while !people.iter().all(thread::ScopedJoinHandle::is_finished) {
            let text = broken.next().copied().unwrap_or_default();
            host.write(EXTRA, text)?;
            let before = refusals(&host);
            host.daemon().reload()?;
            scenarios::wait("the refusal", || Ok((refusals(&host) > before).then_some(())))?;
        }
        people.into_iter().try_for_each(|person| person.join().unwrap())
    })?;
    assert!(refusals(&host) >= BROKEN.len(), "only {} reloads", refusals(&host));
    assert_eq!(host.charged(), []);
    Ok(())
}

fn refusals(host: &Host) -> usize {
    host.syslog().iter().filter(|line| line.has(&[("event", "reload"), ("outcome", "refused")])).count()
}
