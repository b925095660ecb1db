//! Running a claimed job, and what follows from how that ended.

use std::time::Instant;

use sandfleet_common::{JobId, JobResult};
use sandfleet_transport::records::{CancelNotice, Committed, Renewed, Scope};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::sleep,
};
use tracing::{debug, info, warn};

use super::{
    claim::Attempt,
    compile::Ran,
    facts::run_facts,
    parts::Pipeline,
    retry::LAST_WORD,
    spans::{note_result, note_retry, note_run},
};
use crate::{
    labels::{RetryCause, Stage},
    outcome::{
        compile::{Compiled, not_compiled},
        conclude, evaluation, terminal_results,
    },
    queue::settle::Settlement,
    sandbox::SandboxError,
    services::output_stream::OutputStream,
};

/// How a run ended.
pub(super) enum RunEnd {
    /// The program ended, or did not compile.
    Ran(Box<Ran>),
    /// The sandbox failed.
    Failed(SandboxError),
    /// The job was cancelled.
    Cancelled {
        /// On behalf of whom.
        by: String,
    },
    /// The worker stops.
    Stopped,
}

impl Pipeline {
    /// Compiles the program if need be and runs it, renewing the lease meanwhile.
    pub(super) async fn run(&self, attempt: &mut Attempt<'_>) -> RunEnd {
        let Attempt {
            job_id,
            compile,
            plan,
            evaluation,
            proven_tenant,
            owner,
            number,
            cancellations,
            scopes,
            ..
        } = attempt;
        self.hooks.started(job_id, &attempt.facts);
        let begun = Instant::now();
        attempt.begun = begun;
        let output_stream = attempt
            .is_streamed
            .then(|| OutputStream::open(&self.store, job_id.clone(), *number, owner.clone()));
        let watcher = |stream, bytes: &[u8]| {
            self.hooks.output(job_id, stream, bytes);
            if let Some(output_stream) = &output_stream {
                output_stream.push(stream, bytes);
            }
        };
        let end = tokio::select! {
            biased;
            ran = self.compile_and_run(compile.as_ref(), plan, evaluation.as_ref(), proven_tenant.as_deref(), &watcher) => match ran {
                Ok(ran) => RunEnd::Ran(Box::new(ran)),
                Err(error) => RunEnd::Failed(error),
            },
            () = self.shutdown.aborted() => RunEnd::Stopped,
            // Beside the program and not in its way: a slow store must not stop its output.
            by = self.keep_lease(job_id, owner, scopes, cancellations) => {
                info!(job = %job_id, by, "cancelled");
                RunEnd::Cancelled { by }
            }
        };
        if let Some(output_stream) = output_stream {
            output_stream.finish().await;
        }
        self.hooks.ended(job_id, &attempt.facts, begun.elapsed());
        end
    }

    /// Renews the lease until the job is cancelled; answers on behalf of whom. A notice only brings
    /// the next renewal forward.
    async fn keep_lease(
        &self,
        job: &JobId,
        owner: &str,
        scopes: &[Scope],
        cancellations: &mut broadcast::Receiver<CancelNotice>,
    ) -> String {
        let mut renewed = Some(Instant::now());
        loop {
            tokio::select! {
                () = sleep(self.config.lease / 3) => {}
                () = cancel_requested(job, cancellations) => {}
            }
            match self.store.renew(job, owner, self.config.lease, scopes).await {
                Ok(Renewed::GoOn) => renewed = Some(Instant::now()),
                Ok(Renewed::Cancelled { by }) => return by,
                // Said once, when it matters.
                Err(error) if renewed.is_some_and(|at| at.elapsed() > self.config.lease) => {
                    renewed = None;
                    self.hooks.lease_lost(job);
                    warn!(%job, %error, "the lease of a running job has ended; another worker may start it too");
                }
                Err(error) => debug!(%job, %error, "a lease could not be renewed"),
            }
        }
    }

