//! The private D-Bus socket: `Verifier` alone, peer to peer, for whoever can connect.

use std::collections::HashMap;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::socket::{self, Backlog, getsockopt, sockopt::PeerCredentials};
use tokio::net::{UnixListener, UnixStream};
use zbus::{Guid, OwnedGuid};

use super::peer::{Peer, Turn};
use super::transport::{Transport, Unanswered};
use crate::caller::{Caller, ConnectionKey};
use crate::service::{Service, lock};

/// How long a peer may take for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(3);
/// Connections that wait to be taken; whoever comes then waits in connect(2).
const QUEUE: i32 = 1024;
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
    /// What each uid has.
    open: Mutex<HashMap<u32, Share>>,
    /// How many connections others than root may have in all.
    most: usize,
    unanswered: Unanswered,
}

/// What the connections of one uid have together.
#[derive(Default)]
struct Share {
    connections: usize,
    turn: Turn,
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
    socket::listen(&listener, Backlog::new(QUEUE)?)?;
    let queue = listener.try_clone()?;
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
        let taken = match listener.accept().await {
            Ok((stream, _)) => {
                if let Some((caller, turn)) = peers.receive(&stream) {
                    peers.serve(stream, caller, turn);
                }
                peers.receive_all(&queue)
            }
            Err(error) => Err(error),
        };
        // No descriptor is left, or the peer is gone already: others get their turn first.
        if taken.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Peers {
    /// Takes everybody who waits by now. Whoever floods the queue is turned away before anything is made for a connection, so
    /// that each costs those behind it few microseconds.
    fn receive_all(self: &Arc<Self>, queue: &StdListener) -> io::Result<()> {
        for _ in 0..QUEUE {
            let stream = match queue.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            };
            if let Some((caller, turn)) = self.receive(&stream) {
                let stream = stream.set_nonblocking(true).and_then(|()| UnixStream::from_std(stream));
                match stream {
                    Ok(stream) => self.serve(stream, caller, turn),
                    Err(error) => {
                        self.release(caller.uid);
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Who the peer is, where it may have one more connection.
    fn receive(&self, stream: &impl AsFd) -> Option<(Caller, Turn)> {
        let credentials = getsockopt(stream, PeerCredentials).ok()?;
        let key = ConnectionKey::Private(self.next.fetch_add(1, Ordering::Relaxed));
        let caller = Caller::new(credentials.uid(), key).ok()?;
        let turn = self.admit(caller.uid)?;
        Some((caller, turn))
    }

    /// Serves one peer until it goes. Whatever is wrong with it concerns nobody else.
    fn serve(self: &Arc<Self>, stream: UnixStream, caller: Caller, turn: Turn) {
        let peers = Arc::clone(self);
        tokio::spawn(async move {
            peers.converse(stream, &caller, turn).await;
            peers.release(caller.uid);
        });
    }

    async fn converse(&self, stream: UnixStream, caller: &Caller, turn: Turn) {
        let greeting = Transport::handshake(stream, caller.uid, self.guid.as_str());
        if let Ok(Ok(transport)) = tokio::time::timeout(HANDSHAKE, greeting).await {
            // However a peer goes, what it began ends with it.
            let _ = Peer::new(self.service.clone(), caller.clone(), turn).serve(transport, &self.unanswered).await;
            self.service.connection_ended(&caller.connection).await;
        }
    }

    /// One more connection of this uid, where it may have one; root always may.
    fn admit(&self, uid: u32) -> Option<Turn> {
        let mut open = lock(&self.open);
        if uid != 0 {
            let others: usize = open.iter().filter(|(uid, _)| **uid != 0).map(|(_, share)| share.connections).sum();
            let own = open.get(&uid).map_or(0, |share| share.connections);
            if own >= PER_UID || others >= self.most {
                return None;
            }
        }
        let own = open.entry(uid).or_default();
        own.connections += 1;
        Some(own.turn.clone())
    }

    fn release(&self, uid: u32) {
        let mut open = lock(&self.open);
        if let Some(own) = open.get_mut(&uid) {
            own.connections = own.connections.saturating_sub(1);
            if own.connections == 0 {
                open.remove(&uid);
            }
        }
    }
}
