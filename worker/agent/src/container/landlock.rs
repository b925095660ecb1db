//! Landlock, a second barrier behind the mount table: another part of the kernel forbids again what namespaces
//! and mounts forbid, and also writing to one's own /proc, changing any mount, and signals and abstract sockets
//! that leave the container.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    io::Errno,
};

use super::scratch::WORKING_DIRECTORY;
use crate::sys;

/// What Landlock can forbid about files, a bit each, in the order of the kernel's header.
mod right {
    pub(super) const EXECUTE: u64 = 1;
    pub(super) const WRITE_FILE: u64 = 1 << 1;
    pub(super) const READ_FILE: u64 = 1 << 2;
    pub(super) const READ_DIR: u64 = 1 << 3;
    pub(super) const MAKE_CHAR: u64 = 1 << 6;
    pub(super) const MAKE_BLOCK: u64 = 1 << 11;
    pub(super) const TRUNCATE: u64 = 1 << 14;
    pub(super) const IOCTL_DEV: u64 = 1 << 15;
}

/// How many rights about files each version knows, from version 1.
const RIGHTS: [u32; 5] = [13, 14, 15, 15, 16];

/// The version from which abstract sockets and signals can be kept inside.
const SCOPES_SINCE: u32 = 6;
/// Abstract sockets, signals.
const SCOPES: u64 = 0b11;

/// Every right about files that `version` knows.
fn all_rights(version: u32) -> u64 {
    let known = RIGHTS[(version as usize).clamp(1, RIGHTS.len()) - 1];
    (1 << known) - 1
}

/// What is allowed below which directory; nothing is elsewhere. Network rights are left alone:
/// the network is empty, and programs may use their own loopback.
fn rules(version: u32) -> [(&'static str, u64); 5] {
    let everything = all_rights(version);
    let scratch = everything & !(right::MAKE_CHAR | right::MAKE_BLOCK | right::IOCTL_DEV);
    [
        ("/", right::EXECUTE | right::READ_FILE | right::READ_DIR),
        ("/dev", right::READ_FILE | right::WRITE_FILE | right::TRUNCATE | right::IOCTL_DEV),
        (WORKING_DIRECTORY, scratch),
        ("/tmp", scratch),
        ("/dev/shm", scratch),
    ]
    .map(|(directory, rights)| (directory, rights & everything))
}

/// Restricts this process and all it will start, for good, by what this kernel offers; gives back
/// the version, `None` if it offers nothing.
///
/// # Errors
/// If the kernel offers Landlock and then refuses it.
pub(crate) fn restrict_self() -> io::Result<Option<u32>> {
    let Some(version) = sys::landlock_version() else { return Ok(None) };
    restrict(version).map_err(|error| {
        io::Error::new(error.kind(), format!("Landlock can't be installed: {error}"))
    })?;
    Ok(Some(version))
}

fn restrict(version: u32) -> io::Result<()> {
    let scopes = if version >= SCOPES_SINCE { SCOPES } else { 0 };
    let ruleset = sys::make_landlock_ruleset(all_rights(version), scopes)?;
    for (directory, rights) in rules(version) {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let parent: OwnedFd = match openat(CWD, directory, flags, Mode::empty()) {
            // Not every image has all of them.
            Err(Errno::NOENT) => continue,
            opened => opened?,
        };
        sys::add_landlock_rule(ruleset.as_fd(), parent.as_fd(), rights)?;
    }
    sys::enforce_landlock(ruleset.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn older_versions_are_only_asked_for_what_they_know() {
        assert_eq!(all_rights(1), 0x1fff);
        assert_eq!(all_rights(3), 0x7fff);
        assert_eq!(all_rights(7), 0xffff);
        for version in 1..=7 {
            assert!(rules(version).iter().all(|(_, rights)| rights & !all_rights(version) == 0));
        }
    }

    #[test]
    fn only_the_scratch_space_can_be_written_to() {
        for (directory, rights) in rules(7) {
            let writes = rights & right::WRITE_FILE != 0;
            assert_eq!(writes, directory != "/", "{directory}");
            assert_eq!(rights & right::MAKE_CHAR, 0, "{directory}");
        }
    }
}
