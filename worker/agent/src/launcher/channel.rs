//! The launcher's and the zygote's end of the socket to the worker: messages with descriptors.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::protocol::launcher::PREPARE_FILES;

/// The longest message to such a process, in bytes; a launcher's filter program is the longest part of
/// any.
pub(crate) const MAX_MESSAGE: usize = 128 << 10;

/// The longest message from one, in bytes; the reason of a failure is the longest part of any.
pub const MAX_REPORT: usize = 16 << 10;

/// This process's end of its socket to the worker.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    /// For every message. Containers are copies of this process, and each page that it writes to while
    /// one is there has to be copied: a new one, emptied for every message, would be all of its pages.
    buffer: Vec<u8>,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { socket, buffer: vec![0; MAX_MESSAGE] }
    }

    /// Takes one message with its descriptors; `None` when the worker is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(PREPARE_FILES))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let received = loop {
            let mut parts = [IoSliceMut::new(&mut self.buffer)];
            match recvmsg(&self.socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(Errno::INTR) => {}
                received => break received?,
            }
        };
        let mut descriptors = Vec::new();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(rights) = message {
                descriptors.extend(rights);
            }
        }
        if received.bytes == 0 {
            return Ok(None);
        }
        Ok(Some((serde_json::from_slice(&self.buffer[..received.bytes])?, descriptors)))
    }

    /// Tells the worker something, if it is still there.
    pub(crate) fn report(&self, report: &impl Serialize) -> io::Result<()> {
        match send(&self.socket, &serde_json::to_vec(report)?, SendFlags::NOSIGNAL) {
            Ok(_) | Err(Errno::PIPE) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
