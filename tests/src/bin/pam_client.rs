//! A small PAM application: one login, many logins at one instant, many logins in one process, of one kind or of many.
//!
//! It is the only file of this crate that calls libpam, and runs on scratch hosts alone.
#![allow(unsafe_code, clippy::print_stdout, reason = "libpam is C, and the results are for a pipe")]

use std::{
    env,
    ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
    fs,
    io::{BufRead, BufReader, Read, Write},
    process::{ChildStdout, Command, ExitCode, Stdio},
    ptr, slice,
    time::{Duration, Instant},
};

const PAM_SUCCESS: c_int = 0;
const PAM_CONV_ERR: c_int = 19;
const PAM_PROMPT_ECHO_OFF: c_int = 1;
const PAM_PROMPT_ECHO_ON: c_int = 2;
const PAM_ERROR_MSG: c_int = 3;
const PAM_FAIL_DELAY: c_int = 10;
const PAM_RHOST: c_int = 4;

/// Cycles before the first measurement: caches and allocators settle meanwhile.
const WARM_UP: usize = 100;

#[repr(C)]
struct Handle {
    _private: [u8; 0],
}

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

type Converse = extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    converse: Converse,
    data: *mut c_void,
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        handle: *mut *mut Handle,
    ) -> c_int;
    fn pam_set_item(handle: *mut Handle, item: c_int, value: *const c_void) -> c_int;
    fn pam_authenticate(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_end(handle: *mut Handle, status: c_int) -> c_int;
}

/// Who answers prompts, and what the module asked for beside them.
struct Person {
    next_reply: Box<dyn FnMut() -> Option<Vec<u8>>>,
    delay: Duration,
    rhost: Option<CString>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().collect();
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let done = match words[..] {
        ["attempt", service, user] => attempt(service, user, None),
        ["attempt", service, user, rhost] => attempt(service, user, CString::new(rhost).ok()),
        ["hold", service, user, code] => hold(service, user, code),
        ["race", service] => race(service),
        ["cycles", service, user] => cycles(service, user),
        ["measure", service, user] => measure(service, user),
        ["series"] => series(),
        _ => return ExitCode::from(2),
    };
    done.map_or(ExitCode::from(1), |()| ExitCode::SUCCESS)
}

/// Each prompt gets the next line of standard input. The login comes from `rhost`.
fn attempt(service: &str, user: &str, rhost: Option<CString>) -> Option<()> {
    let mut lines = std::io::stdin().lock().split(b'\n');
    let mut person = Person { next_reply: Box::new(move || lines.next()?.ok()), delay: Duration::ZERO, rhost };
    let start = Instant::now();
    let result = authenticate(service, user, &mut person)?;
    println!("result {result} {} {}", person.delay.as_micros(), start.elapsed().as_micros());
    Some(())
}

/// Says when it is asked, waits until standard input closes, and answers.
fn hold(service: &str, user: &str, code: &str) -> Option<()> {
    let code = code.as_bytes().to_vec();
    let wait_and_answer = move || {
        std::io::stdin().read_to_end(&mut Vec::new()).ok()?;
        Some(code.clone())
    };
    let mut person = Person { next_reply: Box::new(wait_and_answer), delay: Duration::ZERO, rhost: None };
    let result = authenticate(service, user, &mut person)?;
    println!("result {result}");
    Some(())
}

/// One process for each line `USER CODE`; all hold one pipe, whose closing lets them go together.
fn race(service: &str) -> Option<()> {
    let program = env::current_exe().ok()?;
    let (gate, key) = std::io::pipe().ok()?;
    let mut runners = Vec::new();
    for line in std::io::stdin().lines() {
        let line = line.ok()?;
        let (user, code) = line.split_once(' ')?;
        let mut command = Command::new(&program);
        command.args(["hold", service, user, code]);
        command.stdin(gate.try_clone().ok()?).stdout(Stdio::piped());
        let mut runner = command.spawn().ok()?;
        let output = BufReader::new(runner.stdout.take()?);
        runners.push((runner, output));
    }
    for (_, output) in &mut runners {
        wait_for_prompt(output)?;
    }
    drop(key);
    for (mut runner, output) in runners {
        let lines = output.lines().map_while(Result::ok);
        let result = lines.filter_map(|line| line.strip_prefix("result ").map(str::to_owned)).last()?;
        println!("{result}");
        runner.wait().ok()?;
    }
    Some(())
}

