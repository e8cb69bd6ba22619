//! How long a login waits for 10,000 rules: `cargo bench -p verifier`. It fails where that is 100 µs or more.
//!
//! No rule matches, so that each is looked at. What a tenth of the rounds is faster than counts: other work on the
//! machine shows in the rest.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a benchmark prints and may panic"
)]

use std::collections::BTreeSet;
use std::hint::black_box;
use std::time::{Duration, Instant};

use verifier::policy::{Conditions, Moment, Occasion, Schedule, Weekday};
use verifier::{Policy, Rule, RuleAction};

const RULES: u32 = 10_000;
const ROUNDS: usize = 1_001;
const BOUND: Duration = Duration::from_micros(100);

/// What a rule of this number asks for, none of which the login has.
type Ask = fn(u32) -> Conditions;

fn main() {
    let kinds: [(&str, Ask); 6] = [
        ("accounts", |number| Conditions { accounts: [format!("user{number}")].into(), ..Conditions::default() }),
        ("services", |number| Conditions { services: [format!("service{number}")].into(), ..Conditions::default() }),
        ("networks", |number| Conditions {
            networks: vec![format!("10.{}.{}.0/24", number >> 8, number & 255).parse().unwrap()],
            ..Conditions::default()
        }),
        ("networks of IPv6, three each", |number| Conditions {
            networks: (0..3).map(|third| format!("2001:db8:{number:x}:{third}::/64").parse().unwrap()).collect(),
            ..Conditions::default()
        }),
        ("times", |_| Conditions {
            schedule: Schedule { times: vec!["22:00-06:00".parse().unwrap()], ..Schedule::default() },
            ..Conditions::default()
        }),
        ("groups, a hundred of them", |number| {
            let mut conditions = Conditions::default();
            conditions.groups.any.push(number % 100);
            conditions
        }),
    ];
    let member_of = BTreeSet::from([1_000, 2_000]);
    let occasion = Occasion {
        account: Some("somebody"),
        service: "sshd",
        source: Some("2001:db9::1".parse().unwrap()),
        console: false,
        claimed: false,
        moment: Moment { weekday: Weekday::Monday, minute: 12 * 60 },
    };
    for (name, ask) in kinds {
        let rule = |number| Rule {
            name: format!("rule {number}"),
            conditions: ask(number),
            action: RuleAction::Skip,
            ..Rule::default()
        };
        let policy = Policy::new((0..RULES).map(rule).collect(), false);
        let mut rounds: Vec<Duration> = (0..ROUNDS)
            .map(|_| {
                let begun = Instant::now();
                let policy = black_box(&policy);
                let candidates = policy.candidates(black_box(&occasion));
                black_box(candidates.groups().len());
                assert!(candidates.decide(&member_of).is_none());
                begun.elapsed()
            })
            .collect();
        rounds.sort_unstable();
        let (quiet, median) = (rounds[ROUNDS / 10], rounds[ROUNDS / 2]);
        println!("{RULES} rules by {name}: {quiet:?} a login, the median {median:?}");
        assert!(quiet < BOUND, "{name}: {quiet:?}");
    }
}
