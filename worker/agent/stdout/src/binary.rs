//! The `io.BufferedWriter` below `sys.stdout`: its buffer is the one of [`buffer`].

use std::{
    ffi::{c_int, c_void},
    mem::MaybeUninit,
    ptr, slice,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use pyo3_ffi::{Py_DecRef, PyErr_Clear, PyErr_Fetch, PyErr_Restore, PyLong_FromSsize_t, PyObject};

use crate::{
    buffer,
    method::{Method, raise},
};

// In the stable interface since 3.11 only, and the same in all versions.
/// `Py_buffer`.
#[repr(C)]
struct View {
    start: *mut c_void,
    object: *mut PyObject,
    length: isize,
    item_size: isize,
    is_read_only: c_int,
    dimensions: c_int,
    rest: [*mut c_void; 5],
}

unsafe extern "C" {
    fn PyObject_GetBuffer(object: *mut PyObject, view: *mut View, flags: c_int) -> c_int;
    fn PyBuffer_Release(view: *mut View);
}

static WRITE: Method = Method::of_one(c"write", write);
static FLUSH: Method = Method::of_any(c"flush", flush);
static SEEK: Method = Method::of_any(c"seek", seek);
static TELL: Method = Method::of_any(c"tell", tell);
static TRUNCATE: Method = Method::of_any(c"truncate", truncate);
static DETACH: Method = Method::of_any(c"detach", detach);
static CLOSE: Method = Method::of_any(c"close", close);

/// Whether it is neither closed nor detached.
pub(crate) static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// Whether the next flush is only to bring text into the buffer.
pub(crate) static KEEPS_PENDING: AtomicBool = AtomicBool::new(false);

/// Replaces the methods of `stream`.
///
/// # Safety
/// The lock is held. Called once.
pub(crate) unsafe fn install(stream: *mut PyObject) -> Option<()> {
    for method in [&WRITE, &FLUSH, &SEEK, &TELL, &TRUNCATE, &DETACH, &CLOSE] {
        // SAFETY: as the function says.
        unsafe { method.replace(stream) }?;
    }
    IS_OPEN.store(true, Relaxed);
    Some(())
}

/// `sys.stdout.buffer.write(bytes)`.
unsafe extern "C" fn write(_: *mut PyObject, bytes: *mut PyObject) -> *mut PyObject {
    // SAFETY: the lock is held; the argument is borrowed, and its bytes stay while the view does.
    unsafe {
        let mut view = MaybeUninit::<View>::uninit();
        if !IS_OPEN.load(Relaxed) || PyObject_GetBuffer(bytes, view.as_mut_ptr(), 0) != 0 {
            PyErr_Clear();
            return WRITE.call_with(bytes);
        }
        let (start, length) = ((*view.as_ptr()).start, (*view.as_ptr()).length);
        let appended = match length {
            0 => Ok(()),
            _ => buffer::append(slice::from_raw_parts(start.cast(), length as usize)),
        };
        PyBuffer_Release(view.as_mut_ptr());
        match appended {
            Ok(()) => PyLong_FromSsize_t(length),
            Err(fault) => raise(fault),
        }
    }
}

unsafe extern "C" fn flush(
    _: *mut PyObject,
    arguments: *mut PyObject,
    named: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the lock is held; arguments are borrowed.
    unsafe {
        match KEEPS_PENDING.load(Relaxed) {
            true => FLUSH.call(arguments, named),
            false => push_and_call(&FLUSH, arguments, named),
        }
    }
}

unsafe extern "C" fn seek(
    _: *mut PyObject,
    arguments: *mut PyObject,
    named: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the lock is held; arguments are borrowed.
    unsafe { push_and_call(&SEEK, arguments, named) }
}

unsafe extern "C" fn tell(
    _: *mut PyObject,
    arguments: *mut PyObject,
    named: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the lock is held; arguments are borrowed.
    unsafe { push_and_call(&TELL, arguments, named) }
}

unsafe extern "C" fn truncate(
    _: *mut PyObject,
    arguments: *mut PyObject,
    named: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the lock is held; arguments are borrowed.
    unsafe { push_and_call(&TRUNCATE, arguments, named) }
}

unsafe extern "C" fn detach(
    _: *mut PyObject,
    arguments: *mut PyObject,
    named: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the lock is held; arguments are borrowed.
    let raw = unsafe { push_and_call(&DETACH, arguments, named) };
    if !raw.is_null() {
        IS_OPEN.store(false, Relaxed);
    }
    raw
}

/// Closes it even if what is pending can't be written.
unsafe extern "C" fn close(
    _: *mut PyObject,
    arguments: *mut PyObject,
    named: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the lock is held; arguments are borrowed. What is fetched is given back.
    unsafe {
        let pushed = if IS_OPEN.swap(false, Relaxed) { buffer::push() } else { Ok(()) };
        let Err(fault) = pushed else { return CLOSE.call(arguments, named) };
        raise(fault);
        let [mut kind, mut value, mut traceback] = [ptr::null_mut(); 3];
        PyErr_Fetch(&mut kind, &mut value, &mut traceback);
        let closed = CLOSE.call(arguments, named);
        if !closed.is_null() {
            Py_DecRef(closed);
        }
        PyErr_Restore(kind, value, traceback);
        ptr::null_mut()
    }
}

unsafe fn push_and_call(
    method: &Method,
    arguments: *mut PyObject,
    named: *mut PyObject,
) -> *mut PyObject {
    let pushed = if IS_OPEN.load(Relaxed) { buffer::push() } else { Ok(()) };
    match pushed {
        // SAFETY: the lock is held, and arguments are borrowed.
        Ok(()) => unsafe { method.call(arguments, named) },
        Err(fault) => raise(fault),
    }
}