fn wait_for_prompt(output: &mut BufReader<ChildStdout>) -> Option<()> {
    let mut line = String::new();
    while output.read_line(&mut line).ok()? > 0 {
        if line.starts_with("prompt: ") {
            return Some(());
        }
        line.clear();
    }
    None
}

/// One login for each line of standard input, then figures of this process.
fn cycles(service: &str, user: &str) -> Option<()> {
    let mut granted = 0;
    let mut before = String::new();
    let codes: Vec<Vec<u8>> = std::io::stdin().lock().split(b'\n').map_while(Result::ok).collect();
    for (index, code) in codes.into_iter().enumerate() {
        if index == WARM_UP {
            before = figures()?;
        }
        let mut reply = Some(code);
        let mut person = Person { next_reply: Box::new(move || reply.take()), delay: Duration::ZERO, rhost: None };
        granted += u32::from(authenticate(service, user, &mut person)? == PAM_SUCCESS);
    }
    println!("granted {granted}\nbefore {before}\nafter {}", figures()?);
    Some(())
}

/// One login for each line of standard input: its result and its microseconds.
fn measure(service: &str, user: &str) -> Option<()> {
    for code in std::io::stdin().lock().split(b'\n') {
        let mut reply = code.ok();
        let mut person = Person { next_reply: Box::new(move || reply.take()), delay: Duration::ZERO, rhost: None };
        let start = Instant::now();
        let result = authenticate(service, user, &mut person)?;
        println!("result {result} {}", start.elapsed().as_micros());
    }
    Some(())
}

/// One login for each line `SERVICE<tab>USER<tab>REPLY` of standard input; without a reply the conversation fails.
fn series() -> Option<()> {
    for line in std::io::stdin().lines() {
        let line = line.ok()?;
        let mut fields = line.split('\t').map(str::to_owned);
        let (service, user, mut reply) = (fields.next()?, fields.next()?, fields.next());
        let mut person = Person {
            next_reply: Box::new(move || reply.take().map(String::into_bytes)),
            delay: Duration::ZERO,
            rhost: None,
        };
        println!("result {}", authenticate(&service, &user, &mut person)?);
    }
    Some(())
}

fn figures() -> Option<String> {
    let count = |path: &str| Some(fs::read_dir(path).ok()?.count());
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
    let resident = field("VmRSS:")?.trim_end_matches(" kB");
    let [caught, ignored, blocked] = ["SigCgt:", "SigIgn:", "SigBlk:"].map(field);
    Some(format!(
        "threads={} descriptors={} resident={resident} caught={} ignored={} blocked={}",
        count("/proc/self/task")?,
        count("/proc/self/fd")?,
        caught?,
        ignored?,
        blocked?
    ))
}

