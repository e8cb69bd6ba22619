//! PAM on the host: the stacks that ask for a code, and logins by a small PAM application of this crate.

use std::{fs, time::Duration};

use anyhow::{Context, Result, bail};

use crate::{Host, Outcome, programs};

/// A service whose file gets the lines of one of the shipped stacks in `packaging/dev/pam.d`.
#[derive(Clone, Debug)]
pub struct Stack {
    /// The service's name.
    pub service: String,
    /// The file with the lines.
    fragment: String,
    /// The module instead of `pam_countersign.so`.
    module: Option<String>,
    /// Whether the account phase asks for what `auth` did.
    account: bool,
}

impl Stack {
    /// The lines of `packaging/dev/pam.d/FRAGMENT` for `service`.
    #[must_use]
    pub fn new(service: &str, fragment: &str) -> Self {
        Self { service: service.to_owned(), fragment: fragment.to_owned(), module: None, account: false }
    }

    /// ssh with a key, then a code.
    #[must_use]
    pub fn sshd_key() -> Self {
        Self::new("sshd", "sshd-key-and-code")
    }

    /// ssh with a password, then a code.
    #[must_use]
    pub fn sshd_password() -> Self {
        Self::new("sshd", "sshd-password-and-code")
    }

    /// sudo with a code alone.
    #[must_use]
    pub fn sudo() -> Self {
        Self::new("sudo", "sudo-code")
    }

    /// sudo with the password, then a code.
    #[must_use]
    pub fn sudo_password() -> Self {
        Self::new("sudo", "sudo-password-and-code")
    }

    /// su with the password, then a code.
    #[must_use]
    pub fn su() -> Self {
        Self::new("su", "su-password-and-code")
    }

    /// A service of the scenarios' own, that asks for a code and nothing else.
    #[must_use]
    pub fn code_alone(service: &str) -> Self {
        Self::new(service, "code-alone")
    }

    /// Refuses in the account phase whoever was not asked in `auth`.
    #[must_use]
    pub fn account_phase(mut self) -> Self {
        self.account = true;
        self
    }

    /// Another module in place of ours.
    #[must_use]
    pub fn module(mut self, module: &str) -> Self {
        self.module = Some(module.to_owned());
        self
    }
}

/// `PAM_SUCCESS`.
pub const PAM_SUCCESS: i32 = 0;
/// `PAM_SYSTEM_ERR`.
pub const PAM_SYSTEM_ERR: i32 = 4;
/// `PAM_AUTH_ERR`.
pub const PAM_AUTH_ERR: i32 = 7;
/// `PAM_AUTHINFO_UNAVAIL`.
pub const PAM_AUTHINFO_UNAVAIL: i32 = 9;
/// `PAM_MAXTRIES`.
pub const PAM_MAXTRIES: i32 = 11;

/// One run of `pam_authenticate`.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Its return value.
    pub result: i32,
    /// All prompts, messages and errors, as `prompt: …`, `info: …`, `error: …`.
    pub talk: Vec<String>,
    /// The longest delay that a module asked for.
    pub delay: Duration,
    /// The time that `pam_authenticate` took.
    pub took: Duration,
}

impl Attempt {
    /// Whether a prompt or message holds `text`.
    #[must_use]
    pub fn says(&self, text: &str) -> bool {
        self.talk.iter().any(|line| line.contains(text))
    }

    /// How many prompts there were.
    #[must_use]
    pub fn prompts(&self) -> usize {
        self.talk.iter().filter(|line| line.starts_with("prompt: ")).count()
    }

    fn parse(outcome: &Outcome) -> Result<Self> {
        let mut talk = Vec::new();
        for line in outcome.stdout.lines() {
            let Some(numbers) = line.strip_prefix("result ") else {
                talk.push(line.to_owned());
                continue;
            };
            let numbers: Vec<u64> = numbers.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let [result, delay, took] = numbers[..] else { bail!("no result: {line}") };
            let [delay, took] = [delay, took].map(Duration::from_micros);
            return Ok(Self { result: i32::try_from(result)?, talk, delay, took });
        }
        bail!("{outcome}")
    }
}

/// What many cycles of `pam_start` … `pam_end` in one process came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycles {
    /// How many of them were let in.
    pub granted: u64,
    /// Threads, descriptors, resident KiB and signal dispositions after the first cycles.
    pub before: Vec<String>,
    /// The same after the last one.
    pub after: Vec<String>,
}

impl Cycles {
    /// A figure such as `resident` of [`Cycles::before`] or [`Cycles::after`].
    #[must_use]
    pub fn figure(figures: &[String], name: &str) -> Option<u64> {
        figures.iter().find_map(|figure| figure.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
    }
}

impl Host {
    /// A login of `user` at a PAM service by an application that runs as root. Each prompt gets the next reply.
    ///
    /// # Errors
    /// The application did not run to its end.
    pub fn attempt(&self, service: &str, user: &str, replies: &[&str]) -> Result<Attempt> {
        self.attempt_as("root", service, user, replies)
    }

