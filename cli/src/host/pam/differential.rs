//! Random stacks, run by the real libpam with modules that return what they are told, and by the simulation: both must
//! come to the same code. In a mount namespace of its own, so that the machine's PAM files stay as they are.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

use std::{
    fmt::Write as _,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use super::{
    control::Code,
    simulate::simulate,
    stack::{Entry, Kind, Stack, Unusable},
};
use crate::host::Host;

/// How many stacks are played.
const STACKS: u64 = 600;

/// How pam_strerror(3) of Linux-PAM words each code that the stacks can come to.
const WORDS: [(u8, &str); 15] = [
    (0, "successfully authenticated"),
    (3, "Error in service module"),
    (4, "System error"),
    (6, "Permission denied"),
    (7, "Authentication failure"),
    (8, "Insufficient credentials to access authentication data"),
    (9, "Authentication service cannot retrieve authentication info"),
    (10, "User not known to the underlying authentication module"),
    (11, "Have exhausted maximum number of retries for service"),
    (12, "Authentication token is no longer valid; new one required"),
    (13, "User account has expired"),
    (19, "Conversation error"),
    (25, "The return value should be ignored by PAM dispatch"),
    (26, "Critical error - immediate abort"),
    (28, "Module is unknown"),
];

/// A small generator of its own, so that a failure can be played again (xorshift64*).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[usize::try_from(self.below(from.len() as u64)).unwrap()]
    }

    fn code(&mut self) -> Code {
        // Success and "ignore" as often as all others together: they are what stacks are about.
        match self.below(4) {
            0 | 1 => Code::SUCCESS,
            2 => Code::IGNORE,
            _ => Code(self.pick(&WORDS).0),
        }
    }

    fn control(&mut self) -> String {
        const KEYWORDS: [&str; 6] = ["required", "requisite", "optional", "sufficient", "Required", "requird"];
        if self.below(2) == 0 {
            return self.pick(&KEYWORDS).to_owned();
        }
        let mut pairs = String::from("[");
        for _ in 0..=self.below(4) {
            let code = match self.below(6) {
                0 => "default",
                1 | 2 => "success",
                3 => "ignore",
                _ => self.code().name(),
            };
            let action = self.pick(&["ok", "done", "bad", "die", "ignore", "reset", "1", "2", "3", "0", "7", "nope"]);
            // A word that is none spoils the whole control; mostly it shall not be there.
            let action = if action == "nope" && self.below(5) > 0 { "ok" } else { action };
            let blank = self.pick(&["", "", " "]);
            let _ = write!(pairs, "{code}{blank}={blank}{action} ");
        }
        pairs.truncate(pairs.trim_end().len());
        pairs + "]"
    }

    fn line(&mut self, stack: u64, deep: u64) -> String {
        if deep < 2 && self.below(6) == 0 {
            let part = format!("part-{stack}-{}", deep + 1);
            return match self.below(7) {
                0 => format!("@include {part}\n"),
                1 | 2 => format!("auth include {part}\n"),
                3 => format!("auth include absent-{stack}\n"),
                _ => format!("auth substack {part}\n"),
            };
        }
        let kind = self.pick(&["auth", "auth", "auth", "auth", "-auth", "AUTH", "account", "session", "aut"]);
        let kind = if kind == "aut" && self.below(4) > 0 { "auth" } else { kind };
        let control = self.control();
        let join = self.pick(&[" ", "\t", " \\\n", "  "]);
        let module = match self.below(12) {
            0 => "pam_permit.so".to_owned(),
            1 => "pam_deny.so".to_owned(),
            2 => "pam_absent.so".to_owned(),
            3 if self.below(4) == 0 => String::new(),
            _ => format!("pam_debug.so auth={} cred=success", self.code().name()),
        };
        let comment = self.pick(&["", "", " # why", "#"]);
        format!("{kind}{join}{control} {module}{comment}\n")
    }

    fn file(&mut self, stack: u64, deep: u64) -> String {
        let lines = 1 + self.below(5);
        (0..lines).map(|_| self.line(stack, deep)).collect()
    }
}

/// What each module says that the stacks use.
fn returns(entry: &Entry) -> Code {
    match entry.module() {
        Some("pam_permit.so") => Code::SUCCESS,
        Some("pam_deny.so") => Code::AUTH_ERR,
        Some("pam_debug.so") => {
            let wanted = entry.arguments().iter().find_map(|argument| argument.strip_prefix("auth="));
            (0..32).map(Code).find(|code| Some(code.name()) == wanted).unwrap()
        }
        _ => Code::MODULE_UNKNOWN,
    }
}

fn expected(stack: &Result<Stack, Unusable>) -> &'static str {
    match stack {
        Err(_) => "Initialization failure",
        Ok(stack) => {
            let code = simulate(stack, returns);
            WORDS.iter().find(|(number, _)| *number == code.0).unwrap().1
        }
    }
}

/// Runs every stack with the real libpam; the last line of each is what pamtester said.
fn played(directory: &Path) -> Vec<String> {
    let script = "mount --bind \"$1\" /etc/pam.d && n=0 && while [ $n -lt $2 ]; do \
                  pamtester stack-$n root authenticate 2>&1 | grep ^pamtester: | tail -n 1; n=$((n+1)); done";
    let mut command = Command::new("unshare");
    command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]).arg(directory).arg(STACKS.to_string());
    let output = command.stdin(Stdio::null()).output().expect("unshare(1), as root");
    assert!(output.status.success(), "this test needs root and pamtester: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim_start_matches("pamtester: ").to_owned()).collect()
}

#[test]
fn six_hundred_random_stacks_end_as_the_real_libpam_ends_them() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("etc/pam.d");
    fs::create_dir_all(&directory).unwrap();
    let seed = std::env::var("COUNTERSIGN_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(0x00c0_ffee);
    let mut random = Random(seed);
    for stack in 0..STACKS {
        fs::write(directory.join(format!("stack-{stack}")), random.file(stack, 0)).unwrap();
        for deep in 1..=2 {
            fs::write(directory.join(format!("part-{stack}-{deep}")), random.file(stack, deep)).unwrap();
        }
    }
    fs::write(directory.join("other"), "auth required pam_debug.so auth=cred_insufficient\n").unwrap();
    let host = Host::below(root.path(), |_, _| Err(std::io::ErrorKind::NotFound.into()));
    let played = played(&directory);
    assert_eq!(played.len() as u64, STACKS);
    let mut kinds = std::collections::BTreeMap::new();
    let mut differ = String::new();
    for (number, real) in played.iter().enumerate() {
        let stack = Stack::read(&host, &format!("stack-{number}"), Kind::Auth);
        let simulated = expected(&stack);
        *kinds.entry(real.clone()).or_insert(0) += 1;
        if simulated != real {
            let text = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
            let parts = format!("{}--\n{}", text(&format!("part-{number}-1")), text(&format!("part-{number}-2")));
            let _ =
                write!(differ, "== {number}: {real}, not {simulated}\n{}--\n{parts}", text(&format!("stack-{number}")));
        }
    }
    assert!(differ.is_empty(), "{differ}");
    let granted = kinds.get("successfully authenticated").copied().unwrap_or(0);
    assert!(granted > 60 && kinds.len() > 8, "too little is played: {kinds:?}");
}
