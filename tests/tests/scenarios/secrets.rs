//! Secrets are nowhere in clear: not in the store, the log, the process's environment or a core dump.

use anyhow::Result;
use scenarios::{Host, PAM_SUCCESS, Stack};

/// Prints the files below its first argument that hold the bytes of the secret given in base32, or one of the texts.
const SEARCH: &str = r#"set -eu
printf '%s' "$2" | base32 -d >/run/raw
printf '%s\n' "$2" "$3" "$4" >/run/texts
perl -MFile::Find -e '
    my $raw = do { local (@ARGV, $/) = "/run/raw"; <> };
    my @texts = do { local @ARGV = "/run/texts"; map { chomp; $_ } <> };
    find({ no_chdir => 1, wanted => sub {
        return unless -f;
        my $content = do { local (@ARGV, $/) = $_; <> } // "";
        for my $secret ($raw, @texts) { print "$_\n" if length $secret && index($content, $secret) >= 0 }
    } }, $ARGV[0]);' "$1"
rm /run/raw /run/texts"#;

#[test]
fn no_secret_lies_in_the_store_the_log_or_the_environment() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::code_alone("door")).start()?;
    let phone = host.enrol("alice")?;
    let recovery = phone.recovery_codes[0].clone();
    assert_eq!(host.attempt("door", "alice", &[&host.code(&phone, 0)?])?.result, PAM_SUCCESS);
    assert_eq!(host.attempt("door", "alice", &[&recovery])?.result, PAM_SUCCESS);
    let search = |folder: &str| -> Result<String> {
        let bare = recovery.replace('-', "");
        let found = host.run(&["sh", "-c", SEARCH, "search", folder, &phone.secret, &recovery, &bare])?.success()?;
        Ok(found.stdout)
    };
    // The search finds both forms where they are: the proof that it would.
    host.write("/srv/text", &phone.secret)?;
    host.run(&["sh", "-c", "printf %s $0 | base32 -d >/srv/raw", &phone.secret])?.success()?;
    assert_eq!(search("/srv")?.lines().count(), 2, "the search does not find what is there");
    for folder in ["/var/lib/countersign", "/var/log", "/run/countersign"] {
        assert_eq!(search(folder)?, "", "in {folder}");
    }
    let environment =
        host.run(&["sh", "-c", "cat /proc/$(pidof countersignd)/environ /proc/$(pidof countersignd)/cmdline"])?;
    assert!(environment.succeeded() && !environment.stdout.contains(&phone.secret), "{environment}");
    Ok(())
}

#[test]
fn a_crash_of_the_daemon_leaves_no_core_and_its_own_user_cannot_read_its_memory() -> Result<()> {
    let host = Host::build().user_without_password("alice").pam(Stack::sudo()).start()?;
    host.enrol("alice")?;
    let read = "dd if=/proc/$(pidof countersignd)/mem of=/dev/null bs=1 count=1 2>&1; \
                setpriv --reuid countersign --clear-groups head -c1 /proc/$(pidof countersignd)/environ";
    let peeked = host.run(&["sh", "-c", read])?;
    assert!(!peeked.succeeded() && peeked.says("Permission denied"), "{peeked}");
    let limits = host.run(&["sh", "-c", "grep 'Max core file size' /proc/$(pidof countersignd)/limits"])?.success()?;
    let fields: Vec<_> = limits.stdout.split_whitespace().collect();
    assert_eq!(fields.get(4..6), Some(&["0", "0"][..]), "{limits}");
    Ok(())
}
