//! One method call and its answer as bytes (D-Bus specification, "Message Protocol"), for the private socket. Every byte of
//! a call was written by somebody else: whatever is not exactly a method call is none. Headers are read and written
//! here; bodies are zbus's.

use dbus_api::Error;
use serde::{Deserialize, Serialize};
use zbus::wire::Endian;
use zbus::wire::serialized::{Context, Data};
use zbus::{DBusError, Type};
use zeroize::Zeroizing;

/// The bytes of a message's fixed header.
pub(super) const FIXED_HEADER: usize = 16;

/// Bytes that may be secrets.
pub(super) type Bytes = Zeroizing<Vec<u8>>;

/// A method call.
#[derive(Debug)]
pub(super) struct Call<'m> {
    endian: Endian,
    serial: u32,
    /// The object.
    pub(super) path: &'m str,
    /// The interface; empty where the caller names none.
    pub(super) interface: &'m str,
    /// The member.
    pub(super) member: &'m str,
    signature: &'m str,
    body: &'m [u8],
}

impl<'m> Call<'m> {
    /// Reads a whole message; `None` where it is no method call. What it says of its sender and destination is passed
    /// over.
    pub(super) fn read(message: &'m [u8]) -> Option<Self> {
        let (header, _) = message.split_first_chunk::<FIXED_HEADER>()?;
        let [endian, 1, _, 1, ..] = *header else { return None };
        let endian = match endian {
            b'l' => Endian::Little,
            b'B' => Endian::Big,
            _ => return None,
        };
        let mut fields = Fields { message, at: 4, endian };
        let (body, serial, length) = (fields.number()?, fields.number()?, fields.number()?);
        let end = FIXED_HEADER.checked_add(usize::try_from(length).ok()?)?;
        let mut call = Self { endian, serial, path: "", interface: "", member: "", signature: "", body: &[] };
        while fields.at < end {
            fields.field(&mut call)?;
        }
        let begins = end.next_multiple_of(8);
        call.body = message.get(begins..)?;
        let whole = fields.at == end && call.body.len() == usize::try_from(body).ok()?;
        (whole && serial != 0 && !call.path.is_empty() && !call.member.is_empty()).then_some(call)
    }

