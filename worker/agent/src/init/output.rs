//! One of the program's output streams: passed on up to a cap, counted beyond it.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::fd::{AsFd, BorrowedFd},
};

use crate::protocol::{frame::Kind, sender::Sender};

/// What is read at a time. Most programs print a line or two, and the first use of each page of a buffer
/// costs a page fault: so the buffer grows only for programs that print much.
const SMALL_READ: usize = 4 << 10;
const LARGE_READ: usize = 64 << 10;

/// A buffer for [`Output::pump`].
pub(crate) fn buffer() -> Vec<u8> {
    vec![0; SMALL_READ]
}

/// A stream that is read until its last writer has closed it.
pub(crate) struct Output<R> {
    source: R,
    kind: Kind,
    cap: u64,
    seen: u64,
    /// The end of what lies beyond the cap, at most `tail_cap` bytes.
    tail: VecDeque<u8>,
    tail_cap: usize,
    open: bool,
}

impl<R: Read + AsFd> Output<R> {
    pub(crate) fn new(source: R, kind: Kind, cap: u64, tail_cap: usize) -> Self {
        Self { source, kind, cap, seen: 0, tail: VecDeque::new(), tail_cap, open: true }
    }

    /// Bytes written by the program so far.
    pub(crate) fn seen(&self) -> u64 {
        self.seen
    }

    /// The descriptor to wait for, while there is something to wait for.
    pub(crate) fn pending(&self) -> Option<BorrowedFd<'_>> {
        self.open.then(|| self.source.as_fd())
    }

    /// Reads and passes on everything that is left, after the last writer has exited.
    pub(crate) fn drain(
        &mut self,
        worker: &mut Sender<impl Write>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<()> {
        while self.open && self.pump(worker, buffer)? {}
        Ok(())
    }

    /// Reads what is there, once, and passes on what is below the cap; says whether there was
    /// anything. The source doesn't block.
    pub(crate) fn pump(
        &mut self,
        worker: &mut Sender<impl Write>,
        buffer: &mut Vec<u8>,
    ) -> io::Result<bool> {
        let read = self.pump_some(buffer.len(), worker, buffer)?;
        if read == Some(buffer.len()) {
            buffer.resize(LARGE_READ, 0);
        }
        Ok(read.is_some())
    }

    /// The same for `length` bytes that are there, and no more.
    pub(crate) fn pump_exactly(
        &mut self,
        mut length: u64,
        worker: &mut Sender<impl Write>,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        while self.open && length > 0 {
            let most = length.min(buffer.len() as u64) as usize;
            let Some(read) = self.pump_some(most, worker, buffer)? else { break };
            length -= read as u64;
        }
        Ok(())
    }

    /// Reads at most that many bytes; `None` if there is nothing.
    fn pump_some(
        &mut self,
        most: usize,
        worker: &mut Sender<impl Write>,
        buffer: &mut [u8],
    ) -> io::Result<Option<usize>> {
        let length = match self.source.read(&mut buffer[..most]) {
            Ok(0) => {
                self.open = false;
                return Ok(None);
            }
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(Some(0)),
            Err(error) => return Err(error),
        };
        self.pass(&buffer[..length], worker)?;
        Ok(Some(length))
    }

    /// Counts what the program wrote and passes on what is below the cap.
    pub(crate) fn pass(&mut self, bytes: &[u8], worker: &mut Sender<impl Write>) -> io::Result<()> {
        let length = bytes.len();
        let below = self.cap.saturating_sub(self.seen).min(length as u64) as usize;
        self.seen += length as u64;
        let (passed, beyond) = bytes.split_at(below);
        if !passed.is_empty() {
            worker.send(self.kind, passed)?;
        }
        let kept = &beyond[beyond.len().saturating_sub(self.tail_cap)..];
        let excess = (self.tail.len() + kept.len()).saturating_sub(self.tail_cap);
        self.tail.drain(..excess);
        self.tail.extend(kept);
        Ok(())
    }

    /// The end of what was not passed on.
    pub(crate) fn into_tail(self) -> Vec<u8> {
        self.tail.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame;

    #[test]
    fn output_is_cut_at_the_cap_and_its_end_is_kept() {
        let (mut writer, reader) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let mut output = Output::new(reader, Kind::Stderr, 4, 3);
        let mut bytes = Vec::new();
        let mut sent = Sender::new(&mut bytes);
        let mut buffer = buffer();
        for part in [b"abcdef".as_slice(), b"gh", b"ij"] {
            writer.write_all(part).expect("room");
            output.pump(&mut sent, &mut buffer).expect("readable");
        }
        drop(writer);
        output.drain(&mut sent, &mut buffer).expect("readable");
        assert!(output.pending().is_none());
        assert_eq!(output.seen(), 10);
        let frames = frame::read(&mut bytes.as_slice()).expect("a frame");
        assert_eq!(frames, Some((Kind::Stderr, b"abcd".to_vec())));
        assert_eq!(output.into_tail(), b"hij");
    }
}
