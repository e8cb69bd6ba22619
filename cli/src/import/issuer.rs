//! Whose an entry of an authenticator app is, and what it is called: its issuer and its name, which people and servers
//! chose. Nothing of it is believed: it only proposes an account and a label.

use crate::import::Found;

/// The longest label that the contract takes, in characters.
const LONGEST_LABEL: usize = 64;

/// Names `found` as the entry is named: `alice`, or `Issuer:alice`, from which the issuer is taken where there is no
/// other. An account's name holds no colon (passwd(5)); an issuer may.
///
/// FreeIPA is the other way round: its issuer is the owner's Kerberos principal, `alice@EXAMPLE.COM`, and what stands in
/// the account's place is the token's id. The principal's name is the account then, and the id the label.
///
/// # Errors
/// Where the name is one that no account has.
pub(super) fn name(found: &mut Found, issuer: Option<&str>, name: &str) -> Result<(), &'static str> {
    let (before, last) = match name.rsplit_once(':') {
        Some((before, last)) => (Some(before), last.trim()),
        None => (None, name.trim()),
    };
    let issuer = issuer.map(str::trim).filter(|issuer| !issuer.is_empty()).or(before);
    let owner = issuer.filter(|issuer| before.is_none_or(|before| before.trim() == *issuer)).and_then(principal);
    let account = owner.unwrap_or(last);
    if account.chars().any(char::is_control) || account.contains('/') {
        return Err("the account's name holds a character that no account has");
    }
    found.account = (!account.is_empty() && !is_token_id(account)).then(|| account.to_owned());
    found.label = if owner.is_some() { label(last) } else { issuer.and_then(label) };
    if owner.is_some() {
        found.remarks.push("the account is the name of the Kerberos principal that stands as its issuer".into());
    }
    Ok(())
}

/// The user of a Kerberos principal, `user@REALM`. Realms are written in capital letters (RFC 4120, section 6.1), by
/// which a principal differs from an address.
fn principal(text: &str) -> Option<&str> {
    let (user, realm) = text.split_once('@')?;
    let in_realm = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
    let is_realm = realm.bytes().all(in_realm) && realm.bytes().any(|byte| byte.is_ascii_uppercase());
    (is_realm && !user.is_empty()).then_some(user)
}

/// Whether it is a UUID, as FreeIPA calls a token that belongs to nobody: no account is called so.
fn is_token_id(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
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
    fn a_kerberos_principal_as_the_issuer_is_the_account_and_the_token_s_id_is_the_label() {
        let id = "8b3a5c0e-4d0f-4a52-9c15-3b6f6d3a1e77";
        let named_so = Ok((Some("alice".to_owned()), Some(id.to_owned())));
        // As FreeIPA writes it, as apps keep it, and where an app keeps the label alone.
        assert_eq!(named(Some("alice@EXAMPLE.COM"), &format!("alice@EXAMPLE.COM:{id}")), named_so);
        assert_eq!(named(Some("alice@EXAMPLE.COM"), id), named_so);
        assert_eq!(named(None, &format!("alice@EXAMPLE.COM:{id}")), named_so);
        // A token of nobody is nobody's; an address is no principal; a principal in the account's place is what it is.
        assert_eq!(named(Some("EXAMPLE.COM"), id), Ok((None, Some("EXAMPLE.COM".to_owned()))));
        let some = |account: &str, label: &str| Ok((Some(account.to_owned()), Some(label.to_owned())));
        assert_eq!(named(Some("alice@example.com"), "bob"), some("bob", "alice@example.com"));
        assert_eq!(named(Some("gate"), "alice@EXAMPLE.COM"), some("alice@EXAMPLE.COM", "gate"));
        assert_eq!(named(Some("alice@EXAMPLE.COM"), "gate:bob"), some("bob", "alice@EXAMPLE.COM"));
        assert!(named(Some("host/gate@EXAMPLE.COM"), id).is_err());
    }

    #[test]
    fn a_name_that_no_account_has_is_refused_and_a_label_is_cut() {
        assert!(named(None, "al\u{7}ice").is_err() && named(None, "../alice").is_err());
        let long = "x".repeat(100);
        assert_eq!(named(Some(&format!("\u{1b}{long}")), "alice").unwrap().1.unwrap().len(), LONGEST_LABEL);
    }
}
