//! The audit's line in syslog. Its values were typed by anybody: every one is escaped to printable ASCII,
//! quoted and capped, so that none can end its field, its line, or look like another.

use std::fmt::Write as _;

use super::{ChainMark, Event};

/// The most bytes of a service or a terminal, escapes included.
pub(super) const SHORT: usize = 64;

/// The most bytes of any other text, escapes included.
pub(super) const LONG: usize = 256;

/// Ends a text that was cut. Nobody can type it: a typed backslash becomes two.
const CUT: &str = "\\...";

/// Writes an event as one line, with its place in the chain.
pub(super) fn write(event: &Event, seq: u64, mark: ChainMark) -> String {
    let mut line = format!("event={} outcome={}", event.kind.name(), event.outcome.name());
    let origin = event.origin.as_ref();
    text(&mut line, "account", event.account.as_deref(), LONG);
    text(&mut line, "service", origin.map(|origin| origin.service.as_str()), SHORT);
    text(&mut line, "tty", origin.map(|origin| origin.tty.as_str()), SHORT);
    text(&mut line, "rhost", origin.map(|origin| origin.rhost.as_str()), LONG);
    if let Some(origin) = origin {
        line.push_str(if origin.claimed { " origin=claimed" } else { " origin=trusted" });
    }
    text(&mut line, "rule", event.rule.as_deref(), LONG);
    text(&mut line, "authenticator", event.authenticator.as_deref(), LONG);
    text(&mut line, "reason", event.reason.as_deref(), LONG);
    number(&mut line, "failures", event.failures);
    number(&mut line, "count", event.count);
    number(&mut line, "caller_uid", event.caller_uid);
    // Writing to a String cannot fail.
    let _ = write!(line, " seq={seq} chain={mark}");
    line
}

/// Escapes a text to printable ASCII without an unescaped quotation mark, in at most `cap` bytes and the mark
/// of the cut.
pub(crate) fn escape(text: &str, cap: usize) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        let before = escaped.len();
        // Writing to a String cannot fail.
        let _ = match character {
            '"' | '\\' => write!(escaped, "\\{character}"),
            ' '..='~' => write!(escaped, "{character}"),
            '\0'..='\x7f' => write!(escaped, "\\x{:02x}", u32::from(character)),
            _ => write!(escaped, "\\u{{{:x}}}", u32::from(character)),
        };
        if escaped.len() > cap {
            escaped.truncate(before);
            escaped.push_str(CUT);
            break;
        }
    }
    escaped
}

/// Cuts a text to the characters that [`escape`] can show, and one more.
pub(super) fn bound(text: &mut String, cap: usize) {
    if let Some((end, _)) = text.char_indices().nth(cap.saturating_add(1)) {
        text.truncate(end);
    }
}

fn text(line: &mut String, name: &str, value: Option<&str>, cap: usize) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        let _ = write!(line, " {name}=\"{}\"", escape(value, cap));
    }
}

fn number(line: &mut String, name: &str, value: Option<u32>) {
    if let Some(value) = value {
        let _ = write!(line, " {name}={value}");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use verifier::WallTime;

    use super::*;
    use crate::audit::{Kind, Origin, Outcome};

    /// Reads a line back into its fields; `None` where it is no line of ours.
    fn fields(line: &str) -> Option<Vec<(String, String)>> {
        let mut fields = Vec::new();
        let mut rest = line;
        while !rest.is_empty() {
            let (name, value) = rest.split_once('=')?;
            let (value, after) = match value.strip_prefix('"') {
                None => value.split_once(' ').unwrap_or((value, "")),
                Some(quoted) => {
                    let mut backslash = false;
                    let end = quoted.find(|character| {
                        let ends = character == '"' && !backslash;
                        backslash = character == '\\' && !backslash;
                        ends
                    })?;
                    let (value, after) = quoted.split_at(end);
                    (value, after.strip_prefix('"')?.strip_prefix(' ').unwrap_or(""))
                }
            };
            fields.push((name.to_owned(), value.to_owned()));
            rest = after;
        }
        Some(fields)
    }

    fn event(typed: &str) -> Event {
        let origin = Origin {
            service: typed.to_owned(),
            tty: typed.to_owned(),
            rhost: typed.to_owned(),
            ruser: typed.to_owned(),
            claimed: true,
        };
        let mut event = Event::new(WallTime(1), Kind::Verification, Outcome::Refused);
        event.account = Some(typed.to_owned());
        event.origin = Some(origin);
        event.reason = Some("wrong".to_owned());
        event
    }

    proptest! {
        #[test]
        fn nothing_typed_forges_a_field_or_a_line(typed in "(?s)(.|[\"\\\\\n\r= \u{1b}\u{85}\u{2028}]){0,400}") {
            let line = write(&event(&typed), 7, ChainMark([0xab; 8]));
            prop_assert!(line.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{line}");
            prop_assert!(line.len() < 2048);
            let fields = fields(&line).ok_or_else(|| TestCaseError::fail("the line cannot be read back"))?;
            let names: Vec<_> = fields.iter().map(|(name, _)| name.as_str()).collect();
            let whole = ["event", "outcome", "account", "service", "tty", "rhost", "origin", "reason", "seq", "chain"];
            let bare = ["event", "outcome", "origin", "reason", "seq", "chain"];
            prop_assert_eq!(names, if typed.is_empty() { bare.to_vec() } else { whole.to_vec() });
        }

        #[test]
        fn a_bounded_event_gives_the_same_line(typed in "(?s).{0,400}") {
            let line = write(&event(&typed), 7, ChainMark([0xab; 8]));
            prop_assert_eq!(line, write(&event(&typed).bounded(), 7, ChainMark([0xab; 8])));
        }
    }

    #[test]
    fn a_line_has_the_documented_form() {
        let mut event = event("x");
        event.account = Some("al\"ice\n\u{e9}".to_owned());
        event.failures = Some(2);
        event.caller_uid = Some(0);
        assert_eq!(
            write(&event, 12, ChainMark([1, 2, 3, 4, 5, 6, 7, 8])),
            "event=verification outcome=refused account=\"al\\\"ice\\x0a\\u{e9}\" service=\"x\" tty=\"x\" rhost=\"x\" \
             origin=claimed reason=\"wrong\" failures=2 caller_uid=0 seq=12 chain=0102030405060708"
        );
    }

    #[test]
    fn a_cut_is_marked_and_its_mark_cannot_be_typed() {
        assert_eq!(escape(&"a".repeat(65), 64), format!("{}\\...", "a".repeat(64)));
        assert_eq!(escape(&"a".repeat(64), 64), "a".repeat(64));
        assert_eq!(escape("\\...", 64), "\\\\...");
    }
}
