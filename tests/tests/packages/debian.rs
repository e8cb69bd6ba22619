//! The Debian packages: what lies where, what it tells of who built it, and that a second build is the same.

use std::{fs, path::PathBuf};

use scenarios::{build_debian, package, rootfs, shipped, target_directory};

use crate::{path, run, text, unpacked};

#[test]
fn lintian_finds_nothing() {
    let said = run("lintian", &["--allow-root", "--fail-on", "error,warning", path(&debian()), path(&symbols())]);
    assert_eq!(said.trim(), "");
}

#[test]
fn everything_is_root_s_and_nothing_is_writable_by_others_or_setuid() {
    let listing = run("dpkg-deb", &["-c", path(&debian())]);
    for line in listing.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(fields[1], "root/root", "{line}");
        let program = fields[5].starts_with("./usr/bin/") || fields[5].starts_with("./usr/libexec/");
        let expected = match (fields[5].ends_with('/'), program) {
            (true, _) => "drwxr-xr-x",
            (false, true) => "-rwxr-xr-x",
            (false, false) => "-rw-r--r--",
        };
        assert_eq!(fields[0], expected, "{line}");
    }
    let module = format!("./usr/lib/{}-linux-gnu/security/pam_countersign.so", std::env::consts::ARCH);
    assert!(listing.contains(&module), "{listing}");
}

#[test]
fn dependencies_are_those_of_the_oldest_debian() {
    let depends = run("dpkg-deb", &["-f", path(&debian()), "Depends"]);
    assert!(depends.contains("libc6 (>= 2.34)"), "{depends}");
    assert!(depends.contains("libpam0g"), "{depends}");
    assert!(!depends.contains("libsqlite") && !depends.contains("libdbus"), "{depends}");
}

#[test]
fn nothing_tells_where_it_was_built() {
    let (programs, debug) = (unpacked(&debian()), unpacked(&symbols()));
    let home = std::env::var("HOME").unwrap();
    let places = [
        fs::canonicalize(shipped(".")).unwrap(),
        target_directory().unwrap(),
        PathBuf::from(std::env::var("CARGO_HOME").unwrap_or(format!("{home}/.cargo"))),
        PathBuf::from(std::env::var("RUSTUP_HOME").unwrap_or(format!("{home}/.rustup"))),
    ];
    for directory in [&programs, &debug] {
        // Debug sections are compressed: they are looked at as they were.
        let script = "find \"$0\" -type f -name '*.debug' -exec objcopy --decompress-debug-sections {} \\;";
        run("sh", &["-c", script, path(directory.path())]);
        for place in &places {
            let found = crate::attempt("grep", &["-rlaF", path(place), path(directory.path())]);
            assert_eq!(found.status.code(), Some(1), "{} stands in {}", place.display(), text(&found));
        }
    }
}

#[test]
fn programs_are_stripped_and_their_symbols_found_by_their_build_id() {
    let (programs, debug) = (unpacked(&debian()), unpacked(&symbols()));
    let module = format!("usr/lib/{}-linux-gnu/security/pam_countersign.so", std::env::consts::ARCH);
    for program in ["usr/bin/countersign", "usr/libexec/countersignd", &module] {
        let program = programs.path().join(program);
        let sections = run("readelf", &["-S", "--wide", path(&program)]);
        assert!(!sections.contains(".symtab") && !sections.contains(".debug_info"), "{}", program.display());
        let notes = run("readelf", &["-n", path(&program)]);
        let id = notes.lines().find_map(|line| line.trim().strip_prefix("Build ID: ")).unwrap();
        let symbols = debug.path().join(format!("usr/lib/debug/.build-id/{}/{}.debug", &id[..2], &id[2..]));
        assert!(run("readelf", &["-S", "--wide", path(&symbols)]).contains(".debug_line"), "{}", symbols.display());
    }
}

#[test]
fn the_same_stage_packed_twice_is_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let again = build_debian(directory.path(), None).unwrap();
    for (first, second) in
        [(debian(), again.clone()), (symbols(), directory.path().join(symbols().file_name().unwrap()))]
    {
        assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "{} differs", first.display());
    }
}

#[test]
fn the_licence_of_every_part_is_told() {
    let directory = unpacked(&debian());
    let licences = directory.path().join("usr/share/doc/countersign/licences.txt.gz");
    let told = run("zcat", &[path(&licences)]);
    for part in ["zbus ", "pamsm ", "rusqlite ", "tokio ", "clap ", "totp-rs "] {
        let line = told.lines().find(|line| line.starts_with(part));
        assert!(
            line.is_some_and(|line| ["MIT", "GPL-3.0"].iter().any(|licence| line.contains(licence))),
            "{part}: {line:?}"
        );
    }
    assert!(!told.contains("serde_derive") && !told.contains("proptest"), "what runs while compiling is not linked");
    assert!(told.contains("Permission is hereby granted"), "the texts of the licences are missing");
}

/// No systemd that runs, no D-Bus, no polkit: the package says so, makes its account, and leaves PAM and the rest alone.
#[test]
fn where_nothing_runs_it_installs_with_a_clear_word_and_leaves_pam_alone() {
    let rootfs = rootfs("bookworm").unwrap();
    let scratch = target_directory().unwrap().join("booted").join(format!("bare{}", std::process::id()));
    fs::create_dir_all(&scratch).unwrap();
    let package = debian();
    let script = r#"
        set -e
        mount -t overlay -o "lowerdir=$1,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
        cp "$3" "$2/root/package.deb"
        cd "$2/root"
        mount -t proc proc proc
        inside() { env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot . "$@"; }
        inside dpkg --purge --force-depends dbus dbus-system-bus-common dbus-daemon dbus-bin libpam-systemd polkitd >/dev/null 2>&1
        inside sh -c 'cd /etc/pam.d && md5sum *' >before
        inside dpkg -i /package.deb
        inside getent passwd countersign
        inside sh -c 'cd /etc/pam.d && md5sum *' >after
        cmp before after && echo PAM is as it was
        inside dpkg -i /package.deb && echo installed again
        inside dpkg --remove countersign && inside dpkg --purge countersign && echo gone
        inside sh -c 'cd /etc/pam.d && md5sum *' | cmp before && echo PAM is still as it was
        ! inside find / -xdev -path /proc -prune -o -name '*countersign*' -print | grep . && echo nothing left
    "#;
    for name in ["upper", "work", "root"] {
        fs::create_dir(scratch.join(name)).unwrap();
    }
    let arguments =
        ["-m", "-p", "-f", "--kill-child", "sh", "-c", script, "-", path(&rootfs), path(&scratch), path(&package)];
    let output = crate::attempt("unshare", &arguments);
    fs::remove_dir_all(&scratch).unwrap();
    let said = text(&output);
    for words in [
        "systemd does not run here, so countersignd was not started, and logins are as they were",
        "countersign:x:",
        "PAM is as it was",
        "installed again",
        "gone",
        "PAM is still as it was",
        "nothing left",
    ] {
        assert!(said.contains(words), "{words} is missing in:\n{said}");
    }
}

fn debian() -> PathBuf {
    package("countersign_", ".deb").unwrap()
}

fn symbols() -> PathBuf {
    package("countersign-dbgsym_", ".deb").unwrap()
}
