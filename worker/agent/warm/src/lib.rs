//! The agent as a module of CPython, which makes an interpreter a zygote: `sitecustomize.py` beside
//! this crate imports it when everything else is loaded.
//!
//! `serve()` comes back once in every program, with what its command and environment have that the
//! zygote's don't. `run_with(…)` has the interpreter run the program's file as it always does, except that it leaves at
//! the end without taking everything down that the zygote had loaded, which would take longer than
//! most programs. No frame of Python's is below the program's, so tracebacks are what they are in a
//! cold start.

mod python;

use std::io;

use sandfleet_agent::zygote::{self, Changes, Forking};

/// Becomes a zygote; comes back in its programs.
fn serve() -> io::Result<Changes> {
    zygote::serve(Forking {
        before: python::before_fork,
        in_parent: python::after_fork_in_parent,
        in_child: python::after_fork_in_child,
    })
}
