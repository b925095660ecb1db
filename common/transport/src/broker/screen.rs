//! Looks through what comes from the broker before the library parses it.
//!
//! The producer chooses the properties and the routing key of a message, and the broker passes them
//! on as they are. What the library can't parse costs the connection, and what nests deep the process: for
//! every worker that is given the message, again and again. So a frame that can't be parsed is replaced
//! by one that says so, and only that message is lost.

use std::{
    collections::BTreeMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
};

use futures_io::{AsyncRead, AsyncWrite};

use super::{
    header::{Fault, Fields, Header},
    server::Server,
};
use crate::refusal::Foreign;

/// Type, channel and size.
const HEAD_BYTES: usize = 7;
const END: u8 = 0xce;
/// How a TLS server begins what it says to a client that doesn't speak TLS.
const TLS_ALERT: u8 = 0x15;
const METHOD: u8 = 1;
const CONTENT_HEADER: u8 = 2;
/// The methods that are looked at are shorter: three short strings and some numbers at most.
const MAX_METHOD_BYTES: u64 = 1024;
/// How much of a frame is kept that comes in pieces. A content header that is longer is replaced anyway;
/// the broker sends it in one frame, however long.
const MAX_HELD: usize = 256 << 10;
/// How much memory is kept for what comes next.
const KEPT_BYTES: usize = 16 << 10;

/// Class and method, as in the frame.
const START: [u8; 4] = [0, 10, 0, 10];
const TUNE: [u8; 4] = [0, 10, 0, 30];
const RETURN: [u8; 4] = [0, 60, 0, 50];
const DELIVER: [u8; 4] = [0, 60, 0, 60];
const GET_OK: [u8; 4] = [0, 60, 0, 71];

/// A connection to the broker, of which only that is read that the library can parse.
pub(super) struct Screened<S> {
    stream: S,
    screen: Screen,
    /// Whether the other end has said something, and so that it speaks AMQP.
    has_begun: bool,
}

