//! An encoding that no two different rows share: what is sealed, signed and chained is first written down here.
//!
//! Every field is preceded by whether it is there and by its length, so that no field can lend bytes to its
//! neighbour.

/// Fields in a fixed order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Encoding(Vec<u8>);

impl Encoding {
    /// Begins with what is being encoded, so that no row of one table passes for a row of another.
    pub(crate) fn of(subject: &str) -> Self {
        // A login's rows fit: an encoding that grows is copied again and again.
        Self(Vec::with_capacity(512)).text(subject)
    }

    /// Appends bytes.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Self {
        self.optional(Some(bytes))
    }

    /// Appends bytes or their absence.
    pub(crate) fn optional(mut self, bytes: Option<&[u8]>) -> Self {
        self.0.push(u8::from(bytes.is_some()));
        if let Some(bytes) = bytes {
            self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
            self.0.extend_from_slice(bytes);
        }
        self
    }

    /// Appends text.
    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Appends text or its absence.
    pub(crate) fn optional_text(self, text: Option<&str>) -> Self {
        self.optional(text.map(str::as_bytes))
    }

    /// Appends a number.
    pub(crate) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// Appends a number or its absence.
    pub(crate) fn optional_number(self, number: Option<u64>) -> Self {
        self.optional(number.map(u64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice))
    }

    /// All of it.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Encoding;

    #[test]
    fn moving_a_byte_between_fields_changes_the_encoding() {
        let one = Encoding::of("t").text("ab").text("c");
        let other = Encoding::of("t").text("a").text("bc");
        assert_ne!(one.as_bytes(), other.as_bytes());
    }

    #[test]
    fn absent_and_empty_differ() {
        assert_ne!(Encoding::of("t").optional(None).as_bytes(), Encoding::of("t").bytes(b"").as_bytes());
    }
}
