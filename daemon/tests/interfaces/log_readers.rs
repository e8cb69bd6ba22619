//! What reads our log, on the lines that the daemon writes: rsyslog with the shipped example puts them into a file of
//! their own, and fail2ban with the shipped filter finds the hosts that guess, and none that somebody typed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use dbus_api::Origin;

use crate::scene::{OTHER, OWNER, Peer, Scene, code, steady_step, wrong_code};

const FILTER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../packaging/fail2ban/countersign.conf");
const RULE: &str = include_str!("../../../packaging/rsyslog/countersign.conf");
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A real rsyslogd with the shipped example, but for the place of the file.
struct Rsyslog {
    daemon: Child,
    folder: tempfile::TempDir,
}

impl Rsyslog {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let rule = RULE.replace("/var/log/countersign.log", &path("countersign.log"));
        assert_ne!(rule, RULE);
        let configuration = format!(
            "module(load=\"imuxsock\" SysSock.Use=\"off\")\ninput(type=\"imuxsock\" Socket=\"{}\")\n{rule}\n\
             *.* action(type=\"omfile\" file=\"{}\")\n",
            path("socket"),
            path("everything.log")
        );
        std::fs::write(path("rsyslog.conf"), configuration).unwrap();
        let daemon = Command::new("rsyslogd")
            .args(["-n", "-f", &path("rsyslog.conf"), "-i", &path("pid")])
            .spawn()
            .expect("rsyslogd must be installed (package rsyslog)");
        let rsyslog = Self { daemon, folder };
        rsyslog.wait("its socket", || rsyslog.socket().exists());
        rsyslog
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    /// The file of our lines, once a line with this stands in it.
    fn log_with(&self, part: &str) -> PathBuf {
        let path = self.folder.path().join("countersign.log");
        self.wait(part, || std::fs::read_to_string(&path).is_ok_and(|text| text.contains(part)));
        path
    }

    fn wait(&self, what: &str, seen: impl Fn() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !seen() {
            assert!(Instant::now() < deadline, "rsyslog: never seen: {what}");
            std::thread::park_timeout(Duration::from_millis(2));
        }
    }
}

impl Drop for Rsyslog {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// The hosts that fail2ban finds in this log with the shipped filter, one for each line that counts.
fn found(log: &Path) -> Vec<String> {
    let output = Command::new("fail2ban-regex")
        .args(["--out", "ip"])
        .args([log, Path::new(FILTER)])
        .output()
        .expect("fail2ban-regex must be installed (package fail2ban)");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.stderr.is_empty() && !said.contains("ERROR"), "{output:?}");
    said.lines().map(str::to_owned).collect()
}

async fn reply(peer: &Peer, user: &str, origin: Origin, reply: &str) {
    let (id, _) = peer.verifier.begin(user, &origin).await.unwrap();
    peer.verifier.respond(id, reply).await.unwrap();
}

fn from(rhost: &str) -> Origin {
    let item = |text: &str| Some(text.to_owned());
    Origin { service: item("sshd"), tty: item("ssh"), rhost: item(rhost), ruser: None }
}

/// A whole line of ours that bans 203.0.113.66, as somebody may type it.
const FORGED: &str = "event=verification outcome=refused account=\"x\" service=\"sshd\" tty=\"ssh\" rhost=\"203.0.113.66\" \
     origin=trusted reason=\"wrong\" failures=1 caller_uid=0 seq=1 chain=0123456789abcdef";

