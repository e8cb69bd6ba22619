//! Importing bad files in bad times: every format and every way in which a file can be wrong, with the real tool and
//! daemon. Whatever it is, it ends within bounds of time and memory, names what is wrong, and shows no secret.

mod sample;

use std::{fmt::Write as _, time::Duration};

use anyhow::{Context, Result};
use sample::{PEOPLE, Sample};
use scenarios::{Host, Outcome, Stack};
use serde_json::Value;

/// Where the file lies.
const FILE: &str = "/root/given";
/// What an import may take, in KiB: the largest XML file in memory as a tree takes the most.
const MOST_MEMORY: u64 = 400 * 1024;
/// Seconds that one import may take.
const LONGEST: &str = "30";

/// Files of 100 MB, and what makes them.
const LARGE: [(&str, &str); 3] = [
    ("/root/given-nothing", "truncate -s 100M"),
    ("/root/given-lines", "yes '' | head -c 100M >"),
    ("/root/given-words", "yes nonsense | head -c 100M >"),
];

/// A host on which one format after the other is imported.
struct Scene {
    host: Host,
    secrets: Vec<String>,
}

impl Scene {
    fn new() -> Result<Self> {
        let people = PEOPLE.iter().fold(Host::build(), |host, (name, _)| host.user(name, "correct horse"));
        Ok(Self { host: people.pam(Stack::code_alone("door")).start()?, secrets: sample::secrets() })
    }

    fn sh(&self, script: &str) -> Result<()> {
        self.host.run(&["sh", "-ec", script])?.success().map(drop)
    }

    /// Writes the file as root's own.
    fn give(&self, bytes: &[u8]) -> Result<()> {
        let script = format!("rm -rf {FILE}; umask 077; cat >{FILE}");
        self.host.feed_as("root", &["sh", "-ec", &script], bytes)?.success().map(drop)
    }

    /// Imports a path within bounds; what is true of every end is checked here.
    fn import(&self, sample: &Sample, path: &str, input: &[u8]) -> Result<Ended> {
        let measured = ["/usr/bin/time", "-f", "%M", "-o", "/tmp/peak", "timeout", LONGEST, "countersign", "import"];
        let ours = [sample.format, path, "--json"];
        let outcome = self.host.feed_as("root", &[&measured[..], &ours, sample.arguments].concat(), input)?;
        let peak = String::from_utf8(self.host.read("/tmp/peak")?)?;
        let peak: u64 = peak.lines().last().context("no figure")?.trim().parse()?;
        assert!(peak < MOST_MEMORY, "{peak} KiB: {outcome}");
        assert!(matches!(outcome.status, 0 | 1), "{outcome}");
        assert!(!outcome.says("panicked"), "{outcome}");
        for secret in &self.secrets {
            assert!(!outcome.says(secret), "{secret} is shown: {outcome}");
        }
        let ended = Ended::of(outcome)?;
        ended.check();
        Ok(ended)
    }

    /// Imports bytes from the file.
    fn import_bytes(&self, sample: &Sample, bytes: &[u8]) -> Result<Ended> {
        self.give(bytes)?;
        self.import(sample, FILE, b"")
    }
}

/// How an import ended.
struct Ended {
    outcome: Outcome,
    records: Vec<Value>,
}

impl Ended {
    fn of(outcome: Outcome) -> Result<Self> {
        if outcome.stdout.is_empty() {
            return Ok(Self { outcome, records: Vec::new() });
        }
        let printed: Value = serde_json::from_str(&outcome.stdout).with_context(|| outcome.to_string())?;
        let records = printed["records"].as_array().cloned().with_context(|| outcome.to_string())?;
        Ok(Self { outcome, records })
    }

