//! From a copy of the launcher to PID 1 of a container: namespaces, a user without privileges,
//! the system call filter.

use std::{
    fs, io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    net::{AddressFamily, SocketFlags, SocketType, socket_with},
    process::{
        Pid, Signal, Uid, WaitOptions, geteuid, kill_process, set_parent_process_death_signal,
        waitpid,
    },
    thread::{
        CapabilitySet, CapabilitySets, LinkNameSpaceType, capabilities,
        clear_ambient_capability_set, move_into_link_name_space,
        remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
        set_thread_res_gid, set_thread_res_uid,
    },
};

use super::barrier::{Barrier, Failed};
use crate::sys::{self, Stacks, VforkClone};

/// The user and group inside every container.
pub(crate) const INNER_ID: u32 = 1000;

/// The namespaces that every job gets anew. The user namespace is the slot's and joined last:
/// the others belong to the launcher's, so that no privilege inside reaches them.
const JOB_NAMESPACES: libc::c_int = libc::CLONE_NEWPID
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// Starts a child in new namespaces; `None` in the child.
///
/// # Safety
/// The caller is its process's only thread.
#[expect(unsafe_code, reason = "hands the contract on")]
pub(crate) unsafe fn fork_container() -> Result<Option<Pid>, Failed> {
    // SAFETY: as the caller promises.
    unsafe { sys::fork_into(JOB_NAMESPACES) }.map_err(no_namespaces)
}

/// Starts a child that does `child`, which forks, in new namespaces: in this process's memory, with the
/// `stacks` for that, or else in a copy. See [`sys::vfork_clone`] and [`sys::fork_twice`].
///
/// # Safety
/// That of [`sys::vfork_clone`].
#[expect(unsafe_code, reason = "hands the contract on")]
pub(crate) unsafe fn branch_container(
    stacks: Option<&mut Stacks>,
    child: &mut dyn FnMut(),
) -> Result<VforkClone, Failed> {
    // SAFETY: as the caller promises.
    let branched = unsafe {
        match stacks {
            Some(stacks) => sys::vfork_clone(stacks, JOB_NAMESPACES, child),
            None => sys::fork_twice(JOB_NAMESPACES, child),
        }
    };
    branched.map_err(no_namespaces)
}

fn no_namespaces(error: io::Error) -> Failed {
    Barrier::Namespaces.failed(format!("pid, mount, net, ipc, uts and cgroup: {error}"))
}

/// A user namespace in which [`INNER_ID`] is `outer` and no other user exists, as a descriptor.
///
/// # Safety
/// The caller is its process's only thread.
#[expect(unsafe_code, reason = "hands the contract on")]
pub(crate) unsafe fn make_user_namespace(outer: u32) -> Result<OwnedFd, Failed> {
    let failed =
        |what: &str, error: io::Error| Barrier::UserNamespace.failed(format!("{what}: {error}"));
    // SAFETY: as the caller promises.
    let child = owned_by(outer, || match unsafe { sys::fork_into(libc::CLONE_NEWUSER) }? {
        Some(child) => Ok(child),
        // It only holds the namespace until the launcher kills it. It must not go on from here: no user is
        // root in its namespace yet, and its failure would be reported as the launcher's.
        None => loop {
            rustix::event::pause();
        },
    })
    .map_err(|error| failed("clone", error))?;
    let directory = format!("/proc/{}", child.as_raw_nonzero());
    let map = format!("{INNER_ID} {outer} 1");
    let made = fs::write(format!("{directory}/uid_map"), &map)
        .and_then(|()| fs::write(format!("{directory}/gid_map"), &map))
        .and_then(|()| fs::File::open(format!("{directory}/ns/user")));
    let _ = kill_process(child, Signal::KILL);
    let _ = waitpid(Some(child), WaitOptions::empty());
    made.map(OwnedFd::from).map_err(|error| failed("id maps", error))
}

