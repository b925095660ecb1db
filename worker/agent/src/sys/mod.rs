//! The few system calls that no safe wrapper offers. Functions whose callers have to keep a contract are
//! `unsafe` and say under "Safety" which; the callers say how they keep it.
#![allow(unsafe_code)]

mod affinity;
mod cmdline;
mod huge_pages;
mod signals;
mod spawn;
mod stack;
mod vfork_clone;

pub(crate) use self::{
    affinity::Affinity,
    cmdline::{cut_environment, set_cmdline},
    huge_pages::collapse_memory,
    signals::{SignalEffects, block_stop_signals, child_signals, reset_signal_dispositions},
    spawn::spawn,
    vfork_clone::{Stacks, VforkClone, fork_twice, vfork_clone},
};

use std::{
    ffi::CStr,
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use rustix::process::Pid;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Starts a child in the namespaces of `flags`, as `fork` would: the child goes on with a copy of the
/// memory. `None` in the child.
///
/// # Errors
/// Those of clone(2).
///
/// # Safety
/// `flags` has nothing but `CLONE_NEW*`, and the caller is its process's only thread: a lock that another
/// one held would stay locked in the child for ever.
pub(crate) unsafe fn fork_into(flags: libc::c_int) -> io::Result<Option<Pid>> {
    // SAFETY: without CLONE_VM and with a null stack this is a fork; both processes go on with
    // memory of their own. No pointer is passed.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, flags | libc::SIGCHLD, 0, 0, 0, 0) })?;
    Ok(Pid::from_raw(pid as i32))
}

/// A fork as the C library has it, with all that its libraries want done about one. `None` in the child.
///
/// # Errors
/// Those of fork(2).
///
/// # Safety
/// The caller is its process's only thread, as for [`fork_into`]; or the child calls nothing but what
/// POSIX calls async-signal-safe.
pub(crate) unsafe fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: takes no pointer; the rest is as the caller promises.
    let pid = check(unsafe { libc::fork() }.into())?;
    Ok(Pid::from_raw(pid as i32))
}

/// Becomes the program in `file`, with `arguments` and an empty environment; returns only if that
/// fails. Descriptors that are to be open there must be marked so.
pub(crate) fn become_file(file: BorrowedFd<'_>, arguments: [&CStr; 3]) -> io::Error {
    let [name, first, second] = arguments.map(CStr::as_ptr);
    let pointers = [name, first, second, std::ptr::null()];
    let environment = [std::ptr::null::<libc::c_char>()];
    // SAFETY: the path is an empty string, both lists end with a null pointer, and all of them outlive
    // the call.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            file.as_raw_fd(),
            c"".as_ptr(),
            pointers.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    io::Error::last_os_error()
}

/// Ends this process without flushing buffers or running exit handlers: they belong to the process that it may
/// be a copy of.
pub(crate) fn exit(code: i32) -> ! {
    // SAFETY: takes no pointer and doesn't return.
    unsafe { libc::_exit(code) }
}

/// Moves this thread, which should be its process's only one, into new namespaces of `flags`.
///
/// # Errors
/// Those of unshare(2).
pub(crate) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes no pointer, and what memory a process has is no matter of namespaces.
    check(unsafe { libc::unshare(flags) }.into()).map(drop)
}

/// Puts the system call filter `program` (an array of `struct sock_filter`) before this process
/// and all it will start.
///
/// # Errors
/// If the program isn't whole, and those of seccomp(2).
pub(crate) fn install_filter(program: &[u8]) -> io::Result<()> {
    const INSTRUCTION: usize = size_of::<libc::sock_filter>();
    let count = program.len() / INSTRUCTION;
    if program.is_empty() || !program.len().is_multiple_of(INSTRUCTION) || count > 4096 {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a filter program"));
    }
    let mut instructions: Vec<libc::sock_filter> = Vec::with_capacity(count);
    for bytes in program.chunks_exact(INSTRUCTION) {
        instructions.push(libc::sock_filter {
            code: u16::from_ne_bytes([bytes[0], bytes[1]]),
            jt: bytes[2],
            jf: bytes[3],
            k: u32::from_ne_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
        });
    }
    let program =
        libc::sock_fprog { len: count as libc::c_ushort, filter: instructions.as_mut_ptr() };
    // SAFETY: `program` points at `len` instructions that live until the call returns; the kernel
    // copies and verifies them.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) })
        .map(drop)
}

/// Brings the loopback interface of this network namespace up.
///
/// # Errors
/// Those of ioctl(2).
pub(crate) fn bring_loopback_up(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: an all-zero ifreq is valid; the name is NUL-terminated because it is shorter than
    // the field; the kernel reads one ifreq from the pointer, which outlives the call.
    unsafe {
        let mut request = std::mem::zeroed::<libc::ifreq>();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &request).into()).map(drop)
    }
}

