//! What happens to jobs, for observers: metrics, progress bars, the live output of
//! `sandfleet run`.

use std::{
    fmt,
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use sandfleet_common::{Job, JobId, JobResult, Priority};

pub use crate::labels::Stream;
use crate::labels::{
    Call, DeathCause, InterpreterEvent, Kill, Leftover, PoolEvent, RetryCause, Service, SpanEnd,
    Violation,
};
use crate::traces::JobTrace;

/// What is known of a job besides its result: what the result doesn't name, and exact durations.
#[derive(Debug, Clone)]
pub struct JobFacts {
    /// Its language, if it could be read.
    pub language: Option<String>,
    /// Its priority, if it could be read.
    pub priority: Option<Priority>,
    /// Its tenant, if it names one.
    pub tenant: Option<String>,
    /// Its trace.
    pub trace: JobTrace,
    /// How long it waited, by the store's clock, if it says when it was submitted.
    pub waited: Option<Duration>,
    /// When the worker knew that.
    pub since: Instant,
    /// How its run went, if it ran.
    pub run: Option<RunFacts>,
    /// How long the store took to take its result, with all that was tried again.
    pub commit: Duration,
}

/// How a run went, beyond what the result says.
#[derive(Debug, Clone, Default)]
pub struct RunFacts {
    /// Until the program started; nothing if it did not compile.
    pub setup: Option<Duration>,
    /// The compiler, if there was one.
    pub compile: Option<Duration>,
    /// The program.
    pub run: Option<Duration>,
    /// From its end to the last artifact.
    pub collect: Option<Duration>,
    /// What ended it, if it didn't end by itself.
    pub kill: Option<Kill>,
    /// What it did that no honest program does.
    pub violation: Option<Violation>,
    /// Whether it started from a warm interpreter, if it could have.
    pub is_warm: Option<bool>,
}

impl JobFacts {
    /// Of a job of which nothing but the id could be read.
    pub fn unread() -> Self {
        Self {
            language: None,
            priority: None,
            tenant: None,
            trace: JobTrace::default(),
            waited: None,
            since: Instant::now(),
            run: None,
            commit: Duration::ZERO,
        }
    }

    /// Of a job that could be read.
    pub fn of(job: &Job) -> Self {
        Self {
            language: Some(job.language.clone()),
            priority: Some(job.priority),
            tenant: job.tenant.clone(),
            ..Self::unread()
        }
    }

    /// The same, in this trace.
    #[must_use]
    pub fn traced(self, trace: JobTrace) -> Self {
        Self { trace, ..self }
    }
}

/// Declares the hooks once, for those who implement some of them and for several observers together.
macro_rules! hooks {
    ($($(#[$doc:meta])* fn $name:ident($($argument:ident: $type:ty),*);)+) => {
        /// Called along the path of a job, and by what is beside it. Implementations return at once: the job waits
        /// for them.
        #[allow(unused_variables, reason = "nothing is done by default")]
        pub trait Hooks: Send + Sync {
            $($(#[$doc])* fn $name(&self, $($argument: $type),*) {})+
        }

        /// Each of them is called, in this order.
        impl Hooks for Vec<Arc<dyn Hooks>> {
            $(fn $name(&self, $($argument: $type),*) {
                for hooks in self {
                    hooks.$name($($argument),*);
                }
            })+
        }
    };
}

hooks! {
    /// A delivery was taken from the queue, perhaps not for the first time.
    fn taken(is_redelivered: bool);
    /// The job was claimed and goes to the sandbox.
    fn started(job: &JobId, facts: &JobFacts);
    /// The program printed something that is within its output limit.
    fn output(job: &JobId, stream: Stream, bytes: &[u8]);
    /// The sandbox is done with the job, after so long; the slot is free again.
    fn ended(job: &JobId, facts: &JobFacts, busy: Duration);
    /// The job's result is in the store for everybody to see.
    fn stored(result: &JobResult, facts: &JobFacts);
    /// The job had its result already; nothing ran.
    fn duplicate(job: &JobId);
    /// The job goes back into the queue because the fleet failed it.
    fn retried(job: &JobId, cause: RetryCause);
    /// The lease of a running job could not be renewed and has ended.
    fn lease_lost(job: &JobId);
    /// A message without a readable job id went to the queue of unreadable messages.
    fn unreadable(reason: &str);
    /// A message with another job's id went there.
    fn twin(job: &JobId);
    /// A message that this worker can't take was put off, for another that can.
    fn put_off(job: &JobId);
    /// A job went to the end of its queue, since as many of its tenant run as may.
    fn postponed(job: &JobId);
    /// A dead letter was taken.
    fn dead_letter(cause: DeathCause);
    /// Something happened to an interpreter that is started ahead.
    fn interpreter(event: InterpreterEvent);
    /// Something happened to the containers that are started ahead.
    fn pool(event: PoolEvent);
    /// So much was removed that dead workers had left.
    fn reaped(kind: Leftover, count: usize);
    /// A service was asked for something and answered after so long, or failed.
    fn called(call: Call, took: Duration, is_ok: bool);
    /// A connection to a service was made again after one was lost.
    fn reconnected(service: Service);
    /// A job that an operator holds back was put off.
    fn held(job: &JobId);
    /// The headers of a message named a trace that could not be read, for this reason; the job goes on without.
    fn trace_ignored(reason: &str);
    /// So many spans ended in this way.
    fn spans(end: SpanEnd, count: u64);
}

/// Watches nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoHooks;

impl Hooks for NoHooks {}

/// The hooks that a part of the worker calls which is configured before there are jobs.
#[derive(Clone)]
pub struct Observer(pub Arc<dyn Hooks>);

impl Observer {
    /// Awaits the answer to `call` and tells how long it took.
    ///
    /// # Errors
    /// What the call fails with.
    pub async fn timed<T, E>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let begun = Instant::now();
        let answer = answer.await;
        self.called(call, begun.elapsed(), answer.is_ok());
        answer
    }
}

impl Default for Observer {
    fn default() -> Self {
        Self(Arc::new(NoHooks))
    }
}

impl Deref for Observer {
    type Target = dyn Hooks;

    fn deref(&self) -> &Self::Target {
        self.0.as_ref()
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

impl PartialEq for Observer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
