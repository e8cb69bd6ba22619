//! `otpauth://` URIs, as authenticator apps and servers write them: the "Key Uri Format" of Google Authenticator's wiki,
//! read kindly. The text is an administrator's, and secret: no error repeats any of it.

use dbus_api::ImportRecord;
use url::Url;
use zeroize::{Zeroize as _, Zeroizing};

use crate::base32;

#[cfg(test)]
#[path = "otpauth/issuers.rs"]
mod issuers;

/// The longest label that the contract takes, in characters.
const LONGEST_LABEL: usize = 64;
/// The label where the URI names no issuer.
const NO_ISSUER: &str = "imported";

/// Reads one URI. The error says what is wrong, without the URI.
///
/// # Errors
/// A reason for people, where the URI is not of this format or a value is out of its range.
pub(crate) fn parse(text: &str) -> Result<ImportRecord, &'static str> {
    let url = Secret(Some(Url::parse(text).map_err(|_| "this is no URI")?));
    let url = url.0.as_ref().ok_or("this is no URI")?;
    if url.scheme() != "otpauth" {
        return Err("this is no otpauth:// URI");
    }
    let host = url.host_str().unwrap_or_default();
    let Some(kind) = ["totp", "hotp"].into_iter().find(|kind| host.eq_ignore_ascii_case(kind)) else {
        return Err("the type is neither totp nor hotp");
    };
    let (issuer, account) = read_label(url.path())?;
    let parameters = Parameters::read(url)?;
    let mut secret = base32::decode(parameters.secret.as_deref().ok_or("the secret is missing")?)?;
    if !(10..=128).contains(&secret.len()) {
        return Err("the secret is not 10 to 128 bytes long");
    }
    if kind == "hotp" && parameters.counter.is_none() {
        return Err("the counter is missing, which hotp needs");
    }
    let mut record = ImportRecord::new(account, std::mem::take(&mut *secret));
    record.label = Some(choose_label(&[parameters.issuer.as_deref(), issuer.as_deref()]));
    record.kind = kind.to_owned();
    record.algorithm = parameters.algorithm.unwrap_or("SHA1").to_owned();
    record.digits = parameters.digits.unwrap_or(6);
    record.period = if kind == "totp" { parameters.period.unwrap_or(30) } else { 0 };
    record.counter = parameters.counter.filter(|_| kind == "hotp").unwrap_or(0);
    Ok(record)
}

/// A URL whose text is zeroised when dropped.
struct Secret(Option<Url>);

impl Drop for Secret {
    fn drop(&mut self) {
        if let Some(url) = self.0.take() {
            String::from(url).zeroize();
        }
    }
}

/// The parameters of the query; unknown ones are ignored.
#[derive(Default)]
struct Parameters {
    secret: Option<Zeroizing<String>>,
    issuer: Option<String>,
    algorithm: Option<&'static str>,
    digits: Option<u32>,
    period: Option<u32>,
    counter: Option<u64>,
}

impl Parameters {
    fn read(url: &Url) -> Result<Self, &'static str> {
        let mut parameters = Self::default();
        for (name, value) in url.query_pairs() {
            let value = Zeroizing::new(value.into_owned());
            match name.to_ascii_lowercase().as_str() {
                "secret" if parameters.secret.is_some() => return Err("the secret is given twice"),
                "secret" => parameters.secret = Some(value),
                "issuer" => parameters.issuer = Some(value.to_string()),
                "algorithm" => parameters.algorithm = Some(read_algorithm(&value)?),
                "digits" => parameters.digits = Some(read_number(&value, 6, 8, "the digits are not 6 to 8")?),
                "period" => parameters.period = Some(read_number(&value, 15, 120, "the period is not 15 to 120 s")?),
                "counter" => parameters.counter = Some(value.parse().map_err(|_| "the counter is no number")?),
                _ => {}
            }
        }
        Ok(parameters)
    }
}

/// `issuer:account`, percent-encoded or not. An account's name holds no colon (passwd(5)), an issuer may.
fn read_label(path: &str) -> Result<(Option<String>, String), &'static str> {
    let label = percent_decode(path.strip_prefix('/').unwrap_or(path)).ok_or("the label is not UTF-8")?;
    let (issuer, account) = match label.rsplit_once(':') {
        Some((issuer, account)) => (Some(issuer.trim().to_owned()), account.trim()),
        None => (None, label.trim()),
    };
    if account.is_empty() {
        return Err("the label names no account");
    }
    if account.chars().any(char::is_control) || account.contains('/') {
        return Err("the account's name holds a character that no account has");
    }
    Ok((issuer, account.to_owned()))
}

