//! Input that comes while the program runs: frames of the worker's, written to a pipe that is the program's stdin.
//!
//! The program may be slow to read, and the agent never waits for it: what the pipe doesn't take waits here, and while much
//! does nothing more is read from the worker.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    pipe::{PipeFlags, pipe_with},
};

use crate::protocol::frame::{HEADER, Kind, parse_header};

/// With so much waiting, no more is read.
const MUCH: usize = 256 << 10;

pub(crate) struct LiveStdin {
    /// Closed when the input has ended, or when the program has closed its end.
    pipe: Option<File>,
    /// A frame that is not complete.
    partial: Vec<u8>,
    waiting: VecDeque<u8>,
    has_ended: bool,
}

/// Bytes that are no input.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NoInput;

impl LiveStdin {
    /// The program's end of the pipe, and this one.
    pub(crate) fn new() -> io::Result<(File, Self)> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        fcntl_setfl(&write, OFlags::NONBLOCK)?;
        let pipe = Some(File::from(write));
        let own = Self { pipe, partial: Vec::new(), waiting: VecDeque::new(), has_ended: false };
        Ok((File::from(read), own))
    }

    /// Whether more may be read from the worker.
    pub(crate) fn takes_more(&self) -> bool {
        self.waiting.len() < MUCH
    }

    /// The pipe, while something waits for room in it.
    pub(crate) fn pending(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().filter(|_| !self.waiting.is_empty()).map(File::as_fd)
    }

    /// Takes what was read from the worker.
    pub(crate) fn accept(&mut self, bytes: &[u8]) -> Result<(), NoInput> {
        self.partial.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(head) = self.partial.get(at..at + HEADER) {
            let head: [u8; HEADER] = head.try_into().map_err(|_| NoInput)?;
            let (kind, length) = parse_header(head).map_err(|_| NoInput)?;
            let payload = at + HEADER;
            match kind {
                Kind::Input if !self.has_ended => {}
                Kind::InputEnd if length == 0 && !self.has_ended => {}
                _ => return Err(NoInput),
            }
            let Some(content) = self.partial.get(payload..payload + length) else { break };
            if self.pipe.is_some() {
                self.waiting.extend(content);
            }
            self.has_ended = kind == Kind::InputEnd;
            at = payload + length;
        }
        self.partial.drain(..at);
        Ok(())
    }

    /// Writes what the pipe takes.
    pub(crate) fn pump(&mut self) {
        while let Some(pipe) = &mut self.pipe {
            let (first, _) = self.waiting.as_slices();
            if first.is_empty() {
                if self.has_ended {
                    self.pipe = None;
                }
                return;
            }
            match pipe.write(first) {
                Ok(written) => _ = self.waiting.drain(..written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The program has closed its stdin: nothing that is sent there matters any more.
                Err(_) => {
                    self.pipe = None;
                    self.waiting.clear();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::protocol::frame::header;

    fn frame(kind: Kind, payload: &[u8]) -> Vec<u8> {
        [&header(kind, payload.len())[..], payload].concat()
    }

    #[test]
    fn input_reaches_the_program_however_it_is_cut() {
        let sent =
            [frame(Kind::Input, b"one "), frame(Kind::Input, b"two"), frame(Kind::InputEnd, b"")];
        let sent = sent.concat();
        for size in [1, 3, 7, sent.len()] {
            let (mut program, mut stdin) = LiveStdin::new().expect("a pipe");
            for piece in sent.chunks(size) {
                stdin.accept(piece).expect("input");
                stdin.pump();
            }
            let mut text = String::new();
            program.read_to_string(&mut text).expect("it ends");
            assert_eq!(text, "one two", "pieces of {size}");
        }
    }

    #[test]
    fn what_the_program_does_not_read_waits_and_what_is_no_input_is_refused() {
        let (program, mut stdin) = LiveStdin::new().expect("a pipe");
        let much = frame(Kind::Input, &vec![b'x'; MUCH]);
        for _ in 0..2 {
            stdin.accept(&much).expect("input");
            stdin.pump();
        }
        assert!(!stdin.takes_more() && stdin.pending().is_some());
        drop(program);
        stdin.pump();
        assert!(stdin.takes_more() && stdin.pending().is_none(), "no process reads it");
        assert_eq!(stdin.accept(&frame(Kind::Start, b"")), Err(NoInput));
        let (_program, mut stdin) = LiveStdin::new().expect("a pipe");
        stdin.accept(&frame(Kind::InputEnd, b"")).expect("input");
        assert_eq!(stdin.accept(&frame(Kind::Input, b"x")), Err(NoInput), "after its end");
    }
}
