//! What surrounds the daemon hangs, goes and comes back, while people log in. A disturbance that logins must not notice is
//! made with the gate open: any refusal is a finding then.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{
    Fob, Invariant, Play, Tally,
    gate::{Gate, Way},
    people::{self, People, Person},
    scene::first_line,
};
use crate::{Host, HostBuilder, NameService, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL, PAM_SUCCESS, Stack, wait};

const HOUR: Duration = Duration::from_secs(3600);
const STOP_SYSLOG: &str = "kill -KILL $(cat /run/rsyslogd.pid) && rm -f /dev/log /run/rsyslogd.pid";
const START_SYSLOG: &str = "rsyslogd -f /etc/scratch-rsyslog.conf -i /run/rsyslogd.pid";
/// Known to a directory that hangs.
const DIRECTORY: [(&str, u32); 6] =
    [("kate", 61_201), ("liam", 61_202), ("mary", 61_203), ("nick", 61_204), ("olga", 61_205), ("paul", 61_206)];
/// A login waits for the daemon so long: the module's `timeout`, and some more for a busy machine.
const PATIENCE: Duration = Duration::from_secs(14);

/// Logs in for what a plan wants to see, beside the load.
const WALTER: &str = "walter";

fn host() -> HostBuilder {
    People::invite(Host::build().pam(Stack::code_alone("door")).fake_clock()).user_without_password(WALTER)
}

