//! What is known of modules: which of them prove who somebody is, and what they can return from `pam_authenticate`. Of
//! a module that is not known here, everything is possible.

use super::{control::Code, stack::Entry};

/// Our module's file name.
pub(crate) const OURS: &str = "pam_countersign.so";

/// What a module is for, in an `auth` stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Ours.
    Countersign,
    /// It proves who somebody is: a password, a fingerprint, a directory. Unknown modules count as such.
    Factor,
    /// It tells accounts or places apart, and lets nobody in because of something they know or have.
    Condition,
    /// It lets root change to anybody (`pam_rootok`): root needs no code.
    Root,
    /// It may refuse, and skips nothing.
    Gate,
    /// It neither lets in nor refuses.
    Inert,
    /// It always refuses.
    Deny,
    /// It always lets in.
    Permit,
}

/// What ours can return (docs/module.md), and what libpam takes for it where it cannot be loaded.
pub(crate) const OUR_FAILURES: [Code; 8] = [
    Code::AUTH_ERR,
    Code::MAXTRIES,
    Code::AUTHINFO_UNAVAIL,
    Code::CONV_ERR,
    Code::SYSTEM_ERR,
    Code::SERVICE_ERR,
    Code::MODULE_UNKNOWN,
    Code::PERM_DENIED,
];

/// What a module may return that is known to return anything.
const ANYTHING: [Code; 14] = [
    Code::IGNORE,
    Code::SUCCESS,
    Code::AUTH_ERR,
    Code::USER_UNKNOWN,
    Code::AUTHINFO_UNAVAIL,
    Code::PERM_DENIED,
    Code::MAXTRIES,
    Code::CRED_INSUFFICIENT,
    Code::SERVICE_ERR,
    Code::SYSTEM_ERR,
    Code::CONV_ERR,
    Code::ABORT,
    Code::MODULE_UNKNOWN,
    Code::NEW_AUTHTOK_REQD,
];

/// The same of one that never says that it has nothing to say.
const SPOKEN: &[Code] = {
    let [_ignore, spoken @ ..] = &ANYTHING;
    spoken
};

/// The role of an entry's module.
pub(crate) fn role(entry: &Entry) -> Role {
    match entry.module().unwrap_or_default() {
        OURS => Role::Countersign,
        "pam_deny.so" => Role::Deny,
        "pam_permit.so" => Role::Permit,
        "pam_rootok.so" => Role::Root,
        "pam_env.so"
        | "pam_group.so"
        | "pam_faildelay.so"
        | "pam_keyinit.so"
        | "pam_warn.so"
        | "pam_echo.so"
        | "pam_issue.so"
        | "pam_mail.so"
        | "pam_motd.so"
        | "pam_cap.so"
        | "pam_umask.so"
        | "pam_limits.so"
        | "pam_loginuid.so"
        | "pam_gnome_keyring.so"
        | "pam_kwallet5.so"
        | "pam_ecryptfs.so"
        | "pam_selinux.so"
        | "pam_postgresok.so" => Role::Inert,
        "pam_succeed_if.so" | "pam_access.so" | "pam_listfile.so" | "pam_localuser.so" | "pam_usertype.so"
        | "pam_wheel.so" | "pam_time.so" | "pam_rhosts.so" | "pam_exec.so" | "pam_script.so" | "pam_timestamp.so" => {
            Role::Condition
        }
        "pam_faillock.so" | "pam_nologin.so" | "pam_securetty.so" | "pam_shells.so" | "pam_tally2.so"
        | "pam_sepermit.so" | "pam_abl.so" => Role::Gate,
        _ => Role::Factor,
    }
}

/// What an entry's module can return.
pub(crate) fn returns(entry: &Entry) -> &'static [Code] {
    match role(entry) {
        Role::Countersign => &[Code::SUCCESS, Code::IGNORE],
        Role::Deny => &[Code::AUTH_ERR],
        Role::Permit => &[Code::SUCCESS],
        // Nobody but root, who is asked for nothing else either.
        Role::Root => &[Code::AUTH_ERR],
        Role::Inert => &[Code::IGNORE, Code::SUCCESS],
        Role::Gate => &[Code::IGNORE, Code::SUCCESS, Code::AUTH_ERR, Code::PERM_DENIED, Code::USER_UNKNOWN],
        Role::Condition => {
            &[Code::SUCCESS, Code::AUTH_ERR, Code::PERM_DENIED, Code::IGNORE, Code::USER_UNKNOWN, Code::SERVICE_ERR]
        }
        Role::Factor if always_answers(entry) => SPOKEN,
        Role::Factor => &ANYTHING,
    }
}

/// Whether a module says yes or no about everybody, by its own manual page and these arguments.
fn always_answers(entry: &Entry) -> bool {
    let passwords = ["pam_unix.so", "pam_sss.so", "pam_ldap.so", "pam_krb5.so", "pam_winbind.so"];
    let ignores = entry.arguments().iter().any(|argument| argument.contains("ignore"));
    entry.module().is_some_and(|module| passwords.contains(&module)) && !ignores
}
