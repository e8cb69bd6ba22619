//! Files as the real programs of the old modules write them in all their options, a fob's seed file, and real logins
//! through sshd before and after: the next code works, the used one does not, a scratch code works once.

use anyhow::{Context, Result};
use scenarios::{Enrolment, Host, PAM_AUTH_ERR, PAM_SUCCESS, Stack};
use serde_json::Value;

use super::{attempt, import, outcomes, scratch_codes, totp};
use crate::words::PROMPT;

/// What `google-authenticator` was told, for one account.
struct Options {
    user: String,
    counting: bool,
    /// Whether the old module keeps a record of used codes (`-d`).
    remembers: bool,
    text: String,
    scratch: usize,
    /// Where the file is, where it is not the usual one (`-s`).
    elsewhere: Option<String>,
}

/// Every sensible combination: kind and reuse, rate limit, window; with the number of scratch codes, the place of the
/// file and the time step going through theirs meanwhile.
fn combinations() -> Vec<Options> {
    let mut all = Vec::new();
    for kind in ["-t -d", "-t -D", "-c"] {
        for rate in ["-r 3 -R 30", "-u"] {
            for window in ["-w 3", "-w 17", "-W"] {
                let number = all.len();
                let user = format!("user{number:02}");
                let scratch = [5, 1, 10, 0][number % 4];
                let elsewhere = (number % 5 == 4).then(|| format!("/home/{user}/second-factor"));
                let place = elsewhere.as_ref().map(|path| format!(" -s {path}")).unwrap_or_default();
                let text = format!("{kind} {rate} {window} -e {scratch}{place}");
                all.push(Options {
                    user,
                    counting: kind == "-c",
                    remembers: kind == "-t -d",
                    text,
                    scratch,
                    elsewhere,
                });
            }
        }
    }
    all
}

impl Options {
    fn path(&self) -> String {
        self.elsewhere.clone().unwrap_or_else(|| format!("/home/{}/.google_authenticator", self.user))
    }

    fn lines(&self, host: &Host) -> Result<Vec<String>> {
        Ok(String::from_utf8(host.read(&self.path())?)?.lines().map(str::to_owned).collect())
    }

    /// The code `ahead` of the one that is due first.
    fn code(&self, host: &Host, secret: &str, ahead: u32) -> Result<String> {
        if self.counting {
            return scenarios::HotpKey { secret: secret.to_owned() }.codes(1 + ahead, 1)?.pop().context("no code");
        }
        host.code(&totp(secret, 30), i64::from(ahead))
    }
}

/// A host with sshd, ours behind it, and the old modules at services of their own.
fn host(people: &[String]) -> Result<Host> {
    let host = people.iter().fold(Host::build(), |host, name| host.user_without_password(name));
    host.configuration("fail_delay = \"0s\"\n")
        .pam(Stack::sshd_key())
        .pam(Stack::code_alone("door"))
        .sshd("publickey,keyboard-interactive")
        .start()
}

/// Logs in through sshd: the used code first, which must not open, then the next one, which must.
fn log_in(host: &Host, user: &str, used: &str, next: &str) -> Result<()> {
    let dialogue = host.ssh(user, "id -un").answer(PROMPT, used).answer(PROMPT, next).expect(user);
    dialogue.end()?.success().with_context(|| format!("{user} has used {used}, and {next} is next"))?;
    Ok(())
}

