//! The buffer: bytes that are printed, until they are written to descriptor 1 or PID 1 takes them.
//!
//! All of it is called with the interpreter's lock held, which [`push`] gives up while it writes. A forked child
//! doesn't share its parent's area: it has a buffer that no other process reads, and so writes line by line.

use std::{
    cell::UnsafeCell,
    io,
    ptr::{self, NonNull},
    sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU64,
        Ordering::{AcqRel, Acquire, Relaxed, Release},
    },
    time::Duration,
};

use pyo3_ffi::{PyErr_CheckSignals, PyEval_RestoreThread, PyEval_SaveThread};
use sandfleet_agent::pending_output::{Area, CAPACITY, FLUSHING, FREE, Header, WRITE_SIZE};

/// Where pieces go that PID 1 can't read.
struct Private(UnsafeCell<[u8; WRITE_SIZE]>);

// SAFETY: touched with the interpreter's lock held only.
unsafe impl Sync for Private {}

static PRIVATE: Private = Private(UnsafeCell::new([0; WRITE_SIZE]));
static PRIVATE_HEADER: Header = Header::private();

/// The area's header and its bytes; null while they are [`PRIVATE`].
static HEADER: AtomicPtr<Header> = AtomicPtr::new(ptr::null_mut());
static DATA: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

/// The thread that is in [`push`]; zero if none is.
static WRITER: AtomicU64 = AtomicU64::new(0);
static HAS_FORK_HANDLER: AtomicBool = AtomicBool::new(false);

/// Why bytes couldn't be written.
pub(crate) enum Fault {
    /// The system says so.
    System(io::Error),
    /// A signal's handler raised an exception, which is set.
    Raised,
    /// A signal's handler prints while this thread writes.
    Reentrant,
}

/// Uses `area` from here on, until the process ends.
pub(crate) fn attach(area: Area) {
    if !HAS_FORK_HANDLER.swap(true, Relaxed) {
        // SAFETY: the handler is never unloaded, and does nothing but store to atomics.
        unsafe { libc::pthread_atfork(None, None, Some(leave_area)) };
    }
    let area = Box::leak(Box::new(area));
    DATA.store(area.data(), Relaxed);
    HEADER.store(ptr::from_ref(area.header()).cast_mut(), Release);
}

/// In a forked child: what its parent has pending isn't its own.
extern "C" fn leave_area() {
    HEADER.store(ptr::null_mut(), Relaxed);
    DATA.store(ptr::null_mut(), Relaxed);
    WRITER.store(0, Relaxed);
    PRIVATE_HEADER.reset();
}

fn private() -> NonNull<u8> {
    // Never null.
    NonNull::new(PRIVATE.0.get().cast()).unwrap_or(NonNull::dangling())
}

fn parts() -> (&'static Header, NonNull<u8>, usize) {
    // SAFETY: what `attach` has leaked.
    match (unsafe { HEADER.load(Relaxed).as_ref() }, NonNull::new(DATA.load(Relaxed))) {
        (Some(header), Some(data)) => (header, data, CAPACITY),
        _ => (&PRIVATE_HEADER, private(), WRITE_SIZE),
    }
}

/// Appends `bytes`, and makes room where there is none.
pub(crate) fn append(mut bytes: &[u8]) -> Result<(), Fault> {
    let whole = bytes;
    loop {
        let (header, data, capacity) = parts();
        let end = (header.end.load(Relaxed) as usize).min(capacity);
        let fits = bytes.len().min(capacity - end);
        // All of what is small, or none: lines of several processes stay whole.
        if fits == bytes.len() || bytes.len() > capacity {
            // SAFETY: there is room; nothing else writes there, and who reads it knows that it may change.
            unsafe {
                ptr::copy_nonoverlapping(bytes.as_ptr(), data.as_ptr().add(end), fits);
            }
            header.end.store((end + fits) as u32, Release);
            bytes = &bytes[fits..];
        }
        if !bytes.is_empty() {
            push()?;
            continue;
        }
        return match capacity < CAPACITY && whole.contains(&b'\n') {
            true => push(),
            false => Ok(()),
        };
    }
}

/// Writes all that is pending to descriptor 1.
pub(crate) fn push() -> Result<(), Fault> {
    // SAFETY: takes nothing.
    let this = unsafe { libc::pthread_self() } as u64;
    loop {
        let (header, ..) = parts();
        if header.end.load(Relaxed) == 0 {
            return Ok(());
        }
        if WRITER.load(Relaxed) == this {
            return Err(Fault::Reentrant);
        }
        if WRITER.load(Relaxed) == 0
            && header.state.compare_exchange(FREE, FLUSHING, AcqRel, Relaxed).is_ok()
        {
            WRITER.store(this, Relaxed);
            break;
        }
        // Another thread writes, or PID 1 is taking what is there, which doesn't last.
        without_lock(|| std::thread::sleep(Duration::from_micros(50)));
    }
    let written = write_all();
    let (header, ..) = parts();
    WRITER.store(0, Relaxed);
    header.state.store(FREE, Release);
    written
}

fn write_all() -> Result<(), Fault> {
    loop {
        // In a child that a signal's handler has forked meanwhile it is another one.
        let (header, data, capacity) = parts();
        let end = (header.end.load(Acquire) as usize).min(capacity);
        let taken = (header.taken.load(Relaxed) as usize).min(end);
        if taken == end {
            // In this order: nothing is pending from a beginning behind the end.
            header.end.store(0, Release);
            header.taken.store(0, Release);
            return Ok(());
        }
        let length = (end - taken).min(WRITE_SIZE);
        header.write_from.store(taken as u32, Relaxed);
        header.write_length.store(length as u32, Release);
        let written = without_lock(|| {
            // SAFETY: so many bytes are there.
            let written = unsafe { libc::write(1, data.as_ptr().add(taken).cast(), length) };
            usize::try_from(written).map_err(|_| io::Error::last_os_error())
        });
        if let Ok(written) = written {
            header.taken.store((taken + written) as u32, Release);
            header.written.fetch_add(written as u64, Release);
        }
        header.write_length.store(0, Release);
        match written {
            Ok(_) => header.refused.store(0, Relaxed),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                // SAFETY: the lock is held.
                if unsafe { PyErr_CheckSignals() } != 0 {
                    return Err(Fault::Raised);
                }
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    header.refused.store(1, Relaxed);
                }
                return Err(Fault::System(error));
            }
        }
    }
}

/// Does something that may last while other threads run.
fn without_lock<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: the lock is held, and is so again.
    unsafe {
        let thread = PyEval_SaveThread();
        let done = work();
        PyEval_RestoreThread(thread);
        done
    }
}
