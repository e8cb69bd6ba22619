//! `countersign import pskc`, `migration`, `aegis`, `andotp`, `freeotp`: files of other programs that are read whole, within
//! bounds, into memory that is zeroised. They are secret, and others wrote them. No secret is ever an argument.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::{
    assignment::Assignment,
    credential::{passphrase, pre_shared_key},
    source::Content,
    takeover::{self, Sink, Takeover},
};
use crate::{
    cli::{Choice, ImportAegis, ImportAndotp, ImportFreeotp, ImportMigration, ImportPskc, Manner},
    failure::Failure,
    import::{
        Bad, Found, LARGEST_JSON, LARGEST_XML, Place, aegis, andotp, freeotp, migration, picture,
        pskc::{Container, Credential, Protection},
    },
    output::{self, Output},
    wording,
};

/// How a URI of an export begins, which must not be an argument.
const EXPORT_URI: &str = "otpauth-migration:";

/// What a file said, record by record.
type Records = Vec<Result<Found, Bad>>;

/// `import pskc`.
///
/// # Errors
/// Where the file or its key cannot be read, or the daemon or some record refuses.
pub(super) async fn pskc(arguments: &ImportPskc, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let assignment = Assignment::read(&arguments.assign, arguments.assign_from.as_deref())?;
    let content = Content::of(&arguments.file, LARGEST_XML)?;
    let mut found = {
        let container = content.parse(Container::read)?;
        let key_file = arguments.key_file.as_deref();
        let credential = match content.say(container.protection())? {
            Protection::None => Credential::None,
            Protection::PreSharedKey(name) => Credential::Key(pre_shared_key(key_file, name.as_deref())?),
            Protection::Passphrase(name) => {
                let asked = Asked { json: arguments.manner.json, name: name.as_deref(), content: &content };
                Credential::Passphrase(asked.passphrase(key_file, output).await?)
            }
        };
        content.say(container.open(&credential, &wording::iso8601(output::now())))?
    };
    assignment.apply(&mut found, arguments.user.as_deref());
    take_over("import pskc FILE", content, found, &arguments.manner, bus, output).await
}

/// `import aegis`.
///
/// # Errors
/// As [`pskc`].
pub(super) async fn aegis(arguments: &ImportAegis, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let content = Content::of(&arguments.file, LARGEST_JSON)?;
    let vault = content.parse(aegis::Vault::read)?;
    let found = if vault.is_locked() {
        let asked = Asked { json: arguments.manner.json, name: None, content: &content };
        let passphrase = asked.passphrase(arguments.key_file.as_deref(), output).await?;
        content.say(vault.open(&passphrase))?
    } else {
        content.say(vault.entries())?
    };
    let chosen = choose(found, &arguments.choice);
    take_over("import aegis FILE", content, chosen, &arguments.manner, bus, output).await
}

/// `import andotp`.
///
/// # Errors
/// As [`pskc`].
pub(super) async fn andotp(arguments: &ImportAndotp, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let content = Content::of(&arguments.file, LARGEST_JSON)?;
    let chosen = choose(content.parse(andotp::parse)?, &arguments.choice);
    take_over("import andotp FILE", content, chosen, &arguments.manner, bus, output).await
}

/// `import freeotp`.
///
/// # Errors
/// As [`pskc`].
pub(super) async fn freeotp(arguments: &ImportFreeotp, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let content = Content::of(&arguments.file, LARGEST_XML)?;
    let chosen = choose(content.parse(freeotp::parse)?, &arguments.choice);
    take_over("import freeotp FILE", content, chosen, &arguments.manner, bus, output).await
}

