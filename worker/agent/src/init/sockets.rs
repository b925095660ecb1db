//! What the program's sockets can hold. The queues of TCP and UDP are kernel memory that no control
//! group counts on version 1, nor on version 2 while a connection hasn't been accepted or for a queue of
//! errors. So the queues are small (the launcher, or Docker, sets that in the container's network
//! namespace), and their number is looked at: the network namespace is the container's own and counts its
//! sockets.
//!
//! The kernel counts as `inuse` what can be reached by an address. A socket that a reset or
//! `connect(AF_UNSPEC)` has taken out of there keeps what is queued in it: so all sockets count that exist,
//! but those of AF_UNIX, whose queues control groups do count.

use std::{fs::File, os::unix::fs::FileExt};

use crate::protocol::message::{Cause, ProcessLimits};

/// What a TCP socket holds at most, both ways together.
pub const TCP_BYTES: u64 = 128 << 10;
/// What a UDP socket holds at most: `net.core.rmem_default`, which a namespace can't make smaller,
/// and the datagram that goes beyond it. Errors that are queued count with it.
pub const UDP_BYTES: u64 = 256 << 10;

/// With sockets that can hold more than this the program is looked at without long pauses.
const FEW_BYTES: u64 = 4 << 20;
/// So many sockets without an address are left alone: to tell which family they are takes another file.
const FEW: u64 = 8;

/// The container's counters of sockets, opened at the first look: most programs end before.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    counters: Option<Counters>,
    bytes: u64,
}

/// Where the network namespace tells how many sockets it has.
#[derive(Debug)]
struct Counters {
    by_address: [Option<File>; 2],
    by_protocol: Option<File>,
}

impl Sockets {
    /// Looks once: whether all sockets together can hold more than they may.
    pub(crate) fn exceeded(&mut self, bounds: &ProcessLimits) -> Option<Cause> {
        self.bytes = self.counters.get_or_insert_with(Counters::open).bytes();
        (self.bytes > bounds.socket_bytes).then_some(Cause::Sockets)
    }

    /// Whether there were more than a few at the last look.
    pub(crate) fn are_many(&self) -> bool {
        self.bytes > FEW_BYTES
    }
}

impl Counters {
    fn open() -> Self {
        let open = |name| File::open(name).ok();
        Self {
            by_address: ["/proc/self/net/sockstat", "/proc/self/net/sockstat6"].map(open),
            by_protocol: open("/proc/self/net/protocols"),
        }
    }

    fn bytes(&self) -> u64 {
        let counted = self.counted();
        if counted.without_address() <= FEW {
            return counted.bytes(0);
        }
        // Around the count of all, so that sockets of AF_UNIX that come or go meanwhile are taken for no others.
        let before = self.unix();
        let counted = self.counted();
        counted.bytes(before.max(self.unix()))
    }

    fn counted(&self) -> Counted {
        let mut counted = Counted::default();
        for file in self.by_address.iter().flatten() {
            counted.add(&text::<512>(file));
        }
        counted
    }

    fn unix(&self) -> u64 {
        self.by_protocol.as_ref().map_or(0, |file| unix(&text::<8192>(file)))
    }
}

fn text<const LENGTH: usize>(file: &File) -> String {
    let mut bytes = [0; LENGTH];
    let length = file.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

/// How many sockets there are.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counted {
    /// Of any family.
    all: u64,
    /// With an address.
    tcp: u64,
    udp: u64,
}

impl Counted {
    /// Adds what such a file says.
    fn add(&mut self, text: &str) {
        for line in text.lines() {
            let count =
                |kind: &str| line.strip_prefix(kind)?.split(' ').next()?.parse::<u64>().ok();
            self.all += count("sockets: used ").unwrap_or(0);
            self.tcp += count("TCP: inuse ").or_else(|| count("TCP6: inuse ")).unwrap_or(0);
            self.udp += count("UDP: inuse ").or_else(|| count("UDP6: inuse ")).unwrap_or(0);
        }
    }

    fn without_address(&self) -> u64 {
        self.all.saturating_sub(self.tcp).saturating_sub(self.udp)
    }

    /// What they can hold, if so many are of AF_UNIX.
    fn bytes(&self, unix: u64) -> u64 {
        let others = self.without_address().saturating_sub(unix.max(FEW));
        self.tcp.saturating_mul(TCP_BYTES) + (self.udp + others).saturating_mul(UDP_BYTES)
    }
}

/// How many sockets of AF_UNIX there are: in each line a protocol, the size of its sockets and their number.
fn unix(text: &str) -> u64 {
    let number = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        words.next().filter(|name| name.starts_with("UNIX"))?;
        words.nth(1)?.parse::<u64>().ok()
    };
    text.lines().filter_map(number).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(texts: &[&str]) -> Counted {
        let mut counted = Counted::default();
        texts.iter().for_each(|text| counted.add(text));
        counted
    }

    const FOUR: &str = "sockets: used 10\nTCP: inuse 3 orphan 0 tw 7 alloc 21 mem 8\nUDP: inuse 2 mem 0\n\
                        UDPLITE: inuse 0\nRAW: inuse 0\nFRAG: inuse 0 memory 0\n";
    const SIX: &str = "TCP6: inuse 1\nUDP6: inuse 4\n";

    #[test]
    fn sockets_of_both_kinds_and_families_count() {
        assert_eq!(counted(&[FOUR, SIX]), Counted { all: 10, tcp: 4, udp: 6 });
        assert_eq!(counted(&[FOUR, SIX]).bytes(0), 4 * TCP_BYTES + 6 * UDP_BYTES);
        assert_eq!(counted(&["TCP6: used 3\ngarbage"]), Counted::default());
    }

    #[test]
    fn sockets_that_lost_their_address_count_as_the_largest() {
        let forgotten = counted(&["sockets: used 130\nTCP: inuse 1 orphan 0 tw 0 alloc 1 mem 8\n"]);
        assert_eq!(forgotten.without_address(), 129);
        assert_eq!(forgotten.bytes(100), TCP_BYTES + 29 * UDP_BYTES);
        assert_eq!(forgotten.bytes(200), TCP_BYTES, "others came meanwhile");
    }

    #[test]
    fn sockets_of_af_unix_are_told_by_their_protocols() {
        let text = "protocol  size sockets  memory press maxhdr  slab module     cl co di ac io in de\n\
                    PACKET    1536      3      -1   NI       0   no   kernel      n  n  n  n  n  n  n\n\
                    UNIX-STREAM 1088   40      -1   NI       0   yes  kernel      n  n  n  n  n  n  n\n\
                    UNIX      1088      2      -1   NI       0   yes  kernel      n  n  n  n  n  n  n\n\
                    TCP       2496     12       3   no     320   yes  kernel      y  y  y  y  y  y  y\n";
        assert_eq!(unix(text), 42);
        assert_eq!(unix("UNIX\nUNIX 1 x\n"), 0);
    }
}
