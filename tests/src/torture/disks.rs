//! Disks that somebody fills, and disks that stop at any instant.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use dbus_api::Denial;

use super::{
    Fob, Invariant, Play, Tally,
    scene::{examine_audit, first_line, stop, verify},
};
use crate::{Host, HotpKey, PAM_SUCCESS, Stack, Verdict, VerifierClient, wait};

/// Logins that a full disk has to take.
const PROMISED: u64 = 10_000;
/// So many of them are enough to see the disk being full.
const SAMPLE: u64 = 1500;
/// After so many more the room that is kept must be used up.
const ENDLESS: u64 = 200_000;
/// Takes what is free, and again every while, as a runaway log would.
const FILL: &str = "until [ -e $1 ]; do cat /dev/zero >>$0 2>/dev/null; sleep 0.05; done; rm -f $0";
const FILLER: &str = "/var/lib/countersign/filler";
const ENOUGH: &str = "/run/scratch/enough";

/// A disk that somebody else fills, and keeps full: so many logins go on, replays are refused, the log tells it; when the
/// room is used up everybody is refused and nothing is lost; with room again all is as before, without a restart.
pub(super) fn full(play: &mut Play) -> Result<Tally> {
    let host = Host::build().user_without_password("alice").user_without_password("bob");
    let host = host.pam(Stack::code_alone("door")).state_on_a_disk().disk_size("128M").start()?;
    examine_full(&host, play).with_context(|| host.diagnosis())
}

fn examine_full(host: &Host, play: &mut Play) -> Result<Tally> {
    let promised = if play.rounds(1, 0) == 1 { PROMISED } else { SAMPLE };
    let mut tally = Tally::default();
    let mut alice = Fob::import(host, "alice", 80)?;
    let mut bob = Fob::import(host, "bob", 81)?;
    let mut runaway = host.command("root", &["sh", "-c", FILL, FILLER, ENOUGH])?.spawn()?;
    wait("the disk to be full", || Ok((free(host)? == 0).then_some(())))?;
    let mut last = String::new();
    let client = host.private_socket()?;
    for _ in 0..promised {
        // Where the time is short, as many as the sample has.
        if tally.of("logins on a full disk") >= SAMPLE && !play.goes_on() {
            break;
        }
        last = alice.code()?;
        let verdict = client.verify("alice", &last);
        Invariant::RightCodeRefused
            .holds(verdict == Verdict::Granted, || format!("after {tally} on a full disk: {verdict:?}"))?;
        tally.count("logins on a full disk");
        if tally.of("logins on a full disk").is_multiple_of(100) {
            replayed(&client, &last, &mut tally)?;
            let wrong = client.verify("bob", &bob.wrong_code(7)?);
            Invariant::WrongCodeLetIn.holds(wrong != Verdict::Granted, || "on a full disk".to_owned())?;
            let right = client.verify("bob", &bob.code()?);
            Invariant::RightCodeRefused
                .holds(right == Verdict::Granted, || format!("bob on a full disk: {right:?}"))?;
        }
    }
    told(host, "the disk that holds the store is full; about")?;
    host.daemon().kill()?;
    host.start_daemon().map_err(|error| Invariant::NotOpening.broken(first_line(&error)))?;
    let client = host.private_socket()?;
    replayed(&client, &last, &mut tally)?;
    let next = alice.code()?;
    let verdict = client.verify("alice", &next);
    Invariant::RightCodeRefused
        .holds(verdict == Verdict::Granted, || format!("after a restart on a full disk: {verdict:?}"))?;
    if play.rounds(1, 0) == 1 {
        used_up(host, play, &mut alice, &mut tally)?;
    }
    host.write(ENOUGH, "")?;
    runaway.wait()?;
    let code = bob.code()?;
    let verdict = verify(host, "bob", &code);
    Invariant::RightCodeRefused.holds(verdict == Verdict::Granted, || format!("with room again: {verdict:?}"))?;
    let again = verify(host, "bob", &code);
    Invariant::CodeTwice.holds(again != Verdict::Granted, || "with room again".to_owned())?;
    // It is looked at once a second while somebody logs in.
    wait("a line about the room", || {
        verify(host, "bob", &code);
        Ok(host.syslog().iter().any(|line| line.text.contains("has room again")).then_some(()))
    })
    .map_err(|_| Invariant::NotLogged.broken("room again is not told"))?;
    examine_audit(host)?;
    stop(host)?;
    Ok(tally)
}

/// Until the room is used up: then everybody is refused as unavailable, at once, and no code is spent or charged by it.
fn used_up(host: &Host, play: &Play, alice: &mut Fob, tally: &mut Tally) -> Result<()> {
    let client = host.private_socket()?;
    for _ in 0..ENDLESS {
        let code = alice.code()?;
        let verdict = client.verify("alice", &code);
        if verdict == Verdict::Granted {
            tally.count("logins on a full disk");
            if !play.goes_on() {
                return Ok(());
            }
            continue;
        }
        let clear =
            |verdict: &Verdict| matches!(verdict, Verdict::Refused(_) | Verdict::Denied(Denial::Unavailable, _));
        Invariant::ClosedNotClear.holds(clear(&verdict), || format!("{verdict:?}"))?;
        for _ in 0..5 {
            let verdict = verify(host, "alice", &code);
            Invariant::ClosedNotClear.holds(clear(&verdict), || format!("{verdict:?}"))?;
            tally.count("refused when the room was used up");
        }
        return told(host, "store: the disk that holds the store is full; make room on it");
    }
    Err(Invariant::Unbounded.broken(format!("{ENDLESS} logins on a full disk")))
}

