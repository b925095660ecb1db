//! `sys.stdout` with the buffer of [`buffer`] in place of its own.
//!
//! The stream stays what it is, a plain `io.TextIOWrapper` over a plain `io.BufferedWriter`: some of their methods
//! are replaced, as attributes of these two objects. What isn't replaced works as always, since it calls those.

use std::{
    cell::UnsafeCell,
    ffi::{CStr, c_char, c_int, c_void},
    mem::MaybeUninit,
    ptr, slice,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering::Relaxed},
};

use pyo3_ffi::{
    METH_KEYWORDS, METH_O, METH_VARARGS, Py_DecRef, Py_IncRef, Py_None, Py_TYPE,
    PyBytes_AsStringAndSize, PyCFunctionWithKeywords, PyCMethod_New, PyDict_GetItemString,
    PyErr_Clear, PyErr_Fetch, PyErr_Restore, PyErr_SetFromErrno, PyErr_SetString, PyExc_OSError,
    PyExc_RuntimeError, PyImport_ImportModule, PyLong_AsLong, PyLong_FromSsize_t, PyMethodDef,
    PyMethodDefPointer, PyObject, PyObject_Call, PyObject_CallFunctionObjArgs, PyObject_CallMethod,
    PyObject_GetAttrString, PyObject_IsTrue, PyObject_SetAttrString, PySys_GetObject, PyTypeObject,
    PyUnicode_AsUTF8String, PyUnicode_CompareWithASCIIString, PyUnicode_GetLength,
};

use crate::buffer::{self, Fault};

