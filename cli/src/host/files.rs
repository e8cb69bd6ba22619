//! Owners and modes of what Countersign is made of: whoever may write it, decides about logins.

use std::{
    fs::Metadata,
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{
    Host, Place,
    finding::{Area, Finding, Level},
};

/// The state of a daemon that was not told another place.
pub(crate) const STATE: &str = "/var/lib/countersign";
/// Its configuration.
const CONFIGURATION: &str = "/etc/countersign";
/// Where PAM modules lie, by distribution; `*` is the architecture's folder.
const MODULES: [&str; 4] = ["/usr/lib/*/security", "/lib/*/security", "/usr/lib64/security", "/usr/lib/security"];
/// What every folder of modules holds.
const ANY_MODULE: &str = "pam_permit.so";

/// What is right for a file or directory.
struct Rule<'a> {
    path: &'a Path,
    /// Whom it may belong to.
    owners: &'a [u32],
    /// Bits that must not be set.
    without: u32,
    name: &'static str,
    why: &'static str,
    /// The mode to propose, in octal.
    mode: u32,
}

/// Judges configuration, programs and state. `daemon` is the uid of the daemon's account.
pub(crate) fn judge(host: &Host, daemon: Option<u32>) -> Vec<Finding> {
    let mut findings = configuration(host, daemon);
    let program = Path::new(dbus_api::DAEMON);
    let rule = Rule {
        path: program,
        owners: &[0],
        without: 0o022,
        name: "program-open",
        why: "whoever may write it decides about every login",
        mode: 0o755,
    };
    findings.extend(check(host, &rule));
    let tool = Path::new("/usr/bin/countersign");
    findings.extend(check(host, &Rule { path: tool, ..rule }));
    if let Some(daemon) = daemon {
        findings.extend(state(host, daemon));
    }
    findings
}

fn configuration(host: &Host, daemon: Option<u32>) -> Vec<Finding> {
    let mut paths = vec![PathBuf::from(CONFIGURATION), Path::new(CONFIGURATION).join("countersign.toml")];
    let more = Path::new(CONFIGURATION).join("conf.d");
    paths.extend(host.names(&more).into_iter().map(|name| more.join(name)));
    paths.push(more);
    let mut findings = Vec::new();
    for path in &paths {
        let Ok(found) = host.metadata(path) else { continue };
        let mode = if found.is_dir() { 0o755 } else { 0o644 };
        let why = "whoever may write it decides who is asked for a code";
        let rule = Rule { path, owners: &[0], without: 0o022, name: "config-open", why, mode };
        findings.extend(check(host, &rule));
        if daemon.is_some_and(|daemon| !may_read(&found, daemon)) {
            let what = format!("the daemon may not read {}", path.display());
            let finding = Finding::new(Area::Files, Level::Danger, "config-unreadable", what);
            let why = "its next start fails, and with it every login that is asked for a code";
            findings.push(finding.because(why).at(&Place::whole(path)).change(chmod(mode, path)));
        }
    }
    findings
}

/// The daemon has no group but its own, whose number is that of its account (sysusers.d(5)).
fn may_read(found: &Metadata, uid: u32) -> bool {
    let needed = if found.is_dir() { 0o5 } else { 0o4 };
    let shift = if found.uid() == uid {
        6
    } else if found.gid() == uid {
        3
    } else {
        0
    };
    (found.mode() >> shift) & needed == needed
}

fn state(host: &Host, daemon: u32) -> Vec<Finding> {
    let state = Path::new(STATE);
    let owners = [daemon];
    let rule = |path, name, why, mode, without| Rule { path, owners: &owners, without, name, why, mode };
    let secret = "with it every code of everybody can be computed";
    let mut findings = Vec::new();
    let key = state.join("master.key");
    findings.extend(check(host, &rule(&key, "key-open", secret, 0o400, 0o7377)));
    let store = state.join("store.sqlite");
    let accounts = "it holds all accounts and the audit";
    findings.extend(check(host, &rule(&store, "store-open", accounts, 0o600, 0o7177)));
    let log = state.join("store.sqlite-wal");
    findings.extend(check(host, &rule(&log, "store-open", accounts, 0o600, 0o7177)));
    let refuses = "the daemon does not start on a folder that others may enter, and nobody who needs a code gets in";
    findings.extend(check(host, &rule(state, "state-open", refuses, 0o700, 0o077)));
    findings
}

fn check(host: &Host, rule: &Rule<'_>) -> Option<Finding> {
    let found = host.metadata(rule.path).ok()?;
    let shown = rule.path.display();
    let (what, change) = if !rule.owners.contains(&found.uid()) {
        let owner = rule.owners.first().copied().unwrap_or(0);
        (format!("{shown} belongs to uid {}", found.uid()), format!("chown {owner} {shown}"))
    } else if found.mode() & rule.without != 0 {
        let mode = found.mode() & 0o7777;
        (format!("{shown} has mode {mode:04o}"), chmod(rule.mode, rule.path))
    } else {
        return None;
    };
    let finding = Finding::new(Area::Files, Level::Danger, rule.name, what);
    Some(finding.because(rule.why).at(&Place::whole(rule.path)).change(change))
}

