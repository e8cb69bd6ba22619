//! URIs in the forms in which ten issuers and two apps make them, by what each documents. Tests alone; the secrets are
//! examples of the documents, or made up.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use super::parse;

/// A secret of 160 bits.
const SECRET: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
/// One of 320 bits, as AWS makes them.
const LONG: &str = "GQMWATC3JYIGQBZRDPT7JEVWVDZQISEOXZXUP42552H6VRJTIXM3YLHI37J3YW6N";

/// What a form must become: account, label, algorithm, digits, period.
type Expected = (&'static str, &'static str, &'static str, u32, u32);

/// The forms.
const URIS: [(&str, Expected); 14] = [
    // Google's "Key Uri Format", both of its examples.
    (
        "otpauth://totp/Example:alice@google.com?secret=JBSWY3DPEHPK3PXP&issuer=Example",
        ("alice@google.com", "Example", "SHA1", 6, 30),
    ),
    (
        "otpauth://totp/ACME%20Co:john.doe@email.com?secret=HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ&issuer=ACME%20Co&algorithm=SHA1&digits=6&period=30",
        ("john.doe@email.com", "ACME Co", "SHA1", 6, 30),
    ),
    ("otpauth://totp/GitHub:octocat?secret=SECRET&issuer=GitHub", ("octocat", "GitHub", "SHA1", 6, 30)),
    // GitLab repeats its host in the account.
    (
        "otpauth://totp/gitlab.example.com:gitlab.example.com_alice%40example.com?secret=SECRET&issuer=gitlab.example.com",
        ("gitlab.example.com_alice@example.com", "gitlab.example.com", "SHA1", 6, 30),
    ),
    (
        "otpauth://totp/Microsoft:alice@outlook.com?secret=secret&issuer=Microsoft",
        ("alice@outlook.com", "Microsoft", "SHA1", 6, 30),
    ),
    // ASP.NET Core's template: everything percent-encoded that may be, and the digits.
    (
        "otpauth://totp/Razor%20Pages:alice%40example.com?secret=SECRET&issuer=Razor%20Pages&digits=6",
        ("alice@example.com", "Razor Pages", "SHA1", 6, 30),
    ),
    (
        "otpauth://totp/Amazon%20Web%20Services:alice@123456789012?secret=LONG&issuer=Amazon%20Web%20Services",
        ("alice@123456789012", "Amazon Web Services", "SHA1", 6, 30),
    ),
    // An AWS device that was made by its API has no issuer.
    ("otpauth://totp/alice@123456789012?secret=LONG", ("alice@123456789012", "imported", "SHA1", 6, 30)),
    (
        "otpauth://totp/Vault:test@test.com?secret=Y64VEVMBTSXCYIWRSHRNDZW62MPGVU2G&issuer=Vault",
        ("test@test.com", "Vault", "SHA1", 6, 30),
    ),
    // The colon of the label is encoded.
    (
        "otpauth://totp/Slack%3Adev%40acme.test?secret=SECRET&issuer=Slack&algorithm=SHA1&digits=6&period=30",
        ("dev@acme.test", "Slack", "SHA1", 6, 30),
    ),
    // Spaces and brackets of the label are not.
    ("otpauth://totp/Slack (Cloud Foundry):alice?secret=SECRET&issuer=Slack", ("alice", "Slack", "SHA1", 6, 30)),
    ("otpauth://totp/Dropbox:alice?secret=SECRET", ("alice", "Dropbox", "SHA1", 6, 30)),
    // privacyIDEA names the token and the algorithm, Keycloak the realm.
    (
        "otpauth://totp/TOTP000102AC?secret=SECRET&period=60&digits=8&algorithm=SHA256&issuer=privacyIDEA",
        ("TOTP000102AC", "privacyIDEA", "SHA256", 8, 60),
    ),
    (
        "otpauth://totp/master:alice?secret=SECRET&digits=6&algorithm=SHA512&issuer=master&period=30",
        ("alice", "master", "SHA512", 6, 30),
    ),
];

#[test]
fn the_uris_of_ten_issuers_are_taken_as_they_make_them() {
    for (form, (account, label, algorithm, digits, period)) in URIS {
        let uri = form.replace("=SECRET", &format!("={SECRET}")).replace("=LONG", &format!("={LONG}"));
        // Microsoft writes its secret in small letters.
        let uri = uri.replace("=secret", &format!("={}", SECRET.to_lowercase()));
        let record = parse(&uri).unwrap_or_else(|why| unreachable!("{why}: {form}"));
        assert_eq!((record.account.as_str(), record.label.as_deref()), (account, Some(label)), "{form}");
        assert_eq!((record.kind.as_str(), record.algorithm.as_str()), ("totp", algorithm), "{form}");
        assert_eq!((record.digits, record.period), (digits, period), "{form}");
    }
}

#[test]
fn secrets_are_read_with_the_padding_and_encoding_that_issuers_give_them() {
    for secret in [
        "GEZDGNBVGY3TQOJQGE%3D%3D%3D%3D%3D%3D",
        "GEZDGNBVGY3TQOJQGE======",
        "gezd gnbv gy3t qojq ge",
        "gezd-gnbv-gy3t-qojq-ge",
    ] {
        let record = parse(&format!("otpauth://totp/Example:alice?secret={secret}&issuer=Example")).unwrap();
        assert_eq!(record.secret, b"12345678901", "{secret}");
    }
}
