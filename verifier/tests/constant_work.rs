//! How much work a decision is does not tell how close a code was: counted in instructions, by valgrind's callgrind, on
//! this very program called once for each code.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by panicking, and this one has its own main"
)]

use std::{hint::black_box, process::Command};

use verifier::resynchronisation::{Pair, Search};
use verifier::{
    Account, Algorithm, Authenticator, AuthenticatorId, BootTime, Counter, Decision, Digits, Kind, Limits, Now,
    Parameters, Period, RecoveryKey, Reply, Rules, Secret, StoredScratchCode, WallTime,
};

/// 2023-11-14, the first second of a step of 30 seconds.
const NOON: u64 = 1_700_000_010;
/// What may differ by what a right code changes, such as the drift. One factor more or less is many thousands.
const SLACK: u64 = 300;

fn parameters(kind: &str) -> Parameters {
    let kind = if kind == "totp" { Kind::Totp(Period::COMMON) } else { Kind::Hotp };
    Parameters { kind, algorithm: Algorithm::Sha1, digits: Digits::COMMON }
}

fn secret() -> Secret {
    Secret::new(b"12345678901234567890".to_vec()).unwrap()
}

fn account(parameters: Parameters) -> Account {
    let authenticator = Authenticator {
        id: AuthenticatorId(1),
        label: "phone".to_owned(),
        active: true,
        parameters,
        secret: secret(),
        moving: parameters.kind.begin(Counter(7)),
        created: WallTime(0),
        last_used: None,
        expires: None,
        suspended: false,
    };
    Account { authenticators: vec![authenticator], ..Account::default() }
}

/// The code of the middle step, or of the next counter, so many factors on.
fn code(kind: &str, distance: i64) -> String {
    let middle = if kind == "totp" { NOON / 30 } else { 7 };
    verifier::otp::code(&secret(), parameters(kind), middle.checked_add_signed(distance).unwrap()).text().to_string()
}

/// What callgrind counts: this function and all that it calls.
#[inline(never)]
fn the_decision_that_is_counted(account: &mut Account, reply: &Reply, now: &Now, rules: &Rules) -> Decision {
    account.decide(reply, now, rules)
}

/// The same, for the search of a resynchronisation.
#[inline(never)]
fn the_search_that_is_counted(search: &mut Search) -> bool {
    search.advance(u32::MAX)
}

/// Seeks two codes of six digits each, written one after the other.
fn search_once(codes: &str) {
    let account = account(parameters("hotp"));
    let (first, second) = codes.split_at(6);
    let now = Now { wall: WallTime::from_seconds(NOON), boot: BootTime { boot: [1; 16], elapsed: NOON * 1000 } };
    let mut search = Search::new(&account.authenticators[0], Pair::parse(first, second).unwrap(), &now);
    assert!(black_box(the_search_that_is_counted(&mut search)));
    println!("{:?}", search.found());
}

fn secret_of(number: u8) -> Secret {
    Secret::new(vec![number; 20]).unwrap()
}

fn decide_once(kind: &str, code: &str) {
    let mut account = account(parameters(if ["scratch", "three"].contains(&kind) { "totp" } else { kind }));
    if kind == "three" {
        let one = account.authenticators.remove(0);
        let of =
            |number: u8| Authenticator { id: AuthenticatorId(number.into()), secret: secret_of(number), ..one.clone() };
        account.authenticators = [1, 2, 3].map(of).into();
    }
    let end = WallTime::from_seconds(NOON + 1);
    let store = |one: u8| {
        StoredScratchCode::new(10_000_000 + u32::from(one), AuthenticatorId(1), [one; 16], end, &RecoveryKey([7; 32]))
    };
    account.scratch_codes = (0..10).filter(|_| kind == "scratch").map(store).collect();
    let now = Now { wall: WallTime::from_seconds(NOON), boot: BootTime { boot: [1; 16], elapsed: NOON * 1000 } };
    let rules = Rules { limits: Limits::default(), recovery_key: RecoveryKey([7; 32]) };
    println!("{:?}", black_box(the_decision_that_is_counted(&mut account, &Reply::parse(code), &now, &rules)).verdict);
}

/// The verdict on a code and the instructions that it took.
fn measure(kind: &str, code: &str) -> (String, u64) {
    let counted = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null", "--toggle-collect=*_that_is_counted*"])
        .arg(std::env::current_exe().unwrap())
        .args(["decide", kind, code])
        .output()
        .expect("valgrind must be installed");
    let report = String::from_utf8_lossy(&counted.stderr).into_owned();
    let collected = report.lines().find_map(|line| line.split("Collected : ").nth(1));
    let instructions = collected.and_then(|number| number.trim().parse().ok()).unwrap_or_else(|| panic!("{report}"));
    (String::from_utf8_lossy(&counted.stdout).trim().to_owned(), instructions)
}

