//! What programs print over ssh is the same, byte by byte, with Countersign and without: standard output and
//! standard error of ssh, scp, sftp, rsync, git and tar, where policy lets the login through. A reminder alone is
//! seen, on standard error.

use anyhow::Result;
use scenarios::{Host, document::Section};

use crate::{recipes, words::PROMPT};

/// What a client runs, and leaves the same way each time.
const PROGRAMS: [(&str, &str); 11] = [
    ("ssh", r"ssh alice@scratch 'printf \\000\\001\\r\\n\\377out; printf \\377err\\n >&2; exit 3'"),
    ("ssh -T with an input", "printf 'in\\0put' | ssh -T alice@scratch cat"),
    ("tar", "tar -C /root -cf - --mtime=@0 tree | ssh alice@scratch 'tar -xvf - && tar -cf - tree'"),
    ("scp", "scp -r /root/tree alice@scratch:by-scp && scp alice@scratch:by-scp/one /root/back"),
    ("scp -O", "scp -O /root/tree/one alice@scratch:by-old-scp && scp -O alice@scratch:none /root/none"),
    ("sftp", "printf 'ls\\nput /root/tree/one by-sftp\\nget by-sftp /root/back\\nget none\\n' | sftp alice@scratch"),
    (
        "rsync",
        "rsync -ai --delete /root/tree/ alice@scratch:by-rsync && rsync -ai alice@scratch:by-rsync/ /root/back-tree",
    ),
    ("rsync of nothing", "rsync -a alice@scratch:none /root/none"),
    (
        "git push",
        "ssh alice@scratch git init -q --bare r && cd /root/work && git push alice@scratch:r HEAD:refs/heads/main",
    ),
    ("git clone", "git clone -b main alice@scratch:r /root/clone && git ls-remote alice@scratch:r"),
    ("git of nothing", "git clone alice@scratch:none /root/none"),
];

const PREPARE: &str =
    "rm -rf /root/back* /root/clone /root/tree /root/work /home/alice/by-* /home/alice/r /home/alice/tree
mkdir /root/tree && echo one >/root/tree/one && head -c 300000 /dev/zero >/root/tree/zeros
touch -d @0 /root/tree/* /root/tree
export GIT_AUTHOR_DATE='1000000000 +0000' GIT_COMMITTER_DATE='1000000000 +0000'
git init -q /root/work && cd /root/work && git -c user.name=x -c user.email=x@x commit -q --allow-empty -m first";

const REMINDER: &[u8] = b"From 31 January 2999 a second factor is needed here: run countersign enroll\n";

/// Status, standard output and standard error of a program.
type Ended = (i32, Vec<u8>, Vec<u8>);

/// Runs each program.
fn play(host: &Host) -> Result<Vec<Ended>> {
    host.run(&["sh", "-ec", PREPARE])?.success()?;
    let run = |(_, script): &(&str, &str)| {
        let output = host.command("root", &["sh", "-c", script])?.output()?;
        Ok((output.status.code().unwrap_or(-1), output.stdout, output.stderr))
    };
    PROGRAMS.iter().map(run).collect()
}

/// What a client said beside the reminders; it said one at least.
fn without_reminder(err: &[u8]) -> Vec<u8> {
    let lines: Vec<&[u8]> = err.split_inclusive(|byte| *byte == b'\n').collect();
    let kept: Vec<&[u8]> = lines.iter().copied().filter(|line| *line != REMINDER).collect();
    assert!(kept.len() < lines.len(), "no reminder: {}", String::from_utf8_lossy(err));
    kept.concat()
}

#[test]
fn what_programs_print_over_ssh_is_the_same_with_countersign_and_without() -> Result<()> {
    let keys = "PasswordAuthentication no\nAuthenticationMethods publickey\n";
    let without = play(&recipes::base().file("/etc/ssh/sshd_config.d/10-keys.conf", keys).start()?)?;
    let failed = [3, 0, 0, 0, 1, 0, 0, 23, 0, 0, 128];
    assert_eq!(without.iter().map(|(status, ..)| *status).collect::<Vec<_>>(), failed, "{without:?}");
    assert_eq!(without[0], (3, b"\0\x01\r\n\xffout".to_vec(), b"\xfferr\n".to_vec()));

    let host = recipes::base().documented(&Section::read(recipes::PAGE, "Key and code")?)?.start()?;
    let modes = [
        ("skipped", "[[rule]]\nname = \"a\"\naction = \"skip\"\n"),
        ("would-refuse-not-enrolled", "mode = \"observe\"\n"),
        ("reminded", "[[rule]]\nname = \"a\"\nenroll_by = 2999-01-31\n"),
        ("passed", "[[rule]]\nname = \"a\"\nunenrolled = \"pass\"\n"),
        ("remembered until", "[[rule]]\nname = \"a\"\nremember = \"8h\"\n"),
    ];
    for (reason, configuration) in modes {
        host.write("/etc/countersign/countersign.toml", configuration)?;
        host.restart_daemon()?;
        if reason == "remembered until" {
            let phone = host.enrol("alice")?;
            host.ssh("alice", "id -un").answer(PROMPT, &host.code(&phone, 0)?).expect("alice").end()?.success()?;
        }
        let with = play(&host)?;
        for (((name, _), without), (status, out, err)) in PROGRAMS.iter().zip(&without).zip(with) {
            // A reminder is told where the client shows messages, which is its own standard error.
            let err = if reason == "reminded" { without_reminder(&err) } else { err };
            assert_eq!(&(status, out, err), without, "{name}, {reason}");
        }
        let line = host.syslog().into_iter().rfind(|line| line.has(&[("event", "verification"), ("outcome", "note")]));
        let told = line.as_ref().and_then(|line| line.field("reason")).unwrap_or_default();
        assert!(told.starts_with(reason), "{line:?}");
    }
    Ok(())
}
