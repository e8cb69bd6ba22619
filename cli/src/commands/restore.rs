//! `countersign restore`: the tool decrypts the backup, and the daemon's own program takes the state from it while the
//! daemon is stopped, so that nobody but the daemon's account touches the state. Nothing of it lies anywhere in clear.

use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Stdio},
};

use nix::unistd::geteuid;

use crate::{
    age::Reader,
    cli::Restore,
    commands::{
        key::credential,
        offline::{self, program, said},
    },
    failure::Failure,
    host::{Host, Ran, files::STATE},
    output::Output,
    passphrase, prompt,
    table::{Cell, Column, Table, Tone},
    wording::printable,
};

/// Runs the command.
///
/// # Errors
/// Not root, a file that is no backup or whose passphrase is another one, a question answered with no, what the daemon's
/// program refuses, a daemon that does not stop or start.
pub(super) async fn run(arguments: &Restore, output: &Output) -> Result<(), Failure> {
    if !geteuid().is_root() {
        return Err(Failure::refused("only root can restore").with_help("Run: sudo countersign restore FILE"));
    }
    let host = Host::here();
    refuse_beside_credential(&host)?;
    let file = File::open(&arguments.file).map_err(|error| cannot_read(&arguments.file, &error.to_string()))?;
    let passphrase = passphrase::recall(arguments.passphrase_fd, output).await?;
    let opened = tokio::task::spawn_blocking(move || Reader::begin(BufReader::new(file), &passphrase)).await;
    let opened = opened.map_err(io::Error::from).flatten();
    let reader = opened.map_err(|error| cannot_read(&arguments.file, &error.to_string()))?;
    let reader = reader.map_err(|trouble| cannot_read(&arguments.file, trouble.text()))?;
    if arguments.replace && !arguments.yes {
        ask(output).await?;
    }
    let restored = restore(&host, arguments, reader).await?;
    describe(&restored, arguments.trust_counters, output)
}

/// What is kept under a credential only the service itself can open, and so nobody could see what was spent here.
fn refuse_beside_credential(host: &Host) -> Result<(), Failure> {
    let store = Path::new(STATE).join("store.sqlite");
    let Some(credential) = credential(host).filter(|_| host.has(&store)) else { return Ok(()) };
    let what = format!("the master key is the credential {}", credential.display());
    Err(Failure::refused(what).with_help(
        "Nothing was changed. Put the key back into its file first: see \"The master key\" in countersignd(8). \
         Where the credential cannot be opened any more, remove it.",
    ))
}

async fn ask(output: &Output) -> Result<(), Failure> {
    if !prompt::somebody_is_there() {
        return Err(Failure::usage("there is no terminal to ask at")
            .with_help("To do it without a question: sudo countersign restore FILE --replace --yes"));
    }
    output.say("This replaces every account that is kept here. What was enrolled since the backup is gone.")?;
    if prompt::confirm(output, "Replace them?").await? {
        return Ok(());
    }
    Err(Failure::refused("nothing was changed"))
}

/// Stops the daemon, lets its program take the state from the backup, and starts it again; returns what the program says
/// of the authenticators.
async fn restore(host: &Host, arguments: &Restore, reader: Reader<BufReader<File>>) -> Result<String, Failure> {
    // systemd's socket would start the daemon again before the state is ours, so whoever takes it waits for it first.
    let runs = offline::runs(host)?;
    let program = Program::start(arguments, offline::is_managed(host)).map_err(cannot_run)?;
    if runs
        && program.waits
        && let Err(failure) = offline::stop(host)
    {
        program.end();
        return Err(failure);
    }
    let restored = program.take(arguments, reader).await;
    if runs {
        offline::start_again(host).await?;
    }
    restored
}

/// The daemon's program at work.
struct Program {
    child: Child,
    out: BufReader<ChildStdout>,
    /// Whether it waits for a daemon to be stopped.
    waits: bool,
}

