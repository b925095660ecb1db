//! The memory itself: a page with a header, and the bytes.
#![allow(unsafe_code)]

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    ptr::{self, NonNull},
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
};

use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create},
    mm::{MapFlags, ProtFlags, mmap, munmap},
};

/// How many bytes fit.
pub const CAPACITY: usize = 64 << 10;

/// Where they begin; before them is the header.
pub(crate) const DATA: usize = 4096;

/// How much the program writes in one call: a pipe takes so much wholly or not at all.
pub const WRITE_SIZE: usize = 4096;

/// What [`Header::magic`] is, with the version of all this in its last byte.
pub const MAGIC: u64 = u64::from_le_bytes(*b"printed\x01");

/// [`Header::state`]: neither side works on it.
pub const FREE: u32 = 0;
/// The program writes to its stdout what is there.
pub const FLUSHING: u32 = 1;
/// PID 1 takes what is there; the program has to wait before it flushes, and not to append.
pub(crate) const TAKING: u32 = 2;

/// What both sides know about the bytes. Those from `taken` to `end` are pending.
#[repr(C)]
#[derive(Debug)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: AtomicU64,
    /// How many bytes the program has written to its stdout from here.
    pub written: AtomicU64,
    /// [`FREE`], or who has it.
    pub state: AtomicU32,
    /// Set by the program.
    pub end: AtomicU32,
    /// Set by who has it.
    pub taken: AtomicU32,
    /// The piece that the program writes just now: where it begins, and how long it is.
    pub write_from: AtomicU32,
    /// Zero while it writes nothing.
    pub write_length: AtomicU32,
    /// Not zero if the last write failed: what is pending has no way out.
    pub refused: AtomicU32,
}

impl Header {
    /// The header of bytes that no other process reads.
    pub const fn private() -> Self {
        Self {
            magic: AtomicU64::new(MAGIC),
            written: AtomicU64::new(0),
            state: AtomicU32::new(FREE),
            end: AtomicU32::new(0),
            taken: AtomicU32::new(0),
            write_from: AtomicU32::new(0),
            write_length: AtomicU32::new(0),
            refused: AtomicU32::new(0),
        }
    }

    /// Forgets what is pending.
    pub fn reset(&self) {
        for number in [&self.state, &self.end, &self.taken, &self.write_length] {
            number.store(0, Ordering::Relaxed);
        }
    }
}

/// A new area, as a file that can't be made shorter or longer.
///
/// # Errors
/// If it can't be had.
pub fn file() -> io::Result<OwnedFd> {
    let file = memfd_create("stdout", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, (DATA + CAPACITY) as u64)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    rustix::io::pwrite(&file, &MAGIC.to_ne_bytes(), 0)?;
    Ok(file)
}

/// An area in this process's memory, shared with every process that has its file.
#[derive(Debug)]
pub struct Area {
    start: NonNull<u8>,
    length: usize,
}

impl Area {
    /// Shares all of `file`.
    ///
    /// # Errors
    /// If it can't be mapped.
    pub fn whole(file: impl AsFd) -> io::Result<Self> {
        Self::map(file.as_fd(), DATA + CAPACITY)
    }

    /// Shares only the header.
    pub(crate) fn header_of(file: impl AsFd) -> io::Result<Self> {
        Self::map(file.as_fd(), DATA)
    }

    fn map(file: std::os::fd::BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        // SAFETY: a new mapping, at a place that the kernel chooses.
        let start = unsafe {
            let access = ProtFlags::READ | ProtFlags::WRITE;
            mmap(ptr::null_mut(), length, access, MapFlags::SHARED, file, 0)
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    /// The header.
    pub fn header(&self) -> &Header {
        // SAFETY: the mapping lives as long as `self`, begins with a page of its own, and whatever is in there
        // is a value of these types: all are atomic, since another process may change them at any time.
        unsafe { self.start.cast().as_ref() }
    }

    /// Where the bytes are.
    pub fn data(&self) -> *mut u8 {
        // SAFETY: within the mapping, or just past it.
        unsafe { self.start.as_ptr().add(DATA) }
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: what was mapped, and nothing that borrows it is left.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.length) };
        debug_assert!(unmapped.is_ok());
    }
}
