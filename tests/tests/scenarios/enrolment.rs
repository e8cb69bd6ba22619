//! Enrolling on a terminal, with a phone that reads the QR code.

use anyhow::Result;
use scenarios::{Host, PAM_AUTH_ERR, PAM_SUCCESS, Stack};

/// Scans the picture and shows the code of this moment.
const PHONE: &str = "#!/bin/sh\nset -e\nuri=$(zbarimg -q --raw /root/alice.png)\nsecret=${uri#*secret=}\n\
     oathtool --totp -b \"${secret%%&*}\" | tee /root/shown\n";

const QUESTION: &str = "Code of the new authenticator: ";

#[test]
fn a_phone_scans_the_qr_code_and_its_code_activates_it() -> Result<()> {
    let host = Host::build()
        .user_without_password("alice")
        .pam(Stack::code_alone("door"))
        .script("/usr/local/bin/phone", PHONE)
        .start()?;
    let enroll = ["countersign", "enroll", "alice", "--qr-png", "/root/alice.png"];
    let enrolled = host.terminal("root", &enroll).answer_from(QUESTION, "/usr/local/bin/phone").end()?.success()?;
    assert!(enrolled.says("is active for alice") && enrolled.says("▀"), "{enrolled}");
    host.logged(&[("event", "enrolment-confirmed"), ("account", "alice"), ("caller_uid", "0")])?;

    let code = String::from_utf8(host.read("/root/shown")?)?;
    let spent = host.attempt("door", "alice", &[code.trim()])?;
    assert_eq!(spent.result, PAM_AUTH_ERR, "the confirming code was not consumed: {spent:?}");
    Ok(())
}

#[test]
fn ctrl_c_leaves_nothing_half_enrolled() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let enroll = ["countersign", "enroll", "alice", "--qr-png", "/root/alice.png"];
    let broken_off = host.terminal("root", &enroll).expect(QUESTION).interrupt().end()?;
    assert!(!broken_off.succeeded(), "{broken_off}");
    assert!(!host.has("/root/alice.png"), "the picture was left behind");
    let phone = host.enrol("alice")?;
    let list = host.countersign(&["status", "alice", "--json"])?.success()?;
    let status: serde_json::Value = serde_json::from_str(&list.stdout)?;
    assert_eq!(status["authenticators"].as_array().map(Vec::len), Some(1), "{status}");
    assert_eq!(host.attempt("door", "alice", &[&host.code(&phone, 0)?])?.result, PAM_SUCCESS);
    Ok(())
}

#[test]
fn nobody_enrols_for_somebody_else_or_without_leave() -> Result<()> {
    let host = Host::build().user_without_password("alice").user_without_password("bob").start()?;
    for (caller, user) in [("alice", "bob"), ("alice", "alice")] {
        let refused = host.run_as(caller, &["countersign", "enroll", user, "--no-confirm", "--json"])?;
        assert_eq!((refused.status, refused.stdout.as_str()), (1, ""), "{caller} for {user}: {refused}");
    }
    Ok(())
}

#[test]
fn a_hundred_thousand_accounts_are_imported_in_seconds_while_people_log_in() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let phone = host.enrol("alice")?;
    let uris: String = (0..100_000)
        .map(|number| format!("otpauth://totp/load{number:06}?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n"))
        .collect();
    let start = std::time::Instant::now();
    let import = ["countersign", "import", "otpauth", "-"];
    let (imported, login) = std::thread::scope(|scope| {
        let import = scope.spawn(|| host.feed_as("root", &import, uris.as_bytes()));
        let login = host.code(&phone, 0).and_then(|code| host.attempt("door", "alice", &[&code]));
        (import.join().unwrap(), login)
    });
    imported?.success()?;
    println!("100,000 accounts in {:?}", start.elapsed());
    let login = login?;
    assert_eq!(login.result, PAM_SUCCESS);
    assert!(login.took < std::time::Duration::from_secs(2), "{login:?}");
    let known = host.countersign(&["status", "load099999", "--json"])?;
    assert!(known.says("load099999"), "{known}");
    Ok(())
}