    /// The arguments, where they are of these types and nothing else stands behind them.
    ///
    /// # Errors
    /// [`Refused::Arguments`].
    pub(super) fn arguments<T>(&self, data: &'m Data<'m, 'm>) -> Result<T, Refused>
    where
        T: Deserialize<'m> + Type,
    {
        if self.signature != T::SIGNATURE.to_string_no_parens() {
            return Err(Refused::Arguments);
        }
        match data.deserialize::<T>() {
            Ok((arguments, end)) if end == self.body.len() => Ok(arguments),
            _ => Err(Refused::Arguments),
        }
    }

    /// The body, for [`Call::arguments`] to read from.
    pub(super) fn data(&self) -> Data<'m, 'm> {
        // A body begins at a multiple of 8.
        Data::new(self.body, Context::new(self.endian, 0))
    }

    /// The answer that carries `body`.
    ///
    /// # Errors
    /// It cannot be written as D-Bus.
    pub(super) fn answer<T>(&self, body: &T) -> Result<Bytes, Refused>
    where
        T: Serialize + Type,
    {
        const METHOD_RETURN: u8 = 2;
        let context = Context::new(Endian::Little, 0);
        let body = zbus::wire::to_bytes(context, body).map_err(|error| Refused::Contract(error.into()))?;
        Ok(self.write(METHOD_RETURN, None, &T::SIGNATURE.to_string_no_parens(), &body))
    }

    /// The answer that carries an error.
    pub(super) fn refuse(&self, refused: &Refused) -> Bytes {
        const ERROR: u8 = 3;
        let (name, text) = refused.name_and_text();
        let mut body = Bytes::default();
        put_text(&mut body, &text);
        self.write(ERROR, Some(&name), "s", &body)
    }

    /// Writes an answer. Its own serial number is that of the call: a peer has one call under way here.
    fn write(&self, kind: u8, error: Option<&str>, signature: &str, body: &[u8]) -> Bytes {
        let mut message = Bytes::new(Vec::with_capacity(128 + body.len()));
        message.extend_from_slice(&[b'l', kind, 0, 1]);
        message.extend_from_slice(&length(body.len()));
        message.extend_from_slice(&self.serial.to_le_bytes());
        // The length of the fields, once it is known.
        message.extend_from_slice(&[0; 4]);
        if let Some(name) = error {
            message.extend_from_slice(&[ERROR_NAME, 1, b's', 0]);
            put_text(&mut message, name);
            pad(&mut message);
        }
        message.extend_from_slice(&[REPLY_SERIAL, 1, b'u', 0]);
        message.extend_from_slice(&self.serial.to_le_bytes());
        if let (Ok(length), false) = (u8::try_from(signature.len()), signature.is_empty()) {
            message.extend_from_slice(&[SIGNATURE, 1, b'g', 0, length]);
            message.extend_from_slice(signature.as_bytes());
            message.push(0);
        }
        let fields = length(message.len() - FIXED_HEADER);
        message.get_mut(FIXED_HEADER - 4..FIXED_HEADER).into_iter().for_each(|place| place.copy_from_slice(&fields));
        pad(&mut message);
        message.extend_from_slice(body);
        message
    }
}

/// Why a call is not done.
#[derive(Debug)]
pub(super) enum Refused {
    /// Nothing of this name is served here.
    Unknown(&'static str),
    /// The arguments are of other types.
    Arguments,
    /// An error of the contract.
    Contract(Error),
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        Self::Contract(error)
    }
}

impl Refused {
    fn name_and_text(&self) -> (String, String) {
        let standard = |name: &str| format!("org.freedesktop.DBus.Error.{name}");
        match self {
            Self::Unknown(what) => (standard(what), "nothing of this name is served here".to_owned()),
            Self::Arguments => (standard("InvalidArgs"), "the arguments are not those of this member".to_owned()),
            Self::Contract(error) => (error.name().as_str().to_owned(), error.text()),
        }
    }
}

/// The codes of header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SENDER: u8 = 7;
const SIGNATURE: u8 = 8;
const UNIX_FDS: u8 = 9;

/// A place in a message's header.
struct Fields<'m> {
    message: &'m [u8],
    at: usize,
    endian: Endian,
}

impl<'m> Fields<'m> {
    /// Reads one field: its code, the type of its value, its value.
    fn field(&mut self, call: &mut Call<'m>) -> Option<()> {
        self.align(8)?;
        let code = self.byte()?;
        match (code, self.signature()?) {
            (PATH, "o") => call.path = self.text()?,
            (INTERFACE, "s") => call.interface = self.text()?,
            (MEMBER, "s") => call.member = self.text()?,
            (SIGNATURE, "g") => call.signature = self.signature()?,
            (ERROR_NAME | DESTINATION | SENDER, "s") => drop(self.text()?),
            (REPLY_SERIAL | UNIX_FDS, "u") => drop(self.number()?),
            _ => return None,
        }
        Some(())
    }

    fn take(&mut self, count: usize) -> Option<&'m [u8]> {
        let end = self.at.checked_add(count)?;
        let taken = self.message.get(self.at..end)?;
        self.at = end;
        Some(taken)
    }

    /// Passes over padding, which is of zeros.
    fn align(&mut self, to: usize) -> Option<()> {
        let padding = self.take(self.at.next_multiple_of(to) - self.at)?;
        padding.iter().all(|byte| *byte == 0).then_some(())
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u32> {
        self.align(4)?;
        let bytes = *self.take(4)?.first_chunk()?;
        Some(if self.endian == Endian::Little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn text(&mut self) -> Option<&'m str> {
        let length = usize::try_from(self.number()?).ok()?;
        self.ended(length)
    }

    fn signature(&mut self) -> Option<&'m str> {
        let length = usize::from(self.byte()?);
        self.ended(length)
    }

    /// Text of this length and the NUL behind it.
    fn ended(&mut self, length: usize) -> Option<&'m str> {
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (self.byte()? == 0 && !text.contains('\0')).then_some(text)
    }
}

