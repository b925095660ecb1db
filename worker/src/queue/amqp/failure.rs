//! What ends a session with the broker.

use sandfleet_transport::Error;

/// What ended a session, and the queue that was asked, if it was one.
pub(super) struct Failure {
    pub(super) queue: Option<String>,
    pub(super) error: Error,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { queue: None, error }
    }
}

/// An error with all its causes, in one line.
pub(super) fn why(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors repeat their cause.
        if !line.contains(&next) {
            line = format!("{line}: {next}");
        }
        cause = error.source();
    }
    line
}
