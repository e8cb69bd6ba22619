//! Where the built programs are: the staged ones that are shipped, and this crate's own drivers.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, bail, ensure};

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

/// A shared library of one C file of the checkout, compiled once in each run.
///
/// # Errors
/// The C compiler failed.
pub(crate) fn shared_library(source: &str, name: &str) -> Result<PathBuf> {
    static DONE: Mutex<Option<HashMap<String, PathBuf>>> = Mutex::new(None);
    let mut done = DONE.lock().unwrap_or_else(PoisonError::into_inner);
    let done = done.get_or_insert_default();
    if let Some(path) = done.get(name) {
        return Ok(path.clone());
    }
    let path = driver("pam_client")?.with_file_name(name);
    let fresh = path.with_extension(format!("{}", std::process::id()));
    let mut compiler = Command::new("cc");
    compiler.args(["-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC", "-o"]).arg(&fresh);
    let status = compiler.arg(shipped(source)).status().context("cc")?;
    ensure!(status.success(), "{source} does not compile");
    fs::rename(&fresh, &path)?;
    done.insert(name.to_owned(), path.clone());
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
