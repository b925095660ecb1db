//! What a worker runs beside the path of a job.

pub mod admin;
pub mod audit;
pub mod certificates;
pub mod dead_letter_handler;
pub mod heartbeat;
pub mod job_log;
pub mod log_loss;
pub mod output_stream;
pub mod readiness;
pub mod reaper;
pub mod switches;
pub mod taken_jobs;
pub mod timed_store;
