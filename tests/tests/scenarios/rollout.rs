//! The roll-out of docs/rollout.md, played from observing to requiring with 50 accounts: its files and commands are
//! taken out of the page. Nobody is locked out who should not be, and at the end no hole is left.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use scenarios::{
    Enrolment, Host, PAM_AUTH_ERR, PAM_SUCCESS,
    document::{self, Section},
};

use crate::{
    doctor, recipes,
    turns_of_time::{date, in_berlin, move_to},
    words::PROMPT,
};

pub(crate) const PAGE: &str = "docs/rollout.md";
/// The day in the page.
const DAY: &str = "2027-01-31";

/// Where the robots come from.
const HOME: &str = "10.20.7.7";
/// A robot that comes from a network that nobody thought of.
const FORGOTTEN: (&str, &str) = ("r40", "192.0.2.9");

/// What the units do at a reload, where systemd runs.
const SYSTEMCTL: &str = "#!/bin/sh\n[ \"$1\" = reload ] || exit 1\nshift\nfor unit; do case $unit in\n\
     countersignd) kill -HUP $(pidof countersignd) ;;\nssh) kill -HUP $(cat /run/sshd.pid) ;;\n*) exit 1 ;;\nesac; done\n";

struct Town {
    host: Host,
    people: Vec<String>,
    robots: Vec<String>,
    phones: BTreeMap<String, Enrolment>,
    day: String,
}

impl Town {
    fn found() -> Result<Self> {
        let people: Vec<String> = ["alice".to_owned()].into_iter().chain((1..10).map(|n| format!("p{n}"))).collect();
        let robots: Vec<String> = (1..=40).map(|n| format!("r{n}")).collect();
        let builder = in_berlin(recipes::base()).script("/usr/local/bin/systemctl", SYSTEMCTL).daemon_waits();
        let others = people.iter().skip(1).chain(&robots);
        let host = others.fold(builder, |builder, name| builder.service_account(name)).start()?;
        let groups = format!(
            "sed -i 's/^staff:.*/staff:x:50:{}/' /etc/group; echo robots:x:62000:{} >>/etc/group",
            people.join(","),
            robots.join(",")
        );
        host.run(&["sh", "-ec", &format!("{}\n{groups}\nip address add {HOME} dev lo", recipes::ROOT)])?.success()?;
        host.start_daemon()?;
        Ok(Self { host, people, robots, phones: BTreeMap::new(), day: date("now + 40 days", "+%Y-%m-%d")? })
    }

    /// Puts a step's files in place, with a day of this year in the place of the page's.
    fn step(&self, heading: &str) -> Result<Section> {
        let mut section = Section::read(PAGE, heading)?;
        for block in &mut section.blocks {
            block.text = block.text.replace(DAY, &self.day);
        }
        self.host.follow(&section)?;
        Ok(section)
    }

    /// Checks and reloads, as every step says.
    fn reload(&self) -> Result<()> {
        let loaded = || self.host.syslog().iter().filter(|line| line.has(&[("event", "reload")])).count();
        let before = loaded();
        // The daemon tells of each reload, and waits where nobody reads that.
        self.host.daemon().forget_notifications()?;
        self.host.run(&["sh", "-ec", "countersign config check && systemctl reload countersignd"])?.success()?;
        scenarios::wait("the reload", || Ok((loaded() > before).then_some(()))).with_context(|| self.host.diagnosis())
    }

    /// The accounts that a command of the page lists.
    fn look(&self, section: &Section, index: usize) -> Result<BTreeSet<String>> {
        let command = shell(section).nth(index).context("a command")?;
        let printed = self.host.run(&["sh", "-c", command])?;
        Ok(printed.stdout.lines().filter_map(|line| line.split_whitespace().last()).map(str::to_owned).collect())
    }

    /// The people and robots that a rehearsal of sshd's logins from home would refuse.
    fn would_refuse(&self, arguments: &[&str]) -> Result<BTreeSet<String>> {
        let command = [&["rehearse", "--service", "sshd", "--rhost", HOME, "--json"], arguments].concat();
        let rehearsed: serde_json::Value = serde_json::from_str(&self.host.countersign(&command)?.stdout)?;
        let accounts = rehearsed["accounts"].as_array().context("a list of accounts")?;
        let refused = accounts.iter().filter(|account| account["outcome"] == "refused");
        Ok(refused.filter_map(|account| account["account"].as_str()).map(str::to_owned).collect())
    }

