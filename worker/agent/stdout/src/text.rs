//! The `io.TextIOWrapper` that is `sys.stdout`: what it writes goes to the buffer at once.

use std::{
    ptr, slice,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use pyo3_ffi::{
    Py_DecRef, Py_None, PyBytes_AsStringAndSize, PyDict_GetItemString, PyErr_Clear,
    PyLong_FromSsize_t, PyObject, PyObject_CallMethod, PyObject_GetAttrString, PyObject_IsTrue,
    PyUnicode_AsUTF8String, PyUnicode_CompareWithASCIIString, PyUnicode_GetLength,
};

use crate::{
    binary::{IS_OPEN, KEEPS_PENDING},
    buffer,
    method::{Method, raise, some},
};

static WRITE: Method = Method::of_one(c"write", write);
static RECONFIGURE: Method = Method::of_any(c"reconfigure", reconfigure);
static DETACH: Method = Method::of_any(c"detach", detach);

/// Whether it is neither closed nor detached.
static HAS_TEXT: AtomicBool = AtomicBool::new(false);
/// Whether text is written as UTF-8 and line ends as they are.
static IS_PLAIN: AtomicBool = AtomicBool::new(false);
static HAS_PLAIN_NEWLINE: AtomicBool = AtomicBool::new(true);
static IS_LINE_BUFFERED: AtomicBool = AtomicBool::new(false);

/// Replaces the methods of `stream`.
///
/// # Safety
/// The lock is held. Called once.
pub(crate) unsafe fn install(stream: *mut PyObject) -> Option<()> {
    for method in [&WRITE, &RECONFIGURE, &DETACH] {
        // SAFETY: as the function says.
        unsafe { method.replace(stream) }?;
    }
    HAS_TEXT.store(true, Relaxed);
    // SAFETY: as the function says.
    unsafe { look_at(stream) }
}

/// Looks at how `text` is encoded.
unsafe fn look_at(text: *mut PyObject) -> Option<()> {
    // SAFETY: the lock is held.
    unsafe {
        let encoding = some(PyObject_GetAttrString(text, c"encoding".as_ptr()))?;
        let is_utf8 = [c"utf-8", c"UTF-8", c"utf8"]
            .iter()
            .any(|name| PyUnicode_CompareWithASCIIString(encoding, name.as_ptr()) == 0);
        Py_DecRef(encoding);
        let by_line = some(PyObject_GetAttrString(text, c"line_buffering".as_ptr()))?;
        IS_LINE_BUFFERED.store(PyObject_IsTrue(by_line) == 1, Relaxed);
        Py_DecRef(by_line);
        IS_PLAIN.store(is_utf8 && HAS_PLAIN_NEWLINE.load(Relaxed), Relaxed);
        Some(())
    }
}

/// `sys.stdout.write(text)`.
unsafe extern "C" fn write(stream: *mut PyObject, text: *mut PyObject) -> *mut PyObject {
    // SAFETY: the lock is held; arguments are borrowed.
    unsafe {
        if IS_PLAIN.load(Relaxed) && HAS_TEXT.load(Relaxed) && IS_OPEN.load(Relaxed) {
            let encoded = PyUnicode_AsUTF8String(text);
            if !encoded.is_null() {
                let (mut start, mut length) = (ptr::null_mut(), 0);
                PyBytes_AsStringAndSize(encoded, &mut start, &mut length);
                let bytes = slice::from_raw_parts(start.cast::<u8>(), length as usize);
                let mut appended = buffer::append(bytes);
                if appended.is_ok()
                    && IS_LINE_BUFFERED.load(Relaxed)
                    && bytes.iter().any(|byte| matches!(byte, b'\n' | b'\r'))
                {
                    appended = buffer::push();
                }
                Py_DecRef(encoded);
                return match appended {
                    Ok(()) => PyLong_FromSsize_t(PyUnicode_GetLength(text)),
                    Err(fault) => raise(fault),
                };
            }
            // No text, or text that is up to the stream's handler of errors.
            PyErr_Clear();
        }
        let written = WRITE.call_with(text);
        if !written.is_null() {
            // It is in the stream's own buffer, which PID 1 can't read.
            KEEPS_PENDING.store(true, Relaxed);
            let flushed = PyObject_CallMethod(stream, c"flush".as_ptr(), ptr::null());
            KEEPS_PENDING.store(false, Relaxed);
            if flushed.is_null() {
                Py_DecRef(written);
                return flushed;
            }
            Py_DecRef(flushed);
        }
        written
    }
}

unsafe extern "C" fn reconfigure(
    stream: *mut PyObject,
    arguments: *mut PyObject,
    named: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the lock is held; arguments are borrowed.
    unsafe {
        let done = RECONFIGURE.call(arguments, named);
        if done.is_null() {
            return done;
        }
        if !named.is_null() {
            let newline = PyDict_GetItemString(named, c"newline".as_ptr());
            if !newline.is_null() {
                let is_plain = newline == Py_None()
                    || [c"", c"\n"].iter().any(|plain| {
                        PyUnicode_CompareWithASCIIString(newline, plain.as_ptr()) == 0
                    });
                HAS_PLAIN_NEWLINE.store(is_plain, Relaxed);
            }
        }
        match look_at(stream) {
            Some(()) => done,
            None => {
                Py_DecRef(done);
                ptr::null_mut()
            }
        }
    }
}

unsafe extern "C" fn detach(
    _: *mut PyObject,
    arguments: *mut PyObject,
    named: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the lock is held; arguments are borrowed.
    let buffer = unsafe { DETACH.call(arguments, named) };
    if !buffer.is_null() {
        HAS_TEXT.store(false, Relaxed);
    }
    buffer
}
