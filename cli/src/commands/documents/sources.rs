//! The files of an import, and the keys that open them. Both are secret: they are read within bounds into memory that is
//! zeroised, and who else could have changed a file is told.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use zeroize::Zeroizing;

use crate::{
    failure::Failure,
    import::{Bad, decode_hex},
    output::Output,
    prompt::{self, Answer, Interrupts},
    wording::printable,
};

/// The room that a file of unknown size gets first, in bytes.
const FIRST_ROOM: usize = 64 << 10;
/// The largest file of a key or a passphrase, in bytes.
const LARGEST_KEY: usize = 4096;
/// The lengths of a key of AES, in bytes.
const KEY_LENGTHS: [usize; 3] = [16, 24, 32];

/// A file that was read whole.
pub(super) struct Source {
    path: PathBuf,
    bytes: Zeroizing<Vec<u8>>,
    warning: Option<String>,
}

impl Source {
    /// Reads a file, or the standard input where the path is `-`. One byte more than `largest` is read at most, so that
    /// whoever parses it sees that it is too large.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(super) fn read(path: &Path, largest: usize) -> Result<Self, Failure> {
        let refuse = |error| Failure::refused(format!("{} cannot be read: {error}", name_of(path)));
        let file = open(path).map_err(refuse)?;
        let metadata = file.metadata().map_err(refuse)?;
        let bytes = read_whole(file, &metadata, largest + 1).map_err(refuse)?;
        let warning = (path != Path::new("-")).then(|| others(path, &metadata)).flatten();
        Ok(Self { path: path.to_owned(), bytes, warning })
    }

    /// Parses its bytes; a failure names the file.
    ///
    /// # Errors
    /// Where `parse` refuses.
    pub(super) fn parse<'a, T>(&'a self, parse: impl FnOnce(&'a [u8]) -> Result<T, Bad>) -> Result<T, Failure> {
        self.say(parse(&self.bytes))
    }

    /// Names the file in a failure that is one of the file as a whole.
    ///
    /// # Errors
    /// That failure.
    pub(super) fn say<T>(&self, outcome: Result<T, Bad>) -> Result<T, Failure> {
        outcome.map_err(|bad| Failure::refused(format!("{}: {}", name_of(&self.path), bad.reason)))
    }

    /// What to say where others than its reader may change the file.
    pub(super) fn warning(&self) -> Option<String> {
        self.warning.clone()
    }

    /// Whether it is the standard input, so that nobody can be asked there.
    pub(super) fn is_standard_input(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Says how to get rid of it.
    ///
    /// # Errors
    /// Where that cannot be printed.
    pub(super) fn advise_deletion(&self, output: &Output) -> Result<(), Failure> {
        if self.is_standard_input() {
            return Ok(());
        }
        output.say("The file holds secrets. When it is no longer needed, delete it:")?;
        output.print(&format!("  shred -u {}\n", name_of(&self.path)))
    }
}

/// Reads the pre-shared key: hexadecimal digits, or its bytes.
///
/// # Errors
/// Where no file is named, it cannot be read, or holds none.
pub(super) fn pre_shared_key(file: Option<&Path>, name: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let path = file.ok_or_else(|| {
        let named = name.map(|name| format!(" \"{}\"", printable(name))).unwrap_or_default();
        Failure::usage(format!("the file is encrypted with a pre-shared key{named}"))
            .with_help("Name a file with the key that the vendor sent: --key-file FILE")
    })?;
    let source = Source::read(path, LARGEST_KEY)?;
    let text = std::str::from_utf8(&source.bytes).ok().map(str::trim);
    let hexadecimal = text.and_then(|text| decode_hex(text).ok());
    let key = hexadecimal.filter(|key| KEY_LENGTHS.contains(&key.len())).unwrap_or(source.bytes);
    if KEY_LENGTHS.contains(&key.len()) {
        return Ok(key);
    }
    Err(Failure::refused(format!("{} holds no key of 16, 24 or 32 bytes", name_of(path)))
        .with_help("Write it as 32, 48 or 64 hexadecimal digits."))
}

/// Reads the passphrase from the first line of `file`, or asks for it.
///
/// # Errors
/// Where it cannot be read, or nobody answers.
pub(super) async fn passphrase(
    file: Option<&Path>,
    name: Option<&str>,
    output: &Output,
) -> Result<Zeroizing<String>, Failure> {
    if let Some(path) = file {
        let source = Source::read(path, LARGEST_KEY)?;
        let line = source.bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let line = std::str::from_utf8(line).ok().filter(|line| !line.is_empty());
        let refuse = || Failure::refused(format!("{} begins with no passphrase", name_of(path)));
        return line.map(|line| Zeroizing::new(line.to_owned())).ok_or_else(refuse);
    }
    let named = name.map(|name| format!(" \"{}\"", printable(name))).unwrap_or_default();
    let mut interrupts = Interrupts::listen()?;
    match prompt::ask(output, &format!("Passphrase of the file{named}: "), true, &mut interrupts).await? {
        Answer::Line(line) if !line.is_empty() => Ok(line),
        Answer::Line(_) | Answer::End | Answer::Interrupted => Err(Failure::refused("no passphrase was given")),
    }
}

