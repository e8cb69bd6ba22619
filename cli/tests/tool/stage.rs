//! A private message bus, the service on it, and the built tool before it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use tempfile::TempDir;
use tokio::sync::oneshot;

use crate::service::{Held, Log, serve};

const CONFIGURATION: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><listen>unix:path=DIRECTORY/bus</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>RULES</policy></busconfig>"#;

/// A private bus, with the service or without.
pub(crate) struct Stage {
    bus: Child,
    pub(crate) address: String,
    pub(crate) log: Log,
    pub(crate) held: Arc<Mutex<Held>>,
    pub(crate) directory: TempDir,
    service: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl Stage {
    /// A bus and the service.
    pub(crate) fn new() -> Self {
        Self::with_policy("")
    }

    /// A bus whose policy ends with `rules`, and the service.
    pub(crate) fn with_policy(rules: &str) -> Self {
        let mut stage = Self::start_bus(rules);
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let (address, log, held) = (stage.address.clone(), Arc::clone(&stage.log), Arc::clone(&stage.held));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let _connection = serve(&address, log, held).await.unwrap();
                ready.send(()).unwrap();
                let _ = stopped.await;
            });
        });
        is_ready.recv_timeout(Duration::from_secs(30)).expect("the service starts");
        stage.service = Some((stop, thread));
        stage
    }

    /// A bus alone.
    pub(crate) fn without_service() -> Self {
        Self::start_bus("")
    }

    fn start_bus(rules: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let configuration = directory.path().join("bus.conf");
        let text = CONFIGURATION.replace("DIRECTORY", directory.path().to_str().unwrap()).replace("RULES", rules);
        std::fs::write(&configuration, text).unwrap();
        let mut bus = Command::new("dbus-daemon")
            .arg(format!("--config-file={}", configuration.display()))
            .args(["--nofork", "--print-address"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon must be installed (package dbus)");
        let mut address = String::new();
        BufReader::new(bus.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self {
            bus,
            address: address.trim().to_owned(),
            log: Log::default(),
            held: Arc::default(),
            directory,
            service: None,
        }
    }

    /// The tool with these arguments and nothing in its environment.
    pub(crate) fn tool(&self, arguments: &[&str]) -> Command {
        let mut command = tool();
        command.args(["--bus", &self.address]).args(arguments);
        command
    }

    /// Runs the tool to its end with `input` on its standard input.
    pub(crate) fn run(&self, arguments: &[&str], input: &str) -> Outcome {
        finish(self.tool(arguments), input)
    }

    /// What the service was asked.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.service.take() {
            let _ = stop.send(());
            let _ = thread.join();
        }
        let _ = self.bus.kill();
        let _ = self.bus.wait();
    }
}

/// The tool with nothing in its environment.
pub(crate) fn tool() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    command.env_clear();
    command
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `command` to its end with `input` on its standard input.
pub(crate) fn finish(mut command: Command, input: &str) -> Outcome {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end without reading all of it.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Outcome { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
