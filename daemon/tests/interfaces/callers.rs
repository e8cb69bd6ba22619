//! Every member × every class of caller. The table in docs/dbus/callers.md is what this test sees.

use std::fmt::Write as _;

use daemon::caller::{Caller, ConnectionKey};
use dbus_api::{AccountFilter, AuditFilter, EnrollmentOptions, Error, Origin, Supposition};

use crate::scene::{HERE, OTHER, OWNER, Peer, Scene};

/// The classes: what they are called, their uid.
const CALLERS: [(&str, u32); 3] = [("root", 0), ("the account itself", OWNER.1), ("another user", OTHER.1)];

/// What a call came to, for one who wonders whether it was let through.
fn seen<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) => "yes",
        Err(Error::AccessDenied(_)) => "no",
        Err(Error::VerificationRequired(_)) => "after a fresh code",
        // The permission was given, the thing itself is not there.
        Err(Error::NotFound(_) | Error::NotEnrolled(_) | Error::InvalidArgument(_) | Error::Busy(_)) => "yes",
        Err(other) => panic!("{other:?}"),
    }
}

async fn call(member: &str, peer: &Peer) -> &'static str {
    let user = OWNER.0;
    let options = EnrollmentOptions { label: Some("second".into()), ..EnrollmentOptions::default() };
    match member {
        "Verifier.Begin" => seen(peer.verifier.begin(user, &Origin::default()).await),
        "Verifier.Respond" => own(peer.verifier.respond(42, "123456").await),
        "Verifier.Cancel" => own(peer.verifier.cancel(42).await),
        "Verifier.Unasked" => seen(peer.verifier.unasked(user, &Origin::default()).await),
        "Enrollment.Begin" => seen(peer.enrollment.begin(user, &options).await),
        "Enrollment.Confirm" => own(peer.enrollment.confirm(42, "123456").await),
        "Enrollment.Cancel" => own(peer.enrollment.cancel(42).await),
        "Enrollment.List" => seen(peer.enrollment.list(user).await),
        "Enrollment.Rename" => seen(peer.enrollment.rename(user, "00000000", "x").await),
        "Enrollment.Remove" => seen(peer.enrollment.remove(user, "00000000").await),
        "Enrollment.Resync" => seen(peer.enrollment.resync(user, "00000000", "123456", "654321").await),
        "Enrollment.NewRecoveryCodes" => seen(peer.enrollment.new_recovery_codes(user).await),
        "Admin.Accounts" => seen(peer.admin.accounts(&AccountFilter::default(), "").await),
        "Admin.Account" => seen(peer.admin.account(user).await),
        "Admin.Unlock" => seen(peer.admin.unlock(user).await),
        "Admin.Disable" => seen(peer.admin.disable(user).await),
        "Admin.Enable" => seen(peer.admin.enable(user).await),
        "Admin.DisableAuthenticator" => seen(peer.admin.disable_authenticator(user, "00000000").await),
        "Admin.EnableAuthenticator" => seen(peer.admin.enable_authenticator(user, "00000000").await),
        "Admin.Export" => seen(peer.admin.export(user, "00000000").await),
        "Admin.Reset" => seen(peer.admin.reset(user, u64::MAX).await),
        "Admin.Forget" => seen(peer.admin.forget(user).await),
        "Admin.Prune" => seen(peer.admin.prune(user).await),
        "Admin.Audit" => seen(peer.admin.audit(&AuditFilter::default(), 0, 1).await),
        "Admin.VerifyAudit" => seen(peer.admin.verify_audit().await),
        "Admin.CompareAudit" => seen(peer.admin.compare_audit(&[]).await),
        "Admin.Settings" => seen(peer.admin.settings().await),
        "Admin.Health" => seen(peer.admin.health().await),
        "Admin.AcceptHost" => seen(peer.admin.accept_host().await),
        "Admin.Explain" => seen(peer.admin.explain(user, &Origin::default(), &Supposition::default()).await),
        "Admin.Rehearse" => seen(peer.admin.rehearse(&[user], &Origin::default(), &Supposition::default()).await),
        "Admin.RotateKey" => seen(peer.admin.rotate_key().await),
        "Admin.KeyStatus" => seen(peer.admin.key_status().await),
        "Admin.Backup" => seen(peer.admin.backup((&std::fs::File::open("/dev/null").unwrap()).into()).await),
        "Admin.Import" => seen(peer.admin.import(&[]).await),
        "Admin.CheckImport" => seen(peer.admin.check_import(&[]).await),
        "Admin.Reload" => seen(peer.admin.reload().await),
        _ => panic!("{member}"),
    }
}

