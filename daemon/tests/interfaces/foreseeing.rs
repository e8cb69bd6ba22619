//! What is explained is what happens: random policies and logins, by `Explain`, by the real verdict, and by a slow reading
//! of the rules that knows neither of them. `EXPLAIN_SEED` brings a run back, `EXPLAIN_POLICIES` makes it longer.

use std::fmt::Write as _;
use std::time::Duration;

use daemon::config::Config;
use daemon::service::Service;
use daemon::store::{Record, Urgency};
use dbus_api::{Action, Explanation, LoginOutcome, Offer, Origin, Supposition};
use verifier::Place;
use verifier::throttling::Lock;

use crate::scene::{Peer, Scene, code};
use crate::slow;

/// How an account stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Enrolled.
    Ready,
    /// Enrolled, and its logins at sshd from [`OFFICE`] are remembered.
    Known,
    /// Without a record.
    Nothing,
    /// An administrator reset it: with a record, and nothing in it.
    Reset,
    /// The same, and it may enrol itself.
    Invited,
    Locked,
    Disabled,
    /// Its authenticators are off, and it has no recovery codes.
    Off,
    /// Its authenticators are off, and it has recovery codes.
    CodesAlone,
    /// Its name belonged to another uid.
    Foreign,
}

/// Accounts that every Debian has, each in the group of its own name alone, with their uids.
const PEOPLE: [(&str, u32, State); 11] = [
    ("root", 0, State::Locked),
    ("daemon", 1, State::Ready),
    ("bin", 2, State::Nothing),
    ("sys", 3, State::Known),
    ("man", 6, State::Locked),
    ("lp", 7, State::Disabled),
    ("mail", 8, State::Off),
    ("news", 9, State::Foreign),
    ("uucp", 10, State::Reset),
    ("proxy", 13, State::Invited),
    ("backup", 34, State::CodesAlone),
];
const STRANGER: &str = "no-such-account";
const OFFICE: &str = "192.0.2.7";
const SERVICES: [&str; 4] = ["sshd", "sudo", "login", "su"];
const NETWORKS: [&str; 4] = ["192.0.2.0/24", "192.0.2.7/32", "2001:db8::/32", "0.0.0.0/0"];
const HOSTS: [&str; 7] =
    ["", OFFICE, "::ffff:192.0.2.7", "198.51.100.9", "2001:db8::1", "fe80::1%eth0", "gate.example"];
const TTYS: [&str; 4] = ["", "ssh", "tty1", "/dev/pts/1"];
const TIMES: [&str; 5] = ["00:00-24:00", "08:00-18:00", "22:00-06:00", "00:00-12:00", "12:00-24:00"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
/// Long ago, in a week that [`Login::at`] is in, far ahead.
const DEADLINES: [&str; 3] = ["2020-01-31", "2027-03-04", "2999-01-31"];

/// A rule as somebody types it; a slow reader needs no more.
#[derive(Clone, Debug, Default)]
struct Typed {
    accounts: Vec<&'static str>,
    groups: Vec<&'static str>,
    excluded: Vec<&'static str>,
    services: Vec<&'static str>,
    networks: Vec<&'static str>,
    console: Option<bool>,
    times: Vec<&'static str>,
    days: Vec<usize>,
    action: &'static str,
    unenrolled: &'static str,
    enroll_by: Option<&'static str>,
    remember: bool,
    fresh: bool,
    ruser: bool,
    observe: bool,
}

/// A login, and the time of the clock on the wall.
#[derive(Clone, Debug)]
struct Login {
    account: &'static str,
    service: &'static str,
    rhost: &'static str,
    tty: &'static str,
    ruser: &'static str,
    claimed: bool,
    date: String,
    /// Of the week, from Monday on.
    minute: usize,
}

/// What becomes of a login, and what a log would say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Expected {
    outcome: LoginOutcome,
    asked: bool,
    let_in: bool,
    rule: Option<String>,
    reason: Option<&'static str>,
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap()
    }

    fn once_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Mostly none: rules that match nothing would show nothing.
    fn few<T: Copy>(&mut self, of: &[T]) -> Vec<T> {
        if !self.once_in(3) {
            return Vec::new();
        }
        of.iter().copied().filter(|_| self.once_in(2)).collect()
    }

    fn rule(&mut self) -> Typed {
        let names: Vec<&'static str> = PEOPLE.iter().map(|(name, ..)| *name).collect();
        let weekdays: Vec<usize> = (0..7).collect();
        let ruser = self.once_in(6);
        let services = if ruser { vec!["su"] } else { self.few(&SERVICES) };
        Typed {
            accounts: self.few(&names),
            groups: self.few(&names),
            excluded: self.few(&names),
            services,
            networks: self.few(&NETWORKS),
            console: self.once_in(6).then(|| self.once_in(2)),
            times: self.few(&TIMES),
            days: self.few(&weekdays),
            action: self.pick(&["require", "require", "require", "skip", "deny"]),
            unenrolled: self.pick(&["deny", "remind", "enroll", "pass"]),
            enroll_by: self.once_in(3).then(|| self.pick(&DEADLINES)),
            remember: self.once_in(2),
            fresh: self.once_in(6),
            ruser,
            observe: self.once_in(10),
        }
    }

    fn login(&mut self, (date, minute): (String, usize)) -> Login {
        let account = self.pick(&PEOPLE).0;
        let known = self.once_in(3);
        let account = if known && self.once_in(3) { "sys" } else { account };
        Login {
            account: if self.once_in(10) { STRANGER } else { account },
            service: if known { "sshd" } else { self.pick(&SERVICES) },
            rhost: if known { OFFICE } else { self.pick(&HOSTS) },
            tty: self.pick(&TTYS),
            ruser: self.pick(&["", "", "daemon", "man", STRANGER]),
            claimed: account != "root" && self.once_in(5),
            date,
            minute,
        }
    }
}