#[test]
fn every_option_of_google_authenticator_is_taken_over_and_lets_in_through_sshd() -> Result<()> {
    let combinations = combinations();
    let people: Vec<String> = combinations.iter().map(|options| options.user.clone()).collect();
    let host = host(&people)?;
    let mut used = Vec::new();
    for options in &combinations {
        let Options { user, text, .. } = options;
        let make = format!("HOME=/home/{user} google-authenticator -f -q -C -Q NONE {text}");
        host.run_as(user, &["sh", "-c", &make])?.success()?;
        let secret = options.lines(&host)?.first().context("no secret")?.clone();
        let place = options.elsewhere.as_ref().map(|path| format!(" secret={path}")).unwrap_or_default();
        let old = format!("auth required pam_google_authenticator.so{place}\naccount required pam_permit.so\n");
        host.write("/etc/pam.d/old", &old)?;
        let code = options.code(&host, &secret, 0)?;
        assert_eq!(attempt(&host, "old", user, &code)?, PAM_SUCCESS, "{text}");
        // A scratch code is used up there, where there is one.
        let lines = options.lines(&host)?;
        let spent = scratch_codes(&lines).first().map(|code| (*code).to_owned());
        if let Some(spent) = &spent {
            assert_eq!(attempt(&host, "old", user, spent)?, PAM_SUCCESS, "{text}");
        }
        used.push((secret, code, spent));
    }

    let done = import(&host, &["google-authenticator", "--apply"])?;
    assert_eq!(done["refused"], 0, "{done}");
    for options in combinations.iter().filter(|options| options.elsewhere.is_some()) {
        let one = import(&host, &["google-authenticator", &options.path(), "--user", &options.user, "--apply"])?;
        assert_eq!(outcomes(&one), [(options.user.as_str(), "added")], "{one}");
    }

    for (options, (secret, code, spent)) in combinations.iter().zip(&used) {
        let Options { user, text, .. } = options;
        if !options.counting && !options.remembers {
            // Nobody kept a record of that code: it may work once more, which the import said.
            assert!(done.to_string().contains("the last one may work once more"), "{done}");
            assert_eq!(attempt(&host, "door", user, code)?, PAM_SUCCESS, "{text}");
        }
        log_in(&host, user, code, &options.code(&host, secret, 1)?).with_context(|| text.clone())?;
        let lines = options.lines(&host)?;
        let left = scratch_codes(&lines);
        assert_eq!(left.len(), options.scratch.saturating_sub(1), "{text}");
        for scratch in left {
            assert_eq!(attempt(&host, "door", user, scratch)?, PAM_SUCCESS, "{text}");
            assert_eq!(attempt(&host, "door", user, scratch)?, PAM_AUTH_ERR, "{text}");
        }
        if let Some(spent) = spent {
            assert_eq!(attempt(&host, "door", user, spent)?, PAM_AUTH_ERR, "{text}");
        }
    }
    Ok(())
}

/// The secret of everybody in the users file, as it stands there.
const HEX: &str = "3132333435363738393031323334353637383930";
/// The same as oathtool and our tests take it.
const BASE32: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

/// A code of eight, seven or six digits, by oathtool.
fn hotp(host: &Host, digits: u64, counter: u64) -> Result<String> {
    let [digits, counter] = [format!("--digits={digits}"), format!("--counter={counter}")];
    let made = host.run(&["oathtool", "--hotp", &digits, &counter, HEX])?.success()?;
    Ok(made.stdout.trim().to_owned())
}