    fn enrol(&mut self, people: &[&str]) -> Result<()> {
        for name in people {
            self.phones.insert((*name).to_owned(), self.host.enrol(name)?);
        }
        Ok(())
    }

    /// A login at sshd's stack, after the key.
    fn gets_in(&self, name: &str, from: &str, reply: &str) -> Result<(bool, usize)> {
        let attempt = self.host.attempt_from(from, "sshd", name, &[reply])?;
        assert!(
            [PAM_SUCCESS, PAM_AUTH_ERR].contains(&attempt.result),
            "{name}: {attempt:?}\n{}",
            self.host.diagnosis()
        );
        Ok((attempt.result == PAM_SUCCESS, attempt.prompts()))
    }

    /// Everybody of the staff logs in: whoever is enrolled with a code, and not without; of the others `unenrolled`
    /// says whether they get in.
    fn staff_logs_in(&self, unenrolled: bool) -> Result<()> {
        for (name, from) in self.people.iter().zip((1..).map(|n| format!("198.51.100.{n}"))) {
            let Some(phone) = self.phones.get(name) else {
                let expected = if unenrolled { (true, 0) } else { (false, 1) };
                assert_eq!(self.gets_in(name, &from, "123456")?, expected, "{name} has nothing enrolled");
                continue;
            };
            assert_eq!(self.gets_in(name, &from, "no code")?, (false, 1), "{name} without a code");
            assert_eq!(self.gets_in(name, &from, &self.host.code(phone, 0)?)?, (true, 1), "{name} with a code");
        }
        // The next codes come then.
        self.host.advance(std::time::Duration::from_secs(60))
    }

    /// The robots come from home without a code, and get in from nowhere else.
    fn robots_work(&self) -> Result<()> {
        for (name, far) in self.robots.iter().zip((1..).map(|n| format!("203.0.113.{n}"))) {
            let from = if name == FORGOTTEN.0 { FORGOTTEN.1 } else { HOME };
            assert_eq!(self.gets_in(name, from, "123456")?, (true, 0), "{name} at home");
            assert_eq!(self.gets_in(name, &far, "123456")?, (false, 1), "{name} from elsewhere");
        }
        Ok(())
    }

    /// The names of the doctor's findings.
    fn findings(&self) -> Result<BTreeSet<String>> {
        let report: serde_json::Value = serde_json::from_str(&doctor::doctor(&self.host, &["--json"])?.stdout)?;
        let findings = report["findings"].as_array().context("findings")?;
        Ok(findings.iter().filter_map(|finding| finding["name"].as_str()).map(str::to_owned).collect())
    }
}

fn shell(section: &Section) -> impl Iterator<Item = &str> {
    section.blocks.iter().filter(|block| block.language == "sh").map(|block| block.text.as_str())
}

fn names<'a>(names: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    names.into_iter().map(str::to_owned).collect()
}

#[test]
fn the_guide_leads_fifty_accounts_from_observing_to_requiring() -> Result<()> {
    let mut town = Town::found()?;
    observe(&town)?;
    remind(&mut town)?;
    deadline(&mut town)?;
    require(&town)
}

fn observe(town: &Town) -> Result<()> {
    let step = town.step("Step 1: observe")?;
    town.host.run(&["sh", "-c", shell(&step).next().context("commands")?])?;
    town.host.logged(&[("event", "reload")])?;
    for name in town.people.iter().chain(&town.robots) {
        let from = if name == FORGOTTEN.0 { FORGOTTEN.1 } else { HOME };
        assert_eq!(town.gets_in(name, from, "x")?, (true, 0), "{name}, observed");
    }
    town.host.ssh("alice", "id -un").expect("alice").end()?.success()?;
    assert_eq!(town.findings()?, names(["observe"]));
    town.host.logged(&[("account", FORGOTTEN.0), ("reason", "would-refuse-not-enrolled")])?;
    let mut expected: BTreeSet<String> = town.people.iter().cloned().collect();
    expected.insert(FORGOTTEN.0.to_owned());
    assert_eq!(town.look(&step, 1)?, expected);
    // The rules get the network that nobody thought of.
    let path = "/etc/countersign/conf.d/10-robots.toml";
    let rules = String::from_utf8(town.host.read(path)?)?;
    town.host.write(path, &rules.replace("\"10.20.0.0/16\"", "\"10.20.0.0/16\", \"192.0.2.0/24\""))?;
    town.reload()?;
    town.gets_in(FORGOTTEN.0, FORGOTTEN.1, "x")?;
    town.host.logged(&[("account", FORGOTTEN.0), ("rule", "robots"), ("reason", "skipped")])?;
    Ok(())
}

