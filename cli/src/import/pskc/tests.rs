//! The figures of RFC 6030, stronger algorithms encrypted by others (`tests/data/pskc/make`), and files that lie.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

use zeroize::Zeroizing;

use super::*;

/// Within the validity of half of figure 10.
const THEN: &str = "2006-05-10T00:00:00Z";
const NOW: &str = "2026-11-20T10:00:00Z";
const SECRET: &[u8] = b"12345678901234567890";

macro_rules! data {
    ($name:literal) => {
        include_str!(concat!("../../../tests/data/pskc/", $name))
    };
}

fn key(bytes: impl IntoIterator<Item = u8>) -> Credential {
    Credential::Key(Zeroizing::new(bytes.into_iter().collect()))
}

/// The key of figure 6.
fn pre_shared() -> Credential {
    key([0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12, 0x34, 0x56, 0x78, 0x90, 0x12])
}

fn passphrase(text: &str) -> Credential {
    Credential::Passphrase(Zeroizing::new(text.to_owned()))
}

fn open(text: &str, credential: &Credential, now: &str) -> Reading {
    Container::read(text.as_bytes())?.open(credential, now)
}

fn read(text: &str) -> Vec<Result<Found, Bad>> {
    open(text, &Credential::None, NOW).unwrap()
}

/// The only key of a file in clear.
fn one(text: &str) -> Result<Found, &'static str> {
    let mut read = read(text);
    assert_eq!(read.len(), 1);
    read.remove(0).map_err(|bad| bad.reason)
}

fn serial(serial: &str) -> Place {
    Place::Serial(serial.to_owned())
}

#[test]
fn figure_2_a_secret_in_clear() {
    let found = one(data!("rfc6030-figure-2.xml")).unwrap();
    assert_eq!((&found.place, found.label.as_deref()), (&serial("987654321"), Some("Issuer-A")));
    assert_eq!((found.algorithm, found.moving), (Algorithm::Sha1, Moving::Hotp { next: 0 }));
    assert_eq!(*found.secret, b"1234");
    // Four bytes are an example's secret and nobody's.
    assert_eq!(found.check(), Err("the secret is not 10 to 128 bytes long"));
}

#[test]
fn figure_3_supplementary_data() {
    let found = one(data!("rfc6030-figure-3.xml")).unwrap();
    assert_eq!((found.account.as_deref(), found.label.as_deref()), (Some("jsmith"), Some("Issuer")));
    assert_eq!((found.digits, found.moving), (8, Moving::Hotp { next: 0 }));
    assert_eq!((&**found.secret, found.check()), (SECRET, Ok(())));
    let of_device = data!("rfc6030-figure-3.xml").replace("<UserId>UID=jsmith,DC=example-bank,DC=net</UserId>", "");
    assert_eq!(one(&of_device).unwrap().account, None);
    let plain = data!("rfc6030-figure-3.xml").replace("UID=jsmith,DC=example-bank,DC=net", "alice");
    assert_eq!(one(&plain).unwrap().account.as_deref(), Some("alice"));
}

#[test]
fn figure_4_a_key_that_is_derived_elsewhere_has_no_secret() {
    assert_eq!(one(data!("rfc6030-figure-4.xml")).unwrap_err(), "the secret is missing");
}

#[test]
fn figure_5_the_key_is_taken_and_the_pin_beside_it_is_not() {
    let read = read(data!("rfc6030-figure-5.xml"));
    assert_eq!((&**read[0].as_ref().unwrap().secret, read.len()), (SECRET, 2));
    assert_eq!(read[1].as_ref().unwrap_err().to_string(), "serial 987654321: a PIN: none is asked for");
}

#[test]
fn figure_6_a_pre_shared_key() {
    let text = data!("rfc6030-figure-6.xml");
    let container = Container::read(text.as_bytes()).unwrap();
    assert_eq!(container.protection(), Ok(Protection::PreSharedKey(Some("Pre-shared-key".to_owned()))));
    let read = container.open(&pre_shared(), NOW).unwrap();
    let found = read[0].as_ref().unwrap();
    assert_eq!((&**found.secret, found.digits, found.moving), (SECRET, 8, Moving::Hotp { next: 0 }));
}

