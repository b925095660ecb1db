//! Containers whose programs are copies of an interpreter, in a copy of a [zygote](super::zygote).
//!
//! Forking a loaded interpreter is expensive, so each container costs one fork, its program;
//! or two, if `sandbox.warm_vfork` is off.
//! PID 1 installs all barriers while it still works in the launcher's memory, forks the program, and then
//! becomes the agent by an exec, as small as in a cold start. All that happens before the job is known: the
//! program waits until the agent sends it the job's command.

use std::{
    ffi::CStr,
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use rustix::pipe::{PipeFlags, pipe_with};

use super::{
    attend::InheritedFds,
    forking::Forking,
    kept_files::KeptFile,
    program::{Streams, become_program},
};
use crate::{
    container::{landlock, namespace, scratch::ScratchSpace},
    init::spawner::stdin_file,
    launcher::{
        container::{
            ContainerLauncher, Launched, Start, build, null_standard_streams, report_failed_barrier,
        },
        slot::Slot,
    },
    pending_output,
    protocol::{frame::Kind, sender::Sender},
    sys::{self, SignalEffects, Stacks, VforkClone},
};

/// Starts containers whose programs are copies of this process.
pub(super) struct WarmContainers {
    forking: Forking,
    /// What this process was started with.
    pub(super) start: Start,
    effects: SignalEffects,
    /// The agent's executable.
    pub(super) agent: OwnedFd,
    /// What the interpreter has open, and so has every program.
    pub(super) kept: Vec<KeptFile>,
    /// Set if PID 1 of each container starts in this process's memory; otherwise it starts in a copy.
    stacks: Option<Stacks>,
}

impl WarmContainers {
    pub(super) fn new(
        forking: Forking,
        start: Start,
        effects: SignalEffects,
        agent: OwnedFd,
    ) -> Self {
        Self { forking, start, effects, agent, kept: Vec::new(), stacks: None }
    }

    /// Starts PID 1 of every container in this process's memory from here on.
    pub(super) fn share_memory(&mut self) -> io::Result<()> {
        self.stacks = Some(Stacks::new()?);
        Ok(())
    }
}

impl ContainerLauncher for WarmContainers {
    #[expect(unsafe_code, reason = "forks")]
    unsafe fn start(
        &mut self,
        slot: &Slot,
        scratch: &ScratchSpace,
        stream: UnixStream,
    ) -> io::Result<Launched> {
        let (link, programs_link) = UnixStream::pair()?;
        let (stdout, stdout_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, stderr_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let streams = Streams {
            stdin: stdin_file()?,
            stdout: stdout_end,
            stderr: stderr_end,
            pending_output: pending_output::file()?,
        };
        let mut fds = InheritedFds {
            stream: stream.as_raw_fd(),
            link: link.as_raw_fd(),
            streams: [streams.stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()],
            pending_output: streams.pending_output.as_raw_fd(),
            counters: slot.counters.descriptors(),
            job_files: slot.job_files.descriptors(),
            container_started: slot.job_files.started,
            program: 0,
            landlock: None,
        };
        let mut keep: Vec<RawFd> = fds.descriptors().collect();
        keep.extend([streams.stdout.as_raw_fd(), streams.stderr.as_raw_fd()]);
        keep.extend([programs_link.as_raw_fd(), self.agent.as_raw_fd()]);
        let agent = self.agent.as_fd();
        let mut container = || {
            fds.landlock = install_barriers(slot, scratch, &stream, &mut keep);
            // SAFETY: PID 1 is a copy of the launcher's only thread, or that thread while it works in the
            // launcher's memory.
            match unsafe { sys::fork() } {
                Ok(None) => {}
                Ok(Some(program)) => {
                    fds.program = program.as_raw_nonzero().get();
                    fail(&stream, &become_agent(agent, &fds))
                }
                Err(error) => fail(&stream, &error),
            }
        };
        // SAFETY: one thread, as the caller promises. No signal has a handler (`SignalEffects::take`).
        // `container` forks once, and all else that it does ends with an exec or an exit. What it changes in
        // memory is its own (`fds`, `keep`) or the allocator's, and whole at its exec.
        let branch =
            || unsafe { namespace::branch_container(self.stacks.as_mut(), &mut container) };
        let is_program =
            |branched: &Result<VforkClone, _>| matches!(branched, Ok(VforkClone::Grandchild));
        // SAFETY: the launcher is a copy of the interpreter's only thread.
        match unsafe { self.forking.around(branch, is_program) } {
            Ok(VforkClone::Caller(container)) => Ok(Launched::Container(container)),
            Err(failed) => Ok(Launched::Failed(failed)),
            Ok(VforkClone::Grandchild) => {
                // These belong to the agent.
                drop((stream, link, stdout, stderr));
                let program = become_program(&programs_link, streams, &self.start, &self.effects);
                Ok(Launched::Program(Box::new(program)))
            }
        }
    }
}

/// Installs every barrier of a cold start and returns the version of Landlock. If one can't be installed it
/// reports that to the worker and exits.
#[expect(unsafe_code, reason = "closes what the launcher has")]
fn install_barriers(
    slot: &Slot,
    scratch: &ScratchSpace,
    stream: &UnixStream,
    keep: &mut [RawFd],
) -> Option<u32> {
    if let Err(failed) = build(slot, scratch) {
        sys::exit(report_failed_barrier(stream, &failed).is_err().into())
    }
    let restricted = null_standard_streams()
        // SAFETY: PID 1 has descriptors of its own, in whichever memory it works. It uses those that are kept
        // until its exec, and drops none.
        .and_then(|()| unsafe { sys::close_others(keep) })
        .and_then(|()| landlock::restrict_self());
    restricted.unwrap_or_else(|error| fail(stream, &error))
}

fn fail(stream: &UnixStream, error: &io::Error) -> ! {
    // If the worker has closed the stream there is no reader for the error, and this process exits anyway.
    let _ = Sender::new(stream).send(Kind::Failed, error.to_string().as_bytes());
    sys::exit(1)
}

/// Becomes the agent, with `fds`; returns only if that fails.
fn become_agent(agent: BorrowedFd<'_>, fds: &InheritedFds) -> io::Error {
    // On the stack: what is allocated in the launcher's memory here would never be freed.
    let mut text = [0; 512];
    let last = text.len() - 1;
    let written =
        serde_json::to_writer(&mut text[..last], fds).map_err(io::Error::from).and_then(|()| {
            fds.descriptors().try_for_each(sys::clear_cloexec)?;
            CStr::from_bytes_until_nul(&text).map_err(io::Error::other)
        });
    match written {
        Ok(fds) => sys::become_file(agent, [c"sandfleet-agent", c"attend", fds]),
        Err(error) => error,
    }
}