    /// The result of a program that ended or did not compile.
    pub(super) fn conclude(&self, attempt: &mut Attempt<'_>, ran: Ran) -> JobResult {
        let description = self.sandbox.description();
        attempt.facts.run = Some(run_facts(&attempt.plan, &ran));
        let compiled = |compiled: Option<Compiled>| match compiled {
            Some(compiled) => attempt.result().has_compiled(compiled),
            None => attempt.result(),
        };
        let result = match ran {
            Ran::Program(done, outcome) => {
                conclude(compiled(done), &attempt.plan, outcome, description, &self.policy)
            }
            Ran::Tests(done, evaluated) => match &attempt.evaluation {
                Some(tests) => evaluation::conclude(
                    compiled(done),
                    &attempt.plan,
                    tests,
                    evaluated,
                    description,
                ),
                None => evaluation::not_judged(compiled(done), "the job has no tests"),
            },
            Ran::NotJudged(done, why) => evaluation::not_judged(compiled(done), &why),
            Ran::NotCompiled(compiled, failure) => {
                not_compiled(attempt.result().has_compiled(compiled), failure, description)
            }
        };
        note_run(&attempt.facts, attempt.begun, &result);
        result
    }

    /// The result of a job whose last attempt the sandbox failed.
    pub(super) fn give_up(&self, attempt: &Attempt<'_>, error: &SandboxError) -> JobResult {
        terminal_results::exhausted(attempt.result(), Some(error))
    }

    /// Sends the job back for another attempt, after a pause that doubles with each, and once the
    /// sandbox works again.
    pub(super) async fn retry_later(
        &self,
        attempt: &Attempt<'_>,
        error: &SandboxError,
    ) -> Settlement {
        let Attempt { job_id, number, .. } = attempt;
        warn!(job = %job_id, attempt = number, %error, "the sandbox failed; the job is retried");
        let cause = match error {
            SandboxError::HostMemory => RetryCause::HostMemory,
            _ => RetryCause::Sandbox,
        };
        self.hooks.retried(job_id, cause);
        note_retry(&attempt.facts, *number, cause.as_str());
        self.release_lease(attempt).await;
        if self.wait_for_turn(self.config.pause_after(*number)).await {
            self.recover().await;
        }
        Settlement::Requeue
    }

    /// Sends the job back, since the worker stops.
    pub(super) async fn hand_back(&self, attempt: &Attempt<'_>) -> Settlement {
        info!(job = %attempt.job_id, "stopped; the job goes back");
        note_retry(&attempt.facts, attempt.number, "worker_stopped");
        self.release_lease(attempt).await;
        Settlement::Requeue
    }

    /// Stores the result of a run; waits while the store is away. Only what is stored is
    /// acknowledged.
    pub(super) async fn commit_result(
        &self,
        result: &JobResult,
        Attempt { owner, result_ttl, facts, .. }: &mut Attempt<'_>,
    ) -> Settlement {
        let begun = Instant::now();
        let committed =
            self.retry_until_aborted(|| self.store.commit(result, owner, *result_ttl)).await;
        facts.trace.timeline.called(Stage::Commit.as_str(), begun);
        if committed.is_some() {
            note_result(facts, result);
        }
        match committed {
            Some(Committed::Stored) => {
                facts.commit = begun.elapsed();
                self.hooks.stored(result, facts);
                Settlement::Done
            }
            Some(Committed::AlreadyThere) => {
                self.hooks.duplicate(&result.job_id);
                Settlement::Done
            }
            None => Settlement::Requeue,
        }
    }

    async fn release_lease(&self, Attempt { job_id, owner, .. }: &Attempt<'_>) {
        // Without this the next attempt has to wait for the lease's end, and that is all.
        let released = tokio::select! {
            released = self.store.release(job_id, owner) => released,
            () = self.shutdown.drained_since(LAST_WORD) => return,
        };
        if let Err(error) = released {
            debug!(job = %job_id, %error, "a lease could not be given back; it ends by itself");
        }
    }
}

/// Waits until `job` may have been cancelled.
async fn cancel_requested(job: &JobId, cancellations: &mut broadcast::Receiver<CancelNotice>) {
    loop {
        match cancellations.recv().await {
            Ok(CancelNotice::Job(other)) if other != *job => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}
