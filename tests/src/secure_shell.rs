//! sshd and its clients.

use anyhow::Result;

use crate::{Dialogue, Host, account::Person, root::Root};

/// Where the client's key and its list of known hosts are.
const CLIENT: &str = "/root/laptop";

/// The client's configuration: it has a key, knows the host's, and takes no other.
const CLIENT_CONFIGURATION: &str = "Host scratch\nHostName 127.0.0.1\nIdentityFile /root/laptop/key\n\
     IdentitiesOnly yes\nUserKnownHostsFile /root/laptop/known_hosts\nStrictHostKeyChecking yes\n";

/// sshd's configuration. `methods` is the value of `AuthenticationMethods` (sshd_config(5)).
pub(crate) fn configuration(methods: &str) -> String {
    format!(
        "ListenAddress 127.0.0.1\nHostKey /etc/ssh/scratch_host_key\nUsePAM yes\nKbdInteractiveAuthentication yes\n\
         PasswordAuthentication no\nAuthenticationMethods {methods}\nUseDNS no\nSyslogFacility AUTHPRIV\n"
    )
}

/// Commands that make the keys; `$key` is the host's.
macro_rules! keys {
    () => {
        "ssh-keygen -q -t ed25519 -N '' -f /root/laptop/key\n\
         printf '127.0.0.1 ' | cat - $key.pub >/root/laptop/known_hosts\n\
         for home in /home/*/.ssh; do [ -d \"$home\" ] && cp /root/laptop/key.pub \"$home/authorized_keys\"; done\n\
         mkdir -p -m 0755 /run/sshd\n"
    };
}

/// Commands that make the keys and start an sshd with [`configuration`].
pub(crate) const START: &str = concat!(
    "key=/etc/ssh/scratch_host_key\nssh-keygen -q -t ed25519 -N '' -f $key\n",
    keys!(),
    "/usr/sbin/sshd -f /etc/ssh/scratch_config\n"
);

/// Commands that make the keys and start an sshd as the host's own files have it.
pub(crate) const START_OWN: &str = concat!(
    "key=/etc/ssh/ssh_host_ed25519_key\nrm -f $key\nssh-keygen -q -t ed25519 -N '' -f $key\n",
    keys!(),
    "/usr/sbin/sshd\n"
);

/// The configuration that [`START`] relies on.
pub(crate) fn prepare_server(root: &Root, methods: &str) -> Result<()> {
    root.write("/etc/ssh/scratch_config", configuration(methods).as_bytes(), 0o600, 0)
}

/// Directories and files of the clients.
pub(crate) fn prepare_clients(root: &Root, people: &[Person]) -> Result<()> {
    root.make_directory(CLIENT, 0o700, 0)?;
    root.make_directory("/root/.ssh", 0o700, 0)?;
    root.write("/root/.ssh/config", CLIENT_CONFIGURATION.as_bytes(), 0o600, 0)?;
    for person in people {
        root.make_directory(&format!("{}/.ssh", person.home()), 0o755, 0)?;
    }
    Ok(())
}

impl Host {
    /// OpenSSH's client on a terminal: logs in as `user` and runs `command`.
    #[must_use]
    pub fn ssh<'host>(&'host self, user: &str, command: &str) -> Dialogue<'host> {
        self.terminal("root", &["ssh", &format!("{user}@scratch"), command])
    }
}