/// `import migration`. Pictures and texts become one text: missing codes are told of all of them together, and entries
/// are counted through them. Of several files one that cannot be read stops no other.
///
/// # Errors
/// As [`pskc`].
pub(super) async fn migration(arguments: &ImportMigration, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let is_uri = |path: &PathBuf| path.to_string_lossy().to_ascii_lowercase().starts_with(EXPORT_URI);
    if arguments.file.iter().any(is_uri) {
        return Err(Failure::usage("a URI of an export holds secrets, and arguments are for everybody to see")
            .with_help("It may be in the shell's history now: remove it there.")
            .with_help("Give URIs on standard input: sudo countersign import migration -"));
    }
    let mut takeover = Takeover::new("import migration FILE", &arguments.manner)?;
    let mut texts = Vec::new();
    let mut unreadable = Vec::new();
    for path in &arguments.file {
        match Content::of(path, picture::LARGEST).and_then(|content| content.parse(read_export)) {
            Ok(text) => texts.push(text),
            Err(failure) if arguments.file.len() == 1 => return Err(failure),
            Err(failure) => {
                unreadable.push((path.display().to_string(), failure.what().to_owned()));
                continue;
            }
        }
        takeover.leftovers.extend((path != Path::new("-")).then(|| path.clone()));
    }
    let mut text = Zeroizing::new(String::with_capacity(texts.iter().map(|text| text.len() + 1).sum()));
    for one in texts {
        text.push_str(&one);
        text.push('\n');
    }
    let found = match migration::parse(&text) {
        Err(bad) if unreadable.is_empty() => {
            let names: Vec<String> = arguments.file.iter().map(|path| path.display().to_string()).collect();
            return Err(Failure::refused(format!("{}: {}", wording::printable(&names.join(", ")), bad.reason)));
        }
        read => choose(read.unwrap_or_default(), &arguments.choice),
    };
    let only = (arguments.file.len() == 1).then(|| takeover.leftovers.first().map(|path| path.display().to_string()));
    let name = only.flatten();
    let read = move |sink: &mut Sink| {
        for (file, why) in unreadable {
            if !sink.refuse(Some(&file), None, Place::File, why) {
                return;
            }
        }
        put_all(sink, name.as_deref(), found);
    };
    takeover::run(&takeover, read, bus, output).await
}

/// The URIs of a picture, or of a text.
fn read_export(bytes: &[u8]) -> Result<Zeroizing<String>, Bad> {
    if picture::is_png(bytes) {
        return picture::read_codes(bytes);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Bad::file("the file is neither a PNG picture nor text"))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// Leaves out the entries of other issuers, and gives the rest to the user.
fn choose(found: Records, choice: &Choice) -> Records {
    let wanted = |found: &Found| match (&choice.issuer, &found.label) {
        (Some(issuer), label) => label.as_deref().unwrap_or_default().to_lowercase() == issuer.trim().to_lowercase(),
        (None, _) => true,
    };
    let mut chosen: Vec<_> = found.into_iter().filter(|one| one.as_ref().map_or(true, wanted)).collect();
    for found in chosen.iter_mut().flatten() {
        if let Some(user) = &choice.user {
            found.account = Some(user.clone());
        }
    }
    chosen
}

/// What must be asked for.
struct Asked<'a> {
    json: bool,
    name: Option<&'a str>,
    content: &'a Content,
}

impl Asked<'_> {
    async fn passphrase(&self, file: Option<&Path>, output: &Output) -> Result<Zeroizing<String>, Failure> {
        if file.is_none() && (self.json || self.content.path().is_none()) {
            return Err(Failure::usage("the file is encrypted, and nobody can be asked for its passphrase here")
                .with_help("Name a file whose first line is the passphrase: --key-file FILE"));
        }
        passphrase(file, self.name, output).await
    }
}

async fn take_over(
    command: &'static str,
    content: Content,
    found: Records,
    manner: &Manner,
    bus: Option<&str>,
    output: &Output,
) -> Result<(), Failure> {
    let mut takeover = Takeover::new(command, manner)?;
    takeover.leftovers.extend(content.path().map(Path::to_path_buf));
    let name = content.name();
    takeover::run(&takeover, move |sink| put_all(sink, name.as_deref(), found), bus, output).await
}

fn put_all(sink: &mut Sink, file: Option<&str>, found: Records) {
    if found.is_empty() && sink.is_empty() {
        return sink.break_off(file, "it holds no record");
    }
    let whole = found.len() as u64;
    for (number, one) in (1..).zip(found) {
        sink.reached(number, whole);
        if !sink.put(file, one) {
            return;
        }
    }
}
