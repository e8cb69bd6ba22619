//! The modules that are compared, each set up on the scratch host as its own documentation says.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use scenarios::Host;

use crate::population::{Account, Codes, Kind};

/// The most accounts of one call of the tool, which may take a minute.
const IMPORT: u32 = 100_000;

/// Where a host's own disk is mounted, which is Countersign's state; the peers' files may lie beside it.
const DISK: &str = "/var/lib/countersign";

/// Where pam_faillock counts.
pub const FAILLOCK: &str = "/srv/faillock";

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Contestant {
    /// Over its private socket, as it is installed.
    Countersign,
    /// The same daemon over the system bus alone.
    CountersignBus,
    /// pam_google_authenticator.
    GoogleAuthenticator,
    /// pam_oath, of OATH Toolkit.
    Oath,
    /// pam_faillock, of Linux-PAM: it counts failures and checks no code.
    Faillock,
    /// pam_permit: what libpam costs by itself.
    Empty,
}

/// Whose state a login changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StateOf {
    /// `countersignd`'s store.
    Countersign,
    /// Files in the homes.
    GoogleAuthenticator,
    /// One file of all users.
    Oath,
    /// Codes are presented and not looked at.
    Nobody,
}

impl Contestant {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Countersign, Self::CountersignBus, Self::GoogleAuthenticator, Self::Oath, Self::Faillock, Self::Empty];

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Countersign => "Countersign",
            Self::CountersignBus => "Countersign, system bus alone",
            Self::GoogleAuthenticator => "pam_google_authenticator",
            Self::Oath => "pam_oath",
            Self::Faillock => "pam_faillock (checks no code)",
            Self::Empty => "empty module (pam_permit)",
        }
    }

    /// Whose state it works on.
    #[must_use]
    pub const fn state(self) -> StateOf {
        match self {
            Self::Countersign | Self::CountersignBus => StateOf::Countersign,
            Self::GoogleAuthenticator => StateOf::GoogleAuthenticator,
            Self::Oath => StateOf::Oath,
            Self::Faillock | Self::Empty => StateOf::Nobody,
        }
    }

    /// The PAM service in which it stands alone.
    #[must_use]
    pub const fn service(self, codes: Codes) -> &'static str {
        match (self, codes) {
            (Self::Countersign, _) => "bench-countersign",
            (Self::CountersignBus, _) => "bench-bus",
            // Its documentation wants `no_increment_hotp` for HOTP.
            (Self::GoogleAuthenticator, Codes::Hotp) => "bench-ga-hotp",
            (Self::GoogleAuthenticator, _) => "bench-ga",
            (Self::Oath, _) => "bench-oath",
            (Self::Faillock, Codes::Wrong) => "bench-faillock-wrong",
            (Self::Faillock, _) => "bench-faillock",
            (Self::Empty, _) => "bench-empty",
        }
    }

    /// The service whose module keeps its state on the disk of its own that a host may have.
    #[must_use]
    pub const fn service_on_disk(self) -> &'static str {
        match self {
            Self::GoogleAuthenticator => "disk-ga",
            Self::Oath => "disk-oath",
            Self::Faillock => "disk-faillock",
            _ => "bench-countersign",
        }
    }

    /// Whether it looks at codes at all.
    #[must_use]
    pub fn checks_codes(self) -> bool {
        self.state() != StateOf::Nobody
    }

    /// Whether it takes part: what looks at no code cannot tell HOTP from TOTP, and an empty module refuses nothing.
    #[must_use]
    pub fn plays(self, codes: Codes) -> bool {
        match codes {
            Codes::Right => true,
            Codes::Hotp => self.state() != StateOf::Nobody,
            Codes::Wrong => self != Self::Empty,
        }
    }
}

