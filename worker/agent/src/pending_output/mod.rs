//! What a program has printed and not written yet, in memory that its PID 1 can read.
//!
//! An interpreter buffers its output: a write(2) for each line would cost several times what printing does. What
//! is in the buffer at a kill is lost, and is late for those who follow. So the buffer is a file in memory that the
//! program shares with PID 1: the program appends to it and writes it to its stdout whenever it is full or
//! flushed, as always; PID 1 takes what lies there longer than a moment, and what is left in the end.
//!
//! PID 1 trusts nothing in there: it never waits for the program, every number is clamped, what it takes is read
//! by read(2) (memory that can't be had is an error and no signal), and counts as output like any other. The file
//! can't change its size. A program that writes rubbish spoils its own output.

mod area;
mod environment;

pub use area::{Area, CAPACITY, FLUSHING, FREE, Header, MAGIC, WRITE_SIZE, file};
pub(crate) use area::{DATA, TAKING};
pub use environment::restore as restore_environment;

/// The directory in a container with the module that makes Python use this.
pub const MODULE_DIRECTORY: &str = "/sandfleet/python";

/// The file in it: `sitecustomize`, which every interpreter imports at its start, for CPython's stable interface.
pub const MODULE_FILE: &str = "sitecustomize.abi3.so";

/// The descriptor at which an interpreter that imports the module finds the area.
pub const DESCRIPTOR: std::os::fd::RawFd = 3;

/// The variable by which the interpreter finds the module, the last of its environment.
pub const PATH_VARIABLE: &str = "PYTHONPATH";
