//! What is used of CPython's C interface.
//!
//! All of it is called with the interpreter's lock held, in its only thread, and in interpreters that
//! `sitecustomize.py` has found to be of a version and a build that these layouts are those of: what structures
//! look like, and what functions take, is from `pyo3-ffi`, for CPython's stable interface since 3.9.
#![allow(unsafe_code)]

use std::{
    cell::UnsafeCell,
    ffi::{CStr, c_char, c_int, c_void},
    io, ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use pyo3_ffi::{
    METH_VARARGS, Py_DecRef, Py_Exit, Py_FinalizeEx, Py_IncRef, Py_None, Py_file_input,
    PyDict_Next, PyErr_ExceptionMatches, PyErr_Fetch, PyErr_NormalizeException, PyErr_Print,
    PyErr_SetString, PyExc_KeyboardInterrupt, PyExc_OSError, PyExc_SystemExit, PyImport_AddModule,
    PyList_Append, PyList_New, PyList_SetItem, PyLong_AsLong, PyLong_FromLong, PyMethodDef,
    PyMethodDefPointer, PyModule_Create, PyModule_GetDict, PyModuleDef, PyModuleDef_HEAD_INIT,
    PyOS_AfterFork_Child, PyOS_AfterFork_Parent, PyOS_BeforeFork, PyObject,
    PyObject_CallFunctionObjArgs, PyObject_CallObject, PySet_Contains, PyTuple_GetItem,
    PyTuple_New, PyTuple_SetItem, PyUnicode_DecodeFSDefaultAndSize,
};
use sandfleet_agent::warm::{self, Changes, Forking};

/// Something that the interpreter keeps for itself once it was given it.
struct Given<T>(UnsafeCell<T>);

// SAFETY: only the interpreter touches what is inside, and only under its lock.
unsafe impl<T> Sync for Given<T> {}

// Not of the stable interface, and the same in every version that is known: sitecustomize.py names these.
unsafe extern "C" {
    fn PyRun_FileExFlags(
        file: *mut libc::FILE,
        name: *const c_char,
        start: c_int,
        globals: *mut PyObject,
        locals: *mut PyObject,
        close: c_int,
        flags: *mut c_void,
    ) -> *mut PyObject;
    fn PySys_AddAuditHook(
        hook: unsafe extern "C" fn(*const c_char, *mut PyObject, *mut c_void) -> c_int,
        data: *mut c_void,
    ) -> c_int;
    fn PyUnicode_AsUTF8(text: *mut PyObject) -> *const c_char;
}

static METHODS: Given<[PyMethodDef; 3]> = Given(UnsafeCell::new([
    PyMethodDef {
        ml_name: c"run_with".as_ptr(),
        ml_meth: PyMethodDefPointer { PyCFunction: run_with },
        ml_flags: METH_VARARGS,
        ml_doc: ptr::null(),
    },
    PyMethodDef {
        ml_name: c"added".as_ptr(),
        ml_meth: PyMethodDefPointer { PyCFunction: added },
        ml_flags: METH_VARARGS,
        ml_doc: ptr::null(),
    },
    PyMethodDef::zeroed(),
]));

static MODULE: Given<PyModuleDef> = Given(UnsafeCell::new(PyModuleDef {
    m_base: PyModuleDef_HEAD_INIT,
    m_name: c"_warm".as_ptr(),
    m_doc: ptr::null(),
    m_size: -1,
    m_methods: METHODS.0.get().cast(),
    m_slots: ptr::null_mut(),
    m_traverse: None,
    m_clear: None,
    m_free: None,
}));

/// What the interpreter calls to have the module.
#[unsafe(no_mangle)]
unsafe extern "C" fn PyInit__warm() -> *mut PyObject {
    // SAFETY: the definition lives for ever and is the interpreter's from here on.
    unsafe { PyModule_Create(MODULE.0.get()) }
}

/// What the interpreter's own fork does before it forks.
///
/// # Safety
/// The lock is held, and one of the following is called next.
pub(crate) unsafe fn before_fork() {
    // SAFETY: as the caller promises.
    unsafe { PyOS_BeforeFork() }
}

/// What it does afterwards, in the parent.
///
/// # Safety
/// The lock is held, and [`before_fork`] was called before.
pub(crate) unsafe fn after_fork_in_parent() {
    // SAFETY: as the caller promises.
    unsafe { PyOS_AfterFork_Parent() }
}

/// What it does afterwards, in the child.
///
/// # Safety
/// As for [`after_fork_in_parent`].
pub(crate) unsafe fn after_fork_in_child() {
    // SAFETY: as the caller promises.
    unsafe { PyOS_AfterFork_Child() }
}

/// `changes` as the arguments of `begin`: the command, and the environment in pairs; `None` for what is as
/// it was.
///
/// # Safety
/// The lock is held. Every new object is given to the list or tuple that it is put into.
unsafe fn given(changes: &Changes) -> *mut PyObject {
    // SAFETY: pointers and lengths are those of living strings, which are copied.
    let text = |text: &str| unsafe {
        PyUnicode_DecodeFSDefaultAndSize(text.as_ptr().cast(), text.len() as isize)
    };
    // SAFETY: as the function says; the list has room for as many items as there are.
    let list = |items: &mut dyn ExactSizeIterator<Item = *mut PyObject>| unsafe {
        let list = PyList_New(items.len() as isize);
        for (index, item) in items.enumerate() {
            PyList_SetItem(list, index as isize, item);
        }
        list
    };
    // SAFETY: as the function says; `None` is counted like any other object.
    unsafe {
        let none = Py_None();
        Py_IncRef(none);
        Py_IncRef(none);
        let command = changes
            .command
            .as_ref()
            .map_or(none, |command| list(&mut command.iter().map(|part| text(part))));
        let environment = changes.environment.as_ref().map_or(none, |environment| {
            list(&mut environment.iter().map(|(name, value)| pair(text(name), text(value))))
        });
        pair(command, environment)
    }
}

/// # Safety
/// The lock is held, and both objects are given away.
unsafe fn pair(one: *mut PyObject, other: *mut PyObject) -> *mut PyObject {
    // SAFETY: as the function says.
    unsafe {
        let pair = PyTuple_New(2);
        PyTuple_SetItem(pair, 0, one);
        PyTuple_SetItem(pair, 1, other);
        pair
    }
}

/// `added(dictionary, known)`: its keys that aren't in the set `known`. A loop in Python would count
/// itself a user of every key, and so write to every page that one is on.
unsafe extern "C" fn added(_: *mut PyObject, arguments: *mut PyObject) -> *mut PyObject {
    // SAFETY: the lock is held; the arguments are a tuple with a dictionary and a set, and what they
    // and the dictionary hold is borrowed. Keys are strings, unless the program has put something else
    // there, and then it is its own memory that it may put into disorder.
    unsafe {
        let (dictionary, known) = (PyTuple_GetItem(arguments, 0), PyTuple_GetItem(arguments, 1));
        let found = PyList_New(0);
        let mut position = 0;
        let [mut key, mut value] = [ptr::null_mut(); 2];
        while PyDict_Next(dictionary, &mut position, &mut key, &mut value) != 0 {
            let is_found = match PySet_Contains(known, key) {
                0 => PyList_Append(found, key),
                known => known.min(0),
            };
            if is_found < 0 {
                Py_DecRef(found);
                return ptr::null_mut();
            }
        }
        found
    }
}

/// What is called in the zygote before there are programs; and in a program before its file is run, with
/// its wish to exit, and in the end.
static READY: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());
static BEGIN: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());
static EXIT_CODE: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());
static LEAVE: AtomicPtr<PyObject> = AtomicPtr::new(ptr::null_mut());

