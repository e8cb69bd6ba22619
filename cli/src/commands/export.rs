//! `countersign export`: shows the key of an authenticator once more, for a new phone. The daemon decides whether root may;
//! what is shown goes to a terminal, or where the person says that it shall go.

use dbus_api::Offer;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    cli::Export, client, commands::enroll, failure::Failure, output::Output, png::PictureFile, prompt,
    wording::printable,
};

/// What `--json` prints.
#[derive(Serialize)]
struct Report<'a> {
    account: &'a str,
    id: &'a str,
    label: &'a str,
    kind: &'a str,
    algorithm: &'a str,
    digits: u32,
    period: Option<u32>,
    secret: &'a str,
    uri: &'a str,
}

/// Runs the command.
///
/// # Errors
/// Where the question is answered with no or cannot be asked, there is no terminal to show the key on, and what the daemon
/// refuses.
pub(super) async fn run(arguments: &Export, bus: Option<&str>, output: &Output) -> Result<(), Failure> {
    let (user, id) = (&arguments.user, &arguments.id);
    let command = printable(&format!("export {user} {id}"));
    if !arguments.yes && !prompt::somebody_is_there() {
        return Err(Failure::usage("there is no terminal to ask at")
            .with_help(format!("To see it without a question: sudo countersign {command} --yes")));
    }
    if output.columns().is_none() && !arguments.uri && !arguments.json {
        return Err(Failure::usage("the output is no terminal, and a key is not for files")
            .with_help(format!("For another program: sudo countersign {command} --yes --uri")));
    }
    let question = format!("Show the secret of authenticator {} of {}?", printable(id), printable(user));
    if !arguments.yes && !prompt::confirm(output, &question).await? {
        return Err(Failure::refused("nothing was shown"));
    }
    // Before the key leaves the daemon: a file that cannot be written is found in time.
    let mut picture = arguments.qr_png.as_deref().map(PictureFile::create).transpose()?;
    let client = client::Client::connect(bus).await?;
    let admin = client.admin().await?;
    let exported = admin.export(user, id).await;
    let offer = exported.map_err(|error| client::explain(&error, user, &format!("export {user} {id}")))?;
    if arguments.json {
        output.json(&report(&offer, id))?;
    } else if arguments.uri {
        output.print(&Zeroizing::new(format!("{}\n", offer.uri)))?;
    } else {
        show(&offer, output)?;
    }
    if let Some(mut picture) = picture.take() {
        enroll::write_picture(&offer, &mut picture)?;
        picture.keep();
    }
    Ok(())
}

fn show(offer: &Offer, output: &Output) -> Result<(), Failure> {
    output.head(&format!("The key of \"{}\" of {}", printable(&offer.label), printable(&offer.account)))?;
    enroll::show_key_material(offer, output)?;
    output.say("The device that has it goes on working; whoever sees this can make its codes. The account is told.")?;
    match offer.kind.as_str() {
        "hotp" => output.say("Each device counts by itself: go on with one of them only, or they come apart."),
        _ => output.say("Both show the same codes, and each code lets in once."),
    }
}

fn report<'a>(offer: &'a Offer, id: &'a str) -> Report<'a> {
    Report {
        account: &offer.account,
        id,
        label: &offer.label,
        kind: &offer.kind,
        algorithm: &offer.algorithm,
        digits: offer.digits,
        period: (offer.period > 0).then_some(offer.period),
        secret: &offer.secret,
        uri: &offer.uri,
    }
}
