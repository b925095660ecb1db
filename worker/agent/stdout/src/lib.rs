//! The buffer of Python's stdout, in memory that PID 1 reads: see `sandfleet_agent::pending_output`.
//!
//! An interpreter that is started by an exec imports it as `sitecustomize`, in place of the host's own module of
//! this name, which is imported by it; its area is at descriptor 3. A warm interpreter has it as a library, and
//! each of its programs attaches an area of its own.
#![allow(unsafe_code)]

mod binary;
mod buffer;
mod method;
mod start;
mod stream;
mod text;

use std::sync::atomic::Ordering;

use sandfleet_agent::pending_output::{Area, MAGIC};

/// Gives `sys.stdout` the buffer; without an area it writes at once. Says whether that is possible.
///
/// # Safety
/// The interpreter's lock is held. Called once.
pub unsafe fn install() -> bool {
    // SAFETY: as the caller promises.
    unsafe { stream::install() }
}

/// Has PID 1 read the buffer, in `area`, from here on; not if that is another version's.
pub fn attach(area: Area) {
    if area.header().magic.load(Ordering::Relaxed) == MAGIC {
        buffer::attach(area);
    }
}
