//! The passphrase form of the age format, version 1 (<https://age-encryption.org/v1>), written and read as streams. What
//! is read may be an attacker's: it is bounded before it is believed, and nothing of a chunk is handed on before the
//! chunk was authenticated.

use std::io::{self, Read, Write};

use base64ct::{Base64Unpadded as Base64, Encoding as _};
use chacha20poly1305::{
    ChaCha20Poly1305, Key, KeyInit as _, Nonce,
    aead::{Aead as _, AeadInOut as _},
};
use hkdf::Hkdf;
use hmac::{Hmac, Mac as _};
use scrypt::Params;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

const VERSION: &str = "age-encryption.org/v1\n";
const SALT_LABEL: &[u8] = b"age-encryption.org/v1/scrypt";

/// log2 of the rounds that a passphrase costs: 128 MiB of memory and a fraction of a second.
const WORK: u8 = 17;
/// The most that a file may ask for: 1 GiB.
const MOST_WORK: u8 = 20;

/// Bytes of a chunk, and of what authenticates it.
const CHUNK: usize = 64 * 1024;
const TAG: usize = 16;

/// The longest header, in bytes: that of one passphrase has about 150.
const LONGEST_HEADER: usize = 1024;

/// Why a file cannot be read. The texts hold nothing of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It does not begin like an age file with a passphrase.
    NotPassphrase,
    /// Its passphrase costs more than is allowed.
    TooCostly,
    /// The passphrase is another one.
    WrongPassphrase,
    /// Its header was cut or altered.
    Altered,
}

impl Trouble {
    /// For people.
    pub(crate) const fn text(&self) -> &'static str {
        match self {
            Self::NotPassphrase => "it is no age file that a passphrase opens",
            Self::TooCostly => "its passphrase asks for more than 1 GiB of memory",
            Self::WrongPassphrase => "the passphrase is wrong",
            Self::Altered => "its header was cut or altered",
        }
    }
}

/// Encrypts what is written.
pub(crate) struct Writer<W> {
    out: W,
    stream: Stream,
    chunk: Zeroizing<Vec<u8>>,
}

impl<W: Write> Writer<W> {
    /// Writes the header.
    ///
    /// # Errors
    /// Where it cannot be written, or there is no randomness.
    pub(crate) fn begin(out: W, passphrase: &str) -> io::Result<Self> {
        Self::begin_at(out, passphrase, WORK)
    }

    /// The same with so much work for the passphrase.
    pub(crate) fn begin_at(mut out: W, passphrase: &str, work: u8) -> io::Result<Self> {
        let (mut file_key, mut salt, mut nonce) = (Zeroizing::new([0; 16]), [0; 16], [0; 16]);
        for random in [file_key.as_mut_slice(), &mut salt, &mut nonce] {
            getrandom::fill(random).map_err(|_| io::Error::other("the random number generator failed"))?;
        }
        let wrapping =
            derive(passphrase, &salt, work).ok_or_else(|| io::Error::other("the passphrase cannot be used"))?;
        let body = cipher(&wrapping).encrypt(&Nonce::default(), file_key.as_slice()).map_err(|_| unsealed())?;
        let header = format!(
            "{VERSION}-> scrypt {} {work}\n{}\n---",
            Base64::encode_string(&salt),
            Base64::encode_string(&body)
        );
        let mac = authenticate(&file_key, header.as_bytes()).ok_or_else(unsealed)?;
        let stream = Stream::new(&file_key, &nonce).ok_or_else(unsealed)?;
        out.write_all(format!("{header} {}\n", Base64::encode_string(&mac)).as_bytes())?;
        out.write_all(&nonce)?;
        // Room for the tag too: a buffer that grew would leave a copy of what was in it.
        Ok(Self { out, stream, chunk: Zeroizing::new(Vec::with_capacity(CHUNK + TAG)) })
    }

