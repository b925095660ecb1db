//! How a sandbox fails.

use sandfleet_agent::container::barrier::{Barrier, Failed};

use crate::host::limits::{self, Need};

/// The sandbox failed. The program may or may not have run.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// A barrier can't be installed on this host; nothing ran and nothing will.
    #[error("{reason}; to fix: {fix}")]
    Barrier {
        /// Its name.
        barrier: &'static str,
        /// What is missing.
        reason: String,
        /// The ways out.
        fix: String,
    },
    /// The kernel of the sandbox's host killed a process of the job, which was within its limit.
    #[error(
        "the host ran out of memory, and its kernel killed a process of the job, which was within \
         memory_bytes; run fewer jobs on it (worker.slots), lower limits.max.memory_bytes, or give it \
         more memory"
    )]
    HostMemory,
    /// The sandbox could not be made or lost its container.
    #[error("{operation}: {reason}{}", .fix.map(|fix| format!("; to fix: {fix}")).unwrap_or_default())]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        reason: String,
        /// The ways out, where they are known.
        fix: Option<&'static str>,
    },
}

impl From<Failed> for SandboxError {
    fn from(failed: Failed) -> Self {
        let barrier = failed.barrier;
        let number = limits::error_number(&failed.reason);
        let reached = number.and_then(|number| limits::reached(need_of(barrier), number));
        let (reason, fix) = match reached {
            // The barrier can be had here, and not now: what to do about it is something else.
            Some(limit) => (format!("{}: {limit}", failed.what()), limit.fix),
            None => (failed.what(), barrier.fix()),
        };
        Self::Barrier { barrier: barrier.as_str(), reason, fix: fix.into() }
    }
}

/// What a barrier needs of its host.
fn need_of(barrier: Barrier) -> Need {
    match barrier {
        Barrier::Seccomp => Need::Filter,
        Barrier::UserNamespace | Barrier::MountNamespace | Barrier::Namespaces => Need::Namespace,
        Barrier::RootTree | Barrier::Proc | Barrier::ScratchSpace => Need::Mount,
        Barrier::HostName | Barrier::Network | Barrier::Privileges => Need::Other,
    }
}

impl SandboxError {
    pub(crate) fn failed(operation: &'static str, reason: impl ToString) -> Self {
        Self::Failed { operation, reason: reason.to_string(), fix: None }
    }

    /// An error of the kernel's, with the limit of the host that it means if it means one.
    pub(crate) fn failed_for(operation: &'static str, need: Need, error: impl ToString) -> Self {
        let reason = error.to_string();
        match limits::error_number(&reason).and_then(|number| limits::reached(need, number)) {
            Some(limit) => {
                let reason = format!("{reason}: {limit}");
                Self::Failed { operation, reason, fix: Some(limit.fix) }
            }
            None => Self::failed(operation, reason),
        }
    }

    /// What is wrong, and the ways out where they are known.
    pub(crate) fn parts(&self) -> (String, Option<&str>) {
        match self {
            Self::Barrier { reason, fix, .. } => (reason.clone(), Some(fix)),
            Self::HostMemory => (self.to_string(), None),
            Self::Failed { operation, reason, fix } => (format!("{operation}: {reason}"), *fix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_barrier_that_fails_for_a_limit_of_the_host_names_the_limit_and_its_way_out() {
        let failed = |barrier, number| {
            let reason = std::io::Error::from_raw_os_error(number).to_string();
            SandboxError::from(Failed { barrier, reason }).to_string()
        };
        let full = failed(Barrier::Seccomp, 524);
        assert!(full.contains("net.core.bpf_jit_limit"), "{full}");
        assert!(full.contains("; to fix: ") && !full.contains("--sandbox docker"), "{full}");
        let none_left = failed(Barrier::Namespaces, 28);
        assert!(none_left.contains("user.max_*_namespaces"), "{none_left}");
        let missing = failed(Barrier::Seccomp, 22);
        assert!(missing.contains("--sandbox docker"), "not offered at all: {missing}");
    }
}
