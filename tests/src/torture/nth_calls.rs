//! Every call of the daemon on its files, and every system call on its sockets, fails or ends the daemon once.

use anyhow::{Context, Result};

use super::{
    Invariant, Play, Tally,
    operations::{self, Operation},
    scene::{Answer, Scene, examine_audit},
};
use crate::{Fault, Host, Random, Stack, faults::Injection};

/// Calls that a second run of an operation may have beyond the first.
const SLACK: u32 = 2;
/// Of an operation with more calls than twice this, so many at each end are played.
const ENDS: u32 = 60;
/// System calls on sockets, and what befalls them.
const SOCKET_CALLS: [(&str, &str); 12] = [
    ("accept4", "EMFILE"),
    ("accept4", "ECONNABORTED"),
    ("socket", "EMFILE"),
    ("connect", "ECONNREFUSED"),
    ("recvfrom", "ECONNRESET"),
    ("recvmsg", "ECONNRESET"),
    ("sendto", "EPIPE"),
    ("sendto", "ENOBUFS"),
    ("sendmsg", "EPIPE"),
    ("getsockopt", "ENOMEM"),
    ("epoll_ctl", "ENOMEM"),
    ("getrandom", "EINTR"),
];

/// One call of one operation, and what befalls it.
#[derive(Clone, Copy)]
struct Case<F> {
    operation: usize,
    fault: F,
    nth: u32,
}

/// Every file call meets every fault.
pub(super) fn files(play: &mut Play) -> Result<Tally> {
    let host = operations::invite(Host::build().pam(Stack::code_alone("door"))).faults()?.start()?;
    let mut scene = Scene::new(&host)?;
    let mut operations = operations::all(&mut scene)?;
    let mut cases = Vec::new();
    for (index, operation) in operations.iter_mut().enumerate() {
        let calls = count(&mut scene, operation.as_mut())?;
        cases.extend(pairs(index, &Fault::OF_FILES, &numbers(calls + SLACK, &mut play.random)));
    }
    let mut tally = Tally::default();
    tally.add("cases in all", cases.len() as u64);
    play.random.shuffle(&mut cases);
    for case in play.so_many(cases, 40) {
        let operation = operations.get_mut(case.operation).context("an operation")?;
        let name = format!("{}, {:?} at call {}", operation.name(), case.fault, case.nth);
        let hit = one(&mut scene, operation.as_mut(), case.fault, case.nth)
            .with_context(|| host.diagnosis())
            .with_context(|| name)?;
        tally.count("played");
        tally.count_if("hit", hit);
    }
    scene.examine_secrets()?;
    Ok(tally)
}

/// Every system call on a socket fails.
pub(super) fn sockets(play: &mut Play) -> Result<Tally> {
    let host = operations::invite(Host::build().pam(Stack::code_alone("door"))).faults()?.start()?;
    let mut scene = Scene::new(&host)?;
    let mut operations = operations::all(&mut scene)?;
    // The daemon has to run when strace attaches.
    operations.retain(|operation| !operation.name().ends_with("start"));
    let mut cases = Vec::new();
    for index in 0..operations.len() {
        // How many of each there are is seen when it happens: a case that is not reached costs little.
        cases.extend(pairs(index, &SOCKET_CALLS, &(1..=6).collect::<Vec<u32>>()));
    }
    let mut tally = Tally::default();
    tally.add("cases in all", cases.len() as u64);
    play.random.shuffle(&mut cases);
    for case in play.so_many(cases, 20) {
        let operation = operations.get_mut(case.operation).context("an operation")?;
        let (call, error) = case.fault;
        let name = format!("{}, {error} at {call} {}", operation.name(), case.nth);
        let hit = one_of_a_socket(&mut scene, operation.as_mut(), case.fault, case.nth)
            .with_context(|| host.diagnosis())
            .with_context(|| name)?;
        tally.count("played");
        tally.count_if("hit", hit);
    }
    scene.examine_secrets()?;
    Ok(tally)
}