    /// Writes the last chunk: without it the file is not whole.
    ///
    /// # Errors
    /// As writing.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.write_chunk(true)?;
        Ok(self.out)
    }

    fn write_chunk(&mut self, last: bool) -> io::Result<()> {
        let nonce = self.stream.next(last)?;
        self.stream.cipher.encrypt_in_place(&nonce, &[], &mut *self.chunk).map_err(|_| unsealed())?;
        self.out.write_all(&self.chunk)?;
        self.chunk.clear();
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk waits for what follows: only then it is known not to be the last one.
        if self.chunk.len() == CHUNK {
            self.write_chunk(false)?;
        }
        let taken = bytes.get(..bytes.len().min(CHUNK - self.chunk.len())).unwrap_or_default();
        self.chunk.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Decrypts what is read. It ends with an error where the file was cut or altered, and stays at that.
pub(crate) struct Reader<R> {
    input: R,
    stream: Stream,
    /// Authenticated, and how much of it was handed on.
    chunk: Zeroizing<Vec<u8>>,
    given: usize,
    state: State,
}

/// How far a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// More chunks follow.
    Open,
    /// The last chunk was read, and nothing follows it.
    Whole,
    /// It was cut or altered, or could not be read.
    Broken,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// As [`Trouble`] says; outside, where it cannot be read.
    pub(crate) fn begin(mut input: R, passphrase: &str) -> io::Result<Result<Self, Trouble>> {
        let header = match read_header(&mut input)? {
            Ok(header) => header,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let file_key = match header.open(passphrase) {
            Ok(key) => key,
            Err(trouble) => return Ok(Err(trouble)),
        };
        let mut nonce = [0; 16];
        match input.read_exact(&mut nonce) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Err(Trouble::Altered)),
            read => read?,
        }
        let Some(stream) = Stream::new(&file_key, &nonce) else { return Ok(Err(Trouble::Altered)) };
        Ok(Ok(Self { input, stream, chunk: Zeroizing::default(), given: 0, state: State::Open }))
    }

    /// Reads the next chunk. Where that fails, nothing is left to be handed on.
    fn read_chunk(&mut self) -> io::Result<()> {
        self.given = 0;
        let read = self.open_chunk();
        if read.is_err() {
            self.chunk.clear();
            self.state = State::Broken;
        }
        read
    }

    fn open_chunk(&mut self) -> io::Result<()> {
        let first = self.stream.counter == 0;
        self.chunk.clear();
        (&mut self.input).take((CHUNK + TAG) as u64).read_to_end(&mut self.chunk)?;
        // Whether it is the last one, its nonce tells.
        let full = self.chunk.len() == CHUNK + TAG;
        let sealed = self.chunk.clone();
        let open = |chunk: &mut Vec<u8>, nonce| self.stream.cipher.decrypt_in_place(&nonce, &[], chunk).is_ok();
        if full && open(&mut self.chunk, self.stream.nonce(false)) {
            return self.stream.step();
        }
        self.chunk = sealed;
        // Only an empty file has an empty last chunk.
        if !open(&mut self.chunk, self.stream.nonce(true)) || (self.chunk.is_empty() && !first) {
            return Err(altered());
        }
        match self.input.read_exact(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => return Err(error),
            Ok(()) => return Err(altered()),
        }
        self.state = State::Whole;
        Ok(())
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.chunk.len() {
            match self.state {
                State::Open => self.read_chunk()?,
                State::Whole => break,
                State::Broken => return Err(altered()),
            }
        }
        let rest = self.chunk.get(self.given..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        self.given += length;
        Ok(length)
    }
}

/// The payload's cipher and the number of its chunk.
struct Stream {
    cipher: ChaCha20Poly1305,
    counter: u64,
}

impl Stream {
    fn new(file_key: &[u8; 16], nonce: &[u8; 16]) -> Option<Self> {
        Some(Self { cipher: cipher(&*expand(file_key, nonce, b"payload")?), counter: 0 })
    }

    /// 11 bytes of number, one that marks the last chunk.
    fn nonce(&self, last: bool) -> Nonce {
        let mut nonce = [0; 12];
        for (to, from) in nonce.iter_mut().skip(3).zip(self.counter.to_be_bytes()) {
            *to = from;
        }
        if let Some(mark) = nonce.last_mut() {
            *mark = u8::from(last);
        }
        Nonce::from(nonce)
    }

    fn next(&mut self, last: bool) -> io::Result<Nonce> {
        let nonce = self.nonce(last);
        self.step().map(|()| nonce)
    }

    fn step(&mut self) -> io::Result<()> {
        self.counter = self.counter.checked_add(1).ok_or_else(|| io::Error::other("too long"))?;
        Ok(())
    }
}

