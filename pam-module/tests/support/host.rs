//! A PAM application: one transaction against a stack of its own (pam_start_confdir(3)), with a conversation that
//! answers from a script, well or badly.

#![allow(unsafe_code, reason = "libpam is C")]

use std::{
    collections::VecDeque,
    ffi::{CStr, CString, c_char, c_int, c_void},
    fs, ptr,
};

pub(crate) const SUCCESS: c_int = 0;
pub(crate) const SERVICE_ERR: c_int = 3;
pub(crate) const SYSTEM_ERR: c_int = 4;
pub(crate) const PERM_DENIED: c_int = 6;
pub(crate) const AUTH_ERR: c_int = 7;
pub(crate) const AUTHINFO_UNAVAIL: c_int = 9;
pub(crate) const MAXTRIES: c_int = 11;
pub(crate) const CONV_ERR: c_int = 19;
pub(crate) const IGNORE: c_int = 25;

pub(crate) const PAM_SERVICE: c_int = 1;
pub(crate) const PAM_USER: c_int = 2;
pub(crate) const PAM_TTY: c_int = 3;
pub(crate) const PAM_RHOST: c_int = 4;
pub(crate) const PAM_RUSER: c_int = 8;
pub(crate) const PAM_SILENT: c_int = 0x8000;

const ESTABLISH_CRED: c_int = 2;

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

type Converse = unsafe extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int;

