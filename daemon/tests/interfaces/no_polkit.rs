//! A bus without polkit: root administers, nobody else does, and nobody waits. With the real polkit: the scenarios.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, Command, Output, Stdio};

use daemon::bus::system;

use crate::scene::{OTHER, OWNER, Scene};

const CONFIGURATION: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path=FOLDER/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow user="*"/><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy></busconfig>"#;

/// A real bus of this test's own, which every user of the machine may enter.
struct Bus {
    daemon: Child,
    address: String,
    _folder: tempfile::TempDir,
}

impl Bus {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let configuration = folder.path().join("bus.conf");
        let text = CONFIGURATION.replace("FOLDER", folder.path().to_str().unwrap());
        std::fs::write(&configuration, text).unwrap();
        let mut daemon = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", configuration.display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("dbus-daemon must be installed (package dbus)");
        let mut address = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { daemon, address: address.trim().to_owned(), _folder: folder }
    }

    /// Calls a member of `Admin` for [`OWNER`] as this uid, by dbus-send(1).
    async fn call(&self, uid: u32, member: &str) -> Output {
        let mut command = match uid == nix::unistd::geteuid().as_raw() {
            true => Command::new("dbus-send"),
            false => {
                let mut other = Command::new("setpriv");
                other.args([&format!("--reuid={uid}"), "--clear-groups", "--", "dbus-send"]);
                other
            }
        };
        command.args(["--print-reply", &format!("--bus={}", self.address), &format!("--dest={}", dbus_api::BUS_NAME)]);
        command.args([dbus_api::OBJECT_PATH, &format!("{}.{member}", dbus_api::ADMIN_INTERFACE)]);
        command.arg(format!("string:{}", OWNER.0));
        let called = tokio::task::spawn_blocking(move || command.output());
        called.await.unwrap().expect("setpriv and dbus-send must be installed")
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

#[tokio::test]
async fn without_polkit_root_alone_administers_and_others_are_refused_at_once() {
    let scene = Scene::new("fail_delay = \"0s\"");
    scene.enrol(OWNER.0).await;
    let bus = Bus::start();
    let _served = system::connect(&bus.address, &scene.service, std::time::Duration::from_secs(20)).await.unwrap();
    // Only root can call as others; anybody else is one of them.
    let us = nix::unistd::geteuid();
    let others = if us.is_root() { vec![OWNER.1, OTHER.1] } else { vec![us.as_raw()] };
    for member in ["Account", "Unlock", "Disable", "Enable"] {
        if us.is_root() {
            let root = bus.call(0, member).await;
            assert!(root.status.success(), "{member}: {root:?}");
        }
        for uid in &others {
            let begun = std::time::Instant::now();
            let other = bus.call(*uid, member).await;
            let said = String::from_utf8_lossy(&other.stderr);
            assert!(said.contains("Error.AccessDenied: you may not administer here"), "{member}: {other:?}");
            assert!(begun.elapsed().as_secs() < 5, "nobody waits for a polkit that is not there");
        }
    }
    let account = scene.connect(0).await.admin.account(OWNER.0).await.unwrap();
    assert!(!account.disabled, "{account:?}");
}
