//! `countersign pam try`: one login through libpam on this terminal.

use std::path::Path;

use zeroize::Zeroizing;

use crate::{
    cli::PamTry,
    failure::Failure,
    host::Host,
    output::Output,
    prompt,
    switch::{
        libpam::{self, Person},
        login,
        trial::Stage,
    },
    wording::printable,
};

/// Whoever sits at the terminal.
struct Typist<'a>(&'a Output);

impl Person for Typist<'_> {
    fn ask(&mut self, question: &str, hidden: bool) -> Option<Zeroizing<String>> {
        prompt::ask_at_once(self.0, &format!("{} ", printable(question).trim_end()), hidden).ok().flatten()
    }

    fn tell(&mut self, text: &str) {
        for line in text.lines() {
            // Who has closed the output reads nothing.
            let _ = self.0.say(&printable(line));
        }
    }
}

/// Runs the command.
///
/// # Errors
/// Where the login is refused.
pub(super) fn run(arguments: &PamTry, output: &Output) -> Result<(), Failure> {
    let user = arguments.user.clone().unwrap_or_else(login::caller);
    if let Some(folder) = &arguments.folder {
        return libpam::authenticate(folder, &arguments.service, &user, &mut Typist(output));
    }
    let service = super::plan::name(&arguments.service)?;
    let host = Host::here();
    if !host.has(&Path::new("/etc/pam.d").join(&service)) && !host.has(&Path::new("/usr/lib/pam.d").join(&service)) {
        return Err(Failure::refused(format!("there is no PAM file of {service}"))
            .with_help("See which there are: ls /etc/pam.d"));
    }
    let stage = Stage::make(&host, &service, &[])?;
    if stage.play(&service, &user)?.success() {
        return output.say(&format!("{} was let in at {service}.", printable(&user)));
    }
    Err(Failure::silent())
}
