//! What a job costs on one worker.

use serde::Serialize;

use crate::store_use::StoreUse;

/// A kind of job, measured on one worker.
#[derive(Debug, Serialize)]
pub(crate) struct Calibration {
    pub(crate) kind: &'static str,
    /// Cores that the jobs of a full fleet used.
    pub(crate) cores: f64,
    /// Median from the submission of a single job until its result, in seconds.
    pub(crate) alone: f64,
    /// Median of the time in a slot, in seconds.
    pub(crate) held: f64,
    /// Processor time of one job in a full fleet, all processes together, in seconds.
    pub(crate) cpu: f64,
    /// Of one job, in seconds, commands and bytes.
    pub(crate) store: StoreUse,
    /// Memory that a result takes in Redis, in bytes.
    pub(crate) result_bytes: f64,
    /// Memory that a job's record takes in Redis, in bytes.
    pub(crate) record_bytes: f64,
}
