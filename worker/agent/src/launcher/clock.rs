//! A time namespace for each container, in which it was booted when it was started.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat},
    io::{Errno, write},
    thread::{LinkNameSpaceType, move_into_link_name_space},
    time::{ClockId, clock_gettime},
};

use crate::sys;

/// The offsets of the namespace that a process's next child will be in.
const OFFSETS: &str = "timens_offsets";

/// The time namespaces of this process's children. /proc/PID/stat tells a process's start by its reader's.
pub(super) struct BootClock {
    /// This process's directory in the host's /proc.
    process: OwnedFd,
    /// What is added to the host's time since its boot in the namespace that this process is in.
    offset_ns: i64,
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
                let mut clock = Self { process, offset_ns: 0 };
                clock.restart()?;
                Ok(Some(clock))
            }
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a new namespace for the next child, booted now, and enters it: before Linux 6.3 a child in another
    /// namespace can't share this process's memory, as a warm one does until its exec.
    pub(super) fn restart(&mut self) -> io::Result<()> {
        const SECOND_NS: i64 = 1_000_000_000;
        sys::unshare(libc::CLONE_NEWTIME)?;
        let now = clock_gettime(ClockId::Boottime);
        let offset_ns = self.offset_ns - (now.tv_sec * SECOND_NS + now.tv_nsec);
        // The kernel takes nanoseconds that are added to seconds.
        let (seconds, nanoseconds) =
            (offset_ns.div_euclid(SECOND_NS), offset_ns.rem_euclid(SECOND_NS));
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let file = openat(&self.process, OFFSETS, flags, Mode::empty())?;
        write(&file, format!("boottime {seconds} {nanoseconds}").as_bytes())?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let namespace = openat(&self.process, "ns/time_for_children", flags, Mode::empty())?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Time))?;
        self.offset_ns = offset_ns;
        Ok(())
    }
}