/// Does what makes a user namespace, so that the namespace is `user`'s. The kernel charges what is
/// done in one (watches, queues, keys) to its owner, too: were that root, a program could use up
/// the quotas of the host's own services.
fn owned_by<T>(user: u32, make: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    let root = geteuid();
    if user == root.as_raw() || !root.is_root() {
        return make();
    }
    let held = capabilities(None)?;
    set_thread_res_uid(root, Uid::from_raw(user), root)?;
    // Changing the effective user put them down; they are still permitted, and where users in
    // general may not make namespaces it takes one to.
    set_capabilities(None, held)?;
    let made = make();
    set_thread_res_uid(root, root, root)?;
    set_capabilities(None, held)?;
    made
}

/// Gives a launcher that isn't root a user namespace in which it is.
pub(crate) fn become_inner_root(uid: u32, gid: u32) -> Result<(), Failed> {
    let failed = |what: &'static str| {
        move |error: io::Error| Barrier::UserNamespace.failed(format!("{what}: {error}"))
    };
    sys::unshare(libc::CLONE_NEWUSER).map_err(failed("unshare"))?;
    // Without this the kernel refuses the group map: dropping a group can also grant access.
    fs::write("/proc/self/setgroups", "deny").map_err(failed("setgroups"))?;
    fs::write("/proc/self/uid_map", format!("0 {uid} 1")).map_err(failed("uid_map"))?;
    fs::write("/proc/self/gid_map", format!("0 {gid} 1")).map_err(failed("gid_map"))
}

/// Makes this process the leader of a session of its own. Process groups reach across PID
/// namespaces: without this, `kill(0)` in the container would hit the launcher's.
pub(crate) fn leave_session() -> Result<(), Failed> {
    rustix::process::setsid()
        .map(drop)
        .map_err(|error| Barrier::Namespaces.failed(format!("session: {error}")))
}

/// Gives this process a mount namespace of its own.
pub(crate) fn leave_host_mounts() -> Result<(), Failed> {
    sys::unshare(libc::CLONE_NEWNS)
        .map_err(|error| Barrier::MountNamespace.failed(error.to_string()))
}

/// Names the host and brings its only network interface up; needs the privileges that
/// [`drop_privileges`] gives away.
pub(crate) fn setup_uts_and_loopback() -> Result<(), Failed> {
    rustix::system::sethostname(b"sandbox")
        .map_err(|error| Barrier::HostName.failed(error.to_string()))?;
    let socket = socket_with(AddressFamily::INET, SocketType::DGRAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| Barrier::Network.failed(format!("loopback: {error}")))?;
    sys::bring_loopback_up(socket.as_fd())
        .map_err(|error| Barrier::Network.failed(format!("loopback: {error}")))
}

/// Gives up all privileges for good: user namespace, ids, capabilities,
/// no_new_privs, system call filter, in the order in which each is still allowed.
pub(crate) fn drop_privileges(
    user_namespace: &OwnedFd,
    may_set_groups: bool,
    filter: &[u8],
) -> Result<(), Failed> {
    let failed = |what: &'static str| {
        move |error: rustix::io::Errno| Barrier::Privileges.failed(format!("{what}: {error}"))
    };
    move_into_link_name_space(user_namespace.as_fd(), Some(LinkNameSpaceType::User))
        .map_err(|error| Barrier::UserNamespace.failed(format!("setns: {error}")))?;
    if may_set_groups {
        set_thread_groups(&[]).map_err(failed("supplementary groups"))?;
    }
    let gid = rustix::process::Gid::from_raw(INNER_ID);
    let uid = Uid::from_raw(INNER_ID);
    // The bounding set goes first: it takes a capability to empty it.
    for capability in CapabilitySet::all() {
        match remove_capability_from_bounding_set(capability) {
            // A capability that this kernel doesn't know can't be held either.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(failed("bounding set")(error)),
        }
    }
    set_thread_res_gid(gid, gid, gid).map_err(failed("group"))?;
    set_thread_res_uid(uid, uid, uid).map_err(failed("user"))?;
    clear_ambient_capability_set().map_err(failed("ambient set"))?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
        .map_err(failed("capabilities"))?;
    // Changing the user clears this, so it is set afterwards.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed("death signal"))?;
    set_no_new_privs(true).map_err(failed("no_new_privs"))?;
    sys::install_filter(filter).map_err(|error| Barrier::Seccomp.failed(error.to_string()))
}
