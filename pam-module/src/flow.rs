//! The way of one login, from Begin to a verdict, over any PAM handle and any client of the daemon. It decides
//! nothing: it shows, asks and carries. Both sides are untrusted: what the daemon says is cleaned before it is
//! shown, what the person types is checked before it leaves.

use dbus_api::{Action, MessageKind, Origin, Step};
use zeroize::Zeroize;

use crate::{
    options::{FirstPass, Options},
    reply::Reply,
    text::showable,
    verdict::{Refusal, Verdict},
};

/// The most messages of one call of the conversation function: `PAM_MAX_NUM_MSG` (pam_conv(3)).
const MESSAGES_A_CALL: usize = 32;

/// The most messages of one step that are shown; a QR code at enrolment takes about 40.
const MESSAGES_A_STEP: usize = 256;

/// The most prompts of one verification, so that a daemon gone wrong cannot keep a login for ever.
const PROMPTS: u32 = 20;

/// What is asked where password and code come in one prompt: the same for every account.
const COMBINED_PROMPT: &str = "Password and code: ";

/// What is said where nobody can enrol although policy wants it.
const CANNOT_ENROL: &str = "You cannot set up a second factor at this service: ask an administrator.";

/// What is said where the daemon went away in the middle of an enrolment.
const ENROLMENT_BROKE_OFF: &str = "The connection to countersignd broke off: log in again.";

/// What is said where the service answers every prompt with the password.
const CANNOT_ASK_TWICE: &str = "This service cannot ask twice, for a password and for a code: login refused.";

/// One message for the conversation function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) style: Style,
    /// Printable, at most [`crate::text::MESSAGE_BYTES`] bytes, without NUL. It may be the key of an enrolment.
    pub(crate) text: String,
}

impl Drop for Message {
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

/// How a message is shown, and whether it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Info,
    Error,
    AskHidden,
    AskVisible,
}

/// The PAM transaction, as far as the flow needs it.
pub(crate) trait Handle {
    /// Shows up to [`MESSAGES_A_CALL`] messages in one call; the last may be a question, whose reply comes back.
    ///
    /// # Errors
    /// The host's function failed, or gave no answer to the question.
    fn converse(&self, messages: &[Message]) -> Result<Option<Reply>, Refusal>;

    /// `PAM_AUTHTOK`, where an earlier module has set it and it is not empty.
    fn authtok(&self) -> Option<Reply>;

    /// Sets `PAM_AUTHTOK` for the modules that follow.
    fn leave_authtok(&self, password: &Reply);

    /// Writes a line into the log for whoever finds out why a login does not work.
    fn debug(&self, line: &str);
}

/// The daemon, wherever it is. Every wait has its end: the implementation bounds their sum.
pub(crate) trait Client {
    /// Connects where that is still to do, and begins a verification.
    fn begin(&mut self, user: &str, origin: &Origin) -> Result<(u64, Step), Failure>;

    /// Answers a prompt.
    fn respond(&mut self, id: u64, reply: &str) -> Result<Step, Failure>;

    /// Ends a verification that will not be answered. Best effort: the daemon ends it with the connection too.
    fn cancel(&mut self, id: u64);

    /// Connects again, the same way as before, and tries until the time is up.
    fn reconnect(&mut self) -> Result<(), Failure>;
}

/// Why the daemon gave no step.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Neither way leads to a daemon that may be trusted; no Begin was sent.
    Unreachable(String),
    /// The connection broke after a Begin was sent.
    Lost(String),
    /// The sum of all waiting has reached its bound.
    Deadline,
    /// A typed error, or an answer that is none.
    Answer(dbus_api::Error),
}

impl Failure {
    /// What it means for the login.
    pub(crate) fn refusal(self, options: &Options) -> Refusal {
        match self {
            Self::Unreachable(reason) => Refusal::Unreachable(reason),
            Self::Lost(reason) => Refusal::Unreachable(format!("connection lost: {reason}")),
            Self::Deadline => Refusal::Deadline(options.timeout),
            Self::Answer(error) => Refusal::Answer(error),
        }
    }
}

/// Who wants to log in, and from where.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) origin: Origin,
}

/// Carries one login through to its verdict. With `silent` (`PAM_SILENT`) only prompts and errors are shown.
pub(crate) fn verify(
    handle: &impl Handle,
    client: &mut impl Client,
    options: &Options,
    silent: bool,
    login: &Login,
) -> Verdict {
    let quiet = silent || options.quiet;
    let flow = Flow { handle, client, options, quiet, login, prompts: 0, spent: None, reconnected: false };
    flow.run().unwrap_or_else(Verdict::Refused)
}

