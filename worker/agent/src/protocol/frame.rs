//! Frames: a kind, a length, and that many bytes.
//!
//! Either side may be hostile to the other's decoder, so a frame has a hard upper length and a
//! reader never allocates more than one payload beyond the bytes it was really sent. Once the agent
//! has its run request, a [MAC](crate::protocol::mac) follows each of its frames.

use std::io::{self, Read};

/// The longest payload, in bytes. Longer content goes as several [`Kind::Data`] frames.
pub const MAX_PAYLOAD: usize = 1 << 20;

/// The bytes of a frame before its payload.
pub const HEADER: usize = 5;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// What a frame is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Kind { $($(#[doc = $doc])+ $name = $code,)+ }

        impl Kind {
            fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Kind::$name),)+ _ => None }
            }
        }
    };
}

kinds! {
    /// Worker: what to run, as [`RunRequest`](crate::protocol::message::RunRequest).
    RunRequest = 1,
    /// Worker: a file's name and size, as [`FileHeader`](crate::protocol::message::FileHeader); its content
    /// follows as data.
    File = 2,
    /// Both: a piece of the content announced before.
    Data = 3,
    /// Worker: the size of what the program reads on stdin, as
    /// [`FileHeader`](crate::protocol::message::FileHeader); it follows as data.
    Stdin = 4,
    /// Worker: everything was sent, start.
    Start = 5,
    /// Worker: as a file, for one that a compiler made: it is read-only and executable.
    Program = 6,
    /// Worker: bytes for stdin of a program that runs, if its request says that there will be some.
    Input = 7,
    /// Worker: that was all of them.
    InputEnd = 8,
    /// Agent: it is there and its barriers stand, as [`Hello`](crate::protocol::message::Hello).
    Hello = 16,
    /// Agent: the program starts now.
    Started = 17,
    /// Agent: the program wrote this to stdout.
    Stdout = 18,
    /// Agent: the program wrote this to stderr.
    Stderr = 19,
    /// Agent: the end of a stderr that was longer than is kept.
    StderrTail = 20,
    /// Agent: the program and all it started are gone, as [`ExitReport`](crate::protocol::message::ExitReport).
    ExitReport = 21,
    /// Agent: an artifact's name and size, as [`FileHeader`](crate::protocol::message::FileHeader); its
    /// content follows as data.
    Artifact = 22,
    /// Agent: one sentence on a matching file that isn't brought back.
    Refused = 23,
    /// Agent: that was all.
    Done = 24,
    /// Agent: it couldn't do its part, as one sentence.
    Failed = 25,
    /// Agent: a barrier can't be installed, as [`Failed`](crate::container::barrier::Failed); nothing ran.
    Barrier = 26,
}

/// Bytes that are no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// No such kind.
    UnknownKind(u8),
    /// More than [`MAX_PAYLOAD`] bytes.
    TooLong(u32),
}

impl std::fmt::Display for FrameError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FrameError::UnknownKind(code) => write!(f, "frame of unknown kind {code}"),
            FrameError::TooLong(length) => {
                write!(f, "frame of {length} bytes; the limit is {MAX_PAYLOAD}")
            }
        }
    }
}

impl std::error::Error for FrameError {}

/// The header of a frame of `kind` with `length` bytes of payload.
///
/// # Panics
/// If `length` is above [`MAX_PAYLOAD`]; callers split before.
pub fn header(kind: Kind, length: usize) -> [u8; HEADER] {
    assert!(length <= MAX_PAYLOAD, "frames are split before they are written");
    let [a, b, c, d] = (length as u32).to_le_bytes();
    [kind as u8, a, b, c, d]
}

/// Reads a header.
///
/// # Errors
/// If it is no frame's.
pub fn parse_header(header: [u8; HEADER]) -> Result<(Kind, usize), FrameError> {
    let [code, a, b, c, d] = header;
    let length = u32::from_le_bytes([a, b, c, d]);
    let kind = Kind::from_code(code).ok_or(FrameError::UnknownKind(code))?;
    if length as usize > MAX_PAYLOAD {
        return Err(FrameError::TooLong(length));
    }
    Ok((kind, length as usize))
}

/// Reads one frame; `None` at the end of the input.
///
/// # Errors
/// Those of `input`, an end within a frame, and bytes that are no frame.
pub fn read(input: &mut impl Read) -> io::Result<Option<(Kind, Vec<u8>)>> {
    let mut head = [0; HEADER];
    let mut filled = 0;
    while filled < HEADER {
        match input.read(&mut head[filled..])? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            n => filled += n,
        }
    }
    let (kind, length) = parse_header(head).map_err(io::Error::other)?;
    let mut payload = vec![0; length];
    input.read_exact(&mut payload)?;
    Ok(Some((kind, payload)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_frame_is_refused() {
        assert_eq!(parse_header([99, 0, 0, 0, 0]), Err(FrameError::UnknownKind(99)));
        assert!(matches!(parse_header([18, 0, 0, 0, 255]), Err(FrameError::TooLong(_))));
        assert!(read(&mut [18u8, 5, 0, 0, 0, 1].as_slice()).is_err());
        assert!(read(&mut [18u8, 5].as_slice()).is_err());
    }
}
