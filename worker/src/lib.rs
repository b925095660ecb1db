//! The sandfleet worker. Start reading at [`pipeline`]: the path of a job, from a delivery to its
//! settlement, is one function there.
#![forbid(unsafe_code)]
// Only `cli/terminal.rs` prints: there text of outside origin is made harmless.
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

pub mod admin;
pub mod admission;
pub mod app;
pub mod catalogue;
pub mod cli;
pub mod config;
pub mod dead_letter_handler;
pub mod doctor;
pub mod embedded;
pub mod exclusive_gate;
pub mod heartbeat;
pub mod hooks;
pub mod host;
pub mod latency;
pub mod listener;
pub mod metrics;
pub mod outcome;
pub mod output_stream;
pub mod peers;
pub mod pipeline;
pub mod queue;
pub mod sandbox;
pub mod shutdown;
pub mod store;
