//! The flow over a host and a daemon played from scripts: what is shown, what leaves, what it ends in.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test that stops here has failed, which is what it is for"
)]

use std::{cell::RefCell, collections::VecDeque};

use dbus_api::{Denial, Details};

use super::*;
use crate::verdict::Refusal;

/// A host that answers from a script.
#[derive(Default)]
struct Host {
    replies: RefCell<VecDeque<Vec<u8>>>,
    calls: RefCell<Vec<Vec<Message>>>,
    authtok: RefCell<Vec<u8>>,
}

impl Host {
    fn typing(replies: &[&str]) -> Self {
        let replies = replies.iter().map(|reply| reply.as_bytes().to_vec()).collect();
        Self { replies: RefCell::new(replies), ..Self::default() }
    }

    fn after_password(self, password: &str) -> Self {
        self.authtok.replace(password.as_bytes().to_vec());
        self
    }

    fn shown(&self) -> Vec<String> {
        self.calls.borrow().iter().flatten().map(|message| message.text.clone()).collect()
    }

    fn password(&self) -> String {
        String::from_utf8(self.authtok.borrow().clone()).unwrap()
    }
}

impl Handle for Host {
    fn converse(&self, messages: &[Message]) -> Result<Option<Reply>, Refusal> {
        self.calls.borrow_mut().push(messages.to_vec());
        if !matches!(messages.last().unwrap().style, Style::AskHidden | Style::AskVisible) {
            return Ok(None);
        }
        let reply = self.replies.borrow_mut().pop_front();
        reply.map(|bytes| Some(Reply::new(bytes))).ok_or(Refusal::Conversation("the script is at its end"))
    }

    fn authtok(&self) -> Option<Reply> {
        let password = self.authtok.borrow().clone();
        (!password.is_empty()).then(|| Reply::new(password))
    }

    fn leave_authtok(&self, password: &Reply) {
        self.authtok.replace(password.bytes().to_vec());
    }

    fn debug(&self, _: &str) {}
}

/// A daemon that answers from a script and keeps what it is told.
#[derive(Default)]
struct Daemon {
    begins: VecDeque<Result<Step, Failure>>,
    steps: VecDeque<Result<Step, Failure>>,
    got: Vec<String>,
    begun: u32,
    cancelled: u32,
    reconnected: u32,
}

impl Daemon {
    fn new(begin: Step, steps: Vec<Result<Step, Failure>>) -> Self {
        Self { begins: [Ok(begin)].into(), steps: steps.into(), ..Self::default() }
    }
}

impl Client for Daemon {
    fn begin(&mut self, user: &str, _: &Origin) -> Result<(u64, Step), Failure> {
        assert_eq!(user, "ann");
        self.begun += 1;
        self.begins.pop_front().unwrap().map(|step| (u64::from(self.begun), step))
    }

    fn respond(&mut self, id: u64, reply: &str) -> Result<Step, Failure> {
        assert_eq!(id, u64::from(self.begun), "a reply goes to the newest verification");
        self.got.push(reply.to_owned());
        self.steps.pop_front().unwrap()
    }

    fn cancel(&mut self, _: u64) {
        self.cancelled += 1;
    }

    fn reconnect(&mut self) -> Result<(), Failure> {
        self.reconnected += 1;
        Ok(())
    }
}

fn step(action: Action, text: &str) -> Step {
    Step { messages: Vec::new(), action: action as u32, text: text.to_owned(), details: Details::default() }
}

fn ask() -> Step {
    step(Action::AskHidden, "Code: ")
}

fn granted() -> Result<Step, Failure> {
    Ok(step(Action::Granted, ""))
}

fn denied(denial: Denial) -> Result<Step, Failure> {
    let mut denied = step(Action::Denied, "");
    denied.details.denial = Some(denial as u32);
    Ok(denied)
}

fn telling(mut step: Step, count: usize) -> Step {
    let message = |number| dbus_api::Message { kind: MessageKind::Info as u32, text: format!("line {number}") };
    step.messages = (0..count).map(message).collect();
    step
}

fn lost() -> Failure {
    Failure::Lost("gone".to_owned())
}

fn run(host: &Host, daemon: &mut Daemon, options: &Options, silent: bool) -> Verdict {
    let login = Login { user: "ann".to_owned(), origin: Origin::default() };
    verify(host, daemon, options, silent, &login)
}

fn play(host: &Host, daemon: &mut Daemon) -> Verdict {
    run(host, daemon, &Options::default(), false)
}

fn forwarding() -> Options {
    Options { forward_pass: true, ..Options::default() }
}

