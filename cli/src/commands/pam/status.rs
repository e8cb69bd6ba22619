//! `countersign pam status`: which services ask for a code, and how they came to it.

use std::path::Path;

use nix::unistd::geteuid;
use serde::Serialize;

use crate::{
    cli::PamStatus,
    failure::Failure,
    host::{
        Host,
        pam::{
            module::{self, Role},
            stack::{self, Kind, Stack},
        },
    },
    output::Output,
    switch::{
        common,
        ledger::{COMMON, Change, Ledger},
        undo::{self, Standing},
    },
    table::{Cell, Column, Table, Tone},
    wording,
};

/// Services that are shown whether they ask or not.
const USUAL: [&str; 4] = ["sshd", "sudo", "su", "login"];

/// What `--json` prints.
#[derive(Serialize)]
struct Report {
    services: Vec<Service>,
    common_state: Option<&'static str>,
    common_since: Option<String>,
    common_left: Option<u64>,
}

/// One service in [`Report`].
#[derive(Serialize)]
struct Service {
    service: String,
    asks: bool,
    first_factor: bool,
    switched_on_by: Option<&'static str>,
    state: Option<&'static str>,
    since: Option<String>,
    left: Option<u64>,
}

/// How a change stands.
struct Kept {
    state: &'static str,
    since: String,
    left: Option<u64>,
}

/// Runs the command.
///
/// # Errors
/// Where what was switched on cannot be read.
pub(super) fn run(arguments: &PamStatus, output: &Output) -> Result<(), Failure> {
    let host = Host::here();
    // What was changed is root's alone to read.
    let root = geteuid().is_root();
    let mut changes = if root { Ledger::of(&host).changes()? } else { Vec::new() };
    // What was written down and never done, or undone by hand, is nothing any more.
    changes.retain(|change| undo::standing(&host, change) != Ok(Standing::Undone));
    let common = changes.iter().find(|change| change.what == COMMON).map(|change| kept(&host, change));
    let mut services: Vec<Service> = Vec::new();
    for name in stack::services(&host) {
        let Ok(stack) = Stack::read(&host, &name, Kind::Auth) else { continue };
        if name.starts_with("common-") || stack.borrowed {
            continue;
        }
        let change = changes.iter().find(|change| change.what == name);
        let mut service = service(&host, name, &stack, change);
        service.switched_on_by = service.switched_on_by.filter(|by| root || *by != "hand");
        if service.asks || service.state.is_some() || USUAL.contains(&service.service.as_str()) {
            services.push(service);
        }
    }
    let report = Report {
        services,
        common_state: common.as_ref().map(|common| common.state),
        common_since: common.as_ref().map(|common| common.since.clone()),
        common_left: common.and_then(|common| common.left),
    };
    if arguments.json { output.json(&report) } else { text(&report, output) }
}

fn service(host: &Host, service: String, stack: &Stack, change: Option<&Change>) -> Service {
    let has =
        |wanted: Role| stack.entries.iter().find(|entry| entry.module().is_some() && module::role(entry) == wanted);
    let ours = has(Role::Countersign);
    let change = change.map(|change| kept(host, change));
    let switched_on_by = match (ours, &change) {
        (None, _) => None,
        (Some(_), Some(_)) => Some("tool"),
        (Some(entry), None) if entry.place.file == Path::new(common::FILE) => Some("common"),
        (Some(_), None) => Some("hand"),
    };
    Service {
        service,
        asks: ours.is_some(),
        first_factor: has(Role::Factor).is_some(),
        switched_on_by,
        state: change.as_ref().map(|kept| kept.state),
        since: change.as_ref().map(|kept| kept.since.clone()),
        left: change.and_then(|kept| kept.left),
    }
}

fn kept(host: &Host, change: &Change) -> Kept {
    let edited = matches!(undo::standing(host, change), Ok(Standing::Edited(_)));
    let state = match (edited, &change.trial) {
        (true, _) => "edited",
        (false, Some(_)) => "trial",
        (false, None) => "kept",
    };
    let left = change.trial.as_ref().map(|trial| trial.until.left().unwrap_or(0));
    Kept { state, since: wording::iso8601(change.at), left }
}

fn text(report: &Report, output: &Output) -> Result<(), Failure> {
    let column = |heading, rank| Column { heading, rank, right: false };
    let columns = vec![column("SERVICE", 0), column("ASKS", 0), column("SWITCHED ON", 0), column("FIRST FACTOR", 1)];
    let row = |service: &Service| {
        let (asks, tone) = if service.asks { ("yes", Tone::Good) } else { ("no", Tone::Plain) };
        let left = if service.switched_on_by == Some("common") { report.common_left } else { service.left };
        let how = match (service.switched_on_by, service.state) {
            (_, Some("edited")) => "by the tool; changed by hand since".to_owned(),
            (Some("hand"), _) => "by hand".to_owned(),
            (Some(by), _) => {
                let by = if by == "tool" { "by the tool" } else { "by common-auth" };
                left.map_or_else(|| by.to_owned(), |left| format!("{by}, taken back in {}", wording::duration(left)))
            }
            (None, _) => "-".to_owned(),
        };
        let first = if service.first_factor { "in the stack" } else { "none in the stack" };
        vec![wording::printable(&service.service).into(), Cell::toned(asks, tone), how.into(), first.into()]
    };
    let rows: Vec<_> = report.services.iter().map(row).collect();
    output.print(&Table::new(columns, output.columns(), output.color()).page(&rows))?;
    let waits =
        report.services.iter().any(|service| service.state == Some("trial")) || report.common_state == Some("trial");
    if waits { output.say("Keep what is on trial, from a second login: sudo countersign pam confirm") } else { Ok(()) }
}
