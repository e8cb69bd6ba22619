//! The arguments of our module in a PAM file, as the module takes them (docs/module.md). A wrong one refuses every
//! login through the line; a scenario compares this with the module itself.

/// What is allowed.
pub(crate) const ALLOWED: &str = "bus=unix:path=PATH, socket=PATH, socket=none, timeout=1..300, try_first_pass, \
                                  use_first_pass, forward_pass, forward_digits=6..8, quiet and debug";

/// The longest path of a UNIX socket: `sun_path` less the closing NUL (unix(7)).
const PATH_BYTES: usize = 107;

/// Whether the module takes this argument.
pub(crate) fn allowed(argument: &str) -> bool {
    match argument.split_once('=') {
        Some(("bus", address)) => address.strip_prefix("unix:path=").is_some_and(is_bus_path),
        Some(("socket", path)) => path == "none" || is_socket_path(path),
        Some(("timeout", seconds)) => number(seconds).is_some_and(|seconds| (1..=300).contains(&seconds)),
        Some(("forward_digits", digits)) => number(digits).is_some_and(|digits| (6..=8).contains(&digits)),
        Some(_) => false,
        None => matches!(argument, "try_first_pass" | "use_first_pass" | "forward_pass" | "quiet" | "debug"),
    }
}

fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 4 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| digits)
}

fn is_socket_path(path: &str) -> bool {
    path.len() <= PATH_BYTES && path.starts_with('/')
}

fn is_bus_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_/.".contains(&byte);
    is_socket_path(path) && path.bytes().all(plain)
}
