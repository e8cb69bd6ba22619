//! The host's syslog, as rsyslog wrote it.

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who wrote it, such as `countersignd` or `sshd`.
    pub program: String,
    /// The text after the tag.
    pub text: String,
}

impl Line {
    /// Reads `TAG[PID]: TEXT`, which is how the host's rsyslog is set to write.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (tag, text) = line.split_once(": ")?;
        let program = tag.split('[').next().unwrap_or(tag);
        Some(Self { program: program.to_owned(), text: text.trim().to_owned() })
    }

    /// The value of a `name=value` or `name="value"` field, unquoted.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&str> {
        let mut rest = self.text.as_str();
        loop {
            let (field, after) = rest.trim_start().split_once('=')?;
            let (value, after) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_once(' ').unwrap_or((after, "")),
            };
            if field == name {
                return Some(value);
            }
            rest = after;
        }
    }

    /// Whether every field has its value.
    #[must_use]
    pub fn has(&self, fields: &[(&str, &str)]) -> bool {
        fields.iter().all(|(name, value)| self.field(name) == Some(value))
    }
}

#[cfg(test)]
mod tests {
    use super::Line;

    #[test]
    fn fields_are_found_quoted_and_plain() {
        let line = Line::parse(r#"countersignd[7]: event=verification account="a b" tty="" failures=2 seq=9"#);
        let found = line.as_ref().map(|line| (line.field("account"), line.field("tty"), line.field("seq")));
        assert_eq!(found, Some((Some("a b"), Some(""), Some("9"))));
        assert_eq!(line.as_ref().and_then(|line| line.field("service")), None);
    }
}
