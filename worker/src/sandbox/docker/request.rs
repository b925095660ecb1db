//! Requests to the engine, each with a deadline.

use std::time::Duration;

use bollard::errors::Error;
use tokio::time::timeout;

use crate::sandbox::SandboxError;

/// How long the engine may take for one request. It usually answers in milliseconds; an engine that hangs
/// must not block the worker.
pub(super) const DEADLINE: Duration = Duration::from_secs(15);

/// Waits for the answer at most [`DEADLINE`].
pub(super) async fn ask<T>(
    operation: &'static str,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, SandboxError> {
    ask_within(DEADLINE, operation, answer).await
}

pub(super) async fn ask_within<T>(
    deadline: Duration,
    operation: &'static str,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, SandboxError> {
    match timeout(deadline, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(SandboxError::failed(operation, error)),
        Err(_) => {
            let reason = format!("the Docker engine did not answer in {} s", deadline.as_secs());
            Err(SandboxError::failed(operation, reason))
        }
    }
}

/// As [`ask`], about a container: `None` if it no longer exists.
pub(super) async fn unless_gone<T>(
    operation: &'static str,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, SandboxError> {
    let answer = async {
        match answer.await {
            Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
            answer => answer.map(Some),
        }
    };
    ask(operation, answer).await
}
