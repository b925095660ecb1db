//! PID 1 inside every sandfleet container, and its protocol with the worker.
//!
//! [`protocol`] is what the worker and the agent share. [`init`] is a job from the agent's side, as PID 1;
//! [`launcher`] is the small process that the native sandbox starts containers from, [`warm`] the start from
//! a loaded interpreter, [`container`] what a native container consists of.
//!
//! The agent runs as the program's own user and with no capability. What keeps the program from
//! its PID 1 is the kernel: an undumpable process can't be traced or looked into, and signals
//! from inside a PID namespace don't reach its init.

pub mod container;
#[cfg(test)]
mod fuzz;
pub mod init;
pub mod launcher;
pub mod pending_output;
pub mod protocol;
mod sys;
pub mod warm;

pub use sys::landlock_version;
