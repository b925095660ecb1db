//! Containers whose programs are copies of an interpreter, in a copy of a [zygote](crate::zygote).
//!
//! Forking a loaded interpreter is expensive, so each container costs one fork, its program;
//! or two, where the operator wants that (`sandbox.warm_vfork`).
//! PID 1 puts all barriers up while it still works in the launcher's memory, forks the program, and then
//! becomes the agent by an exec, as small as in a cold start. All that is before the order is there: the
//! program waits for it with the agent, which hands it over.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, ErrorKind},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use rustix::{
    pipe::{PipeFlags, pipe_with},
    process::{DumpableBehavior, Pid, chdir, set_dumpable_behavior},
    stdio::{dup2_stderr, dup2_stdin, dup2_stdout},
};
use serde::{Deserialize, Serialize};

use crate::{
    counters::Counters,
    frame::{self, Kind, Sender},
    landlock,
    launch::{self, ContainerLauncher, Launched, Slot, Start},
    message::{ProcessLimits, RunRequest, ScratchSpace},
    namespace,
    program::{self, Spawner, Started},
    session::{self, WORKING_DIRECTORY},
    system::{self, SignalEffects, Stacks, VforkClone},
    zygote::{Forking, KeptFile},
};

/// Makes containers of copies of this process.
pub(crate) struct WarmContainers {
    forking: Forking,
    /// What this process was started with.
    pub(crate) start: Start,
    effects: SignalEffects,
    /// The agent's file.
    pub(crate) agent: OwnedFd,
    /// What the interpreter has open, and so has every program.
    pub(crate) kept: Vec<KeptFile>,
    /// For containers that begin in this process's memory; without them they begin in a copy.
    stacks: Option<Stacks>,
}

impl WarmContainers {
    pub(crate) fn new(
        forking: Forking,
        start: Start,
        effects: SignalEffects,
        agent: OwnedFd,
    ) -> Self {
        Self { forking, start, effects, agent, kept: Vec::new(), stacks: None }
    }

    /// Has PID 1 of every container begin in this process's memory.
    pub(crate) fn share_memory(&mut self) -> io::Result<()> {
        self.stacks = Some(Stacks::new()?);
        Ok(())
    }
}

/// What an agent has from before its exec: numbers of descriptors, and more.
#[derive(Debug, Serialize, Deserialize)]
struct InheritedFds {
    /// To the worker.
    stream: RawFd,
    /// To the program.
    link: RawFd,
    /// What the program reads and writes: stdin, stdout, stderr.
    streams: [RawFd; 3],
    /// The slot's [`Counters`].
    counters: Vec<RawFd>,
    /// Which process the program is.
    program: i32,
    /// The version of Landlock that both are under.
    landlock: Option<u32>,
}

impl InheritedFds {
    fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.counters.iter().copied().chain(self.streams).chain([self.stream, self.link])
    }

    /// Refuses descriptors that would have two owners: each would close what is the other's.
    fn check(&self) -> io::Result<()> {
        let mut numbers: Vec<RawFd> = self.descriptors().collect();
        numbers.sort_unstable();
        if numbers.windows(2).any(|pair| pair[0] == pair[1]) || numbers[0] <= 2 {
            return Err(io::Error::other(format!("{numbers:?} are no descriptors of its own")));
        }
        Ok(())
    }
}

/// The program's ends of its streams: made before it, since a descriptor that is sent later may be one too
/// many for what earlier programs of the same user have left on the way.
struct Streams {
    stdin: File,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

/// What a program is told over its link.
#[derive(Debug, Serialize, Deserialize)]
struct StartCommand {
    has_stdin: bool,
    start: Start,
    bounds: ProcessLimits,
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
        let streams =
            Streams { stdin: program::stdin_file()?, stdout: stdout_end, stderr: stderr_end };
        let mut fds = InheritedFds {
            stream: stream.as_raw_fd(),
            link: link.as_raw_fd(),
            streams: [streams.stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()],
            counters: slot.counters.descriptors(),
            program: 0,
            landlock: None,
        };
        let mut keep: Vec<RawFd> = fds.descriptors().collect();
        keep.extend([streams.stdout.as_raw_fd(), streams.stderr.as_raw_fd()]);
        keep.extend([programs_link.as_raw_fd(), self.agent.as_raw_fd()]);
        let agent = self.agent.as_fd();
        let mut container = || {
            fds.landlock = put_up(slot, scratch, &stream, &mut keep);
            // SAFETY: PID 1 is a copy of the launcher's only thread, or that thread while it works in the
            // launcher's memory.
            match unsafe { system::fork() } {
                Ok(None) => {}
                Ok(Some(program)) => {
                    fds.program = program.as_raw_nonzero().get();
                    give_up(&stream, &become_agent(agent, &fds))
                }
                Err(error) => give_up(&stream, &error),
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
                // The agent's.
                drop((stream, link, stdout, stderr));
                Ok(Launched::Program(Box::new(self.become_program(&programs_link, streams))))
            }
        }
    }
}

/// Puts up every barrier of a cold start; gives back the version of Landlock. Tells the worker of one that
/// can't be installed, and ends.
#[expect(unsafe_code, reason = "closes what the launcher has")]
fn put_up(
    slot: &Slot,
    scratch: &ScratchSpace,
    stream: &UnixStream,
    keep: &mut [RawFd],
) -> Option<u32> {
    if let Err(failed) = launch::build(slot, scratch) {
        system::exit(launch::complain(stream, &failed).is_err().into())
    }
    let restricted = launch::be_silent()
        // SAFETY: PID 1 has descriptors of its own, in whichever memory it works. It uses those that are kept
        // until its exec, and drops none.
        .and_then(|()| unsafe { system::close_others(keep) })
        .and_then(|()| landlock::restrict_self());
    restricted.unwrap_or_else(|error| give_up(stream, &error))
}

