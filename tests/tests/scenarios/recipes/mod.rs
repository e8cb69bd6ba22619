//! The recipes of docs/recipes.md, played as they are written: their files are taken out of the page, and the
//! doctor finds nothing on such a host but what the recipe names.

mod local;
mod screens;
mod ssh;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context, Result};
use scenarios::{
    Dialogue, Host, HostBuilder,
    document::{self, Section},
};
use serde_json::Value;

use crate::doctor;

pub(crate) const PAGE: &str = "docs/recipes.md";

/// What lies before the first recipe.
const PREFACE: &str = "Recipes";

const PASSWORD: &str = "correct horse";

/// A password for root's console, so that there is a way back, and Debian's mode of the file with the passwords, which
/// `unix_chkpwd` reads for programs that are not root.
pub(crate) const ROOT: &str = "chgrp shadow /etc/shadow && chmod 0640 /etc/shadow && usermod -p \"$(perl -e 'print crypt(q(root secret), q($6$rounds=1000$scratch$))')\" root";
const ROOT_PASSWORD: &str = "root secret";

/// A recipe, and what its doctor finds.
struct Recipe {
    section: Section,
}

impl Recipe {
    fn read(heading: &str) -> Result<Self> {
        Ok(Self { section: Section::read(PAGE, heading)? })
    }

    /// alice, with the recipe's files around her. She has a key, a password, and may use sudo.
    fn host(&self) -> Result<HostBuilder> {
        base().documented(&self.section)
    }

    /// The findings that the recipe names.
    fn expected(&self) -> BTreeSet<String> {
        let Some((_, told)) = self.section.text.split_once("**Doctor:**") else { return BTreeSet::new() };
        let paragraph = told.split("\n\n").next().unwrap_or_default();
        let quoted = paragraph.split('`').skip(1).step_by(2);
        let is_name =
            |word: &&str| word.contains('-') && word.bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase());
        quoted.filter(is_name).map(str::to_owned).collect()
    }

    /// The doctor finds what the recipe names, and no more.
    fn is_sound(&self, host: &Host) -> Result<()> {
        let outcome = doctor::doctor(host, &["--json"])?;
        let report: Value = serde_json::from_str(&outcome.stdout).with_context(|| outcome.to_string())?;
        let findings = report["findings"].as_array().context("a list of findings")?;
        let names = findings.iter().filter_map(|finding| finding["name"].as_str()).map(str::to_owned);
        assert_eq!(names.collect::<BTreeSet<_>>(), self.expected(), "{}: {findings:#?}", self.section.heading);
        Ok(())
    }
}

/// A host as Debian has it, with alice, an sshd of its own files and a right clock.
pub(crate) fn base() -> HostBuilder {
    let shipped = |path: &str| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    let polkit = "/usr/share/polkit-1/actions/org.countersign.policy";
    let host = Host::build().user("alice", PASSWORD).own_sshd().sudoers("@includedir /etc/sudoers.d");
    host.bind(shipped("packaging/polkit/org.countersign.policy"), polkit)
        .bind(doctor::clock().unwrap(), "/usr/lib/scratch/clock.so")
}

/// Starts the host; gives root a password and the host some addresses.
fn start(builder: HostBuilder) -> Result<Host> {
    let host = builder.start()?;
    let addresses = ["10.20.3.4/32", "198.51.100.7/32"].map(|address| format!("ip address add {address} dev lo"));
    host.run(&["sh", "-ec", &format!("{ROOT}\n{}", addresses.join("\n"))])?.success()?;
    Ok(host)
}

/// An address of the recipes' inside.
const INSIDE: &str = "10.20.3.4";
/// One from which anybody may come.
const OUTSIDE: &str = "198.51.100.7";

/// OpenSSH's client on a terminal, from this address.
fn ssh_from<'host>(host: &'host Host, address: &str, user: &str) -> Dialogue<'host> {
    host.terminal("root", &["ssh", "-b", address, &format!("{user}@scratch"), "echo in as $(id -un)"])
}

#[test]
fn every_recipe_of_the_page_is_played() -> Result<()> {
    let tests = [include_str!("ssh.rs"), include_str!("local.rs"), include_str!("screens.rs")].concat();
    for section in document::sections(&document::read(PAGE)?) {
        let played = tests.matches(&format!("Recipe::read(\"{}\")", section.heading)).count();
        assert_eq!(played > 0, section.heading != PREFACE, "\"{}\" is played by {played} tests", section.heading);
    }
    Ok(())
}
