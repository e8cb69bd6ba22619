//! What every command prints with `--json` is what docs/json.md says: the page's tables and examples are compared with
//! real output, both ways, so that neither can drift.

use std::{
    collections::{BTreeMap, BTreeSet},
    os::unix::fs::PermissionsExt as _,
};

use dbus_api::{Account, AuditEntry};
use serde_json::Value;

use crate::stage::{Outcome, Stage};

/// Fields by their paths, such as `authenticators[].id`, and their documented types.
type Fields = BTreeMap<String, String>;

/// One section of the page.
struct Section {
    fields: Fields,
    example: Value,
}

/// The page, by the commands of its headings.
fn page() -> BTreeMap<String, Section> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/json.md")).unwrap();
    page.split("\n## `countersign ")
        .skip(1)
        .map(|text| {
            let (heading, text) = text.split_once("`\n").unwrap();
            let example = text.split("```json\n").nth(1).and_then(|text| text.split("```").next());
            let example = serde_json::from_str(example.unwrap_or_default());
            let fields = text.lines().filter(|line| line.starts_with("| `")).map(field).collect();
            let example = example.unwrap_or_else(|error| panic!("the example of {heading}: {error}"));
            (heading.to_owned(), Section { fields, example })
        })
        .collect()
}

/// Reads a row: "| `path` | type | meaning |".
fn field(row: &str) -> (String, String) {
    let mut cells = row.split('|').map(str::trim).skip(1);
    let path = cells.next().unwrap().trim_matches('`');
    (path.to_owned(), cells.next().unwrap().to_owned())
}

fn is_of_type(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "list" => value.is_array(),
        "list of strings" => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
        "time" => value.as_str().is_some_and(|text| text.len() == 20 && text.ends_with('Z') && &text[10..11] == "T"),
        "any" => !value.is_null(),
        _ => match kind.strip_suffix(" or null") {
            Some(kind) => value.is_null() || is_of_type(value, kind),
            None => panic!("{kind} is no type of docs/json.md"),
        },
    }
}

/// Compares a value with the documented fields, and notes which of them it has.
fn compare(value: &Value, at: &str, fields: &Fields, seen: &mut BTreeSet<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|element| compare(element, at, fields, seen)),
        Value::Object(object) => {
            for (key, value) in object {
                let path = format!("{at}{key}");
                let kind = fields.get(&path).unwrap_or_else(|| panic!("{path} is not in docs/json.md: {value}"));
                assert!(is_of_type(value, kind), "{path} is {value}, and not {kind}");
                seen.insert(path.clone());
                if kind == "list" {
                    compare(value, &format!("{path}[]."), fields, seen);
                }
            }
            let there: Vec<&str> = object.keys().map(String::as_str).collect();
            let missing = fields.keys().filter_map(|path| path.strip_prefix(at)).filter(|name| !name.contains('['));
            missing.for_each(|name| assert!(there.contains(&name), "{at}{name} is not there: {value}"));
        }
        other => panic!("{at}: {other} is neither an object nor a list of objects"),
    }
}

/// A stage with accounts, an audit and, in the daemon's place, a program that finds a configuration wrong.
fn stage() -> Stage {
    let stage = Stage::new();
    let gone = |name: &str, uid| Account { name: name.to_owned(), uid, authenticators: 1, ..Account::default() };
    let entry = AuditEntry { seq: 1, account: Some("alice".to_owned()), ..AuditEntry::default() };
    let mut held = stage.held.lock().unwrap();
    held.gone = vec![gone("old", Some(1001)), gone("came-back", Some(1002)), gone("awaited", None)];
    held.audit =
        vec![entry.clone(), AuditEntry { seq: 2, failures: Some(1), rule: Some("office".to_owned()), ..entry }];
    drop(held);
    let daemon = stage.directory.path().join("countersignd");
    std::fs::write(&daemon, "#!/bin/sh\necho 'countersignd: x.toml:1:1: unknown key' >&2\nexit 1\n").unwrap();
    std::fs::set_permissions(&daemon, std::fs::Permissions::from_mode(0o700)).unwrap();
    let uris = "otpauth://totp/alice?secret=JBSWY3DPEHPK3PXP\nnonsense\n";
    let write = |name: &str, text: &str| std::fs::write(stage.directory.path().join(name), text).unwrap();
    write("accounts.txt", uris);
    write("users.oath", "HOTP alice - 3132333435363738393031323334353637383930\nHOTP\n");
    write("tokens.csv", "account,secret\nalice,JBSWY3DPEHPK3PXP\n");
    write("home", "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP\n\" TOTP_AUTH\n12345678\n");
    write("names.txt", "alice\nfresh\n");
    stage
}

/// Files of other programs.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");

/// What `doctor` ends with, and what PAM's files hold, is for this machine to say.
const ANY: i32 = -1;

