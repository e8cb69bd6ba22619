//! The `otpauth://` URI that authenticator apps read from a QR code.
//!
//! The format is Google Authenticator's "Key URI Format"; every common app reads it.

use std::fmt::Write as _;

use verifier::{Authenticator, Kind, Moving, Parameters};
use zeroize::Zeroizing;

/// The URI of an authenticator. `issuer` and `account` are what the app shows.
#[must_use]
pub fn uri(issuer: &str, account: &str, authenticator: &Authenticator) -> Zeroizing<String> {
    let mut uri = short_uri(issuer, account, authenticator);
    if authenticator.parameters == Parameters::COMMON {
        add_parameters(&mut uri, authenticator);
    }
    uri
}

/// The same, without the parameters where they are what every app takes for granted (SHA1, 6 digits, 30 s): its QR
/// code is smaller.
#[must_use]
pub fn short_uri(issuer: &str, account: &str, authenticator: &Authenticator) -> Zeroizing<String> {
    let parameters = authenticator.parameters;
    let (issuer, account) = (encode(issuer), encode(account));
    let mut uri = Zeroizing::new(String::with_capacity(512));
    let secret = authenticator.secret.base32();
    // Writing to a String cannot fail.
    let _ = write!(uri, "otpauth://{}/{issuer}:{account}?secret={}&issuer={issuer}", parameters.kind.name(), *secret);
    if parameters != Parameters::COMMON {
        add_parameters(&mut uri, authenticator);
    }
    uri
}

fn add_parameters(uri: &mut String, authenticator: &Authenticator) {
    let Parameters { kind, algorithm, digits } = authenticator.parameters;
    // Writing to a String cannot fail.
    let _ = write!(uri, "&algorithm={}&digits={}", algorithm.name(), digits.number());
    let _ = match (kind, authenticator.moving) {
        (Kind::Totp(period), _) => write!(uri, "&period={}", period.seconds()),
        (Kind::Hotp, Moving::Hotp(hotp)) => write!(uri, "&counter={}", hotp.next.0),
        (Kind::Hotp, Moving::Totp(_)) => Ok(()),
    };
}

/// Percent-encodes all but the unreserved characters (RFC 3986, section 2.3). The colon between issuer and
/// account means something to the apps, so that one inside either is left out.
fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes().filter(|byte| *byte != b':') {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use verifier::{Algorithm, AuthenticatorId, Counter, Digits, Parameters, Period, Secret, WallTime};

    use super::*;

    fn authenticator(kind: Kind, counter: u64) -> Authenticator {
        Authenticator {
            id: AuthenticatorId(1),
            label: "phone".into(),
            active: true,
            parameters: Parameters { kind, algorithm: Algorithm::Sha256, digits: Digits::new(8).unwrap() },
            secret: Secret::new(b"12345678901234567890".to_vec()).unwrap(),
            moving: kind.begin(Counter(counter)),
            created: WallTime(0),
            last_used: None,
            expires: None,
            suspended: false,
        }
    }

    #[test]
    fn a_totp_uri_holds_every_parameter_percent_encoded() {
        let totp = authenticator(Kind::Totp(Period::new(60).unwrap()), 0);
        assert_eq!(
            *uri("Example: Host", "alice@ex ample", &totp),
            "otpauth://totp/Example%20Host:alice%40ex%20ample?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ\
             &issuer=Example%20Host&algorithm=SHA256&digits=8&period=60"
        );
    }

    #[test]
    fn a_short_uri_leaves_out_what_every_app_takes_for_granted_and_nothing_else() {
        let mut common = authenticator(Kind::Totp(Period::COMMON), 0);
        let whole =
            "otpauth://totp/h:a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=h&algorithm=SHA256&digits=8&period=30";
        assert_eq!(*short_uri("h", "a", &common), whole);
        common.parameters = Parameters::COMMON;
        assert_eq!(
            *short_uri("h", "a", &common),
            "otpauth://totp/h:a?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=h"
        );
        assert!(uri("h", "a", &common).ends_with("&issuer=h&algorithm=SHA1&digits=6&period=30"));
    }

    #[test]
    fn an_hotp_uri_holds_the_next_counter() {
        let hotp = uri("h", "a", &authenticator(Kind::Hotp, 7));
        assert!(hotp.starts_with("otpauth://hotp/h:a?") && hotp.ends_with("&counter=7"), "{}", *hotp);
    }
}