impl Typed {
    fn toml(&self, name: &str) -> String {
        let mut text = format!("[[rule]]\nname = \"{name}\"\naction = \"{}\"\n", self.action);
        let mut list = |key: &str, values: Vec<String>| {
            if !values.is_empty() {
                let _ = writeln!(text, "{key} = {values:?}");
            }
        };
        let own = |values: &[&str]| values.iter().map(|value| (*value).to_owned()).collect::<Vec<_>>();
        list("accounts", own(&self.accounts));
        let excluded = self.excluded.iter().map(|name| format!("!{name}"));
        list("groups", own(&self.groups).into_iter().chain(excluded).collect());
        list("services", own(&self.services));
        list("networks", own(&self.networks));
        list("times", own(&self.times));
        list("days", self.days.iter().map(|day| DAYS[*day].to_owned()).collect());
        let _ = writeln!(text, "unenrolled = \"{}\"\nfresh = {}", self.unenrolled, self.fresh);
        let keys = [
            self.console.map(|console| format!("console = {console}\n")),
            self.enroll_by.map(|day| format!("enroll_by = {day}\n")),
            self.remember.then(|| "remember = \"8h\"\n".to_owned()),
            self.ruser.then(|| "factor_of = \"ruser\"\n".to_owned()),
            self.observe.then(|| "mode = \"observe\"\n".to_owned()),
        ];
        keys.into_iter().flatten().for_each(|key| text.push_str(&key));
        text
    }

    fn matches(&self, login: &Login) -> bool {
        let among = |list: &[&str], name: &str| list.is_empty() || list.contains(&name);
        let known = login.account != STRANGER;
        let outside = |list: &[&str]| !list.is_empty() && (!known || !list.contains(&login.account));
        let address = login.address();
        let inside = |network: &&str| address.is_some_and(|address| slow::is_inside(network, address));
        let reasons_not_to = [
            outside(&self.accounts),
            outside(&self.groups),
            known && self.excluded.contains(&login.account),
            !among(&self.services, login.service),
            !self.networks.is_empty() && !self.networks.iter().any(inside),
            self.console == Some(!login.is_at_console()),
            !slow::holds(&self.days, &self.times, login.minute),
            self.action == "skip" && login.claimed,
        ];
        !reasons_not_to.contains(&true)
    }
}

