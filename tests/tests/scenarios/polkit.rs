//! Administering without being root: the real polkit decides, on the real system bus, about the real daemon's callers.

use std::{path::PathBuf, time::Instant};

use anyhow::Result;
use scenarios::{Host, HostBuilder, PAM_SUCCESS, Stack};

/// What the helpdesk may do without a password, and whose password counts as an administrator's.
const RULES: &str = r#"
polkit.addRule(function(action, subject) {
    if (action.id == "org.countersign.unlock" && subject.user == "helen") { return polkit.Result.YES; }
    if (action.id.indexOf("org.countersign.") == 0 && subject.user == "mallory") { return polkit.Result.NO; }
});
polkit.addAdminRule(function(action, subject) { return ["unix-user:root2"]; });
"#;

const ACTIONS: &str = "/usr/share/polkit-1/actions/org.countersign.policy";
const PASSWORD: &str = "correct horse";

/// alice logs in with codes, helen is of the helpdesk, root2 knows an administrator's password.
fn host() -> HostBuilder {
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/polkit/org.countersign.policy");
    Host::build()
        .user_without_password("alice")
        .user_without_password("helen")
        .user("root2", PASSWORD)
        .user_without_password("mallory")
        .bind(PathBuf::from(shipped), ACTIONS)
        .file("/etc/polkit-1/rules.d/10-scenario.rules", RULES)
        .pam(Stack::code_alone("door"))
}

/// Locks alice out by wrong codes.
fn lock(host: &Host) -> Result<()> {
    for _ in 0..3 {
        host.attempt("door", "alice", &["00000000"])?;
    }
    host.logged(&[("event", "lock"), ("account", "alice")])?;
    Ok(())
}

#[test]
fn a_rule_lets_the_helpdesk_unlock_and_do_nothing_else() -> Result<()> {
    let host = host().start()?;
    let phone = host.enrol("alice")?;
    lock(&host)?;
    let refused = host.run_as("mallory", &["countersign", "unlock", "alice"])?;
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.says("sudo countersign unlock alice"), "{refused}");
    host.run_as("helen", &["countersign", "unlock", "alice"])?.success()?;
    host.logged(&[("event", "unlock"), ("outcome", "granted"), ("account", "alice"), ("caller_uid", "61002")])?;
    assert_eq!(host.attempt("door", "alice", &[&host.code(&phone, 0)?])?.result, PAM_SUCCESS);
    for command in [&["list"][..], &["disable", "alice"], &["enable", "alice"], &["reset", "alice", "--yes"]] {
        let arguments: Vec<&str> = ["countersign"].iter().chain(command).copied().collect();
        let begun = Instant::now();
        let refused = host.run_as("helen", &arguments)?;
        assert_eq!(refused.status, 1, "{command:?}: {refused}");
        assert!(begun.elapsed().as_secs() < 5, "nobody is asked without a terminal: {command:?}");
    }
    Ok(())
}

#[test]
fn importing_is_roots_alone_whatever_polkit_says() -> Result<()> {
    let everything = r#"polkit.addRule(function(action, subject) { return polkit.Result.YES; });"#;
    let host = host().file("/etc/polkit-1/rules.d/01-everything.rules", everything).start()?;
    host.enrol("alice")?;
    host.run_as("helen", &["countersign", "list"])?.success()?;
    host.run_as("helen", &["countersign", "disable", "alice"])?.success()?;
    let uri = b"otpauth://totp/mallory?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n";
    let import = host.feed_as("helen", &["countersign", "import", "otpauth", "-"], uri)?;
    assert_eq!(import.status, 1, "{import}");
    let list = host.countersign(&["list"])?.success()?;
    assert!(list.says("disabled") && !list.says("mallory"), "{list}");
    Ok(())
}

#[test]
fn on_a_terminal_an_administrators_password_is_asked_for_each_time_and_a_wrong_one_refuses() -> Result<()> {
    let host = host().start()?;
    host.enrol("alice")?;
    for _ in 0..2 {
        let unlock = host.terminal("alice", &["countersign", "unlock", "alice"]).answer_unseen("Password: ", PASSWORD);
        let unlocked = unlock.end()?.success()?;
        assert!(unlocked.says("is no longer locked") && !unlocked.says(PASSWORD), "{unlocked}");
    }
    let disable = host.terminal("alice", &["countersign", "disable", "alice"]).answer_unseen("Password: ", "wrong");
    let refused = disable.end()?;
    assert_eq!(refused.status, 1, "{refused}");
    assert!(refused.says("sudo countersign disable alice"), "{refused}");
    assert!(!host.countersign(&["list"])?.success()?.says("disabled"));
    Ok(())
}

