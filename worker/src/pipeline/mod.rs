//! The path of a job: from a delivery to its settlement, in one function.

pub mod exclusive_gate;
mod retry;
#[cfg(test)]
mod tests;
mod turn_away;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use sandfleet_common::{DecodeError, Job, JobId, JobResult, Owner, Verdict, payload_digest};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    task::JoinSet,
    time::sleep,
};
use tracing::{error, info, warn};

use crate::{
    admission::peers::Peers,
    admission::{Admission, Admitted},
    hooks::Hooks,
    outcome::{ResultBuilder, conclude, terminal_results},
    queue::{
        Delivery, Queue,
        settle::{Settlement, settle},
    },
    sandbox::{Outcome, Plan, Sandbox, SandboxError, policy::Policy},
    services::output_stream::OutputStream,
    shutdown::Shutdown,
    store::{
        CancelNotice, Claim, Claimed, Committed, Purpose, Renewed, Store, TenantLimiter,
        TenantPermit,
    },
};

use exclusive_gate::{ExclusiveGate, RunPermit};
pub(crate) use turn_away::{malformed, twin};
use {retry::MAX_DELAY, turn_away::Refusal};

/// Everything a job meets on its way.
pub struct Pipeline {
    /// Where jobs come from.
    pub queue: Arc<dyn Queue>,
    /// Where results go.
    pub store: Arc<dyn Store>,
    /// Where programs run.
    pub sandbox: Arc<dyn Sandbox>,
    /// Who watches.
    pub hooks: Arc<dyn Hooks>,
    /// How many jobs of a tenant run at a time, if that is limited.
    pub tenant_limiter: Option<TenantLimiter>,
    /// The other workers, if there may be any.
    pub peers: Option<Peers>,
    /// What may run.
    pub admission: Admission,
    /// What the sandbox is held to, for verdicts.
    pub policy: Policy,
    /// The numbers.
    pub config: PipelineConfig,
    /// Who runs beside whom.
    pub exclusive_gate: ExclusiveGate,
    /// When to stop.
    pub shutdown: Shutdown,
}

/// The numbers that a pipeline works by.
#[derive(Debug, Clone)]
pub struct PipelineConfig {
    /// This worker's name in results.
    pub worker_id: String,
    /// How often a job may be started.
    pub max_attempts: u32,
    /// How long a claim holds without being renewed.
    pub lease: Duration,
    /// How long results are kept, at most and by default.
    pub result_ttl: Duration,
    /// The first pause after the fleet has failed a job; it doubles with every attempt.
    pub retry_delay: Duration,
}

/// Whether a job may run beside the others of its tenant.
enum TenantSlot {
    /// Nobody counts.
    Free,
    Taken(TenantPermit),
    Full,
    /// The worker stopped before that was known.
    Stopped,
}

impl Pipeline {
    /// Takes jobs, `slots` at a time, until the queue ends.
    pub async fn serve(self: Arc<Self>, slots: usize) {
        let mut workers = JoinSet::new();
        for _ in 0..slots {
            workers.spawn(Arc::clone(&self).work());
        }
        while let Some(ended) = workers.join_next().await {
            if let Err(error) = ended {
                // Its delivery went back to the queue; the slot must not be lost with it.
                error!(%error, "a slot's task ended abnormally; it is started again");
                workers.spawn(Arc::clone(&self).work());
            }
        }
    }

    async fn work(self: Arc<Self>) {
        while let Some(delivery) = self.queue.next().await {
            self.process(delivery).await;
        }
    }

    /// The path of one job.
    async fn process(&self, delivery: Delivery) {
        self.hooks.taken();
        let started_at = Timestamp::now();
        let settlement = self.handle(&delivery, started_at).await;
        settle(delivery, settlement).await;
    }