#[test]
fn figure_7_a_passphrase() {
    let text = data!("rfc6030-figure-7.xml");
    let container = Container::read(text.as_bytes()).unwrap();
    assert_eq!(container.protection(), Ok(Protection::Passphrase(Some("My Password 1".to_owned()))));
    let read = container.open(&passphrase("qwerty"), NOW).unwrap();
    let found = read[0].as_ref().unwrap();
    assert_eq!((&**found.secret, found.digits), (SECRET, 8));
}

#[test]
fn figure_8_a_certificate_cannot_be_used() {
    let bad = open(data!("rfc6030-figure-8.xml"), &Credential::None, NOW).unwrap_err();
    assert!(bad.reason.contains("encrypted for a certificate"), "{bad}");
}

#[test]
fn figure_9_a_signature_is_not_checked_and_that_is_said() {
    let found = one(data!("rfc6030-figure-9.xml")).unwrap();
    assert_eq!((&found.place, &**found.secret, found.digits), (&serial("0755225266"), SECRET, 6));
    assert_eq!(found.remarks, ["the file's signature is not checked"]);
}

#[test]
fn figure_10_many_keys_of_which_those_are_taken_that_are_valid() {
    let at = |now| open(data!("rfc6030-figure-10.xml"), &Credential::None, now).unwrap();
    let then = at(THEN);
    let taken: Vec<&Place> = then.iter().flatten().map(|found| &found.place).collect();
    assert_eq!(taken, [&serial("654321"), &serial("123456")]);
    assert_eq!(then[0].as_ref().unwrap().remarks, ["the day on which it expires is not kept"]);
    assert_eq!(then[2].as_ref().unwrap_err().to_string(), "serial 9999999: by its policy it has expired");
    assert!(at("2006-02-01T00:00:00Z").iter().all(|one| one.as_ref().unwrap_err().reason.contains("not valid yet")));
    assert!(at(NOW).iter().all(|one| one.as_ref().unwrap_err().reason.contains("has expired")));
}

#[test]
fn longer_keys_and_stronger_hashes_are_read_as_others_wrote_them() {
    let aes_192 = open(data!("aes192-sha256.xml"), &key(0..24), NOW).unwrap();
    let aes_256 = open(data!("aes256-pbkdf2-sha512.xml"), &passphrase("pass phrase é"), NOW).unwrap();
    for read in [aes_192, aes_256] {
        let found = read[0].as_ref().unwrap();
        assert_eq!((&**found.secret, found.algorithm, found.moving), (SECRET, Algorithm::Sha256, Moving::totp(60)));
    }
}

#[test]
fn a_wrong_key_or_passphrase_is_told_of_the_file_and_not_of_each_record() {
    let wrong = [
        (data!("rfc6030-figure-6.xml"), key([0; 16])),
        (data!("rfc6030-figure-7.xml"), passphrase("Qwerty")),
        (data!("rfc6030-figure-7.xml"), passphrase("")),
        (data!("aes192-sha256.xml"), key([1; 24])),
    ];
    for (text, credential) in wrong {
        assert_eq!(open(text, &credential, NOW).unwrap_err(), encryption::WRONG_KEY);
    }
    let short = open(data!("aes192-sha256.xml"), &key([1; 16]), NOW).unwrap_err();
    assert_eq!(short.reason, "the key is not as long as the file's encryption wants it");
    for credential in [Credential::None, passphrase("qwerty")] {
        let bad = open(data!("rfc6030-figure-6.xml"), &credential, NOW).unwrap_err();
        assert_eq!(bad.reason, "the file is encrypted with a pre-shared key");
    }
    assert!(open(data!("rfc6030-figure-7.xml"), &pre_shared(), NOW).unwrap_err().reason.contains("a passphrase"));
}

