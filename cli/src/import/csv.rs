//! A table of comma-separated values (RFC 4180, a record a line), for whatever has no importer of its own. Its first line
//! names the columns.

use zeroize::Zeroizing;

use super::{Algorithm, Bad, Found, Moving, Place, decode_hex};
use crate::base32;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Account,
    Secret,
    SecretHex,
    Kind,
    Algorithm,
    Digits,
    Period,
    Counter,
    Label,
}

impl Column {
    const ALL: [(&'static str, Self); 9] = [
        ("account", Self::Account),
        ("secret", Self::Secret),
        ("secret_hex", Self::SecretHex),
        ("kind", Self::Kind),
        ("algorithm", Self::Algorithm),
        ("digits", Self::Digits),
        ("period", Self::Period),
        ("counter", Self::Counter),
        ("label", Self::Label),
    ];
}

/// The columns of a table, in their order.
#[derive(Debug)]
pub(crate) struct Columns(Vec<Column>);

impl Columns {
    /// Reads the first line.
    ///
    /// # Errors
    /// The line and the reason.
    pub(crate) fn parse(number: u64, line: &str) -> Result<Self, Bad> {
        let bad = |reason| Bad { place: Place::Line(number), reason };
        let mut columns = Vec::new();
        for name in split(line).map_err(bad)? {
            let known = Column::ALL.iter().find(|(known, _)| name.trim().eq_ignore_ascii_case(known));
            let (_, column) = known.ok_or(bad(
                "the first line names a column that is none of account, secret, secret_hex, kind, algorithm, digits, \
                 period, counter, label",
            ))?;
            if columns.contains(column) {
                return Err(bad("the first line names a column twice"));
            }
            columns.push(*column);
        }
        if columns.contains(&Column::Secret) == columns.contains(&Column::SecretHex) {
            return Err(bad("the first line has to name one of the columns secret (base32) and secret_hex"));
        }
        Ok(Self(columns))
    }

    /// Reads a line behind the first; `None` where it is blank or a comment.
    ///
    /// # Errors
    /// The line and the reason.
    pub(crate) fn read(&self, number: u64, line: &str) -> Result<Option<Found>, Bad> {
        let bad = |reason| Bad { place: Place::Line(number), reason };
        if line.contains('\0') {
            return Err(bad("it holds NUL bytes"));
        }
        if line.trim().is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let fields = split(line).map_err(bad)?;
        if fields.len() != self.0.len() {
            return Err(bad("it has not as many fields as the first line"));
        }
        let field = |wanted| {
            let index = self.0.iter().position(|column| *column == wanted)?;
            fields.get(index).map(|text| text.trim()).filter(|text| !text.is_empty())
        };
        read(&field, number).map(Some).map_err(bad)
    }
}

fn read<'a>(field: &impl Fn(Column) -> Option<&'a str>, number: u64) -> Result<Found, &'static str> {
    let secret = match (field(Column::Secret), field(Column::SecretHex)) {
        (Some(text), _) => base32::decode(text)?,
        (None, Some(text)) => decode_hex(text)?,
        (None, None) => return Err("the secret is missing"),
    };
    let is_counting = match field(Column::Kind) {
        None => false,
        Some(kind) if kind.eq_ignore_ascii_case("totp") => false,
        Some(kind) if kind.eq_ignore_ascii_case("hotp") => true,
        Some(_) => return Err("the kind is neither totp nor hotp"),
    };
    let moving = if is_counting {
        let counter = field(Column::Counter).ok_or("the counter is missing, which hotp needs")?;
        Moving::Hotp { next: counter.parse().map_err(|_| "the counter is no number")? }
    } else {
        let period = field(Column::Period).map_or(Ok(30), str::parse);
        Moving::totp(period.map_err(|_| "the period is no number")?)
    };
    let algorithm = match field(Column::Algorithm) {
        None => Algorithm::Sha1,
        Some(name) => [Algorithm::Sha1, Algorithm::Sha256, Algorithm::Sha512]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
            .ok_or("the algorithm is none of SHA1, SHA256, SHA512")?,
    };
    let digits = field(Column::Digits).map_or(Ok(6), str::parse).map_err(|_| "the digits are no number")?;
    Ok(Found {
        account: field(Column::Account).map(str::to_owned),
        label: field(Column::Label).map(str::to_owned),
        algorithm,
        digits,
        ..Found::new(Place::Line(number), secret, moving)
    })
}

