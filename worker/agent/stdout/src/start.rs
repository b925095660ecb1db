//! What is done when an interpreter imports this as `sitecustomize`: it has just made its streams, and has run
//! nothing of the program.

use std::{
    cell::UnsafeCell,
    ffi::{CStr, CString, c_int, c_void},
    os::fd::{FromRawFd, OwnedFd},
    ptr,
};

use pyo3_ffi::{
    Py_DecRef, Py_IncRef, Py_mod_exec, PyDict_DelItemString, PyDict_GetItemString,
    PyDict_SetItemString, PyErr_Clear, PyImport_GetModuleDict, PyImport_ImportModule, PyModuleDef,
    PyModuleDef_HEAD_INIT, PyModuleDef_Init, PyModuleDef_Slot, PyObject, PyObject_CallMethod,
    PyObject_GetAttrString, PySys_GetObject,
};
use sandfleet_agent::pending_output::{
    Area, DESCRIPTOR, MODULE_DIRECTORY, PATH_VARIABLE, restore_environment,
};

/// Something that the interpreter keeps for itself once it was given it.
struct Given<T>(UnsafeCell<T>);

// SAFETY: only the interpreter touches what is inside, and only under its lock.
unsafe impl<T> Sync for Given<T> {}

const NAME: &CStr = c"sitecustomize";

static SLOTS: Given<[PyModuleDef_Slot; 2]> = Given(UnsafeCell::new([
    PyModuleDef_Slot { slot: Py_mod_exec, value: start as *mut c_void },
    PyModuleDef_Slot { slot: 0, value: ptr::null_mut() },
]));

static MODULE: Given<PyModuleDef> = Given(UnsafeCell::new(PyModuleDef {
    m_base: PyModuleDef_HEAD_INIT,
    m_name: NAME.as_ptr(),
    m_doc: ptr::null(),
    m_size: 0,
    m_methods: ptr::null_mut(),
    m_slots: SLOTS.0.get().cast(),
    m_traverse: None,
    m_clear: None,
    m_free: None,
}));

/// What the interpreter calls to have the module.
#[unsafe(no_mangle)]
unsafe extern "C" fn PyInit_sitecustomize() -> *mut PyObject {
    // SAFETY: the definition is static and is the interpreter's from here on.
    unsafe { PyModuleDef_Init(MODULE.0.get()) }
}

/// Never fails: a program runs without all this, too.
unsafe extern "C" fn start(ours: *mut PyObject) -> c_int {
    // SAFETY: the lock is held. The agent has opened the descriptor for this module, which nothing else in the
    // interpreter knows of.
    unsafe {
        let file = OwnedFd::from_raw_fd(DESCRIPTOR);
        // Without an area it writes at once.
        if crate::install()
            && let Ok(area) = Area::whole(&file)
        {
            crate::attach(area);
        }
        drop(file);
        hide();
        become_the_hosts_own(ours);
        PyErr_Clear();
    }
    0
}

/// Takes back all by which the interpreter has found this.
unsafe fn hide() {
    // SAFETY: the lock is held. What is looked up is borrowed, or given up again.
    unsafe {
        let directory = CString::new(MODULE_DIRECTORY).unwrap_or_default();
        for (list, method) in [(c"path", c"remove"), (c"path_importer_cache", c"pop")] {
            let list = PySys_GetObject(list.as_ptr());
            if !list.is_null() {
                drop_object(PyObject_CallMethod(
                    list,
                    method.as_ptr(),
                    c"s".as_ptr(),
                    directory.as_ptr(),
                ));
            }
        }
        let os = PyImport_ImportModule(c"os".as_ptr());
        let environment = match os.is_null() {
            true => os,
            false => PyObject_GetAttrString(os, c"environ".as_ptr()),
        };
        if environment.is_null() {
            return;
        }
        let name = CString::new(PATH_VARIABLE).unwrap_or_default();
        drop_object(match restore_environment() {
            None => PyObject_CallMethod(environment, c"pop".as_ptr(), c"s".as_ptr(), name.as_ptr()),
            Some(theirs) => PyObject_CallMethod(
                environment,
                c"__setitem__".as_ptr(),
                c"ss".as_ptr(),
                name.as_ptr(),
                theirs.as_ptr(),
            ),
        });
        drop_object(environment);
        drop_object(os);
    }
}

/// Imports the module that this one has come before, if there is one.
unsafe fn become_the_hosts_own(ours: *mut PyObject) {
    // SAFETY: the lock is held; the dictionary is borrowed, and takes what it is given.
    unsafe {
        let modules = PyImport_GetModuleDict();
        Py_IncRef(ours);
        PyDict_DelItemString(modules, NAME.as_ptr());
        drop_object(PyImport_ImportModule(NAME.as_ptr()));
        PyErr_Clear();
        if PyDict_GetItemString(modules, NAME.as_ptr()).is_null() {
            // A program that imports this looks for it there.
            PyDict_SetItemString(modules, NAME.as_ptr(), ours);
        }
        Py_DecRef(ours);
    }
}

unsafe fn drop_object(object: *mut PyObject) {
    // SAFETY: the lock is held, and the object is the caller's.
    unsafe {
        match object.is_null() {
            true => PyErr_Clear(),
            false => Py_DecRef(object),
        }
    }
}
