//! A container's own /proc: its processes, and in place of all else what `machine.rs` has written.

use std::fs;

use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags, openat},
    io::Errno,
    mount::{MountFlags, UnmountFlags, mount, mount_bind, unmount},
};

use super::{
    barrier::{Barrier, Failed},
    machine,
};

/// Where the host's /proc stays for launchers that aren't root.
pub(crate) const KEPT_PROC: &str = "/.proc";

/// Mounts it. `kept_proc` says whether the host's is to be removed from [`KEPT_PROC`]: a user namespace may only
/// mount /proc while it sees one whole.
pub(super) fn mount_proc(kept_proc: bool) -> Result<(), Failed> {
    let failed = |what: &str, error: Errno| Barrier::Proc.failed(format!("{what}: {error}"));
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    // Of what is undumpable (the agent) nothing but the number. With `invisible` PID 1 would not see which processes
    // of the program hide from it.
    mount("proc", "/proc", "proc", flags, c"hidepid=noaccess")
        .map_err(|error| failed("/proc can't be mounted", error))?;
    cover().map_err(|(name, error)| failed(&format!("/proc/{name} can't be covered"), error))?;
    // If memory runs out, it runs out for the program and not for the launcher, which is in the same
    // control group. Every process may raise this for itself. While this process is in the
    // launcher's memory (`warm/container.rs`) both would go, and with them the slot, which is made anew.
    fs::write("/proc/self/oom_score_adj", "1000")
        .map_err(|error| Barrier::Proc.failed(format!("oom_score_adj: {error}")))?;
    if kept_proc {
        unmount(KEPT_PROC, UnmountFlags::DETACH).map_err(|error| failed(KEPT_PROC, error))?;
    }
    Ok(())
}

/// Covers every entry that isn't a process's: the list is the kernel's own, since it depends on what is built
/// into it or loaded. Links are left: they lead to what is a process's.
fn cover() -> Result<(), (String, Errno)> {
    let at = |name: &str| {
        let name = name.to_owned();
        move |error| (name, error)
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = openat(CWD, "/proc", flags, Mode::empty()).map_err(at(""))?;
    for entry in Dir::new(directory).map_err(at(""))? {
        let entry = entry.map_err(at(""))?;
        let name = entry.file_name().to_string_lossy();
        let is_process = name.bytes().all(|byte| byte.is_ascii_digit());
        if is_process || name.starts_with('.') || entry.file_type() == FileType::Symlink {
            continue;
        }
        let cover = match entry.file_type() {
            FileType::Directory => machine::NO_DIRECTORY,
            _ if machine::SHOWN.contains(&&*name) => &name,
            _ => machine::NO_FILE,
        };
        let source = format!("{}/{cover}", machine::DIRECTORY);
        mount_bind(source, format!("/proc/{name}")).map_err(at(&name))?;
    }
    Ok(())
}
