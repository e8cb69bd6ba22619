//! The PAM transaction: items, conversation, log, delay. With one line of `connection.rs`, all of the module's unsafe.
//!
//! The conversation is our own FFI: pamsm's `conv` leaks every reply with the code in clear, and crashes where
//! the host answers `PAM_SUCCESS` with a NULL response. What comes from the host is untrusted: any pointer may be
//! NULL, any text may be anything.

#![allow(unsafe_code, reason = "libpam and its conversation function are C")]

use std::{
    ffi::{CStr, CString, c_char, c_int, c_uint, c_void},
    ptr,
    time::Duration,
};

use dbus_api::Origin;
use pamsm::{LogLvl, Pam, PamLibExt};
use zeroize::{Zeroize, Zeroizing};

use crate::{
    flow::{self, Login, Message, Style},
    reply::Reply,
    text,
    verdict::Refusal,
};

/// Item numbers of `security/_pam_types.h` that pamsm does not read.
const PAM_TTY: c_int = 3;
const PAM_CONV: c_int = 5;

const PAM_SUCCESS: c_int = 0;

/// The most bytes of an account's name: `LOGIN_NAME_MAX` less the closing NUL (limits.h).
const USER_BYTES: usize = 255;

/// The most bytes of an item of the origin.
const ITEM_BYTES: usize = 256;

/// The longest delay that the daemon can ask for.
const FAIL_DELAY: Duration = Duration::from_secs(60);

/// Under which name the transaction remembers whom `auth` let through (pam_set_data(3)).
const LET_THROUGH: &str = "countersign_let_through";

/// `struct pam_message` (pam_conv(3)).
#[repr(C)]
struct RawMessage {
    style: c_int,
    text: *const c_char,
}

/// `struct pam_response` (pam_conv(3)). Both levels are the host's `malloc` and ours to free.
#[repr(C)]
struct RawResponse {
    text: *mut c_char,
    code: c_int,
}

/// `struct pam_conv` (pam_conv(3)).
#[repr(C)]
struct RawConversation {
    function: Option<unsafe extern "C" fn(c_int, *mut *const RawMessage, *mut *mut RawResponse, *mut c_void) -> c_int>,
    data: *mut c_void,
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_get_item(handle: *const c_void, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_fail_delay(handle: *const c_void, microseconds: c_uint) -> c_int;
}

/// The transaction of one `pam_authenticate`.
pub(crate) struct Handle<'a>(&'a Pam);

impl<'a> Handle<'a> {
    /// The transaction that libpam passed in.
    pub(crate) fn new(pam: &'a Pam) -> Self {
        Self(pam)
    }

    /// Who logs in, asked for by libpam where the host does not know yet, and from where.
    ///
    /// # Errors
    /// A name that no account can have. It is compared with nothing here: what it means is the daemon's matter.
    pub(crate) fn login(&self) -> Result<Login, Refusal> {
        let name = self.0.get_user(None).map_err(|_| Refusal::Conversation("no user name"))?;
        let name = name.ok_or(Refusal::BadUser("is missing"))?;
        let user = match name.to_str() {
            Err(_) => return Err(Refusal::BadUser("is not UTF-8")),
            Ok("") => return Err(Refusal::BadUser("is empty")),
            Ok(user) if user.len() > USER_BYTES => return Err(Refusal::BadUser("is too long")),
            Ok(user) => user.to_owned(),
        };
        Ok(Login { user, origin: self.origin() })
    }

    fn origin(&self) -> Origin {
        let item = |value: &CStr| text::item(value.to_bytes(), ITEM_BYTES);
        Origin {
            service: self.0.get_service().ok().flatten().map(item),
            tty: self.tty().map(|tty| text::item(&tty, ITEM_BYTES)),
            rhost: self.0.get_rhost().ok().flatten().map(item),
            ruser: self.0.get_ruser().ok().flatten().map(item),
        }
    }

    /// The PAM service's name, for the log.
    pub(crate) fn service(&self) -> String {
        let service = self.0.get_service().ok().flatten().map(|name| text::escaped(name.to_bytes(), ITEM_BYTES));
        service.unwrap_or_default()
    }

    /// Asks libpam to wait at least this long before a refusal reaches the person (pam_fail_delay(3)).
    pub(crate) fn fail_delay(&self, delay: Duration) {
        let microseconds = c_uint::try_from(delay.min(FAIL_DELAY).as_micros()).unwrap_or(c_uint::MAX);
        // SAFETY: the handle is that of this transaction.
        let set = unsafe { pam_fail_delay(self.raw(), microseconds) };
        if set != PAM_SUCCESS {
            self.log(LogLvl::WARNING, "libpam did not take the delay after a refusal");
        }
    }

    /// One line to `LOG_AUTHPRIV`, with the service's name before it (pam_syslog(3)). `line` holds no NUL.
    pub(crate) fn log(&self, level: LogLvl, line: &str) {
        // pam_syslog tells nothing of its success, and there is nowhere else to tell it.
        let _ = self.0.syslog(level, line);
    }

    /// Remembers in this transaction that `auth` let `user` through, or that it let nobody through.
    pub(crate) fn remember_let_through(&self, user: Option<&str>) {
        let name = user.unwrap_or_default().as_bytes().to_vec();
        if self.0.send_bytes(LET_THROUGH, name, None).is_err() {
            self.log(LogLvl::WARNING, "libpam did not take what the account phase asks for");
        }
    }

    /// Whether `auth` let `user` through in this very transaction.
    pub(crate) fn was_let_through(&self, user: &str) -> bool {
        self.0.retrieve_bytes(LET_THROUGH).is_ok_and(|name| !user.is_empty() && name == user.as_bytes())
    }

