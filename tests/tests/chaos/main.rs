//! What takes long, or disturbs every user of the same services: `bash tests/run chaos`.
//!
//! Each fault that can be tried here strikes a fleet under load, and gives a line: the fault, the
//! jobs that were accepted, how many were lost, results that changed, jobs that were started more
//! than once, what was left behind, seconds until there were results again.

mod broker;
mod check;
mod clocks;
mod disk;
mod duplicates;
mod engine;
mod fleet;
mod flood;
mod jobs;
mod kills;
mod load;
mod network;
mod node;
mod poison;
mod restarts;
mod store;
