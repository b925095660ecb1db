//! How a profile is refused.

use thiserror::Error;

/// Why a profile is no good.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// It isn't JSON, or not of Docker's format.
    #[error("cannot read the seccomp profile")]
    Format(#[from] serde_json::Error),
    /// The default would let calls through.
    #[error("the seccomp profile's default action is not SCMP_ACT_ERRNO with a valid error number")]
    DefaultAllows,
    /// It lists an architecture twice, or a second calling convention for one.
    #[error("the seccomp profile opens more than the native calling convention")]
    ForeignCallingConvention,
    /// No architecture has a call of this name: a typing error would go unnoticed otherwise.
    #[error("the seccomp profile names {0}, which is no system call")]
    UnknownSyscall(String),
    /// It says of one call that its arguments matter and that they don't, or says a thing twice.
    #[error("the seccomp profile contradicts itself on {0}")]
    Contradiction(String),
    /// A group is not of a form which libseccomp and our compiler both take the same way.
    #[error("the seccomp profile's group \"{comment}\" {fault}")]
    Group {
        /// The group's comment.
        comment: String,
        /// What is wrong with it.
        fault: &'static str,
    },
}
