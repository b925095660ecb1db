//! The end of jobs that no worker could settle: each gets a result, so that no client waits in vain.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sandfleet_common::{DecodeError, JobId, JobState, Outline, decode_job, payload_digest};
use sandfleet_transport::{
    Error, StoreError,
    records::{Refused, Store},
};
use tokio::{task::JoinSet, time::sleep};
use tracing::debug;

use crate::{
    config::TenantUsers,
    hooks::{Hooks, JobFacts},
    labels::DeathCause,
    outcome::{
        ResultBuilder, terminal_results,
        unreadable::{damaged, malformed, twin},
    },
    queue::{
        DEAD_LETTERS_AT_A_TIME, DeadLetters, Death, Delivery,
        settle::{Settlement, settle},
    },
    shutdown::Shutdown,
    traces::JobTrace,
};

/// How long to wait before the store is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Answers dead letters.
pub struct DeadLetterHandler {
    /// Where dead letters come from.
    pub letters: DeadLetters,
    /// Where results go.
    pub store: Arc<dyn Store>,
    /// Who watches.
    pub hooks: Arc<dyn Hooks>,
    /// This worker's name in results.
    pub worker_id: String,
    /// How long results are kept, at most and by default.
    pub result_ttl: Duration,
    /// The longest job that is read as a whole. Of a longer one the id is enough for a result.
    pub max_job_bytes: usize,
    /// Which broker users may speak for which tenants.
    pub tenant_users: TenantUsers,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// A dead letter that names a job.
struct Letter<'a> {
    job: &'a JobId,
    payload: &'a str,
    result_ttl: Duration,
    death: &'a Death,
    facts: JobFacts,
}

impl DeadLetterHandler {
    /// Answers dead letters until the worker stops. Every worker does, and more than one may have
    /// the same letter: the store takes one result.
    pub async fn serve(self) {
        let shared = Arc::new(self);
        let mut tasks = JoinSet::new();
        for _ in 0..DEAD_LETTERS_AT_A_TIME {
            let dead_letter_handler = Arc::clone(&shared);
            tasks.spawn(async move {
                tokio::select! {
                    () = dead_letter_handler.work() => {}
                    // What isn't settled goes back to the queue with the connection.
                    () = dead_letter_handler.shutdown.drained() => {}
                }
            });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn work(&self) {
        loop {
            let (delivery, death) = self.letters.next().await;
            self.hooks.dead_letter(DeathCause::from(death.reason.as_str()));
            self.answer(delivery, &death).await;
        }
    }

    async fn answer(&self, delivery: Delivery, death: &Death) {
        if let Some(why) = &delivery.malformed {
            let settlement = malformed(self.hooks.as_ref(), why);
            settle(delivery, settlement).await;
            return;
        }
        let now = Timestamp::now();
        let (job_id, payload, result_builder, result_ttl, facts) =
            match decode_job(&delivery.body, self.max_job_bytes) {
                Ok(job) => {
                    let trace = JobTrace::of(&delivery.trace);
                    let user = delivery.published_by.as_deref();
                    let result_builder = ResultBuilder::of(&self.worker_id, &job, now)
                        .proven(self.tenant_users.prove_of(user, &job))
                        .traced(trace.id);
                    let payload = payload_digest(&delivery.body);
                    let facts = JobFacts::of(&job).traced(trace);
                    (
                        job.job_id,
                        payload,
                        result_builder,
                        job.result_ttl_ms.map(Duration::from_millis),
                        facts,
                    )
                }
                Err(DecodeError { job_id: Some(job_id), payload, .. }) => {
                    let trace = JobTrace::of(&delivery.trace);
                    let result_ttl =
                        Outline::of(&delivery.body).result_ttl_ms.map(Duration::from_millis);
                    let result_builder =
                        ResultBuilder::unread(&self.worker_id, job_id.clone(), now)
                            .traced(trace.id);
                    let facts = JobFacts::unread().traced(trace);
                    (job_id, payload, result_builder, result_ttl, facts)
                }
                Err(DecodeError { job_id: None, message, .. }) => {
                    self.hooks.unreadable(&message);
                    settle(delivery, Settlement::Unreadable(message)).await;
                    return;
                }
            };
        let result_ttl = result_ttl.unwrap_or(self.result_ttl).min(self.result_ttl);
        let letter = Letter { job: &job_id, payload: &payload, result_ttl, death, facts };
        let concluded = self.conclude(letter, result_builder).await;
        let settlement = concluded.unwrap_or_else(|error| damaged(self.hooks.as_ref(), &error));
        settle(delivery, settlement).await;
    }

    /// Stores a result unless the job has one, or a worker is about to make one, or the letter only has
    /// the job's id.
    ///
    /// # Errors
    /// What is wrong with the job's keys, if they are damaged.
    async fn conclude(
        &self,
        Letter { job, payload, result_ttl, death, mut facts }: Letter<'_>,
        result_builder: ResultBuilder,
    ) -> Result<Settlement, StoreError> {
        let begun = Instant::now();
        let state = async || match self.store.get(job).await {
            Err(Error::Store(error)) => Err(error),
            // A result that a newer fleet wrote, or another job's, is no queued job either.
            state => Ok(state),
        };
        let attempts = match self.retry_until_ok(state).await? {
            Ok(JobState::Queued(queued)) => queued.attempts,
            _ => 0,
        };
        let result = terminal_results::dead(result_builder.in_attempt(attempts), death);
        let refused =
            self.retry_until_ok(|| self.store.refuse(&result, payload, result_ttl)).await?;
        Ok(match refused {
            Refused::Stored => {
                facts.commit = begun.elapsed();
                self.hooks.stored(&result, &facts);
                Settlement::Done
            }
            Refused::AlreadyThere => Settlement::Done,
            Refused::Twin => twin(self.hooks.as_ref(), job),
            // Its result is about to come. If its worker dies instead, this letter is needed; and it
            // keeps no other waiting meanwhile.
            Refused::Busy => Settlement::Later,
        })
    }

    /// Repeats an operation of the store until it succeeds.
    ///
    /// # Errors
    /// What is wrong with the job's keys, if they are damaged.
    async fn retry_until_ok<T, F>(&self, mut operation: impl FnMut() -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        loop {
            match operation().await {
                Ok(done) => return Ok(done),
                Err(error) if error.is_damaged => return Err(error),
                // The worker says once that its store is away.
                Err(error) => debug!(%error, "the store failed; trying again"),
            }
            sleep(PAUSE).await;
        }
    }
}
