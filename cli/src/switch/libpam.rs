//! One login through the host's libpam, as sshd or sudo runs it, with the questions on this terminal: the tool's only
//! file that calls C. It runs in a process of its own, because the modules that libpam loads are anybody's.
#![allow(unsafe_code, reason = "libpam is C")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    os::unix::ffi::OsStrExt as _,
    path::Path,
    ptr, slice,
};

use zeroize::Zeroizing;

use crate::failure::Failure;

/// The most messages of one call, and bytes of one reply (`_pam_types.h` of Linux-PAM).
const MOST_MESSAGES: usize = 32;
const LONGEST_REPLY: usize = 512;

const PAM_SUCCESS: c_int = 0;
const PAM_BUF_ERR: c_int = 5;
const PAM_CONV_ERR: c_int = 19;
const PAM_PROMPT_ECHO_OFF: c_int = 1;
const PAM_PROMPT_ECHO_ON: c_int = 2;

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
    /// Unused by libpam.
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
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        folder: *const c_char,
        handle: *mut *mut Handle,
    ) -> c_int;
    fn pam_authenticate(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_strerror(handle: *mut Handle, code: c_int) -> *const c_char;
    fn pam_end(handle: *mut Handle, status: c_int) -> c_int;
}

/// Who answers.
pub(crate) trait Person {
    /// A question; `hidden` if nobody may see the answer. `None` if there is none.
    fn ask(&mut self, question: &str, hidden: bool) -> Option<Zeroizing<String>>;
    /// Something to read.
    fn tell(&mut self, text: &str);
}

/// A trait object has two pointers' width; libpam carries one.
struct Carried<'a>(&'a mut dyn Person);

/// Runs the `auth` stack of `service` for `user`, with the PAM files in `folder` (pam_start_confdir(3)).
///
/// # Errors
/// libpam refused, in its own words.
pub(crate) fn authenticate(folder: &Path, service: &str, user: &str, person: &mut dyn Person) -> Result<(), Failure> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Failure::usage("a name with a NUL in it is none"));
    let [folder, service, user] =
        [text(folder.as_os_str().as_bytes())?, text(service.as_bytes())?, text(user.as_bytes())?];
    let mut carried = Carried(person);
    let conversation = Conversation { converse, data: ptr::from_mut(&mut carried).cast() };
    let mut handle = ptr::null_mut();
    // SAFETY: all pointers are valid for the call, and what `conversation` points to outlives the handle.
    let started = unsafe {
        pam_start_confdir(service.as_ptr(), user.as_ptr(), &raw const conversation, folder.as_ptr(), &raw mut handle)
    };
    if started != PAM_SUCCESS || handle.is_null() {
        return Err(Failure::refused("libpam cannot use the PAM files of this service"));
    }
    // SAFETY: the handle came from pam_start_confdir and was not ended.
    let result = unsafe { pam_authenticate(handle, 0) };
    // SAFETY: as above; the answer is a constant of libpam's.
    let said = unsafe { pam_strerror(handle, result) };
    let said = if said.is_null() {
        String::new()
    } else {
        // SAFETY: it is a string that ends with NUL and lives as long as libpam.
        unsafe { CStr::from_ptr(said) }.to_string_lossy().into_owned()
    };
    // SAFETY: as above; nothing uses the handle afterwards.
    unsafe { pam_end(handle, result) };
    if result == PAM_SUCCESS { Ok(()) } else { Err(Failure::refused(format!("libpam refused: {said}"))) }
}

extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let count = usize::try_from(count).unwrap_or_default();
    if count == 0 || count > MOST_MESSAGES || messages.is_null() || responses.is_null() || data.is_null() {
        return PAM_CONV_ERR;
    }
    // SAFETY: `data` is what `authenticate` handed over, which waits for this call and touches it no other way.
    let carried = unsafe { &mut *data.cast::<Carried<'_>>() };
    // SAFETY: Linux-PAM hands over `count` pointers, one after the other, that live during the call.
    let messages = unsafe { slice::from_raw_parts(messages, count) };
    // SAFETY: any size is allowed; the module frees the memory (pam_conv(3)).
    let memory = unsafe { libc::calloc(count, size_of::<Response>()) }.cast::<Response>();
    if memory.is_null() {
        return PAM_BUF_ERR;
    }
    // SAFETY: room for `count` responses, ours alone until this function returns; zeros are empty ones.
    let replies = unsafe { slice::from_raw_parts_mut(memory, count) };
    if !answer_all(messages, replies, carried.0) {
        replies.iter().for_each(forget);
        // SAFETY: it came from calloc(3) and is not used again.
        unsafe { libc::free(memory.cast()) };
        return PAM_CONV_ERR;
    }
    // SAFETY: the place for the answer was handed over for this.
    unsafe { *responses = memory };
    PAM_SUCCESS
}

/// Whether every question has its reply.
fn answer_all(messages: &[*const Message], replies: &mut [Response], person: &mut dyn Person) -> bool {
    for (message, reply) in messages.iter().zip(replies) {
        // SAFETY: each pointer leads to a message that lives during the call.
        let Some(message) = (unsafe { message.as_ref() }) else { return false };
        let text = text_of(message);
        if !matches!(message.style, PAM_PROMPT_ECHO_OFF | PAM_PROMPT_ECHO_ON) {
            person.tell(&text);
            continue;
        }
        let answer = person.ask(&text, message.style == PAM_PROMPT_ECHO_OFF);
        let Some(answer) = answer.and_then(|answer| allocated(&answer)) else { return false };
        reply.text = answer;
    }
    true
}

fn text_of(message: &Message) -> String {
    if message.text.is_null() {
        return String::new();
    }
    // SAFETY: a string that ends with NUL and lives during the call.
    unsafe { CStr::from_ptr(message.text) }.to_string_lossy().into_owned()
}

/// A copy that the module frees with free(3).
fn allocated(reply: &str) -> Option<*mut c_char> {
    let bytes = reply.as_bytes();
    if bytes.len() >= LONGEST_REPLY || bytes.contains(&0) {
        return None;
    }
    // SAFETY: any size is allowed; the memory is zeroed, so that the copy ends with NUL.
    let copy = unsafe { libc::calloc(bytes.len() + 1, 1) }.cast::<u8>();
    if copy.is_null() {
        return None;
    }
    // SAFETY: the copy has room for all bytes and a NUL, and cannot overlap them.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), copy, bytes.len()) };
    Some(copy.cast())
}

/// Overwrites and frees a reply that nobody gets.
fn forget(reply: &Response) {
    if reply.text.is_null() {
        return;
    }
    // SAFETY: it was made by `allocated` and ends with NUL.
    let length = unsafe { libc::strlen(reply.text) };
    // SAFETY: so many bytes are ours to write.
    unsafe { libc::explicit_bzero(reply.text.cast(), length) };
    // SAFETY: it came from calloc(3) and is not used again.
    unsafe { libc::free(reply.text.cast()) };
}
