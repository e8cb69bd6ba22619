//! What may happen in a history.

use proptest::prelude::*;

use crate::reference::{Limits, MODELS, Model, Person, Progress};

/// Accounts that every Debian has; most of it happens to the first one.
pub(crate) const NAMES: [&str; 3] = ["daemon", "bin", "nobody-knows-me"];
/// How many of these the name service knows.
pub(crate) const KNOWN: usize = 2;

/// Those that each import brings along.
pub(crate) const SCRATCH_CODES: [u32; 3] = [12_345_678, 7, 99_999_999];

/// What somebody types.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Typed {
    /// The code of an authenticator, so many steps from where its clock stands, or counters from its next one.
    Code {
        authenticator: usize,
        away: i64,
    },
    /// The recovery code at this place of the valid set.
    Recovery(usize),
    /// One of a set that was replaced.
    Retired,
    Scratch(usize),
    /// What was typed last, in another spelling.
    Again,
    Wrong,
    Empty,
    Filler,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// The wall clock goes on, or is set: by so many seconds.
    Clock(i64),
    Present(usize, Typed),
    /// The code and the one after it, one directly after the other.
    Pair(usize, Typed),
    /// Two logins answer at one moment.
    Together(usize, Typed, Typed),
    /// The daemon is killed while it writes what becomes of this; nobody is answered.
    Cut(usize, Typed, u8),
    Kill,
    Restart,
    Unlock(usize),
    Disable(usize),
    Enable(usize),
    Reset(usize),
    Remove(usize, usize),
    Import(usize, usize),
    NewRecoveryCodes(usize),
}

/// A history: what the first account has at its beginning, the limits, and what happens.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) limits: Limits,
    pub(crate) imported: Vec<usize>,
    pub(crate) actions: Vec<Action>,
}

pub(crate) fn histories() -> impl Strategy<Value = History> {
    let limits = prop_oneof![
        3 => Just((3, 300, vec![30, 60, 120, 300], 50)),
        2 => Just((2, 60, vec![30, 60], 5)),
        1 => Just((1, 300, vec![30, 300], 4)),
    ];
    let imported = prop::sample::subsequence((0..MODELS).collect::<Vec<_>>(), 1..=MODELS);
    (limits, imported, prop::collection::vec(actions(), 1..30)).prop_map(|(limits, imported, actions)| {
        let (failures, window, locks, disable_after) = limits;
        History { limits: Limits { failures, window, locks, disable_after }, imported, actions }
    })
}

fn actions() -> impl Strategy<Value = Action> {
    let name = || prop_oneof![12 => Just(0), 3 => Just(1), 2 => Just(2_usize)];
    let known = || prop_oneof![4 => Just(0), 1 => Just(1_usize)];
    prop_oneof![
        24 => clock().prop_map(Action::Clock),
        36 => (name(), typed()).prop_map(|(name, typed)| Action::Present(name, typed)),
        4 => (known(), far()).prop_map(|(name, typed)| Action::Pair(name, typed)),
        6 => (name(), typed(), typed()).prop_map(|(name, one, other)| Action::Together(name, one, other)),
        6 => (name(), typed()).prop_map(|(name, typed)| Action::Together(name, typed, typed)),
        8 => (name(), typed(), any::<u8>()).prop_map(|(name, typed, share)| Action::Cut(name, typed, share)),
        6 => Just(Action::Kill),
        3 => Just(Action::Restart),
        4 => name().prop_map(Action::Unlock),
        1 => name().prop_map(Action::Disable),
        3 => name().prop_map(Action::Enable),
        1 => known().prop_map(Action::Reset),
        2 => (known(), 0..2_usize).prop_map(|(name, index)| Action::Remove(name, index)),
        3 => (known(), 0..MODELS).prop_map(|(name, model)| Action::Import(name, model)),
        2 => known().prop_map(Action::NewRecoveryCodes),
    ]
}

/// Waits of the lengths that matter, and a few jumps.
fn clock() -> impl Strategy<Value = i64> {
    prop_oneof![
        6 => 0..40_i64,
        8 => 20..310_i64,
        5 => prop::sample::select(vec![30, 60, 120, 300, 301]),
        3 => prop::sample::select(vec![-119, -120, -121, -122]),
        1 => -3_600..3_600_i64,
        1 => -86_400..86_400_i64,
    ]
}

fn typed() -> impl Strategy<Value = Typed> {
    prop_oneof![
        14 => (0..3_usize, 0..2_i64).prop_map(|(authenticator, away)| Typed::Code { authenticator, away }),
        8 => (0..3_usize, -3..4_i64).prop_map(|(authenticator, away)| Typed::Code { authenticator, away }),
        2 => far(),
        4 => (0..10_usize).prop_map(Typed::Recovery),
        1 => Just(Typed::Retired),
        2 => (0..SCRATCH_CODES.len()).prop_map(Typed::Scratch),
        5 => Just(Typed::Again),
        4 => Just(Typed::Wrong),
        1 => Just(Typed::Empty),
        1 => Just(Typed::Filler),
    ]
}

fn far() -> impl Strategy<Value = Typed> {
    let away = prop_oneof![9..13_i64, 9..103_i64, 98..103_i64];
    (0..3_usize, away).prop_map(|(authenticator, away)| Typed::Code { authenticator, away })
}

impl Typed {
    /// The same for the next counter or step.
    pub(crate) fn next(self) -> Self {
        match self {
            Self::Code { authenticator, away } => Self::Code { authenticator, away: away + 1 },
            other => other,
        }
    }

    /// The text, as somebody types it who has all that belongs to the account.
    pub(crate) fn text(self, person: &Person, retired: &[String], last: &str, now: u64) -> String {
        match self {
            Self::Code { authenticator, away } => {
                person.authenticators.get(authenticator).map_or("000000".into(), |one| code(one, away, now))
            }
            Self::Recovery(index) => person.recovery_codes.get(index).map_or("0".repeat(25), |(code, _)| code.clone()),
            Self::Retired => retired.last().map_or("1".repeat(25), Clone::clone),
            Self::Scratch(index) => format!("{:08}", SCRATCH_CODES[index]),
            Self::Again => respelled(last),
            Self::Wrong => "7654321".into(),
            Self::Empty => String::new(),
            Self::Filler => "\u{8}\n\r\u{7f}INCORRECT".into(),
        }
    }
}

fn code((model, progress): &(Model, Progress), away: i64, now: u64) -> String {
    let begin = match progress {
        Progress::Steps { drift, .. } => (now / model.period().unwrap()).saturating_add_signed(*drift),
        Progress::Counters { next, .. } => *next,
    };
    model.code(begin.saturating_add_signed(away))
}

/// Two spellings of one code are one code.
fn respelled(text: &str) -> String {
    let (begin, end) = text.split_at(text.len() / 2);
    match text.is_ascii() {
        true => format!(" {}- {end}", begin.to_lowercase()),
        false => text.to_owned(),
    }
}