#[test]
fn what_is_encrypted_and_does_not_authenticate_is_not_decrypted() {
    let figure = data!("rfc6030-figure-6.xml");
    let wrong = |text: &str| open(text, &pre_shared(), NOW).unwrap_err();
    // The last byte of the cipher text, the first of the vector, the MAC, the MAC cut short.
    for (from, to) in
        [("qIUqGv", "qIUqGw"), ("AAECAwQF", "BAECAwQF"), ("Su+Nvt", "Tu+Nvt"), ("zF6bmQiJqoLRExc=", "zF4=")]
    {
        assert!(figure.contains(from));
        assert_eq!(wrong(&figure.replace(from, to)), encryption::WRONG_KEY, "{from}");
    }
    // With a second record that is as it was, only the altered one is refused.
    let start = figure.find("<KeyPackage>").unwrap();
    let end = figure.find("</KeyContainer>").unwrap();
    let altered = figure[start..end].replace("qIUqGv", "qIUqGw").replace("987654321", "1");
    let both = format!("{}{altered}{}", &figure[..start], &figure[start..]);
    let read = open(&both, &pre_shared(), NOW).unwrap();
    assert_eq!(read[0].as_ref().unwrap_err(), &Bad { place: serial("1"), reason: encryption::ALTERED });
    assert!(read[1].is_ok());
}

#[test]
fn without_a_mac_nothing_encrypted_is_believed() {
    let figure = data!("rfc6030-figure-6.xml");
    let between = |text: &str, from: &str, to: &str| {
        let (start, end) = (text.find(from).unwrap(), text.find(to).unwrap() + to.len());
        format!("{}{}", &text[..start], &text[end..])
    };
    for text in [between(figure, "<ValueMAC>", "</ValueMAC>"), between(figure, "<MACMethod", "</MACMethod>")] {
        let read = open(&text, &pre_shared(), NOW).unwrap();
        assert!(read[0].as_ref().unwrap_err().reason.contains("without a MAC"));
    }
    let md5 = figure.replace("#hmac-sha1", "#hmac-md5");
    assert!(open(&md5, &pre_shared(), NOW).unwrap_err().reason.contains("the file's MAC is none of"));
    let triple_des = figure.replace("#aes128-cbc", "#tripledes-cbc");
    assert!(open(&triple_des, &pre_shared(), NOW).unwrap_err().reason.contains("the encryption is none of"));
    // Encrypted, and nothing says with what.
    let nothing = between(figure, "<EncryptionKey>", "</EncryptionKey>");
    assert!(one(&nothing).unwrap_err().contains("does not say with what"));
}

#[test]
fn the_work_of_a_passphrase_is_bounded() {
    let figure = data!("rfc6030-figure-7.xml");
    let with = |from: &str, to: &str| open(&figure.replace(from, to), &passphrase("qwerty"), NOW).unwrap_err().reason;
    assert!(with("<IterationCount>1000", "<IterationCount>10000001").contains("more than 10,000,000 rounds"));
    assert!(with("Ej7/PEpyEpw=", &"A".repeat(2000)).contains("a salt of more than 1 KiB"));
    let damaged = "how the key is made of the passphrase is damaged";
    for (from, to) in [
        ("<IterationCount>1000", "<IterationCount>0"),
        ("<IterationCount>1000", "<IterationCount>99999999999"),
        ("<KeyLength>16", "<KeyLength>4294967295"),
        ("<KeyLength>16", "<KeyLength>17"),
        ("Ej7/PEpyEpw=", "?"),
    ] {
        assert_eq!(with(from, to), damaged, "{to}");
    }
    assert!(with("pkcs-5v2-0#pbkdf2", "pkcs-5v2-0#pbkdf1").contains("not made of the passphrase by PBKDF2"));
    assert!(with("<PRF/>", "<PRF Algorithm='x#hmac-md5'/>").contains("a hash other than"));
}

