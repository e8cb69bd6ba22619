//! Backups: of what was cut or altered nothing is handed on that was not sealed so, and a restore that refuses leaves
//! nothing behind.
#![no_main]

#[path = "../../cli/src/age.rs"]
#[allow(dead_code)]
mod age;

use std::{
    cell::OnceCell,
    fs::{self, DirBuilder},
    io::{Read, Write},
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
};

use daemon::{
    audit::Syslog,
    store::{
        KeyRing, Record, Store, Urgency,
        restoration::{Alone, Manner, restore},
    },
};
use libfuzzer_sys::fuzz_target;
use verifier::Now;

const PASSPHRASE: &str = "correct horse battery";

thread_local! {
    static BACKUP: OnceCell<Vec<u8>> = const { OnceCell::new() };
}

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first() else { return };
    match first % 3 {
        0 => read(rest),
        1 => read_altered(rest),
        _ => restore_altered(rest),
    }
});

/// A file of somebody's.
fn read(file: &[u8]) {
    // More than 2^9 rounds are only slow.
    let costly = file.split(|byte| *byte == b'\n').nth(1).is_some_and(|line| {
        let work = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
        work.len() > 1
    });
    if costly {
        return;
    }
    if let Ok(Ok(mut reader)) = age::Reader::begin(file, PASSPHRASE) {
        let _ = reader.read_to_end(&mut Vec::new());
    }
}

/// A file of ours of several chunks, with some bytes altered and its end cut, or something behind it.
fn read_altered(alterations: &[u8]) {
    let text: Vec<u8> = (0..140_000_u32).map(|number| number as u8).collect();
    let mut file = Vec::new();
    let mut writer = age::Writer::begin_at(&mut file, PASSPHRASE, 1).unwrap();
    writer.write_all(&text).unwrap();
    writer.finish().unwrap();
    let whole = file.clone();
    alter(&mut file, alterations);
    let Ok(Ok(mut reader)) = age::Reader::begin(&file[..], PASSPHRASE) else {
        assert_ne!(file, whole);
        return;
    };
    let (mut opened, mut block) = (Vec::new(), [0; 1000]);
    let ended = loop {
        match reader.read(&mut block) {
            Ok(0) => break true,
            Ok(length) => opened.extend_from_slice(&block[..length]),
            Err(_) => break false,
        }
    };
    assert!(text.starts_with(&opened), "something was handed on that nobody sealed");
    assert_eq!(ended, file == whole, "a file that is not whole was taken for one, or the other way round");
    assert!(!ended || opened == text);
}

/// A backup whose bytes come out of its file as they are, and are somebody's all the same.
fn restore_altered(alterations: &[u8]) {
    let mut backup = BACKUP.with(|backup| backup.get_or_init(make).clone());
    alter(&mut backup, alterations);
    let state = folder("into");
    let alone = Alone::at_once(&state).unwrap();
    let restored = restore(&alone, None, &mut &backup[..], Manner::default(), &Now::default());
    let mut left: Vec<_> = fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    match restored {
        Ok(_) => assert_eq!(left, ["lock", "master.key", "store.sqlite"]),
        Err(error) => {
            assert_eq!(left, ["lock"], "{error}");
            assert!(!error.to_string().is_empty());
        }
    }
    fs::remove_dir_all(&state).unwrap();
}

/// Of each four bytes the first three say where, and the last what is done there.
fn alter(file: &mut Vec<u8>, alterations: &[u8]) {
    for alteration in alterations.chunks_exact(4) {
        let place = usize::from(alteration[0]) << 16 | usize::from(alteration[1]) << 8 | usize::from(alteration[2]);
        let length = file.len();
        match alteration[3] {
            0 => file.truncate(place % length.max(1)),
            1 => file.push(alteration[0]),
            other if length > 0 => file[place % length] ^= other,
            _ => {}
        }
    }
}

/// What the daemon hands out for a store with one account.
fn make() -> Vec<u8> {
    let state = folder("from");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let backup = runtime.block_on(async {
        let syslog = Syslog::start(Path::new("/nonexistent/log")).unwrap();
        let store = Store::open(&state, KeyRing::load(None, &state).unwrap().0, syslog).unwrap();
        let put = |tx: &mut daemon::store::Transaction| tx.record = Some(Record::empty("alice", Some(1000)));
        store.decide("alice", Urgency::Login, put).await.unwrap();
        let still = store.still().await.unwrap();
        let mut database = vec![0; still.size as usize];
        still.read_at(&mut database, 0).unwrap();
        let key = still.key.clone();
        assert!(still.end().await.unwrap());
        store.close().await;
        [dbus_api::BACKUP_HEADER, key.as_slice(), &(database.len() as u64).to_be_bytes(), &database].concat()
    });
    fs::remove_dir_all(&state).unwrap();
    backup
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("fuzz-backup-{}-{name}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    DirBuilder::new().mode(0o700).create(&path).unwrap();
    path
}
