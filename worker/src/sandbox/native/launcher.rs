//! The worker's end of a launcher: start it, send it commands with descriptors, hear its reports.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, BorrowedFd},
    process::Stdio,
};

use rustix::{
    io::{Errno, FdFlags, fcntl_setfd},
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        SocketFlags, SocketType, recv, sendmsg, socketpair,
    },
};
use sandfleet_agent::launch::{COUNTER_FILES, Command, MAX_MESSAGE, Report};
use tokio::{io::Interest, net::UnixStream, process::Child};

use crate::sandbox::agent;

/// A launcher process and the socket to it. Dropping it ends the process, and with that the
/// container it may have.
#[derive(Debug)]
pub(crate) struct Launcher {
    /// Keeps message boundaries, unlike what the type is made for; the type knows how to wait.
    socket: UnixStream,
    process: Child,
}

impl Launcher {
    /// Starts a launcher. It does nothing until it is told to.
    pub(crate) fn start() -> io::Result<Self> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        // Their end blocks: the flag belongs to the end, not to the pair.
        rustix::io::ioctl_fionbio(&theirs, false)?;
        let executable = agent::executable()?;
        // The path is looked up in the child, which therefore needs the descriptor until then.
        fcntl_setfd(&executable, FdFlags::empty())?;
        let process =
            tokio::process::Command::new(format!("/proc/self/fd/{}", executable.as_raw_fd()))
                .arg("launch")
                .env_clear()
                .current_dir("/")
                .stdin(Stdio::from(theirs))
                .stdout(Stdio::null())
                .stderr(Stdio::inherit())
                .kill_on_drop(true)
                .spawn();
        let process = process?;
        let socket = UnixStream::from_std(std::os::unix::net::UnixStream::from(ours))?;
        Ok(Self { socket, process })
    }

    /// The process's number; none once it has ended.
    pub(crate) fn process(&self) -> Option<u32> {
        self.process.id()
    }

    /// Sends one command with its descriptors.
    pub(crate) async fn send(
        &self,
        command: &Command,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let bytes = sandfleet_common::encode(command);
        self.socket
            .async_io(Interest::WRITABLE, || {
                let mut space =
                    [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COUNTER_FILES))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty() {
                    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
                }
                let parts = [IoSlice::new(&bytes)];
                Ok(sendmsg(self.socket.as_fd(), &parts, &mut ancillary, SendFlags::NOSIGNAL)?)
            })
            .await
            .map(drop)
    }

    /// Waits for the next report; an error once the launcher is gone.
    pub(crate) async fn report(&self) -> io::Result<Report> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let length = self
            .socket
            .async_io(Interest::READABLE, || {
                match recv(self.socket.as_fd(), bytes.as_mut_slice(), RecvFlags::empty()) {
                    Err(Errno::CONNRESET) => Ok(0),
                    received => Ok(received?.0),
                }
            })
            .await?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the launcher is gone"));
        }
        Ok(serde_json::from_slice(&bytes[..length])?)
    }
}