fn name_of(path: &Path) -> String {
    printable(&path.display().to_string())
}

fn open(path: &Path) -> io::Result<File> {
    if path == Path::new("-") {
        // A descriptor of its own: the buffer of the standard library's `Stdin` would keep secrets.
        use std::os::fd::AsFd as _;
        return io::stdin().as_fd().try_clone_to_owned().map(File::from);
    }
    File::open(path)
}

/// At most `most` bytes. Where the file grows, what is left behind is zeroised.
fn read_whole(mut file: File, metadata: &Metadata, most: usize) -> io::Result<Zeroizing<Vec<u8>>> {
    let size = usize::try_from(metadata.len()).unwrap_or(usize::MAX).saturating_add(1);
    let mut bytes = Zeroizing::new(vec![0; size.clamp(FIRST_ROOM, most.max(FIRST_ROOM)).min(most)]);
    let mut length = 0;
    loop {
        if length == bytes.len() {
            if length == most {
                break;
            }
            let mut longer = Zeroizing::new(vec![0; (length * 2).min(most)]);
            longer.iter_mut().zip(bytes.iter()).for_each(|(new, old)| *new = *old);
            bytes = longer;
        }
        match file.read(bytes.get_mut(length..).unwrap_or_default()) {
            Ok(0) => break,
            Ok(read) => length += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(length);
    Ok(bytes)
}

/// Whoever may change the file decides who gets in.
fn others(path: &Path, metadata: &Metadata) -> Option<String> {
    if !metadata.is_file() {
        return None;
    }
    let own = [0, nix::unistd::geteuid().as_raw()].contains(&metadata.uid());
    let why = match (own, metadata.mode() & 0o022) {
        (true, 0) => return None,
        (false, _) => format!("belongs to uid {}", metadata.uid()),
        (true, _) => format!("may be written by others (mode {:04o})", metadata.mode() & 0o7777),
    };
    Some(format!("{} {why}, who could have put a secret of their own in: check where it comes from", name_of(path)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        (directory, path)
    }

    #[test]
    fn no_more_than_one_byte_beyond_the_largest_is_read() {
        let (_directory, path) = file(&vec![7; 300_000]);
        assert_eq!(Source::read(&path, 300_000).unwrap().bytes.len(), 300_000);
        assert_eq!(Source::read(&path, 100_000).unwrap().bytes.len(), 100_001);
        assert_eq!(Source::read(&path, 10).unwrap().bytes.len(), 11);
        // A file that does not know its size, and one without an end.
        assert!(!Source::read(Path::new("/proc/self/maps"), 1 << 20).unwrap().bytes.is_empty());
        assert_eq!(Source::read(Path::new("/dev/zero"), 1 << 20).unwrap().bytes.len(), (1 << 20) + 1);
        assert!(Source::read(Path::new("/"), 10).is_err() && Source::read(Path::new("/nonexistent"), 10).is_err());
    }

    #[test]
    fn a_file_that_others_may_change_is_warned_of() {
        let (_directory, path) = file(b"x");
        let warning = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            Source::read(&path, 10).unwrap().warning()
        };
        assert_eq!((warning(0o600), warning(0o644)), (None, None));
        assert!(warning(0o664).unwrap().contains("may be written by others (mode 0664)"));
        assert!(warning(0o602).is_some());
    }

    #[test]
    fn a_key_is_hexadecimal_or_its_bytes() {
        let key = |bytes: &[u8]| {
            let (_directory, path) = file(bytes);
            pre_shared_key(Some(&path), None).map(|key| key.to_vec()).map_err(|failure| failure.what().to_owned())
        };
        assert_eq!(key(b" 000102030405060708090A0b0c0d0e0f\n").unwrap(), (0..16).collect::<Vec<u8>>());
        assert_eq!(key(&[0xff; 24]).unwrap(), [0xff; 24]);
        assert_eq!(key(&[b'a'; 64]).unwrap(), [0xaa; 32]);
        for bad in [&b""[..], b"0001", &[0xff; 33]] {
            assert!(key(bad).unwrap_err().contains("holds no key of 16, 24 or 32 bytes"));
        }
        assert!(pre_shared_key(None, Some("Fob\u{7}s")).unwrap_err().what().contains("\"Fob\\u{7}s\""));
    }
}