/// What concerns something that was begun answers to the connection that began it, whoever calls.
fn own<T>(result: Result<T, Error>) -> &'static str {
    match result {
        Ok(_) | Err(Error::NotFound(_)) => "own connection",
        Err(other) => panic!("{other:?}"),
    }
}

const MEMBERS: [&str; 37] = [
    "Verifier.Begin",
    "Verifier.Respond",
    "Verifier.Cancel",
    "Verifier.Unasked",
    "Enrollment.Begin",
    "Enrollment.Confirm",
    "Enrollment.Cancel",
    "Enrollment.List",
    "Enrollment.Rename",
    "Enrollment.Remove",
    "Enrollment.Resync",
    "Enrollment.NewRecoveryCodes",
    "Admin.Accounts",
    "Admin.Account",
    "Admin.Unlock",
    "Admin.Disable",
    "Admin.Enable",
    "Admin.DisableAuthenticator",
    "Admin.EnableAuthenticator",
    "Admin.Export",
    "Admin.Reset",
    "Admin.Forget",
    "Admin.Prune",
    "Admin.Import",
    "Admin.CheckImport",
    "Admin.Audit",
    "Admin.VerifyAudit",
    "Admin.CompareAudit",
    "Admin.Settings",
    "Admin.Health",
    "Admin.AcceptHost",
    "Admin.Explain",
    "Admin.Rehearse",
    "Admin.RotateKey",
    "Admin.KeyStatus",
    "Admin.Backup",
    "Admin.Reload",
];

#[tokio::test]
async fn every_member_lets_through_whom_the_table_in_the_docs_names() {
    let scene = Scene::new("fail_delay = \"0s\"\n[admin]\nexport = true\n");
    scene.enrol(OWNER.0).await;
    scene.settle_on(HERE);
    let mut table =
        String::from("| member | root | the account itself | another user | uid 65534 |\n|---|---|---|---|---|\n");
    for member in MEMBERS {
        let _ = write!(table, "| `{member}` |");
        let mut seen = "";
        for (_, uid) in CALLERS {
            let peer = scene.connect(uid).await;
            seen = call(member, &peer).await;
            let _ = write!(table, " {seen} |");
        }
        let _ = writeln!(table, " {} |", if seen == "own connection" { seen } else { unmapped() });
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dbus/callers.md");
    let mut page = std::fs::read_to_string(path).unwrap();
    if std::env::var_os("COUNTERSIGN_WRITE_DOCS").is_some() {
        let introduction = page.split("\n| ").next().unwrap().trim_end();
        page = format!("{introduction}\n\n{table}");
        std::fs::write(path, &page).unwrap();
    }
    assert!(
        page.contains(&table),
        "docs/dbus/callers.md does not hold what was seen (COUNTERSIGN_WRITE_DOCS=1 writes it):\n{table}"
    );
}

/// What the uid comes to that stands for users without one: it never becomes a caller, so that nothing is its own. On
/// the real bus: the scenario of the same table.
fn unmapped() -> &'static str {
    seen(Caller::new(65534, ConnectionKey::Private(1)))
}

#[tokio::test]
async fn the_table_names_every_member_that_is_served() {
    let served = crate::introspection::served_members();
    assert_eq!(served, MEMBERS);
}

#[test]
fn the_uid_that_stands_for_unmapped_users_is_refused() {
    let refused = Caller::new(65534, ConnectionKey::Private(1));
    assert!(matches!(refused, Err(Error::AccessDenied(_))), "{refused:?}");
}

#[tokio::test]
async fn an_unknown_name_and_somebody_elses_look_the_same_to_a_user() {
    let scene = Scene::new("fail_delay = \"0s\"");
    scene.enrol(OWNER.0).await;
    let other = scene.connect(OTHER.1).await;
    let mut texts = Vec::new();
    for user in ["root", OWNER.0, "no-such-account"] {
        texts.push(other.verifier.begin(user, &Origin::default()).await.unwrap_err().text());
    }
    assert_eq!(texts[0], texts[1]);
    assert_eq!(texts[0], texts[2]);
}
