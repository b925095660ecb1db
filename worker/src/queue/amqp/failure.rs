//! What ends a session with the broker.

use sandfleet_transport::Error;

pub(super) use crate::causes::in_one_line as why;

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
