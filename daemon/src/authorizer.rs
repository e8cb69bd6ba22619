//! Who may administer.

use dbus_api::Error;

use crate::caller::Caller;

/// What an administrator wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// See accounts and how they stand.
    Read,
    /// Lift locks.
    Unlock,
    /// Everything else.
    Manage,
    /// Import secrets: root's alone, whatever polkit says.
    Import,
}

/// Decides who may administer: root alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Authorizer;

impl Authorizer {
    /// Lets root do everything and anybody else nothing.
    ///
    /// # Errors
    /// [`Error::AccessDenied`].
    pub fn authorize(self, caller: &Caller, _action: Action) -> Result<(), Error> {
        if caller.is_root() {
            return Ok(());
        }
        Err(Error::AccessDenied("only root may do this: try it with sudo".into()))
    }
}