/// Sets mount attributes (`MOUNT_ATTR_*`) on the mount behind `tree` and all below it.
///
/// # Errors
/// Those of mount_setattr(2).
pub(crate) fn set_mount_attributes(tree: BorrowedFd<'_>, set: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set: set, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path is a NUL-terminated empty string and the attributes are read for exactly
    // the size that is passed; both outlive the call.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH | libc::AT_RECURSIVE,
            &attributes,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Gives `descriptor` the number `number`, and keeps it open over exec.
///
/// # Errors
/// Those of dup2(2).
///
/// # Safety
/// Nothing in this process uses what has the number so far, and closes, any more, unless that is
/// `descriptor` itself.
pub(crate) unsafe fn move_descriptor(descriptor: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointer, and closes what the caller says that nothing uses. If the descriptor has
    // the number already, nothing is done but for the flag.
    unsafe {
        check(libc::dup2(descriptor.as_raw_fd(), number).into())?;
    }
    clear_cloexec(number)
}

/// Gives `descriptor` the number `number`; it ends with an exec.
///
/// # Errors
/// Those of dup3(2).
///
/// # Safety
/// As for [`move_descriptor`]. Only what owned the number before owns it afterwards.
pub(crate) unsafe fn place_descriptor(descriptor: OwnedFd, number: RawFd) -> io::Result<()> {
    if descriptor.as_raw_fd() == number {
        // It stays there.
        std::mem::forget(descriptor);
        return Ok(());
    }
    // SAFETY: takes no pointer, and closes what the caller says that nothing uses.
    check(unsafe { libc::dup3(descriptor.as_raw_fd(), number, libc::O_CLOEXEC) }.into()).map(drop)
}

/// Keeps the descriptor `number` open over exec.
///
/// # Errors
/// If there is none.
pub(crate) fn clear_cloexec(number: RawFd) -> io::Result<()> {
    // SAFETY: takes no pointer, and changes nothing but the flag.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) }.into()).map(drop)
}

/// The descriptor `number`, which this process was started with; it ends with an exec from here on.
///
/// # Errors
/// If there is none.
///
/// # Safety
/// Nothing else in this process owns the descriptor.
pub(crate) unsafe fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer, and says whether the descriptor is open at all. The caller is its owner.
    unsafe {
        check(libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC).into())?;
        Ok(OwnedFd::from_raw_fd(number))
    }
}

/// Closes every descriptor but those in `keep` and the three standard ones.
///
/// # Errors
/// Those of close_range(2).
///
/// # Safety
/// From here on nothing in this process uses a descriptor that is open now and isn't kept. What still owns
/// one is never dropped, or is dropped before this process opens another that may get the same number.
pub(crate) unsafe fn close_others(keep: &mut [i32]) -> io::Result<()> {
    keep.sort_unstable();
    let mut from = 3;
    for fd in keep.iter().copied().chain([i32::MAX]) {
        if from < fd {
            // SAFETY: takes no pointer, and closes what the caller says that nothing uses.
            check(unsafe { libc::syscall(libc::SYS_close_range, from, fd - 1, 0) })?;
        }
        from = fd.max(from - 1).saturating_add(1);
    }
    Ok(())
}

fn children_usage() -> Option<libc::rusage> {
    // SAFETY: an all-zero rusage is valid; the kernel fills the one it is given, which outlives
    // the call.
    unsafe {
        let mut usage = std::mem::zeroed::<libc::rusage>();
        check(libc::getrusage(libc::RUSAGE_CHILDREN, &mut usage).into()).ok()?;
        Some(usage)
    }
}

/// CPU time of all children that were waited for and of theirs, in microseconds: for containers
/// whose counters can't be read.
pub(crate) fn children_cpu_time_us() -> u64 {
    let micros = |time: libc::timeval| time.tv_sec as u64 * 1_000_000 + time.tv_usec as u64;
    children_usage().map_or(0, |usage| micros(usage.ru_utime) + micros(usage.ru_stime))
}

/// Memory of the largest child that was waited for, in bytes.
pub(crate) fn children_memory_peak_bytes() -> u64 {
    children_usage().map_or(0, |usage| usage.ru_maxrss.max(0) as u64 * 1024)
}

/// The version of Landlock that this kernel offers; `None` if it offers none.
pub fn landlock_version() -> Option<u32> {
    const CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag the kernel takes a null pointer and a zero size and only answers
    // with its version.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    };
    u32::try_from(version).ok().filter(|version| *version > 0)
}

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct LandlockRuleset {
    handled_access_fs: u64,
    handled_access_net: u64,
    scoped: u64,
}

/// `struct landlock_path_beneath_attr`, which the kernel declares packed.
#[repr(C, packed)]
struct LandlockPathBeneath {
    allowed_access: u64,
    parent_fd: i32,
}

/// A Landlock ruleset that forbids `rights` everywhere and the `scopes`.
///
/// # Errors
/// Those of landlock_create_ruleset(2).
pub(crate) fn make_landlock_ruleset(rights: u64, scopes: u64) -> io::Result<OwnedFd> {
    let attributes =
        LandlockRuleset { handled_access_fs: rights, handled_access_net: 0, scoped: scopes };
    // SAFETY: the attributes are read for exactly the size that is passed and outlive the call;
    // an older kernel accepts a longer structure whose unknown part is zero. The descriptor that
    // comes back is new and has no other owner.
    unsafe {
        let fd = check(libc::syscall(
            libc::SYS_landlock_create_ruleset,
            &attributes,
            size_of::<LandlockRuleset>(),
            0,
        ))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// Allows `rights` on `directory` and all below it.
///
/// # Errors
/// Those of landlock_add_rule(2).
pub(crate) fn add_landlock_rule(
    ruleset: BorrowedFd<'_>,
    directory: BorrowedFd<'_>,
    rights: u64,
) -> io::Result<()> {
    const RULE_PATH_BENEATH: u32 = 1;
    let rule = LandlockPathBeneath { allowed_access: rights, parent_fd: directory.as_raw_fd() };
    // SAFETY: the rule is of the kind that is named and outlives the call.
    check(unsafe {
        libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), RULE_PATH_BENEATH, &rule, 0)
    })
    .map(drop)
}

/// Puts `ruleset` before this thread, which should be its process's only one, and all it will start, for good.
///
/// # Errors
/// Those of landlock_restrict_self(2).
pub(crate) fn enforce_landlock(ruleset: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
        .map(drop)
}
