//! PID 1 of a warm container: the agent starts by an exec, with the descriptors that its process had before, and
//! sends the job's command to a program that exists already.

use std::{
    fs::File,
    io::{self, ErrorKind},
    os::{
        fd::{OwnedFd, RawFd},
        unix::net::UnixStream,
    },
};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use super::program::StartCommand;
use crate::{
    init::{
        counters::Counters,
        job_files::{JOB_FILES, JobFiles},
        session,
        spawner::{Spawner, Started},
    },
    launcher::container::Start,
    protocol::{frame::Kind, message::RunRequest, sender::Sender},
    sys,
};

/// What an agent keeps over its exec: descriptors, the program, the version of Landlock.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InheritedFds {
    /// To the worker.
    pub(super) stream: RawFd,
    /// To the program.
    pub(super) link: RawFd,
    /// What the program reads and writes: stdin, stdout, stderr.
    pub(super) streams: [RawFd; 3],
    /// The area of the program's pending output.
    pub(super) pending_output: RawFd,
    /// The slot's [`Counters`].
    pub(super) counters: Vec<RawFd>,
    /// The slot's [`JobFiles`], and since when its container is up.
    pub(super) job_files: [RawFd; JOB_FILES],
    pub(super) container_started: u64,
    /// The program's PID.
    pub(super) program: i32,
    /// The version of Landlock that both are under.
    pub(super) landlock: Option<u32>,
}

impl InheritedFds {
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        let counters = self.counters.iter().copied();
        counters.chain(self.job_files).chain(self.streams).chain([
            self.stream,
            self.link,
            self.pending_output,
        ])
    }

    /// Refuses descriptors that would have two owners: each owner would close the other's.
    fn check(&self) -> io::Result<()> {
        let mut numbers: Vec<RawFd> = self.descriptors().collect();
        numbers.sort_unstable();
        if numbers.windows(2).any(|pair| pair[0] == pair[1]) || numbers[0] <= 2 {
            return Err(io::Error::other(format!("{numbers:?} are no descriptors of its own")));
        }
        Ok(())
    }
}

/// Serves a job as the agent of a container whose program waits for its command; `text` is an
/// `InheritedFds` in JSON.
///
/// # Errors
/// What kept it from serving; it was reported to the worker if the stream allowed that.
///
/// # Safety
/// Nothing else in the process owns a descriptor beyond the standard ones.
#[expect(unsafe_code, reason = "takes over what it was started with")]
pub unsafe fn attend(text: &str) -> io::Result<()> {
    let fds: InheritedFds = serde_json::from_str(text)?;
    fds.check()?;
    // SAFETY: none is named twice, and nothing else owns them, as the caller promises.
    let inherited = |number| unsafe { sys::inherited(number) };
    let stream = UnixStream::from(inherited(fds.stream)?);
    let link = UnixStream::from(inherited(fds.link)?);
    let counters: Vec<OwnedFd> =
        fds.counters.iter().copied().map(inherited).collect::<io::Result<_>>()?;
    let program = Pid::from_raw(fds.program).ok_or(io::ErrorKind::InvalidInput)?;
    let counters = Counters::from_descriptors(counters);
    let [meminfo, memory_max, pids_max, uptime] = fds.job_files.map(inherited);
    let files = JobFiles::new([meminfo?, memory_max?, pids_max?, uptime?], fds.container_started);
    let [stdin, stdout, stderr] = fds.streams;
    let file = |number| inherited(number).map(File::from);
    let mut waiting = Waiting {
        link,
        program,
        stdin: file(stdin)?,
        output: Some((file(stdout)?, file(stderr)?, inherited(fds.pending_output)?)),
    };
    // An exec makes a process readable for its own user again. The session's first step undoes that, before
    // the program, which is that user, has its command.
    session::serve(&stream, &stream, &counters, Some(&files), Ok(fds.landlock), &mut waiting)
}

/// A program that exists and waits for its command.
struct Waiting {
    link: UnixStream,
    program: Pid,
    stdin: File,
    /// What it writes to stdout and stderr, and what it hasn't written yet.
    output: Option<(File, File, OwnedFd)>,
}

impl Spawner for Waiting {
    /// The file that the program has open as well.
    fn stdin(&mut self) -> io::Result<File> {
        self.stdin.try_clone()
    }

    fn start(&mut self, request: &RunRequest, stdin: Option<File>) -> io::Result<Started> {
        let command = StartCommand {
            has_stdin: stdin.is_some(),
            start: Start {
                command: request.command.clone(),
                environment: request.environment.clone(),
            },
            bounds: request.bounds,
            processors: request.processors.clone(),
        };
        let sent = Sender::new(&self.link).send(Kind::RunRequest, &serde_json::to_vec(&command)?);
        if let Err(ErrorKind::BrokenPipe | ErrorKind::ConnectionReset) =
            sent.as_ref().map_err(io::Error::kind)
        {
            // The program has exited before the job began. The agent exits without a message, so that the
            // worker sees a container that ended before its job and takes another one.
            sys::exit(1)
        }
        sent?;
        let (stdout, stderr, pending_output) =
            self.output.take().ok_or_else(|| io::Error::other("a second start"))?;
        let pending_output = Some(pending_output);
        Ok(Started { pid: self.program, stdout, stderr, pending_output })
    }
}