    async fn handle(&self, delivery: &Delivery, started_at: Timestamp) -> Settlement {
        if let Some(why) = &delivery.malformed {
            return malformed(self.hooks.as_ref(), why);
        }
        let Admitted { job, mut plan } = match self.admission.admit(&delivery.body) {
            Ok(admitted) => admitted,
            Err(DecodeError { job_id: None, message, .. }) => {
                self.hooks.dead_lettered(&message);
                return Settlement::Unreadable(message);
            }
            Err(DecodeError { job_id: Some(job_id), message, payload, elsewhere }) => {
                let refusal = Refusal { job_id, message, payload, elsewhere };
                return self.turn_away(delivery, refusal, started_at).await;
            }
        };
        let mut claim = Claim {
            ttl: job.ttl_ms.map(Duration::from_millis),
            queued_at: job.queued_at,
            ..self.new_claim(payload_digest(&delivery.body))
        };
        let owner = &claim.owner.clone();
        let result_ttl = job.result_ttl_ms.map(Duration::from_millis);
        let mut result_builder = ResultBuilder::of(&self.config.worker_id, &job, started_at);
        let _place = match self.enter(&job, owner).await {
            TenantSlot::Free => None,
            TenantSlot::Taken(place) => Some(place),
            TenantSlot::Full => return Settlement::Postpone,
            TenantSlot::Stopped => return Settlement::Requeue,
        };
        // Listening from before the claim: who calls the job off from then on is heard.
        let cancellations = self.store.cancellations();
        let Some((claimed, _permit)) = self.claim(&job.job_id, &mut claim).await else {
            return Settlement::Requeue;
        };
        match claimed {
            Claimed::Run { attempt, waited } => {
                result_builder.attempt = attempt;
                result_builder.has_waited(waited);
            }
            Claimed::Done => {
                self.hooks.duplicate(&job.job_id);
                return Settlement::Done;
            }
            Claimed::Twin => return twin(self.hooks.as_ref(), &job.job_id),
            Claimed::Busy { .. } | Claimed::LastAttempt | Claimed::Free => {
                return Settlement::Requeue;
            }
            Claimed::Expired { waited, limit } => {
                result_builder.has_waited(waited);
                let result = terminal_results::expired(result_builder, job.ttl_ms, limit);
                return self.refuse(result, &claim.payload, result_ttl).await;
            }
            Claimed::Cancelled { by, attempts } => {
                result_builder.attempt = attempts;
                let result = terminal_results::cancelled(result_builder, &by);
                return self.refuse(result, &claim.payload, result_ttl).await;
            }
            Claimed::Exhausted { attempts } => {
                result_builder.attempt = attempts;
                let result = terminal_results::exhausted(result_builder, attempts, None);
                return self.refuse(result, &claim.payload, result_ttl).await;
            }
        }
        plan.attempt = result_builder.attempt;
        self.hooks.started(&job.job_id, &job.language);
        let begun = Instant::now();
        let output_stream = job.stream.then(|| OutputStream::of(&self.store, &plan, owner));
        let ended = self.run(&plan, owner, cancellations, output_stream.as_ref()).await;
        if let Some(output_stream) = output_stream {
            output_stream.finish().await;
        }
        self.hooks.ended(&job.job_id, begun.elapsed());
        match ended {
            RunEnd::Ran(outcome) => {
                let description = self.sandbox.description();
                let result = conclude(result_builder, &plan, *outcome, description, &self.policy);
                if result.verdict == Some(Verdict::InternalError) {
                    warn!(job = %job.job_id, message = %result.message, "no verdict");
                }
                self.commit_result(result, owner, result_ttl).await
            }
            RunEnd::Failed(error) if result_builder.attempt >= self.config.max_attempts => {
                warn!(job = %job.job_id, %error, "the sandbox failed; no attempt is left");
                let attempts = result_builder.attempt;
                let result = terminal_results::exhausted(result_builder, attempts, Some(&error));
                self.commit_result(result, owner, result_ttl).await
            }
            RunEnd::Failed(error) => {
                let attempt = result_builder.attempt;
                warn!(job = %job.job_id, attempt, %error, "the sandbox failed; the job is retried");
                self.hooks.retried(&job.job_id, &error.to_string());
                self.release_lease(&job.job_id, owner).await;
                self.pause(self.config.retry_delay * 2u32.saturating_pow(attempt.min(16))).await;
                self.recover().await;
                Settlement::Requeue
            }
            RunEnd::Cancelled { by } => {
                info!(job = %job.job_id, by, "cancelled");
                self.commit_result(
                    terminal_results::cancelled(result_builder, &by),
                    owner,
                    result_ttl,
                )
                .await
            }
            RunEnd::Stopped => {
                info!(job = %job.job_id, "stopped; the job goes back");
                self.release_lease(&job.job_id, owner).await;
                Settlement::Requeue
            }
        }
    }

    /// Takes one of the tenant's places, however long the store is away.
    async fn enter(&self, job: &Job, owner: &str) -> TenantSlot {
        let (Some(tenant_limiter), Some(tenant)) = (&self.tenant_limiter, &job.tenant) else {
            return TenantSlot::Free;
        };
        match self.retry_until_ok(|| tenant_limiter.enter(tenant, owner)).await {
            Some(Some(place)) => TenantSlot::Taken(place),
            Some(None) => TenantSlot::Full,
            None => TenantSlot::Stopped,
        }
    }