fn remind(town: &mut Town) -> Result<()> {
    town.enrol(&["alice"])?;
    let step = town.step("Step 2: enrol and remind")?;
    town.reload()?;
    town.staff_logs_in(true)?;
    town.robots_work()?;
    town.enrol(&["p1", "p2", "p3", "p4", "p5"])?;
    town.staff_logs_in(true)?;
    town.host.logged(&[("account", "p9"), ("rule", "staff"), ("reason", "reminded")])?;
    assert_eq!(town.look(&step, 0)?, names(["p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9"]));
    let list = town.host.run(&["sh", "-c", shell(&step).nth(1).context("a command")?])?.success()?;
    assert_eq!(list.stdout.lines().filter(|line| line.contains("active")).count(), 6, "{list}");
    assert_eq!(town.findings()?, BTreeSet::new());
    assert_eq!(town.gets_in("nobody-knows", HOME, "123456")?, (false, 1));
    Ok(())
}

fn deadline(town: &mut Town) -> Result<()> {
    let step = town.step("Step 3: a deadline")?;
    town.reload()?;
    town.enrol(&["p6", "p7", "p8"])?;
    let told = town.host.attempt("sshd", "p9", &[])?;
    let day = date(&town.day, "+%-d %B %Y")?;
    assert!(told.result == PAM_SUCCESS && told.says(&format!("From {day} a second factor is needed")), "{told:?}");
    let status = town.host.countersign(&["status", "p9"])?;
    assert!(status.says(&day) || status.says(&town.day), "{status}");
    assert!(!town.would_refuse(&[])?.contains("p9"), "before the day");
    let refused = town.would_refuse(&["--at", &town.day])?;
    assert!(refused.contains("p9") && town.phones.keys().all(|name| !refused.contains(name)), "{refused:?}");

    let midnight: u64 = date(&format!("{} 00:00", town.day), "+%s")?.parse()?;
    move_to(&town.host, midnight - 600)?;
    town.staff_logs_in(true)?;
    town.robots_work()?;
    move_to(&town.host, midnight)?;
    town.staff_logs_in(false)?;
    town.robots_work()?;
    let late = [("account", "p9"), ("service", "sshd"), ("outcome", "refused"), ("reason", "not-enrolled")];
    town.host.logged(&late)?;
    let listed = town.look(&step, 0)?;
    assert!(listed.contains("p9") && town.phones.keys().all(|name| !listed.contains(name)), "{listed:?}");
    town.enrol(&["p9"])
}

fn require(town: &Town) -> Result<()> {
    let step = town.step("Step 4: require")?;
    town.reload()?;
    town.staff_logs_in(false)?;
    town.robots_work()?;
    assert_eq!(town.gets_in("nobody-knows", HOME, "123456")?, (false, 1));
    let alice = town.phones.get("alice").context("alice's phone")?;
    let code = town.host.code(alice, 0)?;
    town.host.ssh("alice", "id -un").answer(PROMPT, &code).expect("alice").end()?.success()?;
    town.host.terminal("root", &["ssh", "-b", HOME, "r1@scratch", "id -un"]).expect("r1").end()?.success()?;

    assert_eq!(town.findings()?, BTreeSet::new());
    let looked = town.host.run(&["sh", "-c", shell(&step).next().context("commands")?])?.success()?;
    let ways = ["action = \"skip\"", "\"remind\"", "\"pass\"", "\"enroll\"", "observe", "skip", "remind"];
    let open: Vec<&str> = looked.stdout.lines().filter(|line| ways.iter().any(|way| line.contains(way))).collect();
    assert!(open.len() == 1 && open[0].contains("robots"), "{open:#?}\n{looked}");

    town.host.write("/etc/countersign/countersign.toml", "mode = \"observe\"\n")?;
    town.reload()?;
    assert_eq!(town.gets_in("nobody-knows", HOME, "x")?, (true, 0), "undone in a hurry");
    Ok(())
}

#[test]
fn every_step_of_the_guide_is_played() -> Result<()> {
    let sections = document::sections(&document::read(PAGE)?);
    let steps: Vec<&str> = sections.iter().map(|section| section.heading.as_str()).skip(1).collect();
    let played = include_str!("rollout.rs");
    let unplayed = |step: &&&str| !played.contains(&format!("town.step(\"{step}\")"));
    assert_eq!(steps.iter().find(unplayed), None);
    assert_eq!(steps.len(), 4);
    Ok(())
}