/// `text` with its `%41` decoded; a `%` that begins no such thing stands for itself.
fn percent_decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let digits = tail.get(..2).and_then(|pair| Some((hex_digit(*pair.first()?)?, hex_digit(*pair.last()?)?)));
        match digits.filter(|_| *first == b'%') {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = tail.get(2..)?;
            }
            None => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn read_algorithm(text: &str) -> Result<&'static str, &'static str> {
    let plain = text.to_ascii_uppercase().replace(['-', '_'], "");
    match plain.strip_prefix("HMAC").unwrap_or(&plain) {
        "SHA1" => Ok("SHA1"),
        "SHA256" => Ok("SHA256"),
        "SHA512" => Ok("SHA512"),
        _ => Err("the algorithm is none of SHA1, SHA256, SHA512"),
    }
}

fn read_number(text: &str, least: u32, most: u32, wrong: &'static str) -> Result<u32, &'static str> {
    text.parse().ok().filter(|number| (least..=most).contains(number)).ok_or(wrong)
}

/// The first name that is one, cut to what the contract takes.
fn choose_label(names: &[Option<&str>]) -> String {
    let clean = |name: &str| -> String {
        name.chars()
            .filter(|character| !character.is_control())
            .take(LONGEST_LABEL)
            .collect::<String>()
            .trim()
            .to_owned()
    };
    let names = names.iter().flatten().map(|name| clean(name));
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_else(|| NO_ISSUER.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops where something is missing")]

    use super::*;

    const HELLO: &[u8] = b"Hello!\xde\xad\xbe\xef";

    fn read(uri: &str) -> ImportRecord {
        parse(uri).unwrap_or_else(|why| unreachable!("{uri}: {why}"))
    }

    #[test]
    fn a_uri_of_google_authenticator_is_read() {
        let record = read("otpauth://totp/Example:alice?secret=JBSWY3DPEHPK3PXP&issuer=Example");
        assert_eq!((record.account.as_str(), record.label.as_deref()), ("alice", Some("Example")));
        assert_eq!((record.kind.as_str(), record.algorithm.as_str()), ("totp", "SHA1"));
        assert_eq!((record.digits, record.period, record.counter), (6, 30, 0));
        assert_eq!(record.secret, HELLO);
    }

    #[test]
    fn the_specification_s_own_example_is_read() {
        let record = read(
            "otpauth://totp/ACME%20Co:john.doe@email.com?secret=HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ&issuer=ACME%20Co&algorithm=SHA1&digits=6&period=30",
        );
        assert_eq!((record.account.as_str(), record.label.as_deref()), ("john.doe@email.com", Some("ACME Co")));
        assert_eq!(record.secret.len(), 20);
    }

    #[test]
    fn uris_of_aegis_and_freeotp_are_read() {
        let aegis =
            read("otpauth://totp/Deno%3AMason?period=30&digits=6&algorithm=SHA256&secret=JBSWY3DPEHPK3PXP&issuer=Deno");
        assert_eq!((aegis.account.as_str(), aegis.algorithm.as_str()), ("Mason", "SHA256"));
        let counting =
            read("otpauth://hotp/Issuu:James?counter=1&digits=8&algorithm=SHA1&secret=JBSWY3DPEHPK3PXP&issuer=Issuu");
        assert_eq!((counting.kind.as_str(), counting.counter, counting.digits, counting.period), ("hotp", 1, 8, 0));
        let freeotp = read(
            "otpauth://totp/Red%20Hat:bob?secret=JBSWY3DPEHPK3PXP&algorithm=SHA512&digits=6&period=60&lock=false&image=http%3A%2F%2Fx%2Fy.png",
        );
        assert_eq!((freeotp.period, freeotp.label.as_deref()), (60, Some("Red Hat")));
    }

    #[test]
    fn odd_spellings_are_read_kindly() {
        let expected = read("otpauth://totp/alice?secret=JBSWY3DPEHPK3PXP&algorithm=SHA256");
        for odd in [
            "OTPAUTH://TOTP/alice?SECRET=jbswy3dpehpk3pxp&ALGORITHM=sha256",
            "otpauth://totp/alice?secret=jbsw%20y3dp%20ehpk%203pxp&algorithm=HmacSHA256",
            "otpauth://totp/alice?secret=JBSW+Y3DP+EHPK+3PXP&algorithm=SHA-256",
            "otpauth://totp/alice?secret=JBSW-Y3DP-EHPK-3PXP====&algorithm=Sha256",
            "otpauth://totp/alice?secret=JBSWY3DPEHPK3PXP%3D%3D&algorithm=SHA256&issuer=",
            "otpauth://totp/%20alice%20?secret=JBSWY3DPEHPK3PXP&algorithm=SHA256&image=%zz",
        ] {
            let record = read(odd);
            assert!(record == expected, "{odd}: {record:?}");
        }
        assert_eq!(expected.label.as_deref(), Some("imported"));
    }

    #[test]
    fn the_account_stands_after_the_last_colon() {
        assert_eq!(read("otpauth://totp/A:%20alice?secret=JBSWY3DPEHPK3PXP").account, "alice");
        let record = read("otpauth://totp/A%3AB:alice?secret=JBSWY3DPEHPK3PXP");
        assert_eq!((record.account.as_str(), record.label.as_deref()), ("alice", Some("A:B")));
        assert_eq!(read("otpauth://totp/zo%C3%AB?secret=JBSWY3DPEHPK3PXP").account, "zoë");
    }

    #[test]
    fn long_and_steering_issuers_are_cut() {
        let record = read(&format!("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&issuer=%1B{}", "x".repeat(100)));
        assert_eq!(record.label.as_deref(), Some("x".repeat(64).as_str()));
    }

    #[test]
    fn bad_uris_are_refused_with_their_reason() {
        for (uri, reason) in [
            ("", "this is no URI"),
            ("hello", "this is no URI"),
            ("https://totp/alice?secret=JBSWY3DPEHPK3PXP", "this is no otpauth:// URI"),
            ("otpauth-migration://offline?data=AAAA", "this is no otpauth:// URI"),
            ("otpauth://steam/alice?secret=JBSWY3DPEHPK3PXP", "the type is neither totp nor hotp"),
            ("otpauth:totp/alice?secret=JBSWY3DPEHPK3PXP", "the type is neither totp nor hotp"),
            ("otpauth://totp/?secret=JBSWY3DPEHPK3PXP", "the label names no account"),
            ("otpauth://totp?secret=JBSWY3DPEHPK3PXP", "the label names no account"),
            ("otpauth://totp/A:?secret=JBSWY3DPEHPK3PXP", "the label names no account"),
            ("otpauth://totp/%ff?secret=JBSWY3DPEHPK3PXP", "the label is not UTF-8"),
            (
                "otpauth://totp/a%0Ab?secret=JBSWY3DPEHPK3PXP",
                "the account's name holds a character that no account has",
            ),
            (
                "otpauth://totp/a%2Fb?secret=JBSWY3DPEHPK3PXP",
                "the account's name holds a character that no account has",
            ),
            ("otpauth://totp/a", "the secret is missing"),
            ("otpauth://totp/a?secret=", "the secret is not 10 to 128 bytes long"),
            ("otpauth://totp/a?secret=JBSWY3DP", "the secret is not 10 to 128 bytes long"),
            ("otpauth://totp/a?secret=JBSWY3DPEHPK3PX0", "the secret is not base32"),
            ("otpauth://totp/a?secret=JBSW=Y3DPEHPK3PXP", "the secret is not base32"),
            ("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&secret=JBSWY3DPEHPK3PXP", "the secret is given twice"),
            ("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&digits=9", "the digits are not 6 to 8"),
            ("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&digits=six", "the digits are not 6 to 8"),
            ("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&period=10", "the period is not 15 to 120 s"),
            ("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&algorithm=MD5", "the algorithm is none of SHA1, SHA256, SHA512"),
            ("otpauth://hotp/a?secret=JBSWY3DPEHPK3PXP", "the counter is missing, which hotp needs"),
            ("otpauth://hotp/a?secret=JBSWY3DPEHPK3PXP&counter=-1", "the counter is no number"),
        ] {
            assert_eq!(parse(uri).err(), Some(reason), "{uri}");
        }
    }
}
