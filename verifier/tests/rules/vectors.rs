//! RFC 4226, appendix D; RFC 6238, appendix B; RFC 4648 by another implementation.

use proptest::prelude::*;
use verifier::otp::{OutOfRange, code};
use verifier::{Algorithm, Digits, Kind, Period, Secret};

use crate::scene::{SECRET, hotp_parameters, parameters, secret};

/// Of each counter: the truncated value (31 bits) and its last six digits.
const RFC_4226: [(u32, &str); 10] = [
    (1_284_755_224, "755224"),
    (1_094_287_082, "287082"),
    (137_359_152, "359152"),
    (1_726_969_429, "969429"),
    (1_640_338_314, "338314"),
    (868_254_676, "254676"),
    (1_918_287_922, "287922"),
    (82_162_583, "162583"),
    (673_399_871, "399871"),
    (645_520_489, "520489"),
];

/// Of each time in seconds: the code with SHA-1, SHA-256 and SHA-512.
const RFC_6238: [(u64, [&str; 3]); 6] = [
    (59, ["94287082", "46119246", "90693936"]),
    (1_111_111_109, ["07081804", "68084774", "25091201"]),
    (1_111_111_111, ["14050471", "67062674", "99943326"]),
    (1_234_567_890, ["89005924", "91819424", "93441116"]),
    (2_000_000_000, ["69279037", "90698825", "38618901"]),
    (20_000_000_000, ["65353130", "77737706", "47863826"]),
];

#[test]
fn the_10_vectors_of_rfc_4226_appendix_d_hold() {
    for (counter, (_, digits)) in (0..).zip(RFC_4226) {
        assert_eq!(*code(&secret(), hotp_parameters(), counter).text(), digits, "counter {counter}");
    }
}

#[test]
fn the_truncated_values_of_rfc_4226_appendix_d_hold_with_7_and_8_digits() {
    for (counter, (truncated, _)) in (0..).zip(RFC_4226) {
        for digits in [6, 7, 8] {
            let made = code(&secret(), parameters(Kind::Hotp, Algorithm::Sha1, digits), counter);
            assert_eq!(made.value(), truncated % 10_u32.pow(digits), "counter {counter}, {digits} digits");
            assert_eq!(u32::from(made.digits()), digits);
        }
    }
}

#[test]
fn the_18_vectors_of_rfc_6238_appendix_b_hold() {
    // The seeds have the length of the hash: 20, 32 and 64 bytes (errata 2866).
    let algorithms = [(Algorithm::Sha1, 20), (Algorithm::Sha256, 32), (Algorithm::Sha512, 64)];
    for (seconds, expected) in RFC_6238 {
        for ((algorithm, length), expected) in algorithms.into_iter().zip(expected) {
            let seed = Secret::new(SECRET.iter().copied().cycle().take(length).collect()).unwrap();
            let parameters = parameters(Kind::Totp(Period::new(30).unwrap()), algorithm, 8);
            assert_eq!(*code(&seed, parameters, seconds / 30).text(), expected, "{algorithm:?} at {seconds}");
        }
    }
}

#[test]
fn parameters_out_of_their_ranges_are_refused() {
    for digits in [0, 5, 9, 262, u32::MAX] {
        assert_eq!(Digits::new(digits), Err(OutOfRange::Digits), "{digits}");
    }
    for seconds in [0, 14, 121, 65_536 + 30, u32::MAX] {
        assert_eq!(Period::new(seconds), Err(OutOfRange::Period), "{seconds}");
    }
    for length in [0, 9, 129, 100_000] {
        assert_eq!(Secret::new(vec![1; length]), Err(OutOfRange::Secret), "{length}");
    }
    for name in ["", "MD5", "SHA-1", "SHA1 ", "SHA224"] {
        assert_eq!(Algorithm::parse(name), Err(OutOfRange::Algorithm), "{name}");
    }
}

#[test]
fn parameters_at_the_ends_of_their_ranges_are_taken() {
    for digits in [6, 7, 8] {
        assert_eq!(u32::from(Digits::new(digits).unwrap().number()), digits);
    }
    for seconds in [15, 30, 60, 120] {
        assert_eq!(u32::from(Period::new(seconds).unwrap().seconds()), seconds);
    }
    for length in [Secret::SHORTEST, Secret::SHORTEST_NEW, Secret::USUAL, Secret::LONGEST] {
        assert_eq!(Secret::new(vec![1; length]).unwrap().bytes(), vec![1; length]);
    }
    for name in ["SHA1", "sha256", "Sha512"] {
        assert_eq!(Algorithm::parse(name).unwrap().name(), name.to_uppercase());
    }
}

#[test]
fn a_secret_shows_nothing_in_debug_output() {
    assert_eq!(format!("{:?}", secret()), "Secret([REDACTED])");
    let shown = format!("{:?}", crate::scene::totp_account());
    assert!(!shown.contains("49, 50, 51") && !shown.contains("1234"), "{shown}");
}

#[test]
fn secrets_are_equal_by_their_bytes_and_kinds_have_the_names_of_the_uri() {
    assert!(secret() == secret());
    assert!(secret() != Secret::new(vec![1; 20]).unwrap());
    assert!(Secret::new(vec![1; 20]).unwrap() != Secret::new(vec![1; 21]).unwrap());
    assert_eq!([Kind::Totp(Period::COMMON).name(), Kind::Hotp.name()], ["totp", "hotp"]);
}

#[test]
fn a_secret_is_written_in_base32_without_padding() {
    assert_eq!(*secret().base32(), "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(4648),
        ..ProptestConfig::with_cases(512)
    })]

    #[test]
    fn base32_of_every_length_is_that_of_another_implementation(bytes in prop::collection::vec(any::<u8>(), 10..=128)) {
        let other = totp_rs::Secret::new(bytes.clone().into_boxed_slice()).to_base32();
        prop_assert_eq!(&*Secret::new(bytes).unwrap().base32(), &other);
    }
}
