//! What confines and admits the daemon beside PAM: the policy files of the system bus, polkit's actions, SELinux.

use std::path::{Path, PathBuf};

use super::{
    Host, Place,
    finding::{Area, Finding, Level},
};

/// Where the system bus reads policies.
const BUS_POLICIES: [&str; 2] = ["/usr/share/dbus-1/system.d", "/etc/dbus-1/system.d"];
/// The shipped policy's file.
const BUS_POLICY: &str = "org.countersign.Countersign1.conf";
/// Where polkit reads actions.
const POLKIT_ACTIONS: &str = "/usr/share/polkit-1/actions";
/// The shipped actions' file.
const POLKIT_POLICY: &str = "org.countersign.policy";
/// Programs of polkit, one of which is there where it is installed.
const POLKIT: [&str; 3] = ["/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd", "/usr/lib/policykit-1/polkitd"];
/// Where SELinux says whether it enforces (selinux(8)).
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// Judges the policies of the system bus: who may own the daemon's name.
pub(crate) fn judge_bus(host: &Host) -> Vec<Finding> {
    let files: Vec<PathBuf> = BUS_POLICIES
        .iter()
        .flat_map(|directory| host.names(Path::new(directory)).into_iter().map(|name| Path::new(directory).join(name)))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    let mut findings = Vec::new();
    if !files.iter().any(|path| path.file_name().is_some_and(|name| name == BUS_POLICY)) {
        let place = Place::whole(Path::new(BUS_POLICIES[0]).join(BUS_POLICY));
        let finding = Finding::new(
            Area::Daemon,
            Level::Danger,
            "bus-policy-missing",
            "the system bus has no policy for the daemon",
        );
        let why = "the daemon cannot own its name there: nobody can be enrolled, listed or unlocked";
        findings.push(finding.because(why).at(&place).change("install the file, then: systemctl reload dbus"));
    }
    for path in files {
        let Ok(text) = host.read(&path) else { continue };
        for (line, whom) in owners(&text) {
            let what = format!("the bus lets {whom} own {}", dbus_api::BUS_NAME);
            let finding = Finding::new(Area::Daemon, Level::Danger, "bus-policy-open", what);
            let why = "who owns the name answers for the daemon to this tool, and takes administrators' commands";
            findings.push(finding.because(why).at(&Place::new(&path, line)).change("remove this <allow>"));
        }
    }
    findings
}

/// Who else than root and the daemon's account a policy file lets own our name: the line, and who.
fn owners(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut policy = String::new();
    for (line, tag) in tags(text) {
        match tag.split_whitespace().next() {
            Some("policy") => policy = whom(&tag),
            Some("allow") if policy != "root" && policy != "countersign" && owns(&tag) => {
                found.push((line, policy.clone()));
            }
            _ => {}
        }
    }
    found
}

fn whom(tag: &str) -> String {
    let named = |key: &str, words: &str| attribute(tag, key).map(|value| format!("{words}{value}"));
    let user = named("user", "");
    user.or_else(|| named("group", "group ")).unwrap_or_else(|| "everybody".to_owned())
}

fn owns(tag: &str) -> bool {
    let own = attribute(tag, "own").is_some_and(|name| name == dbus_api::BUS_NAME || name == "*");
    let prefixed = attribute(tag, "own_prefix").is_some_and(|prefix| {
        dbus_api::BUS_NAME.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    });
    own || prefixed
}

/// The tags of an XML file without their brackets, comments left out, each with the line on which it begins.
fn tags(text: &str) -> Vec<(usize, String)> {
    let mut tags = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some((before, after)) = rest.split_once('<') {
        line += before.matches('\n').count();
        let (inside, left) = match after.strip_prefix("!--") {
            Some(comment) => (None, comment.split_once("-->").unwrap_or((comment, ""))),
            None => (Some(()), after.split_once('>').unwrap_or((after, ""))),
        };
        if inside.is_some() {
            tags.push((line, left.0.trim_end_matches('/').to_owned()));
        }
        line += left.0.matches('\n').count();
        rest = left.1;
    }
    tags
}

