//! A time namespace for each container, in which it was booted when it was started.

use std::{io, os::fd::OwnedFd};

use rustix::{
    fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat},
    io::{Errno, write},
    time::{ClockId, clock_gettime},
};

use crate::sys;

/// The offsets of the namespace that a process's next child will be in.
const OFFSETS: &str = "timens_offsets";

/// Gives this process's children a clock of their own. /proc/PID/stat tells a process's start by it.
pub(super) struct BootClock {
    /// This process's directory in the host's /proc.
    process: OwnedFd,
}

impl BootClock {
    /// None on a kernel without time namespaces (CONFIG_TIME_NS): then the starts of processes are shown by the
    /// host's clock.
    ///
    /// # Errors
    /// If a namespace can't be made on a kernel that has them.
    pub(super) fn open() -> io::Result<Option<Self>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let process = openat(CWD, "/proc/self", flags, Mode::empty())?;
        match accessat(&process, OFFSETS, Access::EXISTS, AtFlags::empty()) {
            Ok(()) => {
                let clock = Self { process };
                clock.restart()?;
                Ok(Some(clock))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a new namespace for the next child, booted now.
    pub(super) fn restart(&self) -> io::Result<()> {
        sys::unshare(libc::CLONE_NEWTIME)?;
        let now = clock_gettime(ClockId::Boottime);
        // The kernel takes nanoseconds that are added to seconds.
        let nanoseconds = (1_000_000_000 - now.tv_nsec) % 1_000_000_000;
        let seconds = -now.tv_sec - i64::from(nanoseconds > 0);
        let offset = format!("boottime {seconds} {nanoseconds}");
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.process, OFFSETS, flags, Mode::empty())?;
        write(&file, offset.as_bytes())?;
        Ok(())
    }
}
