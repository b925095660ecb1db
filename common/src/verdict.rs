//! How a job ended: the status of the job and the verdict on its program.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! names {
    ($(#[doc = $doc:literal])+ $type:ident { $($(#[doc = $vdoc:literal])+ $variant:ident = $text:literal,)+ }) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(remote = "Self")]
        pub enum $type { $($(#[doc = $vdoc])+ #[serde(rename = $text)] $variant,)+ }

        impl $type {
            /// Every value of the closed list.
            pub const ALL: &[$type] = &[$($type::$variant,)+];

            /// The name on the wire, in logs and as a metric label.
            pub fn as_str(self) -> &'static str {
                match self { $($type::$variant => $text,)+ }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

names! {
    /// Where a job is. All but the first two are final.
    Status {
        /// Waiting for a worker.
        Queued = "queued",
        /// A worker has it.
        Running = "running",
        /// The program ran and ended well.
        Succeeded = "succeeded",
        /// The program ran and ended badly, or was ended.
        Failed = "failed",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// It waited for longer than it may.
        Expired = "expired",
        /// The job itself is not valid; the message names the field.
        Rejected = "rejected",
        /// The fleet failed, not the program; all retries are used up.
        Error = "error",
    }
}

names! {
    /// What is said about the program.
    Verdict {
        /// Ended by itself with exit code 0.
        Accepted = "accepted",
        /// Ran, and printed something else than expected.
        WrongAnswer = "wrong_answer",
        /// Did not compile.
        CompilationError = "compilation_error",
        /// Ended with another exit code or by a signal.
        RuntimeError = "runtime_error",
        /// Ran beyond `wall_time_ms` or `cpu_time_ms`.
        TimeLimitExceeded = "time_limit_exceeded",
        /// Needed more than `memory_bytes`.
        MemoryLimitExceeded = "memory_limit_exceeded",
        /// Wrote more than may be written.
        OutputLimitExceeded = "output_limit_exceeded",
        /// Did what no honest program does.
        SecurityViolation = "security_violation",
        /// The output validator failed, not the program.
        JudgeError = "judge_error",
        /// The sandbox failed, not the program.
        InternalError = "internal_error",
    }
}

impl Status {
    /// Whether the job will never change again.
    pub fn is_final(self) -> bool {
        !matches!(self, Status::Queued | Status::Running)
    }
}

impl Verdict {
    /// The status of a job whose program earned this verdict.
    pub fn status(self) -> Status {
        match self {
            Verdict::Accepted => Status::Succeeded,
            Verdict::JudgeError | Verdict::InternalError => Status::Error,
            _ => Status::Failed,
        }
    }
}
