//! Whose an entry of an authenticator app is, and what it is called: its issuer and its name, which people and servers
//! chose. Nothing of it is believed: it only proposes an account and a label.

use crate::import::Found;

/// The longest label that the contract takes, in characters.
const LONGEST_LABEL: usize = 64;

/// Names `found` as the entry is named: `alice`, or `Issuer:alice`, from which the issuer is taken where there is no
/// other. An account's name holds no colon (passwd(5)); an issuer may.
///
/// # Errors
/// Where the name is one that no account has.
pub(super) fn name(found: &mut Found, issuer: Option<&str>, name: &str) -> Result<(), &'static str> {
    let (before, account) = match name.rsplit_once(':') {
        Some((before, account)) => (Some(before), account.trim()),
        None => (None, name.trim()),
    };
    if account.chars().any(char::is_control) || account.contains('/') {
        return Err("the account's name holds a character that no account has");
    }
    found.account = (!account.is_empty()).then(|| account.to_owned());
    found.label = [issuer, before].into_iter().flatten().find_map(label);
    Ok(())
}

/// `text` as a label, cut to what the contract takes; `None` where nothing of it is left.
pub(super) fn label(text: &str) -> Option<String> {
    let printable = text.chars().filter(|character| !character.is_control());
    let label = printable.take(LONGEST_LABEL).collect::<String>().trim().to_owned();
    (!label.is_empty()).then_some(label)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use zeroize::Zeroizing;

    use super::*;
    use crate::import::{Moving, Place};

    fn named(issuer: Option<&str>, text: &str) -> Result<(Option<String>, Option<String>), &'static str> {
        let mut found = Found::new(Place::Entry(1), Zeroizing::default(), Moving::totp(30));
        name(&mut found, issuer, text)?;
        Ok((found.account.clone(), found.label.clone()))
    }

    #[test]
    fn the_account_is_what_stands_behind_the_last_colon() {
        let some = |account: &str, label: &str| Ok((Some(account.to_owned()), Some(label.to_owned())));
        assert_eq!(named(Some("Example"), "alice"), some("alice", "Example"));
        assert_eq!(named(None, "Example: alice"), some("alice", "Example"));
        assert_eq!(named(Some(" "), "A:B:alice"), some("alice", "A:B"));
        assert_eq!(named(None, " alice "), Ok((Some("alice".to_owned()), None)));
        assert_eq!(named(None, "Example:"), Ok((None, Some("Example".to_owned()))));
    }

    #[test]
    fn a_name_that_no_account_has_is_refused_and_a_label_is_cut() {
        assert!(named(None, "al\u{7}ice").is_err() && named(None, "../alice").is_err());
        let long = "x".repeat(100);
        assert_eq!(named(Some(&format!("\u{1b}{long}")), "alice").unwrap().1.unwrap().len(), LONGEST_LABEL);
    }
}