fn attribute<'t>(tag: &'t str, key: &str) -> Option<&'t str> {
    let mut rest = tag;
    while let Some((before, after)) = rest.split_once('=') {
        let quote = after.trim_start().chars().next().filter(|quote| matches!(quote, '"' | '\''))?;
        let (value, left) = after.trim_start().strip_prefix(quote)?.split_once(quote)?;
        if before.split_whitespace().next_back() == Some(key) {
            return Some(value);
        }
        rest = left;
    }
    None
}

/// Judges polkit: where it runs, it must know our actions.
pub(crate) fn judge_polkit(host: &Host) -> Option<Finding> {
    let installed = POLKIT.iter().any(|program| host.has(Path::new(program)));
    let policy = Path::new(POLKIT_ACTIONS).join(POLKIT_POLICY);
    if !installed || host.has(&policy) {
        return None;
    }
    let finding = Finding::new(
        Area::Daemon,
        Level::Warning,
        "polkit-actions-missing",
        "polkit does not know the daemon's actions",
    );
    let why = "nobody but root can administer, whatever polkit's rules say";
    Some(finding.because(why).at(&Place::whole(policy)).change("install the file from packaging/polkit"))
}

/// Judges SELinux: where it enforces, the domains of sshd and its like need a policy for the daemon.
pub(crate) fn judge_selinux(host: &Host) -> Option<Finding> {
    let enforces = host.read(Path::new(SELINUX)).is_ok_and(|text| text.trim() == "1");
    let store = Path::new("/var/lib/selinux");
    let modules = host.names(store).into_iter().map(|kind| store.join(kind).join("active/modules"));
    let installed = modules
        .flat_map(|modules| host.names(&modules).into_iter().map(move |priority| modules.join(priority)))
        .any(|priority| host.has(&priority.join("countersign")));
    if !enforces || installed {
        return None;
    }
    let finding = Finding::new(
        Area::System,
        Level::Warning,
        "selinux-no-policy",
        "SELinux enforces, without a policy for the daemon",
    );
    let why = "it may keep sshd, login and screen lockers from the daemon's socket: they then refuse";
    Some(finding.because(why).change("look for denials: ausearch -m avc -c sshd -c login"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::{judge_selinux, owners};
    use crate::host::Host;

    #[test]
    fn the_shipped_policy_lets_nobody_else_own_the_name() {
        let shipped = include_str!("../../../packaging/dbus/org.countersign.Countersign1.conf");
        assert_eq!(owners(shipped), []);
    }

    #[test]
    fn everybody_a_group_and_a_prefix_are_found_with_their_line_and_comments_are_not() {
        let text = "<!-- <policy context='default'>\n<allow own=\"*\"/> -->\n<busconfig>\n<policy context=\"default\">\n\
                    <allow\n own='org.countersign.Countersign1'/>\n<allow own=\"org.other\"/></policy>\n\
                    <policy group=\"staff\"><allow own_prefix=\"org.countersign\"/></policy>\n\
                    <policy user=\"root\"><allow own=\"*\"/></policy></busconfig>";
        assert_eq!(owners(text), [(5, "everybody".to_owned()), (8, "group staff".to_owned())]);
    }

    #[test]
    fn selinux_that_enforces_wants_a_policy_for_the_daemon() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::below(root.path(), |_, _| Err(std::io::ErrorKind::NotFound.into()));
        assert_eq!(judge_selinux(&host), None);
        std::fs::create_dir_all(root.path().join("sys/fs/selinux")).unwrap();
        std::fs::write(root.path().join("sys/fs/selinux/enforce"), "1").unwrap();
        assert_eq!(judge_selinux(&host).unwrap().name, "selinux-no-policy");
        let modules = root.path().join("var/lib/selinux/targeted/active/modules/200/countersign");
        std::fs::create_dir_all(modules).unwrap();
        assert_eq!(judge_selinux(&host), None);
    }
}
