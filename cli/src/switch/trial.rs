//! One real login before anything is changed: the PAM files as they would be are laid into a folder of their own, and a
//! process of its own runs libpam there, with the questions on this terminal. The service keeps its name, so that policy
//! and modules decide as they will; nothing in /etc is touched, and a kill leaves nothing there.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
};

use nix::sys::termios;

use super::ledger::Changed;
use crate::{
    failure::Failure,
    host::{
        Host,
        pam::{
            line,
            stack::{self, DIRECTORIES},
        },
    },
    prompt::Interrupts,
};

/// PAM files in a folder of their own. It is removed with this value.
pub(crate) struct Stage {
    folder: PathBuf,
}

impl Stage {
    /// Lays out the file of a service with all that it includes, as they would be after `changes`.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub(crate) fn make(host: &Host, service: &str, changes: &[Changed]) -> Result<Self, Failure> {
        let host = changes.iter().fold(host.clone(), |host, changed| host.imagined(&changed.path, &changed.text()));
        let make = || -> io::Result<Self> {
            let folder = nix::unistd::mkdtemp(&std::env::temp_dir().join("countersign-pam.XXXXXX"))?;
            let stage = Self { folder };
            let mut copier = Copier { host: &host, folder: &stage.folder, copied: BTreeMap::new() };
            copier.copy(service, service)?;
            // libpam reads it first, and says so in the log where there is none.
            let _ = copier.copy("other", "other");
            Ok(stage)
        };
        make().map_err(|error| Failure::refused(format!("the PAM files of {service} cannot be laid out: {error}")))
    }

    /// Logs `user` in once.
    ///
    /// # Errors
    /// The process cannot be started.
    pub(crate) fn play(&self, service: &str, user: &str) -> Result<ExitStatus, Failure> {
        // Ctrl-C ends that process, and this one has a terminal to put right.
        let _interrupts = Interrupts::listen()?;
        let run = || -> io::Result<ExitStatus> {
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["pam", "try", service, user, "--folder"]).arg(&self.folder);
            // Modules trust the environment of a program of root's; sshd and sudo give them a clean one.
            command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C.UTF-8");
            let terminal = termios::tcgetattr(io::stdin()).ok();
            let status = command.status();
            if let Some(before) = terminal {
                let _ = termios::tcsetattr(io::stdin(), termios::SetArg::TCSADRAIN, &before);
            }
            status
        };
        run().map_err(|error| Failure::refused(format!("the login cannot be tried: {error}")))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What is left in a folder for temporary files harms nobody.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

struct Copier<'a> {
    host: &'a Host,
    folder: &'a Path,
    /// Under what name each file was copied.
    copied: BTreeMap<String, PathBuf>,
}

