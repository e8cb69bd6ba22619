//! A name service for scratch hosts that can be slow, hang, fail and change its mind: an NSS module in C, beside
//! the host's own files.

use std::fmt::Write as _;

use anyhow::Result;

use crate::{Host, HostBuilder, programs};

/// What the module obeys.
const CONTROL: &str = "/etc/scratch-name-service";

/// Accounts of the host's files first, then those of the module.
const SWITCH: &str = "passwd: files countersigntest\ngroup: files countersigntest\nshadow: files\nhosts: files\n";

/// How the name service behaves. What the host's own files answer never reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameService {
    /// It answers.
    Answers,
    /// It answers after so many milliseconds.
    Slow(u32),
    /// It answers nothing until it is told otherwise.
    Hangs,
    /// It says that it fails for a while, with this error number.
    TryAgain(i32),
    /// It says that it cannot be reached, with this error number.
    Unavailable(i32),
}

impl NameService {
    /// The control file that makes it behave so and know these names and uids.
    fn control(self, accounts: &[(&str, u32)]) -> String {
        let mut control = match self {
            Self::Answers => "ok".to_owned(),
            Self::Slow(milliseconds) => format!("slow {milliseconds}"),
            Self::Hangs => "hang".to_owned(),
            Self::TryAgain(error) => format!("tryagain {error}"),
            Self::Unavailable(error) => format!("unavail {error}"),
        };
        for (name, uid) in accounts {
            // Writing to a string does not fail.
            let _ = write!(control, "\n{name} {uid}");
        }
        control + "\n"
    }
}

impl HostBuilder {
    /// Accounts that a name service knows which is not the host's own files. All of them are in its group `directory`.
    ///
    /// # Errors
    /// The C compiler failed.
    pub fn name_service(self, accounts: &[(&str, u32)]) -> Result<Self> {
        let library = format!("/lib/{}-linux-gnu/libnss_countersigntest.so.2", std::env::consts::ARCH);
        let module = programs::shared_library("tests/nss/countersigntest.c", "libnss_countersigntest.so.2")?;
        let host = self.bind(module, &library).file("/etc/nsswitch.conf", SWITCH);
        Ok(host.file(CONTROL, &NameService::Answers.control(accounts)))
    }
}

impl Host {
    /// From now on the name service behaves so and knows these names and uids.
    ///
    /// # Errors
    /// The control file cannot be written.
    pub fn name_service(&self, behaviour: NameService, accounts: &[(&str, u32)]) -> Result<()> {
        self.write(CONTROL, &behaviour.control(accounts))
    }
}