impl Program {
    fn start(arguments: &Restore, wait: bool) -> io::Result<Self> {
        let mut command = program()?;
        command.arg("--restore").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let flags =
            [(arguments.replace, "--replace"), (arguments.trust_counters, "--trust-counters"), (wait, "--wait")];
        command.args(flags.iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| *flag));
        let mut child = command.spawn()?;
        let out = child.stdout.take().ok_or_else(|| io::Error::other("it has no standard output"))?;
        let mut program = Self { child, out: BufReader::new(out), waits: false };
        if wait {
            let mut line = String::new();
            program.out.read_line(&mut line)?;
            program.waits = line == "waits\n";
        }
        Ok(program)
    }

    /// Hands the backup over, and hears what became of it.
    async fn take(self, arguments: &Restore, mut reader: Reader<BufReader<File>>) -> Result<String, Failure> {
        let Self { mut child, mut out, .. } = self;
        let input = child.stdin.take();
        let feeding = tokio::task::spawn_blocking(move || feed(&mut reader, input));
        let ended = tokio::task::spawn_blocking(move || {
            let mut lines = String::new();
            out.read_to_string(&mut lines)?;
            Ok::<_, io::Error>((lines, child.wait_with_output()?))
        });
        let ended = ended.await.map_err(io::Error::from).flatten();
        let fed = feeding.await.map_err(io::Error::from).flatten();
        let (lines, ended) = ended.map_err(cannot_run)?;
        if ended.status.success() {
            return Ok(lines);
        }
        if ended.status.code().is_none() {
            let what = format!("{} was ended by a signal", dbus_api::DAEMON);
            return Err(Failure::refused(what).with_help(
                "The accounts are those of before, or those of the backup. See which: sudo countersign list",
            ));
        }
        // What the file itself is guilty of is told as such: the program saw only that something was missing.
        match fed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(cannot_read(&arguments.file, &error.to_string()))
            }
            _ => {
                let ran = Ran { done: false, out: lines, err: String::from_utf8_lossy(&ended.stderr).into_owned() };
                Err(Failure::refused(said(&ran)).with_help("Nothing was changed."))
            }
        }
    }

    /// Ends it before it was given anything.
    fn end(mut self) {
        // It has ended by itself, or ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn cannot_run(error: io::Error) -> Failure {
    Failure::refused(format!("{} cannot be run: {error}", dbus_api::DAEMON))
        .with_help("Nothing was changed. Install the package again.")
}

/// Only what was authenticated goes into the pipe, and its end only after the end of the file.
fn feed(reader: &mut Reader<BufReader<File>>, input: Option<ChildStdin>) -> io::Result<()> {
    let Some(mut input) = input else { return Ok(()) };
    io::copy(reader, &mut input)?;
    input.flush()
}

/// Lists all authenticators for review.
fn describe(lines: &str, trusted: bool, output: &Output) -> Result<(), Failure> {
    let column = |heading, rank| Column { heading, rank, right: false };
    let columns = vec![
        column("ACCOUNT", 0),
        column("AUTHENTICATOR", 1),
        column("LABEL", 2),
        column("KIND", 3),
        column("STATE", 0),
    ];
    let mut table = Table::new(columns, output.columns(), output.color());
    let rows: Vec<Vec<Cell>> = lines.lines().map(row).collect();
    output.print(&table.page(&rows))?;
    if trusted {
        return output
            .say("The counters of the backup are trusted: every code that was not used on the old host works.");
    }
    output.say("Review the list: what was removed since the backup is back. Codes by time work again in about six minutes. What waits, recovery codes and scratch codes work again after: sudo countersign enable USER")
}

fn row(line: &str) -> Vec<Cell> {
    let mut fields = line.split('\t');
    let mut next = || printable(fields.next().unwrap_or_default());
    let mut cells: Vec<Cell> = (0..4).map(|_| next().into()).collect();
    cells.push(match next().as_str() {
        "active" => Cell::toned("active", Tone::Good),
        "disabled" => Cell::toned("disabled", Tone::Plain),
        "waits" => Cell::toned("waits for enable", Tone::Warning),
        "gone" => Cell::toned("was removed here, waits for enable", Tone::Bad),
        _ => Cell::toned("altered, refused", Tone::Bad),
    });
    cells
}

fn cannot_read(file: &Path, why: &str) -> Failure {
    let name = printable(&file.display().to_string());
    Failure::refused(format!("{name} cannot be restored: {why}")).with_help("Nothing was changed.")
}