impl Copier<'_> {
    /// Copies the file that libpam would take for `name`, and what it includes, by paths into the copy: libpam looks for
    /// names in /etc/pam.d whatever folder it was given.
    fn copy(&mut self, name: &str, into: &str) -> io::Result<PathBuf> {
        if let Some(known) = self.copied.get(name) {
            return Ok(known.clone());
        }
        let target = self.folder.join(into);
        self.copied.insert(name.to_owned(), target.clone());
        let text = self.text(name)?;
        let lines =
            line::parse(&text).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it ends within a line"))?;
        let mut copy = String::new();
        for line in &lines {
            let words: Vec<&str> = line.words.iter().map(String::as_str).collect();
            match words.as_slice() {
                [first, file, ..] if first.eq_ignore_ascii_case("@include") => {
                    copy.push_str(&format!("@include {}\n", self.included(file)));
                }
                [kind, control, file, ..]
                    if control.eq_ignore_ascii_case("include") || control.eq_ignore_ascii_case("substack") =>
                {
                    copy.push_str(&format!("{kind} {control} {}\n", self.included(file)));
                }
                // Root may do everything there; whether somebody else gets in is what is tried.
                [_, "sufficient", module, ..] if module.ends_with("pam_rootok.so") => {}
                words => copy.push_str(&(words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ") + "\n")),
            }
        }
        fs::write(&target, copy)?;
        Ok(target)
    }

    /// The path of the copy of an included file; its name where it cannot be read, which libpam refuses as it will.
    fn included(&mut self, name: &str) -> String {
        let into = format!("included-{}", self.copied.len());
        self.copy(name, &into).map_or_else(|_| name.to_owned(), |path| path.display().to_string())
    }

    fn text(&self, name: &str) -> io::Result<String> {
        if name.starts_with('/') {
            return self.host.read(Path::new(name));
        }
        let paths = DIRECTORIES.iter().map(|directory| Path::new(directory).join(name));
        let mut missing = io::Error::from(io::ErrorKind::NotFound);
        for path in paths {
            match self.host.read(&path) {
                Ok(text) => return Ok(text),
                Err(error) => missing = error,
            }
        }
        Err(missing)
    }
}

/// A word as it stands in a PAM file: in brackets where it holds blanks, or is a control of pairs.
fn quoted(word: &str) -> String {
    if word.contains([' ', '\t', '[', ']']) || word.is_empty() || word.contains('=') && !word.contains('/') {
        format!("[{}]", word.replace(']', "\\]"))
    } else {
        word.to_owned()
    }
}

/// The services of a host that a file is part of, in the order of their names.
pub(crate) fn services_with(host: &Host, file: &Path) -> Vec<String> {
    let mut services = stack::services(host);
    services.retain(|service| {
        let read = stack::Stack::read(host, service, stack::Kind::Auth);
        !service.starts_with("common-")
            && read.is_ok_and(|stack| !stack.borrowed && stack.files.iter().any(|read| read == file))
    });
    services
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;
    use crate::host::pam::stack::{Kind, Stack};

    #[test]
    fn the_copy_is_the_stack_as_it_would_be() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("etc/pam.d");
        fs::create_dir_all(&directory).unwrap();
        let common = "auth [success=1 default=ignore] pam_unix.so nullok\nauth requisite pam_deny.so\n";
        fs::write(directory.join("common-auth"), common).unwrap();
        fs::write(directory.join("deep"), "auth optional pam_exec.so type=auth [/bin/a b=c]\n").unwrap();
        let sudo = "#%PAM-1.0\nauth substack /etc/pam.d/deep\n@include common-auth\naccount include common-auth\n";
        fs::write(directory.join("sudo"), sudo).unwrap();
        let host = Host::below(root.path(), |_, _| Err(io::ErrorKind::NotFound.into()));
        let path = PathBuf::from("/etc/pam.d/sudo");
        let after = format!("{sudo}auth requisite pam_countersign.so\nauth required pam_permit.so\n");
        let changed = Changed { path: path.clone(), before: None, after: Some(after.clone().into_bytes()) };
        let stage = Stage::make(&host, "sudo", &[changed]).unwrap();

        let entries = |host: &Host, service: &str| -> Vec<_> {
            let stack = Stack::read(host, service, Kind::Auth).unwrap();
            stack.entries.into_iter().map(|entry| (entry.runs, entry.control, entry.level)).collect()
        };
        let wanted = entries(&host.imagined(&path, &after), "sudo");
        let here = Host::below(Path::new("/"), |_, _| Err(io::ErrorKind::NotFound.into()));
        let laid_out = entries(&here, &stage.folder.join("sudo").display().to_string());
        assert_eq!(laid_out, wanted);
        let folder = stage.folder.clone();
        drop(stage);
        assert!(!folder.exists());
    }

    #[test]
    fn root_is_not_exempt_in_the_copy() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("etc/pam.d");
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("su"), "auth sufficient pam_rootok.so\nauth required pam_unix.so\n").unwrap();
        let host = Host::below(root.path(), |_, _| Err(io::ErrorKind::NotFound.into()));
        let stage = Stage::make(&host, "su", &[]).unwrap();
        assert_eq!(fs::read_to_string(stage.folder.join("su")).unwrap(), "auth required pam_unix.so\n");
    }
}
