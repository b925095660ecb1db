//! The worker's end of a launcher: start it, or take over one that a zygote has made.

use std::{
    io,
    os::fd::{AsRawFd, OwnedFd},
    process::Stdio,
};

use rustix::{
    io::{FdFlags, fcntl_setfd},
    process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal},
};
use sandfleet_agent::protocol::launcher::{Command, Report};
use tokio::process::Child;

use super::channel::Channel;
use crate::sandbox::agent_binary;

/// A launcher process and the socket to it. Dropping it ends the process, and with that the
/// container it may have.
#[derive(Debug)]
pub(crate) struct Launcher {
    channel: Channel,
    process: Process,
}

#[derive(Debug)]
enum Process {
    /// Ours; it ends with this.
    Child(Child),
    /// A zygote's, which waits for it.
    Copy(Copy),
}

#[derive(Debug)]
struct Copy {
    number: u32,
    handle: OwnedFd,
}

impl Drop for Copy {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = pidfd_send_signal(&self.handle, Signal::KILL);
    }
}

impl Launcher {
    /// Starts a launcher. It does nothing until it is told to.
    pub(crate) fn start() -> io::Result<Self> {
        let (channel, theirs) = Channel::pair()?;
        let process = spawn("launch", theirs, Stdio::null(), Stdio::inherit())?;
        Ok(Self { channel, process: Process::Child(process) })
    }

    /// The launcher that is process `number`, at the other end of `channel`: a copy that its zygote
    /// hasn't waited for yet, so that the number isn't reused.
    pub(crate) fn of_copy(channel: Channel, number: u32) -> io::Result<Self> {
        let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other(format!("{number} is no process")))?;
        let handle = pidfd_open(pid, PidfdFlags::empty())?;
        Ok(Self { channel, process: Process::Copy(Copy { number, handle }) })
    }

    /// The process's number; none once it has ended.
    pub(crate) fn process(&self) -> Option<u32> {
        match &self.process {
            Process::Child(child) => child.id(),
            Process::Copy(copy) => Some(copy.number),
        }
    }

    /// Sends one command with its descriptors.
    pub(crate) async fn send(
        &self,
        command: &Command,
        descriptors: &[std::os::fd::BorrowedFd<'_>],
    ) -> io::Result<()> {
        self.channel.send(command, descriptors).await
    }

    /// Waits for the next report; an error once the launcher is gone.
    pub(crate) async fn report(&self) -> io::Result<Report> {
        self.channel.receive().await
    }
}

/// Starts the agent in one of its parts, with `socket` as its standard input.
pub(super) fn spawn(
    part: &str,
    socket: OwnedFd,
    output: Stdio,
    errors: Stdio,
) -> io::Result<Child> {
    let executable = agent_binary::executable()?;
    // The path is looked up in the child, which therefore needs the descriptor until then.
    fcntl_setfd(&executable, FdFlags::empty())?;
    tokio::process::Command::new(format!("/proc/self/fd/{}", executable.as_raw_fd()))
        .arg(part)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::from(socket))
        .stdout(output)
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
}