#[test]
fn a_key_whose_codes_would_not_be_those_of_the_device_is_refused() {
    let figure = data!("rfc6030-figure-3.xml");
    let data = "<Counter><PlainValue>0</PlainValue></Counter>";
    assert!(figure.contains(data));
    for (from, to, reason) in [
        ("pskc:hotp\"", "pskc:ocra\"", "the algorithm is neither hotp nor totp"),
        (" Algorithm=", " X=", "the algorithm is missing"),
        ("DECIMAL", "HEXADECIMAL", "its codes are not decimal"),
        ("Length=\"8\"", "Length=\"8\" CheckDigits=\"true\"", "its codes have a check digit"),
        ("Length=\"8\"", "Length=\"x\"", "the digits are no number"),
        ("<ResponseFormat", "<Suite>HMAC-MD5</Suite><ResponseFormat", "the algorithm is none of SHA1, SHA256, SHA512"),
        (data, "<Counter><PlainValue>-1</PlainValue></Counter>", "a number is none"),
        (data, "<Counter><PlainValue>18446744073709551616</PlainValue></Counter>", "a number is none"),
        (data, "<Counter/>", "a number is none"),
        ("MTIzNDU2", "MTIz*DU2", "a value is not base64"),
        ("MTIzNDU2", "MTIz<!-- -->NDU2", "the secret is missing"),
    ] {
        assert!(figure.contains(from), "{from}");
        assert_eq!(one(&figure.replace(from, to)).unwrap_err(), reason, "{to}");
    }
    let totp = figure.replace("pskc:hotp", "pskc#TOTP");
    let with = |text: &str| one(&totp.replace(data, text));
    assert_eq!(with("").unwrap().moving, Moving::totp(30));
    assert!(with("<Time><PlainValue>7</PlainValue></Time>").unwrap_err().contains("begin at the epoch"));
    assert!(with("<TimeInterval><PlainValue>4294967296</PlainValue></TimeInterval>").is_err());
    let fast = with("<TimeInterval><PlainValue>1</PlainValue></TimeInterval>").unwrap();
    assert_eq!(fast.check(), Err("the period is not 15 to 120 s"));
    let drifted = with("<TimeDrift><PlainValue>4</PlainValue></TimeDrift>").unwrap();
    assert!(drifted.remarks[0].contains("drift"));
    assert_eq!(one(&figure.replace(data, "")).unwrap().moving, Moving::Hotp { next: 0 });
}

#[test]
fn a_policy_that_is_not_understood_forbids_the_key() {
    let figure = data!("rfc6030-figure-4.xml")
        .replace("<Data>", "<Data><Secret><PlainValue>MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=</PlainValue></Secret>");
    let with = |policy: &str| one(&figure.replace("<KeyUsage>OTP</KeyUsage>", policy));
    assert!(with("<KeyUsage>CR</KeyUsage>").unwrap_err().contains("one-time passwords"));
    assert!(with("<KeyUsage>CR</KeyUsage><KeyUsage>OTP</KeyUsage>").is_ok());
    assert!(with("<PINPolicy PINUsageMode='Append'/>").unwrap_err().contains("a PIN with each code"));
    assert!(with("<Weather>sunny</Weather>").unwrap_err().contains("not understood"));
    assert!(with("<ExpiryDate>soon</ExpiryDate>").unwrap_err().contains("a date of its policy"));
    assert!(with("<ExpiryDate>2026-11-20T10:00:00Z</ExpiryDate>").unwrap_err().contains("expired"));
    assert!(with("<ExpiryDate>2037-12-31T00:00:00.5+02:00</ExpiryDate>").is_ok());
    assert_eq!(with("<NumberOfTransactions>9</NumberOfTransactions>").unwrap().remarks.len(), 1);
}

#[test]
fn a_file_that_is_none_is_refused_as_a_whole() {
    let reason = |bytes: &[u8]| Container::read(bytes).err().unwrap().reason;
    let figure = data!("rfc6030-figure-3.xml");
    assert_eq!(reason(b"<KeyContainer Version='1.0'/>"), NO_PSKC.reason);
    assert_eq!(
        reason(figure.replace("Version=\"1.0\"", "Version=\"2.0\"").as_bytes()),
        "this PSKC file is not of version 1.0"
    );
    assert_eq!(reason(&figure.as_bytes()[..figure.len() / 2]), "the file is not XML, or cut off");
    let utf_16: Vec<u8> = [0xfeff].into_iter().chain(figure.encode_utf16()).flat_map(u16::to_le_bytes).collect();
    assert_eq!(reason(&utf_16), "the file is not UTF-8");
    assert_eq!(reason(b""), "the file is empty");
    let outside =
        figure.replace("<KeyContainer", "<!DOCTYPE KeyContainer [<!ENTITY s SYSTEM '/etc/shadow'>]><KeyContainer");
    assert_eq!(reason(outside.as_bytes()), "the file declares a document type, which no such file has");
}