#[test]
fn a_granted_code_grants() {
    let host = Host::typing(&["123456"]);
    let mut daemon = Daemon::new(ask(), vec![granted()]);
    assert!(matches!(play(&host, &mut daemon), Verdict::Granted));
    assert_eq!(daemon.got, ["123456"]);
    assert_eq!(host.shown(), ["Code: "]);
}

#[test]
fn a_step_is_one_call_with_the_question_last() {
    let host = Host::typing(&["123456"]);
    let mut daemon = Daemon::new(telling(ask(), 2), vec![granted()]);
    play(&host, &mut daemon);
    assert_eq!(host.calls.borrow().len(), 1);
    assert_eq!(host.shown(), ["line 0", "line 1", "Code: "]);
}

#[test]
fn more_than_32_messages_go_in_several_calls() {
    let host = Host::typing(&["123456"]);
    let mut daemon = Daemon::new(telling(ask(), 70), vec![granted()]);
    play(&host, &mut daemon);
    let sizes: Vec<usize> = host.calls.borrow().iter().map(Vec::len).collect();
    assert_eq!(sizes, [32, 32, 7]);
    assert_eq!(host.shown()[70], "Code: ");
}

#[test]
fn quiet_and_silent_hide_information_but_neither_prompts_nor_errors() {
    let quiet = Options { quiet: true, ..Options::default() };
    for (options, silent) in [(quiet, false), (Options::default(), true)] {
        let host = Host::typing(&["123456"]);
        let mut asked = telling(ask(), 1);
        asked.messages.push(dbus_api::Message { kind: MessageKind::Error as u32, text: "wrong".to_owned() });
        run(&host, &mut Daemon::new(asked, vec![granted()]), &options, silent);
        assert_eq!(host.shown(), ["wrong", "Code: "]);
    }
}

#[test]
fn what_the_daemon_says_cannot_drive_the_terminal() {
    let host = Host::typing(&["123456"]);
    let mut asked = step(Action::AskVisible, "Co\x1b[31mde: ");
    asked.messages.push(dbus_api::Message { kind: 9, text: "a\x07b".to_owned() });
    play(&host, &mut Daemon::new(asked, vec![granted()]));
    assert_eq!(host.shown(), ["ab", "Co[31mde: "]);
    assert_eq!(host.calls.borrow()[0][1].style, Style::AskVisible);
}

#[test]
fn a_denial_keeps_its_kind_and_its_delay() {
    let host = Host::typing(&["000000"]);
    let mut refused = denied(Denial::Locked).unwrap();
    refused.details.fail_delay = Some(1500);
    let verdict = play(&host, &mut Daemon::new(ask(), vec![Ok(refused)]));
    let Verdict::Refused(refusal) = verdict else { panic!("{verdict:?}") };
    assert!(matches!(refusal, Refusal::Denied { denial: Denial::Locked, .. }));
    assert_eq!(refusal.fail_delay().unwrap().as_millis(), 1500);
}

#[test]
fn only_the_daemons_skip_is_a_skip_and_an_unknown_action_refuses() {
    let host = Host::default();
    assert!(matches!(play(&host, &mut Daemon::new(step(Action::Skipped, ""), vec![])), Verdict::Skipped));
    let mut unknown = step(Action::Granted, "");
    for action in [0, 6, u32::MAX] {
        unknown.action = action;
        let verdict = play(&host, &mut Daemon::new(unknown.clone(), vec![]));
        assert!(matches!(verdict, Verdict::Refused(Refusal::UnknownAction(_))), "{verdict:?}");
    }
    assert!(host.calls.borrow().is_empty());
}

#[test]
fn a_second_question_is_asked_and_a_daemon_without_end_is_left() {
    let host = Host::typing(&["000000", "123456"]);
    let mut daemon = Daemon::new(ask(), vec![Ok(ask()), granted()]);
    assert!(matches!(play(&host, &mut daemon), Verdict::Granted));
    assert_eq!(daemon.got, ["000000", "123456"]);

    let host = Host::typing(&["000000"; 30]);
    let mut daemon = Daemon::new(ask(), (0..30).map(|_| Ok(ask())).collect());
    assert!(matches!(play(&host, &mut daemon), Verdict::Refused(Refusal::TooManyPrompts(20))));
    assert_eq!((daemon.got.len(), daemon.cancelled), (20, 1));
}

#[test]
fn a_failed_conversation_cancels_the_verification() {
    let mut daemon = Daemon::new(ask(), vec![]);
    let verdict = play(&Host::default(), &mut daemon);
    assert!(matches!(verdict, Verdict::Refused(Refusal::Conversation(_))));
    assert_eq!((daemon.cancelled, daemon.got.len()), (1, 0));
}

