//! Captured stdout and stderr, bounded by the output limit.

/// One captured stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// Its beginning.
    pub head: Vec<u8>,
    /// Its end, if something between was left out.
    pub tail: Vec<u8>,
    /// How many bytes the program wrote.
    pub total: u64,
}

impl Captured {
    /// Whether the program wrote more than was kept.
    pub fn is_truncated(&self) -> bool {
        self.total > self.head.len() as u64
    }

    /// Adds what a container sent, if that is within `cap` bytes.
    pub(crate) fn push(&mut self, bytes: &[u8], cap: u64) -> Result<(), String> {
        let length = self.head.len() as u64 + bytes.len() as u64;
        if length > cap {
            return Err(format!("the agent sent {length} bytes of output; {cap} were agreed"));
        }
        self.head.extend_from_slice(bytes);
        self.total = self.total.max(length);
        Ok(())
    }

    /// The beginning and, after a line that says how much is missing, the end.
    pub fn into_bytes(self) -> Vec<u8> {
        let kept = (self.head.len() + self.tail.len()) as u64;
        let mut bytes = self.head;
        if !self.tail.is_empty() {
            let missing = self.total.saturating_sub(kept);
            if missing > 0 {
                bytes.extend_from_slice(format!("\n[{missing} bytes left out]\n").as_bytes());
            }
            bytes.extend_from_slice(&self.tail);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_stream_keeps_both_ends_and_says_what_is_missing() {
        let mut captured = Captured::default();
        captured.push(b"begin", 5).expect("within the cap");
        assert!(captured.push(b"!", 5).is_err());
        captured.tail = b"end".to_vec();
        captured.total = 20;
        assert!(captured.is_truncated());
        assert_eq!(captured.into_bytes(), b"begin\n[12 bytes left out]\nend");
    }
}
