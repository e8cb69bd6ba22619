//! A daemon that speaks the contract from a script, over a private socket or a bus, and keeps what it was told.

#![allow(unsafe_code, reason = "one system call gives a thread another uid")]

use std::{
    collections::VecDeque,
    fs,
    os::unix::{
        fs::PermissionsExt,
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
    thread,
    time::Duration,
};

use dbus_api::{BUS_NAME, Error, OBJECT_PATH, Origin, Step};
use zbus::{Connection, Guid, connection::Builder};

/// What a call is answered with.
pub(crate) enum Turn {
    Step(Step),
    Error(Error),
    /// The connection is closed instead.
    Hangup,
    /// The answer takes its time.
    Late(Duration, Step),
    /// No answer ever comes.
    Silence,
}

/// What the daemon was told, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Begin(String, Origin),
    Respond(u64, String),
    Cancel(u64),
    Unasked(String, Origin),
}

#[derive(Default)]
pub(crate) struct Script {
    pub(crate) turns: VecDeque<Turn>,
    pub(crate) heard: Vec<Heard>,
}

/// A daemon on a private socket.
pub(crate) struct Daemon {
    pub(crate) script: Arc<Mutex<Script>>,
    pub(crate) socket: PathBuf,
    directory: tempfile::TempDir,
}

impl Daemon {
    /// Listens, and answers with `turns` one after the other, over any number of connections.
    pub(crate) fn new(turns: Vec<Turn>) -> Self {
        Self::with_uid(turns, None)
    }

    /// The same, listening with another uid: that is what `SO_PEERCRED` tells (unix(7)).
    pub(crate) fn with_uid(turns: Vec<Turn>, uid: Option<u32>) -> Self {
        let directory = open_directory();
        let socket = directory.path().join("verifier.sock");
        let script = script(turns);
        let (ready, wait) = mpsc::channel();
        let (path, served) = (socket.clone(), script.clone());
        thread::spawn(move || {
            become_uid(uid);
            let listener = UnixListener::bind(&path).unwrap();
            // As the real one: anybody may ask, and the daemon decides.
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
            ready.send(()).unwrap();
            for stream in listener.incoming() {
                let (stream, script) = (stream.unwrap(), served.clone());
                thread::spawn(move || serve(stream, script));
            }
        });
        wait.recv().unwrap();
        Self { script, socket, directory }
    }

    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.script.lock().unwrap().heard.clone()
    }

    /// The replies alone.
    pub(crate) fn replies(&self) -> Vec<String> {
        let replies = self.heard().into_iter().filter_map(|heard| match heard {
            Heard::Respond(_, reply) => Some(reply),
            _ => None,
        });
        replies.collect()
    }
}

/// A directory that every uid may use.
pub(crate) fn open_directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    directory
}

pub(crate) fn script(turns: Vec<Turn>) -> Arc<Mutex<Script>> {
    Arc::new(Mutex::new(Script { turns: turns.into(), heard: Vec::new() }))
}

/// Owns the daemon's name on the bus at `path`, in a thread with this uid.
pub(crate) fn on_bus(path: &Path, uid: Option<u32>, script: Arc<Mutex<Script>>) {
    let address = format!("unix:path={}", path.display());
    let (ready, wait) = mpsc::channel();
    thread::spawn(move || {
        become_uid(uid);
        zbus::block_on(async {
            let verifier = Verifier(script);
            let builder = Builder::address(address.as_str()).serve_at(OBJECT_PATH, verifier).name(BUS_NAME);
            let connection = builder.build().await.unwrap();
            ready.send(()).unwrap();
            connection.closed().await;
        });
    });
    wait.recv().unwrap();
}

fn serve(stream: UnixStream, script: Arc<Mutex<Script>>) {
    zbus::block_on(async {
        let builder = Builder::unix_stream(stream).server(Guid::generate()).p2p();
        // A client that goes away in the handshake is none of the test's business.
        if let Ok(connection) = builder.serve_at(OBJECT_PATH, Verifier(script)).build().await {
            connection.closed().await;
        }
    });
}

/// Gives this one thread another effective uid (setresuid(2) by itself; libc's would change every thread).
fn become_uid(uid: Option<u32>) {
    if let Some(uid) = uid {
        // SAFETY: changes the credentials of this thread alone, and no memory.
        let done = unsafe { libc::syscall(libc::SYS_setresuid, -1_i64, i64::from(uid), -1_i64) };
        assert_eq!(done, 0, "these tests want root");
    }
}

struct Verifier(Arc<Mutex<Script>>);

impl Verifier {
    async fn answer(&self, heard: Heard, connection: &Connection) -> Result<Step, Error> {
        let turn = {
            let mut script = self.0.lock().unwrap();
            script.heard.push(heard);
            script.turns.pop_front()
        };
        match turn {
            Some(Turn::Step(step)) => Ok(step),
            Some(Turn::Error(error)) => Err(error),
            Some(Turn::Late(delay, step)) => {
                // Not a wait for something to happen: the slowness itself is what is played.
                thread::sleep(delay);
                Ok(step)
            }
            Some(Turn::Hangup) => {
                connection.clone().close().await.unwrap();
                std::future::pending().await
            }
            Some(Turn::Silence) => std::future::pending().await,
            None => Err(Error::InvalidArgument("the script is at its end".to_owned())),
        }
    }
}

#[zbus::interface(name = "org.countersign.Countersign1.Verifier")]
impl Verifier {
    async fn begin(
        &self,
        user: String,
        origin: Origin,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<(u64, Step), Error> {
        self.answer(Heard::Begin(user, origin), connection).await.map(|step| (7, step))
    }

    async fn respond(
        &self,
        id: u64,
        reply: String,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Step, Error> {
        self.answer(Heard::Respond(id, reply), connection).await
    }

    async fn unasked(
        &self,
        user: String,
        origin: Origin,
        #[zbus(connection)] connection: &Connection,
    ) -> Result<Step, Error> {
        self.answer(Heard::Unasked(user, origin), connection).await
    }

    async fn cancel(&self, id: u64) {
        self.0.lock().unwrap().heard.push(Heard::Cancel(id));
    }
}
