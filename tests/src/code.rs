//! Codes, made by somebody else's code: oathtool.

use std::{
    io::Write,
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The codes of the look-ahead window, and one on each side.
const LOOK_AHEAD: usize = 12;
/// How long before a time step's end its code is not begun to be typed any more.
const MOMENT: Duration = Duration::from_secs(2);

/// A TOTP authenticator, as `countersign enroll --json` tells of it.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The secret in base32.
    pub secret: String,
    /// The `otpauth://` URI.
    pub uri: String,
    /// `SHA1`, `SHA256` or `SHA512`.
    pub algorithm: String,
    /// Digits of a code.
    pub digits: u64,
    /// Seconds of a time step.
    pub period: u64,
    /// Its recovery codes.
    pub recovery_codes: Vec<String>,
}

impl Enrolment {
    /// Reads the tool's JSON.
    pub(crate) fn parse(json: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(json).with_context(|| format!("no JSON: {json}"))?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| value.get(key).and_then(Value::as_u64);
        let codes = value.get("recovery_codes").and_then(Value::as_array);
        let codes = codes.map(|codes| codes.iter().filter_map(Value::as_str).map(str::to_owned).collect());
        Ok(Self {
            secret: text("secret").with_context(|| format!("no secret in {json}"))?,
            uri: text("uri").unwrap_or_default(),
            algorithm: text("algorithm").unwrap_or_else(|| "SHA1".to_owned()),
            digits: number("digits").unwrap_or(6),
            period: number("period").unwrap_or(30),
            recovery_codes: codes.unwrap_or_default(),
        })
    }

    /// The code that the authenticator shows, `steps` time steps from now.
    ///
    /// Nobody types a code of which a moment is left: one that is typed in the next step teaches the daemon that the
    /// authenticator is slow, and the code of the step after that one is then too far ahead of it.
    pub(crate) fn shown(&self, now: impl Fn() -> SystemTime, steps: i64) -> Result<String> {
        let left = self.left(now())?;
        if steps <= 0 && left < MOMENT {
            std::thread::sleep(left);
        }
        let distance = Duration::from_secs(self.period * steps.unsigned_abs());
        let then = if steps < 0 { now().checked_sub(distance) } else { now().checked_add(distance) };
        let codes = self.codes_from(then.context("a time out of range")?, 0)?;
        codes.into_iter().next().context("oathtool made no code")
    }

    /// How long the time step of `time` lasts from then on.
    fn left(&self, time: SystemTime) -> Result<Duration> {
        let into = time.duration_since(UNIX_EPOCH)?.as_nanos() % Duration::from_secs(self.period).as_nanos();
        Ok(Duration::from_secs(self.period) - Duration::from_nanos(u64::try_from(into)?))
    }

    /// A code that no time step around `time` has.
    pub(crate) fn wrong_code_at(&self, time: SystemTime) -> Result<String> {
        let early = time.checked_sub(Duration::from_secs(20 * self.period)).context("a time before the epoch")?;
        let right = self.codes_from(early, 40)?;
        let digits = usize::try_from(self.digits)?;
        let wrong = (1..).map(|n: u32| format!("{n:0digits$}")).find(|code| !right.contains(code));
        wrong.context("every code is right")
    }

    /// The codes of the step of `time` and of `more` steps after it.
    fn codes_from(&self, time: SystemTime, more: u32) -> Result<Vec<String>> {
        let seconds = time.duration_since(UNIX_EPOCH)?.as_secs();
        let arguments = [
            format!("--totp={}", self.algorithm),
            format!("--digits={}", self.digits),
            format!("--time-step-size={}s", self.period),
            format!("--now=@{seconds}"),
            format!("--window={more}"),
        ];
        oathtool(&arguments, &self.secret)
    }
}

/// An HOTP secret to import.
#[derive(Clone, Debug)]
pub struct HotpKey {
    /// The secret in base32.
    pub secret: String,
}

impl HotpKey {
    /// A secret of 160 bits, different for each `seed`.
    #[must_use]
    pub fn numbered(seed: u32) -> Self {
        let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let letter = |n: u32| letters.get(n as usize % letters.len()).copied().map_or('A', char::from);
        let secret = (0..32).map(|place: u32| letter(place * 7 + (seed >> (place % 16)) * 11 + seed)).collect();
        Self { secret }
    }

    /// A secret whose first `count` codes do not repeat within the look-ahead window, and these codes. A repeated
    /// one would be taken for the later one and skip those between.
    ///
    /// # Errors
    /// oathtool failed.
    pub fn distinct(seed: u32, count: u32) -> Result<(Self, Vec<String>)> {
        for number in (seed..).step_by(1000) {
            let key = Self::numbered(number);
            let codes = key.codes(0, count)?;
            let repeats = |window: &[String]| window.iter().skip(1).any(|code| Some(code) == window.first());
            if !codes.windows(LOOK_AHEAD).any(repeats) {
                return Ok((key, codes));
            }
        }
        bail!("no such secret")
    }

    /// One line for `countersign import otpauth`, with the counter at 0.
    #[must_use]
    pub fn uri(&self, user: &str) -> String {
        format!("otpauth://hotp/{user}?secret={}&counter=0\n", self.secret)
    }

    /// The codes of the counters from `first` on.
    ///
    /// # Errors
    /// oathtool failed.
    pub fn codes(&self, first: u32, count: u32) -> Result<Vec<String>> {
        let arguments = ["--hotp".into(), format!("--counter={first}"), format!("--window={}", count - 1)];
        oathtool(&arguments, &self.secret)
    }
}

/// Runs oathtool with the secret on its standard input.
fn oathtool(arguments: &[String], secret: &str) -> Result<Vec<String>> {
    let mut command = Command::new("oathtool");
    command.arg("--base32").args(arguments).arg("-");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context("oathtool")?;
    child.stdin.take().context("oathtool has no input")?.write_all(secret.as_bytes())?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("oathtool {arguments:?} failed");
    }
    Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
}
