//! A passphrase from the terminal or from a file descriptor, never from an argument or the environment, which others see.

use std::{
    fs::File,
    io::{self, Read as _},
};

use zeroize::Zeroizing;

use crate::{
    failure::Failure,
    output::Output,
    prompt::{self, Answer, Interrupts},
};

/// The shortest that a new one may be: whoever has the file may guess for as long as they like.
const SHORTEST: usize = 12;
/// The longest, in bytes.
const LONGEST: usize = 1024;

/// A new passphrase, asked for twice, or read once from a descriptor.
///
/// # Errors
/// None is given, it is too short, or the two are not the same.
pub(crate) async fn choose(descriptor: Option<u32>, output: &Output) -> Result<Zeroizing<String>, Failure> {
    let passphrase = match descriptor {
        Some(number) => read(number)?,
        None => {
            output.say("Choose a passphrase for the backup. Without it nobody can open the file, you neither.")?;
            let first = ask("Passphrase: ", output).await?;
            if *first != *ask("The same again: ", output).await? {
                return Err(Failure::refused("the two passphrases are not the same").with_help("Nothing was written."));
            }
            first
        }
    };
    // At a terminal it would be read without them; and what nobody can type again opens nothing.
    if passphrase.trim() != passphrase.as_str() || passphrase.contains(is_untypable) {
        let what = "a passphrase has no spaces around it, and no control characters in it";
        return Err(Failure::refused(what).with_help("Nothing was written."));
    }
    if passphrase.chars().count() < SHORTEST {
        return Err(Failure::refused(format!("a passphrase has at least {SHORTEST} characters"))
            .with_help("Nothing was written. Six words by chance are a good one."));
    }
    Ok(passphrase)
}

/// The passphrase of a file that is there.
///
/// # Errors
/// None is given.
pub(crate) async fn recall(descriptor: Option<u32>, output: &Output) -> Result<Zeroizing<String>, Failure> {
    match descriptor {
        Some(number) => read(number),
        None => ask("Passphrase of the backup: ", output).await,
    }
}

async fn ask(question: &str, output: &Output) -> Result<Zeroizing<String>, Failure> {
    if !prompt::somebody_is_there() {
        return Err(Failure::usage("there is no terminal to ask at")
            .with_help("Hand the passphrase over in a descriptor: --passphrase-fd 3 3< FILE"));
    }
    let mut interrupts = Interrupts::listen()?;
    match prompt::ask(output, question, true, &mut interrupts).await? {
        Answer::Line(line) => Ok(line),
        Answer::End | Answer::Interrupted => Err(Failure::refused("no passphrase was given")),
    }
}

/// What a terminal does not hand on, and what stands for bytes that are no UTF-8.
fn is_untypable(letter: char) -> bool {
    letter.is_control() || letter == char::REPLACEMENT_CHARACTER
}

/// One line; its end is no part of it.
fn read(descriptor: u32) -> Result<Zeroizing<String>, Failure> {
    let unusable = |why: String| Failure::usage(format!("--passphrase-fd {descriptor}: {why}"));
    let mut bytes = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
    let file =
        File::open(format!("/proc/self/fd/{descriptor}")).map_err(|error: io::Error| unusable(error.to_string()))?;
    file.take(LONGEST as u64 + 1).read_to_end(&mut bytes).map_err(|error| unusable(error.to_string()))?;
    if bytes.len() > LONGEST {
        return Err(unusable(format!("a passphrase has at most {LONGEST} bytes")));
    }
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let text = str::from_utf8(line).map_err(|_| unusable("a passphrase is UTF-8".to_owned()))?;
    Ok(Zeroizing::new(text.to_owned()))
}
