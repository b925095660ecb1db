//! Exit codes, and errors that carry one.

use std::process::ExitCode;

use sandfleet_common::{JobResult, Status, Verdict};
use sandfleet_sdk::Error as ClientError;

use crate::{outcome::signal, sandbox::SandboxError};

macro_rules! exits {
    ($($(#[doc = $doc:literal])+ $name:ident = $code:literal,)+) => {
        /// The exit codes that are not a program's own.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Exit { $($(#[doc = $doc])+ $name = $code,)+ }

        impl Exit {
            /// All of them with their meaning, for the reference page.
            pub(crate) const ALL: &[(u8, &str)] = &[$(($code, concat!($($doc),+)),)+];
        }
    };
}

exits! {
    /// All went well.
    Success = 0,
    /// The command line or the configuration has a mistake.
    Usage = 64,
    /// The job, or a line of a batch, is not valid; or a message can't be requeued or removed (`queue requeue`, `queue drop`).
    Rejected = 65,
    /// No job is known under this id: it was never submitted to this fleet, or is long forgotten; or there is no such message (`queue`).
    UnknownJob = 66,
    /// A broker, a store or a Docker engine can't be reached.
    Unavailable = 69,
    /// sandfleet itself failed.
    Internal = 70,
    /// A barrier of the sandbox can't be installed on this host.
    Barrier = 71,
    /// A hostile program was not contained, or could not be tried (`doctor --attack`); in the newer of two reports a claim is worse (`doctor --diff`).
    Breach = 72,
    /// Two reports differ, and no claim is worse (`doctor --diff`).
    Differs = 73,
    /// A worker drained and stopped because every slot holds something that can't be ended.
    Stuck = 74,
    /// There is no result: the job waits or runs, or its result has expired.
    NotYet = 75,
    /// At a worker's start its broker or store could not be talked to: TLS failed, or another protocol is spoken there.
    Protocol = 76,
    /// At a worker's start its broker or store refused the login, or what its user asked for.
    Access = 77,
    /// At a worker's start what its settings name was not there or did not fit: a virtual host, a database, a queue with other settings, a store that may throw results away.
    Setting = 78,
    /// A submission of a package did not get what it has to (`grade --verify`).
    Mismatch = 119,
    /// `judge_error`: the output validator of the job's tests failed.
    JudgeError = 120,
    /// `wrong_answer`: on a test the program printed something else than the answer.
    WrongAnswer = 121,
    /// `security_violation`: the program tampered with the sandbox.
    Security = 122,
    /// The job expired or was cancelled before it ran to its end.
    NotRun = 123,
    /// `time_limit_exceeded`.
    TimeLimit = 124,
    /// `memory_limit_exceeded`.
    MemoryLimit = 125,
    /// `output_limit_exceeded`.
    OutputLimit = 126,
    /// Interrupted.
    Interrupted = 130,
    /// The reader of stdout was gone before everything was printed (`| head`).
    ClosedPipe = 141,
}

impl Exit {
    /// An error that ends the process with this code.
    pub(crate) fn because(self, error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit: self, error: error.into() }
    }

    /// An error of one sentence that ends the process with this code.
    pub(crate) fn with(self, sentence: impl std::fmt::Display) -> Failure {
        self.because(anyhow::anyhow!("{sentence}"))
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// An error and the exit code that goes with it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) error: anyhow::Error,
}

/// If a sandbox can't be opened, a missing barrier is a matter of the host; everything else is a matter of the
/// service that the sandbox needs.
impl From<SandboxError> for Failure {
    fn from(error: SandboxError) -> Self {
        match error {
            SandboxError::Barrier { .. } => Exit::Barrier.because(error),
            SandboxError::HostMemory | SandboxError::Failed { .. } => {
                Exit::Unavailable.because(error)
            }
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::InvalidJob { .. }
            | ClientError::TooLarge { .. }
            | ClientError::Conflict { .. } => Exit::Rejected,
            ClientError::InvalidConfig { .. } => Exit::Usage,
            ClientError::NoResult { .. } | ClientError::ResultGone { .. } => Exit::NotYet,
            _ => Exit::Unavailable,
        };
        exit.because(error)
    }
}

/// The exit code for a job's result: the program's own, if it came to its end; 128 and the
/// signal, as shells do, if one ended it; else what stands in [`Exit`].
pub(crate) fn code_of(result: &JobResult) -> u8 {
    let exit = match (result.status, result.verdict) {
        (Status::Rejected, _) => Exit::Rejected,
        (Status::Cancelled | Status::Expired, _) => Exit::NotRun,
        (_, Some(Verdict::TimeLimitExceeded)) => Exit::TimeLimit,
        (_, Some(Verdict::MemoryLimitExceeded)) => Exit::MemoryLimit,
        (_, Some(Verdict::OutputLimitExceeded)) => Exit::OutputLimit,
        (_, Some(Verdict::SecurityViolation)) => Exit::Security,
        (_, Some(Verdict::Accepted)) => Exit::Success,
        (_, Some(Verdict::WrongAnswer)) => Exit::WrongAnswer,
        (_, Some(Verdict::JudgeError)) => Exit::JudgeError,
        // As a compiler's.
        (_, Some(Verdict::CompilationError)) => return 1,
        (_, Some(Verdict::RuntimeError)) => {
            let signal = result.signal.as_deref().and_then(signal::number);
            let code = result.exit_code.or(signal.map(|number| 128 + number)).unwrap_or(1);
            return u8::try_from(code).unwrap_or(1);
        }
        _ => Exit::Internal,
    };
    exit as u8
}
