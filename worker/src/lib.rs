//! The sandfleet worker. Start reading at [`pipeline`]: the path of a job, from a delivery to its
//! settlement, is one function there.
#![forbid(unsafe_code)]
// Only `cli/terminal.rs` prints: there text of outside origin is made harmless.
#![warn(clippy::print_stdout, clippy::print_stderr, clippy::disallowed_methods)]

pub mod admission;
pub mod app;
pub mod backend;
mod causes;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod embedded;
pub mod evaluation;
pub mod exporter;
pub mod grade;
pub mod hooks;
pub mod host;
pub mod images;
pub mod labels;
pub mod metrics;
pub mod outcome;
mod pauses;
pub mod pipeline;
pub mod queue;
pub mod sandbox;
pub mod services;
pub mod shutdown;
pub mod traces;
pub mod trouble;
pub mod work;