    /// What was refused names its place and its reason, and exit code and output agree.
    fn check(&self) {
        let refused: Vec<&Value> = self.records.iter().filter(|record| record["outcome"] == "refused").collect();
        for record in &refused {
            let reason = record["remarks"][0].as_str().unwrap_or_default();
            assert!(!reason.is_empty() && record["place"].as_str().is_some_and(|place| !place.is_empty()), "{record}");
        }
        let told = !self.outcome.stderr.is_empty();
        assert_eq!(self.outcome.status != 0, told || !refused.is_empty(), "{}", self.outcome);
        let names_it = self.outcome.stderr.contains(FILE) || self.outcome.stderr.contains("the standard input");
        assert!(!told || names_it || self.outcome.stderr.contains("/dev/zero"), "{}", self.outcome);
    }

    /// Who was added or is there, in order.
    fn taken(&self) -> Vec<&str> {
        let is_taken =
            |record: &&Value| ["added", "present", "unbound"].iter().any(|taken| record["outcome"] == *taken);
        self.records.iter().filter(is_taken).filter_map(|record| record["account"].as_str()).collect()
    }

    /// The whole file was refused with this reason.
    fn is_refused_as(&self, reason: &str) {
        let flat = self.outcome.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(self.outcome.status == 1 && flat.contains(reason), "{reason}: {}", self.outcome);
        assert!(self.taken().is_empty(), "{}", self.outcome);
    }
}

fn replaced(bytes: &[u8], (from, to): (&str, &str)) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    assert!(text.contains(from), "{from}: {text}");
    text.replace(from, to).into_bytes()
}

#[test]
fn a_bad_record_of_any_format_is_named_and_stops_no_other() -> Result<()> {
    let scene = Scene::new()?;
    for sample in sample::all() {
        let good = scene.import_bytes(&sample, &sample.bytes)?;
        assert_eq!((good.taken(), good.outcome.status), (vec!["alice", "bob", "carol"], 0), "{}", good.outcome);
        let unknown = scene.import_bytes(&sample, &replaced(&sample.bytes, sample.unknown))?;
        assert_eq!(unknown.taken(), ["alice", "bob", "carol"], "{}", unknown.outcome);
        let wrong = scene.import_bytes(&sample, &replaced(&sample.bytes, sample.wrong))?;
        assert_eq!((wrong.taken(), wrong.outcome.status), (vec!["alice", "carol"], 1), "{}", wrong.outcome);
        let named = wrong.records.iter().find(|record| record["outcome"] == "refused").context("nothing refused")?;
        assert_eq!((named["place"].as_str(), named["file"].as_str()), (Some(sample.place), Some(FILE)), "{named}");

        // An account twice has both authenticators, a record twice is one, and an unknown account is told.
        // (Within protocol buffers names have a length, and cannot be replaced so.)
        if sample.format != "migration" {
            let twice = scene.import_bytes(&sample, &replaced(&sample.bytes, ("bob", "carol")))?;
            assert_eq!(twice.taken(), ["alice", "carol", "carol"], "{}", twice.outcome);
            let nobody = format!("unknown-to-{}", sample.format);
            let stranger = scene.import_bytes(&sample, &replaced(&sample.bytes, ("bob", &nobody)))?;
            assert_eq!(stranger.records[1]["outcome"], "unbound", "{}", stranger.outcome);
        }
        let piped = scene.import(&sample, "-", &sample.bytes)?;
        assert!(piped.records.iter().all(|record| record["outcome"] == "present"), "{}", piped.outcome);
    }
    let log: String = scene.host.syslog().iter().map(|line| line.text.clone()).collect();
    assert!(!scene.secrets.iter().any(|secret| log.contains(secret)), "{log}");
    scene.host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}

