//! `otpauth://` URIs, as authenticator apps and servers write them: the "Key Uri Format" of Google Authenticator's wiki,
//! read kindly. The text is an administrator's, and secret: no error repeats any of it.

use url::Url;
use zeroize::{Zeroize as _, Zeroizing};

use super::{Algorithm, Bad, Found, Moving, Place, issuer};
use crate::base32;

#[cfg(test)]
mod issuers;

/// Reads one line of a list; `None` where it is blank or a comment.
///
/// # Errors
/// The line and the reason.
pub(crate) fn parse(number: u64, line: &str) -> Result<Option<Found>, Bad> {
    let text = line.trim();
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let place = Place::Line(number);
    read(place.clone(), text).map(Some).map_err(|reason| Bad { place, reason })
}

fn read(place: Place, text: &str) -> Result<Found, &'static str> {
    if text.contains('\0') {
        return Err("it holds NUL bytes");
    }
    let url = Secret(Some(Url::parse(text).map_err(|_| "this is no URI")?));
    let url = url.0.as_ref().ok_or("this is no URI")?;
    if url.scheme() != "otpauth" {
        return Err("this is no otpauth:// URI");
    }
    let host = url.host_str().unwrap_or_default();
    let Some(kind) = ["totp", "hotp"].into_iter().find(|kind| host.eq_ignore_ascii_case(kind)) else {
        return Err("the type is neither totp nor hotp");
    };
    let parameters = Parameters::read(url)?;
    let secret = base32::decode(parameters.secret.as_deref().ok_or("the secret is missing")?)?;
    let moving = match (kind, parameters.counter) {
        ("hotp", None) => return Err("the counter is missing, which hotp needs"),
        ("hotp", Some(next)) => Moving::Hotp { next },
        _ => Moving::totp(parameters.period.unwrap_or(30)),
    };
    let mut found = Found::new(place, secret, moving);
    found.algorithm = parameters.algorithm.unwrap_or(Algorithm::Sha1);
    found.digits = parameters.digits.unwrap_or(6);
    let label = percent_decode(url.path().strip_prefix('/').unwrap_or(url.path())).ok_or("the label is not UTF-8")?;
    issuer::name(&mut found, parameters.issuer.as_deref(), &label)?;
    if found.account.is_none() {
        return Err("the label names no account");
    }
    Ok(found)
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
    algorithm: Option<Algorithm>,
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
                "algorithm" => parameters.algorithm = Some(Algorithm::parse(&value)?),
                "digits" => parameters.digits = Some(value.parse().map_err(|_| "the digits are no number")?),
                "period" => parameters.period = Some(value.parse().map_err(|_| "the period is no number")?),
                "counter" => parameters.counter = Some(value.parse().map_err(|_| "the counter is no number")?),
                _ => {}
            }
        }
        Ok(parameters)
    }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops where something is missing")]

    use super::*;

    const HELLO: &[u8] = b"Hello!\xde\xad\xbe\xef";

    fn read(uri: &str) -> Found {
        parse(1, uri).unwrap_or_else(|why| unreachable!("{uri}: {why}")).unwrap()
    }

    fn names(found: &Found) -> (Option<&str>, Option<&str>) {
        (found.account.as_deref(), found.label.as_deref())
    }

    #[test]
    fn a_uri_of_google_authenticator_is_read() {
        let found = read("otpauth://totp/Example:alice?secret=JBSWY3DPEHPK3PXP&issuer=Example");
        assert_eq!(names(&found), (Some("alice"), Some("Example")));
        assert_eq!((found.moving, found.algorithm, found.digits), (Moving::totp(30), Algorithm::Sha1, 6));
        assert_eq!((*found.secret).as_slice(), HELLO);
    }

    #[test]
    fn the_specification_s_own_example_is_read() {
        let found = read(
            "otpauth://totp/ACME%20Co:john.doe@email.com?secret=HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ&issuer=ACME%20Co&algorithm=SHA1&digits=6&period=30",
        );
        assert_eq!(names(&found), (Some("john.doe@email.com"), Some("ACME Co")));
        assert_eq!(found.secret.len(), 20);
    }

    #[test]
    fn uris_of_aegis_and_freeotp_are_read() {
        let aegis =
            read("otpauth://totp/Deno%3AMason?period=30&digits=6&algorithm=SHA256&secret=JBSWY3DPEHPK3PXP&issuer=Deno");
        assert_eq!((names(&aegis).0, aegis.algorithm), (Some("Mason"), Algorithm::Sha256));
        let counting =
            read("otpauth://hotp/Issuu:James?counter=1&digits=8&algorithm=SHA1&secret=JBSWY3DPEHPK3PXP&issuer=Issuu");
        assert_eq!((counting.moving, counting.digits), (Moving::Hotp { next: 1 }, 8));
        let freeotp = read(
            "otpauth://totp/Red%20Hat:bob?secret=JBSWY3DPEHPK3PXP&algorithm=SHA512&digits=6&period=60&lock=false&image=http%3A%2F%2Fx%2Fy.png",
        );
        assert_eq!((freeotp.moving, names(&freeotp).1), (Moving::totp(60), Some("Red Hat")));
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
            " otpauth://totp/%20alice%20?secret=JBSWY3DPEHPK3PXP&algorithm=SHA256&image=%zz\r",
        ] {
            let found = read(odd);
            assert_eq!(names(&found), (Some("alice"), None), "{odd}");
            assert_eq!((found.moving, found.algorithm), (expected.moving, Algorithm::Sha256), "{odd}");
            assert!(found.secret == expected.secret, "{odd}");
        }
    }

    #[test]
    fn blank_lines_and_comments_are_passed_over() {
        for none in ["", "  \r", "# otpauth://totp/alice?secret=JBSWY3DPEHPK3PXP"] {
            assert!(parse(1, none).unwrap().is_none(), "{none}");
        }
    }

    #[test]
    fn the_account_stands_after_the_last_colon() {
        assert_eq!(names(&read("otpauth://totp/A:%20alice?secret=JBSWY3DPEHPK3PXP")).0, Some("alice"));
        let found = read("otpauth://totp/A%3AB:alice?secret=JBSWY3DPEHPK3PXP");
        assert_eq!(names(&found), (Some("alice"), Some("A:B")));
        assert_eq!(names(&read("otpauth://totp/zo%C3%AB?secret=JBSWY3DPEHPK3PXP")).0, Some("zoë"));
    }

    #[test]
    fn long_and_steering_issuers_are_cut() {
        let found = read(&format!("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&issuer=%1B{}", "x".repeat(100)));
        assert_eq!(names(&found).1, Some("x".repeat(64).as_str()));
    }

    #[test]
    fn bad_uris_are_refused_with_their_reason() {
        for (uri, reason) in [
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
            ("otpauth://totp/a\0?secret=JBSWY3DPEHPK3PXP", "it holds NUL bytes"),
            (
                "otpauth://totp/EXAMPLE.COM:8b3a5c0e-4d0f-4a52-9c15-3b6f6d3a1e77?secret=JBSWY3DPEHPK3PXP",
                "the label names no account",
            ),
            ("otpauth://totp/a?secret=JBSWY3DPEHPK3PX0", "the secret is not base32"),
            ("otpauth://totp/a?secret=JBSW=Y3DPEHPK3PXP", "the secret is not base32"),
            ("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&secret=JBSWY3DPEHPK3PXP", "the secret is given twice"),
            ("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&digits=six", "the digits are no number"),
            ("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&period=-30", "the period is no number"),
            ("otpauth://totp/a?secret=JBSWY3DPEHPK3PXP&algorithm=MD5", "the algorithm is none of SHA1, SHA256, SHA512"),
            ("otpauth://hotp/a?secret=JBSWY3DPEHPK3PXP", "the counter is missing, which hotp needs"),
            ("otpauth://hotp/a?secret=JBSWY3DPEHPK3PXP&counter=-1", "the counter is no number"),
        ] {
            assert_eq!(parse(7, uri).err(), Some(Bad { place: Place::Line(7), reason }), "{uri}");
        }
        for (query, reason) in [
            ("secret=", "the secret is not 10 to 128 bytes long"),
            ("secret=JBSWY3DP", "the secret is not 10 to 128 bytes long"),
            ("secret=JBSWY3DPEHPK3PXP&digits=9", "the digits are not 6 to 8"),
            ("secret=JBSWY3DPEHPK3PXP&period=10", "the period is not 15 to 120 s"),
        ] {
            assert_eq!(read(&format!("otpauth://totp/a?{query}")).check(), Err(reason), "{query}");
        }
    }
}
