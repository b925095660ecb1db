//! What the store says when it fails, and whether that mends itself.

use redis::RedisError;
use sandfleet_transport::Error;

/// The store failed. Whether a write took effect is unknown; doing it again is safe.
#[derive(Debug, thiserror::Error)]
#[error("store: {operation} of job {job}: {reason}")]
pub struct StoreError {
    /// What was tried.
    pub operation: &'static str,
    /// On which job; `-` for none.
    pub job: String,
    /// Why it failed.
    pub reason: String,
    /// Whether the job's own keys are why, such as one of another type than any worker or producer makes:
    /// trying again is of no use then.
    pub is_damaged: bool,
}

impl StoreError {
    /// What the SDK's part of the store said.
    pub(super) fn of_sdk(operation: &'static str, job: &str, error: &Error) -> Self {
        let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        let reason = format!("{error}{}", cause.unwrap_or_default());
        let is_damaged = match error {
            Error::Store { source, .. } => is_of_the_keys(source),
            _ => false,
        };
        Self { operation, job: job.to_owned(), reason, is_damaged }
    }

    /// What the server at `display_url` said.
    pub(super) fn of_redis(
        operation: &'static str,
        job: &str,
        display_url: &str,
        error: &RedisError,
    ) -> Self {
        let reason = format!("{display_url}: {error}");
        Self { operation, job: job.to_owned(), reason, is_damaged: is_of_the_keys(error) }
    }
}

/// Whether an answer of the server's says that a key is not what the scripts expect it to be, and not that
/// the server can't do its part at present.
fn is_of_the_keys(error: &RedisError) -> bool {
    match error.code() {
        Some("WRONGTYPE") => true,
        // A script that met what it can't work with; what it was refused has a code of its own.
        Some("ERR") => error.detail().is_some_and(|detail| detail.contains("user_script")),
        _ => false,
    }
}