/// The lines of each service.
#[must_use]
pub fn services() -> Vec<(&'static str, String)> {
    let oath = "auth requisite pam_oath.so usersfile=/srv/oath/users.oath window=5 digits=6\n";
    // faillock(8), "EXAMPLES", with a password check that always succeeds or always fails.
    let faillock = |directory: &str, check: &str| {
        format!(
            "auth required pam_faillock.so preauth silent deny=1000 dir={directory}\n\
             auth [success=1 default=bad] {check}\n\
             auth [default=die] pam_faillock.so authfail deny=1000 dir={directory}\n\
             auth sufficient pam_faillock.so authsucc deny=1000 dir={directory}\n"
        )
    };
    vec![
        ("bench-countersign", "auth requisite pam_countersign.so\n".into()),
        ("bench-bus", "auth requisite pam_countersign.so socket=none\n".into()),
        ("bench-ga", "auth required pam_google_authenticator.so\n".into()),
        ("bench-ga-hotp", "auth required pam_google_authenticator.so no_increment_hotp\n".into()),
        ("bench-oath", oath.into()),
        ("bench-faillock", faillock(FAILLOCK, "pam_permit.so")),
        ("bench-faillock-wrong", faillock(FAILLOCK, "pam_deny.so")),
        ("bench-empty", "auth required pam_permit.so\n".into()),
        ("disk-ga", format!("auth required pam_google_authenticator.so secret={DISK}/${{USER}} user=root\n")),
        ("disk-oath", format!("auth requisite pam_oath.so usersfile={DISK}/users.oath window=5 digits=6\n")),
        ("disk-faillock", faillock(&format!("{DISK}/faillock"), "pam_deny.so")),
    ]
}

/// The directory on the machine's disk that holds the state of all contestants.
#[derive(Clone, Debug)]
pub struct Disk(PathBuf);

impl Disk {
    /// Makes the directory anew.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(path: &Path) -> Result<Self> {
        if path.exists() {
            fs::remove_dir_all(path)?;
        }
        for part in ["home", "oath", "faillock", "countersign"] {
            let mode = if part == "home" { 0o755 } else { 0o700 };
            fs::DirBuilder::new().recursive(true).mode(mode).create(path.join(part))?;
        }
        Ok(Self(path.to_owned()))
    }

    /// A part of it.
    #[must_use]
    pub fn part(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The blocks that a part occupies, in bytes.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn occupied(&self, name: &str) -> Result<u64> {
        let output = std::process::Command::new("du").args(["-s", "-B1"]).arg(self.part(name)).output()?;
        let text = String::from_utf8(output.stdout)?;
        text.split_whitespace().next().and_then(|bytes| bytes.parse().ok()).context("du said nothing")
    }

    /// Removes everything.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self) -> Result<()> {
        Ok(fs::remove_dir_all(&self.0)?)
    }
}

/// Gives the accounts `from..to` to Countersign through the tool's import.
///
/// # Errors
/// The tool refused.
pub fn enrol_countersign(host: &Host, from: u32, to: u32) -> Result<()> {
    let mut next = from;
    while next < to {
        let end = to.min(next + IMPORT);
        let lines: String = (next..end).map(|number| uri(Account(number))).collect();
        host.feed_as("root", &["countersign", "import", "otpauth", "-"], lines.as_bytes())?.success()?;
        next = end;
    }
    Ok(())
}

/// Gives the accounts `from..to` to the peers, by files as their documentation describes them.
///
/// # Errors
/// A file cannot be written.
pub fn enrol_peers(disk: &Disk, from: u32, to: u32) -> Result<()> {
    let homes = disk.part("home");
    for account in (from..to).map(Account) {
        google_authenticator(&homes, account)?;
    }
    let lines: String = (from..to).map(|number| users_oath(Account(number))).collect();
    let mut file =
        fs::OpenOptions::new().append(true).create(true).mode(0o600).open(disk.part("oath").join("users.oath"))?;
    file.write_all(lines.as_bytes())?;
    file.sync_all()?;
    Ok(())
}