/// `code` with other digits from place `from` on.
fn altered(code: &str, from: usize) -> String {
    let other = |digit: char| char::from_digit((digit.to_digit(10).unwrap() + 5) % 10, 10).unwrap();
    code.chars().enumerate().map(|(place, digit)| if place < from { digit } else { other(digit) }).collect()
}

fn a_wrong_code_is_the_same_work_however_many_of_its_digits_are_right(kind: &str) {
    let right = code(kind, 0);
    let measured: Vec<_> = (0..6).map(|from| measure(kind, &altered(&right, from))).collect();
    assert!(measured[0].0.contains("Refused") && measured[0].1 > 10_000, "{kind}: {measured:?}");
    assert!(measured.iter().all(|one| *one == measured[0]), "{kind}: {measured:?}");
    println!(
        "test a_wrong_code_is_the_same_work_however_many_of_its_digits_are_right ({kind}) ... ok ({})",
        measured[0].1
    );
}

fn a_right_code_is_the_same_work_wherever_in_the_window_it_stands(kind: &str, distances: [i64; 3]) {
    let measured = distances.map(|distance| measure(kind, &code(kind, distance)));
    assert!(measured.iter().all(|(verdict, _)| verdict.contains("Granted")), "{kind}: {measured:?}");
    let (least, most) =
        (measured.iter().map(|one| one.1).min().unwrap(), measured.iter().map(|one| one.1).max().unwrap());
    assert!(least > 10_000 && most - least <= SLACK, "{kind}: {measured:?}");
    println!("test a_right_code_is_the_same_work_wherever_in_the_window_it_stands ({kind}) ... ok ({least} to {most})");
}

/// An account without scratch codes and one with ten are the same work; so is a wrong code whatever they are.
fn a_code_of_8_digits_is_the_same_work_whether_there_are_scratch_codes_or_not() {
    let measured = ["totp", "scratch"].map(|kind| measure(kind, "31415926"));
    assert!(measured[0].0.contains("Refused"), "{measured:?}");
    let difference = measured[0].1.abs_diff(measured[1].1);
    assert!(difference <= 2 * SLACK, "{measured:?}");
    println!(
        "test a_code_of_8_digits_is_the_same_work_whether_there_are_scratch_codes_or_not ... ok ({difference} apart)"
    );
}

/// An account with three authenticators is the same work whichever of them lets in.
fn a_right_code_is_the_same_work_whichever_of_several_authenticators_shows_it() {
    let measured = [1, 2, 3].map(|one| {
        let code = verifier::otp::code(&secret_of(one), parameters("totp"), NOON / 30);
        measure("three", &code.text())
    });
    assert!(measured.iter().all(|(verdict, _)| verdict.contains("Granted")), "{measured:?}");
    let (least, most) =
        (measured.iter().map(|one| one.1).min().unwrap(), measured.iter().map(|one| one.1).max().unwrap());
    assert!(most - least <= SLACK, "{measured:?}");
    println!(
        "test a_right_code_is_the_same_work_whichever_of_several_authenticators_shows_it ... ok ({least} to {most})"
    );
}

/// A search for two codes that follow each other, for two that do not, for one code and a wrong one, and for nothing.
fn a_search_is_the_same_work_whatever_is_found() {
    let pairs = [(40, 41), (900, 901), (41, 40), (40, 45), (40, 5000), (5000, 6000)];
    let measured = pairs.map(|(first, second)| measure("search", &(code("hotp", first) + &code("hotp", second))));
    assert!(measured[0].0.contains("Pair") && measured[3].0.contains("Apart") && measured[5].0.contains("Nothing"));
    let (least, most) =
        (measured.iter().map(|one| one.1).min().unwrap(), measured.iter().map(|one| one.1).max().unwrap());
    assert!(least > 1_000_000 && most - least <= SLACK, "{measured:?}");
    println!("test a_search_is_the_same_work_whatever_is_found ... ok ({least} to {most})");
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [decide, kind, code] = &arguments[..]
        && decide == "decide"
    {
        return if kind == "search" { search_once(code) } else { decide_once(kind, code) };
    }
    for kind in ["totp", "hotp"] {
        a_wrong_code_is_the_same_work_however_many_of_its_digits_are_right(kind);
    }
    a_right_code_is_the_same_work_wherever_in_the_window_it_stands("totp", [-1, 0, 1]);
    a_right_code_is_the_same_work_wherever_in_the_window_it_stands("hotp", [0, 5, 10]);
    a_code_of_8_digits_is_the_same_work_whether_there_are_scratch_codes_or_not();
    a_right_code_is_the_same_work_whichever_of_several_authenticators_shows_it();
    a_search_is_the_same_work_whatever_is_found();
}
