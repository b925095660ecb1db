//! Messages with descriptors, between the worker and the processes that it starts containers with.

use std::{
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::{
    io::Errno,
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send},
};
use serde::{Serialize, de::DeserializeOwned};

use crate::counters::COUNTER_FILES;

/// The longest message, in bytes; a launcher's filter program is the longest part of any.
pub const MAX_MESSAGE: usize = 128 << 10;

/// Takes one message with its descriptors; `None` when the worker is gone.
pub(crate) fn receive<T: DeserializeOwned>(
    worker: BorrowedFd<'_>,
) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(COUNTER_FILES))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        match recvmsg(worker, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
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
    Ok(Some((serde_json::from_slice(&bytes[..received.bytes])?, descriptors)))
}

/// Tells the worker something, if it is still there.
pub(crate) fn report(worker: BorrowedFd<'_>, report: &impl Serialize) -> io::Result<()> {
    match send(worker, &serde_json::to_vec(report)?, SendFlags::NOSIGNAL) {
        Ok(_) | Err(Errno::PIPE) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