#[test]
fn a_file_of_any_format_may_end_anywhere_hold_anything_and_be_of_any_size() -> Result<()> {
    let scene = Scene::new()?;
    for (path, script) in LARGE {
        scene.sh(&format!("umask 077; {script} {path}"))?;
    }
    for sample in sample::all() {
        scene.import_bytes(&sample, b"")?.is_refused_as("");
        let lines: Vec<usize> =
            (1..).zip(&sample.bytes).filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at).collect();
        for end in lines.iter().flat_map(|end| [*end, end - 1, end.saturating_sub(9)]) {
            scene.import_bytes(&sample, &sample.bytes[..end])?;
        }
        let text = String::from_utf8(sample.bytes.clone())?;
        let utf_16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert!(scene.import_bytes(&sample, &utf_16)?.taken().is_empty());
        let middle = sample.bytes.len() / 2;
        for odd in [&b"\0"[..], b"\xff", b"\xc3", b"\x1b[2J"] {
            let with = [&sample.bytes[..middle], odd, &sample.bytes[middle..]].concat();
            let ended = scene.import_bytes(&sample, &with)?;
            assert!(!ended.outcome.says("\x1b"), "{}", ended.outcome);
        }
        // 100 MB: of nothing, of blank lines, of text; and what never ends.
        for large in LARGE {
            let ended = scene.import(&sample, large.0, b"")?;
            assert!(ended.taken().is_empty() && ended.outcome.status == 1, "{large:?}: {}", ended.outcome.stderr);
        }
        let endless = format!("timeout {LONGEST} countersign import {} - </dev/zero", sample.format);
        let endless = scene.host.run(&["sh", "-c", &endless])?;
        assert_eq!(endless.status, 1, "{endless}");
    }
    Ok(())
}

#[test]
fn what_is_not_roots_own_regular_file_is_not_read_whatever_its_format() -> Result<()> {
    let scene = Scene::new()?;
    for sample in sample::all() {
        for (script, reason) in [
            ("mv $1 $1.real; ln -s $1.real $1", "it is a symbolic link"),
            ("rm $1; mkfifo -m 0600 $1", "it is a FIFO"),
            ("chown bob $1", "it belongs to uid"),
            ("chmod 0660 $1", "others may write it (mode 0660)"),
            ("chmod 0602 $1", "others may write it (mode 0602)"),
            ("rm $1; mkdir $1", "it is no regular file"),
            ("rm $1", "it cannot be opened: No such file"),
        ] {
            scene.give(&sample.bytes)?;
            scene.host.run(&["sh", "-ec", script, "sh", FILE])?.success()?;
            scene.import(&sample, FILE, b"")?.is_refused_as(&format!("is not read: {reason}"));
        }
        scene.import(&sample, "/dev/zero", b"")?.is_refused_as("is not read: it is no regular file");
    }
    // Nothing was taken, and the files that say whose or open something are under the same policy.
    let listed = scene.host.countersign(&["list", "--json"])?.success()?;
    assert_eq!(listed.stdout.trim(), "[]", "{listed}");
    let pskc = sample::all().into_iter().find(|sample| sample.format == "pskc").context("no PSKC")?;
    scene.give(&pskc.bytes)?;
    scene.sh("echo bob,alice >/root/people; chmod 0666 /root/people")?;
    let refused = scene.host.countersign(&["import", "pskc", FILE, "--assign-from", "/root/people"])?;
    assert!(refused.status == 1 && refused.says("/root/people is not read: others may write it"), "{refused}");
    Ok(())
}

