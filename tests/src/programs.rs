//! Where the built programs are: the staged ones that are shipped, and this crate's own drivers.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// A program or module that `make build` staged, such as `countersignd`.
///
/// # Errors
/// It was not staged.
pub fn staged(name: &str) -> Result<PathBuf> {
    let directory = match std::env::var_os("COUNTERSIGN_STAGE") {
        Some(directory) => PathBuf::from(directory),
        None => target_directory()?.join("stage"),
    };
    let path = directory.join(name);
    if !path.is_file() {
        bail!("{} is missing: run `make build` first", path.display());
    }
    Ok(path)
}

/// One of this crate's own programs.
///
/// # Errors
/// It was not built.
pub fn driver(name: &str) -> Result<PathBuf> {
    let executable = std::env::current_exe()?;
    let mut directory = executable.parent().context("the running program has no directory")?;
    if directory.ends_with("deps") {
        directory = directory.parent().context("the running program has no directory")?;
    }
    let path = directory.join(name);
    if !path.is_file() {
        bail!("{} is missing: cargo builds it together with the scenarios", path.display());
    }
    Ok(path)
}

/// A file of the checkout.
#[must_use]
pub fn shipped(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Where PAM looks for modules on this machine.
pub(crate) fn module_directory() -> String {
    format!("/usr/lib/{}-linux-gnu/security", std::env::consts::ARCH)
}

/// Cargo's target directory: the stage lies in it, or the running program, at `release/` or `release/deps/`.
///
/// # Errors
/// They lie elsewhere.
pub fn target_directory() -> Result<PathBuf> {
    if let Some(stage) = std::env::var_os("COUNTERSIGN_STAGE") {
        return Ok(Path::new(&stage).parent().context("the stage has no directory above it")?.to_path_buf());
    }
    let executable = std::env::current_exe()?;
    let found = executable.ancestors().find(|path| path.join("CACHEDIR.TAG").is_file());
    Ok(found.context("the running program lies in no target directory: set COUNTERSIGN_STAGE")?.to_path_buf())
}