impl Login {
    /// By root's word alone, and without a zone.
    fn address(&self) -> Option<&'static str> {
        let host = self.rhost.split('%').next().unwrap();
        Some(host).filter(|host| !self.claimed && host.parse::<std::net::IpAddr>().is_ok())
    }

    fn is_at_console(&self) -> bool {
        !self.claimed && self.service == "login" && self.rhost.is_empty() && self.tty == "tty1"
    }

    fn is_remembered_there(&self) -> bool {
        let known = PEOPLE.iter().any(|(name, _, state)| *name == self.account && *state == State::Known);
        known && self.service == "sshd" && [OFFICE, "::ffff:192.0.2.7"].contains(&self.rhost) && !self.claimed
    }

    fn origin(&self) -> Origin {
        let item = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (service, tty) = (item(self.service), item(self.tty));
        Origin { service, tty, rhost: item(self.rhost), ruser: item(self.ruser) }
    }

    /// Whose code is asked for, and how that account stands; `None`: the name service does not know it.
    fn subject(&self, rule: &Typed) -> (&'static str, Option<State>) {
        let name = if rule.ruser && !self.claimed { self.ruser } else { self.account };
        (name, PEOPLE.iter().find(|(known, ..)| *known == name).map(|(.., state)| *state))
    }

    /// What becomes of it, read slowly.
    fn expected(&self, rules: &[Typed], observe: bool) -> Expected {
        use LoginOutcome::{Asked, Enrols, Passed, Refused, Remembered, Reminded, Skipped};
        let place = rules.iter().position(|rule| rule.matches(self));
        let strict = Typed { action: "require", unenrolled: "deny", ..Typed::default() };
        let rule = place.map_or(&strict, |place| &rules[place]);
        let name = place.map(|place| format!("rule {place}"));
        let observe = observe || rule.observe;
        let come_to = |outcome, asked: bool, reason| Expected {
            outcome,
            asked: asked && !observe,
            let_in: observe || outcome != Refused,
            rule: name.clone(),
            reason,
        };
        if self.claimed && self.account == STRANGER {
            // Nobody is it, so that nobody may ask.
            return Expected {
                outcome: Refused,
                asked: false,
                let_in: false,
                rule: None,
                reason: Some("not-own-account"),
            };
        }
        if rule.ruser && !self.claimed && (self.ruser.is_empty() || !self.rhost.is_empty()) {
            let refused = come_to(Refused, false, Some("no-ruser"));
            return Expected { let_in: false, ..refused };
        }
        let (subject, state) = self.subject(rule);
        let unenrolled = match rule.enroll_by {
            Some(day) if self.date.as_str() < day => "remind",
            _ => rule.unenrolled,
        };
        let nothing = matches!(state, None | Some(State::Nothing | State::Reset | State::Invited));
        let spared = subject == "root" && self.is_at_console();
        match (rule.action, state) {
            ("skip", _) => come_to(Skipped, false, None),
            ("deny", _) => come_to(Refused, true, Some("denied")),
            _ if nothing && unenrolled == "pass" => come_to(Passed, false, None),
            _ if nothing && unenrolled == "remind" => come_to(Reminded, false, None),
            (_, Some(State::Locked)) if !spared => come_to(Refused, false, Some("locked")),
            (_, Some(State::Disabled)) => come_to(Refused, false, Some("disabled")),
            (_, Some(State::Nothing | State::Invited)) if unenrolled == "enroll" && !self.claimed && !rule.ruser => {
                come_to(Enrols, true, None)
            }
            (_, None) => come_to(Refused, true, Some("unknown-account")),
            (_, Some(State::Foreign)) => come_to(Refused, true, Some("uid-changed")),
            (_, Some(State::Off | State::Nothing | State::Reset | State::Invited)) => {
                come_to(Refused, true, Some("not-enrolled"))
            }
            _ if self.is_remembered_there() && rule.remember && !rule.fresh && !rule.ruser && !observe => {
                come_to(Remembered, false, None)
            }
            _ => come_to(Asked, true, None),
        }
    }
}

