//! `countersign import pskc`, `migration`, `aegis`, `andotp`, `freeotp`: reads a whole file of another program and hands
//! what is in it to the daemon. The files are secret, and others wrote them; they are read whole, within bounds, into
//! memory that is zeroised. No secret is ever an argument.

use std::path::Path;

use zeroize::Zeroizing;

use crate::{
    cli::{Choice, ImportAegis, ImportAndotp, ImportFreeotp, ImportMigration, ImportPskc},
    client::{Client, LONG_PATIENCE},
    commands::documents::{
        assignment::Assignment,
        sources::{Source, passphrase, pre_shared_key},
        taking::Taking,
    },
    failure::Failure,
    import::{
        Bad, Found, LARGEST_JSON, LARGEST_XML, aegis, andotp, freeotp, migration, picture,
        pskc::{Container, Credential, Protection},
    },
    output::{self, Output},
    wording,
};

mod assignment;
mod sources;
mod taking;

/// How a URI of an export begins, which must not be an argument.
const EXPORT_URI: &str = "otpauth-migration:";

/// `import pskc`.
///
/// # Errors
/// Where the file or its key cannot be read, or the daemon or some record refuses.
pub(super) async fn pskc(arguments: &ImportPskc, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let assignment = Assignment::read(&arguments.assign, arguments.assign_from.as_deref())?;
    let source = Source::read(&arguments.file, LARGEST_XML)?;
    let container = source.parse(Container::read)?;
    let key_file = arguments.key_file.as_deref();
    let credential = match source.say(container.protection())? {
        Protection::None => Credential::None,
        Protection::PreSharedKey(name) => Credential::Key(pre_shared_key(key_file, name.as_deref())?),
        Protection::Passphrase(name) => {
            let asked = Asked { json: arguments.json, name: name.as_deref(), source: &source };
            Credential::Passphrase(asked.passphrase(key_file, output).await?)
        }
    };
    let mut found = source.say(container.open(&credential, &wording::iso8601(output::now())))?;
    assignment.apply(&mut found, arguments.user.as_deref());
    take_in("pskc", vec![source], found, Manner::of(arguments.json, arguments.dry_run), bus, output).await
}

/// `import migration`.
///
/// # Errors
/// As [`pskc`].
pub(super) async fn migration(arguments: &ImportMigration, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let is_uri = |path: &std::path::PathBuf| path.to_string_lossy().to_ascii_lowercase().starts_with(EXPORT_URI);
    if arguments.file.iter().any(is_uri) {
        return Err(Failure::usage("a URI of an export holds secrets, and arguments are for everybody to see")
            .with_help("It may be in the shell's history now: remove it there.")
            .with_help("Give URIs on standard input: sudo countersign import migration -"));
    }
    // Pictures and texts become one text: missing codes are told of all of them together.
    let (mut sources, mut texts) = (Vec::new(), Vec::new());
    for path in &arguments.file {
        let source = Source::read(path, picture::LARGEST)?;
        texts.push(source.parse(read_export)?);
        sources.push(source);
    }
    let mut text = Zeroizing::new(String::with_capacity(texts.iter().map(|text| text.len() + 1).sum()));
    for one in texts {
        text.push_str(&one);
        text.push('\n');
    }
    let found = migration::parse(&text).map_err(|bad| Failure::refused(bad.reason))?;
    take_in(
        "migration",
        sources,
        choose(found, &arguments.choice),
        Manner::of(arguments.json, arguments.dry_run),
        bus,
        output,
    )
    .await
}

/// `import aegis`.
///
/// # Errors
/// As [`pskc`].
pub(super) async fn aegis(arguments: &ImportAegis, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let source = Source::read(&arguments.file, LARGEST_JSON)?;
    let vault = source.parse(aegis::Vault::read)?;
    let found = if vault.is_locked() {
        let asked = Asked { json: arguments.json, name: None, source: &source };
        let passphrase = asked.passphrase(arguments.key_file.as_deref(), output).await?;
        source.say(vault.open(&passphrase))?
    } else {
        source.say(vault.entries())?
    };
    take_in(
        "aegis",
        vec![source],
        choose(found, &arguments.choice),
        Manner::of(arguments.json, arguments.dry_run),
        bus,
        output,
    )
    .await
}

/// `import andotp`.
///
/// # Errors
/// As [`pskc`].
pub(super) async fn andotp(arguments: &ImportAndotp, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let source = Source::read(&arguments.file, LARGEST_JSON)?;
    let found = choose(source.parse(andotp::parse)?, &arguments.choice);
    take_in("andotp", vec![source], found, Manner::of(arguments.json, arguments.dry_run), bus, output).await
}

/// `import freeotp`.
///
/// # Errors
/// As [`pskc`].
pub(super) async fn freeotp(arguments: &ImportFreeotp, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let source = Source::read(&arguments.file, LARGEST_XML)?;
    let found = choose(source.parse(freeotp::parse)?, &arguments.choice);
    take_in("freeotp", vec![source], found, Manner::of(arguments.json, arguments.dry_run), bus, output).await
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
fn choose(found: Vec<Result<Found, Bad>>, choice: &Choice) -> Vec<Result<Found, Bad>> {
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
    source: &'a Source,
}

impl Asked<'_> {
    async fn passphrase(&self, file: Option<&Path>, output: &Output) -> Result<Zeroizing<String>, Failure> {
        if file.is_none() && (self.json || self.source.is_standard_input()) {
            return Err(Failure::usage("the file is encrypted, and nobody can be asked for its passphrase here")
                .with_help("Name a file whose first line is the passphrase: --key-file FILE"));
        }
        passphrase(file, self.name, output).await
    }
}

/// How an import is to go.
#[derive(Clone, Copy)]
struct Manner {
    json: bool,
    dry_run: bool,
}

impl Manner {
    const fn of(json: bool, dry_run: bool) -> Self {
        Self { json, dry_run }
    }
}

async fn take_in(
    format: &str,
    sources: Vec<Source>,
    found: Vec<Result<Found, Bad>>,
    manner: Manner,
    bus: Option<&str>,
    output: &Output,
) -> Result<(), Failure> {
    let admin = Client::connect_patiently(bus, LONG_PATIENCE).await?.admin().await?;
    let mut taking = Taking::new(format, !manner.dry_run, sources.iter().filter_map(Source::warning).collect());
    let outcome = taking.carry_out(found, &admin).await;
    taking.report(manner.json, output)?;
    outcome?;
    if !manner.json && !manner.dry_run {
        sources.iter().try_for_each(|source| source.advise_deletion(output))?;
    }
    taking.end()
}