#[test]
fn a_reply_equal_to_the_password_never_leaves_the_module() {
    let host = Host::typing(&["hunter2"]).after_password("hunter2");
    let mut daemon = Daemon::new(ask(), vec![]);
    assert!(matches!(play(&host, &mut daemon), Verdict::Refused(Refusal::CannotAskTwice)));
    assert!(daemon.got.is_empty());
    assert_eq!(daemon.cancelled, 1);
    assert!(host.shown()[1].contains("cannot ask twice"));

    let host = Host::typing(&["123456"]).after_password("hunter2");
    assert!(matches!(play(&host, &mut Daemon::new(ask(), vec![granted()])), Verdict::Granted));
    // No password was set: an empty reply is not "equal" to it.
    let host = Host::typing(&[""]);
    let mut daemon = Daemon::new(ask(), vec![denied(Denial::Refused)]);
    play(&host, &mut daemon);
    assert_eq!(daemon.got, [""]);
}

#[test]
fn a_broken_connection_is_mended_once_with_the_same_reply() {
    let host = Host::typing(&["123456"]);
    let mut daemon = Daemon::new(ask(), vec![Err(lost()), granted()]);
    daemon.begins.push_back(Ok(telling(ask(), 1)));
    assert!(matches!(play(&host, &mut daemon), Verdict::Granted));
    assert_eq!(daemon.got, ["123456", "123456"]);
    assert_eq!((daemon.begun, daemon.reconnected), (2, 1));
    assert_eq!(host.shown(), ["Code: "], "the person is asked once");

    let host = Host::typing(&["123456"]);
    let mut daemon = Daemon::new(ask(), vec![Err(lost()), Err(lost())]);
    daemon.begins.push_back(Ok(ask()));
    assert!(matches!(play(&host, &mut daemon), Verdict::Refused(Refusal::Unreachable(_))));
    assert_eq!(daemon.reconnected, 1);
}

#[test]
fn a_begin_without_an_answer_is_sent_once_more() {
    let host = Host::typing(&["123456"]);
    let mut daemon = Daemon::new(ask(), vec![granted()]);
    daemon.begins.push_front(Err(lost()));
    assert!(matches!(play(&host, &mut daemon), Verdict::Granted));
    assert_eq!((daemon.begun, daemon.reconnected), (2, 1));
}

#[test]
fn after_a_break_another_question_goes_to_the_person_and_a_verdict_counts() {
    let host = Host::typing(&["123456", "AAAA"]);
    let mut daemon = Daemon::new(ask(), vec![Err(lost()), granted()]);
    daemon.begins.push_back(Ok(step(Action::AskHidden, "Recovery code: ")));
    assert!(matches!(play(&host, &mut daemon), Verdict::Granted));
    assert_eq!(daemon.got, ["123456", "AAAA"]);

    let host = Host::typing(&["123456"]);
    let mut daemon = Daemon::new(ask(), vec![Err(lost())]);
    daemon.begins.push_back(denied(Denial::Locked));
    assert!(matches!(play(&host, &mut daemon), Verdict::Refused(Refusal::Denied { denial: Denial::Locked, .. })));
}

#[test]
fn a_deadline_is_never_tried_again() {
    let host = Host::typing(&["123456"]);
    let mut daemon = Daemon::new(ask(), vec![Err(Failure::Deadline)]);
    assert!(matches!(play(&host, &mut daemon), Verdict::Refused(Refusal::Deadline(_))));
    assert_eq!(daemon.reconnected, 0);
}

#[test]
fn password_and_code_in_one_prompt_are_parted_and_the_password_stays() {
    let host = Host::typing(&["hunter2123456"]);
    let mut daemon = Daemon::new(ask(), vec![granted()]);
    assert!(matches!(run(&host, &mut daemon, &forwarding(), false), Verdict::Granted));
    assert_eq!(host.shown(), ["Password and code: "]);
    assert_eq!(daemon.got, ["123456"]);
    assert_eq!(host.password(), "hunter2");
}

#[test]
fn a_password_without_a_code_stays_and_the_daemon_gets_the_empty_reply() {
    let host = Host::typing(&["hunter"]);
    let mut daemon = Daemon::new(ask(), vec![denied(Denial::Refused)]);
    run(&host, &mut daemon, &forwarding(), false);
    assert_eq!((daemon.got.as_slice(), host.password().as_str()), (&[String::new()][..], "hunter"));

    let filler = "\x08\n\r\x7fINCORRECT";
    let host = Host::typing(&[filler]);
    let mut daemon = Daemon::new(ask(), vec![denied(Denial::Refused)]);
    run(&host, &mut daemon, &forwarding(), false);
    assert_eq!(daemon.got, [filler], "the daemon learns that sshd blocked it");
}

