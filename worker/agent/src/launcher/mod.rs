//! The launcher: a small process that stays in one slot's control group and starts that slot's
//! containers, one after the other.
//!
//! The worker itself can't fork: it is large and has threads. The launcher has one thread and little
//! memory. It builds the slot's root tree and user namespace once; for each job it forks a child into
//! new namespaces, and the child becomes the agent without an exec. The worker talks to it over a
//! socket that keeps message boundaries and carries descriptors.
//!
//! A launcher may also be a copy of a [zygote](crate::warm): then its containers' programs are copies
//! of the interpreter, and a container's agent is started by an exec (`warm/container.rs`).

mod channel;
mod clock;
pub(crate) mod container;
mod fork;
pub(crate) mod slot;
mod sysctl;

pub(crate) use self::channel::Channel;
pub use self::channel::MAX_REPORT;

use std::{io, os::fd::AsFd};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, PidfdFlags, Signal, WaitOptions, pidfd_open, pidfd_send_signal, waitpid},
};

use self::{
    container::{ContainerLauncher, Launched, Program},
    fork::ForkLauncher,
};
use crate::{
    container::{machine::Processors, scratch::ScratchSpace},
    protocol::launcher::{Command, Report},
    sys,
};

/// Serves the worker on standard input until it closes its end.
///
/// # Errors
/// Those of the socket; a barrier that fails is reported to the worker instead.
///
/// # Safety
/// The caller is its process's only thread, and nothing else in the process uses a descriptor.
#[expect(unsafe_code, reason = "hands the contract on")]
pub unsafe fn serve() -> io::Result<()> {
    leave_worker()?;
    let worker = io::stdin().as_fd().try_clone_to_owned()?;
    // SAFETY: as the caller promises.
    unsafe { serve_slot(Channel::new(worker), &mut ForkLauncher) }.map(drop)
}

/// Leaves the worker's session and blocks the signals that stop a group of processes: a Ctrl-C or a
/// service manager's stop must not end containers that the worker lets finish.
pub(crate) fn leave_worker() -> io::Result<()> {
    rustix::process::setsid()?;
    sys::reset_signal_dispositions();
    sys::block_stop_signals()
}

/// Starts the containers of one slot until the worker closes its end. With a `launcher` whose programs
/// are copies of this process it also returns in each program, with what that is started with.
///
/// # Safety
/// The caller is its process's only thread, and nothing else in the process uses a descriptor.
#[expect(unsafe_code, reason = "hands the contract on")]
pub(crate) unsafe fn serve_slot(
    mut worker: Channel,
    launcher: &mut dyn ContainerLauncher,
) -> io::Result<Option<Box<Program>>> {
    let mut slot = None;
    while let Some((command, descriptors)) = worker.receive()? {
        match command {
            Command::Prepare { root, user, filter, settings, processors, cpu_quota_us } => {
                let processors = Processors { count: processors, quota_us: cpu_quota_us };
                // SAFETY: as the caller promises.
                match unsafe {
                    slot::prepare(&root, user, filter, &settings, processors, descriptors)
                } {
                    Ok(prepared) => {
                        slot = Some(prepared);
                        worker.report(&Report::Prepared)?;
                    }
                    Err(failed) => worker.report(&Report::Failed(failed))?,
                }
            }
            Command::Launch { scratch_bytes, shared_bytes, scratch_inodes } => {
                let prepared = slot.as_mut().ok_or_else(|| io::Error::other("not prepared"))?;
                let stream = descriptors.into_iter().next();
                let stream =
                    stream.ok_or_else(|| io::Error::other("launch without a descriptor"))?;
                let scratch = ScratchSpace {
                    bytes: scratch_bytes,
                    shared_bytes,
                    inodes: scratch_inodes,
                    owner: prepared.owner,
                };
                prepared.begin_container()?;
                // SAFETY: as the caller promises.
                match unsafe { launcher.start(prepared, &scratch, stream.into()) }? {
                    Launched::Container(container) => {
                        let killed = wait_for(container, &mut worker)?;
                        worker.report(&Report::Exited { killed })?;
                    }
                    Launched::Failed(failed) => worker.report(&Report::Failed(failed))?,
                    Launched::Program(program) => return Ok(Some(program)),
                }
            }
            // Its container has exited already.
            Command::Kill => {}
        }
    }
    Ok(None)
}

/// Waits until the container has exited; says whether it had to be killed. If the worker closes its end
/// the container is killed, and the launcher exits afterwards: there is no reader for the result.
fn wait_for(container: Pid, worker: &mut Channel) -> io::Result<bool> {
    let handle = pidfd_open(container, PidfdFlags::empty())?;
    let kill = || match pidfd_send_signal(&handle, Signal::KILL) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(io::Error::from(error)),
    };
    let mut is_connected = true;
    loop {
        let mut waiting = vec![PollFd::new(&handle, PollFlags::IN)];
        if is_connected {
            waiting.push(PollFd::new(worker, PollFlags::IN));
        }
        match poll(&mut waiting, None) {
            Ok(_) => {}
            Err(Errno::INTR) => continue,
            Err(error) => return Err(error.into()),
        }
        if !waiting[0].revents().is_empty() {
            break;
        }
        match worker.receive()? {
            Some((Command::Kill, _)) => kill()?,
            Some(_) => return Err(io::Error::other("a container is running already")),
            None => {
                is_connected = false;
                kill()?;
            }
        }
    }
    let status = waitpid(Some(container), WaitOptions::empty())?;
    Ok(status.is_some_and(|(_, status)| status.signaled()))
}