#[test]
fn a_file_of_one_person_may_end_anywhere_hold_anything_and_be_anything() -> Result<()> {
    let mut scene = Scene::new()?;
    let secret = "HXDMVJECJJWSRB3HWIZR4IFUGFTMXBOZ";
    let text = format!("{secret}\n\" WINDOW_SIZE 17\n\" DISALLOW_REUSE 59844750\n\" TOTP_AUTH\n87654321\n");
    scene.secrets.extend([secret.to_owned(), secret[..12].to_owned(), "87654321".to_owned()]);
    let sample = Sample {
        format: "google-authenticator",
        arguments: &["--user", "alice", "--apply"],
        bytes: text.into_bytes(),
        wrong: ("WINDOW_SIZE 17", "WINDOW_SIZE -17"),
        unknown: ("TOTP_AUTH", "TOTP_AUTH\n\" COLOUR red"),
        place: "line 2",
    };
    // The end of the secret alone makes another secret, and is somebody's who cut it off: nothing that is shown.
    for end in (0..sample.bytes.len()).step_by(3) {
        scene.import_bytes(&sample, &sample.bytes[..end])?;
    }
    let middle = sample.bytes.len() / 2;
    for odd in [&b"\0"[..], b"\xff", b"\x1b[2J"] {
        let with = [&sample.bytes[..middle], odd, &sample.bytes[middle..]].concat();
        assert!(!scene.import_bytes(&sample, &with)?.outcome.says("\x1b"));
    }
    let wrong = scene.import_bytes(&sample, &replaced(&sample.bytes, sample.wrong))?;
    assert_eq!(wrong.records[0]["place"], sample.place, "{}", wrong.outcome);
    assert_eq!(scene.import_bytes(&sample, &replaced(&sample.bytes, sample.unknown))?.taken(), ["alice"]);
    for script in [
        "mv $1 $1.real; ln -s $1.real $1",
        "rm $1; mkfifo -m 0600 $1",
        "chown bob $1",
        "chmod 0660 $1",
        "rm $1; mkdir $1",
        "rm $1",
        "truncate -s 100M $1",
    ] {
        scene.give(&sample.bytes)?;
        scene.host.run(&["sh", "-ec", script, "sh", FILE])?.success()?;
        let refused = scene.import(&sample, FILE, b"")?;
        assert_eq!((refused.taken().len(), refused.outcome.status), (0, 1), "{script}: {}", refused.outcome);
    }
    assert_eq!(scene.import(&sample, "/dev/zero", b"")?.outcome.status, 1);
    Ok(())
}

/// Accounts of the list that is broken off half-way.
const MANY: usize = 30_000;

fn users_file() -> Result<String> {
    let mut users = String::new();
    for number in 0..MANY {
        writeln!(users, "HOTP/E/6\tuser{number:06}\t-\t{:040x}\t{number}", number + 1)?;
    }
    Ok(users)
}

/// How many accounts are there, none of them with two authenticators.
pub(super) fn there(host: &Host) -> Result<usize> {
    let listed: Vec<Value> = serde_json::from_str(&host.countersign(&["list", "--json"])?.success()?.stdout)?;
    assert!(listed.iter().all(|account| account["active_authenticators"] == 1), "something is there twice");
    Ok(listed.len())
}

#[test]
fn whoever_is_killed_half_way_tool_or_daemon_the_next_run_completes_it() -> Result<()> {
    let host = Host::build().user("alice", "correct horse").start()?;
    let mut random = scenarios::Random::new(scenarios::seed());
    host.write(FILE, &users_file()?)?;
    host.run(&["chmod", "0600", FILE])?.success()?;
    let (mut before, mut rounds) = (0, 0);
    while before < MANY / 2 {
        // After some of what is left was taken, which a seeded share of it says.
        let until = format!("user{:06}", before + random.below((MANY - before) / 8));
        let import =
            format!("exec countersign import oath {FILE} --json >/tmp/printed 2>&1 & echo $! >/tmp/tool; wait $!");
        let mut tool = host.command("root", &["sh", "-c", &import])?.spawn()?;
        let begun = || Ok(host.countersign(&["status", &until])?.succeeded().then_some(()));
        scenarios::wait("some of the accounts", begun)?;
        rounds += 1;
        if rounds % 2 == 1 {
            host.run(&["sh", "-c", "kill -9 $(cat /tmp/tool)"])?;
            tool.wait()?;
        } else {
            host.daemon().kill()?;
            tool.wait()?;
            host.start_daemon()?;
        }
        let now = there(&host)?;
        assert!(now >= before, "{now} after {before}: something was lost");
        before = now;
    }
    assert!(rounds > 1 && before < MANY, "{before} after {rounds} rounds: nothing is left to be broken off");
    let completed = host.countersign(&["import", "oath", FILE, "--json"])?.success()?;
    let printed: Value = serde_json::from_str(&completed.stdout)?;
    assert_eq!(printed["present"].as_u64(), Some(before as u64), "{}", printed["refused"]);
    assert_eq!((printed["refused"].as_u64(), there(&host)?), (Some(0), MANY));
    host.countersign(&["audit", "--verify"])?.success()?;
    Ok(())
}

