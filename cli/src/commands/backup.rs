//! `countersign backup`: the daemon hands the store and its key out through a pipe, and the tool encrypts them into a file.
//! Nothing of it lies anywhere in clear.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Read as _, Write as _},
    os::{fd::OwnedFd, unix::fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use dbus_api::Error;
use nix::{
    errno::Errno,
    fcntl::{AT_FDCWD, OFlag, RenameFlags, renameat2},
    unistd::{geteuid, pipe2},
};
use zeroize::Zeroizing;

use crate::{
    age::Writer,
    cli::Backup,
    client::{self, Client},
    failure::Failure,
    output::Output,
    passphrase,
    prompt::Interrupts,
    wording::{many, printable},
};

/// Bytes that are read at once.
const BLOCK: usize = 64 * 1024;

/// Runs the command.
///
/// # Errors
/// Not root, a file that is there, what the daemon refuses, a file that cannot be written.
pub(super) async fn run(arguments: &Backup, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Err(Failure::refused("only root can make a backup").with_help("Run: sudo countersign backup FILE"));
    }
    if fs::symlink_metadata(&arguments.file).is_ok() {
        return Err(taken(&arguments.file));
    }
    let client = Client::connect_patiently(bus, client::LONG_PATIENCE).await?;
    let admin = client.admin().await?;
    let passphrase = passphrase::choose(arguments.passphrase_fd, output).await?;
    let mut interrupts = Interrupts::listen()?;
    let partial = Partial::of(&arguments.file)?;
    let (reader, writer) = pipe2(OFlag::O_CLOEXEC).map_err(|error| Failure::refused(format!("no pipe: {error}")))?;
    let file = partial.file()?;
    let sealing = tokio::task::spawn_blocking(move || seal(reader, file, &passphrase));
    let handing_out = async {
        let handed = admin.backup((&writer).into()).await;
        // With the daemon's own end closed as well, the reader sees the end.
        drop(writer);
        let sealed = sealing.await.map_err(io::Error::from).flatten();
        (handed, sealed)
    };
    let (handed, sealed) = tokio::select! {
        ended = handing_out => ended,
        () = interrupts.wait() => return Err(Failure::refused("it was broken off; nothing was written")),
    };
    // A disk that is full makes the daemon fail too: the disk is what is to be told.
    sealed.map_err(|error| cannot_write(&arguments.file, &error))?;
    let accounts = handed.map_err(|error| match error {
        Error::Busy(text) => {
            Failure::refused(printable(&text)).with_help("Nothing was written. Try again in a minute.")
        }
        error => client::explain(&error, "", "backup FILE"),
    })?;
    partial.keep(&arguments.file)?;
    let name = printable(&arguments.file.display().to_string());
    output.say(&format!("{} and the master key are in {name}.", many(accounts, "account")))?;
    output.say("Keep the passphrase in another place than the file, and try both before you need them.")
}

/// Encrypts what comes through the pipe until it ends.
fn seal(pipe: OwnedFd, file: File, passphrase: &str) -> io::Result<()> {
    let mut pipe = File::from(pipe);
    let mut writer = Writer::begin(BufWriter::new(file), passphrase)?;
    let mut block = Zeroizing::new(vec![0; BLOCK]);
    loop {
        let length = pipe.read(&mut block)?;
        let Some(part) = block.get(..length).filter(|part| !part.is_empty()) else { break };
        writer.write_all(part)?;
    }
    let file = writer.finish()?.into_inner().map_err(|error| error.into_error())?;
    file.sync_all()
}

/// The file under another name until it is whole; removed where it is not kept.
struct Partial(PathBuf);

impl Partial {
    fn of(file: &Path) -> Result<Self, Failure> {
        let name = file.file_name().ok_or_else(|| Failure::usage("the backup needs the name of a file"))?;
        let mut name = name.to_owned();
        name.push(".partial");
        Ok(Self(file.with_file_name(name)))
    }

    fn file(&self) -> Result<File, Failure> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(cannot_write(&self.0, &error)),
            _ => {}
        }
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.0);
        opened.map_err(|error| cannot_write(&self.0, &error))
    }

    /// Gives it its name, which nobody else's file has taken meanwhile, and makes that durable.
    fn keep(self, file: &Path) -> Result<(), Failure> {
        let named = match renameat2(AT_FDCWD, &self.0, AT_FDCWD, file, RenameFlags::RENAME_NOREPLACE) {
            // NFS and others cannot do that (rename(2)), but link; the other name goes with `self`.
            Err(Errno::EINVAL) => fs::hard_link(&self.0, file),
            renamed => renamed.map_err(io::Error::from),
        };
        match named {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(taken(file)),
            named => named.map_err(|error| cannot_write(file, &error))?,
        }
        let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| cannot_write(file, &error))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // After it was kept there is none; else what is left is encrypted, and of no use.
        let _ = fs::remove_file(&self.0);
    }
}

fn taken(file: &Path) -> Failure {
    let name = printable(&file.display().to_string());
    Failure::refused(format!("{name} exists already")).with_help("A backup replaces no file: choose another name.")
}

fn cannot_write(file: &Path, error: &io::Error) -> Failure {
    let name = printable(&file.display().to_string());
    Failure::refused(format!("{name} cannot be written: {error}")).with_help("There is no backup.")
}
