//! PID 1 of a container: one job from the first message to the last artifact, from `session::serve` on. `program`
//! starts and ends the program, `artifacts` collects files, the others count what limits bound.

pub(crate) mod artifacts;
mod barrier_check;
mod children;
mod cold_python;
pub mod counters;
mod gvisor;
pub(crate) mod job_files;
mod live_stdin;
mod locks;
mod mappings;
mod output;
pub(crate) mod pending_output;
pub(crate) mod program;
pub(crate) mod rlimits;
mod sampler;
pub mod session;
pub mod sockets;
mod soft_limits;
pub(crate) mod spawner;
mod standstill;