#[repr(C)]
struct Conversation {
    function: Converse,
    data: *mut c_void,
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        directory: *const c_char,
        handle: *mut *mut c_void,
    ) -> c_int;
    fn pam_set_item(handle: *mut c_void, item: c_int, value: *const c_void) -> c_int;
    fn pam_get_item(handle: *mut c_void, item: c_int, value: *mut *const c_void) -> c_int;
    fn pam_authenticate(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_setcred(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_chauthtok(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_open_session(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_end(handle: *mut c_void, status: c_int) -> c_int;
}

/// How the host answers a call of its conversation.
#[derive(Clone)]
pub(crate) enum Answer {
    /// Every prompt of the call with this text.
    Text(Vec<u8>),
    /// `PAM_SUCCESS` and an array whose texts are NULL.
    NullText,
    /// `PAM_SUCCESS` and no array at all.
    NullArray,
    /// An error.
    Fail,
}

/// What the conversation function keeps.
#[derive(Default)]
struct Talk {
    before: Option<Box<dyn FnOnce()>>,
    answers: VecDeque<Answer>,
    calls: Vec<Vec<(c_int, String)>>,
}

/// One transaction.
pub(crate) struct Host {
    handle: *mut c_void,
    conversation: Box<Conversation>,
    talk: *mut Talk,
    directory: tempfile::TempDir,
}

impl Host {
    /// Begins a transaction for `user` with `stack` as the PAM file.
    pub(crate) fn new(stack: &str, user: &str) -> Self {
        Self::of_service("test-login", stack, user)
    }

    /// The same for a PAM service of another name.
    pub(crate) fn of_service(service: &str, stack: &str, user: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join(service), format!("{stack}\n")).unwrap();
        let service = CString::new(service).unwrap();
        let talk = Box::into_raw(Box::<Talk>::default());
        let conversation = Box::new(Conversation { function: converse, data: talk.cast() });
        let confdir = CString::new(directory.path().to_str().unwrap()).unwrap();
        let user = CString::new(user).unwrap();
        let mut handle = ptr::null_mut();
        // SAFETY: all strings and the conversation outlive the transaction.
        let started = unsafe {
            pam_start_confdir(
                service.as_ptr(),
                user.as_ptr(),
                ptr::from_ref(&*conversation),
                confdir.as_ptr(),
                &mut handle,
            )
        };
        assert_eq!(started, SUCCESS);
        Self { handle, conversation, talk, directory }
    }

    /// What the conversation will say, call by call; calls without a prompt take none.
    pub(crate) fn answering(self, answers: &[Answer]) -> Self {
        self.talk().answers.extend(answers.iter().cloned());
        self
    }

    pub(crate) fn typing(self, replies: &[&str]) -> Self {
        let answers: Vec<Answer> = replies.iter().map(|reply| Answer::Text(reply.as_bytes().to_vec())).collect();
        self.answering(&answers)
    }

    /// What happens while the person is typing the first reply.
    pub(crate) fn before_answering(&mut self, before: impl FnOnce() + 'static) {
        self.talk().before = Some(Box::new(before));
    }

    pub(crate) fn with_item(self, item: c_int, value: &[u8]) -> Self {
        let value = CString::new(value).unwrap();
        // SAFETY: libpam copies the string.
        let set = unsafe { pam_set_item(self.handle, item, value.as_ptr().cast()) };
        assert_eq!(set, SUCCESS);
        self
    }

    /// An item that is a text.
    pub(crate) fn item(&self, item: c_int) -> Option<String> {
        let mut value = ptr::null();
        // SAFETY: the transaction is open and `value` outlives the call.
        let found = unsafe { pam_get_item(self.handle, item, &mut value) };
        if found != SUCCESS || value.is_null() {
            return None;
        }
        // SAFETY: the items that are asked for are C strings, which libpam keeps.
        let text = unsafe { CStr::from_ptr(value.cast()) };
        Some(text.to_string_lossy().into_owned())
    }

    pub(crate) fn authenticate(&mut self) -> c_int {
        self.authenticate_with(0)
    }

    pub(crate) fn authenticate_with(&mut self, flags: c_int) -> c_int {
        // SAFETY: the transaction is open.
        unsafe { pam_authenticate(self.handle, flags) }
    }

    pub(crate) fn setcred(&mut self) -> c_int {
        // SAFETY: the transaction is open.
        unsafe { pam_setcred(self.handle, ESTABLISH_CRED) }
    }

    pub(crate) fn acct_mgmt(&mut self) -> c_int {
        // SAFETY: the transaction is open.
        unsafe { pam_acct_mgmt(self.handle, 0) }
    }

    pub(crate) fn chauthtok(&mut self) -> c_int {
        // SAFETY: the transaction is open.
        unsafe { pam_chauthtok(self.handle, 0) }
    }

    pub(crate) fn open_session(&mut self) -> c_int {
        // SAFETY: the transaction is open.
        unsafe { pam_open_session(self.handle, 0) }
    }

    /// Every message that was shown, with its style's number, call by call.
    pub(crate) fn calls(&self) -> Vec<Vec<(c_int, String)>> {
        self.talk().calls.clone()
    }

    #[allow(clippy::mut_from_ref, reason = "the only other holder is the conversation, on this very thread")]
    fn talk(&self) -> &mut Talk {
        // SAFETY: made by `new` and freed by `drop` alone; nobody else uses it at this moment.
        unsafe { &mut *self.talk }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // SAFETY: the transaction is open and ends here.
        unsafe { pam_end(self.handle, SUCCESS) };
        // SAFETY: made by `Box::into_raw`, and nothing refers to it any more.
        drop(unsafe { Box::from_raw(self.talk) });
    }
}

unsafe extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    // SAFETY: `data` is the `Talk` of the host that called libpam, which waits for us.
    let talk = unsafe { &mut *data.cast::<Talk>() };
    let count = usize::try_from(count).unwrap();
    let shown: Vec<(c_int, String)> = (0..count)
        .map(|index| {
            // SAFETY: the module passes `count` pointers.
            let message = unsafe { messages.add(index) };
            // SAFETY: within them.
            let message = unsafe { message.read() };
            // SAFETY: each points to a message.
            let style = unsafe { (*message).style };
            // SAFETY: as above.
            let text = unsafe { (*message).text };
            // SAFETY: a message's text is a C string.
            let text = unsafe { CStr::from_ptr(text) };
            assert!(text.to_bytes().len() < 512, "PAM_MAX_MSG_SIZE");
            (style, text.to_str().expect("a message is UTF-8").to_owned())
        })
        .collect();
    assert!((1..=32).contains(&count), "PAM_MAX_NUM_MSG");
    let asks = shown.iter().any(|(style, _)| *style <= 2);
    let styles: Vec<c_int> = shown.iter().map(|(style, _)| *style).collect();
    talk.calls.push(shown);
    if asks && let Some(before) = talk.before.take() {
        before();
    }
    let answer = if asks { talk.answers.pop_front().unwrap_or(Answer::Fail) } else { Answer::NullText };
    if matches!(answer, Answer::Fail) {
        return CONV_ERR;
    }
    if matches!(answer, Answer::NullArray) {
        // SAFETY: the module passes where the array is to go.
        unsafe { *responses = ptr::null_mut() };
        return SUCCESS;
    }
    // SAFETY: plain allocation; the module frees it.
    let array = unsafe { libc::calloc(count, size_of::<Response>()) }.cast::<Response>();
    if let Answer::Text(mut text) = answer {
        for (index, _) in styles.iter().enumerate().filter(|(_, style)| **style <= 2) {
            let mut given = CString::new(text.clone()).unwrap().into_bytes_with_nul();
            // SAFETY: a C string; the copy is the module's to free.
            let copy = unsafe { libc::strdup(given.as_ptr().cast()) };
            given.fill(0);
            // SAFETY: within the array.
            let entry = unsafe { array.add(index) };
            // SAFETY: calloc has made it a valid response.
            unsafe { (*entry).text = copy };
        }
        // A test looks for what was typed in memory that is given back: not in that of the script.
        text.fill(0);
    }
    // SAFETY: the module passes where the array is to go.
    unsafe { *responses = array };
    SUCCESS
}
