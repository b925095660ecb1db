//! PID 1 inside every sandfleet container, and the words it speaks with the worker.
//!
//! The worker and the agent share [`frame`] (bytes), [`message`] (what they mean) and [`frame_mac`] (who
//! said it). Everything else is the agent's own: [`session`] is a job from the agent's side, [`launch`] is the small
//! process that the native sandbox starts containers from.
//!
//! The agent runs as the program's own user and with no capability. What keeps the program from
//! its PID 1 is the kernel: an undumpable process can't be traced or looked into, and signals
//! from inside a PID namespace don't reach its init.

pub mod frame;
pub mod frame_mac;
pub mod launch;
pub mod message;
pub mod session;
pub mod sockets;
pub mod zygote;

mod artifacts;
mod barriers;
mod channel;
mod counters;
#[cfg(test)]
mod fuzz;
mod gvisor_limits;
mod landlock;
mod mappings;
mod namespace;
mod output;
mod program;
mod rootfs;
mod sampler;
mod settings;
mod soft_limits;
mod system;
mod warm_container;

pub use system::landlock_version;