    /// The same by an application that runs as `caller`.
    ///
    /// # Errors
    /// The application did not run to its end.
    pub fn attempt_as(&self, caller: &str, service: &str, user: &str, replies: &[&str]) -> Result<Attempt> {
        let arguments = ["/usr/lib/scratch/pam_client", "attempt", service, user];
        let outcome = self.feed_as(caller, &arguments, (replies.join("\n") + "\n").as_bytes())?;
        Attempt::parse(&outcome)
    }

    /// A login whose one reply is these bytes, which may be anything but a line end and NUL.
    ///
    /// # Errors
    /// The application did not run to its end.
    pub fn attempt_raw(&self, service: &str, user: &str, reply: &[u8]) -> Result<Attempt> {
        let arguments = ["/usr/lib/scratch/pam_client", "attempt", service, user];
        Attempt::parse(&self.feed_as("root", &arguments, &[reply, b"\n"].concat())?)
    }

    /// The same for a login that the application says comes from `rhost`.
    ///
    /// # Errors
    /// The application did not run to its end.
    pub fn attempt_from(&self, rhost: &str, service: &str, user: &str, replies: &[&str]) -> Result<Attempt> {
        let arguments = ["/usr/lib/scratch/pam_client", "attempt", service, user, rhost];
        Attempt::parse(&self.feed_as("root", &arguments, (replies.join("\n") + "\n").as_bytes())?)
    }

    /// One process for each (user, code): all are asked, and when the last one was, all answer at one instant.
    /// Returns what each of them got.
    ///
    /// # Errors
    /// One of them did not run to its end.
    pub fn race(&self, service: &str, entries: &[(String, String)]) -> Result<Vec<i32>> {
        let lines: String = entries.iter().map(|(user, code)| format!("{user} {code}\n")).collect();
        let outcome = self.feed_as("root", &["/usr/lib/scratch/pam_client", "race", service], lines.as_bytes())?;
        let outcome = outcome.success()?;
        let results: Vec<i32> = outcome.stdout.lines().filter_map(|line| line.parse().ok()).collect();
        if results.len() != entries.len() {
            bail!("{} of {} ended\n{outcome}", results.len(), entries.len());
        }
        Ok(results)
    }

    /// Logs `user` in once for each code, all in one process.
    ///
    /// # Errors
    /// The process did not run to its end.
    pub fn cycles(&self, service: &str, user: &str, codes: &[String]) -> Result<Cycles> {
        let arguments = ["/usr/lib/scratch/pam_client", "cycles", service, user];
        let outcome = self.feed_as("root", &arguments, (codes.join("\n") + "\n").as_bytes())?.success()?;
        let words = |key: &str| -> Result<Vec<String>> {
            let line = outcome.stdout.lines().find_map(|line| line.strip_prefix(key));
            let line = line.with_context(|| format!("no {key} in {outcome}"))?;
            Ok(line.split_whitespace().map(str::to_owned).collect())
        };
        let granted = words("granted ")?.first().and_then(|word| word.parse().ok()).context("no number")?;
        Ok(Cycles { granted, before: words("before ")?, after: words("after ")? })
    }
}

/// The service's file: the machine's own with the stack's lines in place of `@include common-auth`, as the
/// README says to edit it, or a new one where the machine has none.
pub(crate) fn lines(stack: &Stack, arguments: &str) -> Result<String> {
    let fragment = programs::shipped(&format!("packaging/dev/pam.d/{}", stack.fragment));
    let mut lines = fs::read_to_string(&fragment).with_context(|| fragment.display().to_string())?;
    let module = stack.module.as_deref().unwrap_or("pam_countersign.so");
    lines = lines.replace("pam_countersign.so", format!("{module} {arguments}").trim_end());
    let Ok(own) = fs::read_to_string(format!("/etc/pam.d/{}", stack.service)) else {
        return Ok(lines + "account required pam_permit.so\n");
    };
    let mut replaced = replace_line(&own, "@include common-auth\n", &lines, stack)?;
    if stack.account {
        let with_ours =
            format!("account required pam_countersign.so require_auth {arguments}\n@include common-account\n");
        replaced = replace_line(&replaced, "@include common-account\n", &with_ours, stack)?;
    }
    Ok(replaced)
}

fn replace_line(own: &str, line: &str, by: &str, stack: &Stack) -> Result<String> {
    let replaced = own.replacen(line, by, 1);
    if replaced == own {
        bail!("the machine's /etc/pam.d/{} has no line `{}`", stack.service, line.trim_end());
    }
    Ok(replaced)
}