fn replayed(client: &VerifierClient, code: &str, tally: &mut Tally) -> Result<()> {
    let again = client.verify("alice", code);
    Invariant::CodeTwice.holds(again != Verdict::Granted, || "on a full disk".to_owned())?;
    tally.count("replays refused");
    Ok(())
}

fn free(host: &Host) -> Result<u64> {
    let free = host.run(&["sh", "-c", "df --output=avail /var/lib/countersign | tail -1"])?.success()?;
    Ok(free.stdout.trim().parse()?)
}

fn told(host: &Host, text: &str) -> Result<()> {
    let line = || Ok(host.syslog().iter().any(|line| line.text.contains(text)).then_some(()));
    wait("a line in the log", line).map_err(|_| Invariant::NotLogged.broken(format!("no line: {text}")))
}

/// The disk stops at any instant while people log in: what was answered is on the copy.
pub(super) fn power_cuts(play: &mut Play) -> Result<Tally> {
    let people = || Host::build().user_without_password("alice").user_without_password("bob");
    let host = people().pam(Stack::code_alone("door")).state_on_a_disk().start()?;
    let mut tally = Tally::default();
    let rounds = play.rounds(40, 2);
    let mut fobs = [Fob::import(&host, "alice", 90)?, Fob::import(&host, "bob", 91)?];
    let mut round = 0;
    while (round < rounds || play.end.is_some()) && play.goes_on() {
        round += 1;
        // Making codes takes longer than using them.
        fobs.iter_mut().try_for_each(|fob| fob.code().map(drop))?;
        let moment = Duration::from_micros(play.random.below(100_000) as u64);
        // What was before is on the disk: a copy that knew nobody, or were far behind, would refuse every code.
        host.run(&["sync"])?.success()?;
        let (spent, image) = under_load(&host, &mut fobs, moment)?;
        let copy = std::env::temp_dir().join(format!("countersign-power-{}", std::process::id()));
        fs::write(&copy, image)?;
        let other = people().pam(Stack::code_alone("door")).state_on_this_disk(&copy).start();
        fs::remove_file(&copy)?;
        let other = other.map_err(|error| Invariant::NotOpening.broken(first_line(&error)))?;
        examine_copy(&other, &spent, &mut tally).with_context(|| other.diagnosis())?;
        tally.count("cuts");
    }
    ensure!(round == 0 || tally.of("spent codes refused") > 0, "nobody logged in before a cut");
    Ok(tally)
}

/// The first and the last code of each that were answered before the disk was read, and the disk.
type Cut = (Vec<(String, String)>, Vec<u8>);

/// The disk as it is while the daemon does nothing: what it had written and not synced is not in it.
fn still(host: &Host) -> Result<Vec<u8>> {
    host.daemon().pause()?;
    // The kernel may write a moment longer; a copy is of one instant when two are the same.
    let mut image = host.disk();
    let same = wait("the disk to be still", || {
        let again = host.disk()?;
        let same = image.as_ref().is_ok_and(|image| *image == again);
        image = Ok(again);
        Ok(same.then_some(()))
    });
    host.daemon().resume()?;
    same.and(image)
}

fn under_load(host: &Host, fobs: &mut [Fob], moment: Duration) -> Result<Cut> {
    let [over, cut] = [AtomicBool::new(false), AtomicBool::new(false)];
    let answered = AtomicUsize::new(0);
    let crowd = 2 * fobs.len();
    thread::scope(|scope| {
        let (over, cut, answered) = (&over, &cut, &answered);
        let people: Vec<_> = fobs
            .iter_mut()
            .map(|fob| {
                scope.spawn(move || -> Result<Vec<(String, String)>> {
                    let client = host.private_socket()?;
                    let mut before = Vec::new();
                    loop {
                        let code = fob.code()?;
                        let verdict = client.verify(fob.user(), &code);
                        Invariant::RightCodeRefused.holds(verdict == Verdict::Granted, || format!("{verdict:?}"))?;
                        answered.fetch_add(1, Ordering::SeqCst);
                        if !cut.load(Ordering::SeqCst) {
                            before.push((fob.user().to_owned(), code));
                        } else if over.load(Ordering::SeqCst) {
                            return Ok(before);
                        }
                    }
                })
            })
            .collect();
        let crowded = wait("logins", || Ok((answered.load(Ordering::SeqCst) >= crowd).then_some(())));
        thread::park_timeout(moment);
        cut.store(true, Ordering::SeqCst);
        let image = crowded.and_then(|()| still(host));
        over.store(true, Ordering::SeqCst);
        let mut spent = Vec::new();
        for person in people {
            let before = person.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
            // The first one would let in if nothing had reached the disk, the last one if that one had not.
            spent.extend(before.first().into_iter().chain(before.last()).cloned());
        }
        Ok((spent, image?))
    })
}

fn examine_copy(other: &Host, spent: &[(String, String)], tally: &mut Tally) -> Result<()> {
    for (user, code) in spent {
        let again = other.attempt("door", user, &[code])?;
        Invariant::CodeTwice
            .holds(again.result != PAM_SUCCESS, || format!("a code of {user} lets in after a power cut"))?;
        tally.count("spent codes refused");
    }
    for user in ["alice", "bob"] {
        // How far the copy's counter came is not known: each gets another fob, and logs in by it.
        let (fob, codes) = HotpKey::distinct(95, 2)?;
        other.import_hotp(user, &fob)?;
        let code = codes.first().context("a code")?;
        let attempt = other.attempt("door", user, &[code])?;
        Invariant::RightCodeRefused
            .holds(attempt.result == PAM_SUCCESS, || format!("{user} after a cut: {attempt:?}"))?;
    }
    examine_audit(other)?;
    stop(other)
}
