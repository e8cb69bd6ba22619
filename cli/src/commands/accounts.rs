//! The daemon's accounts, page by page, for the commands that look at all of them.

use dbus_api::{Account, AccountFilter, AccountPage, AdminProxy};

use crate::{client, failure::Failure};

/// A walk over all accounts that a filter lets through.
pub(super) struct Pages<'a> {
    admin: &'a AdminProxy<'a>,
    filter: &'a AccountFilter,
    command: &'a str,
    after: Option<String>,
    /// What the last page said of a policy that observes.
    pub(super) observe: String,
}

impl<'a> Pages<'a> {
    /// Begins at the first account. `command` is what to type again with sudo.
    pub(super) fn new(admin: &'a AdminProxy<'a>, filter: &'a AccountFilter, command: &'a str) -> Self {
        Self { admin, filter, command, after: Some(String::new()), observe: String::new() }
    }

    /// The next page, which may be empty although more follow; `None` after the last one.
    ///
    /// # Errors
    /// What the daemon refuses.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Account>>, Failure> {
        let Some(after) = self.after.take() else { return Ok(None) };
        let asked = self.admin.accounts(self.filter, &after).await;
        let AccountPage { accounts, next, observe } =
            asked.map_err(|error| client::explain(&error, "", self.command))?;
        self.observe = observe;
        // A name that does not grow would make this run for ever.
        self.after = Some(next).filter(|next| *next > after);
        Ok(Some(accounts))
    }
}

/// All of them at once.
///
/// # Errors
/// As [`Pages::next`].
pub(super) async fn all(
    admin: &AdminProxy<'_>,
    filter: &AccountFilter,
    command: &str,
) -> Result<Vec<Account>, Failure> {
    let mut pages = Pages::new(admin, filter, command);
    let mut accounts = Vec::new();
    while let Some(page) = pages.next().await? {
        accounts.extend(page);
    }
    Ok(accounts)
}