/// More accounts than two pages hold.
const MANY: usize = 1200;

/// Gives so many names an authenticator.
fn import_many(host: &Host) -> Result<()> {
    let line = |number| format!("otpauth://totp/user{number:04}?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\n");
    let lines: String = (0..MANY).map(line).collect();
    host.feed_as("root", &["countersign", "import", "otpauth", "-"], lines.as_bytes())?.success()?;
    Ok(())
}

#[test]
fn a_list_or_an_audit_of_many_pages_is_one_question_and_the_next_one_another() -> Result<()> {
    // polkit says yes once, and no ever after.
    let once = "var asked = 0;\npolkit.addRule(function(action, subject) {\n    \
         if (action.id == 'org.countersign.read') { return asked++ ? polkit.Result.NO : polkit.Result.YES; }\n});\n";
    for (read, rest) in [("list", ["audit"]), ("audit", ["list"])] {
        let host = host().file("/etc/polkit-1/rules.d/01-once.rules", once).start()?;
        import_many(&host)?;
        let whole = host.run_as("helen", &["countersign", read])?.success()?;
        assert!(whole.stdout.lines().count() > MANY && whole.says("user1199"), "{read}: {}", whole.stderr);
        for command in [&[read][..], &rest] {
            let refused = host.run_as("helen", &[&["countersign"], command].concat())?;
            assert_eq!(refused.status, 1, "{command:?}: {refused}");
        }
    }
    Ok(())
}

#[test]
fn on_a_terminal_a_list_of_many_pages_asks_for_the_password_once() -> Result<()> {
    let host = host().start()?;
    import_many(&host)?;
    let list = host.terminal("alice", &["countersign", "list"]).answer_unseen("Password: ", PASSWORD);
    let listed = list.end()?.success()?;
    assert!(listed.says("user0000") && listed.says("user1199"), "{listed}");
    Ok(())
}

/// polkit's own questions want a code too, of whoever is asked.
const WITH_A_CODE: &str = "auth requisite pam_unix.so\nauth requisite pam_countersign.so\nauth required pam_permit.so\n\
     account required pam_permit.so\nsession required pam_permit.so\n";

#[test]
fn a_question_of_polkits_that_asks_for_a_code_is_answered_while_the_daemon_waits_for_it() -> Result<()> {
    let oneself = "polkit.addRule(function(action, subject) {\n    \
         if (subject.user == 'carol') { return polkit.Result.AUTH_SELF; }\n});\n";
    let host = host()
        .user("carol", PASSWORD)
        .configuration("fail_delay = \"0s\"\nself_enrolment = true\n")
        .file("/etc/pam.d/polkit-1", WITH_A_CODE)
        .file("/etc/polkit-1/rules.d/01-oneself.rules", oneself)
        .start()?;
    let list = || host.terminal("carol", &["countersign", "list"]).answer_unseen("Password: ", PASSWORD);
    // Without a factor of her own she is refused, and nobody waits for anybody.
    let refused = list().answer_unseen("Verification code: ", "123456").end()?;
    assert_eq!(refused.status, 1, "{refused}");
    host.logged(&[("service", "polkit-1"), ("account", "carol"), ("reason", "not-enrolled")])?;
    // Nor does enrolling oneself wait for polkit: it is not asked.
    let enroll = host.terminal("carol", &["countersign", "enroll"]).expect("Code of the new authenticator: ");
    assert!(!enroll.interrupt().end()?.says("Password: "));
    let phone = host.enrol("carol")?;
    let listed = list().answer_unseen("Verification code: ", &host.code(&phone, 0)?).end()?.success()?;
    assert!(listed.says("carol"), "{listed}");
    host.logged(&[("service", "polkit-1"), ("account", "carol"), ("outcome", "granted")])?;
    Ok(())
}

#[test]
fn a_polkit_that_hangs_refuses_in_time_and_holds_no_login() -> Result<()> {
    let host = host().start()?;
    let phone = host.enrol("alice")?;
    host.run_as("helen", &["countersign", "unlock", "alice"])?.success()?;
    host.run(&["pkill", "-STOP", "-x", "polkitd"])?.success()?;
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| host.run_as("helen", &["countersign", "unlock", "alice"]));
        assert_eq!(host.attempt("door", "alice", &[&host.code(&phone, 0)?])?.result, PAM_SUCCESS);
        host.countersign(&["unlock", "alice"])?.success()?;
        assert!(!asking.is_finished(), "it was refused before its time");
        let refused = asking.join().expect("a thread that does not panic")?;
        assert_eq!(refused.status, 1, "{refused}");
        anyhow::Ok(())
    })?;
    assert!((5..40).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    Ok(())
}
