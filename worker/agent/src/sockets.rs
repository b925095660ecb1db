//! What the program's TCP and UDP sockets can hold. Their queues are kernel memory that no control
//! group counts on version 1, nor on version 2 while a connection hasn't been accepted. So the
//! queues are small (the launcher, or Docker, sets that in the container's network namespace), and
//! their number is looked at: the network namespace is the container's own and counts its sockets.

use std::{fs::File, os::unix::fs::FileExt};

use crate::message::{Bounds, Cause};

/// What a TCP socket holds at most, both ways together.
pub const TCP_BYTES: u64 = 128 << 10;
/// What a UDP socket holds at most: `net.core.rmem_default`, which a namespace can't make smaller,
/// and the datagram that goes beyond it.
pub const UDP_BYTES: u64 = 256 << 10;

/// With sockets that can hold more than this the program is looked at without long pauses.
const FEW_BYTES: u64 = 4 << 20;

/// The container's counters of sockets, opened at the first look: most programs end before.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    counters: Option<[Option<File>; 2]>,
    bytes: u64,
}

impl Sockets {
    /// Looks once: whether all sockets together can hold more than they may.
    pub(crate) fn exceeded(&mut self, bounds: &Bounds) -> Option<Cause> {
        let open = |name| File::open(name).ok();
        let counters = self.counters.get_or_insert_with(|| {
            ["/proc/self/net/sockstat", "/proc/self/net/sockstat6"].map(open)
        });
        self.bytes = counters.iter().flatten().map(bytes).sum();
        (self.bytes > bounds.socket_bytes).then_some(Cause::Sockets)
    }

    /// Whether there were more than a few at the last look.
    pub(crate) fn are_many(&self) -> bool {
        self.bytes > FEW_BYTES
    }
}

fn bytes(counters: &File) -> u64 {
    let mut text = [0; 512];
    let length = counters.read_at(&mut text, 0).unwrap_or(0);
    held(&String::from_utf8_lossy(&text[..length]))
}

/// What the sockets that such a file counts can hold.
fn held(text: &str) -> u64 {
    let kinds =
        [("TCP: ", TCP_BYTES), ("TCP6: ", TCP_BYTES), ("UDP: ", UDP_BYTES), ("UDP6: ", UDP_BYTES)];
    let in_use = |line: &str, kind: &str| {
        line.strip_prefix(kind)?.strip_prefix("inuse ")?.split(' ').next()?.parse::<u64>().ok()
    };
    let each = |line: &str| {
        kinds.iter().find_map(|(kind, bytes)| Some(in_use(line, kind)?.saturating_mul(*bytes)))
    };
    text.lines().filter_map(each).fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_both_kinds_and_families_count() {
        let four = "sockets: used 9\nTCP: inuse 3 orphan 0 tw 7 alloc 21 mem 8\nUDP: inuse 2 mem 0\n\
                    UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n";
        assert_eq!(held(four), 3 * TCP_BYTES + 2 * UDP_BYTES);
        assert_eq!(held("TCP6: inuse 1\nUDP6: inuse 4\n"), TCP_BYTES + 4 * UDP_BYTES);
        assert_eq!(held("TCP: used 3\ngarbage"), 0);
    }
}
