//! Stacks for children that work in their parent's memory.

use std::{ffi::c_void, io, ptr};

use super::check;

/// A mapping of its own: the guard, and above it the stack.
#[derive(Debug)]
pub(super) struct Stack(*mut c_void);

impl Stack {
    /// What a child does before it is another program needs some pages.
    pub(super) const BYTES: usize = 256 << 10;
    /// Below them, without access: a stack that overflows ends its process.
    const GUARD_BYTES: usize = 64 << 10;

    pub(super) fn new() -> io::Result<Self> {
        let (access, kind) = (libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, of which a part that is within it is made accessible.
        unsafe {
            let start =
                libc::mmap(ptr::null_mut(), Self::GUARD_BYTES + Self::BYTES, access, kind, -1, 0);
            if start == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            let stack = Self(start);
            let access = libc::PROT_READ | libc::PROT_WRITE;
            check(libc::mprotect(stack.bottom(), Self::BYTES, access).into())?;
            Ok(stack)
        }
    }

    pub(super) fn bottom(&self) -> *mut c_void {
        self.0.wrapping_byte_add(Self::GUARD_BYTES)
    }

    /// Where it begins: stacks grow downwards.
    pub(super) fn top(&self) -> *mut c_void {
        self.bottom().wrapping_byte_add(Self::BYTES)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no process that shares the memory runs on it any more.
        unsafe { libc::munmap(self.0, Self::GUARD_BYTES + Self::BYTES) };
    }
}
