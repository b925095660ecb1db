//! User ids of containers: no two containers that run on this host at a time share one, even of several workers.
//! The kernel keeps quotas per user (watches, queues, pipes, keys), and neighbours must not be able
//! to use up each other's.

use std::os::{
    linux::net::SocketAddrExt,
    unix::net::{SocketAddr, UnixListener},
};

use super::SandboxError;

/// How many numbers there are to choose from.
const RANGE: u32 = 65_536;

/// A user number that no other container on this host has while this lives.
///
/// The reservation is an abstract socket: unlike a file it can't be left behind.
#[derive(Debug)]
pub(crate) struct ReservedUser {
    pub(crate) id: u32,
    _reservation: Option<UnixListener>,
}

impl ReservedUser {
    /// The first free number of those that begin with `base`, looked for from the `start`th on.
    pub(crate) fn reserve(base: u32, start: u32) -> Result<Self, SandboxError> {
        for offset in 0..RANGE {
            let id = base.saturating_add(start.wrapping_add(offset) % RANGE);
            let address = SocketAddr::from_abstract_name(format!("sandfleet-user-{id}"));
            let bound = address.and_then(|address| UnixListener::bind_addr(&address));
            match bound {
                Ok(listener) => return Ok(Self { id, _reservation: Some(listener) }),
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(SandboxError::failed("reserving a user number", error)),
            }
        }
        Err(SandboxError::failed(
            "reserving a user number",
            format!("{base} and the {RANGE} after it are all in use (sandbox.uid_base)"),
        ))
    }

    /// The caller's own: all there is for a worker that isn't root.
    pub(crate) fn own() -> Self {
        Self { id: rustix::process::geteuid().as_raw(), _reservation: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_nobody_elses_until_it_is_given_back() {
        // Far from the numbers that workers use.
        let base = 3_000_000_000;
        let first = ReservedUser::reserve(base, 7).expect("a number");
        let second = ReservedUser::reserve(base, 7).expect("another");
        assert_eq!((first.id, second.id), (base + 7, base + 8));
        drop(first);
        assert_eq!(ReservedUser::reserve(base, 7).expect("the first").id, base + 7);
        let last = ReservedUser::reserve(base, RANGE - 1).expect("the last");
        let around = ReservedUser::reserve(base, RANGE - 1).expect("and on from the beginning");
        assert_eq!((last.id, around.id), (base + RANGE - 1, base));
    }
}
