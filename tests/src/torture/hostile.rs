//! Other users of the host do what they can, all at once, on the socket and on the bus. Somebody else's logins stay quick.

use std::{
    process::{Child, Stdio},
    time::Duration,
};

use anyhow::{Context, Result, ensure};

use super::{
    Fob, Invariant, Play, Tally,
    scene::{examine_audit, stop},
};
use crate::{Host, HostBuilder, Random, Stack};

const CLIENT: &str = "/usr/lib/scratch/pam_client";
const SOCKET: &str = "/usr/lib/scratch/socket_client";
const FUZZER: &str = "/usr/lib/scratch/bus_fuzzer";
/// Each of them has a uid of its own.
const HOSTILE: [&str; 7] = ["mallory", "trudy", "eve", "oscar", "sybil", "chuck", "craig"];
/// 99 of 100 logins take less, beside whatever others do.
const QUICK: Duration = Duration::from_millis(50);
/// Logins that are measured at a time.
const MEASURED: usize = 400;

/// Waves of everything at once.
pub(super) fn play(play: &mut Play) -> Result<Tally> {
    let host = Host::build().user_without_password("bob").pam(Stack::code_alone("door"));
    let host = HOSTILE.into_iter().fold(host, HostBuilder::user_without_password).start()?;
    waves(&host, play).with_context(|| host.diagnosis())
}

fn waves(host: &Host, play: &mut Play) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut bob = Fob::import(host, "bob", 85)?;
    // Whoever measures and the daemon run before others, so that the machine's other work is not measured.
    host.run(&["sh", "-c", "chrt -a -r -p 1 $(pgrep -x countersignd)"])?.success()?;
    let quiet = logins(host, &mut bob, &mut tally)?;
    tally.add("µs p99 in peace", micros(quiet));
    let before = host.daemon().figures()?;
    let mut worst = Duration::ZERO;
    for round in 0..play.rounds(20, 1) {
        if round > 0 && !play.goes_on() {
            break;
        }
        let mut crowd = begin(host, &mut play.random)?;
        let busy = host.process("countersignd")?.cpu()?;
        let took = logins(host, &mut bob, &mut tally);
        let busy = host.process("countersignd")?.cpu()?.saturating_sub(busy);
        tally.add("ms of the daemon's processor", u64::try_from(busy.as_millis())?);
        crowd.iter_mut().try_for_each(end)?;
        let took = took?;
        Invariant::HeldUp.holds(took < QUICK, || format!("1 of 100 logins took {took:?} beside hostile users"))?;
        worst = worst.max(took);
        tally.count("waves");
    }
    tally.add("µs p99 beside hostile users", micros(worst));
    Invariant::Died.holds(host.daemon().runs(), || "the daemon ended beside hostile users".to_owned())?;
    let after = host.daemon().figures()?;
    let grown = after.resident.saturating_sub(before.resident);
    Invariant::Unbounded.holds(grown < 32 * 1024, || format!("{before:?} became {after:?}"))?;
    tally.add("KiB grown", grown);
    examine_audit(host)?;
    stop(host)?;
    Ok(tally)
}

/// Everybody at once: floods of Begin, of connections, half-open ones, giant messages, wrong signatures, slow readers.
fn begin(host: &Host, random: &mut Random) -> Result<Vec<Child>> {
    let seeds = [0; 2].map(|_| random.number().to_string());
    let commands: [(&str, Vec<&str>); 9] = [
        ("mallory", vec![SOCKET, "flood", "begin", "16"]),
        ("trudy", vec!["prlimit", "--nofile=12000", SOCKET, "flood", "connections", "10000"]),
        ("eve", vec![SOCKET, "flood", "slow", "16"]),
        ("oscar", vec![SOCKET, "hold", "half", "400"]),
        ("sybil", vec![SOCKET, "hold", "giant", "400"]),
        ("sybil", vec![SOCKET, "hold", "silent", "400"]),
        ("chuck", vec![FUZZER, "calls", "private", &seeds[0], "60000"]),
        ("craig", vec![FUZZER, "calls", "bus", &seeds[1], "60000"]),
        ("craig", vec![SOCKET, "flood", "begin", "16"]),
    ];
    let spawn = |(user, command): &(&str, Vec<&str>)| {
        let mut command = host.command(user, command)?;
        Ok(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
    };
    let crowd: Result<Vec<Child>> = commands.iter().map(spawn).collect();
    // Each of them has begun when the last one has.
    crate::wait("the crowd", || {
        let running = host.run(&["sh", "-c", "pgrep -c -x 'socket_client|bus_fuzzer'"])?;
        Ok((running.stdout.trim().parse::<usize>().unwrap_or(0) >= commands.len()).then_some(()))
    })?;
    crowd
}

fn end(client: &mut Child) -> Result<()> {
    drop(client.stdin.take());
    client.kill()?;
    client.wait()?;
    Ok(())
}

/// bob logs in again and again, through the module; 99 of 100 took no longer than this.
fn logins(host: &Host, bob: &mut Fob, tally: &mut Tally) -> Result<Duration> {
    let codes: Vec<String> = (0..MEASURED).map(|_| bob.code()).collect::<Result<_>>()?;
    let arguments = ["chrt", "-r", "1", CLIENT, "measure", "door", "bob"];
    let outcome = host.feed_as("root", &arguments, (codes.join("\n") + "\n").as_bytes())?.success()?;
    let mut times = Vec::new();
    for result in outcome.stdout.lines().filter_map(|line| line.strip_prefix("result ")) {
        let (code, took) = result.split_once(' ').with_context(|| result.to_owned())?;
        Invariant::RightCodeRefused.holds(code == "0", || format!("beside hostile users: {result}"))?;
        times.push(Duration::from_micros(took.parse()?));
    }
    ensure!(times.len() == codes.len(), "{} of {} logins were measured", times.len(), codes.len());
    tally.add("logins", times.len() as u64);
    times.sort_unstable();
    times.get(times.len() * 99 / 100).copied().context("a time")
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
