//! What counts as a code, in which spellings, and what does not.

use proptest::prelude::*;
use verifier::{RecoveryCode, Reply};

const FILLER: &str = "\u{8}\n\r\u{7f}INCORRECT";
const RECOVERY: &str = "01234-56789-ABCDE-FGHJK-MNPQR";

fn code(text: &str) -> (u32, u8) {
    match Reply::parse(text) {
        Reply::Code(code) => (code.value(), code.digits()),
        other => panic!("{text:?} is {other:?}"),
    }
}

#[test]
fn six_to_eight_digits_are_a_code() {
    assert_eq!(code("123456"), (123_456, 6));
    assert_eq!(code("0000000"), (0, 7));
    assert_eq!(code("99999999"), (99_999_999, 8));
    assert_eq!(code("012345"), (12_345, 6));
}

#[test]
fn spaces_and_hyphens_are_dropped_and_white_space_around_is_trimmed() {
    for text in [
        "123 456",
        "123-456",
        " 123456 ",
        "123456\n",
        "\r\n123456\r\n",
        "\t12 34 56\t",
        "1-2-3-4-5-6",
        "- 123 - 456 -",
        "\u{a0}123456\u{2003}",
    ] {
        assert_eq!(code(text), (123_456, 6), "{text:?}");
    }
}

#[test]
fn the_number_of_digits_is_part_of_a_code() {
    assert_ne!(Reply::parse("0123456"), Reply::parse("123456"));
}

#[test]
fn anything_else_is_malformed() {
    let full_width = "\u{ff11}\u{ff12}\u{ff13}\u{ff14}\u{ff15}\u{ff16}";
    let arabic = "\u{661}\u{662}\u{663}\u{664}\u{665}\u{666}";
    let million = "1".repeat(1_000_000);
    let spaced = format!("{}123456", " ".repeat(600));
    for text in [
        "",
        " ",
        "-",
        "\n",
        "1",
        "12345",
        "123456789",
        "+123456",
        "-12345",
        "12345a",
        "0x1234",
        "1234.56",
        "123\t456",
        "123\u{a0}456",
        "123\u{2013}456",
        "123456\0",
        "\u{1b}[A123456",
        "\u{feff}123456",
        "\u{7f}123456",
        full_width,
        arabic,
        &million,
        &spaced,
        "hunter2",
        "INCORRECT",
        "\n\r\u{7f}INCORRECT",
        "password with spaces in it",
        "01234-56789-ABCDE-FGHJK-MNPQ",
        "01234-56789-ABCDE-FGHJK-MNPQRS",
        "01234-56789-ABCDE-FGHJK-MNPQU",
        "01234-56789-ABCDE-FGHJK-MNPQ\u{416}",
    ] {
        assert_eq!(Reply::parse(text), Reply::Malformed, "{:?}", text.get(..40).unwrap_or(text));
    }
}

#[test]
fn the_filler_of_sshd_is_recognised_whole_repeated_and_cut_to_any_length() {
    let endless = FILLER.repeat(100);
    for length in 1..=endless.len() {
        assert_eq!(Reply::parse(&endless[..length]), Reply::BlockedBySshd, "cut to {length}");
    }
}

#[test]
fn what_only_resembles_the_filler_of_sshd_is_malformed() {
    for text in ["INCORRECT", "\u{8}\n\r\u{7f}INCORRECt", "\u{8}\n\r\u{7f}INCORRECTI", "\u{8}\u{8}", " \u{8}\n\r"] {
        assert_eq!(Reply::parse(text), Reply::Malformed, "{text:?}");
    }
}

