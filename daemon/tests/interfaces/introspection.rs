//! The introspection data in docs/dbus is what the daemon serves.

use daemon::bus::{Admin, Enrollment, Verifier};
use daemon::caller::{Caller, ConnectionKey, Source};
use zbus::object_server::Interface;

use crate::scene::Scene;

/// The three interfaces as introspection data.
fn served() -> [(&'static str, String); 3] {
    let scene = Scene::new("");
    let caller = Caller::new(0, ConnectionKey::Private(1)).unwrap();
    let source = Source::Private(caller);
    let service = &scene.service;
    [
        ("Verifier", introspect(&Verifier::new(service.clone(), source.clone()))),
        ("Enrollment", introspect(&Enrollment::new(service.clone(), source.clone()))),
        ("Admin", introspect(&Admin::new(service.clone(), source))),
    ]
}

fn introspect(interface: &impl Interface) -> String {
    let mut data = String::new();
    interface.introspect_to_writer(&mut data, 2);
    format!(
        "<!DOCTYPE node PUBLIC \"-//freedesktop//DTD D-BUS Object Introspection 1.0//EN\"\n  \
         \"http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd\">\n\
         <node name=\"{}\">\n{data}</node>\n",
        dbus_api::OBJECT_PATH
    )
}

/// `Interface.Member` of everything that is served.
pub(crate) fn served_members() -> Vec<String> {
    let mut members = Vec::new();
    for (interface, data) in served() {
        for method in data.split("<method name=\"").skip(1) {
            members.push(format!("{interface}.{}", method.split('"').next().unwrap()));
        }
        assert!(!data.contains("<signal"), "{interface} has a signal: it would tell everybody who logs in");
    }
    members
}

#[tokio::test]
async fn the_introspection_data_in_the_docs_is_what_the_daemon_serves() {
    for (interface, data) in served() {
        let path = format!("{}/../docs/dbus/{}.{interface}.xml", env!("CARGO_MANIFEST_DIR"), dbus_api::BUS_NAME);
        if std::env::var_os("COUNTERSIGN_WRITE_DOCS").is_some() {
            std::fs::write(&path, &data).unwrap();
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(kept, data, "{path} is out of date: run the test with COUNTERSIGN_WRITE_DOCS=1");
    }
}
