//! The packages that `make deb` and `make rpm` built beside the stage.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use crate::programs;

/// The only package in `target/packages` whose name begins and ends like this, such as `countersign_` and `.deb`.
///
/// # Errors
/// It was not built, or there are others.
pub fn package(begin: &str, end: &str) -> Result<PathBuf> {
    let directory = programs::target_directory()?.join("packages");
    let entries = fs::read_dir(&directory)
        .with_context(|| format!("{} is missing: run `make deb rpm` first", directory.display()))?;
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with(begin) && name.ends_with(end) {
            found.push(path);
        }
    }
    match found.pop() {
        Some(package) if found.is_empty() => Ok(package),
        _ => bail!("{} holds not one {begin}*{end}: run `make deb rpm` first", directory.display()),
    }
}

/// Builds the Debian package again from the same stage, with another version where one is given.
///
/// # Errors
/// The build failed; the error holds what it said.
pub fn build_debian(directory: &Path, version: Option<&str>) -> Result<PathBuf> {
    let staged = programs::staged("countersignd")?;
    let mut command = Command::new(programs::shipped("packaging/deb/build"));
    command.arg(staged.parent().context("a file has a directory")?).arg(directory);
    if let Some(version) = version {
        command.env("COUNTERSIGN_DEB_VERSION", version);
    }
    let output = command.output().context("packaging/deb/build")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}
