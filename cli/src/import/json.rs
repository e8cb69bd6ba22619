//! JSON files of authenticator apps: what all their readers share. A file is somebody else's; its secrets are zeroised,
//! and no reason repeats any of its text.

use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use crate::{
    base32,
    import::{Algorithm, Bad, Found, LARGEST_JSON, Moving, Place},
};

/// Why a file of bytes is none.
pub(super) const NO_TEXT: &str = "the file is not UTF-8";

/// A parsed file. Its texts and numbers are zeroised when it is dropped.
pub(super) struct Document(Value);

impl Document {
    /// Parses a whole file.
    ///
    /// # Errors
    /// Where it is too large, no UTF-8 or no JSON.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, Bad> {
        if bytes.len() > LARGEST_JSON {
            return Err(Bad::file("the file is larger than 16 MiB"));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| Bad::file(NO_TEXT))?;
        let text = text.trim_start_matches('\u{feff}');
        if text.trim().is_empty() {
            return Err(Bad::file("the file is empty"));
        }
        // The error of the library tells of the place, and of some of the text: it goes no further.
        serde_json::from_str(text).map(Self).map_err(|error| match error.is_eof() {
            true => Bad::file("the file is cut off"),
            false => Bad::file("the file is not JSON"),
        })
    }

    /// The value of the whole file.
    pub(super) fn value(&self) -> &Value {
        &self.0
    }
}

impl Drop for Document {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Zeroises every text and number; the parser's limit of 128 bounds the depth.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(values) => values.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        other => *other = Value::Null,
    }
}

/// An object of such a file, whose fields are asked for by name. `null` is as good as absent.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    /// The fields of `value`, where it is an object.
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        value.as_object().map(Self)
    }

    /// The field, unless it is absent or `null`.
    pub(super) fn get(self, name: &str) -> Option<&'a Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A field that is an object.
    pub(super) fn fields(self, name: &str) -> Option<Self> {
        self.get(name).and_then(Self::of)
    }

    /// A text that is not empty.
    pub(super) fn text(self, name: &str) -> Option<&'a str> {
        self.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
    }

    /// A number, also where it is written as a text; `wrong` where the field is something else.
    ///
    /// # Errors
    /// `wrong`.
    pub(super) fn number<N: TryFrom<u64>>(self, name: &str, wrong: &'static str) -> Result<Option<N>, &'static str> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
        number.and_then(|number| N::try_from(number).ok()).map(Some).ok_or(wrong)
    }
}

/// In what the files of apps differ.
pub(super) struct App {
    /// The field that names the hash.
    pub(super) algorithm: &'static str,
    /// Whether the counter that the app keeps is that of the code it showed last, and not the next one
    /// (docs/decisions/0062).
    pub(super) keeps_last_counter: bool,
}

impl App {
    /// Builds what the entry at `place` describes; the fields of its parameters are `fields`.
    ///
    /// # Errors
    /// Where it is nothing that can be taken.
    pub(super) fn build(
        &self,
        place: Place,
        kind: Option<&str>,
        fields: Fields<'_>,
        secret: Zeroizing<Vec<u8>>,
    ) -> Result<Found, &'static str> {
        let moving = match kind.map(str::to_ascii_lowercase).as_deref() {
            Some("totp") => Moving::totp(fields.number("period", "the period is no number")?.unwrap_or(30)),
            Some("hotp") => {
                let counter = self.counter(fields)?.ok_or("the counter is missing, which hotp needs")?;
                Moving::Hotp { next: counter.saturating_add(u64::from(self.keeps_last_counter)) }
            }
            Some("steam") => return Err("codes of Steam are none of RFC 6238"),
            Some(_) => return Err("the type is neither totp nor hotp"),
            None => return Err("the type is missing"),
        };
        let mut found = Found::new(place, secret, moving);
        found.digits = fields.number("digits", "the digits are no number")?.unwrap_or(6);
        if let Some(name) = fields.text(self.algorithm) {
            found.algorithm = Algorithm::parse(name)?;
        }
        if matches!(moving, Moving::Hotp { .. }) && self.keeps_last_counter {
            found.remarks.push(PAST_THE_LAST.into());
        }
        Ok(found)
    }

    /// FreeOTP keeps -1 for an entry that began at 0 and never showed a code; no code of that number is taken anywhere.
    fn counter(&self, fields: Fields<'_>) -> Result<Option<u64>, &'static str> {
        if !self.keeps_last_counter && fields.get("counter").and_then(Value::as_i64) == Some(-1) {
            return Ok(Some(0));
        }
        fields.number("counter", "the counter is no number")
    }
}

/// Why a counter is not the one that stands in the file.
pub(super) const PAST_THE_LAST: &str = "counts on behind the code that the app showed last";

/// A secret in base32.
///
/// # Errors
/// Where it is missing or no base32.
pub(super) fn secret(fields: Fields<'_>, name: &str) -> Result<Zeroizing<Vec<u8>>, &'static str> {
    base32::decode(fields.text(name).ok_or("the secret is missing")?)
}

/// Reads each value of a list with `read`, which a bad one does not stop.
pub(super) fn each<'a>(
    entries: impl IntoIterator<Item = &'a Value>,
    read: impl Fn(Place, &Value) -> Result<Found, &'static str>,
) -> Vec<Result<Found, Bad>> {
    let places = (1..).map(Place::Entry);
    let read = |(place, entry): (Place, &Value)| read(place.clone(), entry).map_err(|reason| Bad { place, reason });
    places.zip(entries).map(read).collect()
}