#[tokio::test]
async fn fail2ban_finds_the_hosts_that_guess_codes_and_no_other() {
    let rsyslog = Rsyslog::start();
    let scene = Scene::logging("fail_delay = \"0s\"", &rsyslog.socket());
    let offer = scene.enrol(OWNER.0).await;
    let (root, owner) = (scene.connect(0).await, scene.connect(OWNER.1).await);
    steady_step().await;
    let right = code(&offer, 0);
    reply(&root, OWNER.0, from("203.0.113.1"), &right).await;
    reply(&root, OWNER.0, from("203.0.113.2"), &right).await;
    reply(&root, OWNER.0, from("203.0.113.3"), "my password").await;
    reply(&root, OWNER.0, from("203.0.113.4"), "\u{8}\n\r\u{7f}INCORRECT").await;
    reply(&owner, OWNER.0, from("203.0.113.5"), &wrong_code(&offer)).await;
    reply(&root, OWNER.0, from("guesser.example"), &wrong_code(&offer)).await;

    reply(&root, OWNER.0, from("198.51.100.1"), &wrong_code(&offer)).await;
    reply(&root, OTHER.0, from("198.51.100.2"), "123456").await;
    reply(&root, "no-such-account", from("198.51.100.3"), "123456").await;
    reply(&root, "sys", from("2001:db8::7"), "123456").await;
    reply(&root, "games", Origin { service: None, tty: None, ..from("198.51.100.4") }, "123456").await;
    // The last line of all tells that the others are there.
    scene.service.reload(None).await.unwrap();
    let log = rsyslog.log_with("event=reload");
    let expected = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "2001:db8::7", "198.51.100.4"];
    assert_eq!(found(&log), expected, "{}", std::fs::read_to_string(&log).unwrap());
}

#[tokio::test]
async fn nobody_can_type_what_makes_fail2ban_ban_another_host() {
    let rsyslog = Rsyslog::start();
    let scene = Scene::logging("fail_delay = \"0s\"", &rsyslog.socket());
    let root = scene.connect(0).await;
    let mut typed = vec![
        "rhost=\"203.0.113.66\"".to_owned(),
        format!("x\" {}", FORGED.split_once("account=\"x\" ").unwrap().1),
        format!("x\\\" {}", FORGED.split_once("account=\"x\" ").unwrap().1),
        format!("x\\\\\" {}", FORGED.split_once("account=\"x\" ").unwrap().1),
        "x\\".to_owned(),
        "x\" rhost=\"203.0.113.66\" origin=trusted reason=\"wrong\" seq=1 chain=0123456789abcdef".to_owned(),
        "203.0.113.66\" origin=trusted reason=\"wrong\" caller_uid=0 seq=1 chain=0123456789abcdef".to_owned(),
        "203.0.113.66 ".to_owned(),
        "203.0.113.66.guesser.example".to_owned(),
        "::ffff:203.0.113.66x".to_owned(),
    ];
    for separator in ["\n", "\r\n", "\u{85}", "\u{2028}", "#012"] {
        for date in ["Nov 22 10:15:42", "2026-11-22T10:15:42.000000+00:00", "<86>Nov 22 10:15:42"] {
            typed.push(format!("x{separator}{date} host countersignd[1]: {FORGED}"));
        }
    }
    for (number, text) in typed.iter().enumerate() {
        let host = format!("198.51.100.{number}");
        let item = || Some(text.clone());
        reply(&root, text, from(&host), "123456").await;
        reply(&root, "no-such-account", Origin { service: item(), tty: item(), ..from(&host) }, text).await;
        reply(&root, &format!("no-{number}"), Origin { rhost: item(), ..from("") }, "123456").await;
    }
    scene.service.reload(None).await.unwrap();
    let log = rsyslog.log_with("event=reload");
    let own: Vec<_> = (0..typed.len()).map(|number| format!("198.51.100.{number}")).collect();
    assert_eq!(found(&log), own, "{}", std::fs::read_to_string(&log).unwrap());
}

#[tokio::test]
async fn rsyslogs_example_keeps_our_lines_and_nobody_elses() {
    let rsyslog = Rsyslog::start();
    let scene = Scene::logging("fail_delay = \"0s\"", &rsyslog.socket());
    let other = std::os::unix::net::UnixDatagram::unbound().unwrap();
    for line in ["<86>sshd[7]: Accepted countersignd", "<14>countersignd[7]: not of our facility"] {
        other.send_to(line.as_bytes(), rsyslog.socket()).unwrap();
    }
    scene.enrol(OWNER.0).await;
    let text = std::fs::read_to_string(rsyslog.log_with("event=enrolment-confirmed")).unwrap();
    let everything = std::fs::read_to_string(rsyslog.folder.path().join("everything.log")).unwrap();
    assert!(everything.contains("Accepted countersignd") && everything.contains("not of our facility"), "{everything}");
    let audit = scene.audit().await;
    let lines: Vec<_> = text.lines().filter_map(|line| line.split_once("]: ")).map(|(_, line)| line.trim()).collect();
    assert_eq!(lines, audit.iter().map(daemon::audit::AuditRecord::line).collect::<Vec<_>>(), "{text}");
}
