//! The agent as a module of CPython, which makes an interpreter a zygote: `sitecustomize.py` beside
//! this crate imports it.
//!
//! `run_with(…)` is all that it takes: when the interpreter is about to run the program's file, and so has
//! nothing left to do that any program could be spared, it becomes a zygote. In each program it goes on there
//! and runs the file as it always does, except that it leaves at the end without taking everything down
//! that the zygote had loaded, which would take longer than most programs. No frame of Python's is below the
//! program's, so tracebacks are what they are in a cold start.

mod python;
