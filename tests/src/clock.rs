//! A clock that can be wrong, for one process.

use std::{fs, path::Path};

use tempfile::TempDir;
use tokio::process::Command;

/// What the clock tells the processes that use it: the time, and a difference. The monotonic clock,
/// which no one can set, stays as it is.
#[derive(Debug)]
pub struct Clock {
    directory: TempDir,
}

impl Clock {
    /// One that is `ahead` by so much, such as `+1h` or `-1h`.
    ///
    /// # Panics
    /// If there is no room for a file.
    pub fn ahead(ahead: &str) -> Self {
        let clock = Self { directory: TempDir::new().expect("room for files") };
        clock.jump(ahead);
        clock
    }

    /// Is ahead by so much from now on, for processes that use it already: within a second.
    ///
    /// # Panics
    /// If there is no room for a file.
    pub fn jump(&self, ahead: &str) {
        // Whole or not at all: it may be read at this moment.
        let new = self.directory.path().join("new");
        fs::write(&new, ahead).expect("room for a file");
        fs::rename(new, self.directory.path().join("offset")).expect("our directory");
    }

    /// Puts it on a process that is yet to be started.
    ///
    /// # Panics
    /// If it isn't installed.
    pub fn worn_by(&self, command: &mut Command) {
        let machine = std::env::consts::ARCH;
        let library = format!("/usr/lib/{machine}-linux-gnu/faketime/libfaketimeMT.so.1");
        assert!(Path::new(&library).exists(), "install the package faketime");
        command
            .env("LD_PRELOAD", library)
            .env("FAKETIME_TIMESTAMP_FILE", self.directory.path().join("offset"))
            .env("FAKETIME_CACHE_DURATION", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }
}
