//! `~/.google_authenticator`, as pam_google_authenticator and its `google-authenticator` program write it (FILEFORMAT in
//! their documentation). The file is its user's own to write: nothing in it is believed before the daemon checked it.

use std::borrow::Cow;

use super::{Bad, Found, Moving, Place, ScratchCodes};
use crate::base32;

/// The most scratch codes that are read; the program makes no more than 10.
const MOST_SCRATCH_CODES: usize = 100;
/// The old module's window where the file names none.
const USUAL_WINDOW: u64 = 3;
/// What begins an option.
const OPTION: &str = "\" ";

/// Reads a whole file.
///
/// # Errors
/// The place and the reason.
pub(crate) fn parse(bytes: &[u8]) -> Result<Found, Bad> {
    if bytes.contains(&0) {
        return Err(Bad::file("it holds NUL bytes"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Bad::file("it is not ASCII"))?;
    let mut lines = (1..).zip(text.lines());
    let Some((_, secret)) = lines.next().filter(|(_, line)| !line.trim().is_empty()) else {
        return Err(Bad::file("it is empty"));
    };
    if secret.starts_with(OPTION) {
        return Err(bad(1, "the secret is missing"));
    }
    let secret = base32::decode_look_alikes(secret.trim()).map_err(|reason| bad(1, reason))?;
    let mut options = Options { scratch_codes: ScratchCodes::with_capacity(MOST_SCRATCH_CODES), ..Options::default() };
    for (number, line) in lines {
        options.read(line.trim_end()).map_err(|reason| bad(number, reason))?;
    }
    let (moving, remarks) = options.judge().map_err(Bad::file)?;
    Ok(Found { scratch_codes: options.scratch_codes, remarks, ..Found::new(Place::File, secret, moving) })
}

/// What the lines behind the secret say.
#[derive(Default)]
struct Options {
    by_time: bool,
    counter: Option<u64>,
    step_size: Option<u32>,
    window: Option<u64>,
    skew: i64,
    last_step: Option<u64>,
    remembers_steps: bool,
    scratch_codes: ScratchCodes,
    unknown: bool,
}

impl Options {
    fn read(&mut self, line: &str) -> Result<(), &'static str> {
        let Some(option) = line.strip_prefix(OPTION) else { return self.read_scratch_code(line) };
        let (name, value) = option.split_once(' ').unwrap_or((option, ""));
        match name {
            "TOTP_AUTH" => self.by_time = true,
            "HOTP_COUNTER" => self.counter = Some(number(value, "the HOTP_COUNTER is no number")?),
            "STEP_SIZE" => self.step_size = Some(number(value, "the STEP_SIZE is no number")?),
            "WINDOW_SIZE" => self.window = Some(number(value, "the WINDOW_SIZE is no number")?),
            "TIME_SKEW" => self.skew = number(value, "the TIME_SKEW is no number")?,
            "DISALLOW_REUSE" => {
                self.remembers_steps = true;
                for step in value.split_ascii_whitespace() {
                    let step = number(step, "a step of DISALLOW_REUSE is no number")?;
                    self.last_step = self.last_step.max(Some(step));
                }
            }
            // Limits and grace periods are the policy's here, and an old module's attempts to find the skew are of no use.
            "RATE_LIMIT" | "RESETTING_TIME_SKEW" => {}
            name if is_last_login(name) => {}
            _ => self.unknown = true,
        }
        Ok(())
    }

    fn read_scratch_code(&mut self, line: &str) -> Result<(), &'static str> {
        let line = line.trim();
        if line.is_empty() {
            return Ok(());
        }
        // The old module accepts none that begins with 0.
        let is_code = line.len() == 8 && line.bytes().all(|byte| byte.is_ascii_digit()) && !line.starts_with('0');
        let code = line.parse().ok().filter(|_| is_code).ok_or("this is neither an option nor a scratch code")?;
        if self.scratch_codes.push(code) { Ok(()) } else { Err("there are more than 100 scratch codes") }
    }

    /// As the old module does: by counting where there is a counter greater than 0, else by time where the file says so.
    fn judge(&self) -> Result<(Moving, Vec<Cow<'static, str>>), &'static str> {
        let mut remarks = Vec::new();
        if self.unknown {
            remarks.push("an option that is not known is left out".into());
        }
        let moving = match self.counter.filter(|counter| *counter > 0) {
            Some(next) => {
                if self.window.is_some_and(|window| window > 11) {
                    remarks.push("its look-ahead becomes 10 codes".into());
                }
                Moving::Hotp { next }
            }
            None if self.by_time => {
                if self.window.unwrap_or(USUAL_WINDOW) > USUAL_WINDOW {
                    remarks.push("its wider window becomes one step before and after".into());
                }
                if !self.remembers_steps {
                    remarks.push("which codes were used is not known: the last one may work once more".into());
                }
                Moving::Totp { period: self.step_size.unwrap_or(30), last_step: self.last_step, drift: self.skew }
            }
            None => return Err("it says neither TOTP_AUTH nor a HOTP_COUNTER greater than 0: no code of it works"),
        };
        Ok((moving, remarks))
    }
}

/// `LAST0` to `LAST9`: where somebody logged in from within the grace period.
fn is_last_login(name: &str) -> bool {
    matches!(name.strip_prefix("LAST").map(str::as_bytes), Some([b'0'..=b'9']))
}

fn number<T: std::str::FromStr>(text: &str, wrong: &'static str) -> Result<T, &'static str> {
    text.trim().parse().map_err(|_| wrong)
}

fn bad(line: u64, reason: &'static str) -> Bad {
    Bad { place: Place::Line(line), reason }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const SECRET: &str = "HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ";

    fn read(options: &str) -> Found {
        parse(format!("{SECRET}\n{options}").as_bytes()).unwrap_or_else(|bad| unreachable!("{options}: {bad}"))
    }

    #[test]
    fn a_file_of_every_option_is_read() {
        let found = read(
            "\" RATE_LIMIT 3 30 1795342500 1795342530\n\" WINDOW_SIZE 17\n\" DISALLOW_REUSE 59844750 59844752 59844751\n\
             \" TOTP_AUTH\n\" STEP_SIZE 60\n\" TIME_SKEW -4\n\" LAST0 192.0.2.7 1795342500\n\
             \" RESETTING_TIME_SKEW 59844751+2\n87654321\n12345678\n",
        );
        assert_eq!(found.moving, Moving::Totp { period: 60, last_step: Some(59_844_752), drift: -4 });
        assert_eq!((found.secret.len(), found.digits), (20, 6));
        assert_eq!(found.scratch_codes.codes(), Some(&[87_654_321, 12_345_678][..]));
        assert_eq!(found.remarks, ["its wider window becomes one step before and after"]);
    }

    #[test]
    fn a_counter_greater_than_0_goes_before_time() {
        assert_eq!(read("\" HOTP_COUNTER 7\n").moving, Moving::Hotp { next: 7 });
        assert_eq!(read("\" TOTP_AUTH\n\" HOTP_COUNTER 7\n").moving, Moving::Hotp { next: 7 });
        assert_eq!(read("\" TOTP_AUTH\n\" HOTP_COUNTER 0\n").moving, Moving::totp(30));
    }

    #[test]
    fn a_secret_is_read_as_the_old_module_reads_it() {
        let plain = parse(b"OLBMZXW6YTBOIAAA\n\" TOTP_AUTH\n").unwrap();
        for odd in ["018MZXW6YTBOIAAA", "0l8m zxw6-ytbo IAAA", " OLBMZXW6YTBOIAAA\r"] {
            let found = parse(format!("{odd}\n\" TOTP_AUTH\n").as_bytes()).unwrap();
            assert!(found.secret == plain.secret, "{odd}");
        }
    }

    #[test]
    fn what_is_not_known_about_used_codes_is_said() {
        assert_eq!(
            read("\" TOTP_AUTH\n").remarks,
            ["which codes were used is not known: the last one may work once more"]
        );
        assert!(read("\" DISALLOW_REUSE\n\" TOTP_AUTH\n").remarks.is_empty());
        assert_eq!(read("\" DISALLOW_REUSE\n\" TOTP_AUTH\n\" NEW_OPTION 1\n").remarks.len(), 1);
    }

    #[test]
    fn bad_files_are_refused_by_line_and_reason() {
        for (text, line, reason) in [
            (&b""[..], None, "it is empty"),
            (b"\n\n", None, "it is empty"),
            (b"MZXW6\0YTB", None, "it holds NUL bytes"),
            (b"\xff\xfeM\xc3", None, "it is not ASCII"),
            (b"\" TOTP_AUTH\n", Some(1), "the secret is missing"),
            (b"not/base32\n\" TOTP_AUTH\n", Some(1), "the secret is not base32"),
            (b"MZXW6YTBOI\n", None, "it says neither TOTP_AUTH nor a HOTP_COUNTER greater than 0: no code of it works"),
            (b"MZXW6YTBOI\n\" HOTP_COUNTER -1\n", Some(2), "the HOTP_COUNTER is no number"),
            (b"MZXW6YTBOI\n\" STEP_SIZE 4294967296\n", Some(2), "the STEP_SIZE is no number"),
            (b"MZXW6YTBOI\n\" TIME_SKEW x\n", Some(2), "the TIME_SKEW is no number"),
            (b"MZXW6YTBOI\n\" DISALLOW_REUSE 1 y\n", Some(2), "a step of DISALLOW_REUSE is no number"),
            (b"MZXW6YTBOI\n\" TOTP_AUTH\n1234567\n", Some(3), "this is neither an option nor a scratch code"),
            (b"MZXW6YTBOI\n\" TOTP_AUTH\n01234567\n", Some(3), "this is neither an option nor a scratch code"),
        ] {
            let expected = Bad { place: line.map_or(Place::File, Place::Line), reason };
            assert_eq!(parse(text).err(), Some(expected), "{}", String::from_utf8_lossy(text));
        }
        let many = format!("{SECRET}\n\" TOTP_AUTH\n{}", "12345678\n".repeat(101));
        assert_eq!(parse(many.as_bytes()).unwrap_err().reason, "there are more than 100 scratch codes");
    }
}
