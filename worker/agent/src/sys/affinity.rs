//! Which processors a program may use.

use std::{io, mem};

use super::check;

/// The processors of one program, chosen of those that this process may use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Affinity(Option<libc::cpu_set_t>);

impl Affinity {
    /// `wanted` are places in the list of processors that this process may use, counted around if that is
    /// shorter. Nothing is chosen if none is wanted, if all are, or if there are more than the C library's set
    /// has room for: then the program has what this process has.
    pub(crate) fn choose(wanted: &[u32]) -> Self {
        // SAFETY: an all-zero set is an empty one; the kernel fills at most the size that is passed, and the
        // macros of the C library stay within it.
        unsafe {
            let mut own = mem::zeroed::<libc::cpu_set_t>();
            if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut own) != 0 {
                return Self(None);
            }
            let usable: Vec<usize> = (0..libc::CPU_SETSIZE as usize)
                .filter(|number| libc::CPU_ISSET(*number, &own))
                .collect();
            if wanted.is_empty() || wanted.len() >= usable.len() {
                return Self(None);
            }
            let mut chosen = mem::zeroed::<libc::cpu_set_t>();
            for place in wanted {
                libc::CPU_SET(usable[*place as usize % usable.len()], &mut chosen);
            }
            Self(Some(chosen))
        }
    }

    /// Holds this process, which has one thread, to them. Allocates nothing.
    ///
    /// # Errors
    /// Those of sched_setaffinity(2).
    pub(crate) fn apply(&self) -> io::Result<()> {
        let Some(chosen) = &self.0 else { return Ok(()) };
        // SAFETY: the set is read for exactly its size and outlives the call. 0 is this thread.
        let set = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), chosen) };
        check(set.into()).map(drop)
    }
}
