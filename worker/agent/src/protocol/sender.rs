//! The agent's frames on their way out, each followed by its MAC once there is a key.

use std::io::{self, Write};

use super::{
    frame::{HEADER, Kind, header},
    mac::{FrameMac, Key, TAG},
};

/// The agent's frames on their way out.
pub struct Sender<W> {
    output: W,
    mac: Option<FrameMac>,
}

impl<W: Write> Sender<W> {
    /// Sends frames without a MAC, until there is a key.
    pub fn new(output: W) -> Self {
        Self { output, mac: None }
    }

    /// Puts a MAC behind every frame from here on.
    pub fn authenticate_with(&mut self, key: &Key) {
        self.mac = Some(FrameMac::new(key));
    }

    /// Writes one frame in one go, so that a small one is one system call.
    ///
    /// # Errors
    /// Those of the output.
    pub fn send(&mut self, kind: Kind, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(HEADER + payload.len() + TAG);
        bytes.extend_from_slice(&header(kind, payload.len()));
        bytes.extend_from_slice(payload);
        if let Some(mac) = &mut self.mac {
            bytes.extend_from_slice(&mac.tag(kind, payload));
        }
        self.output.write_all(&bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::frame::read;

    #[test]
    fn a_frame_survives() {
        let mut bytes = Vec::new();
        let mut sender = Sender::new(&mut bytes);
        sender.send(Kind::Stdout, b"hello").expect("a vector takes all");
        sender.send(Kind::Done, b"").expect("a vector takes all");
        let mut input = bytes.as_slice();
        assert_eq!(read(&mut input).expect("whole"), Some((Kind::Stdout, b"hello".to_vec())));
        assert_eq!(read(&mut input).expect("whole"), Some((Kind::Done, Vec::new())));
        assert_eq!(read(&mut input).expect("at the end"), None);
    }

    #[test]
    fn a_mac_follows_every_frame_once_there_is_a_key() {
        let mut bytes = Vec::new();
        let mut sender = Sender::new(&mut bytes);
        sender.send(Kind::Hello, b"").expect("a vector takes all");
        sender.authenticate_with(&Key([1; 32]));
        sender.send(Kind::Started, b"").expect("a vector takes all");
        assert_eq!(bytes.len(), HEADER + HEADER + TAG);
        let tag = FrameMac::new(&Key([1; 32])).tag(Kind::Started, b"");
        assert_eq!(bytes[2 * HEADER..], tag);
    }
}