fn give_up(stream: &UnixStream, error: &io::Error) -> ! {
    // If the worker is gone there is nobody to tell.
    let _ = Sender::new(stream).send(Kind::Failed, error.to_string().as_bytes());
    system::exit(1)
}

/// Becomes the agent, with `fds`; comes back only if that fails.
fn become_agent(agent: BorrowedFd<'_>, fds: &InheritedFds) -> io::Error {
    // On the stack: what is taken from the launcher's memory here nobody would ever give back.
    let mut text = [0; 256];
    let last = text.len() - 1;
    let told =
        serde_json::to_writer(&mut text[..last], fds).map_err(io::Error::from).and_then(|()| {
            fds.descriptors().try_for_each(system::clear_cloexec)?;
            CStr::from_bytes_until_nul(&text).map_err(io::Error::other)
        });
    match told {
        Ok(fds) => system::become_file(agent, [c"sandfleet-agent", c"attend", fds]),
        Err(error) => error,
    }
}

/// The agent of a container whose program waits for its call, with the descriptors in `text`.
///
/// # Errors
/// What kept it from doing its part; the worker was told, if it could be.
///
/// # Safety
/// Nothing else in the process owns a descriptor beyond the standard ones.
#[expect(unsafe_code, reason = "takes over what it was started with")]
pub unsafe fn attend(text: &str) -> io::Result<()> {
    let fds: InheritedFds = serde_json::from_str(text)?;
    fds.check()?;
    // SAFETY: none is named twice, and nothing else owns them, as the caller promises.
    let inherited = |number| unsafe { system::inherited(number) };
    let stream = UnixStream::from(inherited(fds.stream)?);
    let link = UnixStream::from(inherited(fds.link)?);
    let counters: Vec<OwnedFd> =
        fds.counters.iter().copied().map(inherited).collect::<io::Result<_>>()?;
    let program = Pid::from_raw(fds.program).ok_or(io::ErrorKind::InvalidInput)?;
    let counters = Counters::from_descriptors(counters);
    let [stdin, stdout, stderr] = fds.streams;
    let file = |number| inherited(number).map(File::from);
    let mut waiting = Waiting {
        link,
        program,
        stdin: file(stdin)?,
        output: Some((file(stdout)?, file(stderr)?)),
    };
    // An exec makes a process readable for its own user again. The session's first step ends that, and the
    // program, which is that user, has not been called yet.
    session::serve(&stream, &stream, &counters, Ok(fds.landlock), &mut waiting)
}

/// A program that is there and waits for its call.
struct Waiting {
    link: UnixStream,
    program: Pid,
    stdin: File,
    /// What it writes to stdout and stderr.
    output: Option<(File, File)>,
}

impl Spawner for Waiting {
    /// The program has it already.
    fn stdin(&mut self) -> io::Result<File> {
        self.stdin.try_clone()
    }

    fn start(&mut self, request: &RunRequest, stdin: Option<File>) -> io::Result<Started> {
        let call = StartCommand {
            has_stdin: stdin.is_some(),
            start: Start {
                command: request.command.clone(),
                environment: request.environment.clone(),
            },
            bounds: request.bounds,
        };
        let called = Sender::new(&self.link).send(Kind::RunRequest, &serde_json::to_vec(&call)?);
        if let Err(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =
            called.as_ref().map_err(io::Error::kind)
        {
            // The program is gone, and nothing of the job has happened yet. That is how every container
            // looks that is gone before its job: nobody says a word.
            system::exit(1)
        }
        called?;
        let (stdout, stderr) =
            self.output.take().ok_or_else(|| io::Error::other("called twice"))?;
        Ok(Started { pid: self.program, stdout, stderr })
    }
}

impl WarmContainers {
    /// Waits for the call and becomes the program that it asks for, up to what the interpreter itself has
    /// to do about it.
    fn become_program(&self, link: &UnixStream, streams: Streams) -> Start {
        match self.take_call(link, streams) {
            Ok(Some(start)) => start,
            // The container is over before anybody had a program for it.
            Ok(None) => system::exit(0),
            Err(error) => {
                eprintln!("the program can't be started: {error}");
                system::exit(126)
            }
        }
    }

    #[expect(unsafe_code, reason = "closes what the launcher has")]
    fn take_call(&self, mut link: &UnixStream, streams: Streams) -> io::Result<Option<Start>> {
        let call = match frame::read(&mut link)? {
            Some((Kind::RunRequest, call)) => call,
            Some(_) => return Err(io::Error::other("no call")),
            None => return Ok(None),
        };
        let StartCommand { has_stdin, start, bounds } = serde_json::from_slice(&call)?;
        // As after an exec: three descriptors, no signal blocked, and nobody hidden from himself.
        dup2_stdin(if has_stdin { streams.stdin } else { File::open("/dev/null")? })?;
        dup2_stdout(streams.stdout)?;
        dup2_stderr(streams.stderr)?;
        // SAFETY: those of the interpreter's are opened anew before it goes on, and the launcher's are not used
        // any more: what owns them is dropped before that (`zygote::serve`).
        unsafe { system::close_others(&mut []) }?;
        // What it was in so far is hidden by the container's own.
        chdir(WORKING_DIRECTORY)?;
        set_dumpable_behavior(DumpableBehavior::Dumpable)?;
        if start != self.start {
            system::set_cmdline(&start.command, &start.environment)?;
        }
        // SAFETY: this is a copy of the interpreter that they were taken from, which has unloaded nothing.
        unsafe { self.effects.restore() }?;
        program::limit(&bounds)?;
        Ok(Some(start))
    }
}