struct Flow<'a, H, C> {
    handle: &'a H,
    client: &'a mut C,
    options: &'a Options,
    quiet: bool,
    login: &'a Login,
    prompts: u32,
    /// Password and code in one, once they have been parted: no later reply may be the same.
    spent: Option<Reply>,
    reconnected: bool,
}

impl<H: Handle, C: Client> Flow<'_, H, C> {
    fn run(mut self) -> Result<Verdict, Refusal> {
        let (mut id, mut step) = self.begin()?;
        while self.prompts < PROMPTS {
            self.debug(&format!("step: action {}, messages {}", step.action, step.messages.len()));
            match step.action() {
                Some(Action::AskHidden | Action::AskVisible) => {}
                Some(verdict) => return Ok(self.conclude(verdict, &step)),
                None => return Err(Refusal::UnknownAction(step.action)),
            }
            let reply = match self.ask(&step) {
                Ok(reply) => reply,
                Err(refusal) => {
                    self.client.cancel(id);
                    return Err(refusal);
                }
            };
            (id, step) = self.respond(id, &step, &reply)?;
        }
        self.client.cancel(id);
        Err(Refusal::TooManyPrompts(PROMPTS))
    }

    fn begin(&mut self) -> Result<(u64, Step), Refusal> {
        match self.client.begin(&self.login.user, &self.login.origin) {
            Err(Failure::Lost(reason)) => self.begin_again(&reason),
            begun => begun.map_err(|failure| self.refusal(failure)),
        }
    }

    /// Once a login: a daemon that was restarted has forgotten the verification.
    fn begin_again(&mut self, reason: &str) -> Result<(u64, Step), Refusal> {
        if self.reconnected {
            return Err(Refusal::Unreachable(format!("lost twice: {reason}")));
        }
        self.reconnected = true;
        self.debug(&format!("connection lost ({reason}): connecting again"));
        let connected = self.client.reconnect();
        connected.map_err(|failure| self.refusal(failure))?;
        let begun = self.client.begin(&self.login.user, &self.login.origin);
        begun.map_err(|failure| self.refusal(failure))
    }

    /// Answers. Where the connection broke, the same reply is given once more to a new verification that asks
    /// the same question; whatever else it says goes to the person. A code that was already accepted and
    /// committed shows as a reused one then: refused, and safe. A broken enrolment is refused: a new one would have
    /// another key than the one that the person has just scanned.
    fn respond(&mut self, id: u64, asked: &Step, reply: &Reply) -> Result<(u64, Step), Refusal> {
        let reason = match self.client.respond(id, reply.to_send()) {
            Ok(step) => return Ok((id, step)),
            Err(Failure::Lost(reason)) => reason,
            Err(failure) => return Err(self.refusal(failure)),
        };
        if asked.details.enrols() {
            self.say(ENROLMENT_BROKE_OFF);
            return Err(Refusal::Unreachable(format!("lost during an enrolment: {reason}")));
        }
        let (id, step) = self.begin_again(&reason)?;
        if step.action != asked.action || step.text != asked.text {
            return Ok((id, step));
        }
        let answered = self.client.respond(id, reply.to_send());
        answered.map(|step| (id, step)).map_err(|failure| self.refusal(failure))
    }

    fn conclude(&self, action: Action, step: &Step) -> Verdict {
        // The verdict stands whether or not the host can show what goes with it.
        if self.show(self.messages(step)).is_err() {
            self.debug("the messages of the verdict could not be shown");
        }
        match action {
            Action::Granted => Verdict::Granted,
            Action::Skipped => Verdict::Skipped,
            Action::Denied | Action::AskHidden | Action::AskVisible => Verdict::Refused(Refusal::denied(&step.details)),
        }
    }

    /// The reply to a step that asks, as it may leave the module.
    fn ask(&mut self, step: &Step) -> Result<Reply, Refusal> {
        self.prompts += 1;
        if step.details.enrols() {
            return self.ask_enrolling(step);
        }
        let first = self.prompts == 1;
        if first && self.options.first_pass != FirstPass::Leave {
            if let Some(code) = self.forwarded() {
                self.show(self.messages(step))?;
                return Ok(code);
            }
            if self.options.first_pass == FirstPass::Use {
                return Err(Refusal::NothingForwarded);
            }
        }
        let combined = first && self.options.forward_pass;
        let mut messages = self.messages(step);
        messages.push(if combined { combined_prompt() } else { prompt(step) });
        let typed = self.show(messages)?.ok_or(Refusal::Conversation("no answer"))?;
        if combined && let Some(code) = self.part(&typed) {
            return Ok(code);
        }
        self.refuse_repetition(&typed)?;
        if combined { Ok(self.unparted(typed)) } else { Ok(typed) }
    }

    /// The reply of a person who enrols: typed now, by somebody whose first factor was verified. With `forward_pass`
    /// the modules behind this one verify the password: whoever knows a name would get that far.
    fn ask_enrolling(&self, step: &Step) -> Result<Reply, Refusal> {
        if self.options.forward_pass || self.options.first_pass == FirstPass::Use {
            self.say(CANNOT_ENROL);
            return Err(Refusal::CannotEnrol);
        }
        let mut messages = self.messages(step);
        messages.push(prompt(step));
        let typed = self.show(messages)?.ok_or(Refusal::Conversation("no answer"))?;
        self.refuse_repetition(&typed)?;
        Ok(typed)
    }

    /// The code at the end of what an earlier module left, which keeps the password before it.
    fn forwarded(&mut self) -> Option<Reply> {
        let both = self.handle.authtok()?;
        self.part(&both)
    }

    /// Parts password and code; the password stays here, for the modules that follow.
    fn part(&mut self, both: &Reply) -> Option<Reply> {
        let (password, code) = both.split(self.options.forward_digits)?;
        self.handle.leave_authtok(&password);
        self.spent = Some(both.clone());
        Some(code)
    }

    /// What was typed at the combined prompt without a code at its end is a password: it stays here, and the
    /// daemon gets the empty reply, which uses up a try. sshd's filler tells the daemon what it is.
    fn unparted(&mut self, typed: Reply) -> Reply {
        if typed.is_sshd_filler() {
            return typed;
        }
        if !typed.is_empty() {
            self.handle.leave_authtok(&typed);
        }
        self.spent = Some(typed);
        Reply::new(Vec::new())
    }

    /// A reply that equals the password is the password: it never leaves the module.
    fn refuse_repetition(&self, typed: &Reply) -> Result<(), Refusal> {
        let password = self.handle.authtok();
        let known = [password.as_ref(), self.spent.as_ref()];
        if !known.into_iter().flatten().any(|known| !known.is_empty() && known.equals(typed)) {
            return Ok(());
        }
        self.say(CANNOT_ASK_TWICE);
        Err(Refusal::CannotAskTwice)
    }

    /// Says why somebody is refused, which holds whether or not the host can show it.
    fn say(&self, text: &str) {
        let message = Message { style: Style::Error, text: text.to_owned() };
        if self.show(vec![message]).is_err() {
            self.debug("the host showed no error message");
        }
    }

    /// Shows messages, the question with the last of them: sshd carries a call as one round and puts what is
    /// to be shown before the prompt, sudo, su and login print and ask in order (OpenSSH, `auth-pam.c`,
    /// `sshpam_query`; sudo, `plugins/sudoers/auth/pam.c`, `converse`).
    fn show(&self, messages: Vec<Message>) -> Result<Option<Reply>, Refusal> {
        let mut reply = None;
        for call in messages.chunks(MESSAGES_A_CALL) {
            reply = self.handle.converse(call)?;
        }
        Ok(reply)
    }

    fn messages(&self, step: &Step) -> Vec<Message> {
        messages(step, self.quiet && !step.details.enrols())
    }

    fn refusal(&self, failure: Failure) -> Refusal {
        failure.refusal(self.options)
    }

    fn debug(&self, line: &str) {
        if self.options.debug {
            self.handle.debug(line);
        }
    }
}

/// The messages of a step, cleaned; where it is to be quiet, errors alone.
pub(crate) fn messages(step: &Step, quiet: bool) -> Vec<Message> {
    let shown = step.messages.iter().take(MESSAGES_A_STEP).map(|message| Message {
        style: match MessageKind::from_number(message.kind) {
            Some(MessageKind::Error) => Style::Error,
            Some(MessageKind::Info) | None => Style::Info,
        },
        text: showable(&message.text),
    });
    shown.filter(|message| message.style == Style::Error || !quiet).collect()
}

fn combined_prompt() -> Message {
    Message { style: Style::AskHidden, text: COMBINED_PROMPT.to_owned() }
}

fn prompt(step: &Step) -> Message {
    let style = if step.action == Action::AskVisible as u32 { Style::AskVisible } else { Style::AskHidden };
    Message { style, text: showable(&step.text) }
}

#[cfg(test)]
mod tests;