fn chmod(mode: u32, path: &Path) -> String {
    format!("chmod {mode:04o} {}", path.display())
}

/// Judges the module that a PAM line names: is it there, and who may write it?
pub(crate) fn judge_module(host: &Host, name: &str, place: &Place) -> Option<Finding> {
    let danger = |name, what: String| Finding::new(Area::Files, Level::Danger, name, what).at(place);
    let directories = module_directories(host);
    let candidates: Vec<PathBuf> = match name.starts_with('/') {
        true => vec![PathBuf::from(name)],
        false => directories.iter().map(|directory| directory.join(name)).collect(),
    };
    let Some(path) = candidates.iter().find(|path| host.metadata(path).is_ok_and(|found| found.is_file())) else {
        let looked: Vec<_> = directories.iter().map(|directory| directory.display().to_string()).collect();
        let finding = danger("module-missing", format!("the module {name} is not there"));
        let why = "libpam refuses in its place: nobody gets in through this line";
        let into = looked.first().map_or("the folder of PAM's modules", String::as_str);
        return Some(finding.because(why).change(format!("install it into {into}")));
    };
    let why = "whoever may write it is in every program that asks for a code";
    let rule = Rule { path, owners: &[0], without: 0o022, name: "module-open", why, mode: 0o644 };
    let folder = path.parent().unwrap_or(Path::new("/"));
    let above = Rule { path: folder, mode: 0o755, ..rule };
    check(host, &rule).or_else(|| check(host, &above)).or_else(|| {
        let readable = host.metadata(path).is_ok_and(|found| found.mode() & 0o444 == 0o444);
        let finding = danger("module-unreadable", format!("{} cannot be read by everybody", path.display()));
        let why = "programs that are not root, such as screen lockers, cannot load it and refuse";
        (!readable).then(|| finding.because(why).change(chmod(0o644, path)))
    })
}

/// The folders in which libpam of this host looks for modules.
fn module_directories(host: &Host) -> Vec<PathBuf> {
    let expand = |pattern: &str| match pattern.split_once('*') {
        None => vec![PathBuf::from(pattern)],
        Some((before, after)) => {
            let names = host.names(Path::new(before)).into_iter();
            names.map(|name| Path::new(before).join(name).join(after.trim_start_matches('/'))).collect()
        }
    };
    let all = MODULES.iter().flat_map(|pattern| expand(pattern));
    all.filter(|directory| host.has(&directory.join(ANY_MODULE))).collect()
}

/// Judges the private socket: is it there, for everybody, and whose? `daemon` is the uid of the daemon's account.
pub(crate) fn judge_socket(host: &Host, daemon: Option<u32>) -> Vec<Finding> {
    let path = Path::new(dbus_api::PRIVATE_SOCKET);
    let danger = |name, what: String| Finding::new(Area::Daemon, Level::Danger, name, what).at(&Place::whole(path));
    let shown = path.display();
    let found = match host.metadata(path) {
        Ok(found) => found,
        Err(error) => {
            let why = match error.kind() {
                io::ErrorKind::NotFound => "it is not there".to_owned(),
                _ => error.to_string(),
            };
            let finding = danger("socket-missing", format!("the private socket {shown}: {why}"));
            let why = "logins go over the system bus alone: slower, and not at all where that hangs";
            return vec![finding.because(why).change("systemctl restart countersignd.socket")];
        }
    };
    let mut findings = Vec::new();
    if !found.file_type().is_socket() {
        findings.push(danger("socket-foreign", format!("{shown} is no socket")).because("the module does not use it"));
    }
    if found.uid() != 0 && Some(found.uid()) != daemon {
        let finding = danger("socket-foreign", format!("{shown} belongs to uid {}", found.uid()));
        let why = "the module believes whoever owns it: that account decides about every login";
        findings.push(finding.because(why).change("systemctl restart countersignd.socket"));
    }
    if found.mode() & 0o666 != 0o666 {
        let what = format!("{shown} has mode {:04o}", found.mode() & 0o7777);
        let why =
            "programs that are not root, such as screen lockers, cannot connect; the daemon tells callers apart itself";
        findings.push(danger("socket-mode", what).because(why).change(chmod(0o666, path)));
    }
    let folder = path.parent().unwrap_or(Path::new("/"));
    let owners: Vec<u32> = [0].into_iter().chain(daemon).collect();
    let why = "whoever may write there can put another socket in its place";
    let rule = Rule { path: folder, owners: &owners, without: 0o022, name: "socket-folder-open", why, mode: 0o755 };
    findings.extend(check(host, &rule));
    findings
}
