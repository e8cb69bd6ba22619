//! D-Bus messages, as anybody who reaches a socket writes them: the handshake and the measuring of messages by our own
//! transport, and the decoding of every member's arguments and of every answer that module and tool read.
#![no_main]

use std::{cell::RefCell, io::Write as _, os::unix::net::UnixStream};

use daemon::bus::{read_as_fuzzed, transport::Transport};
use dbus_api::{
    AccountFilter, AccountPage, AuditFilter, AuditPage, AuditReport, AuditWitness, Confirmation, EnrollmentOptions,
    EnrollmentSummary, Error, ImportRecord, ImportResult, Offer, Origin, Setting, Step,
};
use libfuzzer_sys::fuzz_target;
use zbus::{
    Message,
    wire::{
        Endian,
        serialized::{Context, Data},
    },
};

thread_local! {
    static RUNTIME: RefCell<tokio::runtime::Runtime> =
        RefCell::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
}

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    if choice & 1 == 0 {
        RUNTIME.with_borrow(|runtime| runtime.block_on(read(bytes)));
    } else {
        decode(bytes);
    }
});

/// What a peer sends to the private socket, from its first byte on.
async fn read(bytes: &[u8]) {
    let (mut client, server) = UnixStream::pair().unwrap();
    server.set_nonblocking(true).unwrap();
    client.set_nonblocking(true).unwrap();
    // More than the socket takes at once tells nothing new.
    let _ = client.write(bytes);
    drop(client);
    let server = tokio::net::UnixStream::from_std(server).unwrap();
    let greeting = Transport::handshake(server, 1000, "0123456789abcdef0123456789abcdef");
    let Ok(mut transport) = greeting.await else { return };
    let mut all = 0;
    while let Ok(message) = transport.message().await {
        all += message.len();
        read_as_fuzzed(&message);
    }
    assert!(all <= bytes.len());
}

fn decode(bytes: &[u8]) {
    let endian = if bytes.first() == Some(&b'B') { Endian::Big } else { Endian::Little };
    let data = Data::new(bytes.to_vec(), Context::new(endian, 0));
    // SAFETY: as in pam-module/src/connection.rs: memory does not depend on what is in the bytes.
    let Ok(message) = (unsafe { Message::from_bytes(data) }) else { return };
    let header = message.header();
    let _ = (header.member(), header.interface(), header.path(), header.sender(), header.reply_serial());
    let body = message.body();
    // Verifier
    let _ = body.deserialize::<(&str, Origin)>();
    let _ = body.deserialize::<(u64, &str)>();
    let _ = body.deserialize::<u64>();
    let _ = body.deserialize::<(u64, Step)>();
    if let Ok(step) = body.deserialize::<Step>() {
        let _ = (step.action(), step.details.denial());
    }
    // Enrollment
    let _ = body.deserialize::<(&str, EnrollmentOptions)>();
    let _ = body.deserialize::<(u64, Offer)>();
    let _ = body.deserialize::<Confirmation>();
    let _ = body.deserialize::<EnrollmentSummary>();
    let _ = body.deserialize::<(&str, u32, &str)>();
    let _ = body.deserialize::<Vec<String>>();
    // Admin
    let _ = body.deserialize::<(AccountFilter, &str, u32)>();
    let _ = body.deserialize::<AccountPage>();
    if let Ok(records) = body.deserialize::<Vec<ImportRecord>>() {
        for record in &records {
            let _ = daemon::authenticator::import(record);
        }
    }
    let _ = body.deserialize::<Vec<ImportResult>>();
    let _ = body.deserialize::<(AuditFilter, u64, u32)>();
    let _ = body.deserialize::<AuditPage>();
    let _ = body.deserialize::<Vec<AuditWitness>>();
    let _ = body.deserialize::<AuditReport>();
    let _ = body.deserialize::<Vec<Setting>>();
    // What a refusal becomes.
    let _ = Error::from(zbus::Error::from(message.clone()));
}
