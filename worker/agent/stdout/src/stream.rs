//! `sys.stdout` with the buffer of [`buffer`] in place of its own.
//!
//! The stream stays what it is, a plain `io.TextIOWrapper` over a plain `io.BufferedWriter`: some of their methods
//! are replaced, as attributes of these two objects. What isn't replaced works as always, since it calls those.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr,
    sync::atomic::Ordering::Relaxed,
};

use pyo3_ffi::{
    Py_IncRef, Py_TYPE, PyErr_Clear, PyImport_ImportModule, PyLong_AsLong, PyObject,
    PyObject_CallMethod, PyObject_GetAttrString, PySys_GetObject, PyTypeObject,
};

use crate::{
    binary,
    buffer::{self, Fault},
    method::some,
    text,
};

unsafe extern "C" {
    // Not in the stable interface, and the same in all versions.
    fn PySys_AddAuditHook(
        hook: unsafe extern "C" fn(*const c_char, *mut PyObject, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
}

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
    // SAFETY: as for `install`. What is looked up stays until the process ends.
    unsafe {
        let stream = PySys_GetObject(c"stdout".as_ptr());
        let io = some(PyImport_ImportModule(c"io".as_ptr()))?;
        let is_a = |object: *mut PyObject, kind: &CStr| {
            let kind = PyObject_GetAttrString(io, kind.as_ptr());
            some(object).is_some() && Py_TYPE(object) == kind.cast::<PyTypeObject>()
        };
        if !is_a(stream, c"TextIOWrapper") || binary::IS_OPEN.load(Relaxed) {
            return None;
        }
        let number = some(PyObject_CallMethod(stream, c"fileno".as_ptr(), ptr::null()))?;
        let buffer = some(PyObject_GetAttrString(stream, c"buffer".as_ptr()))?;
        if PyLong_AsLong(number) != 1 || !is_a(buffer, c"BufferedWriter") {
            return None;
        }
        Py_IncRef(stream);
        binary::install(buffer)?;
        text::install(stream)?;
        (PySys_AddAuditHook(on_event, ptr::null_mut()) == 0).then_some(())
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
