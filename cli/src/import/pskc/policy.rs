//! A key's policy (RFC 6030, section 5): whether the key may make codes here and now. Whatever is not understood forbids
//! it, as the RFC wants it.

use std::borrow::Cow;

use crate::import::xml::{self, Node};

/// What the policy leaves to say of a key that may be used; the error is why it may not.
///
/// # Errors
/// A reason for people.
pub(super) fn judge(policy: Option<Node<'_, '_>>, now: &str) -> Result<Vec<Cow<'static, str>>, &'static str> {
    let mut remarks = Vec::new();
    let Some(policy) = policy else { return Ok(remarks) };
    let mut usages = xml::children(policy, "KeyUsage").peekable();
    if usages.peek().is_some() && !usages.any(|usage| xml::value(usage, &[]) == Some("OTP")) {
        return Err("its policy does not let it make one-time passwords");
    }
    for element in policy.children().filter(Node::is_element) {
        match element.tag_name().name() {
            "StartDate" if moment(element)? > now => return Err("by its policy it is not valid yet"),
            "ExpiryDate" if moment(element)? <= now => return Err("by its policy it has expired"),
            "ExpiryDate" => remarks.push("the day on which it expires is not kept".into()),
            "PINPolicy" => judge_pin(element)?,
            "NumberOfTransactions" => remarks.push("how often it may be used is not kept".into()),
            "StartDate" | "KeyUsage" => {}
            _ => return Err("its policy has a condition that is not understood"),
        }
    }
    Ok(remarks)
}

/// A PIN that the device itself asks for is nobody's business here; one within the code or beside it is.
fn judge_pin(pin: Node<'_, '_>) -> Result<(), &'static str> {
    match pin.attribute("PINUsageMode") {
        None | Some("Local") => Ok(()),
        _ => Err("its policy wants a PIN with each code"),
    }
}

/// `2026-11-20T10:00:00` of a dateTime of XML Schema, which sorts as time does. Fractions and the zone, up to 14 hours,
/// are left out: vendors write days.
fn moment<'a>(node: Node<'a, '_>) -> Result<&'a str, &'static str> {
    const SHAPE: &[u8] = b"0000-00-00T00:00:00";
    let wrong = "a date of its policy is none";
    let text = xml::value(node, &[]).and_then(|text| text.get(..SHAPE.len())).ok_or(wrong)?;
    let fits = |(byte, shape): (u8, &u8)| if *shape == b'0' { byte.is_ascii_digit() } else { byte == *shape };
    text.bytes().zip(SHAPE).all(fits).then_some(text).ok_or(wrong)
}