#[test]
fn a_recovery_code_is_read_kindly() {
    let expected = RecoveryCode::parse(RECOVERY).unwrap();
    for text in [
        "0123456789ABCDEFGHJKMNPQR",
        "01234-56789-abcde-fghjk-mnpqr",
        " 01234 56789 ABCDE FGHJK MNPQR\n",
        "o1234-56789-abcde-fghjk-mnpqr",
        "OI234-56789-ABCDE-FGHJK-MNPQR",
        "Ol234-56789-ABCDE-FGHJK-MNPQR",
        "0L234-56789-ABCDE-FGHJK-MNPQR",
        "0i234-56789-ABCDE-FGHJK-MNPQR",
        "0-1-2-3-4-5-6-7-8-9-A-B-C-D-E-F-G-H-J-K-M-N-P-Q-R",
    ] {
        assert_eq!(Reply::parse(text), Reply::RecoveryCode(expected.clone()), "{text:?}");
    }
    assert_eq!(*expected.text(), RECOVERY);
}

#[test]
fn twenty_five_digits_are_a_recovery_code() {
    assert!(matches!(Reply::parse("0123401234012340123401234"), Reply::RecoveryCode(_)));
}

#[test]
fn a_reply_shows_nothing_in_debug_output() {
    assert_eq!(format!("{:?}", Reply::parse("123456")), "Code([REDACTED])");
    assert_eq!(format!("{:?}", Reply::parse(RECOVERY)), "RecoveryCode([REDACTED])");
    assert_eq!(format!("{:?}", RecoveryCode::parse(RECOVERY)), "Some(RecoveryCode([REDACTED]))");
    assert_eq!(format!("{:?}", Reply::parse("my password")), "Malformed");
    assert_eq!(format!("{:?}", Reply::parse("\x08\n\r\x7fINCORRECT")), "BlockedBySshd");
    let Reply::Code(code) = Reply::parse("123456") else { panic!("it is a code") };
    assert_eq!(format!("{code:?}"), "Code([REDACTED])");
}

/// Spaces and hyphens between the characters of a text, and white space around it.
fn spelt(text: &str, gaps: &[u8], around: &str) -> String {
    let inner = text.chars().zip(gaps.iter().cycle()).flat_map(|(character, gap)| {
        let gap = [None, Some(' '), Some('-')][usize::from(gap % 3)];
        [Some(character), gap].into_iter().flatten()
    });
    format!("{around}{}{around}", inner.collect::<String>())
}

/// What the parser is to do, said the slow way: a list of what a text may be.
fn is_code(text: &str) -> bool {
    let kept: Vec<char> = text.trim().chars().filter(|character| *character != ' ' && *character != '-').collect();
    text.len() <= 512 && (6..=8).contains(&kept.len()) && kept.iter().all(|character| "0123456789".contains(*character))
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(512),
        ..ProptestConfig::with_cases(2000)
    })]

    #[test]
    fn the_parser_takes_any_text(text in any::<String>()) {
        prop_assert_eq!(matches!(Reply::parse(&text), Reply::Code(_)), is_code(&text));
    }

    #[test]
    fn the_parser_takes_texts_that_are_nearly_codes(text in "[ 0-9A-Za-z\u{8}\n\r\u{7f}\u{ff11}-]{0,32}") {
        prop_assert_eq!(matches!(Reply::parse(&text), Reply::Code(_)), is_code(&text));
    }

    #[test]
    fn two_spellings_of_a_code_are_one_value(
        digits in "[0-9]{6,8}",
        gaps in prop::collection::vec(any::<u8>(), 8),
        around in "[ \t\r\n]{0,4}",
    ) {
        let parsed = Reply::parse(&spelt(&digits, &gaps, &around));
        prop_assert!(matches!(parsed, Reply::Code(_)));
        prop_assert_eq!(parsed, Reply::parse(&digits));
    }

    #[test]
    fn two_spellings_of_a_recovery_code_are_one_value(
        random in any::<[u8; 25]>(),
        gaps in prop::collection::vec(any::<u8>(), 25),
        lower in any::<bool>(),
    ) {
        let code = RecoveryCode::from_random(&random);
        let mut kindly = spelt(&code.text().replace('-', ""), &gaps, " ").replace('0', "o").replace('1', "I");
        if lower {
            kindly.make_ascii_lowercase();
        }
        prop_assert_eq!(Reply::parse(&kindly), Reply::RecoveryCode(code.clone()));
        prop_assert_eq!(RecoveryCode::parse(&kindly), Some(code));
    }
}
