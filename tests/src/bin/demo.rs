//! Countersign at work, told as a story: every command below runs on a scratch host, and its output is real.
#![forbid(unsafe_code)]
#![allow(clippy::print_stdout, reason = "a story is printed")]

use std::{
    io::{IsTerminal, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use scenarios::{Host, Line, Outcome, Stack};

/// The period of a code that everybody's app uses, in seconds.
const PERIOD: u64 = 30;

/// The prompt, in whose place the story shows what is typed.
const PROMPT: &str = "Verification code: ";

/// The phone: it scans the picture once, and shows the code of this moment.
const PHONE: &str = "#!/bin/sh\nset -e\n[ -s /root/secret ] || zbarimg -q --raw /root/alice.png >/root/secret\n\
     secret=$(sed 's/.*secret=\\([A-Z2-7]*\\).*/\\1/' /root/secret)\n\
     oathtool --totp -b \"$secret\" | tee /root/shown\n";

fn main() -> Result<()> {
    title("A host with a second factor");
    tell(
        "This makes a scratch host inside this machine: namespaces of its own with the real system bus, rsyslog, sshd, \
         sudo and PAM, and with countersignd, pam_countersign.so and the tool as they were just built. alice has an \
         account on it; sshd asks for her key and then for a code, sudo for a code. Nothing outside is changed, and \
         when the story ends the host is gone.",
    );
    let story = Story { host: build()? };
    let spent = story.enrols()?;
    let spent = story.logs_in(&spent)?;
    let spent = story.runs_sudo(&spent)?;
    story.repeats_a_code(&spent)?;
    story.guesses()?;
    story.is_helped()?;
    story.log()?;
    drop(story);
    closing();
    Ok(())
}

fn build() -> Result<Host> {
    Host::build()
        .user_without_password("alice")
        .pam(Stack::sshd_key())
        .pam(Stack::sudo())
        .sshd("publickey,keyboard-interactive")
        .script("/usr/local/bin/phone", PHONE)
        .start()
}

struct Story {
    host: Host,
}

impl Story {
    /// Returns the code that was used up.
    fn enrols(&self) -> Result<String> {
        title("1. root enrols alice");
        tell(
            "alice holds her phone against the screen, and types the code that it then shows. (The phone here is \
             zbarimg, which reads the QR code from a picture of it, and oathtool, which makes the codes.)",
        );
        let colours = if std::io::stdout().is_terminal() { "auto" } else { "never" };
        let command = ["countersign", "--color", colours, "enroll", "alice", "--qr-png", "/root/alice.png"];
        let question = "Code of the new authenticator: ";
        let dialogue = self.host.terminal("root", &command).answer_from(question, "/usr/local/bin/phone");
        show("root@scratch # countersign enroll alice", &dialogue.end()?.success()?, &[]);
        self.shown()
    }

    fn logs_in(&self, spent: &str) -> Result<String> {
        title("2. alice logs in by ssh: her key, then a code");
        tell("The code that activated the phone is used up: a code works once. So she takes the next one.");
        let code = self.next_code(spent)?;
        let login = self.host.ssh("alice", "echo \"This is $(hostname), and I am $(id -un).\"");
        let login = login.answer(PROMPT, &code).end()?.success()?;
        show("alice@laptop $ ssh alice@scratch", &login, &[&code]);
        Ok(code)
    }

    fn runs_sudo(&self, spent: &str) -> Result<String> {
        title("3. alice runs sudo: the next code");
        let code = self.next_code(spent)?;
        let sudo = self.host.terminal("alice", &["sudo", "id"]).answer(PROMPT, &code).end()?.success()?;
        show("alice@scratch $ sudo id", &sudo, &[&code]);
        Ok(code)
    }

    fn repeats_a_code(&self, spent: &str) -> Result<()> {
        title("4. Somebody looked over her shoulder");
        tell("The code that she just typed is still on the phone's display, but it was used. Ctrl-C gives up.");
        let sudo = self.host.terminal("alice", &["sudo", "id"]).answer(PROMPT, spent).expect(PROMPT).interrupt();
        show("alice@scratch $ sudo id", &sudo.end()?, &[spent]);
        Ok(())
    }

    fn guesses(&self) -> Result<()> {
        title("5. Somebody guesses");
        let right = self.host.run(&["/usr/local/bin/phone"])?.success()?.stdout;
        let guesses: Vec<&str> =
            ["123456", "111111", "000000", "654321"].into_iter().filter(|guess| *guess != right.trim()).collect();
        let [first, second, third, ..] = guesses[..] else { return Ok(()) };
        tell("The third wrong code locks the account for 30 seconds, the next ones for longer, the 50th for good.");
        let mut sudo = self.host.terminal("alice", &["sudo", "id"]);
        for guess in [first, second, third] {
            sudo = sudo.answer(PROMPT, guess);
        }
        show("alice@scratch $ sudo id", &sudo.end()?, &[first, second, third]);
        tell("While it is locked, nobody is asked at all, by no service: a right code would not help, nor be used up.");
        let ssh = self.host.ssh("alice", "id").expect("try again in").end()?;
        show("alice@laptop $ ssh alice@scratch", &ssh, &[]);
        Ok(())
    }

    fn is_helped(&self) -> Result<()> {
        title("6. root looks, and lifts the lock");
        for command in [&["status", "alice"][..], &["unlock", "alice"], &["list"]] {
            let outcome = self.host.countersign(command)?.success()?;
            show(&format!("root@scratch # countersign {}", command.join(" ")), &outcome, &[]);
        }
        Ok(())
    }

    fn log(&self) -> Result<()> {
        title("7. All of it stands in syslog");
        tell(
            "One line an event. seq and chain number and chain the lines of the daemon, so that a missing one shows; \
             the same records stand in its store.",
        );
        self.host.logged(&[("event", "unlock")])?;
        let told = |line: &Line| line.program == "countersignd" || line.text.contains("authentication failure");
        for line in self.host.syslog().iter().filter(|line| told(line)) {
            println!("{}: {}\n", line.program, line.text);
        }
        Ok(())
    }

    /// Waits until the phone shows another code than the spent one.
    fn next_code(&self, spent: &str) -> Result<String> {
        loop {
            let code = self.host.run(&["/usr/local/bin/phone"])?.success()?.stdout.trim().to_owned();
            if code != spent {
                return Ok(code);
            }
            let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
            let left = PERIOD - now.as_secs() % PERIOD;
            println!("(The phone shows a new code in {left} s. Waiting …)\n");
            std::io::stdout().flush()?;
            std::thread::sleep(Duration::from_secs(left));
        }
    }

    /// The code that the phone showed last.
    fn shown(&self) -> Result<String> {
        Ok(String::from_utf8(self.host.read("/root/shown")?)?.trim().to_owned())
    }
}

fn closing() {
    title("On a host of your own");
    tell(
        "The scratch host is gone, and with it all that happened. To have this on a real host: keep a root shell open, \
         and follow \"Install\", \"First enrolment\" and \"Switch it on\" in README.md. In short, as root:",
    );
    println!(
        "  make install                     the daemon, the module, the tool, the bus policy\n  \
         countersign enroll alice         shows the QR code, asks for a code\n  \
         /etc/ssh/sshd_config             AuthenticationMethods publickey,keyboard-interactive\n  \
         countersign pam enable sshd --for 10m   shows, judges and tries the change; it is taken back by itself\n  \
         countersign pam confirm          from a second login with a code: it stays\n\n\
         Keep the first window open until that has worked.\n"
    );
}

fn title(text: &str) {
    let (bold, plain) = if std::io::stdout().is_terminal() { ("\x1b[1m", "\x1b[0m") } else { ("", "") };
    println!("{bold}{text}{plain}\n{}\n", "─".repeat(text.chars().count()));
}

/// A paragraph in lines of at most 78 characters.
fn tell(text: &str) {
    let mut column = 0;
    for word in text.split(' ') {
        let length = word.chars().count();
        if column > 0 && column + 1 + length > 78 {
            println!();
            column = 0;
        }
        let space = if column > 0 { " " } else { "" };
        print!("{space}{word}");
        column += space.len() + length;
    }
    println!("\n");
}

/// A command and what the terminal showed; `typed` stands after each prompt, where the terminal shows nothing.
fn show(command: &str, outcome: &Outcome, typed: &[&str]) {
    let mut typed = typed.iter();
    println!("  {command}");
    for line in outcome.stdout.trim_matches('\n').lines().chain(outcome.stderr.lines()) {
        let hidden = line.ends_with(PROMPT).then(|| typed.next()).flatten();
        println!("  {line}{}", hidden.map(|code| format!("{code}   (not shown)")).unwrap_or_default());
    }
    println!();
}
