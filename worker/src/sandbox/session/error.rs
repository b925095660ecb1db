//! How a session breaks off.

use sandfleet_agent::{container::barrier::Failed, protocol::frame::Kind};

use crate::sandbox::SandboxError;

/// Why a session broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("the container went away in the middle of the job")]
    Lost,
    #[error("the container did not answer in time")]
    Overdue,
    #[error("{0}")]
    Unheard(SandboxError),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Barrier(Failed),
    #[error("the container broke the protocol: {0}")]
    Protocol(String),
    #[error("{0:?} is not from the container's first process, or something before it is missing")]
    BadMac(Kind),
}