/// A header of one passphrase.
struct Header {
    authenticated: Vec<u8>,
    salt: [u8; 16],
    work: u8,
    body: [u8; 32],
    mac: [u8; 32],
}

impl Header {
    fn open(&self, passphrase: &str) -> Result<Zeroizing<[u8; 16]>, Trouble> {
        if self.work > MOST_WORK {
            return Err(Trouble::TooCostly);
        }
        let wrapping = derive(passphrase, &self.salt, self.work).ok_or(Trouble::Altered)?;
        let opened = cipher(&wrapping).decrypt(&Nonce::default(), self.body.as_slice()).map(Zeroizing::new);
        let opened = opened.map_err(|_| Trouble::WrongPassphrase)?;
        let file_key = Zeroizing::new(*opened.first_chunk::<16>().ok_or(Trouble::Altered)?);
        let mac = authenticate(&file_key, &self.authenticated).ok_or(Trouble::Altered)?;
        if mac.ct_eq(&self.mac).into() { Ok(file_key) } else { Err(Trouble::Altered) }
    }
}

/// Reads byte by byte to the header's end, so that nothing of the payload is taken.
fn read_header(input: &mut impl Read) -> io::Result<Result<Header, Trouble>> {
    let mut text = Vec::new();
    let mut byte = [0];
    while text.len() < LONGEST_HEADER {
        match input.read_exact(&mut byte) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            read => read?,
        }
        text.extend_from_slice(&byte);
        let line = text.rsplit(|byte| *byte == b'\n').nth(1).unwrap_or_default();
        if byte == *b"\n" && line.starts_with(b"---") {
            break;
        }
    }
    Ok(parse_header(&text))
}

fn parse_header(text: &[u8]) -> Result<Header, Trouble> {
    let text = str::from_utf8(text).map_err(|_| Trouble::NotPassphrase)?;
    let rest = text.strip_prefix(VERSION).ok_or(Trouble::NotPassphrase)?;
    let rest = rest.strip_prefix("-> scrypt ").ok_or(Trouble::NotPassphrase)?;
    let (arguments, rest) = rest.split_once('\n').ok_or(Trouble::Altered)?;
    let (salt, work) = arguments.split_once(' ').ok_or(Trouble::Altered)?;
    let (body, rest) = rest.split_once('\n').ok_or(Trouble::Altered)?;
    // A passphrase stands alone: with a second stanza the file is not one of the format.
    let mac = rest.strip_prefix("--- ").and_then(|mac| mac.strip_suffix('\n')).ok_or(Trouble::Altered)?;
    let is_number = !work.starts_with('0') && work.len() <= 2 && work.bytes().all(|byte| byte.is_ascii_digit());
    let work = work.parse().ok().filter(|_| is_number).ok_or(Trouble::Altered)?;
    let authenticated = text.get(..text.len() - mac.len() - 2).ok_or(Trouble::Altered)?;
    Ok(Header {
        authenticated: authenticated.as_bytes().to_vec(),
        salt: decode(salt).ok_or(Trouble::Altered)?,
        work,
        body: decode(body).ok_or(Trouble::Altered)?,
        mac: decode(mac).ok_or(Trouble::Altered)?,
    })
}

/// The key under which the file's key is sealed.
fn derive(passphrase: &str, salt: &[u8; 16], work: u8) -> Option<Zeroizing<[u8; 32]>> {
    let params = Params::new(work, 8, 1).ok()?;
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.as_bytes(), &[SALT_LABEL, salt].concat(), &params, key.as_mut_slice()).ok()?;
    Some(key)
}

fn cipher(key: &[u8; 32]) -> ChaCha20Poly1305 {
    ChaCha20Poly1305::new(&Key::from(*key))
}

/// HKDF-SHA-256 (RFC 5869).
fn expand(file_key: &[u8; 16], salt: &[u8], label: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    Hkdf::<Sha256>::new(Some(salt), file_key).expand(label, key.as_mut_slice()).ok()?;
    Some(key)
}

/// What the header's last line holds.
fn authenticate(file_key: &[u8; 16], header: &[u8]) -> Option<[u8; 32]> {
    let key = expand(file_key, &[], b"header")?;
    let mac = Hmac::<Sha256>::new_from_slice(key.as_slice()).ok()?;
    Some(mac.chain_update(header).finalize().into_bytes().into())
}

