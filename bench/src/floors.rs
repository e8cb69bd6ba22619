//! What no module can be faster than, measured beside the modules in the same run: the disk, a socket, the bus.

use std::{
    fs::File,
    io::{Read, Write},
    os::unix::{
        fs::FileExt,
        net::{UnixListener, UnixStream},
    },
    path::Path,
    thread,
    time::Instant,
};

use anyhow::Result;
use scenarios::Host;
use serde::Serialize;

use crate::{
    contestant::Disk,
    load::{microseconds, middle, percentile},
};

/// A page of SQLite's.
const PAGE: usize = 4096;
/// About what a message of a login is long.
const MESSAGE: usize = 256;

/// The median and the 99th percentile, in microseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Floor {
    /// Half took no longer.
    pub p50: f64,
    /// 99 of 100 took no longer.
    pub p99: f64,
}

/// All of them.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Floors {
    /// Four pages written anew at places that the file has, then fsync(2).
    pub fsync: Floor,
    /// The same with fdatasync(2).
    pub fdatasync: Floor,
    /// Four pages behind the end of the file, then fsync(2).
    pub fsync_growing: Floor,
    /// Connecting to a UNIX socket and two round trips.
    pub socket: Floor,
    /// A call of the bus itself on a connection that is there.
    pub bus: Floor,
    /// Connecting to the bus, its handshake and its greeting.
    pub bus_connect: Floor,
}

/// Measures them all `count` times each.
///
/// # Errors
/// A file, a socket or the bus does not work.
pub fn measure(host: &Host, disk: &Disk, count: u32) -> Result<Floors> {
    let bus = host.outside("/run/dbus/system_bus_socket");
    Ok(Floors {
        fsync: synced(&disk.part("floor"), count, File::sync_all)?,
        fdatasync: synced(&disk.part("floor"), count, File::sync_data)?,
        fsync_growing: growing(&disk.part("floor-growing"), count)?,
        socket: socket(&host.outside("/run/scratch/floor.socket"), count)?,
        bus: bus_calls(&bus, count)?,
        bus_connect: bus_connections(&bus, count)?,
    })
}

/// The median over repetitions.
#[must_use]
pub fn median(runs: &[Floors]) -> Floors {
    let of = |floor: fn(&Floors) -> Floor| Floor {
        p50: middle(runs.iter().map(|run| floor(run).p50).collect()),
        p99: middle(runs.iter().map(|run| floor(run).p99).collect()),
    };
    Floors {
        fsync: of(|run| run.fsync),
        fdatasync: of(|run| run.fdatasync),
        fsync_growing: of(|run| run.fsync_growing),
        socket: of(|run| run.socket),
        bus: of(|run| run.bus),
        bus_connect: of(|run| run.bus_connect),
    }
}

fn timed(count: u32, mut once: impl FnMut(u64) -> Result<()>) -> Result<Floor> {
    let mut took = Vec::new();
    for number in 0..count {
        let begin = Instant::now();
        once(number.into())?;
        took.push(u64::try_from(begin.elapsed().as_nanos())?);
    }
    took.sort_unstable();
    Ok(Floor { p50: microseconds(percentile(&took, 50)?), p99: microseconds(percentile(&took, 99)?) })
}

fn synced(path: &Path, count: u32, sync: fn(&File) -> std::io::Result<()>) -> Result<Floor> {
    let file = File::create(path)?;
    file.write_all_at(&vec![1; PAGE * 1024], 0)?;
    file.sync_all()?;
    timed(count, |number| {
        let place = number * 4 % 1024 * PAGE as u64;
        file.write_all_at(&[number.to_le_bytes()[0]; 4 * PAGE], place)?;
        Ok(sync(&file)?)
    })
}

fn growing(path: &Path, count: u32) -> Result<Floor> {
    let mut file = File::create(path)?;
    timed(count, |_| {
        file.write_all(&[1; 4 * PAGE])?;
        Ok(file.sync_all()?)
    })
}

fn socket(path: &Path, count: u32) -> Result<Floor> {
    let _ = std::fs::remove_file(path);
    let listener = UnixListener::bind(path)?;
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut message = [0; MESSAGE];
            while stream.read_exact(&mut message).and_then(|()| stream.write_all(&message)).is_ok() {}
        }
    });
    timed(count, |_| {
        let mut stream = UnixStream::connect(path)?;
        let mut message = [0; MESSAGE];
        for _ in 0..2 {
            stream.write_all(&message)?;
            stream.read_exact(&mut message)?;
        }
        Ok(())
    })
}

fn bus_calls(bus: &Path, count: u32) -> Result<Floor> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connection = runtime.block_on(connect(bus))?;
    timed(count, |_| {
        let call = connection.call_method(
            Some("org.freedesktop.DBus"),
            "/org/freedesktop/DBus",
            Some("org.freedesktop.DBus"),
            "GetId",
            &(),
        );
        runtime.block_on(call)?;
        Ok(())
    })
}

fn bus_connections(bus: &Path, count: u32) -> Result<Floor> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    timed(count, |_| {
        drop(runtime.block_on(connect(bus))?);
        Ok(())
    })
}

async fn connect(bus: &Path) -> Result<zbus::Connection> {
    let address = format!("unix:path={}", bus.display());
    Ok(zbus::connection::Builder::address(address.as_str()).build().await?)
}
