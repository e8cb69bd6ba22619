//! `countersign config`: whether a configuration is right, by the daemon's program, and what is in force, by the daemon
//! that runs. Nothing is parsed here: docs/decisions/0008 says why.

use std::{
    path::Path,
    process::{Command, Stdio},
};

use dbus_api::Setting;
use nix::unistd::{getegid, geteuid, getgid, getuid};
use serde::Serialize;
use serde_json::Value;

use crate::{
    cli::{ConfigCheck, ConfigShow},
    client,
    failure::Failure,
    output::Output,
    table::{Column, Table},
    wording::printable,
};

/// What `config check --json` prints.
#[derive(Serialize)]
struct ReportedCheck {
    ok: bool,
    error: Option<String>,
    warnings: Vec<String>,
}

/// One setting as `config show --json` prints it.
#[derive(Serialize)]
struct ReportedSetting<'a> {
    key: &'a str,
    value: Value,
    origin: &'a str,
}

/// Runs `config check`.
///
/// # Errors
/// Where the configuration is wrong, or the daemon's program cannot be run.
pub(super) fn check(arguments: &ConfigCheck, output: &Output) -> Result<(), Failure> {
    let elevated = getuid() != geteuid() || getgid() != getegid();
    if arguments.daemon.is_some() && elevated {
        return Err(Failure::usage("--daemon cannot be used by a setuid or setgid program"));
    }
    let daemon = arguments.daemon.as_deref().unwrap_or(Path::new(dbus_api::DAEMON));
    let mut command = Command::new(daemon);
    command.arg("--check-config").env_clear().stdin(Stdio::null());
    if let Some(file) = &arguments.file {
        command.arg("--config").arg(file);
    }
    let cannot_run = |why: &str| {
        Failure::unreachable(format!("{} cannot be run: {why}", printable(&daemon.display().to_string())))
            .with_help("Is the package complete? The daemon's program checks its configuration.")
    };
    let ended = command.output().map_err(|error| cannot_run(&error.to_string()))?;
    let said = String::from_utf8_lossy(&ended.stderr);
    let line = |line: &str| printable(line.trim_start_matches("countersignd: ").trim_start_matches("warning: "));
    let lines: Vec<String> = said.lines().filter(|line| !line.trim().is_empty()).map(line).collect();
    let (error, warnings) = match ended.status.code() {
        Some(0) => (None, lines),
        Some(1) => (Some(lines.join(" ")), Vec::new()),
        _ => return Err(cannot_run(lines.first().map_or("it ended early", String::as_str))),
    };
    if arguments.json {
        let ok = error.is_none();
        output.json(&ReportedCheck { ok, error, warnings })?;
        return if ok { Ok(()) } else { Err(Failure::silent()) };
    }
    match error {
        None if !warnings.is_empty() => {
            output.say("The configuration can be put in force, but some of it was hardly meant:")?;
            warnings.iter().try_for_each(|warning| output.say(&format!("- {warning}")))
        }
        None => output.say("The configuration is right. To put it in force: sudo systemctl reload countersignd"),
        Some(error) => Err(Failure::refused(error)),
    }
}

/// Runs `config show`.
///
/// # Errors
/// What the daemon refuses.
pub(super) async fn show(arguments: &ConfigShow, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let (admin, _agent) = client::administer(bus).await?;
    let settings = admin.settings().await.map_err(|error| client::explain(&error, "", "config show"))?;
    if arguments.json {
        return output.json(&settings.iter().map(report).collect::<Vec<_>>());
    }
    let column = |heading, rank| Column { heading, rank, right: false };
    let columns = vec![column("KEY", 0), column("VALUE", 0), column("FROM", 1)];
    let row = |setting: &Setting| {
        [&setting.key, &setting.value, &setting.origin].map(|text| printable(text).into()).into_iter().collect()
    };
    let rows: Vec<_> = settings.iter().map(row).collect();
    output.print(&Table::new(columns, output.columns(), output.color()).page(&rows))
}

fn report(setting: &Setting) -> ReportedSetting<'_> {
    // The daemon writes values that are TOML and JSON at once.
    let value = serde_json::from_str(&setting.value).unwrap_or_else(|_| Value::String(setting.value.clone()));
    ReportedSetting { key: &setting.key, value, origin: &setting.origin }
}
