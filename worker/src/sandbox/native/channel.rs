//! The worker's end of the sockets to launchers and zygotes: messages with descriptors.

use std::{
    io::{self, IoSlice},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{
        AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        SocketFlags, SocketType, recv, sendmsg, socketpair,
    },
};
use sandfleet_agent::{launcher::MAX_REPORT, protocol::launcher::PREPARE_FILES};
use serde::{Serialize, de::DeserializeOwned};
use tokio::{io::Interest, net::UnixStream};

/// The worker's end of such a socket. It keeps message boundaries, unlike what the type inside is
/// made for; the type knows how to wait.
#[derive(Debug)]
pub(crate) struct Channel(UnixStream);

impl Channel {
    /// Both ends.
    pub(crate) fn pair() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            None,
        )?;
        // Their end blocks: the flag belongs to the end, not to the pair.
        rustix::io::ioctl_fionbio(&theirs, false)?;
        let ours = UnixStream::from_std(std::os::unix::net::UnixStream::from(ours))?;
        Ok((Self(ours), theirs))
    }

    /// Sends one message with its descriptors.
    pub(crate) async fn send(
        &self,
        message: &impl Serialize,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<()> {
        let bytes = sandfleet_common::encode(message);
        self.0
            .async_io(Interest::WRITABLE, || {
                let mut space =
                    [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PREPARE_FILES))];
                let mut ancillary = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty() {
                    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
                }
                let parts = [IoSlice::new(&bytes)];
                Ok(sendmsg(self.0.as_fd(), &parts, &mut ancillary, SendFlags::NOSIGNAL)?)
            })
            .await
            .map(drop)
    }

    /// Waits for the next message; an error once the process is gone.
    pub(crate) async fn receive<T: DeserializeOwned>(&self) -> io::Result<T> {
        let mut bytes = vec![0; MAX_REPORT];
        let length = self
            .0
            .async_io(Interest::READABLE, || {
                match recv(self.0.as_fd(), bytes.as_mut_slice(), RecvFlags::empty()) {
                    Err(Errno::CONNRESET) => Ok(0),
                    received => Ok(received?.0),
                }
            })
            .await?;
        if length == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the process is gone"));
        }
        Ok(serde_json::from_slice(&bytes[..length])?)
    }
}