    fn raw(&self) -> *const c_void {
        // SAFETY: `Pam` is `repr(transparent)` over the pointer to the handle (pamsm 0.5.5, src/pam.rs).
        unsafe { ptr::from_ref(self.0).cast::<*const c_void>().read() }
    }

    fn item(&self, item: c_int) -> Option<*const c_void> {
        let mut value = ptr::null();
        // SAFETY: the handle is that of this transaction and `value` outlives the call.
        let found = unsafe { pam_get_item(self.raw(), item, &mut value) };
        (found == PAM_SUCCESS && !value.is_null()).then_some(value)
    }

    fn tty(&self) -> Option<Vec<u8>> {
        let tty = self.item(PAM_TTY)?.cast::<c_char>();
        // SAFETY: PAM_TTY is a C string that libpam keeps until the item is set anew; it is copied at once.
        let tty = unsafe { CStr::from_ptr(tty) };
        Some(tty.to_bytes().to_vec())
    }

    /// Calls the host. On success the responses are its allocation, or NULL.
    fn call(&self, messages: &[RawMessage]) -> Result<*mut RawResponse, Refusal> {
        let conversation = self.item(PAM_CONV).ok_or(Refusal::Conversation("the host has none"))?;
        // SAFETY: PAM_CONV is a `struct pam_conv` that lives as long as the transaction.
        let RawConversation { function, data } = unsafe { conversation.cast::<RawConversation>().read() };
        let function = function.ok_or(Refusal::Conversation("the host has none"))?;
        // One array of pointers into one array of messages: Linux-PAM and the older convention read it alike.
        let mut pointers: Vec<*const RawMessage> = messages.iter().map(ptr::from_ref).collect();
        let count = c_int::try_from(messages.len()).map_err(|_| Refusal::Conversation("too many messages"))?;
        let mut responses = ptr::null_mut();
        // SAFETY: the function is the host's own for this transaction; messages, pointers and `responses` outlive
        // the call.
        let answered = unsafe { function(count, pointers.as_mut_ptr(), &mut responses, data) };
        if answered != PAM_SUCCESS {
            return Err(Refusal::Conversation("the host's conversation function failed"));
        }
        Ok(responses)
    }
}

impl flow::Handle for Handle<'_> {
    fn converse(&self, messages: &[Message]) -> Result<Option<Reply>, Refusal> {
        let asks = messages.last().is_some_and(|last| matches!(last.style, Style::AskHidden | Style::AskVisible));
        let texts = messages.iter().map(|message| CString::new(message.text.as_str())).collect::<Result<Vec<_>, _>>();
        let texts = texts.map_err(|_| Refusal::Conversation("a message holds a NUL"))?;
        let raw: Vec<RawMessage> = messages
            .iter()
            .zip(&texts)
            .map(|(message, text)| RawMessage { style: style_number(message.style), text: text.as_ptr() })
            .collect();
        let responses = self.call(&raw);
        // They may hold the key of an enrolment.
        texts.into_iter().for_each(|text| text.into_bytes().zeroize());
        let reply = take_last(responses?, raw.len());
        match (asks, reply) {
            (false, _) => Ok(None),
            (true, Some(reply)) => Ok(Some(reply)),
            (true, None) => Err(Refusal::Conversation("the host gave no answer")),
        }
    }

    fn authtok(&self) -> Option<Reply> {
        let password = self.0.get_cached_authtok().ok().flatten()?;
        (!password.is_empty()).then(|| Reply::new(password.to_bytes().to_vec()))
    }

    fn leave_authtok(&self, password: &Reply) {
        let copy = Zeroizing::new(password.bytes().to_vec());
        // A reply comes from a C string and holds no NUL; without the item, the next module asks by itself.
        let Ok(text) = CString::new(copy.as_slice()) else { return };
        if self.0.set_authtok(&text).is_err() {
            self.log(LogLvl::WARNING, "libpam did not take the password for the next module");
        }
        text.into_bytes().zeroize();
    }

    fn debug(&self, line: &str) {
        self.log(LogLvl::DEBUG, &text::escaped(line.as_bytes(), 500));
    }
}

/// The numbers of `security/_pam_types.h`.
fn style_number(style: Style) -> c_int {
    match style {
        Style::AskHidden => 1,
        Style::AskVisible => 2,
        Style::Error => 3,
        Style::Info => 4,
    }
}

/// Zeroises and frees `count` responses and their array; gives back the last one's text.
fn take_last(responses: *mut RawResponse, count: usize) -> Option<Reply> {
    if responses.is_null() {
        return None;
    }
    let mut last = None;
    for index in 0..count {
        // SAFETY: after PAM_SUCCESS a response array that is not NULL has one entry a message (pam_conv(3)).
        let entry = unsafe { responses.add(index) };
        // SAFETY: the entry is within the array.
        let RawResponse { text, code: _ } = unsafe { entry.read() };
        last = take_text(text);
    }
    // SAFETY: the array is the host's `malloc` and passed to us for freeing (pam_conv(3)).
    unsafe { libc::free(responses.cast()) };
    last
}

/// Copies, zeroises and frees one text.
fn take_text(text: *mut c_char) -> Option<Reply> {
    if text.is_null() {
        return None;
    }
    // SAFETY: a response's text that is not NULL is a C string (pam_conv(3)).
    let length = unsafe { CStr::from_ptr(text) }.to_bytes().len();
    // SAFETY: the `length` bytes before the NUL are the string's, it is ours now, and nothing else refers to it.
    let bytes = unsafe { std::slice::from_raw_parts_mut(text.cast::<u8>(), length) };
    let reply = Reply::new(bytes.to_vec());
    bytes.zeroize();
    // SAFETY: the text is the host's `malloc` and passed to us for freeing (pam_conv(3)).
    unsafe { libc::free(text.cast()) };
    Some(reply)
}
