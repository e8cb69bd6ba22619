//! The module's arguments in a PAM file. Root wrote them; a mistake refuses and is named in the log.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

/// What an argument can be, for the log line that names a wrong one.
const ALLOWED: &str = "allowed are bus=unix:path=PATH, socket=PATH or socket=none, timeout=1..300, try_first_pass, \
                       use_first_pass, forward_pass, forward_digits=6..8, require_auth, quiet, debug";

/// The longest path of a UNIX socket: `sun_path` less the closing NUL (unix(7)).
const PATH_BYTES: usize = 107;

/// The arguments, parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// The daemon's private socket; `None` goes to the bus at once.
    pub(crate) socket: Option<PathBuf>,
    /// The socket of the bus.
    pub(crate) bus: PathBuf,
    /// The bound on the sum of the waiting for daemon and bus, 1 to 300 s.
    pub(crate) timeout: Duration,
    /// Whether the password of an earlier module may end in the code.
    pub(crate) first_pass: FirstPass,
    /// Whether password and code are asked for in one prompt.
    pub(crate) forward_pass: bool,
    /// How many digits at the end of password and code are the code, 6 to 8.
    pub(crate) forward_digits: usize,
    /// In an `account` line of sshd's: refuses whoever was not asked in `auth`.
    pub(crate) require_auth: bool,
    /// No informational messages.
    pub(crate) quiet: bool,
    /// More lines in the log, never with anything that was typed.
    pub(crate) debug: bool,
}

/// What becomes of a password that an earlier module left in `PAM_AUTHTOK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FirstPass {
    /// It is the earlier module's alone.
    Leave,
    /// If it ends in a code, that one is used; else the person is asked.
    Try,
    /// If it ends in a code, that one is used; else nobody is let in.
    Use,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            socket: Some(PathBuf::from(dbus_api::PRIVATE_SOCKET)),
            bus: bus_path(dbus_api::SYSTEM_BUS).unwrap_or_default(),
            timeout: Duration::from_secs(10),
            first_pass: FirstPass::Leave,
            forward_pass: false,
            forward_digits: 6,
            require_auth: false,
            quiet: false,
            debug: false,
        }
    }
}

impl Options {
    /// Reads the arguments; of one given twice the last counts.
    ///
    /// # Errors
    /// An unknown argument or a value out of range, with what is allowed.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        for argument in arguments {
            options.take(argument).ok_or_else(|| bad(argument))?;
        }
        Ok(options)
    }

    /// Takes one argument, or `None` where it is wrong.
    fn take(&mut self, argument: &str) -> Option<()> {
        match argument.split_once('=') {
            Some(("bus", address)) => self.bus = bus_path(address)?,
            Some(("socket", "none")) => self.socket = None,
            Some(("socket", path)) => self.socket = Some(socket_path(path)?),
            Some(("timeout", seconds)) => self.timeout = Duration::from_secs(number(seconds, 1, 300)?),
            Some(("forward_digits", digits)) => self.forward_digits = usize::try_from(number(digits, 6, 8)?).ok()?,
            Some(_) => return None,
            None => self.take_flag(argument)?,
        }
        Some(())
    }

    fn take_flag(&mut self, flag: &str) -> Option<()> {
        match flag {
            "try_first_pass" => self.first_pass = FirstPass::Try,
            "use_first_pass" => self.first_pass = FirstPass::Use,
            "forward_pass" => self.forward_pass = true,
            "require_auth" => self.require_auth = true,
            "quiet" => self.quiet = true,
            "debug" => self.debug = true,
            _ => return None,
        }
        Some(())
    }
}

/// The text is escaped where it is logged, once for all reasons.
fn bad(argument: &str) -> String {
    let shown: String = argument.chars().take(100).collect();
    format!("wrong argument '{shown}' in the PAM file: {ALLOWED}")
}

fn number(text: &str, least: u64, most: u64) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (least..=most).contains(number))
}

fn socket_path(path: &str) -> Option<PathBuf> {
    (path.len() <= PATH_BYTES && Path::new(path).is_absolute()).then(|| PathBuf::from(path))
}

/// The path of a `unix:path=` address. Bytes that the D-Bus specification wants escaped are refused, and so is
/// a second key or address: there is one bus to go to, and it is a file.
fn bus_path(address: &str) -> Option<PathBuf> {
    let path = address.strip_prefix("unix:path=")?;
    let plain = path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/.".contains(&byte));
    socket_path(path).filter(|_| plain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that stops here has failed, which is what it is for")]

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, String> {
        Options::parse(&arguments.iter().map(|argument| (*argument).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn without_arguments_the_fixed_addresses_count() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.socket.unwrap(), Path::new("/run/countersign/verifier.sock"));
        assert_eq!(options.bus, Path::new("/run/dbus/system_bus_socket"));
        assert_eq!(options.timeout, Duration::from_secs(10));
        assert_eq!(options.first_pass, FirstPass::Leave);
        assert!(!options.forward_pass && !options.quiet && !options.debug);
    }

    #[test]
    fn every_argument_is_understood() {
        let options = parse(&[
            "bus=unix:path=/tmp/bus",
            "socket=/tmp/v.sock",
            "timeout=300",
            "try_first_pass",
            "forward_pass",
            "forward_digits=8",
            "quiet",
            "debug",
        ])
        .unwrap();
        assert_eq!(options.bus, Path::new("/tmp/bus"));
        assert_eq!(options.socket.as_deref(), Some(Path::new("/tmp/v.sock")));
        assert_eq!(options.timeout, Duration::from_secs(300));
        assert_eq!((options.first_pass, options.forward_digits), (FirstPass::Try, 8));
        assert!(options.forward_pass && options.quiet && options.debug);
        assert_eq!(parse(&["socket=none", "use_first_pass"]).unwrap().socket, None);
    }

    #[test]
    fn a_wrong_argument_is_named_with_what_is_allowed() {
        for argument in [
            "nullok",
            "",
            "timeout=0",
            "timeout=301",
            "timeout=+5",
            "timeout=",
            "timeout",
            "forward_digits=5",
            "forward_digits=9",
            "quiet=yes",
            "socket=relative",
            "socket=",
            "bus=none",
            "bus=tcp:host=localhost,port=1",
            "bus=unix:abstract=x",
            "bus=unix:path=/a,guid=00",
            "bus=unix:path=/a;unix:path=/b",
            "bus=unix:path=/a%20b",
            "Debug",
            "bus=",
        ] {
            let error = parse(&[argument]).unwrap_err();
            assert!(error.contains(&format!("'{argument}'")), "{error}");
            assert!(error.contains("timeout=1..300"), "{error}");
        }
        assert!(parse(&[&format!("socket=/{}", "x".repeat(107))]).is_err());
    }
}
