//! Recipes for screen lockers, which are not root.

use anyhow::{Context as _, Result};
use scenarios::{Host, HotpKey, wait};

use super::{PASSWORD, Recipe, start};
use crate::words::PROMPT;

const LOCKED: &str = "This TTY is now locked.";

/// Whoever types this waits until vlock sleeps, which is when it reads: it throws away what was typed before.
const TYPIST: &str = "/usr/local/bin/typist";
const TYPES: &str = "#!/bin/sh\nuntil [ \"$(ps -o state= -C vlock-main)\" = S ]; do :; done\necho \"$1\"\n";

/// Locks a terminal, does not unlock it with a wrong code, and does with this one.
fn locks_and_unlocks(host: &Host, caller: &str, wrong: &str, code: &str) -> Result<()> {
    let typing = |reply: &str| format!("{TYPIST} {{{reply}}}");
    let lock = host.terminal("alice", &["vlock"]).answer(LOCKED, "");
    let lock = lock.answer_by_sight("assword: ", &typing(PASSWORD)).answer_by_sight(PROMPT, &typing(wrong));
    // vlock then asks for root's password, and once more.
    let lock = lock.expect("Authentication failure").answer_by_sight("assword: ", &typing("nothing"));
    let lock = lock.expect("Authentication failure").answer("ENTER", "");
    let lock = lock.answer_by_sight("assword: ", &typing(PASSWORD)).answer_by_sight(PROMPT, &typing(code));
    lock.end()?.success()?;
    let granted = [("account", "alice"), ("service", "vlock"), ("outcome", "granted"), ("caller_uid", caller)];
    host.logged(&granted).map(drop)
}

#[test]
fn a_screen_locker_as_debian_ships_it_and_without_the_setuid_bit() -> Result<()> {
    let recipe = Recipe::read("A screen locker")?;
    let host = start(recipe.host()?.script(TYPIST, TYPES))?;
    // Beside the phone: a code by time could be too old after four prompts on a busy machine.
    host.enrol("alice")?;
    let (fob, codes) = HotpKey::distinct(73, 200)?;
    host.import_hotp("alice", &fob)?;
    let wrong = ["111111", "222222", "333333"].into_iter().find(|wrong| !codes.iter().any(|code| code == wrong));
    let wrong = wrong.context("all of them are right")?;
    locks_and_unlocks(&host, "0", wrong, &codes[0])?;
    host.run(&["chmod", "u-s", "/usr/sbin/vlock-main"])?.success()?;
    locks_and_unlocks(&host, "61001", wrong, &codes[1])?;
    recipe.is_sound(&host)
}

/// A screen of alice's, and a lock on it.
const LOCK: &str = "export DISPLAY=:7
Xvfb :7 -screen 0 320x240x24 -nolisten tcp >/dev/null 2>&1 & screen=$!
until timeout 5 xdotool getmouselocation >/dev/null 2>&1; do :; done
i3lock --nofork --debug >/tmp/i3lock.log 2>&1; echo $? >/tmp/unlocked; kill $screen; wait";

/// What i3lock says when it has the keyboard.
const GRABBED: &str = "Watching window";

/// Types on the screen and presses Enter.
fn type_in(host: &Host, text: &str) -> Result<()> {
    let keys = "export DISPLAY=:7; xdotool type --delay 20 \"$0\" && xdotool key Return";
    host.run_as("alice", &["sh", "-c", keys, text])?.success().map(drop)
}

#[test]
fn a_screen_locker_with_one_field() -> Result<()> {
    let recipe = Recipe::read("A screen locker with one field")?;
    let host = start(recipe.host()?)?;
    let phone = host.enrol("alice")?;
    host.run(&["mkdir", "-m", "1777", "/tmp/.X11-unix"])?.success()?;
    let mut screen = host.command("alice", &["sh", "-c", LOCK])?.spawn()?;
    let says = || String::from_utf8_lossy(&host.read("/tmp/i3lock.log").unwrap_or_default()).into_owned();
    wait("the lock", || Ok(says().contains(GRABBED).then_some(())))?;
    let told = |outcome| [("account", "alice"), ("service", "i3lock"), ("outcome", outcome), ("caller_uid", "61001")];
    type_in(&host, &format!("{PASSWORD}{}", host.wrong_code(&phone)?))?;
    host.logged(&told("refused"))?;
    assert!(!host.has("/tmp/unlocked"));
    type_in(&host, &format!("{PASSWORD}{}", host.code(&phone, 0)?))?;
    wait("the end of the lock", || Ok(host.read("/tmp/unlocked").is_ok_and(|status| status == b"0\n").then_some(())))?;
    host.logged(&told("granted"))?;
    screen.wait()?;
    recipe.is_sound(&host)
}
