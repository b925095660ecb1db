//! What all containers of a slot have in common, made once.

use std::{fs::File, io, os::fd::OwnedFd};

use rustix::process::{getegid, geteuid};

use super::{
    clock::BootClock,
    sysctl::{self, Sysctls},
};
use crate::{
    container::{
        barrier::{Barrier, Failed},
        machine::{self, Processors},
        namespace,
        proc::KEPT_PROC,
        rootfs,
    },
    init::{
        counters::Counters,
        job_files::{self, JobFiles, replace},
    },
};

pub(crate) struct Slot {
    pub(crate) counters: Counters,
    pub(super) user_namespace: OwnedFd,
    pub(super) filter: Vec<u8>,
    pub(super) sysctls: Sysctls,
    /// The containers' user as the owner of files that the launcher mounts.
    pub(super) owner: u32,
    pub(super) is_root: bool,
    pub(crate) job_files: JobFiles,
    processors: Processors,
    stat: File,
    clock: Option<BootClock>,
}

impl Slot {
    /// What changes before each container is started: it is booted now.
    pub(super) fn begin_container(&mut self) -> io::Result<()> {
        if let Some(clock) = &mut self.clock {
            clock.restart()?;
        }
        self.job_files.started = job_files::now();
        replace(&self.stat, &machine::stat(self.processors.count, machine::boot_time()))
    }
}

/// # Safety
/// The caller is its process's only thread.
#[expect(unsafe_code, reason = "hands the contract on")]
pub(super) unsafe fn prepare(
    root: &str,
    user: u32,
    filter: Vec<u8>,
    sysctls: &[(String, String)],
    processors: Processors,
    mut descriptors: Vec<OwnedFd>,
) -> Result<Slot, Failed> {
    let is_root = geteuid().is_root();
    if !is_root {
        namespace::become_inner_root(geteuid().as_raw(), getegid().as_raw())?;
    }
    let owner = if is_root { user } else { 0 };
    // While the host's /proc can still be seen.
    let sysctls = Sysctls::new(sysctls)?;
    let clock =
        BootClock::open().map_err(|error| Barrier::Namespaces.failed(format!("time: {error}")))?;
    if !is_root {
        sysctl::set_user_quotas()?;
    }
    // SAFETY: as the caller promises.
    let user_namespace = unsafe { namespace::make_user_namespace(owner) }?;
    namespace::leave_host_mounts()?;
    let module = descriptors.pop().map(File::from);
    let kept_proc = (!is_root).then_some(KEPT_PROC);
    rootfs::enter_image(root)?;
    let files = rootfs::build(is_root, rootfs::overlay, kept_proc, processors, module)?;
    let of_job = [files.meminfo, files.memory_max, files.pids_max, files.uptime];
    Ok(Slot {
        counters: Counters::from_descriptors(descriptors),
        user_namespace,
        filter,
        sysctls,
        owner,
        is_root,
        job_files: JobFiles::new(of_job, job_files::now()),
        processors,
        stat: files.stat.into(),
        clock,
    })
}
