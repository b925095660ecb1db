//! The jobs of a load: five kinds, each of which leaves something to be known by.

use sandfleet_common::{Job, JobResult, Status, Verdict};

/// How a job is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Accepted,
    ExitCode,
    WallLimit,
    MemoryLimit,
    Output,
    /// Its worker dies of it, each time.
    Poison,
}

/// How long what one prints is that prints much, without the token.
const OUTPUT_BYTES: usize = 100 << 10;

/// The job number `number`, and how it is to end: half of them well, all after a moment.
pub(crate) fn mixed(number: usize) -> (Kind, Job) {
    let kind = match number % 10 {
        0 | 5 => Kind::ExitCode,
        2 => Kind::WallLimit,
        4 => Kind::MemoryLimit,
        7 => Kind::Output,
        _ => Kind::Accepted,
    };
    (kind, kind.job())
}

impl Kind {
    /// A job that is to end so. The token that it prints is its own id.
    pub(crate) fn job(self) -> Job {
        let mut job = Job::new("bash", "");
        let body = match self {
            Self::Accepted => "sleep 0.1".to_owned(),
            Self::ExitCode => "exit 7".to_owned(),
            Self::WallLimit => {
                // Enough to print the token on a machine that has other work.
                job.limits.wall_time_ms = Some(600);
                "sleep 60".to_owned()
            }
            Self::MemoryLimit => {
                job.limits.memory_bytes = Some(32 << 20);
                "tail /dev/zero".to_owned()
            }
            Self::Output => format!("head -c {OUTPUT_BYTES} /dev/zero | tr '\\0' x"),
            Self::Poison => "sleep 60".to_owned(),
        };
        if self == Self::Poison {
            job.limits.wall_time_ms = Some(60_000);
        }
        job.code = Some(format!("echo {}\n{body}\n", job.job_id));
        job
    }

    /// What is wrong with a result, if anything is.
    pub(crate) fn objects_to(self, result: &JobResult) -> Option<String> {
        let (status, verdict) = match self {
            Self::Accepted | Self::Output => (Status::Succeeded, Verdict::Accepted),
            Self::ExitCode => (Status::Failed, Verdict::RuntimeError),
            Self::WallLimit => (Status::Failed, Verdict::TimeLimitExceeded),
            Self::MemoryLimit => (Status::Failed, Verdict::MemoryLimitExceeded),
            Self::Poison => (Status::Error, Verdict::InternalError),
        };
        let is_it = (result.status, result.verdict) == (status, Some(verdict));
        let printed = result.run.as_ref().map(|run| run.stdout.as_str());
        let token = format!("{}\n", result.job_id);
        let text_fits = match self {
            Self::Poison => printed.is_none(),
            Self::Output => printed == Some(&format!("{token}{}", "x".repeat(OUTPUT_BYTES))),
            _ => printed == Some(&token),
        };
        let code_fits = match self {
            Self::Accepted | Self::Output => result.exit_code == Some(0),
            Self::ExitCode => result.exit_code == Some(7),
            _ => true,
        };
        (!is_it || !text_fits || !code_fits).then(|| {
            format!(
                "{} was to be {self:?} and is {} {:?} after attempt {} by {}: {}; it printed {:?}",
                result.job_id,
                result.status,
                result.verdict,
                result.attempt,
                result.worker_id,
                result.message,
                printed.map(|text| &text[..text.len().min(80)]),
            )
        })
    }
}