// In the stable interface since 3.11 only, or not at all, and the same in all versions that have them.
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
    fn PySys_AddAuditHook(
        hook: unsafe extern "C" fn(*const c_char, *mut PyObject, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
}

/// A method that is replaced: what takes its place, and what it was.
struct Method {
    definition: UnsafeCell<PyMethodDef>,
    original: AtomicPtr<PyObject>,
}

// SAFETY: the definition is the interpreter's, which only reads it.
unsafe impl Sync for Method {}

impl Method {
    const fn new(name: &'static CStr, ml_meth: PyMethodDefPointer, ml_flags: c_int) -> Self {
        let ml_name = name.as_ptr();
        let definition = PyMethodDef { ml_name, ml_meth, ml_flags, ml_doc: ptr::null() };
        let definition = UnsafeCell::new(definition);
        Self { definition, original: AtomicPtr::new(ptr::null_mut()) }
    }

    /// One that takes one argument.
    const fn of_one(
        name: &'static CStr,
        function: unsafe extern "C" fn(*mut PyObject, *mut PyObject) -> *mut PyObject,
    ) -> Self {
        Self::new(name, PyMethodDefPointer { PyCFunction: function }, METH_O)
    }

    const fn of_any(name: &'static CStr, function: PyCFunctionWithKeywords) -> Self {
        let pointer = PyMethodDefPointer { PyCFunctionWithKeywords: function };
        Self::new(name, pointer, METH_VARARGS | METH_KEYWORDS)
    }

    /// Replaces it in `object`, for ever.
    ///
    /// # Safety
    /// The lock is held.
    unsafe fn replace(&self, object: *mut PyObject) -> Option<()> {
        // SAFETY: as the function says; the definition lives for ever.
        unsafe {
            let name = (*self.definition.get()).ml_name;
            let original = some(PyObject_GetAttrString(object, name))?;
            self.original.store(original, Relaxed);
            let none = ptr::null_mut();
            let method = PyCMethod_New(self.definition.get(), object, none, none.cast());
            let set = PyObject_SetAttrString(object, name, some(method)?);
            Py_DecRef(method);
            (set == 0).then_some(())
        }
    }

    /// Calls what it was.
    ///
    /// # Safety
    /// The lock is held, and it was replaced.
    unsafe fn call(&self, arguments: *mut PyObject, named: *mut PyObject) -> *mut PyObject {
        // SAFETY: as the function says.
        unsafe { PyObject_Call(self.original.load(Relaxed), arguments, named) }
    }

    /// The same with one argument, or none.
    ///
    /// # Safety
    /// As for [`Method::call`].
    unsafe fn call_with(&self, argument: *mut PyObject) -> *mut PyObject {
        let end: *mut PyObject = ptr::null_mut();
        // SAFETY: as the function says; the list of arguments ends with null.
        unsafe { PyObject_CallFunctionObjArgs(self.original.load(Relaxed), argument, end) }
    }
}

static WRITE_TEXT: Method = Method::of_one(c"write", write_text);
static RECONFIGURE: Method = Method::of_any(c"reconfigure", reconfigure);
static DETACH_TEXT: Method = Method::of_any(c"detach", detach_text);
static WRITE: Method = Method::of_one(c"write", write);
static FLUSH: Method = Method::of_any(c"flush", flush);
static SEEK: Method = Method::of_any(c"seek", seek);
static TELL: Method = Method::of_any(c"tell", tell);
static TRUNCATE: Method = Method::of_any(c"truncate", truncate);
static DETACH: Method = Method::of_any(c"detach", detach);
static CLOSE: Method = Method::of_any(c"close", close);

/// Whether the `io.BufferedWriter` is neither closed nor detached.
static IS_OPEN: AtomicBool = AtomicBool::new(false);
/// The same of the `io.TextIOWrapper`.
static HAS_TEXT: AtomicBool = AtomicBool::new(false);
/// Whether text is written as UTF-8 and line ends as they are.
static IS_PLAIN: AtomicBool = AtomicBool::new(false);
static HAS_PLAIN_NEWLINE: AtomicBool = AtomicBool::new(true);
static IS_LINE_BUFFERED: AtomicBool = AtomicBool::new(false);
/// Whether the next flush is only to bring text into the buffer.
static KEEPS_PENDING: AtomicBool = AtomicBool::new(false);

/// Gives `sys.stdout` the buffer, if it is what the interpreter makes of descriptor 1; says whether it is.
///
/// # Safety
/// The lock is held. Called once.
pub(crate) unsafe fn install() -> bool {
    // SAFETY: as the function says.
    let installed = unsafe { try_install() }.is_some();
    if !installed {
        // SAFETY: as the function says.
        unsafe { PyErr_Clear() };
    }
    installed
}

unsafe fn try_install() -> Option<()> {
    // SAFETY: as for `install`. What is looked up stays for ever.
    unsafe {
        let text = PySys_GetObject(c"stdout".as_ptr());
        let io = some(PyImport_ImportModule(c"io".as_ptr()))?;
        let is_a = |object: *mut PyObject, kind: &CStr| {
            let kind = PyObject_GetAttrString(io, kind.as_ptr());
            some(object).is_some() && Py_TYPE(object) == kind.cast::<PyTypeObject>()
        };
        if !is_a(text, c"TextIOWrapper") || IS_OPEN.load(Relaxed) {
            return None;
        }
        let number = some(PyObject_CallMethod(text, c"fileno".as_ptr(), ptr::null()))?;
        let buffer = some(PyObject_GetAttrString(text, c"buffer".as_ptr()))?;
        if PyLong_AsLong(number) != 1 || !is_a(buffer, c"BufferedWriter") {
            return None;
        }
        Py_IncRef(text);
        for method in [&WRITE, &FLUSH, &SEEK, &TELL, &TRUNCATE, &DETACH, &CLOSE] {
            method.replace(buffer)?;
        }
        for method in [&WRITE_TEXT, &RECONFIGURE, &DETACH_TEXT] {
            method.replace(text)?;
        }
        IS_OPEN.store(true, Relaxed);
        HAS_TEXT.store(true, Relaxed);
        look_at(text)?;
        (PySys_AddAuditHook(on_event, ptr::null_mut()) == 0).then_some(())
    }
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
unsafe extern "C" fn write_text(stream: *mut PyObject, text: *mut PyObject) -> *mut PyObject {
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
        let written = WRITE_TEXT.call_with(text);
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

unsafe extern "C" fn detach_text(
    _: *mut PyObject,
    arguments: *mut PyObject,
    named: *mut PyObject,
) -> *mut PyObject {
    // SAFETY: the lock is held; arguments are borrowed.
    let buffer = unsafe { DETACH_TEXT.call(arguments, named) };
    if !buffer.is_null() {
        HAS_TEXT.store(false, Relaxed);
    }
    buffer
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

/// Events after which another process may write to the same stdout.
const NEW_PROGRAMS: [&CStr; 6] =
    [c"subprocess.Popen", c"os.fork", c"os.forkpty", c"os.exec", c"os.posix_spawn", c"os.system"];

/// What is printed before a process is started comes before what that one prints.
unsafe extern "C" fn on_event(event: *const c_char, _: *mut PyObject, _: *mut c_void) -> c_int {
    // SAFETY: events are C strings.
    let event = unsafe { CStr::from_ptr(event) };
    if !matches!(event.to_bytes().first(), Some(b'o' | b's')) || !NEW_PROGRAMS.contains(&event) {
        return 0;
    }
    match buffer::push() {
        Err(Fault::Raised) => -1,
        // That it can't be written is told by the flush that would write it.
        _ => 0,
    }
}

/// Raises what `fault` is in Python.
fn raise(fault: Fault) -> *mut PyObject {
    // SAFETY: the lock is held.
    unsafe {
        match fault {
            Fault::Raised => {}
            Fault::System(error) => {
                *libc::__errno_location() = error.raw_os_error().unwrap_or(libc::EIO);
                PyErr_SetFromErrno(PyExc_OSError);
            }
            Fault::Reentrant => PyErr_SetString(
                PyExc_RuntimeError,
                c"reentrant call inside <_io.BufferedWriter name='<stdout>'>".as_ptr(),
            ),
        }
    }
    ptr::null_mut()
}

fn some(object: *mut PyObject) -> Option<*mut PyObject> {
    (!object.is_null()).then_some(object)
}