fn altered() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it was cut or altered")
}

fn unsealed() -> io::Error {
    io::Error::other("sealing failed")
}

/// So many bytes, written as they must be: no padding, no line break, no bit too many.
fn decode<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (Base64::decode(text, &mut bytes).ok()?.len() == N).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

    use super::*;

    fn seal(text: &[u8], passphrase: &str) -> Vec<u8> {
        let mut writer = Writer::begin(Vec::new(), passphrase).unwrap();
        writer.write_all(text).unwrap();
        writer.finish().unwrap()
    }

    fn open(file: &[u8], passphrase: &str) -> Result<Vec<u8>, String> {
        let reader = Reader::begin(file, passphrase).map_err(|error| error.to_string())?;
        let mut reader = reader.map_err(|trouble| trouble.text().to_owned())?;
        let mut text = Vec::new();
        reader.read_to_end(&mut text).map_err(|error| error.to_string())?;
        Ok(text)
    }

    #[test]
    fn what_was_sealed_opens_again_whatever_its_length() {
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
            let text: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            assert_eq!(open(&seal(&text, "horse"), "horse").as_deref(), Ok(text.as_slice()), "{length}");
        }
    }

    /// Written by age 1.1.1, of Debian 12.
    #[test]
    fn what_another_program_sealed_opens() {
        let header = "age-encryption.org/v1\n\
        -> scrypt 24w81TNANSsBrbd3LSxQ9Q 18\n\
        ug7Cy6EtusZF9RqV/3XqOSWzAZ7tHpwYNJPFYgTNV8w\n\
        --- Qzy2WVt3P5boh9RbJcgDYCVUg+Isb6u374lXIXK3ihU\n";
        let payload = "39ea0c936603b005990dda31b3c3c30c613d6afd3543d3b8644f423bbf29\
            801c383e1e94034c7ed3aa38ed359a1a63edc464284f1fd4d0c26fb3a66f";
        let payload = payload.as_bytes().chunks(2).map(|byte| u8::from_str_radix(str::from_utf8(byte).unwrap(), 16));
        let file: Vec<u8> = header.bytes().chain(payload.map(Result::unwrap)).collect();
        let text = open(&file, "correct horse battery");
        assert_eq!(text.as_deref(), Ok(&b"a vector of another program\n"[..]));
    }

    #[test]
    fn a_wrong_passphrase_and_every_cut_and_altered_byte_is_refused() {
        let text = vec![7; CHUNK + 100];
        let file = seal(&text, "horse");
        assert_eq!(open(&file, "house"), Err(Trouble::WrongPassphrase.text().to_owned()));
        let header = file.windows(4).position(|window| window == b"\n---").unwrap() + 48;
        for end in [0, 10, 60, header, header + 16, header + 17, header + 16 + CHUNK + TAG, file.len() - 1] {
            assert!(open(&file[..end], "horse").is_err(), "cut at {end}");
        }
        for at in [0, 30, 50, 100, header - 2, header + 3, header + 100, file.len() - 1] {
            let mut altered = file.clone();
            altered[at] ^= 1;
            assert!(open(&altered, "horse").is_err(), "altered at {at}");
        }
        assert!(open(&[&file[..], b"x"].concat(), "horse").is_err());
    }

    #[test]
    fn a_costly_or_foreign_file_is_refused_before_anything_is_computed() {
        let header = |work: &str| {
            format!(
                "{VERSION}-> scrypt {} {work}\n{}\n--- {}\n",
                Base64::encode_string(&[1; 16]),
                Base64::encode_string(&[2; 32]),
                Base64::encode_string(&[3; 32])
            )
        };
        let refused = |text: &str| Reader::begin(text.as_bytes(), "x").unwrap().err().unwrap();
        assert_eq!(refused(&header("21")), Trouble::TooCostly);
        assert_eq!(refused(&header("64")), Trouble::TooCostly);
        for work in ["", "0", "017", "+17", "1e1", "256", "99999999999"] {
            assert_eq!(refused(&header(work)), Trouble::Altered, "{work}");
        }
        for text in
            ["", "age-encryption.org/v2\n", "age-encryption.org/v1\n-> X25519 x\n", "\u{0}\u{0}", "SQLite format 3"]
        {
            assert_eq!(refused(text), Trouble::NotPassphrase, "{text}");
        }
        let endless = Reader::begin(io::repeat(b'a'), "x").unwrap().err();
        assert_eq!(endless, Some(Trouble::NotPassphrase));
    }

    #[test]
    fn nothing_that_was_not_authenticated_is_handed_on_however_often_it_is_asked_for() {
        let text = vec![7; 2 * CHUNK];
        let mut file = seal(&text, "horse");
        let in_the_second_chunk = file.len() - 100;
        file[in_the_second_chunk] ^= 1;
        let mut reader = Reader::begin(&file[..], "horse").unwrap().ok().unwrap();
        let mut buffer = vec![0; CHUNK];
        reader.read_exact(&mut buffer).unwrap();
        assert_eq!(buffer, text[..CHUNK]);
        for _ in 0..3 {
            let mut more = [0; 16];
            assert_eq!(reader.read(&mut more).unwrap_err().kind(), io::ErrorKind::InvalidData);
            assert_eq!(more, [0; 16]);
        }
    }

    #[test]
    fn chunks_of_one_file_cannot_be_left_out_swapped_or_repeated() {
        let text: Vec<u8> = (0..4 * CHUNK).map(|index| (index / CHUNK) as u8).collect();
        let file = seal(&text, "horse");
        let sealed = CHUNK + TAG;
        let (header, chunks) = file.split_at(file.len() - 4 * sealed);
        let chunks: Vec<&[u8]> = chunks.chunks(sealed).collect();
        let made = |order: &[usize]| [header].into_iter().chain(order.iter().map(|at| chunks[*at])).collect::<Vec<_>>();
        assert_eq!(open(&made(&[0, 1, 2, 3]).concat(), "horse").as_deref(), Ok(text.as_slice()));
        for order in [&[0, 1, 2][..], &[1, 2, 3], &[0, 2, 1, 3], &[0, 0, 1, 2, 3], &[0, 1, 2, 3, 3], &[3], &[]] {
            assert!(open(&made(order).concat(), "horse").is_err(), "{order:?}");
        }
    }

    /// The program of Debian's package `age`, which asks at its terminal.
    fn age(arguments: &str, passphrase: &str) {
        let script = format!(
            "log_user 0\nset timeout 60\nspawn age {arguments}\n\
             expect {{\n -re {{passphrase[^:]*: *$}} {{ send -- \"{passphrase}\\r\"; exp_continue }}\n \
             timeout {{ exit 2 }}\n eof {{}}\n}}\n\
             lassign [wait] pid spawned os code\nexit $code"
        );
        let ended = std::process::Command::new("expect").args(["-c", &script]).status().unwrap();
        assert!(ended.success(), "age {arguments}");
    }

    #[test]
    fn the_age_program_opens_what_is_sealed_here_and_the_other_way_round() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let [ours, theirs, plain, opened] = ["ours", "theirs", "plain", "opened"].map(path);
        for length in [0, CHUNK, CHUNK + 1] {
            let text: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            std::fs::write(&ours, seal(&text, "correct horse battery")).unwrap();
            age(&format!("--decrypt -o {} {}", opened.display(), ours.display()), "correct horse battery");
            // Of nothing it makes no file.
            assert_eq!(std::fs::read(&opened).unwrap_or_default(), text, "{length}");
            std::fs::write(&plain, &text).unwrap();
            age(&format!("--passphrase -o {} {}", theirs.display(), plain.display()), "correct horse battery");
            let theirs = std::fs::read(&theirs).unwrap();
            assert_eq!(open(&theirs, "correct horse battery").as_deref(), Ok(text.as_slice()), "{length}");
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648_and_only_the_canonical_one() {
        for (bytes, text) in [("f", "Zg"), ("fo", "Zm8"), ("foo", "Zm9v"), ("foob", "Zm9vYg"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(Base64::encode_string(bytes.as_bytes()), text);
        }
        assert_eq!(decode::<1>("Zg"), Some(*b"f"));
        assert_eq!(
            (decode::<1>("Zh"), decode::<1>("Zg=="), decode::<1>("Z"), decode::<2>("Zg")),
            (None, None, None, None)
        );
    }
}
