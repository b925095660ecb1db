//! What all containers of a slot have in common, made once.

use std::{fs::File, os::fd::OwnedFd};

use rustix::process::{getegid, geteuid};

use super::sysctl::{self, Sysctls};
use crate::{
    container::{barrier::Failed, namespace, rootfs},
    init::counters::Counters,
};

pub(crate) struct Slot {
    pub(crate) counters: Counters,
    pub(super) user_namespace: OwnedFd,
    pub(super) filter: Vec<u8>,
    pub(super) sysctls: Sysctls,
    /// The containers' user as the owner of files that the launcher mounts.
    pub(super) owner: u32,
    pub(super) is_root: bool,
}

/// # Safety
/// The caller is its process's only thread.
#[expect(unsafe_code, reason = "hands the contract on")]
pub(super) unsafe fn prepare(
    user: u32,
    filter: Vec<u8>,
    sysctls: &[(String, String)],
    mut descriptors: Vec<OwnedFd>,
) -> Result<Slot, Failed> {
    let is_root = geteuid().is_root();
    if !is_root {
        namespace::become_inner_root(geteuid().as_raw(), getegid().as_raw())?;
    }
    let owner = if is_root { user } else { 0 };
    // While the host's /proc can still be seen.
    let sysctls = Sysctls::new(sysctls)?;
    if !is_root {
        sysctl::set_user_quotas()?;
    }
    // SAFETY: as the caller promises.
    let user_namespace = unsafe { namespace::make_user_namespace(owner) }?;
    namespace::leave_host_mounts()?;
    let module = descriptors.pop();
    let kept_proc = (!is_root).then_some(rootfs::KEPT_PROC);
    rootfs::build(is_root, rootfs::overlay, kept_proc, module.map(File::from))?;
    let counters = Counters::from_descriptors(descriptors);
    Ok(Slot { counters, user_namespace, filter, sysctls, owner, is_root })
}