/// People log in while `disturb` is done again and again; then everybody logs in once more.
fn rounds(
    play: &mut Play,
    host: &Host,
    (whole, sample): (usize, usize),
    mut disturb: impl FnMut(&mut Play, &Gate<'_>, &mut Tally) -> Result<()>,
) -> Result<Tally> {
    let most = play.rounds(whole, sample);
    let mut tally = Tally::default();
    people::log_in_during(host, &mut tally, |gate, guests, tally| {
        let mut played = 0;
        while played < most && (played == 0 || play.goes_on()) {
            played += 1;
            disturb(play, gate, tally)?;
            // Codes by time are made now: what was disturbed may have taken longer than they are right.
            people::next_round(host, guests)?;
            guests.iter_mut().try_for_each(|guest: &mut Person| guest.log_in_once(gate))?;
            tally.count("disturbances");
        }
        ensure!(played > 0, "no round was played");
        people::next_round(host, guests)
    })?;
    Ok(tally)
}

/// The bus is killed and started; the private socket does not notice, and the daemon serves the new bus.
pub(super) fn bus_restarts(play: &mut Play) -> Result<Tally> {
    let host = host().start()?;
    let descriptors = host.daemon().figures()?.descriptors;
    let tally = rounds(play, &host, (100, 4), |_, _, _| {
        host.stop_bus()?;
        host.start_bus()?;
        served(&host)
    })?;
    let now = host.daemon().figures()?.descriptors;
    Invariant::Unbounded.holds(now < descriptors + 20, || format!("{descriptors} descriptors became {now}"))?;
    Ok(tally)
}

/// The daemon is stopped for so long that logins give up, and goes on.
pub(super) fn pauses(play: &mut Play) -> Result<Tally> {
    let host = host().start()?;
    let (whole, short) = (Duration::from_secs(30), Duration::from_secs(3));
    let time = if play.rounds(1, 0) == 1 && play.lasts(2 * whole) { whole } else { short };
    rounds(play, &host, (3, 1), |play, gate, _| {
        let short = play.random.once_in(2);
        gate.closed_while(|| {
            host.daemon().pause()?;
            std::thread::park_timeout(if short { time / 10 } else { time });
            host.daemon().resume()
        })
    })
}

/// The clock jumps an hour ahead and back: codes by counter and recovery codes do not notice.
pub(super) fn clock_jumps(play: &mut Play) -> Result<Tally> {
    let host = host().start()?;
    let mut fob = Fob::import(&host, WALTER, 89)?;
    rounds(play, &host, (100, 4), |play, gate, tally| {
        let ahead = play.random.once_in(2);
        let jump = |ahead| if ahead { host.advance(HOUR) } else { host.turn_back(HOUR) };
        jump(ahead)?;
        gate.present(Way::Pam, WALTER, &fob.code()?)?;
        jump(!ahead)?;
        tally.add("jumps", 2);
        Ok(())
    })
}

/// The name service hangs with more look-ups than there are threads: whoever has to be looked up is refused, and all is
/// well as soon as it answers.
pub(super) fn hanging_names(play: &mut Play) -> Result<Tally> {
    let host = host().configuration("[nss]\ncache = \"0s\"\ntimeout = \"1s\"\n").name_service(&DIRECTORY)?.start()?;
    rounds(play, &host, (30, 1), |_, gate, tally| {
        gate.closed_while(|| {
            host.name_service(NameService::Hangs, &DIRECTORY)?;
            std::thread::scope(|scope| {
                let hanging = DIRECTORY.map(|(user, _)| scope.spawn(|| host.attempt("door", user, &["123456"])));
                hanging.into_iter().try_for_each(|login| -> Result<()> {
                    let attempt = login.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
                    Invariant::ClosedNotClear
                        .holds(attempt.result == PAM_AUTHINFO_UNAVAIL, || format!("a look-up hangs: {attempt:?}"))?;
                    Invariant::HeldUp.holds(attempt.took < PATIENCE, || format!("{attempt:?}"))?;
                    tally.count("refused look-ups");
                    Ok(())
                })
            })?;
            host.name_service(NameService::Answers, &DIRECTORY)?;
            served(&host)
        })
    })
}

/// The logger is killed, started, stopped and continued: no login notices, and lines come again.
pub(super) fn loggers(play: &mut Play) -> Result<Tally> {
    let host = host().start()?;
    let tally = rounds(play, &host, (40, 3), |play, _, _| {
        let [begin, end] = match play.random.once_in(2) {
            true => [STOP_SYSLOG, START_SYSLOG],
            false => ["kill -STOP $(cat /run/rsyslogd.pid)", "kill -CONT $(cat /run/rsyslogd.pid)"],
        };
        host.run(&["sh", "-c", begin])?.success()?;
        std::thread::park_timeout(Duration::from_millis(play.random.below(1500) as u64));
        host.run(&["sh", "-c", end])?.success()?;
        Ok(())
    })?;
    let count = |host: &Host| host.syslog().iter().filter(|line| line.has(&[("event", "verification")])).count();
    let before = count(&host);
    let told = || {
        host.attempt("door", "alice", &["not a code"])?;
        Ok((count(&host) > before).then_some(()))
    };
    wait("a line in the log", told).map_err(|_| Invariant::NotLogged.broken("no line comes any more"))?;
    Ok(tally)
}

/// Messages on the bus are dropped, delayed, repeated and reordered. The private socket does not notice; over the bus
/// each code lets in once at most, nobody is held, and all is well on a bus that is sound again.
pub(super) fn bad_messages(play: &mut Play) -> Result<Tally> {
    let bus_only = "auth required pam_countersign.so socket=none timeout=2\n";
    let host = host().file("/etc/pam.d/bus-only", bus_only).daemon_argument("--bus").daemon_argument(PROXY_BUS);
    let host = host.daemon_waits().start()?;
    let mut proxy = start_proxy(&host, "sound", 0)?;
    host.start_daemon()?;
    let mut fob = Fob::import(&host, WALTER, 88)?;
    let tally = rounds(play, &host, (40, 1), |play, _, tally| {
        stop_proxy(&host, &mut proxy)?;
        proxy = start_proxy(&host, "bad", play.random.number())?;
        for _ in 0..4 {
            through_bad_messages(&host, &mut fob, tally)?;
        }
        stop_proxy(&host, &mut proxy)?;
        proxy = start_proxy(&host, "sound", 0)?;
        served(&host)?;
        let attempt = host.attempt("bus-only", WALTER, &[&fob.code()?])?;
        Invariant::RightCodeRefused
            .holds(attempt.result == PAM_SUCCESS, || format!("on a bus that is sound again: {attempt:?}"))
    })?;
    stop_proxy(&host, &mut proxy)?;
    Ok(tally)
}

const PROXY: &str = "/run/scratch/proxy/bus";
const PROXY_BUS: &str = "unix:path=/run/scratch/proxy/bus";

/// One code, three times over a bus that loses messages.
fn through_bad_messages(host: &Host, fob: &mut Fob, tally: &mut Tally) -> Result<()> {
    let code = fob.code()?;
    let mut let_in = 0;
    for _ in 0..3 {
        let attempt = host.attempt("bus-only", WALTER, &[&code])?;
        Invariant::HeldUp.holds(attempt.took < PATIENCE, || format!("{attempt:?}"))?;
        let clear = [PAM_SUCCESS, PAM_AUTH_ERR, PAM_AUTHINFO_UNAVAIL].contains(&attempt.result);
        Invariant::ClosedNotClear.holds(clear, || format!("{attempt:?}"))?;
        let_in += usize::from(attempt.result == PAM_SUCCESS);
        tally.count_if("let in over a bad bus", attempt.result == PAM_SUCCESS);
        tally.count("logins over a bad bus");
    }
    Invariant::CodeTwice.holds(let_in <= 1, || format!("a code let in {let_in} times over a bad bus"))
}

fn start_proxy(host: &Host, mode: &str, seed: u64) -> Result<std::process::Child> {
    let own = ["setpriv", "--reuid", "countersign", "--regid", "countersign", "--clear-groups"];
    let make = "mkdir -p /run/scratch/proxy && chown countersign: /run/scratch/proxy && rm -f /run/scratch/proxy/bus";
    host.run(&["sh", "-c", make])?.success()?;
    let mut command =
        host.command("root", &[&own[..], &["/usr/lib/scratch/bus_proxy", PROXY, mode, &seed.to_string()]].concat())?;
    let proxy = command.stdin(std::process::Stdio::null()).spawn()?;
    wait("the proxy", || Ok(host.has(PROXY).then_some(())))?;
    Ok(proxy)
}

fn stop_proxy(host: &Host, proxy: &mut std::process::Child) -> Result<()> {
    host.run(&["pkill", "-x", "bus_proxy"])?;
    proxy.wait()?;
    Ok(())
}

/// More connections than the daemon has descriptors for: root's logins go on, and all descriptors come back.
pub(super) fn descriptors(play: &mut Play) -> Result<Tally> {
    let host = host().daemon_limit("--nofile=200:200").start()?;
    let before = host.daemon().figures()?.descriptors;
    let tally = rounds(play, &host, (10, 1), |_, _, tally| {
        let crowd = ["grace", "heidi", "ivan", "dave", "erin", "frank", "carol", "judy"];
        let held: Vec<_> = crowd.iter().map(|user| hold(&host, user, "begun", 60)).collect::<Result<_>>()?;
        let taken = host.daemon().figures()?.descriptors;
        Invariant::Unbounded.holds(taken < 200, || format!("{taken} of 200 descriptors are taken"))?;
        tally.add("descriptors taken", taken as u64);
        for mut client in held {
            drop(client.stdin.take());
            client.wait()?;
        }
        Ok(())
    })?;
    let back = || Ok((host.daemon().figures()?.descriptors < before + 20).then_some(()));
    wait("the descriptors", back).map_err(|_| Invariant::Unbounded.broken("descriptors do not come back"))?;
    Ok(tally)
}

/// A user who holds so many connections of the private socket.
pub(super) fn hold(host: &Host, user: &str, kind: &str, count: usize) -> Result<std::process::Child> {
    use std::io::BufRead;
    let mut command = host.command(user, &["/usr/lib/scratch/socket_client", "hold", kind, &count.to_string()])?;
    command.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut client = command.spawn()?;
    if let Some(output) = client.stdout.as_mut() {
        std::io::BufReader::new(output).read_line(&mut String::new())?;
    }
    Ok(client)
}

/// Waits until the daemon answers on the bus, and the name service answers the daemon.
fn served(host: &Host) -> Result<()> {
    let status = || Ok(host.countersign(&["status", "alice"])?.succeeded().then_some(()));
    wait("the bus", status).map_err(|error| Invariant::NotOpening.broken(first_line(&error)))
}
