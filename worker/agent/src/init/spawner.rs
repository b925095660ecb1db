//! How a program is started.

use std::{
    borrow::Cow,
    fs::File,
    io,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{MemfdFlags, memfd_create},
    pipe::{PipeFlags, pipe_with},
    process::Pid,
};

use super::cold_python;
use crate::{
    container::scratch::WORKING_DIRECTORY,
    protocol::message::RunRequest,
    sys::{self, Affinity},
};

/// A program that has been started, and what it writes to.
pub(crate) struct Started {
    pub(crate) pid: Pid,
    pub(crate) stdout: File,
    pub(crate) stderr: File,
    /// The memory with what it has printed and not written, if it uses one.
    pub(crate) pending_output: Option<OwnedFd>,
}

/// How a program is started.
pub(crate) trait Spawner {
    /// A file for what the program is to read on stdin; it is empty.
    ///
    /// # Errors
    /// If there is none.
    fn stdin(&mut self) -> io::Result<File>;

    /// Starts the program as a child of this process. Without `stdin` it reads nothing there.
    ///
    /// # Errors
    /// If it can't be started.
    fn start(&mut self, request: &RunRequest, stdin: Option<File>) -> io::Result<Started>;
}

/// By executing the request's command.
pub(crate) struct Exec;

impl Spawner for Exec {
    fn stdin(&mut self) -> io::Result<File> {
        stdin_file()
    }

    fn start(&mut self, request: &RunRequest, stdin: Option<File>) -> io::Result<Started> {
        let Some(name) = request.command.first() else {
            return Err(io::Error::other("the request names no command"));
        };
        let (stdout, stdout_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let (stderr, stderr_end) = pipe_with(PipeFlags::CLOEXEC)?;
        let stdin = stdin.map_or_else(|| File::open("/dev/null"), Ok)?;
        let mut streams = vec![stdin.as_fd(), stdout_end.as_fd(), stderr_end.as_fd()];
        let (mut environment, mut pending_output) = (Cow::Borrowed(&request.environment), None);
        if request.pending_output {
            pending_output = cold_python::prepare(environment.to_mut())?;
        }
        streams.extend(pending_output.as_ref().map(OwnedFd::as_fd));
        let pid = sys::spawn(
            name,
            &request.command,
            &environment,
            WORKING_DIRECTORY,
            &streams,
            Affinity::choose(&request.processors),
        )
        .map_err(|error| {
            io::Error::new(error.kind(), format!("{name} can't be started: {error}"))
        })?;
        Ok(Started { pid, stdout: stdout.into(), stderr: stderr.into(), pending_output })
    }
}

/// Stdin is a file without a name in any directory: no pipe has to be fed while the program runs.
pub(crate) fn stdin_file() -> io::Result<File> {
    Ok(memfd_create("stdin", MemfdFlags::CLOEXEC)?.into())
}