impl<S> Screened<S> {
    /// Frames that come from `stream` are no longer than `frame_max`, or what the broker proposes if that
    /// is less. What the broker names itself goes to `server`.
    pub(super) fn new(stream: S, frame_max: usize, server: Arc<Mutex<Option<Server>>>) -> Self {
        let screen = Screen { server, ..Screen::new(frame_max) };
        Self { stream, screen, has_begun: false }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Screened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, screen, has_begun } = &mut *self;
        loop {
            let bytes = screen.hand_out(buffer);
            if bytes > 0 {
                return Poll::Ready(Ok(bytes));
            }
            let bytes = ready!(Pin::new(&mut *stream).poll_read(cx, buffer))?;
            if let Some(first) = buffer[..bytes].first()
                && !std::mem::replace(has_begun, true)
            {
                greeted(*first)?;
            }
            let stays = screen.take(&buffer[..bytes]);
            if stays > 0 || bytes == 0 {
                return Poll::Ready(Ok(stays));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Screened<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, buffers)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// Whether a server that begins like this speaks AMQP: with a method, or with the version it speaks instead
/// of ours. The library takes much else for a broker that closes the connection.
fn greeted(first: u8) -> io::Result<()> {
    match first {
        METHOD | b'A' => Ok(()),
        TLS_ALERT => Err(io::Error::other(Foreign::Tls)),
        _ => Err(io::Error::other(Foreign::NotAmqp)),
    }
}

/// The frames of one connection. Bodies, and whole frames that are sound, stay in the buffer that they
/// were read into; the others are put together and replaced beside it.
struct Screen {
    /// The longest frame that the library takes.
    frame_max: usize,
    /// How many bytes are left of a frame that isn't looked at.
    passing: u64,
    /// A frame that hasn't come in whole, up to [`MAX_HELD`] of it, and how many bytes are missing.
    held: Vec<u8>,
    missing: u64,
    /// What goes out before anything else is read, and how much of it went already.
    ready: Vec<u8>,
    sent: usize,
    /// The channels on which a message has begun whose names were replaced, and why.
    suspects: BTreeMap<u16, Fault>,
    /// What the broker names itself.
    server: Arc<Mutex<Option<Server>>>,
}

impl Screen {
    fn new(frame_max: usize) -> Self {
        Self {
            frame_max: frame_max.min(MAX_HELD),
            passing: 0,
            held: Vec::new(),
            missing: 0,
            ready: Vec::new(),
            sent: 0,
            suspects: BTreeMap::new(),
            server: Arc::default(),
        }
    }

    fn hand_out(&mut self, buffer: &mut [u8]) -> usize {
        let left = &self.ready[self.sent..];
        let bytes = left.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&left[..bytes]);
        self.sent += bytes;
        if self.sent == self.ready.len() {
            self.ready.clear();
            self.ready.shrink_to(KEPT_BYTES);
            self.sent = 0;
        }
        bytes
    }

    /// Takes what was read. So many bytes at its beginning go on as they are and where they are; what
    /// comes after them is handed out next, or held until more is known.
    fn take(&mut self, bytes: &[u8]) -> usize {
        let (mut at, mut stays) = (0, 0);
        while at < bytes.len() {
            let rest = &bytes[at..];
            let same = if self.passing > 0 {
                let passed = lesser(self.passing, rest.len());
                self.passing -= passed as u64;
                &rest[..passed]
            } else if !self.held.is_empty() {
                at += self.hold(rest);
                continue;
            } else {
                match Head::of(rest) {
                    Some(head) if !head.is_screened() => {
                        self.passing = head.frame_bytes();
                        continue;
                    }
                    Some(head) if head.frame_bytes() <= rest.len() as u64 => {
                        let frame = &rest[..lesser(head.frame_bytes(), rest.len())];
                        if let Some(other) = self.replacement(&head, frame) {
                            self.ready.extend(other);
                            at += frame.len();
                            continue;
                        }
                        frame
                    }
                    _ => {
                        at += self.hold(rest);
                        continue;
                    }
                }
            };
            if self.ready.is_empty() {
                stays = at + same.len();
            } else {
                self.ready.extend(same);
            }
            at += same.len();
        }
        stays
    }

    /// Puts a frame together that comes in pieces; how many bytes of this one belong to it.
    fn hold(&mut self, bytes: &[u8]) -> usize {
        if self.held.len() < HEAD_BYTES {
            let taken = bytes.len().min(HEAD_BYTES - self.held.len());
            self.held.extend(&bytes[..taken]);
            if let Some(head) = Head::of(&self.held) {
                let left = head.frame_bytes() - HEAD_BYTES as u64;
                if head.is_screened() {
                    self.missing = left;
                } else {
                    self.passing = left;
                    self.ready.append(&mut self.held);
                }
            }
            return taken;
        }
        let taken = lesser(self.missing, bytes.len());
        self.missing -= taken as u64;
        let kept = taken.min(MAX_HELD.saturating_sub(self.held.len()));
        self.held.extend(&bytes[..kept]);
        if self.missing == 0 {
            let frame = std::mem::take(&mut self.held);
            let head = Head::of(&frame).expect("it is longer");
            let other = self.replacement(&head, &frame);
            self.ready.extend(other.as_ref().unwrap_or(&frame));
            self.held = frame;
            self.held.clear();
            self.held.shrink_to(KEPT_BYTES);
        }
        taken
    }

    /// What goes on in place of `frame`, of which the end may be missing if it is too long; nothing if it
    /// is sound.
    fn replacement(&mut self, head: &Head, frame: &[u8]) -> Option<Vec<u8>> {
        let payload = &frame[HEAD_BYTES..frame.len() - 1];
        if head.kind == METHOD {
            return self.method(head, payload).map(|payload| head.frame(&payload));
        }
        let header = Header::read(payload);
        let too_long = || {
            let (bytes, limit) = (head.frame_bytes(), self.frame_max);
            (bytes > limit as u64).then_some(Fault::TooLong { bytes, limit })
        };
        let fault = too_long().or(header.fault.clone());
        let fault = self.suspects.remove(&head.channel).or(fault)?;
        Some(head.frame(&header.substitute(&fault.to_string())))
    }

    /// Where a method names the exchange and the routing key of a message, what isn't UTF-8 is replaced, and
    /// the message that follows is given away as malformed.
    fn method(&mut self, head: &Head, payload: &[u8]) -> Option<Vec<u8>> {
        let mut fields = Fields(payload.get(4..)?);
        match payload[..4].try_into().ok()? {
            START => {
                *self.server.lock().unwrap_or_else(PoisonError::into_inner) = Server::read(fields);
                return None;
            }
            TUNE => {
                fields.take(2, "channel_max").ok()?;
                let frame_max = fields.take(4, "frame_max").ok()?;
                let frame_max = u32::from_be_bytes(frame_max.try_into().ok()?) as usize;
                // 0 is no limit.
                if frame_max > 0 {
                    self.frame_max = self.frame_max.min(frame_max);
                }
                return None;
            }
            RETURN => {
                fields.take(2, "reply_code").ok()?;
                fields.short("reply_text").ok()?;
            }
            DELIVER => {
                fields.short("consumer_tag").ok()?;
                fields.take(9, "delivery_tag").ok()?;
            }
            GET_OK => {
                fields.take(9, "delivery_tag").ok()?;
            }
            _ => return None,
        }
        let mut replaced = None;
        for what in ["the name of the exchange", "the routing key"] {
            let text = fields.short(what).ok()?;
            if std::str::from_utf8(text).is_err() {
                let end = payload.len() - fields.0.len();
                let copy: &mut Vec<u8> = replaced.get_or_insert_with(|| payload.to_vec());
                for byte in copy[end - text.len()..end].iter_mut().filter(|byte| !byte.is_ascii()) {
                    *byte = b'?';
                }
                self.suspects.insert(head.channel, Fault::NotUtf8(what));
            }
        }
        replaced
    }
}

/// The beginning of a frame.
struct Head {
    kind: u8,
    channel: u16,
    payload_bytes: u32,
}

impl Head {
    fn of(bytes: &[u8]) -> Option<Self> {
        let [kind, channel @ .., a, b, c, d] = *bytes.first_chunk::<HEAD_BYTES>()?;
        let payload_bytes = u32::from_be_bytes([a, b, c, d]);
        Some(Self { kind, channel: u16::from_be_bytes(channel), payload_bytes })
    }

    fn is_screened(&self) -> bool {
        self.kind == CONTENT_HEADER || self.kind == METHOD && self.frame_bytes() <= MAX_METHOD_BYTES
    }

    fn frame_bytes(&self) -> u64 {
        HEAD_BYTES as u64 + u64::from(self.payload_bytes) + 1
    }

    /// A frame of the same kind with another payload.
    fn frame(&self, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).expect("as long as properties can be");
        let [a, b] = self.channel.to_be_bytes();
        [&[self.kind, a, b], length.to_be_bytes().as_slice(), payload, &[END]].concat()
    }
}

fn lesser(left: u64, bytes: usize) -> usize {
    usize::try_from(left).map_or(bytes, |left| left.min(bytes))
}

#[cfg(test)]
mod tests;
