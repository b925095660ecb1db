//! MACs on PID 1's frames to the worker, with a key that only these two have.
//!
//! On Linux a program can't reach the stream between them. gVisor lets it open `/proc/1/fd`, and so write there
//! or take bytes away; then the next MAC doesn't match and the worker ends the job.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::frame::{self, Kind};

/// The bytes of a MAC.
pub const TAG: usize = 16;

/// The key of one job. In the container it is in PID 1's memory only, which the program can't read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key(pub [u8; 32]);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// One end of the stream: both ends count the frames, so that none can be left out, sent
/// twice or moved.
pub struct FrameMac {
    keyed: Hmac<Sha256>,
    frames: u64,
}

impl FrameMac {
    /// Before the first frame.
    pub fn new(key: &Key) -> Self {
        #[expect(clippy::expect_used, reason = "the trait has an error for other functions")]
        let keyed = Hmac::new_from_slice(&key.0).expect("HMAC takes keys of every length");
        Self { keyed, frames: 0 }
    }

    /// The MAC of the next frame.
    pub fn tag(&mut self, kind: Kind, payload: &[u8]) -> [u8; TAG] {
        let whole = self.next(kind, payload).finalize().into_bytes();
        let mut tag = [0; TAG];
        tag.copy_from_slice(&whole[..TAG]);
        tag
    }

    /// Whether `tag` is the MAC of the next frame.
    pub fn is_genuine(&mut self, kind: Kind, payload: &[u8], tag: &[u8; TAG]) -> bool {
        self.next(kind, payload).verify_truncated_left(tag).is_ok()
    }

    fn next(&mut self, kind: Kind, payload: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.keyed.clone();
        mac.update(&self.frames.to_le_bytes());
        mac.update(&frame::header(kind, payload.len()));
        mac.update(payload);
        self.frames += 1;
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_is_good_for_one_frame_in_its_place() {
        let key = Key([7; 32]);
        let (mut one, mut other) = (FrameMac::new(&key), FrameMac::new(&key));
        let first = one.tag(Kind::Stdout, b"x");
        assert!(other.is_genuine(Kind::Stdout, b"x", &first));
        assert!(!other.is_genuine(Kind::Stdout, b"x", &first), "sent twice");
        let reading = || {
            let mut reader = FrameMac::new(&key);
            assert!(reader.is_genuine(Kind::Stdout, b"x", &first));
            reader
        };
        let second = one.tag(Kind::Done, b"");
        assert!(!reading().is_genuine(Kind::Failed, b"", &second), "another kind");
        assert!(!reading().is_genuine(Kind::Done, b"y", &second), "another content");
        assert!(!FrameMac::new(&key).is_genuine(Kind::Done, b"", &second), "one was left out");
        assert!(
            !FrameMac::new(&Key([8; 32])).is_genuine(Kind::Stdout, b"x", &first),
            "another key"
        );
        assert!(reading().is_genuine(Kind::Done, b"", &second));
    }

    #[test]
    fn a_key_is_in_no_log() {
        assert_eq!(format!("{:?}", Key([7; 32])), "Key(…)");
    }
}