/// Gives some accounts to the peers on the host's own disk.
///
/// # Errors
/// A file cannot be written.
pub fn enrol_on_disk(host: &Host, accounts: &[Account]) -> Result<()> {
    let mut files: Vec<_> =
        accounts.iter().map(|account| (account.name(), google_authenticator_file(*account))).collect();
    files.push(("users.oath".to_owned(), accounts.iter().copied().map(users_oath).collect()));
    for (name, content) in files {
        let path = format!("{DISK}/{name}");
        host.write(&path, &content)?;
        host.run(&["chmod", "0600", &path])?.success()?;
    }
    host.run(&["mkdir", "-m", "0700", "-p", &format!("{DISK}/faillock")])?.success()?;
    Ok(())
}

/// The failures of an account that are counted; `None` where the module counts none. On the host's own disk, where
/// `on_disk` says so.
///
/// # Errors
/// What counts cannot be asked.
pub fn failures(contestant: Contestant, host: &Host, account: Account, on_disk: bool) -> Result<Option<usize>> {
    let name = account.name();
    match contestant {
        Contestant::Countersign | Contestant::CountersignBus => {
            let status = host.countersign(&["status", &name, "--json"])?.success()?;
            let status: serde_json::Value = serde_json::from_str(&status.stdout)?;
            let failures = status.pointer("/failures").or_else(|| status.pointer("/account/failures"));
            let failures = failures.and_then(serde_json::Value::as_u64).context("no failures in the status")?;
            Ok(Some(usize::try_from(failures)?))
        }
        // Each attempt leaves its time behind `RATE_LIMIT n seconds`.
        Contestant::GoogleAuthenticator => {
            let homes = format!("/srv/home/{name}/.google_authenticator");
            let path = if on_disk { format!("{DISK}/{name}") } else { homes };
            let text = String::from_utf8_lossy(&host.read(&path)?).into_owned();
            let line = text.lines().find_map(|line| line.strip_prefix("\" RATE_LIMIT ")).unwrap_or_default();
            Ok(Some(line.split_whitespace().count().saturating_sub(2)))
        }
        // faillock(8): a line for each failure, which ends in V where it is valid.
        Contestant::Faillock => {
            let directory = if on_disk { format!("{DISK}/faillock") } else { FAILLOCK.to_owned() };
            let told = host.run(&["faillock", "--dir", &directory, "--user", &name])?.success()?;
            Ok(Some(told.stdout.lines().filter(|line| line.trim_end().ends_with(" V")).count()))
        }
        Contestant::Oath | Contestant::Empty => Ok(None),
    }
}

fn uri(account: Account) -> String {
    let (name, secret) = (account.name(), account.base32());
    match account.kind() {
        Kind::Totp => format!("otpauth://totp/{name}?secret={secret}\n"),
        Kind::Hotp => format!("otpauth://hotp/{name}?secret={secret}&counter=1\n"),
    }
}

/// In the account's home, as google-authenticator(1) puts it there.
fn google_authenticator(homes: &Path, account: Account) -> Result<()> {
    let home = homes.join(account.name());
    fs::DirBuilder::new().mode(0o700).create(&home)?;
    let uid = account.uid();
    chown(&home, Some(uid), Some(uid))?;
    let path = home.join(".google_authenticator");
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&path)?;
    file.write_all(google_authenticator_file(account).as_bytes())?;
    chown(&path, Some(uid), Some(uid))?;
    Ok(())
}

/// As google-authenticator(1) writes it with `--disallow-reuse --rate-limit`: FILEFORMAT of its documentation. The rate is
/// one that no run here reaches.
fn google_authenticator_file(account: Account) -> String {
    // The few accounts with key fobs log in so often that only the shortest interval lets them.
    let kind = match account.kind() {
        Kind::Totp => "\" RATE_LIMIT 50 30\n\" WINDOW_SIZE 3\n\" DISALLOW_REUSE\n\" TOTP_AUTH\n",
        Kind::Hotp => "\" RATE_LIMIT 50 1\n\" WINDOW_SIZE 3\n\" HOTP_COUNTER 1\n",
    };
    format!("{}\n{kind}", account.base32())
}

/// A line of `users.oath`.
fn users_oath(account: Account) -> String {
    let kind = match account.kind() {
        Kind::Totp => "HOTP/T30/6",
        Kind::Hotp => "HOTP",
    };
    format!("{kind} {} - {}\n", account.name(), account.hex())
}
