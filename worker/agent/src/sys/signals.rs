//! Signals: their effects, and which are blocked.

use std::{
    io,
    os::fd::{FromRawFd, OwnedFd},
};

use super::check;

/// Gives every signal its default effect, but for SIGPIPE, which the runtime of this program ignores
/// and takes back for those that it starts. What is ignored stays ignored over exec: by `nohup`, by a
/// shell's `&`, by whatever a service manager does. Meant for this program before it does anything, and not
/// for an interpreter, whose C library may have handlers by now that nothing would put back: for that see
/// [`SignalEffects::take`].
pub(crate) fn reset_signal_dispositions() {
    for signal in (1..=64).filter(|signal| *signal != libc::SIGPIPE) {
        set_default(signal);
    }
}

/// Gives `signal` its default effect. SIGKILL and SIGSTOP are refused, harmlessly.
fn set_default(signal: i32) {
    // The kernel's own structure, as the C library refuses the signals that it keeps for itself:
    // effect, flags, restorer, mask. All zero is the default effect.
    let default = [0u64; 4];
    // SAFETY: the structure is read for its fixed size and outlives the call, and no old one is asked for.
    // The default effect needs no code of this process's. A handler that is lost is one that doesn't run.
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

/// Effects of signals that an interpreter has set for itself, to be put back in its programs.
#[derive(Debug)]
pub(crate) struct SignalEffects(Vec<(i32, libc::sigaction)>);

impl SignalEffects {
    /// Those that are in force now and aren't the default, which all but SIGPIPE have from here on: a handler
    /// of the interpreter's would only note the signal, for code of Python's that doesn't run here. The
    /// signals that the C library keeps for itself stay as they are.
    pub(crate) fn take() -> Self {
        let mut effects = Vec::new();
        for signal in 1..32 {
            // SAFETY: the structure is plain data that the kernel fills and that outlives the call; no
            // new effect is set.
            let effect = unsafe {
                let mut effect = std::mem::zeroed::<libc::sigaction>();
                let read = libc::sigaction(signal, std::ptr::null(), &mut effect);
                (read == 0 && effect.sa_sigaction != libc::SIG_DFL).then_some(effect)
            };
            let Some(effect) = effect else { continue };
            effects.push((signal, effect));
            if signal != libc::SIGPIPE {
                set_default(signal);
            }
        }
        Self(effects)
    }

    /// Puts them in force again, and blocks no signal any more.
    ///
    /// # Errors
    /// Those of sigaction(2) and sigprocmask(2).
    ///
    /// # Safety
    /// They were taken by this process, or by one that this is a copy of, and no library has been unloaded
    /// since then: a handler is code that is still there.
    pub(crate) unsafe fn restore(&self) -> io::Result<()> {
        for (signal, effect) in &self.0 {
            // SAFETY: the effect is one that was in force, with a handler that is still there, as the caller
            // says.
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
    // lives through the calls; signalfd gives a new descriptor without another owner.
    unsafe {
        let mut set = std::mem::zeroed::<libc::sigset_t>();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        check(libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()).into())?;
        let fd = check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK).into())?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}