/// Every command that prints JSON, by its heading, as it is run; and its exit code.
fn runs(stage: &Stage) -> Vec<(&'static str, Vec<String>, i32)> {
    let path = |name: &str| stage.directory.path().join(name).display().to_string();
    let run = |heading, arguments: &str, code| {
        let words = arguments.split(' ').map(|word| word.replace("DAEMON", &path("countersignd")));
        let words = words.map(|word| word.replace("USERS", &path("users.oath")).replace("TABLE", &path("tokens.csv")));
        let words = words.map(|word| word.replace("HOME", &path("home")).replace("NAMES", &path("names.txt")));
        let words = words.map(|word| word.replace("DATA", DATA));
        (heading, words.map(|word| word.replace("FILE", &path("accounts.txt"))).collect(), code)
    };
    vec![
        run("enroll --json", "enroll alice --no-confirm --json", 0),
        run("enroll --json", "enroll alice --no-confirm --kind hotp --json", 0),
        run("status --json", "status alice --json", 0),
        run("status --json", "status locked --json", 0),
        run("status --json", "status various --json", 0),
        run("export --json", "export alice 3f9a2c01 --yes --json", 0),
        run("export --json", "export alice 00000007 --yes --json", 0),
        run("recovery-codes --json", "recovery-codes alice --yes --json", 0),
        run("list --json", "list --json", 0),
        run("list --json", "list --sort failures --json", 0),
        run("prune --json", "prune --yes --json", 0),
        run("import FORMAT --json", "import otpauth FILE --json", 1),
        run("import FORMAT --json", "import pskc DATA/pskc/rfc6030-figure-3.xml --json", 0),
        run("import FORMAT --json", "import migration DATA/apps/migration.txt --json", 0),
        run("import FORMAT --json", "import aegis DATA/apps/aegis-plain.json --json", 1),
        run("import FORMAT --json", "import andotp DATA/apps/andotp.json --json", 1),
        run("import FORMAT --json", "import freeotp DATA/apps/freeotp.json --user alice --json", 0),
        run("import FORMAT --json", "import google-authenticator HOME --user root --json", 0),
        run("import FORMAT --json", "import oath USERS --json", 1),
        run("import FORMAT --json", "import csv TABLE --dry-run --json", 0),
        run("audit --json", "audit --json", 0),
        run("audit --verify --json", "audit --verify --json", 0),
        run("explain --json", "explain alice --service sshd --json", 0),
        run("explain --json", "explain fresh --service sshd --json", 1),
        run("rehearse --json", "rehearse --service sshd --accounts NAMES --json", 0),
        run("doctor --json", "doctor --json", ANY),
        run("pam status --json", "pam status --json", ANY),
        run("config check --json", "config check --daemon DAEMON --json", 1),
        run("key status --json", "key status --json", 0),
        run("config show --json", "config show --json", 0),
    ]
}

/// Standard output as one value: `audit` prints an object a line.
fn printed(outcome: &Outcome) -> Value {
    let whole = serde_json::from_str(&outcome.out);
    let lines = || outcome.out.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>();
    whole.or_else(|_| lines().map(Value::Array)).unwrap_or_else(|error| panic!("{error}: {outcome:?}"))
}

#[test]
fn every_command_prints_the_json_of_its_section_and_every_example_is_of_that_shape() {
    let page = page();
    let stage = stage();
    let mut documented: BTreeSet<&str> = page.keys().map(String::as_str).collect();
    for (heading, arguments, code) in runs(&stage) {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let outcome = stage.run(&arguments, "");
        let expected = if code == ANY { outcome.code } else { Some(code) };
        assert_eq!((outcome.code, outcome.err.as_str()), (expected, ""), "{arguments:?}: {outcome:?}");
        let section = page.get(heading).unwrap_or_else(|| panic!("docs/json.md has no section {heading}"));
        documented.remove(heading);
        let every: BTreeSet<String> = section.fields.keys().cloned().collect();
        for (value, is_example) in [(&printed(&outcome), false), (&section.example, true)] {
            let mut seen = BTreeSet::new();
            compare(value, "", &section.fields, &mut seen);
            // Where the machine decides, one of the lists may be empty.
            assert!(seen == every || (code == ANY && !is_example), "{heading}: {value}");
        }
    }
    assert!(documented.is_empty(), "no command prints what docs/json.md says of {documented:?}");
}

#[test]
fn what_is_refused_leaves_standard_output_empty() {
    let stage = stage();
    for arguments in [
        "enroll denied --no-confirm --json",
        "status denied --json",
        "recovery-codes denied --yes --json",
        "audit --user denied --json",
    ] {
        let outcome = stage.run(&arguments.split(' ').collect::<Vec<_>>(), "");
        assert_eq!((outcome.code, outcome.out.as_str()), (Some(1), ""), "{arguments}");
        assert!(outcome.err.starts_with("countersign: "), "{arguments}: {outcome:?}");
    }
    for arguments in
        ["enroll alice --json", "recovery-codes alice --json", "prune --json", "export alice 3f9a2c01 --json"]
    {
        assert_eq!(stage.run(&arguments.split(' ').collect::<Vec<_>>(), "").code, Some(2), "{arguments}");
    }
}
