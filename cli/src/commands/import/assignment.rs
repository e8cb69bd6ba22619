//! Which key fob is whose: `SERIAL=USER` of the command line, and lines `SERIAL,USER` of a file.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    commands::import::source::Content,
    failure::Failure,
    import::{Bad, Found, Place},
    wording::printable,
};

/// The largest file of pairs, in bytes: more than 100,000 lines.
const LARGEST: usize = 8 << 20;

/// Accounts by serial numbers.
#[derive(Debug, Default)]
pub(super) struct Assignment(BTreeMap<String, String>);

impl Assignment {
    /// Reads the pairs of the command line and those of the file.
    ///
    /// # Errors
    /// Where the file cannot be read, a pair is none, or a serial number is given to two accounts.
    pub(super) fn read(pairs: &[String], file: Option<&Path>) -> Result<Self, Failure> {
        let mut assignment = Self::default();
        for pair in pairs {
            let wrong = || Failure::usage(format!("--assign {}: not SERIAL=USER", printable(pair)));
            assignment
                .add(pair.rsplit_once('=').ok_or_else(wrong)?)
                .map_err(|why| Failure::usage(format!("--assign {}: {why}", printable(pair))))?;
        }
        let Some(path) = file else { return Ok(assignment) };
        let content = Content::of(path, LARGEST)?;
        let text = content.parse(|bytes| std::str::from_utf8(bytes).map_err(|_| Bad::file("the file is not UTF-8")))?;
        for (number, line) in (1..).zip(text.trim_start_matches('\u{feff}').lines()) {
            let heading = number == 1 && line.trim().to_ascii_lowercase().starts_with("serial");
            if heading || line.trim().is_empty() || line.starts_with('#') {
                continue;
            }
            let added = line.split_once([',', ';']).ok_or("not SERIAL,USER").and_then(|pair| assignment.add(pair));
            let name = printable(&path.display().to_string());
            added.map_err(|why| Failure::refused(format!("{name}: line {number}: {why}")))?;
        }
        Ok(assignment)
    }

    fn add(&mut self, (serial, user): (&str, &str)) -> Result<(), &'static str> {
        let bare = |text: &str| text.trim().trim_matches('"').trim().to_owned();
        let (serial, user) = (bare(serial), bare(user));
        if serial.is_empty() || user.is_empty() || user.contains([',', ';', '"']) {
            return Err("not a serial number and a user");
        }
        match self.0.insert(serial, user.clone()) {
            Some(before) if before != user => Err("this serial number is given to two users"),
            _ => Ok(()),
        }
    }

    /// Gives what was found to whom it is assigned, the rest to `user` where there is one. A serial number that the
    /// file does not have is a bad record of its own.
    pub(super) fn apply(&self, found: &mut Vec<Result<Found, Bad>>, user: Option<&str>) {
        let mut seen = BTreeSet::new();
        for one in found.iter_mut() {
            let place = one.as_ref().map_or_else(|bad| &bad.place, |found| &found.place);
            let assigned = match place {
                Place::Serial(serial) => {
                    seen.insert(serial.clone());
                    self.0.get(serial)
                }
                _ => None,
            };
            if let (Ok(found), Some(account)) = (one, assigned.map(String::as_str).or(user)) {
                found.account = Some(account.to_owned());
            }
        }
        let missing = self.0.keys().filter(|serial| !seen.contains(*serial));
        let reason = "it is assigned, but not in the file";
        found.extend(missing.map(|serial| Err(Bad { place: Place::Serial(serial.clone()), reason })));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use zeroize::Zeroizing;

    use super::*;
    use crate::import::Moving;

    fn from_file(text: &str) -> Result<Assignment, Failure> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("people.csv");
        std::fs::write(&path, text).unwrap();
        Assignment::read(&["3=carol".to_owned()], Some(&path))
    }

    #[test]
    fn pairs_of_the_command_line_and_of_the_file_come_together() {
        let read = from_file("\u{feff}Serial,User\r\n# fobs\n1,alice\r\n\n \"2\" ; \"bob\"\n1,alice\n").unwrap();
        let pairs: Vec<(&str, &str)> = read.0.iter().map(|(serial, user)| (serial.as_str(), user.as_str())).collect();
        assert_eq!(pairs, [("1", "alice"), ("2", "bob"), ("3", "carol")]);
    }

    #[test]
    fn a_pair_that_is_none_is_named_by_its_line() {
        for (text, line) in [("1", 1), ("1,alice\n2,\n", 2), ("1,alice\n1,bob", 2), ("1,alice,x", 1), ("3,bob", 1)] {
            let failure = from_file(text).unwrap_err();
            assert!(failure.what().contains(&format!("people.csv: line {line}: ")), "{failure:?}");
        }
        for pair in ["1", "=alice", "1="] {
            assert!(Assignment::read(&[pair.to_owned()], None).is_err());
        }
        let twice = ["1=alice".to_owned(), "1=bob".to_owned()];
        assert!(Assignment::read(&twice, None).unwrap_err().what().contains("two users"));
    }

    #[test]
    fn an_assignment_outdoes_the_file_and_the_user_is_for_the_rest() {
        let found = |serial: &str, account: Option<&str>| {
            let place = Place::Serial(serial.to_owned());
            let mut found = Found::new(place, Zeroizing::default(), Moving::totp(30));
            found.account = account.map(str::to_owned);
            Ok(found)
        };
        let accounts = |user| {
            let mut all = vec![found("1", Some("mallory")), found("2", Some("dave")), found("4", None)];
            Assignment::read(&["1=alice".to_owned(), "9=erin".to_owned()], None).unwrap().apply(&mut all, user);
            let missing = all.pop().unwrap().unwrap_err();
            assert_eq!(missing.to_string(), "serial 9: it is assigned, but not in the file");
            all.into_iter().map(|one| one.unwrap().account).collect::<Vec<_>>()
        };
        let named = |name: &str| Some(name.to_owned());
        assert_eq!(accounts(None), [named("alice"), named("dave"), None]);
        assert_eq!(accounts(Some("frank")), [named("alice"), named("frank"), named("frank")]);
    }
}
