//! URIs in the forms in which ten issuers and two apps make them, by what each documents. Tests alone; the secrets are
//! examples of the documents, or made up.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::{Algorithm, Found, Moving, parse};

/// A secret of 160 bits.
const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
/// One of 320 bits, as AWS makes them.
const LONG: &str = "GQMWATC3JYIGQBZRDPT7JEVWVDZQISEOXZXUP42552H6VRJTIXM3YLHI37J3YW6N";

/// What a form must become: account, label, algorithm, digits, period.
type Expected = (&'static str, Option<&'static str>, &'static str, u32, u32);

/// The issuers, the forms, and what they must become.
const URIS: [(&str, &str, Expected); 15] = [
    // Google's "Key Uri Format", both of its examples.
    (
        "Key Uri Format",
        "otpauth://totp/Example:alice@google.com?secret=JBSWY3DPEHPK3PXP&issuer=Example",
        ("alice@google.com", Some("Example"), "SHA1", 6, 30),
    ),
    (
        "Key Uri Format",
        "otpauth://totp/ACME%20Co:john.doe@email.com?secret=HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ&issuer=ACME%20Co&algorithm=SHA1&digits=6&period=30",
        ("john.doe@email.com", Some("ACME Co"), "SHA1", 6, 30),
    ),
    ("GitHub", "otpauth://totp/GitHub:octocat?secret=SECRET&issuer=GitHub", ("octocat", Some("GitHub"), "SHA1", 6, 30)),
    // The host is repeated in the account.
    (
        "GitLab",
        "otpauth://totp/gitlab.example.com:gitlab.example.com_alice%40example.com?secret=SECRET&issuer=gitlab.example.com",
        ("gitlab.example.com_alice@example.com", Some("gitlab.example.com"), "SHA1", 6, 30),
    ),
    (
        "Microsoft",
        "otpauth://totp/Microsoft:alice@outlook.com?secret=secret&issuer=Microsoft",
        ("alice@outlook.com", Some("Microsoft"), "SHA1", 6, 30),
    ),
    // Everything is percent-encoded that may be.
    (
        "ASP.NET Core",
        "otpauth://totp/Razor%20Pages:alice%40example.com?secret=SECRET&issuer=Razor%20Pages&digits=6",
        ("alice@example.com", Some("Razor Pages"), "SHA1", 6, 30),
    ),
    (
        "AWS",
        "otpauth://totp/Amazon%20Web%20Services:alice@123456789012?secret=LONG&issuer=Amazon%20Web%20Services",
        ("alice@123456789012", Some("Amazon Web Services"), "SHA1", 6, 30),
    ),
    // A device that was made by its API has no issuer.
    ("AWS", "otpauth://totp/alice@123456789012?secret=LONG", ("alice@123456789012", None, "SHA1", 6, 30)),
    (
        "HashiCorp Vault",
        "otpauth://totp/Vault:test@test.com?secret=Y64VEVMBTSXCYIWRSHRNDZW62MPGVU2G&issuer=Vault",
        ("test@test.com", Some("Vault"), "SHA1", 6, 30),
    ),
    // The colon of the label is encoded.
    (
        "Slack",
        "otpauth://totp/Slack%3Adev%40acme.test?secret=SECRET&issuer=Slack&algorithm=SHA1&digits=6&period=30",
        ("dev@acme.test", Some("Slack"), "SHA1", 6, 30),
    ),
    // Spaces and brackets of the label are not.
    (
        "Slack",
        "otpauth://totp/Slack (Cloud Foundry):alice?secret=SECRET&issuer=Slack",
        ("alice", Some("Slack"), "SHA1", 6, 30),
    ),
    ("Dropbox", "otpauth://totp/Dropbox:alice?secret=SECRET", ("alice", Some("Dropbox"), "SHA1", 6, 30)),
    // The token is named, and whose it is is not.
    (
        "privacyIDEA",
        "otpauth://totp/TOTP000102AC?secret=SECRET&period=60&digits=8&algorithm=SHA256&issuer=privacyIDEA",
        ("TOTP000102AC", Some("privacyIDEA"), "SHA256", 8, 60),
    ),
    (
        "Keycloak",
        "otpauth://totp/master:alice?secret=SECRET&digits=6&algorithm=SHA512&issuer=master&period=30",
        ("alice", Some("master"), "SHA512", 6, 30),
    ),
    // The issuer is the owner's Kerberos principal, and the token's id stands in the account's place.
    (
        "FreeIPA",
        "otpauth://totp/alice@EXAMPLE.COM:8b3a5c0e-4d0f-4a52-9c15-3b6f6d3a1e77?issuer=alice%40EXAMPLE.COM&secret=SECRET&digits=6&algorithm=SHA256&period=30",
        ("alice", Some("8b3a5c0e-4d0f-4a52-9c15-3b6f6d3a1e77"), "SHA256", 6, 30),
    ),
];

fn read(uri: &str) -> Found {
    parse(1, uri).unwrap_or_else(|why| unreachable!("{why}: {uri}")).unwrap()
}

#[test]
fn the_uris_of_ten_issuers_are_taken_as_they_make_them() {
    for (issuer, form, (account, label, algorithm, digits, period)) in URIS {
        let uri = form.replace("=SECRET", &format!("={SECRET}")).replace("=LONG", &format!("={LONG}"));
        // Microsoft writes its secret in small letters.
        let uri = uri.replace("=secret", &format!("={}", SECRET.to_lowercase()));
        let found = read(&uri);
        assert_eq!((found.account.as_deref(), found.label.as_deref()), (Some(account), label), "{issuer}");
        assert_eq!((found.moving, found.digits), (Moving::totp(period), digits), "{issuer}");
        assert_eq!((found.algorithm.name(), found.check()), (algorithm, Ok(())), "{issuer}");
    }
    let issuers: std::collections::BTreeSet<&str> = URIS.iter().map(|(issuer, ..)| *issuer).collect();
    assert!(issuers.len() >= 10, "{issuers:?}");
}

#[test]
fn a_fob_of_freeipa_counts_on_from_its_counter() {
    let form = "otpauth://hotp/alice@EXAMPLE.COM:fob-17?issuer=alice%40EXAMPLE.COM&secret=SECRET&digits=8&algorithm=SHA384&counter=5";
    let uri = form.replace("=SECRET", &format!("={SECRET}"));
    // FreeIPA makes tokens with SHA-384, too, which no RFC of these codes knows.
    assert!(parse(1, &uri).unwrap_err().reason.contains("none of SHA1, SHA256, SHA512"));
    let found = read(&uri.replace("SHA384", "SHA512"));
    assert_eq!((found.account.as_deref(), found.label.as_deref()), (Some("alice"), Some("fob-17")));
    assert_eq!((found.moving, found.algorithm), (Moving::Hotp { next: 5 }, Algorithm::Sha512));
}

#[test]
fn secrets_are_read_with_the_padding_and_encoding_that_issuers_give_them() {
    for secret in [
        "GEZDGNBVGY3TQOJQGE%3D%3D%3D%3D%3D%3D",
        "GEZDGNBVGY3TQOJQGE======",
        "gezd gnbv gy3t qojq ge",
        "gezd-gnbv-gy3t-qojq-ge",
    ] {
        let found = read(&format!("otpauth://totp/Example:alice?secret={secret}&issuer=Example"));
        assert_eq!(*found.secret, b"12345678901", "{secret}");
    }
}
