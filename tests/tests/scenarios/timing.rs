//! Whether time tells which accounts there are. The state lies in memory here, so that no disk hides a difference.

use std::time::Instant;

use anyhow::{Context, Result};
use dbus_api::Action;
use scenarios::{Host, Random, VerifierClient, seed};

/// What kinds of accounts somebody who knocks would like to tell apart.
const CLASSES: [&str; 3] = ["unknown", "unenrolled", "enrolled"];
/// Accounts of each class: none gets as many wrong codes as would lock it.
const ACCOUNTS: usize = 20;
/// Tries at each account that count.
const TRIES: usize = 50;
/// Tries at each account before that: records, decoy and the name service's answers are there afterwards.
const WARMING: usize = 3;

/// Each reply is decided alone (`tries = 1`), at the same cost whatever came before; nothing is delayed.
const CONFIGURATION: &str = "tries = 1\nfail_delay = \"0s\"\n\
     [throttling]\nfailures = 100\ndisable_after = 100\n[nss]\ncache = \"60s\"\n";

/// How often a duration of one class may be the longer one of a random pair, away from one half. By chance alone
/// its standard deviation is 0.013 at 1,000 tries each.
const ODDS: f64 = 0.2;
/// What medians may differ by in any case, in µs.
const MEDIANS: f64 = 10.0;
/// Durations in µs, by class.
type Samples = [Vec<f64>; 3];

#[test]
fn time_does_not_tell_unknown_unenrolled_and_enrolled_accounts_apart() -> Result<()> {
    let mut builder = Host::build().configuration(CONFIGURATION);
    // The same length for all, and the enrolled ones neither before nor after the others in any list.
    let name = |class: usize, number: usize| format!("u{number:02}{}", ["k", "n", "e"][class]);
    for number in 0..ACCOUNTS {
        builder = builder.user_without_password(&name(1, number)).user_without_password(&name(2, number));
    }
    let host = builder.start()?;
    let enrol = |number| host.wrong_code(&host.enrol(&name(2, number))?);
    let wrong_codes = (0..ACCOUNTS).map(enrol).collect::<Result<Vec<String>>>()?;
    let client = host.private_socket()?;
    let seed = seed();
    println!("SCENARIO_SEED={seed}");
    let mut random = Random::new(seed);
    let mut order: Vec<(usize, usize)> =
        (0..CLASSES.len()).flat_map(|class| (0..ACCOUNTS).map(move |number| (class, number))).collect();
    let [mut begins, mut responds] = [Samples::default(), Samples::default()];
    for round in 0..WARMING + TRIES {
        random.shuffle(&mut order);
        for (class, number) in &order {
            let (begin, respond) = one_try(&client, &name(*class, *number), &wrong_codes[*number])?;
            if round >= WARMING {
                begins[*class].push(begin);
                responds[*class].push(respond);
            }
        }
    }
    let told = [told_apart("Begin", &begins), told_apart("Respond", &responds)].concat();
    assert!(told.is_empty(), "{}", told.join("\n"));
    Ok(())
}

/// A verification with a wrong code; the µs that `Begin` and `Respond` took.
fn one_try(client: &VerifierClient, user: &str, code: &str) -> Result<(f64, f64)> {
    let began = Instant::now();
    let (id, step) = client.begin(user)?;
    let begin = began.elapsed();
    anyhow::ensure!(step.action() == Some(Action::AskHidden), "{user}: {step:?}");
    let answered = Instant::now();
    let step = client.respond(id, code)?;
    let respond = answered.elapsed();
    anyhow::ensure!(step.action() == Some(Action::Denied), "{user}: {step:?}");
    Ok((begin.as_secs_f64() * 1e6, respond.as_secs_f64() * 1e6))
}

/// Prints the figures of one member; returns the pairs of classes that they tell apart.
fn told_apart(member: &str, samples: &Samples) -> Vec<String> {
    let mut told = Vec::new();
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        let [a, b] = [&samples[one], &samples[other]];
        let (odds, deviations) = mann_whitney(a, b);
        let [first, second] = [median(a), median(b)];
        let line = format!(
            "{member}: {} {first:.1} µs, {} {second:.1} µs (medians of {}); longer in {odds:.3} of pairs, z = {deviations:.1}",
            CLASSES[one],
            CLASSES[other],
            a.len(),
        );
        println!("{line}");
        if (odds - 0.5).abs() > ODDS && (first - second).abs() > MEDIANS {
            told.push(line);
        }
    }
    told
}

/// How often a value of `a` is greater than one of `b`, and how many standard deviations that is from one half
/// (Mann and Whitney's U; ties count a half).
fn mann_whitney(a: &[f64], b: &[f64]) -> (f64, f64) {
    let mut wins = 0.0;
    for left in a {
        for right in b {
            wins += match left.total_cmp(right) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    let [n, m] = [a.len(), b.len()].map(|length| length as f64);
    let odds = wins / (n * m);
    (odds, (odds - 0.5) / ((n + m + 1.0) / (12.0 * n * m)).sqrt())
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().context("no values").unwrap()
}
