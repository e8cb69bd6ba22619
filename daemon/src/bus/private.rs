//! The private D-Bus socket: `Verifier` alone, peer to peer, for whoever can connect.

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use zbus::{Guid, OwnedGuid};

use super::peer::Peer;
use super::transport::{Transport, Unanswered};
use crate::caller::{Caller, ConnectionKey};
use crate::service::{Service, lock};

/// How long a peer may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Connections that one uid other than root may have.
const PER_UID: usize = 16;
/// Descriptors kept free for root's connections and the daemon's own files.
const RESERVED: usize = 128;

/// Takes the listening socket that the service manager hands over, or makes it at `path`. Everybody may
/// connect: who may do what is decided by the uid of the peer.
///
/// # Errors
/// The path is taken by something else, or cannot be made.
pub fn listen(path: &Path) -> io::Result<StdListener> {
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "the path exists and is no socket"));
        }
        // The lock on the state directory has shown that no other daemon serves it.
        std::fs::remove_file(path)?;
    }
    let listener = StdListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// The accepted connections.
struct Peers {
    service: Service,
    guid: OwnedGuid,
    next: AtomicU64,
    /// How many connections each uid has.
    open: Mutex<HashMap<u32, usize>>,
    /// How many connections others than root may have in all.
    most: usize,
    unanswered: Unanswered,
}

/// Accepts connections for as long as the daemon runs. Of `descriptors` some are kept for root and the daemon's
/// own files; calls that wait for an answer are counted in `unanswered`.
///
/// # Errors
/// The listening socket cannot be used at all.
pub async fn serve(
    listener: StdListener,
    service: Service,
    descriptors: u64,
    unanswered: Unanswered,
) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let most = usize::try_from(descriptors).unwrap_or(usize::MAX).saturating_sub(RESERVED);
    let peers = Arc::new(Peers {
        service,
        guid: Guid::generate().into(),
        next: AtomicU64::new(1),
        open: Mutex::default(),
        most,
        unanswered,
    });
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let peers = Arc::clone(&peers);
                tokio::spawn(async move { peers.welcome(stream).await });
            }
            // No descriptor is left, or the peer is gone already: others get their turn first.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

impl Peers {
    /// Serves one peer until it goes. Whatever is wrong with it concerns nobody else.
    async fn welcome(&self, stream: UnixStream) {
        let Ok(credentials) = stream.peer_cred() else { return };
        let key = ConnectionKey::Private(self.next.fetch_add(1, Ordering::Relaxed));
        let Ok(caller) = Caller::new(credentials.uid(), key.clone()) else { return };
        if !self.admit(caller.uid) {
            return;
        }
        let uid = caller.uid;
        let greeting = Transport::handshake(stream, uid, self.guid.as_str());
        if let Ok(Ok(transport)) = tokio::time::timeout(HANDSHAKE, greeting).await {
            // However a peer goes, what it began ends with it.
            let _ = Peer::new(self.service.clone(), caller).serve(transport, &self.unanswered).await;
            self.service.connection_ended(&key).await;
        }
        self.release(uid);
    }

    /// Whether this uid may have one more connection; root always may.
    fn admit(&self, uid: u32) -> bool {
        let mut open = lock(&self.open);
        let others: usize = open.iter().filter(|(uid, _)| **uid != 0).map(|(_, count)| count).sum();
        let own = open.entry(uid).or_default();
        if uid != 0 && (*own >= PER_UID || others >= self.most) {
            return false;
        }
        *own += 1;
        true
    }

    fn release(&self, uid: u32) {
        let mut open = lock(&self.open);
        if let Some(own) = open.get_mut(&uid) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                open.remove(&uid);
            }
        }
    }
}
