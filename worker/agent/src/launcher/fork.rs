//! Cold starts: containers that are copies of the launcher.

use std::{io, os::fd::AsRawFd, os::unix::net::UnixStream};

use super::{
    container::{ContainerLauncher, Launched, build, null_standard_streams, report_failed_barrier},
    slot::Slot,
};
use crate::{
    container::{landlock, namespace, scratch::ScratchSpace},
    init::{session, spawner::Exec},
    sys,
};

pub(super) struct ForkLauncher;

impl ContainerLauncher for ForkLauncher {
    #[expect(unsafe_code, reason = "hands the contract on")]
    unsafe fn start(
        &mut self,
        slot: &Slot,
        scratch: &ScratchSpace,
        stream: UnixStream,
    ) -> io::Result<Launched> {
        // The launcher's own copy of the stream is closed on return: then only the agent has it, and its
        // exit closes the stream.
        // SAFETY: as the caller promises.
        match unsafe { namespace::fork_container() } {
            Ok(Some(pid)) => Ok(Launched::Container(pid)),
            Ok(None) => become_agent(slot, scratch, stream),
            Err(failed) => Ok(Launched::Failed(failed)),
        }
    }
}

/// The child: builds the container around itself, then serves the job.
fn become_agent(slot: &Slot, scratch: &ScratchSpace, stream: UnixStream) -> ! {
    let served = match build(slot, scratch) {
        Ok(()) => serve_container(slot, stream),
        Err(failed) => report_failed_barrier(&stream, &failed),
    };
    sys::exit(served.is_err().into())
}

#[expect(unsafe_code, reason = "closes what the launcher has")]
fn serve_container(slot: &Slot, stream: UnixStream) -> io::Result<()> {
    let mut keep = slot.counters.descriptors();
    keep.extend(slot.job_files.descriptors());
    keep.push(stream.as_raw_fd());
    null_standard_streams()?;
    // SAFETY: this is a copy of the launcher in which only the code below runs; what owns the other
    // descriptors is on the stack of a function that never returns (`become_agent`).
    unsafe { sys::close_others(&mut keep) }?;
    let landlock = landlock::restrict_self();
    let files = Some(&slot.job_files);
    session::serve(&stream, &stream, &slot.counters, files, landlock, &mut Exec)
}
