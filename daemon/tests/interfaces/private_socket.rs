//! The private socket, as its peers find it: whatever one of them does, the others' logins go on.

use std::path::PathBuf;
use std::time::Duration;

use daemon::bus::private;
use daemon::bus::transport::Unanswered;
use dbus_api::{Action, Origin, VerifierProxy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use zbus::connection::Builder;

use crate::scene::{OWNER, Scene, code};

struct Served {
    scene: Scene,
    path: PathBuf,
    _folder: tempfile::TempDir,
}

fn serve() -> Served {
    let scene = Scene::new("fail_delay = \"0s\"");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("verifier.sock");
    let listener = private::listen(&path).unwrap();
    tokio::spawn(private::serve(listener, scene.service.clone(), 1024, Unanswered::default()));
    Served { scene, path, _folder: folder }
}

impl Served {
    async fn connect(&self) -> zbus::Connection {
        let address = format!("unix:path={}", self.path.display());
        Builder::address(address.as_str()).p2p().build().await.unwrap()
    }

    /// A real login over the socket.
    async fn assert_others_get_in(&self) {
        let offer = self.scene.enrol(OWNER.0).await;
        let connection = self.connect().await;
        let verifier = VerifierProxy::new(&connection).await.unwrap();
        let (id, _) = verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
        let step = verifier.respond(id, &code(&offer, 0)).await.unwrap();
        assert_eq!(step.action(), Some(Action::Granted));
    }

    async fn raw(&self) -> UnixStream {
        UnixStream::connect(&self.path).await.unwrap()
    }

    /// A raw peer that has done its handshake.
    async fn authenticated(&self) -> UnixStream {
        let mut peer = self.raw().await;
        let uid: String = nix::unistd::geteuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        peer.write_all(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes()).await.unwrap();
        let mut ok = [0; 37];
        peer.read_exact(&mut ok).await.unwrap();
        assert!(ok.starts_with(b"OK "), "{ok:?}");
        peer.write_all(b"BEGIN\r\n").await.unwrap();
        peer
    }
}

/// Waits until the daemon has ended the connection.
async fn assert_ended(mut peer: UnixStream) {
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(Duration::from_secs(10), peer.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the connection is still open");
}

#[tokio::test]
async fn a_login_works_over_the_private_socket() {
    serve().assert_others_get_in().await;
}

#[tokio::test]
async fn only_verifier_is_served_there() {
    let served = serve();
    let connection = served.connect().await;
    let admin = dbus_api::AdminProxy::new(&connection).await.unwrap();
    assert!(matches!(admin.unlock("root").await, Err(dbus_api::Error::ZBus(_))));
}

#[tokio::test]
async fn a_line_feed_or_garbage_instead_of_a_handshake_ends_that_connection_alone() {
    let served = serve();
    for garbage in [&b"\n"[..], b"\r\n", b"\0\r\n\r\n\n", &[0xff; 2000], b"GET / HTTP/1.0\r\n\r\n", b"\0BEGIN\r\n"] {
        let mut peer = served.raw().await;
        peer.write_all(garbage).await.unwrap();
        peer.shutdown().await.unwrap();
        assert_ended(peer).await;
    }
    served.assert_others_get_in().await;
}

#[tokio::test]
async fn a_silent_connection_is_ended_before_its_handshake_takes_too_long() {
    let served = serve();
    let silent = served.raw().await;
    served.assert_others_get_in().await;
    assert_ended(silent).await;
}

#[tokio::test]
async fn a_giant_header_ends_its_connection_before_anything_is_allocated_for_it() {
    let served = serve();
    for claimed in [64 * 1024_u32, 120 << 20, u32::MAX] {
        let mut peer = served.authenticated().await;
        let mut header = vec![b'l', 1, 0, 1];
        header.extend_from_slice(&claimed.to_le_bytes());
        header.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0]);
        peer.write_all(&header).await.unwrap();
        assert_ended(peer).await;
    }
    served.assert_others_get_in().await;
}

#[tokio::test]
async fn a_forged_sender_changes_nothing() {
    let served = serve();
    let offer = served.scene.enrol(OWNER.0).await;
    let (first, second) = (served.connect().await, served.connect().await);
    let verifier = VerifierProxy::new(&first).await.unwrap();
    let (id, _) = verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
    let forged = zbus::Message::method_call(dbus_api::OBJECT_PATH, "Respond")
        .interface(dbus_api::VERIFIER_INTERFACE)
        .sender(":1.1")
        .build(&(id, code(&offer, 0)))
        .unwrap();
    let mut replies = zbus::MessageStream::from(&second);
    second.send(&forged).await.unwrap();
    let reply = std::future::poll_fn(|context| {
        use zbus::export::futures_core::Stream;
        std::pin::Pin::new(&mut replies).poll_next(context)
    });
    let reply = reply.await.unwrap().unwrap();
    assert_eq!(reply.header().error_name().unwrap().as_str(), "org.countersign.Countersign1.Error.NotFound");
    let granted = verifier.respond(id, &code(&offer, 0)).await.unwrap();
    assert_eq!(granted.action(), Some(Action::Granted));
}

#[tokio::test]
async fn ten_thousand_abandoned_verifications_leave_nothing_behind() {
    let served = serve();
    for _ in 0..10 {
        let connection = served.connect().await;
        let verifier = VerifierProxy::new(&connection).await.unwrap();
        for _ in 0..1000 {
            verifier.begin(OWNER.0, &Origin::default()).await.unwrap();
        }
    }
    served.assert_others_get_in().await;
}
