//! `countersign doctor` on hosts set up by the README: silent there, and it finds each of the mistakes that are
//! planted.

use std::{
    path::PathBuf,
    process::Command,
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, bail, ensure};
use scenarios::{Host, Outcome, Stack};
use serde_json::Value;

/// The README's lines of sshd, below what Debian ships.
const SSHD: &str = "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\nKbdInteractiveAuthentication yes\n\
                    PasswordAuthentication no\nAuthenticationMethods publickey,keyboard-interactive\n";
/// What asks for a code, after a first factor.
const ASKING: &str = "auth requisite pam_countersign.so\nauth required pam_permit.so\n";
/// A clock that is right, until the file is there.
const CLOCK: &str = r#"#include <string.h>
#include <sys/timex.h>
#include <unistd.h>
int adjtimex(struct timex *t) { memset(t, 0, sizeof *t); return access("/run/scratch/drifting", F_OK) ? TIME_OK : TIME_ERROR; }
"#;
/// How many hosts run at a time.
const TOGETHER: usize = 3;

/// One mistake: the finding that names it, the exit code, how it is made, and where it is found.
struct Mistake {
    name: &'static str,
    exit: i32,
    plant: Plant,
    place: &'static str,
}

enum Plant {
    /// This text in this file.
    File(&'static str, String),
    /// These commands of root's.
    Run(&'static str),
    /// These commands of root's, and a rule.
    Configured(&'static str, &'static str),
    /// As with `File`, and these arguments for the tool.
    Asked(&'static str, String, &'static [&'static str]),
}

fn mistake(name: &'static str, exit: i32, place: &'static str, plant: Plant) -> Mistake {
    Mistake { name, exit, plant, place }
}

/// A mistake in sudo's stack, whose lines these are.
fn sudo(name: &'static str, exit: i32, line: &'static str, text: &str) -> Mistake {
    mistake(name, exit, line, Plant::File("/etc/pam.d/sudo", text.to_owned()))
}

/// A mistake in sshd's settings: the README's with one of them replaced.
fn sshd(name: &'static str, exit: i32, place: &'static str, from: &str, to: &str) -> Mistake {
    assert!(SSHD.contains(from), "{from}");
    mistake(name, exit, place, Plant::File("/etc/ssh/sshd_config", SSHD.replace(from, to)))
}

fn run(name: &'static str, exit: i32, place: &'static str, commands: &'static str) -> Mistake {
    mistake(name, exit, place, Plant::Run(commands))
}

/// A rule that is put in force.
fn configured(name: &'static str, exit: i32, place: &'static str, rule: &'static str) -> Mistake {
    mistake(name, exit, place, Plant::Configured("true", rule))
}

fn mistakes_of_pam() -> Vec<Mistake> {
    let jump = "auth [success=2 default=ignore] pam_unix.so\nauth requisite pam_deny.so\n";
    let shifted = "auth [success=1 default=ignore] pam_unix.so\nauth requisite pam_countersign.so\n\
                   auth requisite pam_deny.so\nauth required pam_permit.so\n";
    let exempt = "@include common-auth\nauth [success=1 default=ignore] pam_succeed_if.so user = deploy\n";
    vec![
        sudo("pam-bypass", 2, "/etc/pam.d/sudo:1", &format!("auth sufficient pam_unix.so\n{ASKING}")),
        sudo("pam-bypass", 2, "/etc/pam.d/sudo:1", &format!("{jump}{ASKING}")),
        sudo("pam-refusal-passes", 2, "/etc/pam.d/sudo:2", "@include common-auth\nauth optional pam_countersign.so\n"),
        sudo(
            "pam-refusal-passes",
            2,
            "/etc/pam.d/sudo:2",
            "@include common-auth\nauth [success=ok \\\n authinfo_unavail=ignore default=die] pam_countersign.so\n",
        ),
        sudo("pam-code-alone", 2, "", "auth sufficient pam_countersign.so\n@include common-auth\n"),
        sudo(
            "pam-rest-skipped",
            2,
            "/etc/pam.d/sudo:1",
            "auth sufficient pam_countersign.so\nauth required pam_unix.so\n",
        ),
        sudo("pam-skip-refused", 2, "/etc/pam.d/sudo:1", "auth requisite pam_countersign.so\n"),
        sudo("pam-open-prompt", 2, "/etc/pam.d/sudo:1", &format!("auth required pam_unix.so\n{ASKING}")),
        sudo("pam-nobody", 2, "/etc/pam.d/sudo:2", shifted),
        sudo("pam-unusable", 2, "/etc/pam.d/sudo:1", &format!("@include comon-auth\n{ASKING}")),
        sudo("pam-bad-line", 2, "/etc/pam.d/sudo:2", &format!("@include common-auth\nauth include absent\n{ASKING}")),
        sudo(
            "pam-arguments",
            2,
            "/etc/pam.d/sudo:2",
            "@include common-auth\nauth requisite pam_countersign.so nullok\n",
        ),
        sudo("pam-asked-twice", 2, "/etc/pam.d/sudo:4", &format!("@include common-auth\n{ASKING}{ASKING}")),
        sudo("pam-exempt", 1, "/etc/pam.d/sudo:2", &format!("{exempt}{ASKING}")),
        sudo("pam-module-name", 2, "/etc/pam.d/sudo:2", "@include common-auth\nauth required pam_counter_sign.so\n"),
        sudo(
            "module-missing",
            2,
            "/etc/pam.d/sudo:2",
            "@include common-auth\nauth requisite /opt/pam_countersign.so\n",
        ),
        mistake(
            "pam-code-first",
            1,
            "/etc/pam.d/chsh:1",
            Plant::File("/etc/pam.d/chsh", format!("{ASKING}@include common-auth\n")),
        ),
        mistake("pam-single-factor", 1, "/etc/pam.d/su:1", Plant::File("/etc/pam.d/su", ASKING.to_owned())),
        mistake(
            "pam-wrong-stack",
            2,
            "/etc/pam.d/su:4",
            Plant::File(
                "/etc/pam.d/su",
                format!("@include common-auth\n{ASKING}password required pam_countersign.so\n"),
            ),
        ),
        mistake(
            "pam-not-asked",
            2,
            "",
            Plant::Asked("/etc/pam.d/su", "@include common-auth\n".into(), &["--service", "su"]),
        ),
        run(
            "pam-single-prompt",
            2,
            "/etc/pam.d/common-auth",
            "echo 'auth requisite pam_countersign.so' >>/etc/pam.d/common-auth; echo '@include common-auth' >/etc/pam.d/dovecot",
        ),
        run("pam-empty-password", 2, "/etc/pam.d/common-auth", "sed -i 's/^alice:[^:]*/alice:/' /etc/shadow"),
        run(
            "module-open",
            2,
            "/opt/pam_countersign.so",
            "cp /usr/lib/*/security/pam_countersign.so /opt; chmod 0666 /opt/pam_countersign.so; \
             sed -i 's|pam_countersign.so|/opt/&|' /etc/pam.d/sudo",
        ),
    ]
}

fn mistakes_of_sshd() -> Vec<Mistake> {
    const METHODS: &str = "AuthenticationMethods publickey,keyboard-interactive\n";
    let (main, fifth) = ("/etc/ssh/sshd_config", "/etc/ssh/sshd_config:5");
    let methods = |name, exit, to: &str| sshd(name, exit, fifth, METHODS, &format!("AuthenticationMethods {to}\n"));
    // A line more, the sixth; or a `Match` whose setting is the seventh.
    let more = |name, exit, line: &str| sshd(name, exit, "sshd_config:6", METHODS, &format!("{METHODS}{line}\n"));
    let block = |exit, criteria: &str| {
        let lines = format!("{METHODS}Match {criteria}\nAuthenticationMethods publickey\n");
        sshd("sshd-key-alone", exit, "sshd_config:7", METHODS, &lines)
    };
    let drop_in = "/etc/ssh/sshd_config.d/x.conf";
    vec![
        sshd("sshd-no-pam", 2, "/etc/ssh/sshd_config:2", "UsePAM yes", "UsePAM no"),
        mistake("sshd-no-pam", 2, "/x.conf:2", Plant::File(drop_in, "# mine\nusepam=no\n".into())),
        sshd("sshd-key-alone", 2, main, METHODS, ""),
        methods("sshd-key-alone", 2, "publickey,keyboard-interactive publickey"),
        block(2, "User alice"),
        block(1, "User deploy Address 10.0.0.0/8"),
        block(2, "Group scratch-* LocalPort 2222"),
        run(
            "sshd-password-method",
            2,
            fifth,
            "sed -i 's/^PasswordAuthentication no/PasswordAuthentication yes/; s/^Authent.*/& publickey,password/' \
             /etc/ssh/sshd_config",
        ),
        run(
            "sshd-password",
            1,
            "/etc/ssh/sshd_config:4",
            "sed -i 's/^PasswordAuthentication no/PasswordAuthentication yes/; s/^Authent.*/PubkeyAuthentication no/' \
             /etc/ssh/sshd_config; cp /etc/pam.d/sudo /etc/pam.d/sshd",
        ),
        run(
            "sshd-no-keyboard-interactive",
            2,
            "/etc/ssh/sshd_config:3",
            "sed -i '/^Authent/d; s/^Kbd.*/KbdInteractiveAuthentication no/' /etc/ssh/sshd_config",
        ),
        methods("sshd-dead-alternative", 1, "publickey,keyboard-interactive hostbased,keyboard-interactive"),
        methods("sshd-code-alone", 2, "keyboard-interactive"),
        more("sshd-root-code", 1, "PermitRootLogin prohibit-password"),
        more("sshd-dns-names", 1, "UseDNS yes"),
        more("sshd-short-grace", 1, "LoginGraceTime 30"),
        more("sshd-empty-passwords", 2, "PermitEmptyPasswords yes"),
        sshd("sshd-settings-wrong", 2, main, METHODS, &format!("{METHODS}NoSuchKeyword yes\n")),
        sshd("sshd-settings-wrong", 2, main, METHODS, &format!("{METHODS}PubkeyAuthentication no\n")),
        run("sshd-unreadable", 1, main, "rmdir /run/sshd"),
    ]
}

fn mistakes_around() -> Vec<Mistake> {
    let config = "/etc/countersign/countersign.toml";
    let state = "/var/lib/countersign";
    let policy =
        "<busconfig><policy context=\"default\">\n<allow own=\"org.countersign.Countersign1\"/></policy></busconfig>";
    vec![
        run("config-open", 2, config, "chmod 0666 /etc/countersign/countersign.toml"),
        run("config-open", 2, config, "chown 61001 /etc/countersign/countersign.toml"),
        run("config-unreadable", 2, config, "chmod 0600 /etc/countersign/countersign.toml"),
        mistake("config-wrong", 2, "", Plant::File(config, "tries = 99\n".to_owned())),
        run("key-open", 2, "/var/lib/countersign/master.key", "chmod 0444 /var/lib/countersign/master.key"),
        run("store-open", 2, "/var/lib/countersign/store.sqlite", "chmod 0644 /var/lib/countersign/store.sqlite"),
        run("state-open", 2, state, "chmod 0755 /var/lib/countersign"),
        run("clock-unsynchronised", 1, "", "touch /run/scratch/drifting"),
        run("socket-mode", 2, "/run/countersign/verifier.sock", "chmod 0600 /run/countersign/verifier.sock"),
        run("socket-missing", 2, "/run/countersign/verifier.sock", "rm /run/countersign/verifier.sock"),
        run("socket-foreign", 2, "/run/countersign/verifier.sock", "chown 61001 /run/countersign/verifier.sock"),
        run("socket-folder-open", 2, "/run/countersign", "chmod 0777 /run/countersign"),
        run("daemon-silent", 2, "", "pkill -x countersignd; while pgrep -x countersignd >/dev/null; do :; done"),
        mistake(
            "bus-policy-open",
            2,
            "/etc/dbus-1/system.d/x.conf:2",
            Plant::File("/etc/dbus-1/system.d/x.conf", policy.into()),
        ),
        run(
            "polkit-actions-missing",
            1,
            "",
            "umount /usr/share/polkit-1/actions/org.countersign.policy; rm /usr/share/polkit-1/actions/org.countersign.policy",
        ),
        run("admin-not-enrolled", 2, "", "countersign reset alice --yes"),
        run(
            "admin-few-codes",
            1,
            "",
            "countersign reset alice --yes; echo 'otpauth://totp/alice?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ' | \
             countersign import otpauth -",
        ),
        run("admin-disabled", 2, "", "countersign disable alice"),
        run("no-way-back", 1, "", "sed -i 's/^root:[^:]*/root:*/' /etc/shadow"),
        run("no-way-back", 2, "", "cp /etc/pam.d/sudo /etc/pam.d/login"),
        run("admin-not-enrolled", 2, "root becomes root", "cp /etc/pam.d/sudo /etc/pam.d/login"),
        configured("admin-refused", 2, "alice may use sudo", "services = [\"sudo\"]\naction = \"deny\""),
        configured("observe-rule", 1, "\"planted\"", "services = [\"su\"]\nmode = \"observe\""),
        configured("sshd-enrolling-grace", 1, "/etc/ssh/sshd_config", "services = [\"sshd\"]\nunenrolled = \"enroll\""),
        mistake(
            "login-enrolling-timeout",
            1,
            "/etc/login.defs",
            Plant::Configured("cp /etc/pam.d/sudo /etc/pam.d/login", "unenrolled = \"enroll\"\nservices = [\"login\"]"),
        ),
        run("sudo-unasked", 1, "/etc/sudoers", "echo 'alice ALL=(ALL) NOPASSWD: /usr/bin/rsync' >>/etc/sudoers"),
    ]
}

/// A host as the README sets it up: sshd with key and code, sudo with password and code, alice enrolled, a password for
/// root's console.
fn readme() -> Result<Host> {
    let shipped = |path: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let host = Host::build()
        .user("alice", "correct horse")
        .pam(Stack::sshd_key())
        .pam(Stack::sudo_password())
        .bind(shipped("packaging/polkit/org.countersign.policy"), "/usr/share/polkit-1/actions/org.countersign.policy")
        .bind(clock()?, "/usr/lib/scratch/clock.so")
        .file("/etc/ssh/sshd_config", SSHD)
        .start()?;
    let prepare = "mkdir -p -m 0755 /run/sshd && sed -i 's/^root:[^:]*/root:$6$a$b/' /etc/shadow";
    host.run(&["sh", "-c", prepare])?.success()?;
    host.enrol("alice")?;
    Ok(host)
}

/// The kernel's clock as a library at `/usr/lib/scratch/clock.so`, compiled once: this machine's own may be right or not.
pub(crate) fn clock() -> Result<PathBuf> {
    static CLOCK_LIBRARY: LazyLock<std::result::Result<PathBuf, String>> = LazyLock::new(|| {
        let folder = std::env::temp_dir().join(format!("countersign-clock-{}", std::process::id()));
        let compile = || -> Result<PathBuf> {
            std::fs::create_dir_all(&folder)?;
            let (source, library) = (folder.join("clock.c"), folder.join("clock.so"));
            std::fs::write(&source, CLOCK)?;
            let done = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status()?;
            ensure!(done.success(), "cc ended with {done}");
            Ok(library)
        };
        compile().map_err(|error| format!("{error:#}"))
    });
    CLOCK_LIBRARY.clone().map_err(anyhow::Error::msg)
}

pub(crate) fn doctor(host: &Host, arguments: &[&str]) -> Result<Outcome> {
    let mut all = vec!["env", "LD_PRELOAD=/usr/lib/scratch/clock.so", "countersign", "doctor"];
    all.extend_from_slice(arguments);
    host.run(&all)
}

/// Plants a mistake and looks for it.
fn find(mistake: &Mistake) -> Result<()> {
    let host = readme()?;
    let mut arguments = vec!["--json"];
    match &mistake.plant {
        Plant::File(path, text) => host.write(path, text)?,
        Plant::Run(commands) => drop(host.run(&["sh", "-c", commands])?.success()?),
        Plant::Configured(commands, rule) => {
            host.run(&["sh", "-c", commands])?.success()?;
            host.write("/etc/countersign/countersign.toml", &format!("[[rule]]\nname = \"planted\"\n{rule}\n"))?;
            host.run(&["sh", "-c", "kill -HUP $(pidof countersignd)"])?.success()?;
            host.logged(&[("event", "reload")])?;
        }
        Plant::Asked(path, text, more) => {
            host.write(path, text)?;
            arguments.extend_from_slice(more);
        }
    }
    let outcome = doctor(&host, &arguments)?;
    let report: Value = serde_json::from_str(&outcome.stdout).with_context(|| outcome.to_string())?;
    let findings = report["findings"].as_array().context("a list of findings")?;
    let place = |finding: &Value| match (finding["file"].as_str(), finding["line"].as_u64()) {
        (Some(file), Some(line)) => format!("{file}:{line}"),
        (file, _) => file.unwrap_or_default().to_owned(),
    };
    let found = findings.iter().find(|finding| {
        let text = format!("{} {}", finding["what"].as_str().unwrap_or_default(), place(finding));
        finding["name"] == mistake.name && text.contains(mistake.place)
    });
    let Some(found) = found else { bail!("not found: {findings:#?}") };
    let told = |key: &str| found[key].as_str().is_some_and(|text| !text.is_empty());
    ensure!(
        told("why") && (told("change") || mistake.name == "pam-unusable" || mistake.name == "pam-bad-line"),
        "{found:#}"
    );
    ensure!(outcome.status == mistake.exit, "it ended with {}, not {}: {findings:#?}", outcome.status, mistake.exit);
    Ok(())
}

#[test]
fn a_host_set_up_by_the_readme_has_nothing_wrong() -> Result<()> {
    let host = readme()?;
    let outcome = doctor(&host, &[])?;
    assert!(outcome.succeeded() && outcome.stdout.ends_with("All is well.\n"), "{outcome}");
    assert!(!outcome.stdout.contains('\x1b'), "{outcome}");
    let asked = doctor(&host, &["--service", "sshd", "--service", "sudo", "--json"])?.success()?;
    let report: Value = serde_json::from_str(&asked.stdout)?;
    assert_eq!(report["findings"], Value::Array(Vec::new()), "{asked}");
    Ok(())
}

#[test]
fn password_and_code_over_ssh_by_the_readme_has_nothing_wrong() -> Result<()> {
    let host = readme()?;
    host.write("/etc/pam.d/sshd", &format!("@include common-auth\n{ASKING}"))?;
    host.write("/etc/ssh/sshd_config", &SSHD.replace("publickey,keyboard", "keyboard"))?;
    let outcome = doctor(&host, &[])?.success()?;
    assert!(outcome.says("sshd asks for a code, after the first factor"), "{outcome}");
    Ok(())
}

#[test]
fn every_planted_mistake_is_found_by_its_name_and_place() {
    let mistakes: Vec<_> = [mistakes_of_pam(), mistakes_of_sshd(), mistakes_around()].into_iter().flatten().collect();
    assert!(mistakes.len() >= 25);
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..TOGETHER {
            scope.spawn(|| {
                while let Some(mistake) = mistakes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = find(mistake) {
                        let text = format!("{} {}: {error:#}", mistake.name, mistake.place);
                        missed.lock().unwrap().push(text);
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "{} of {} missed:\n{}", missed.len(), mistakes.len(), missed.join("\n\n"));
}

#[test]
fn a_clock_that_ran_backwards_is_found() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::sudo()).fake_clock().start()?;
    host.advance(std::time::Duration::from_secs(3600))?;
    host.enrol("alice")?;
    host.turn_back(std::time::Duration::from_secs(3000))?;
    let outcome = host.countersign(&["doctor"])?;
    assert!(outcome.status == 2 && outcome.says("[clock-backwards]"), "{outcome}");
    Ok(())
}

/// What the doctor says of an argument is what the module does with it.
#[test]
fn the_doctor_takes_the_arguments_that_the_module_takes() -> Result<()> {
    const PAM_SERVICE_ERR: i32 = 3;
    let host = Host::build().user_without_password("alice").start()?;
    for argument in [
        "quiet",
        "debug",
        "timeout=300",
        "timeout=301",
        "timeout=0",
        "timeout=+5",
        "forward_digits=8",
        "forward_digits=9",
        "forward_pass",
        "try_first_pass",
        "socket=none",
        "socket=/run/x",
        "socket=x",
        "socket=",
        "bus=unix:path=/x",
        "bus=unix:path=/x%20",
        "bus=tcp:host=x",
        "Debug",
        "nullok",
        "quiet=yes",
        "timeout",
    ] {
        host.write(
            "/etc/pam.d/door",
            &format!("auth requisite pam_countersign.so {argument}\nauth required pam_permit.so\n"),
        )?;
        let refused = host.attempt("door", "alice", &["000000"])?.result == PAM_SERVICE_ERR;
        let found = host.countersign(&["doctor", "--service", "door"])?.says("[pam-arguments]");
        assert_eq!(found, refused, "{argument}");
    }
    Ok(())
}
