//! Whether a login is at a console of this host, by what root's service says of it. `PAM_TTY` alone proves nothing: a
//! pseudo terminal is reused by the next session, and sudo inside ssh carries no remote host.

/// Services that log in whoever sits at the host: login(1) and the usual display managers.
const SERVICES: [&str; 15] = [
    "login",
    "gdm",
    "gdm-password",
    "gdm-fingerprint",
    "gdm-smartcard",
    "greetd",
    "kde",
    "lightdm",
    "lxdm",
    "ly",
    "plasmalogin",
    "sddm",
    "slim",
    "wdm",
    "xdm",
];

/// Terminals that are wired to the host or are its hypervisor's console; a number follows. A modem may hang on any
/// other serial line, such as ttyUSB.
const NUMBERED: [&str; 5] = ["tty", "ttyS", "ttyAMA", "hvc", "ttysclp"];

/// Whether these PAM items are those of a login at a console. The caller must be root.
#[must_use]
pub fn is_console(service: &str, tty: &str, rhost: &str) -> bool {
    rhost.is_empty() && SERVICES.contains(&service) && (is_terminal(tty) || (service != "login" && is_display(tty)))
}

fn is_terminal(tty: &str) -> bool {
    let tty = tty.strip_prefix("/dev/").unwrap_or(tty);
    tty == "console" || NUMBERED.iter().any(|kind| tty.strip_prefix(kind).is_some_and(is_number))
}

/// An X display of this host (X(7)): `:0`. A remote one has a host's name before the colon.
fn is_display(tty: &str) -> bool {
    let display = tty.strip_prefix(':').map(|display| display.split_once('.').unwrap_or((display, "0")));
    display.is_some_and(|(display, screen)| is_number(display) && is_number(screen))
}

fn is_number(text: &str) -> bool {
    (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_and_display_managers_on_terminals_of_the_host_are_at_the_console() {
        for (service, tty) in [
            ("login", "tty1"),
            ("login", "/dev/tty63"),
            ("login", "/dev/ttyS0"),
            ("login", "hvc0"),
            ("login", "/dev/console"),
            ("gdm-password", "/dev/tty2"),
            ("lightdm", ":0"),
            ("sddm", ":1.0"),
        ] {
            assert!(is_console(service, tty, ""), "{service} {tty}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for (service, tty, rhost) in [
            ("login", "tty1", "192.0.2.1"),
            ("login", "tty1", "localhost"),
            ("login", "pts/1", ""),
            ("login", "/dev/pts/1", ""),
            ("login", ":0", ""),
            ("login", "", ""),
            ("login", "tty", ""),
            ("login", "ttyUSB0", ""),
            ("login", "tty1/../pts/1", ""),
            ("login", "/dev//dev/tty1", ""),
            ("lightdm", "remote:0", ""),
            ("lightdm", ":", ""),
            ("sudo", "/dev/tty1", ""),
            ("su", "tty1", ""),
            ("sshd", "ssh", ""),
            ("", "tty1", ""),
        ] {
            assert!(!is_console(service, tty, rhost), "{service} {tty} {rhost}");
        }
    }
}