#[test]
fn a_full_disk_or_a_missing_daemon_ends_an_import_that_is_completed_later() -> Result<()> {
    let host = Host::build().user("alice", "correct horse").state_on_a_disk().disk_size("64M").start()?;
    host.write(FILE, &users_file()?)?;
    host.run(&["chmod", "0600", FILE])?.success()?;
    host.run(&["sh", "-c", "cat /dev/zero >/var/lib/countersign/ballast 2>/dev/null; sync"])?;
    let full = host.countersign(&["import", "oath", FILE])?;
    assert_eq!(full.status, 1, "{}", full.stderr);
    host.run(&["rm", "/var/lib/countersign/ballast"])?.success()?;
    // What had failed is open again by itself.
    let known = |host: &Host| Ok(host.countersign(&["list", "--json"])?.succeeded().then_some(()));
    scenarios::wait("the store", || known(&host))?;
    host.daemon().stop()?;
    let gone = host.countersign(&["import", "oath", FILE])?;
    assert_eq!(gone.status, 3, "{gone}");
    host.start_daemon()?;
    host.countersign(&["import", "oath", FILE])?.success()?;
    assert_eq!(there(&host)?, MANY);
    Ok(())
}

#[test]
fn files_of_apps_that_are_sealed_are_refused_without_their_key_and_show_none() -> Result<()> {
    let scene = Scene::new()?;
    let data = |name: &str| std::fs::read(format!("{}/../cli/tests/data/{name}", env!("CARGO_MANIFEST_DIR")));
    scene.host.write("/root/key", "12345678901234567890123456789012\n")?;
    scene.host.write("/root/passphrase", "correct horse é\n")?;
    scene.sh("chmod 0600 /root/key /root/passphrase")?;
    let sealed = |format, arguments| Sample {
        format,
        arguments,
        bytes: Vec::new(),
        wrong: ("", ""),
        unknown: ("", ""),
        place: "",
    };
    for (name, sample, taken) in [
        ("pskc/rfc6030-figure-6.xml", sealed("pskc", &["--user", "alice", "--key-file", "/root/key"]), 1),
        ("apps/aegis-encrypted.json", sealed("aegis", &["--user", "alice", "--key-file", "/root/passphrase"]), 3),
        ("apps/migration-1.png", sealed("migration", &["--user", "bob"]), 2),
    ] {
        let bytes = data(name)?;
        assert_eq!(scene.import_bytes(&sample, &bytes)?.taken().len(), taken, "{name}");
        // Cut at sixteen places, and a bit turned at as many: never more than there was, and never another secret.
        for part in 0..16 {
            let at = bytes.len() * part / 16;
            scene.import_bytes(&sample, &bytes[..at])?;
            let mut turned = bytes.clone();
            turned[at] ^= 0x04;
            scene.import_bytes(&sample, &turned)?;
        }
    }
    let active = |user: &str| -> Result<u64> {
        let status = scene.host.countersign(&["status", user, "--json"])?.success()?;
        let status: Value = serde_json::from_str(&status.stdout)?;
        Ok(status["authenticators"].as_array().map_or(0, Vec::len) as u64)
    };
    assert_eq!(active("bob")?, 2);
    scenarios::wait("the log", || Ok((!scene.host.syslog().is_empty()).then_some(())))?;
    let log: String = scene.host.syslog().iter().map(|line| line.text.clone()).collect();
    assert!(!log.contains("correct horse é") && !log.contains("123456789012345678901234567890"), "{log}");
    Ok(())
}

#[test]
fn a_hundred_megabytes_of_records_take_no_more_memory_than_a_few() -> Result<()> {
    let scene = Scene::new()?;
    let oath = sample::all().into_iter().find(|sample| sample.format == "oath").context("no users file")?;
    let begun = std::time::Instant::now();
    // The same three people over and over, in 30,000 lines: three are added, the rest is there.
    let ended = scene.import_bytes(&oath, &oath.bytes.repeat(10_000))?;
    assert_eq!(ended.records.len(), 30_000);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
    let peak: u64 = String::from_utf8(scene.host.read("/tmp/peak")?)?.trim().parse()?;
    assert!(peak < 32 * 1024, "{peak} KiB");
    Ok(())
}