/// The accounts as they stand, and what makes their codes.
struct Cast {
    scene: Scene,
    records: Vec<(&'static str, Option<Record>)>,
    offers: Vec<(&'static str, Offer)>,
}

impl Cast {
    async fn gather() -> Self {
        let scene = Scene::new("fail_delay = \"0s\"\n");
        let root = scene.connect(0).await;
        let (mut records, mut offers) = (Vec::new(), Vec::new());
        for (name, _, state) in PEOPLE {
            if state != State::Nothing {
                offers.push((name, scene.enrol(name).await));
            }
            match state {
                State::Disabled => root.admin.disable(name).await.unwrap(),
                State::Reset => root.admin.reset(name, 0).await.unwrap(),
                State::Invited => root.admin.reset(name, 86_400).await.unwrap(),
                _ => {}
            }
            if state != State::Nothing {
                scene.change(name, move |record| settle(record, state)).await;
            }
            records.push((name, scene.store.read(name).await.unwrap()));
        }
        drop(root);
        Self { scene, records, offers }
    }

    /// Brings every account back to how it stood.
    async fn restore(&self, name: &str) {
        let Some((_, record)) = self.records.iter().find(|(known, _)| *known == name) else { return };
        let record = record.clone();
        self.scene.store.decide(name, Urgency::Login, move |tx| tx.record = record).await.unwrap();
    }

    /// The audit's records after this one: how many, and the reason of the last.
    async fn told_since(&self, seq: u64) -> (u64, String) {
        let records = self.scene.store.audit_page(seq, 100).await.unwrap();
        let reason = records.last().and_then(|record| record.event.reason.clone());
        (seq + records.len() as u64, reason.unwrap_or_default())
    }

    /// What really becomes of a login whose person knows the right code.
    async fn happens(&self, root: &Peer, login: &Login, subject: &str, seq: u64) -> (LoginOutcome, bool, bool) {
        use LoginOutcome::{Asked, Enrols, Passed, Refused, Remembered, Reminded, Skipped};
        let own = PEOPLE.iter().find(|(name, ..)| *name == login.account).map_or(1234, |(_, uid, _)| *uid);
        let own = if login.claimed { Some(self.scene.connect(own).await) } else { None };
        let peer = own.as_ref().unwrap_or(root);
        let Ok((id, step)) = peer.verifier.begin(login.account, &login.origin()).await else {
            return (Refused, false, false);
        };
        let (_, said) = self.told_since(seq).await;
        if step.details.enrols() {
            peer.verifier.cancel(id).await.unwrap();
            return (Enrols, true, true);
        }
        match step.action() {
            Some(Action::Skipped) => {
                let outcome = match said.as_str() {
                    "skipped" => Skipped,
                    "passed" | "would-pass" => Passed,
                    "reminded" | "would-remind" => Reminded,
                    "would-ask" => Asked,
                    "would-enroll" => Enrols,
                    said if said.starts_with("remembered until") => Remembered,
                    said if said.starts_with("would-refuse") => Refused,
                    other => panic!("{other}"),
                };
                (outcome, false, true)
            }
            Some(Action::AskHidden) => {
                let offer = self.offers.iter().find(|(name, _)| *name == subject);
                let reply = offer.map_or_else(|| "123456".to_owned(), |(_, offer)| code(offer, 0));
                let recovery = self.offers.iter().find(|(name, _)| *name == subject && subject == "backup");
                let recovery = recovery.and_then(|(_, offer)| offer.recovery_codes.clone()?.pop());
                let step = peer.verifier.respond(id, recovery.as_ref().unwrap_or(&reply)).await.unwrap();
                match step.action() {
                    Some(Action::Granted) => (Asked, true, true),
                    _ => (Refused, true, false),
                }
            }
            _ => (Refused, false, false),
        }
    }
}

/// Makes a record of an enrolled account one of this state.
fn settle(record: &mut Record, state: State) {
    let account = &mut record.account;
    let now = daemon::clock::now();
    match state {
        State::Locked => {
            account.throttle.failures = 3;
            account.throttle.lock =
                Some(Lock { since: now.wall, since_boot: now.boot, lasts: Duration::from_secs(86_400) });
        }
        State::Off | State::CodesAlone => account.authenticators.iter_mut().for_each(|one| one.active = false),
        State::Foreign => record.uid = Some(4321),
        State::Known => {
            let place = Place::new("sshd", OFFICE.parse().unwrap()).unwrap();
            account.remember(place, Duration::from_secs(8 * 3600), &now);
        }
        _ => {}
    }
    if state == State::Off {
        record.account.recovery_codes.clear();
    }
}

/// The day, and the minute of the week, by date(1) in the host's zone.
fn clock_on_the_wall() -> (String, usize) {
    let output = std::process::Command::new("date").arg("+%F %u %H %M").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let [date, day, hour, minute] = text.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{text}") };
    let number = |text: &str| text.parse::<usize>().unwrap();
    (date.to_owned(), (number(day) - 1) * slow::DAY + number(hour) * 60 + number(minute))
}

/// A minute of the week from Monday, 1 March 2027 on, and as `--at` takes it.
fn another_time(random: &mut Random) -> ((String, usize), String) {
    let minute = random.below(7 * slow::DAY);
    let (day, of_day) = (minute / slow::DAY, minute % slow::DAY);
    let date = format!("2027-03-{:02}", day + 1);
    let at = format!("{date}T{:02}:{:02}", of_day / 60, of_day % 60);
    ((date, minute), at)
}

fn agrees(explained: &Explanation, expected: &Expected) -> bool {
    explained.outcome == expected.outcome as u32
        && (explained.asked, explained.let_in) == (expected.asked, expected.let_in)
        && explained.rule == expected.rule
        && explained.reason.as_deref() == expected.reason
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test]
#[allow(clippy::print_stdout, reason = "the seed brings a run back")]
async fn what_is_explained_is_what_happens_and_what_a_slow_reading_of_the_rules_says() {
    let fresh_seed = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
    let seed = from_environment("EXPLAIN_SEED").unwrap_or(fresh_seed);
    let policies = from_environment("EXPLAIN_POLICIES").unwrap_or(500);
    println!("EXPLAIN_SEED={seed}");
    let mut random = Random(seed);
    let mut cast = Cast::gather().await;
    let mut seq = 0;
    let mut seen = std::collections::BTreeMap::<&str, usize>::new();
    for _ in 0..policies {
        let rules: Vec<Typed> = (0..random.below(6)).map(|_| random.rule()).collect();
        let observe = random.once_in(12);
        let mut text = format!("fail_delay = \"0s\"\n{}", if observe { "mode = \"observe\"\n" } else { "" });
        rules.iter().enumerate().for_each(|(at, rule)| text.push_str(&rule.toml(&format!("rule {at}"))));
        let config = Config::parse(&cast.scene.config, &text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        // New memory of hosts and unknown names too.
        let path = cast.scene.config.clone();
        cast.scene.service = Service::new(path, config, cast.scene.store.clone()).unwrap();
        let root = cast.scene.connect(0).await;
        for _ in 0..2 {
            let login = random.login(clock_on_the_wall());
            let expected = login.expected(&rules, observe);
            let subject = rules.iter().find(|rule| rule.matches(&login)).map(|rule| login.subject(rule).0);
            let subject = subject.unwrap_or(login.account);
            (seq, _) = cast.told_since(seq).await;
            let supposed = Supposition { claimed: login.claimed.then_some(true), ..Supposition::default() };
            let explained = root.admin.explain(login.account, &login.origin(), &supposed).await.unwrap();
            let short = root.admin.rehearse(&[login.account], &login.origin(), &supposed).await.unwrap();
            assert_eq!(cast.told_since(seq).await.0, seq, "nothing is written down");
            let happened = cast.happens(&root, &login, subject, seq).await;
            cast.restore(subject).await;
            if clock_on_the_wall().1 != login.minute {
                continue;
            }
            let context = || format!("EXPLAIN_SEED={seed}\n{text}\n{login:?}\n{explained:?}\n{expected:?}");
            assert!(agrees(&explained, &expected), "{}", context());
            assert_eq!(happened, (expected.outcome, expected.asked, expected.let_in), "{}", context());
            let place = expected.rule.as_ref().map_or(rules.len(), |rule| rule["rule ".len()..].parse().unwrap());
            let told =
                explained.reason.as_deref().is_some_and(|reason| ["no-ruser", "not-own-account"].contains(&reason));
            assert!(told || explained.passed_over.len() == place, "{}", context());
            let same = (short[0].outcome, short[0].let_in, &short[0].rule, &short[0].reason);
            let full = (explained.outcome, explained.let_in, &explained.rule, &explained.reason);
            assert_eq!(same, full, "{}", context());
            *seen.entry(expected.reason.unwrap_or(expected.outcome.name())).or_default() += 1;

            // At another time, which no clock shows now: explained and read slowly.
            let (moment, at) = another_time(&mut random);
            let then = Login { date: moment.0, minute: moment.1, ..login };
            let supposed = Supposition { at: Some(at), ..supposed };
            let explained = root.admin.explain(then.account, &then.origin(), &supposed).await.unwrap();
            let expected = then.expected(&rules, observe);
            assert!(
                agrees(&explained, &expected),
                "EXPLAIN_SEED={seed}\n{text}\n{then:?}\n{explained:?}\n{expected:?}"
            );
        }
    }
    println!("{seen:?}");
    // Whatever can become of a login was among them, but for what is rare.
    assert!(policies < 500 || seen.len() >= 13, "{seen:?}");
}
