//! What opens an encrypted file of an import: a pre-shared key or a passphrase. They are secret, never an argument, and
//! read into memory that is zeroised; a file of theirs is under the same policy as any that an import reads.

use std::path::Path;

use zeroize::Zeroizing;

use super::source::Content;
use crate::{
    failure::Failure,
    import::decode_hex,
    output::Output,
    prompt::{self, Answer, Interrupts},
    wording::printable,
};

/// The largest file of a key or a passphrase, in bytes.
const LARGEST_KEY: usize = 4096;
/// The lengths of a key of AES, in bytes.
const KEY_LENGTHS: [usize; 3] = [16, 24, 32];

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
    let content = Content::of(path, LARGEST_KEY)?;
    let text = std::str::from_utf8(content.bytes()).ok().map(str::trim);
    let hexadecimal = text.and_then(|text| decode_hex(text).ok());
    let key = hexadecimal.filter(|key| KEY_LENGTHS.contains(&key.len()));
    let key = key.unwrap_or_else(|| Zeroizing::new(content.bytes().to_vec()));
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
        let content = Content::of(path, LARGEST_KEY)?;
        let line = content.bytes().split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, bytes).unwrap();
        (directory, path)
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