/// Appends a length and a text with its NUL.
fn put_text(message: &mut Vec<u8>, text: &str) {
    message.extend_from_slice(&length(text.len()));
    message.extend_from_slice(text.as_bytes());
    message.push(0);
}

/// Fills up to a multiple of 8.
fn pad(message: &mut Vec<u8>) {
    message.resize(message.len().next_multiple_of(8), 0);
}

/// Reads what may be a call, and its arguments, for the fuzzer.
#[cfg(fuzzing)]
pub fn read_as_fuzzed(message: &[u8]) {
    let Some(call) = Call::read(message) else { return };
    let data = call.data();
    let _ = call.arguments::<(&str, dbus_api::Origin)>(&data);
    let _ = call.arguments::<(u64, &str)>(&data);
    let _ = call.arguments::<u64>(&data);
}

/// A length as it is written. Answers are far below 4 GiB.
fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use std::num::NonZeroU32;

    use dbus_api::{OBJECT_PATH, Origin, Step, VERIFIER_INTERFACE};
    use proptest::prelude::*;
    use zbus::Message;

    use super::*;

    const SERIAL: u32 = 77;

    /// A call as zbus writes it.
    fn message<B: Serialize + zbus::DynamicType>(endian: Endian, member: &str, body: &B) -> Vec<u8> {
        let call = Message::method_call(OBJECT_PATH, member).interface(VERIFIER_INTERFACE).endian(endian);
        let call = call.serial(NonZeroU32::new(SERIAL).unwrap()).sender(":1.7").destination(":1.8");
        Vec::from(&**call.build(body).unwrap().data())
    }

    fn origin() -> Origin {
        Origin { service: Some("sshd".to_owned()), rhost: Some("192.0.2.1".to_owned()), ..Origin::default() }
    }

    #[test]
    fn calls_are_read_as_zbus_writes_them() {
        for endian in [Endian::Little, Endian::Big] {
            let bytes = message(endian, "Begin", &("anna", origin()));
            let call = Call::read(&bytes).unwrap();
            assert_eq!((call.path, call.interface, call.member), (OBJECT_PATH, VERIFIER_INTERFACE, "Begin"));
            assert_eq!(call.arguments::<(&str, Origin)>(&call.data()).unwrap(), ("anna", origin()));
            let bytes = message(endian, "Respond", &(u64::MAX, "123456"));
            let call = Call::read(&bytes).unwrap();
            assert_eq!(call.arguments::<(u64, &str)>(&call.data()).unwrap(), (u64::MAX, "123456"));
            let bytes = message(endian, "Ping", &());
            assert!(Call::read(&bytes).unwrap().arguments::<()>(&Call::read(&bytes).unwrap().data()).is_ok());
        }
    }

    #[test]
    fn arguments_of_other_types_or_with_more_behind_them_are_refused() {
        let bytes = message(Endian::Little, "Respond", &(1_u64, "123456"));
        let call = Call::read(&bytes).unwrap();
        assert!(matches!(call.arguments::<u64>(&call.data()), Err(Refused::Arguments)));
        assert!(matches!(call.arguments::<(&str, &str)>(&call.data()), Err(Refused::Arguments)));
        assert!(matches!(call.arguments::<()>(&call.data()), Err(Refused::Arguments)));
        let mut longer = bytes.clone();
        longer.push(0);
        let length = u32::from_le_bytes(bytes[4..8].try_into().unwrap()) + 1;
        longer[4..8].copy_from_slice(&length.to_le_bytes());
        let call = Call::read(&longer).unwrap();
        assert!(matches!(call.arguments::<(u64, &str)>(&call.data()), Err(Refused::Arguments)));
    }

    #[test]
    fn answers_are_those_that_zbus_writes() {
        let step = Step {
            messages: vec![dbus_api::Message { kind: 1, text: "Bonjour é".to_owned() }],
            action: 1,
            text: "Code: ".to_owned(),
            details: dbus_api::Details { retry_after: Some(30), ..dbus_api::Details::default() },
        };
        let bytes = message(Endian::Little, "Begin", &("anna", origin()));
        let call = Call::read(&bytes).unwrap();
        let asked = Message::method_call(OBJECT_PATH, "Begin").serial(NonZeroU32::new(SERIAL).unwrap());
        let parsed = asked.build(&()).unwrap();
        let as_zbus = |message: zbus::message::Builder<'_>, body: &dyn Fn(zbus::message::Builder<'_>) -> Message| {
            Vec::from(&**body(message.serial(NonZeroU32::new(SERIAL).unwrap()).endian(Endian::Little)).data())
        };
        let reply = || Message::method_return(&parsed.header());
        assert_eq!(*call.answer(&()).unwrap(), as_zbus(reply(), &|reply| reply.build(&()).unwrap()));
        let id_and_step = (9_u64, step.clone());
        assert_eq!(*call.answer(&id_and_step).unwrap(), as_zbus(reply(), &|reply| reply.build(&id_and_step).unwrap()));
        assert_eq!(*call.answer(&step).unwrap(), as_zbus(reply(), &|reply| reply.build(&step).unwrap()));
        let name = "org.countersign.Countersign1.Error.NotFound";
        let error = || Message::error(&parsed.header(), name);
        let refused = Refused::Contract(Error::NotFound("no such thing".to_owned()));
        assert_eq!(*call.refuse(&refused), as_zbus(error(), &|error| error.build(&"no such thing").unwrap()));
    }

    #[test]
    fn what_is_no_method_call_is_none() {
        let good = message(Endian::Little, "Begin", &("anna", origin()));
        assert!(Call::read(&good).is_some());
        let altered = |place: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[place] = byte;
            bytes
        };
        for bad in [
            altered(0, b'x'),
            altered(1, 2),
            altered(1, 4),
            altered(3, 2),
            altered(8, 0),
            altered(4, good[4] + 1),
            altered(12, good[12] + 8),
            altered(16, 99),
            altered(18, b'u'),
            good[..good.len() - 1].to_vec(),
            Vec::new(),
        ] {
            assert!(Call::read(&bad).is_none(), "{bad:?}");
        }
    }

    proptest! {
        /// Whatever is altered or cut: nothing panics, and where zbus reads a call as well, it reads the same.
        #[test]
        fn altered_calls_are_read_as_zbus_reads_them(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
            cut in any::<prop::sample::Index>(),
            whole in any::<bool>(),
        ) {
            let mut bytes = message(Endian::Little, "Begin", &("anna", origin()));
            for (place, byte) in changes {
                let place = place.index(bytes.len());
                bytes[place] = byte;
            }
            if !whole {
                bytes.truncate(cut.index(bytes.len()));
            }
            let Some(call) = Call::read(&bytes) else { return Ok(()) };
            let _ = call.arguments::<(&str, Origin)>(&call.data());
            let endian = if bytes[0] == b'B' { Endian::Big } else { Endian::Little };
            let as_zbus = Data::new(&bytes[..], Context::new(endian, 0));
            if let Ok((header, _)) = as_zbus.deserialize::<(u8, u8, u8, u8, u32, u32, Vec<(u8, zbus::OwnedVariant)>)>() {
                let member = header.6.into_iter().rfind(|(code, _)| *code == MEMBER).unwrap().1;
                prop_assert_eq!(String::try_from(member).unwrap(), call.member);
            }
        }
    }
}
