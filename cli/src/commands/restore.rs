//! `countersign restore`: the tool decrypts the backup, and the daemon's own program takes the state from it while the
//! daemon is stopped, so that nobody but the daemon's account touches the state. Nothing of it lies anywhere in clear.

use std::{
    fs::File,
    io::{self, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, Stdio},
};

use nix::unistd::geteuid;

use crate::{
    age::Reader,
    cli::Restore,
    commands::key::{program, said, systemctl},
    failure::Failure,
    host::{Host, Ran},
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
    let file = File::open(&arguments.file).map_err(|error| cannot_read(&arguments.file, &error.to_string()))?;
    let passphrase = passphrase::recall(arguments.passphrase_fd, output).await?;
    let opened = tokio::task::spawn_blocking(move || Reader::begin(BufReader::new(file), &passphrase)).await;
    let opened = opened.map_err(io::Error::from).flatten();
    let reader = opened.map_err(|error| cannot_read(&arguments.file, &error.to_string()))?;
    let reader = reader.map_err(|trouble| cannot_read(&arguments.file, trouble.text()))?;
    if arguments.replace && !arguments.yes {
        ask(output).await?;
    }
    let host = Host::here();
    // systemd's socket stays: whoever logs in meanwhile waits.
    let runs = systemctl(&host, "is-active")?.done;
    if runs && !systemctl(&host, "stop")?.done {
        return Err(Failure::refused("the daemon does not stop; nothing was changed"));
    }
    let restored = restore(arguments, reader).await;
    if runs && !systemctl(&host, "start")?.done {
        return Err(
            Failure::refused("the daemon does not start again").with_help("See why: journalctl -u countersignd")
        );
    }
    let lines = restored?;
    describe(&lines, arguments.trust_counters, output)
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

/// Lets the daemon's program take the state from the backup; returns what it says of the authenticators.
async fn restore(arguments: &Restore, mut reader: Reader<BufReader<File>>) -> Result<String, Failure> {
    let cannot_run = |error: io::Error| {
        Failure::refused(format!("{} cannot be run: {error}", dbus_api::DAEMON))
            .with_help("Nothing was changed. Install the package again.")
    };
    let mut child = start(arguments).map_err(cannot_run)?;
    let input = child.stdin.take();
    let feeding = tokio::task::spawn_blocking(move || feed(&mut reader, input));
    let ended = tokio::task::spawn_blocking(move || child.wait_with_output()).await.map_err(io::Error::from).flatten();
    let fed = feeding.await.map_err(io::Error::from).flatten();
    let ended = ended.map_err(cannot_run)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let ran = Ran { done: ended.status.success(), out: text(&ended.stdout), err: text(&ended.stderr) };
    if ran.done {
        return Ok(ran.out);
    }
    // What the file itself is guilty of is told as such: the program saw only that something was missing.
    match fed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(cannot_read(&arguments.file, &error.to_string()))
        }
        _ => Err(Failure::refused(said(&ran)).with_help("Nothing was changed.")),
    }
}

fn start(arguments: &Restore) -> io::Result<Child> {
    let mut command = program()?;
    command.arg("--restore").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (wanted, flag) in [(arguments.replace, "--replace"), (arguments.trust_counters, "--trust-counters")] {
        if wanted {
            command.arg(flag);
        }
    }
    command.spawn()
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
    output.say("Review the list: what was removed since the backup is back. Codes by time work again in about six minutes. What waits, and all recovery codes, work again after: sudo countersign enable USER")
}

fn row(line: &str) -> Vec<Cell> {
    let mut fields = line.split('\t');
    let mut next = || printable(fields.next().unwrap_or_default());
    let mut cells: Vec<Cell> = (0..4).map(|_| next().into()).collect();
    cells.push(match next().as_str() {
        "active" => Cell::toned("active", Tone::Good),
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