/// One cycle of `pam_start`, `pam_authenticate`, `pam_end`.
fn authenticate(service: &str, user: &str, person: &mut Person) -> Option<c_int> {
    let [service, user] = [CString::new(service).ok()?, CString::new(user).ok()?];
    let conversation = Conversation { converse, data: ptr::from_mut(person).cast() };
    let mut handle = ptr::null_mut();
    // SAFETY: the strings, the conversation and the place for the handle live until `pam_end` below.
    let started = unsafe { pam_start(service.as_ptr(), user.as_ptr(), &raw const conversation, &raw mut handle) };
    if started != PAM_SUCCESS {
        return None;
    }
    let note_delay: extern "C" fn(c_int, c_uint, *mut c_void) = note_delay;
    // SAFETY: the handle is valid; PAM_FAIL_DELAY takes a function of this type (pam_fail_delay(3)).
    unsafe { pam_set_item(handle, PAM_FAIL_DELAY, note_delay as *const c_void) };
    if let Some(rhost) = &person.rhost {
        // SAFETY: the handle is valid; PAM_RHOST takes a C string, of which libpam makes a copy.
        unsafe { pam_set_item(handle, PAM_RHOST, rhost.as_ptr().cast()) };
    }
    // SAFETY: the handle is valid, and `person` is borrowed by nobody else meanwhile.
    let result = unsafe { pam_authenticate(handle, 0) };
    // SAFETY: the handle is valid and not used afterwards.
    unsafe { pam_end(handle, result) };
    Some(result)
}

/// Called instead of sleeping after a failure: scenarios want to know of the delay, not to feel it.
extern "C" fn note_delay(_result: c_int, microseconds: c_uint, data: *mut c_void) {
    // SAFETY: libpam hands on the conversation's `data`, which is the person of `authenticate`.
    let person = unsafe { &mut *data.cast::<Person>() };
    person.delay = Duration::from_micros(microseconds.into());
}

extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    // SAFETY: libpam hands on the conversation's `data`, which is the person of `authenticate`.
    let person = unsafe { &mut *data.cast::<Person>() };
    let Ok(count) = usize::try_from(count) else { return PAM_CONV_ERR };
    // SAFETY: the caller of pam_conv(3) frees this array, which calloc zeroes.
    let answers = unsafe { libc::calloc(count, size_of::<Response>()) }.cast::<Response>();
    if answers.is_null() {
        return PAM_CONV_ERR;
    }
    // SAFETY: calloc made `count` responses, all bytes of which are 0.
    let places = unsafe { slice::from_raw_parts_mut(answers, count) };
    // SAFETY: Linux-PAM passes an array of `count` pointers.
    let messages = unsafe { slice::from_raw_parts(messages, count) };
    if messages.iter().zip(&mut *places).any(|(message, place)| answer(*message, place, person).is_none()) {
        for place in places {
            // SAFETY: NULL, or a copy that strdup made and nobody else has.
            unsafe { libc::free(place.text.cast()) };
        }
        // SAFETY: calloc made it, and nobody else has it.
        unsafe { libc::free(answers.cast()) };
        return PAM_CONV_ERR;
    }
    // SAFETY: `responses` is the caller's place for the array.
    unsafe { *responses = answers };
    PAM_SUCCESS
}

/// Shows one message, and puts the reply to a prompt in its place.
fn answer(message: *const Message, place: &mut Response, person: &mut Person) -> Option<()> {
    // SAFETY: it points to a message that is valid during the call of the conversation, or is NULL.
    let message = unsafe { message.as_ref() }?;
    // SAFETY: the text is a C string, valid as long as the message.
    let text = unsafe { CStr::from_ptr(message.text) }.to_string_lossy();
    say(message.style, &text)?;
    if [PAM_PROMPT_ECHO_OFF, PAM_PROMPT_ECHO_ON].contains(&message.style) {
        let reply = CString::new((person.next_reply)()?).ok()?;
        // SAFETY: strdup copies a C string; the caller of the conversation frees the copy.
        place.text = unsafe { libc::strdup(reply.as_ptr()) };
    }
    Some(())
}

fn say(style: c_int, text: &str) -> Option<()> {
    let kind = match style {
        PAM_PROMPT_ECHO_OFF | PAM_PROMPT_ECHO_ON => "prompt",
        PAM_ERROR_MSG => "error",
        _ => "info",
    };
    let mut output = std::io::stdout();
    writeln!(output, "{kind}: {text}").ok()?;
    output.flush().ok()
}