    /// Claims the job and a place among those that run, however long the store is away or somebody
    /// else holds the job; `None` if the worker stops first. The delivery is kept meanwhile: every
    /// return to the broker counts against what it grants a message.
    async fn claim<'a>(
        &'a self,
        job: &JobId,
        claim: &mut Claim,
    ) -> Option<(Claimed, RunPermit<'a>)> {
        loop {
            // Before the claim: who waits for his turn with a claim could lose it to a neighbour.
            let permit = tokio::select! {
                // In this order: what was taken before the worker was told to stop is run.
                biased;
                permit = self.exclusive_gate.acquire(claim.exclusive) => permit,
                () = self.shutdown.drained() => return None,
            };
            match self.retry_until_ok(|| self.store.claim(job, claim)).await? {
                Claimed::LastAttempt => claim.exclusive = true,
                Claimed::Busy { lease_left } => {
                    drop(permit);
                    // Its owner is alive or the lease ends; either way there is an answer soon after.
                    if !self.wait_for_turn(lease_left.min(MAX_DELAY)).await {
                        return None;
                    }
                }
                claimed => return Some((claimed, permit)),
            }
        }
    }

    /// Runs the program and keeps the lease alive.
    async fn run(
        &self,
        plan: &Plan,
        owner: &str,
        cancellations: broadcast::Receiver<CancelNotice>,
        output_stream: Option<&OutputStream>,
    ) -> RunEnd {
        let watcher = |stream, bytes: &[u8]| {
            self.hooks.output(&plan.job_id, stream, bytes);
            if let Some(output_stream) = output_stream {
                output_stream.push(stream, bytes);
            }
        };
        tokio::select! {
            biased;
            ran = self.sandbox.run(plan, &watcher) => match ran {
                Ok(outcome) => RunEnd::Ran(Box::new(outcome)),
                Err(error) => RunEnd::Failed(error),
            },
            () = self.shutdown.aborted() => RunEnd::Stopped,
            // Beside the program and not in its way: a slow store must not stop its output.
            by = self.keep_lease(&plan.job_id, owner, cancellations) => RunEnd::Cancelled { by },
        }
    }

    /// Renews the lease until somebody calls the job off, and tells who. An alarm only brings the
    /// next renewal forward.
    async fn keep_lease(
        &self,
        job: &JobId,
        owner: &str,
        mut cancellations: broadcast::Receiver<CancelNotice>,
    ) -> String {
        loop {
            tokio::select! {
                () = sleep(self.config.lease / 3) => {}
                () = cancel_requested(job, &mut cancellations) => {}
            }
            match self.store.renew(job, owner, self.config.lease).await {
                Ok(Renewed::GoOn) => {}
                Ok(Renewed::Cancelled { by }) => return by,
                Err(error) => warn!(%job, %error, "a lease could not be renewed"),
            }
        }
    }

    /// A claim of a message with this payload, to run its job.
    fn new_claim(&self, payload: String) -> Claim {
        Claim {
            owner: Owner::new(&self.config.worker_id).to_string(),
            lease: self.config.lease,
            max_attempts: self.config.max_attempts,
            ttl: None,
            queued_at: None,
            exclusive: false,
            payload,
            purpose: Purpose::Run,
        }
    }

    /// How long a result is kept for which a job asks for so long.
    fn bounded_ttl(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(self.config.result_ttl).min(self.config.result_ttl)
    }

    /// Stores the result of a run, however long the store is away. Only what is stored is
    /// acknowledged.
    async fn commit_result(
        &self,
        result: JobResult,
        owner: &str,
        result_ttl: Option<Duration>,
    ) -> Settlement {
        let result_ttl = self.bounded_ttl(result_ttl);
        match self.retry_until_ok(|| self.store.commit(&result, owner, result_ttl)).await {
            Some(Committed::Stored) => {
                self.hooks.stored(&result);
                Settlement::Done
            }
            Some(Committed::AlreadyThere) => {
                self.hooks.duplicate(&result.job_id);
                Settlement::Done
            }
            None => Settlement::Requeue,
        }
    }

    async fn release_lease(&self, job: &JobId, owner: &str) {
        // Without this the next attempt has to wait for the lease's end, and that is all.
        if let Err(error) = self.store.release(job, owner).await {
            warn!(job = %job, %error, "a lease could not be given back; it ends by itself");
        }
    }
}

/// How it was with a program.
enum RunEnd {
    /// It ran to its end.
    Ran(Box<Outcome>),
    /// The sandbox failed.
    Failed(SandboxError),
    /// Somebody called it off.
    Cancelled {
        /// Who.
        by: String,
    },
    /// The worker stops.
    Stopped,
}

/// Waits until `job` may have been called off.
async fn cancel_requested(job: &JobId, cancellations: &mut broadcast::Receiver<CancelNotice>) {
    loop {
        match cancellations.recv().await {
            Ok(CancelNotice::Job(other)) if other != *job => {}
            Ok(_) | Err(RecvError::Lagged(_)) => return,
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}