/// `run_with(ready, begin, exit_code, leave)`.
unsafe extern "C" fn run_with(_: *mut PyObject, arguments: *mut PyObject) -> *mut PyObject {
    // SAFETY: the lock is held; the arguments are a tuple, whose items are borrowed and then kept for
    // ever. An index that isn't there gives null and an exception, which is handed on.
    unsafe {
        for (index, place) in [&READY, &BEGIN, &EXIT_CODE, &LEAVE].into_iter().enumerate() {
            let callable = PyTuple_GetItem(arguments, index as isize);
            if callable.is_null() {
                return ptr::null_mut();
            }
            Py_IncRef(callable);
            place.store(callable, Ordering::Relaxed);
        }
        // Before the copies, which only give it an area each.
        sandfleet_stdout::install();
        if PySys_AddAuditHook(on_event, ptr::null_mut()) != 0 {
            return ptr::null_mut();
        }
        PyTuple_New(0)
    }
}

/// The interpreter says that it is about to run the program's file: this becomes a zygote, and runs the file
/// in the interpreter's place in every program.
unsafe extern "C" fn on_event(
    event: *const c_char,
    arguments: *mut PyObject,
    _: *mut c_void,
) -> c_int {
    // SAFETY: events are C strings; the arguments of this one are a tuple with the file's name.
    unsafe {
        if CStr::from_ptr(event) != c"cpython.run_file" {
            return 0;
        }
        // Programs may say so too, later, and of anything.
        let ready = READY.swap(ptr::null_mut(), Ordering::Relaxed);
        if ready.is_null() {
            return 0;
        }
        let name = PyUnicode_AsUTF8(PyTuple_GetItem(arguments, 0));
        if name.is_null() {
            return -1;
        }
        if PyObject_CallFunctionObjArgs(ready, ptr::null_mut::<PyObject>()).is_null() {
            return -1;
        }
        let changes = match serve() {
            Ok(changes) => {
                let started = given(&changes);
                sandfleet_stdout::attach(changes.pending_output);
                started
            }
            Err(error) => {
                let text = std::ffi::CString::new(error.to_string()).unwrap_or_default();
                PyErr_SetString(PyExc_OSError, text.as_ptr());
                return -1;
            }
        };
        // A program, from here on.
        if PyObject_CallObject(BEGIN.load(Ordering::Relaxed), changes).is_null() {
            return -1;
        }
        Py_DecRef(changes);
        let file = libc::fopen(name, c"rb".as_ptr());
        if file.is_null() {
            // The interpreter will find that out, too, and say so in its own words.
            return 0;
        }
        let globals = PyModule_GetDict(PyImport_AddModule(c"__main__".as_ptr()));
        let (close, flags) = (1, ptr::null_mut());
        let done = PyRun_FileExFlags(file, name, Py_file_input, globals, globals, close, flags);
        leave(!done.is_null())
    }
}