#[test]
fn a_service_that_repeats_password_and_code_is_refused_at_the_second_question() {
    let host = Host::typing(&["hunter2123456", "hunter2123456"]);
    let mut daemon = Daemon::new(ask(), vec![Ok(ask())]);
    let verdict = run(&host, &mut daemon, &forwarding(), false);
    assert!(matches!(verdict, Verdict::Refused(Refusal::CannotAskTwice)));
    assert_eq!(daemon.got, ["123456"]);
}

#[test]
fn a_code_at_the_end_of_an_earlier_password_is_used_without_asking() {
    for first_pass in [FirstPass::Try, FirstPass::Use] {
        let options = Options { first_pass, ..Options::default() };
        let host = Host::default().after_password("hunter2123456");
        let mut daemon = Daemon::new(ask(), vec![granted()]);
        assert!(matches!(run(&host, &mut daemon, &options, false), Verdict::Granted));
        assert_eq!((daemon.got.as_slice(), host.password().as_str()), (&["123456".to_owned()][..], "hunter2"));
        assert!(host.shown().is_empty());
    }
}

#[test]
fn without_a_code_to_use_one_option_asks_and_the_other_refuses() {
    let host = Host::typing(&["123456"]).after_password("hunter");
    let options = Options { first_pass: FirstPass::Try, ..Options::default() };
    let mut daemon = Daemon::new(ask(), vec![granted()]);
    assert!(matches!(run(&host, &mut daemon, &options, false), Verdict::Granted));
    assert_eq!((daemon.got.as_slice(), host.password().as_str()), (&["123456".to_owned()][..], "hunter"));

    let options = Options { first_pass: FirstPass::Use, ..Options::default() };
    for password in ["hunter", ""] {
        let host = Host::typing(&["123456"]).after_password(password);
        let mut daemon = Daemon::new(ask(), vec![]);
        let verdict = run(&host, &mut daemon, &options, false);
        assert!(matches!(verdict, Verdict::Refused(Refusal::NothingForwarded)));
        assert_eq!(daemon.cancelled, 1);
    }
}

/// A step of an enrolment, which shows a key.
fn enrolling() -> Step {
    let mut step = telling(step(Action::AskHidden, "Code that the app shows: "), 1);
    step.details.enrolment = Some(true);
    step
}

#[test]
fn what_an_enrolment_shows_is_shown_although_information_is_not_wanted() {
    let quiet = Options { quiet: true, ..Options::default() };
    for (options, silent) in [(quiet, false), (Options::default(), true)] {
        let host = Host::typing(&["123456"]);
        let mut daemon = Daemon::new(enrolling(), vec![granted()]);
        assert!(matches!(run(&host, &mut daemon, &options, silent), Verdict::Granted));
        assert_eq!(host.shown(), ["line 0", "Code that the app shows: "]);
    }
}

#[test]
fn nobody_enrols_where_the_password_is_verified_later_or_nobody_is_asked() {
    let using = Options { first_pass: FirstPass::Use, ..Options::default() };
    for options in [forwarding(), using] {
        let host = Host::typing(&["123456"]).after_password("hunter2123456");
        let mut daemon = Daemon::new(enrolling(), vec![]);
        let verdict = run(&host, &mut daemon, &options, false);
        assert!(matches!(verdict, Verdict::Refused(Refusal::CannotEnrol)), "{verdict:?}");
        assert_eq!((host.shown(), daemon.cancelled), (vec![CANNOT_ENROL.to_owned()], 1));
    }
}

#[test]
fn an_enrolment_is_never_answered_with_what_an_earlier_module_left() {
    let host = Host::typing(&["654321"]).after_password("hunter2123456");
    let mut daemon = Daemon::new(enrolling(), vec![granted()]);
    let options = Options { first_pass: FirstPass::Try, ..Options::default() };
    assert!(matches!(run(&host, &mut daemon, &options, false), Verdict::Granted));
    assert_eq!(daemon.got, ["654321"]);
}

#[test]
fn an_enrolment_that_broke_off_is_refused_and_not_begun_again() {
    let host = Host::typing(&["123456"]);
    let mut daemon = Daemon::new(enrolling(), vec![Err(lost())]);
    let verdict = play(&host, &mut daemon);
    assert!(matches!(verdict, Verdict::Refused(Refusal::Unreachable(_))), "{verdict:?}");
    assert_eq!((daemon.begun, daemon.reconnected), (1, 0));
    assert_eq!(host.shown().last().map(String::as_str), Some(ENROLMENT_BROKE_OFF));
}
