//! Methods of Python's objects that are replaced by functions of this module, and the errors that these raise.

use std::{
    cell::UnsafeCell,
    ffi::{CStr, c_int},
    ptr,
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};

use pyo3_ffi::{
    METH_KEYWORDS, METH_O, METH_VARARGS, Py_DecRef, PyCFunctionWithKeywords, PyCMethod_New,
    PyErr_SetFromErrno, PyErr_SetString, PyExc_OSError, PyExc_RuntimeError, PyMethodDef,
    PyMethodDefPointer, PyObject, PyObject_Call, PyObject_CallFunctionObjArgs,
    PyObject_GetAttrString, PyObject_SetAttrString,
};

use crate::buffer::Fault;

/// A method that is replaced: what takes its place, and what it was.
pub(crate) struct Method {
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
    pub(crate) const fn of_one(
        name: &'static CStr,
        function: unsafe extern "C" fn(*mut PyObject, *mut PyObject) -> *mut PyObject,
    ) -> Self {
        Self::new(name, PyMethodDefPointer { PyCFunction: function }, METH_O)
    }

    pub(crate) const fn of_any(name: &'static CStr, function: PyCFunctionWithKeywords) -> Self {
        let pointer = PyMethodDefPointer { PyCFunctionWithKeywords: function };
        Self::new(name, pointer, METH_VARARGS | METH_KEYWORDS)
    }

    /// Replaces it in `object`, until the process ends.
    ///
    /// # Safety
    /// The lock is held.
    pub(crate) unsafe fn replace(&self, object: *mut PyObject) -> Option<()> {
        // SAFETY: as the function says; the definition is static.
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
    pub(crate) unsafe fn call(
        &self,
        arguments: *mut PyObject,
        named: *mut PyObject,
    ) -> *mut PyObject {
        // SAFETY: as the function says.
        unsafe { PyObject_Call(self.original.load(Relaxed), arguments, named) }
    }

    /// The same with one argument, or none.
    ///
    /// # Safety
    /// As for [`Method::call`].
    pub(crate) unsafe fn call_with(&self, argument: *mut PyObject) -> *mut PyObject {
        let end: *mut PyObject = ptr::null_mut();
        // SAFETY: as the function says; the list of arguments ends with null.
        unsafe { PyObject_CallFunctionObjArgs(self.original.load(Relaxed), argument, end) }
    }
}

/// Raises what `fault` is in Python.
pub(crate) fn raise(fault: Fault) -> *mut PyObject {
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

/// `None` if an error is set.
pub(crate) fn some(object: *mut PyObject) -> Option<*mut PyObject> {
    (!object.is_null()).then_some(object)
}