/// Ends the process as the interpreter would end it.
///
/// # Safety
/// The lock is held, and unless the program is `done` an exception is set.
unsafe fn leave(done: bool) -> ! {
    // SAFETY: as the function says.
    unsafe {
        let was_interrupted = !done && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt) != 0;
        let code = if done {
            PyLong_FromLong(0)
        } else if PyErr_ExceptionMatches(PyExc_SystemExit) != 0 {
            let [mut kind, mut value, mut traceback] = [ptr::null_mut(); 3];
            PyErr_Fetch(&mut kind, &mut value, &mut traceback);
            PyErr_NormalizeException(&mut kind, &mut value, &mut traceback);
            let code = call(&EXIT_CODE, value);
            // With them goes what the program's frames still hold.
            for object in [kind, value, traceback] {
                Py_DecRef(object);
            }
            code
        } else {
            PyErr_Print();
            PyLong_FromLong(1)
        };
        let code = PyLong_AsLong(call(&LEAVE, code)) as c_int;
        // Not everything is at rest: the long way.
        match code {
            ..0 if was_interrupted => drop(Py_FinalizeEx()),
            ..0 => Py_Exit(-1 - code),
            _ => {}
        }
        if was_interrupted {
            libc::signal(libc::SIGINT, libc::SIG_DFL);
            libc::kill(libc::getpid(), libc::SIGINT);
        }
        libc::_exit(code & 0xff)
    }
}

/// Calls what was given; if that fails the process ends, since it is a fault of the loader and not the program's.
///
/// # Safety
/// The lock is held.
unsafe fn call(callable: &AtomicPtr<PyObject>, argument: *mut PyObject) -> *mut PyObject {
    // SAFETY: as the function says; the list of arguments ends with null.
    unsafe {
        let callable = callable.load(Ordering::Relaxed);
        let result = PyObject_CallFunctionObjArgs(callable, argument, ptr::null_mut::<PyObject>());
        if result.is_null() {
            PyErr_Print();
            Py_Exit(1);
        }
        result
    }
}

/// Becomes a zygote; returns in its programs.
///
/// # Safety
/// Called once, by the interpreter's only thread, with its lock held.
unsafe fn serve() -> io::Result<Changes> {
    let forking = Forking {
        before: before_fork,
        in_parent: after_fork_in_parent,
        in_child: after_fork_in_child,
    };
    // SAFETY: as the caller promises; nothing but `become_interpreter` has an interpreter load this.
    unsafe { warm::serve(forking) }
}
