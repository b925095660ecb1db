//! Signals: their effects, and which are blocked.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

use super::check;

/// Gives every signal its default effect, but for SIGPIPE, which the runtime of this program ignores
/// and takes back for those that it starts. What is ignored stays ignored over exec: by `nohup`, by a
/// shell's `&`, by whatever a service manager does.
pub(crate) fn forget_signal_effects() {
    // The kernel's own structure, as the C library refuses the signals that it keeps for itself:
    // effect, flags, restorer, mask. All zero is the default effect.
    let default = [0u64; 4];
    for signal in (1..=64).filter(|signal| *signal != libc::SIGPIPE) {
        // SAFETY: the structure is read for its fixed size and outlives the call, no old one is asked
        // for, and this program has no handlers to lose. SIGKILL and SIGSTOP are refused, harmlessly.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                default.as_ptr(),
                std::ptr::null_mut::<u64>(),
                size_of::<u64>(),
            );
        }
    }
}

/// Effects of signals that an interpreter has set for itself, to be put back in its programs.
#[derive(Debug)]
pub(crate) struct SignalEffects(Vec<(i32, libc::sigaction)>);

impl SignalEffects {
    /// Those that are in force now and aren't the default.
    pub(crate) fn read() -> Self {
        let mut effects = Vec::new();
        for signal in 1..32 {
            // SAFETY: the structure is plain data that the kernel fills and that outlives the call; no
            // new effect is set.
            unsafe {
                let mut effect = std::mem::zeroed::<libc::sigaction>();
                let read = libc::sigaction(signal, std::ptr::null(), &mut effect);
                if read == 0 && effect.sa_sigaction != libc::SIG_DFL {
                    effects.push((signal, effect));
                }
            }
        }
        Self(effects)
    }

    /// Puts them in force again, and blocks no signal any more.
    pub(crate) fn restore(&self) -> io::Result<()> {
        for (signal, effect) in &self.0 {
            // SAFETY: the effect is one that this very process image had before, so a handler in it is
            // code that is still there.
            let set = unsafe { libc::sigaction(*signal, effect, std::ptr::null_mut()) };
            check(set.into())?;
        }
        block_no_signal()
    }
}

/// Blocks no signal any more. Allocates nothing.
///
/// # Errors
/// Those of sigprocmask(2).
pub(super) fn block_no_signal() -> io::Result<()> {
    // SAFETY: the set is a plain bit set that lives through the calls.
    unsafe {
        let mut none = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut none);
        check(libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut()).into()).map(drop)
    }
}

/// Blocks the signals by which people and service managers stop a whole group of processes.
///
/// # Errors
/// Those of sigprocmask(2).
pub(crate) fn block_stop_signals() -> io::Result<()> {
    // SAFETY: as below.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(&mut set, signal);
        }
        check(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()).into()).map(drop)
    }
}

/// Blocks SIGCHLD and gives a descriptor that is readable whenever a child has ended.
///
/// # Errors
/// Those of sigprocmask(2) and signalfd(2).
pub(crate) fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: `set` is a plain bit set that sigemptyset initialises before it is read, and it
    // lives through the calls; signalfd gives a new descriptor that nobody else owns.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()).into())?;
        let fd = check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}