#[test]
fn every_type_of_a_users_file_that_logins_through_sshd_and_pam_oath_moved_on_is_taken_over() -> Result<()> {
    // Type, digits, and the time step where it is by time.
    let types = [
        ("HOTP", 6, None),
        ("HOTP/E/6", 6, None),
        ("HOTP/E/7", 7, None),
        ("HOTP/E/8", 8, None),
        ("HOTP/T30", 6, Some(30)),
        ("HOTP/T30/8", 8, Some(30)),
        ("HOTP/T60/7", 7, Some(60)),
    ];
    let people: Vec<String> = (0..types.len()).map(|number| format!("user{number}")).collect();
    let host = host(&people)?;
    let lines = people.iter().zip(types).map(|(user, (kind, ..))| format!("{kind}\t{user}\t-\t{HEX}\n"));
    host.write("/etc/users.oath", &lines.collect::<String>())?;
    host.run(&["chmod", "0600", "/etc/users.oath"])?.success()?;
    let code = |digits, period: Option<u64>, ahead: u32| match period {
        Some(period) => host.code(&Enrolment { digits, ..totp(BASE32, period) }, i64::from(ahead)),
        None => hotp(&host, digits, u64::from(ahead) * 2),
    };

    // Real logins through sshd and pam_oath; by counting the second code, so that one was passed over.
    let ours = String::from_utf8(host.read("/etc/pam.d/sshd")?)?;
    let mut used = Vec::new();
    for (user, (_, digits, period)) in people.iter().zip(types) {
        let old = format!(
            "auth required pam_oath.so usersfile=/etc/users.oath window=5 digits={digits}\naccount required pam_permit.so\nsession required pam_permit.so\n"
        );
        host.write("/etc/pam.d/sshd", &old)?;
        let code = if period.is_some() { code(digits, period, 0)? } else { hotp(&host, digits, 1)? };
        let prompt = format!("One-time password (OATH) for `{user}':");
        host.ssh(user, "id -un").answer(&prompt, &code).expect(user).end()?.success()?;
        used.push(code);
    }
    host.write("/etc/pam.d/sshd", &ours)?;
    let moved = String::from_utf8(host.read("/etc/users.oath")?)?;
    assert!(used.iter().all(|code| moved.contains(code)), "pam_oath kept no last codes: {moved}");

    let done = import(&host, &["oath", "/etc/users.oath"])?;
    assert_eq!((done["added"].as_u64(), done["refused"].as_u64()), (Some(types.len() as u64), Some(0)), "{done}");
    for ((user, (kind, digits, period)), used) in people.iter().zip(types).zip(&used) {
        log_in(&host, user, used, &code(digits, period, 1)?).with_context(|| kind.to_owned())?;
    }
    Ok(())
}

#[test]
fn a_fob_of_a_vendors_seed_file_lets_in_through_sshd_and_its_used_codes_do_not() -> Result<()> {
    let host = host(&["alice".to_owned()])?;
    let fob = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
        <KeyContainer Version=\"1.0\" xmlns=\"urn:ietf:params:xml:ns:keyprov:pskc\"><KeyPackage>\n\
        <DeviceInfo><Manufacturer>Fobs</Manufacturer><SerialNo>1000133508267</SerialNo></DeviceInfo>\n\
        <Key Id=\"1\" Algorithm=\"urn:ietf:params:xml:ns:keyprov:pskc:hotp\"><AlgorithmParameters>\
        <ResponseFormat Length=\"6\" Encoding=\"DECIMAL\"/></AlgorithmParameters><Data><Secret><PlainValue>\
        MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=</PlainValue></Secret><Counter><PlainValue>5</PlainValue></Counter></Data></Key>\n\
        </KeyPackage></KeyContainer>\n";
    host.write("/root/fobs.xml", fob)?;
    host.run(&["chmod", "0600", "/root/fobs.xml"])?.success()?;
    let nobody = import(&host, &["pskc", "/root/fobs.xml"])?;
    assert_eq!(outcomes(&nobody), [("", "left-out")], "{nobody}");
    let done = import(&host, &["pskc", "/root/fobs.xml", "--assign", "1000133508267=alice"])?;
    assert_eq!(outcomes(&done), [("alice", "added")], "{done}");
    let status: Value = serde_json::from_str(&host.countersign(&["status", "alice", "--json"])?.success()?.stdout)?;
    assert_eq!(status["authenticators"][0]["label"], "Fobs", "{status}");
    // The button was pressed twice on the way: what lies behind the counter is spent, what lies ahead is in the window.
    log_in(&host, "alice", &hotp(&host, 6, 4)?, &hotp(&host, 6, 7)?)?;
    log_in(&host, "alice", &hotp(&host, 6, 6)?, &hotp(&host, 6, 8)?)?;
    Ok(())
}
