//! Services that run in somebody's name while nobody is there to be asked.

use scenarios::wait;

use crate::{package::logged, suites, trouble::ready};

/// A service of alice's that leaves its name.
const SERVICE: &str = "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'id -un >/tmp/by-user-service'\n";

#[test]
fn user_services_run_as_before_where_common_auth_asks_even_without_a_daemon() {
    for suite in suites() {
        let machine = ready(&suite);
        let directory = "/home/alice/.config/systemd/user";
        machine.shell(&format!("install -d -o alice {directory}")).unwrap();
        machine.write(&format!("{directory}/job.service"), SERVICE).unwrap();
        for daemon in ["start", "stop"] {
            machine.shell(&format!("systemctl {daemon} countersignd.socket countersignd.service")).unwrap();
            machine.shell("rm -f /tmp/by-user-service; loginctl enable-linger alice").unwrap();
            let manager = "systemctl is-active user@$(id -u alice).service";
            wait("alice's manager", || Ok(machine.shell(manager).ok())).unwrap();
            let start =
                "runuser -u alice -- env XDG_RUNTIME_DIR=/run/user/$(id -u alice) systemctl --user start job.service";
            machine.shell(start).unwrap();
            assert_eq!(machine.read("/tmp/by-user-service").unwrap(), "alice\n");
            machine.shell("loginctl disable-linger alice; systemctl stop user@$(id -u alice).service").unwrap();
        }
        logged(&machine, &["pam_unix(systemd-user:session)", "opened for user alice"]);
        let journal = machine.shell("journalctl -b --no-pager -t countersignd").unwrap();
        assert!(!journal.contains("systemd-user"), "{journal}");
    }
}
