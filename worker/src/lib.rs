//! The sandfleet worker. Start reading at [`pipeline`]: the path of a job, from a delivery to its
//! settlement, is one function there.
#![forbid(unsafe_code)]

pub mod hooks;
pub mod queue;
pub mod store;