/// The fields of a line. One in double quotes may hold commas, and a double quote as two.
fn split(line: &str) -> Result<Vec<Zeroizing<String>>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        // Of its whole size from the beginning: growing it would leave copies behind.
        let mut field = Zeroizing::new(String::with_capacity(rest.len()));
        let behind = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted, &mut field)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (text, behind) = rest.split_at(end);
                if text.contains('"') {
                    return Err("a double quote stands within a field that does not begin with one");
                }
                field.push_str(text);
                behind
            }
        };
        fields.push(field);
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(fields),
            None => return Err("something stands behind a field's closing double quote"),
        }
    }
}

/// Reads a quoted field to its end; gives what stands behind it.
fn unquote<'a>(text: &'a str, field: &mut String) -> Result<&'a str, &'static str> {
    let mut rest = text;
    loop {
        let (before, behind) = rest.split_once('"').ok_or("a field's closing double quote is missing")?;
        field.push_str(before);
        match behind.strip_prefix('"') {
            Some(next) => {
                field.push('"');
                rest = next;
            }
            None => return Ok(behind),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn read(header: &str, line: &str) -> Result<Option<Found>, &'static str> {
        Columns::parse(1, header).unwrap().read(2, line).map_err(|bad| bad.reason)
    }

    #[test]
    fn a_table_in_any_order_of_its_columns_is_read() {
        let header = "Label,secret,ACCOUNT,kind,counter,digits,algorithm";
        let line = "\"Key fob, \"\"blue\"\"\",JBSWY3DPEHPK3PXP,alice,hotp,7,8,sha256\r";
        let found = read(header, line).unwrap().unwrap();
        assert_eq!((found.label.as_deref(), found.account.as_deref()), (Some("Key fob, \"blue\""), Some("alice")));
        assert_eq!((found.moving, found.digits, found.algorithm), (Moving::Hotp { next: 7 }, 8, Algorithm::Sha256));
        assert_eq!(*found.secret, *b"Hello!\xde\xad\xbe\xef");
        let found = read("account,secret_hex,period", "bob,48656c6c6f21deadbeef,60").unwrap().unwrap();
        assert_eq!((found.moving, found.digits, found.algorithm), (Moving::totp(60), 6, Algorithm::Sha1));
        assert_eq!(found.secret.len(), 10);
    }

    #[test]
    fn empty_fields_are_as_if_absent_and_blank_lines_and_comments_are_passed_over() {
        let found = read("account,secret,kind,digits,label", ",JBSWY3DPEHPK3PXP,,,").unwrap().unwrap();
        assert_eq!((found.account, found.label, found.digits), (None, None, 6));
        for none in ["", "  ", "# people"] {
            assert!(read("account,secret", none).unwrap().is_none());
        }
    }

    #[test]
    fn bad_lines_are_refused_with_their_reason() {
        let header = "account,secret,kind,counter,digits,period,algorithm";
        for (line, reason) in [
            ("alice", "it has not as many fields as the first line"),
            ("alice,,,,,,", "the secret is missing"),
            ("alice,MZ1,,,,,", "the secret is not base32"),
            ("alice,MZXW6,steam,,,,", "the kind is neither totp nor hotp"),
            ("alice,MZXW6,hotp,,,,", "the counter is missing, which hotp needs"),
            ("alice,MZXW6,hotp,-1,,,", "the counter is no number"),
            ("alice,MZXW6,,,six,,", "the digits are no number"),
            ("alice,MZXW6,,,,x,", "the period is no number"),
            ("alice,MZXW6,,,,,MD5", "the algorithm is none of SHA1, SHA256, SHA512"),
            ("\"alice,MZXW6,,,,,", "a field's closing double quote is missing"),
            ("\"alice\"x,MZXW6,,,,,", "something stands behind a field's closing double quote"),
            ("al\"ice,MZXW6,,,,,", "a double quote stands within a field that does not begin with one"),
            ("al\0ice,MZXW6,,,,,", "it holds NUL bytes"),
        ] {
            assert_eq!(read(header, line).err(), Some(reason), "{line}");
        }
        for (header, reason) in [
            ("account", "the first line has to name one of the columns secret (base32) and secret_hex"),
            ("secret,secret_hex", "the first line has to name one of the columns secret (base32) and secret_hex"),
            ("secret,secret", "the first line names a column twice"),
        ] {
            assert_eq!(Columns::parse(1, header).unwrap_err().reason, reason);
        }
        assert!(Columns::parse(1, "secret,pin").unwrap_err().reason.contains("none of account, secret"));
    }
}
