//! The story of a backup: root hands over a pipe, and gets through it the master key and the store as it is at one
//! instant, while logins go on. What goes through the pipe is not encrypted beyond the store's own sealing: it stays
//! between the daemon and root's own process, which encrypts it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::time::Duration;

use dbus_api::{BACKUP_HEADER, Error};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::audit::{Event, Kind, Outcome};
use crate::authorizer::Action;
use crate::caller::Caller;
use crate::clock;
use crate::service::{Service, unavailable};
use crate::store::StoreError;
use crate::store::still::Still;

/// How long the pipe may take nothing before the backup is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes that are read at once.
const BLOCK: usize = 64 * 1024;

impl Service {
    /// Writes the master key and the store into `pipe`. Tells how many accounts are kept.
    ///
    /// # Errors
    /// `AccessDenied`; `Busy` where a backup or a rotation of the key is under way; `InvalidArgument` where it is no pipe;
    /// `Unavailable` where it broke off: what came through is worth nothing.
    pub async fn backup(&self, caller: &Caller, pipe: OwnedFd) -> Result<u64, Error> {
        self.admit_administrator(caller, Action::Backup).await?;
        let pipe = accept(pipe).map_err(|error| Error::InvalidArgument(error.to_string()))?;
        let Ok(_alone) = self.backups().try_lock() else {
            return Err(Error::Busy("a backup is being made already".into()));
        };
        if self.store().key_in_use().previous.is_some() {
            return Err(Error::Busy(StoreError::Rotating.to_string()));
        }
        // It is told before anything leaves, and so stands in the backup itself as well.
        let event = |outcome, reason: &str| Event {
            caller_uid: Some(caller.uid),
            reason: Some(reason.to_owned()),
            ..Event::new(clock::wall(), Kind::Backup, outcome)
        };
        let told = vec![event(Outcome::Granted, "the store and the master key are handed out to root")];
        self.store().record(told).await.map_err(|error| unavailable(&error))?;
        let accounts = self.store().count().await.map_err(|error| unavailable(&error))?;
        let still = match self.store().still().await {
            Ok(still) => still,
            Err(error) => {
                self.record(event(Outcome::Refused, &format!("it broke off: {error}"))).await;
                return Err(match error {
                    StoreError::Rotating => Error::Busy(error.to_string()),
                    error => unavailable(&error),
                });
            }
        };
        let copied = tokio::task::spawn_blocking(move || (copy(&still, pipe), still)).await;
        let ended = match copied {
            Ok((Ok(()), still)) => still.end().await.map_err(|error| error.to_string()),
            Ok((Err(error), _)) => Err(error.to_string()),
            Err(_) => Ok(false),
        };
        match ended {
            Ok(true) => Ok(accounts),
            Ok(false) => {
                self.broke_off(event(Outcome::Refused, "it broke off: the store was opened anew meanwhile")).await
            }
            Err(why) => self.broke_off(event(Outcome::Refused, &format!("it broke off: {why}"))).await,
        }
    }

    async fn broke_off(&self, event: Event) -> Result<u64, Error> {
        let text = format!("the backup is worth nothing: {}", event.reason.as_deref().unwrap_or_default());
        self.record(event).await;
        Err(Error::Unavailable(text))
    }
}

/// Takes a pipe and nothing else, so that nobody has the daemon write into a file or a socket.
fn accept(pipe: OwnedFd) -> io::Result<File> {
    let pipe = File::from(pipe);
    if !pipe.metadata()?.file_type().is_fifo() {
        return Err(io::Error::other("a backup is written into a pipe"));
    }
    let flags = OFlag::from_bits_retain(fcntl(&pipe, FcntlArg::F_GETFL)?);
    fcntl(&pipe, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(pipe)
}

fn copy(still: &Still, pipe: File) -> io::Result<()> {
    let mut pipe = Patient(pipe);
    pipe.write_all(BACKUP_HEADER)?;
    pipe.write_all(still.key.as_slice())?;
    pipe.write_all(&still.size.to_be_bytes())?;
    let mut block = vec![0; BLOCK];
    let mut offset = 0;
    while offset < still.size {
        let length = usize::try_from(still.size - offset).unwrap_or(BLOCK).min(BLOCK);
        let Some(part) = block.get_mut(..length) else { break };
        still.read_at(part, offset)?;
        pipe.write_all(part)?;
        offset += length as u64;
    }
    Ok(())
}

/// A pipe that is waited for, but not for ever.
struct Patient(File);

impl Write for Patient {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return written,
            }
            let timeout = PollTimeout::try_from(PATIENCE).unwrap_or(PollTimeout::MAX);
            if poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)], timeout)? == 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads the pipe"));
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