/// Every allocation fails, through a login and a wrong code: Rust ends the process, and nothing is lost.
pub(super) fn allocations(play: &mut Play) -> Result<Tally> {
    let host = operations::invite(Host::build().pam(Stack::code_alone("door"))).faults()?.start()?;
    let mut scene = Scene::new(&host)?;
    let mut operations = operations::all(&mut scene)?;
    operations.retain(|operation| !operation.name().ends_with("start"));
    let mut tally = Tally::default();
    let rounds = play.rounds(4000, 10);
    for _ in 0..rounds {
        if !play.goes_on() {
            break;
        }
        let index = play.random.below(operations.len());
        let nth = allocation(&mut play.random);
        let operation = operations.get_mut(index).context("an operation")?;
        let name = format!("{}, no memory at allocation {nth}", operation.name());
        let hit = one(&mut scene, operation.as_mut(), Fault::NoMemory, nth)
            .with_context(|| host.diagnosis())
            .with_context(|| name)?;
        tally.count("played");
        tally.count_if("hit", hit);
    }
    scene.examine_secrets()?;
    Ok(tally)
}

/// Small numbers more often than great ones: an operation has some hundreds.
fn allocation(random: &mut Random) -> u32 {
    let most = random.pick(&[20_usize, 100, 400]).copied().unwrap_or(20);
    u32::try_from(random.below(most)).unwrap_or_default() + 1
}

/// All numbers of calls; of very many, the first, the last and some between. The first start writes thousands of equal
/// pages.
fn numbers(calls: u32, random: &mut Random) -> Vec<u32> {
    if calls <= 2 * ENDS {
        return (1..=calls).collect();
    }
    let between = usize::try_from(calls - 2 * ENDS).unwrap_or_default();
    let some = (0..ENDS / 2).map(|_| ENDS + 1 + u32::try_from(random.below(between)).unwrap_or_default());
    (1..=ENDS).chain(some).chain(calls - ENDS + 1..=calls).collect()
}

fn pairs<F: Copy>(operation: usize, faults: &[F], numbers: &[u32]) -> Vec<Case<F>> {
    faults.iter().flat_map(|fault| numbers.iter().map(|nth| Case { operation, fault: *fault, nth: *nth })).collect()
}

/// The calls of an operation that meets no fault.
fn count(scene: &mut Scene<'_>, operation: &mut dyn Operation) -> Result<u32> {
    operation.prepare(scene)?;
    scene.faults.arm(Fault::InputOutput, u32::MAX)?;
    let answer = operation.perform(scene)?;
    let seen = scene.faults.disarm()?;
    Invariant::NotOpening
        .holds(answer == Answer::Done, || format!("{} without a fault: {answer:?}", operation.name()))?;
    scene.restart()?;
    operation.examine(scene, &answer)?;
    Ok(seen.calls)
}

/// One operation meets one fault; whether it did.
fn one(scene: &mut Scene<'_>, operation: &mut dyn Operation, fault: Fault, nth: u32) -> Result<bool> {
    operation.prepare(scene)?;
    scene.turn_the_page();
    scene.faults.arm(fault, nth)?;
    let answer = operation.perform(scene);
    let seen = scene.faults.disarm()?;
    let answer = answer?;
    if let (Answer::Refused(said), false) = (&answer, fault.kills()) {
        Invariant::NotOpening.holds(seen.hit.is_some(), || format!("refused without a fault: {said}"))?;
        scene.told(said)?;
    }
    let ends = fault.kills() || operation.name().ends_with("start");
    Invariant::Died.holds(ends || scene.lives()?, || format!("the daemon ended after {answer:?}"))?;
    settle(scene, operation, &answer, nth.is_multiple_of(2))?;
    Ok(seen.hit.is_some())
}

fn one_of_a_socket(
    scene: &mut Scene<'_>,
    operation: &mut dyn Operation,
    (call, error): (&str, &str),
    nth: u32,
) -> Result<bool> {
    operation.prepare(scene)?;
    let injection = Injection::begin(scene.host, call, error, nth)?;
    let answer = operation.perform(scene);
    let (_, hit) = injection.end()?;
    let answer = answer?;
    if let Answer::Refused(said) = &answer {
        Invariant::NotOpening.holds(hit, || format!("refused without a fault: {said}"))?;
    }
    Invariant::Died.holds(scene.lives()?, || format!("the daemon ended after {answer:?}"))?;
    settle(scene, operation, &answer, nth.is_multiple_of(2))?;
    Ok(hit)
}

/// Everything is as it was answered: at once where the daemon lived through it, or after the next start, as `nth` has it.
fn settle(scene: &mut Scene<'_>, operation: &mut dyn Operation, answer: &Answer, restart: bool) -> Result<()> {
    if !scene.lives()? {
        scene.start()?;
    } else if restart {
        scene.restart()?;
    } else {
        scene.serves_the_bus()?;
    }
    operation.examine(scene, answer)?;
    examine_audit(scene.host)?;
    scene.restart()
}
