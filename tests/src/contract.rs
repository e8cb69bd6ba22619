//! The members of the daemon's object, as it tells of them itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use dbus_api::BUS_NAME;

/// A member as introspection tells of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The interface, in full.
    pub interface: String,
    /// Its name.
    pub name: String,
    /// The types of its arguments.
    pub takes: Vec<String>,
}

impl Member {
    /// The members of the project's own interfaces in introspection data, one element a line as zbus writes it.
    #[must_use]
    pub fn all_of(xml: &str) -> Vec<Self> {
        let attribute = |line: &str, name: &str| {
            let (_, rest) = line.split_once(&format!(" {name}=\""))?;
            Some(rest.split_once('"')?.0.to_owned())
        };
        let mut members: Vec<Self> = Vec::new();
        let mut interface = String::new();
        for line in xml.lines().map(str::trim) {
            if line.starts_with("<interface ") {
                interface = attribute(line, "name").unwrap_or_default();
            } else if line.starts_with("<method ") && interface.starts_with(BUS_NAME) {
                let name = attribute(line, "name").unwrap_or_default();
                members.push(Self { interface: interface.clone(), name, takes: Vec::new() });
            } else if line.starts_with("<arg ") && line.contains("direction=\"in\"") && interface.starts_with(BUS_NAME)
            {
                let kind = attribute(line, "type").unwrap_or_default();
                members.last_mut().into_iter().for_each(|member| member.takes.push(kind.clone()));
            }
        }
        members
    }

    /// `Interface.Member`, without the project's name.
    #[must_use]
    pub fn short_name(&self) -> String {
        format!("{}.{}", self.interface.trim_start_matches(BUS_NAME).trim_start_matches('.'), self.name)
    }
}

/// What each member answered, in the words of docs/dbus/callers.md, from what `member_caller` printed.
///
/// # Errors
/// An answer that no caller should get.
pub fn answers(report: &str) -> Result<BTreeMap<String, &'static str>> {
    let read = |line: &str| {
        let (member, answer) = line.split_once(' ').context("a member and its answer")?;
        Ok((member.to_owned(), word(member, answer).with_context(|| line.to_owned())?))
    };
    report.lines().map(read).collect()
}

/// What a call came to, for one who wonders whether it was let through.
fn word(member: &str, answer: &str) -> Result<&'static str> {
    // What belongs to something that was begun answers to its connection alone, be there nothing to answer.
    let of_one_connection =
        ["Verifier.Respond", "Verifier.Cancel", "Enrollment.Confirm", "Enrollment.Cancel"].contains(&member);
    Ok(match answer.trim_start_matches("org.countersign.Countersign1.Error.") {
        "AccessDenied" | "org.freedesktop.DBus.Error.AccessDenied" => "no",
        "VerificationRequired" => "after a fresh code",
        "NotFound" => "own connection",
        "done" | "NotEnrolled" | "InvalidArgument" if of_one_connection => "own connection",
        // The permission was given; the thing itself is not there.
        "done" | "NotEnrolled" | "InvalidArgument" => "yes",
        other => bail!("{other}"),
    })
}
