//! The database as it is at one instant, to be copied while decisions go on.
//!
//! The write-ahead log is written into the database's file and emptied; from then on commits go into the log alone, so
//! that the file stands still and whoever likes may read it. Nothing waits but for that first step.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use tokio::sync::oneshot;
use zeroize::Zeroizing;

use super::{DATABASE, Store, StoreError, Urgency};

/// The number of a stillness, and the master key that the file is sealed under.
pub(super) type Begun = (u64, Zeroizing<[u8; 32]>);

/// What is asked of the store's thread between two batches.
pub(super) enum Stillness {
    /// Let the file stand still; answers by a number for [`Stillness::End`], and by the master key.
    Begin(oneshot::Sender<Result<Begun, StoreError>>),
    /// Let it move again; answers whether it stood still since [`Stillness::Begin`] gave this number.
    End(u64, Option<oneshot::Sender<bool>>),
}

/// The database's file while it stands still. It moves again when this is dropped.
pub struct Still {
    store: Store,
    number: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The master key that it is sealed under.
    pub key: Zeroizing<[u8; 32]>,
}

impl Store {
    /// Lets the database's file stand still. One at a time: a second one ends the first.
    ///
    /// # Errors
    /// The master key is being rotated; the store does not work.
    pub async fn still(&self) -> Result<Still, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ask("", Urgency::Login, move |session| {
            // A rotation that begins in this very batch opens the store anew, and so ends the stillness.
            if session.previous().is_some() {
                return Err(StoreError::Rotating.into());
            }
            session.after_commit(Stillness::Begin(reply));
            Ok(())
        })
        .await?;
        let (number, key) = answer.await.map_err(|_| StoreError::Closed)??;
        let mut still = Still { store: self.clone(), number, size: 0, key };
        let size = still.file().and_then(|file| Ok(file.metadata()?.len()));
        still.size = size.map_err(|error| StoreError::Unavailable(format!("{DATABASE}: {error}")))?;
        Ok(still)
    }
}

impl Still {
    /// Reads what stands at `offset`.
    ///
    /// # Errors
    /// The file cannot be read, or ends before.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.file()?.read_exact_at(buffer, offset)
    }

    /// Lets the file move again. Tells whether it stood still all the while: what was read then belongs together.
    ///
    /// # Errors
    /// The store does not work.
    pub async fn end(self) -> Result<bool, StoreError> {
        let (reply, answer) = oneshot::channel();
        let number = self.number;
        let end = self.store.ask("", Urgency::Login, move |session| {
            session.after_commit(Stillness::End(number, Some(reply)));
            Ok(())
        });
        end.await?;
        answer.await.map_err(|_| StoreError::Closed)
    }

    /// Opened once for as long as the store is open: closing it would drop the locks that SQLite holds on the file
    /// (fcntl(2): they go with any descriptor of the process that is closed).
    fn file(&self) -> io::Result<&File> {
        let handle = &self.store.handle;
        if let Some(file) = handle.file.get() {
            return Ok(file);
        }
        let file = File::open(handle.state.join(DATABASE))?;
        // Should another one have been quicker, this one is kept open beside it.
        if let Err(second) = handle.file.set(file) {
            std::mem::forget(second);
        }
        handle.file.get().ok_or_else(|| io::Error::other("no descriptor"))
    }
}

impl Drop for Still {
    fn drop(&mut self) {
        let number = self.number;
        self.store.tell(move |session| session.after_commit(Stillness::End(number, None)));
    }
}
