//! Claiming a job: whether it runs now, and what it holds while it does.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use sandfleet_common::{Job, JobId, JobResult, Owner};
use sandfleet_transport::records::{
    CancelNotice, Claim, Claimed, Purpose, Quota, Scope, TenantPermit,
};
use tokio::sync::broadcast;
use tracing::debug;

use super::{
    exclusive_gate::RunPermit,
    parts::{MAX_DELAY, Pipeline},
};
use crate::{
    admission::Admitted,
    evaluation::Evaluation,
    hooks::JobFacts,
    outcome::{ResultBuilder, terminal_results, unreadable::twin},
    queue::{Delivery, settle::Settlement},
    sandbox::Plan,
    traces::Timeline,
};

/// What becomes of a job that was to be claimed.
pub(super) enum Answer<'a> {
    /// It runs here and now.
    Run(Box<Attempt<'a>>),
    /// It ends without being run.
    Finish(Box<Refused>),
    /// Nothing is left to do but to settle its message.
    Settle(Settlement),
}

/// A claimed job. Dropping it frees its place among the jobs of its tenant and of this worker.
pub(super) struct Attempt<'a> {
    pub(super) job_id: JobId,
    /// What observers are told of it.
    pub(super) facts: JobFacts,
    /// When its run began.
    pub(super) begun: Instant,
    /// How its program is compiled first, if it is.
    pub(super) compile: Option<Plan>,
    pub(super) plan: Plan,
    /// Its tenant, if that is proven.
    pub(super) proven_tenant: Option<String>,
    /// What it is run on, if the job has tests.
    pub(super) evaluation: Option<Evaluation>,
    /// Which start of the job this is, from 1.
    pub(super) number: u32,
    /// The lease's owner: unique to this worker process and this delivery.
    pub(super) owner: String,
    /// Whether its output is streamed.
    pub(super) is_streamed: bool,
    pub(super) result_ttl: Duration,
    /// What of it an operator's switch may end.
    pub(super) scopes: Vec<Scope>,
    pub(super) cancellations: broadcast::Receiver<CancelNotice>,
    result_builder: ResultBuilder,
    #[expect(dead_code, reason = "held until the attempt is dropped")]
    permits: (Option<TenantPermit>, RunPermit<'a>),
}

impl Attempt<'_> {
    /// What the result says however the attempt ends.
    pub(super) fn result(&self) -> ResultBuilder {
        self.result_builder.clone()
    }
}

/// The result of a job that isn't run.
pub(super) struct Refused {
    pub(super) result: JobResult,
    /// What observers are told of it.
    pub(super) facts: JobFacts,
    /// Of the message that it is the result of.
    pub(super) payload: String,
    pub(super) result_ttl: Duration,
}

/// Whether a job may run beside the others of its tenant.
enum TenantSlot {
    Taken(Option<TenantPermit>),
    Full,
    /// The worker stopped before that was known.
    Stopped,
}

impl Pipeline {
    /// Claims a job together with its places among the jobs of its tenant and of this worker.
    ///
    /// Waits while the store is away and while another worker holds the job. The delivery is kept
    /// meanwhile: every return to the broker counts against what it grants a message.
    pub(super) async fn claim(
        &self,
        Admitted { job, compile, plan, evaluation }: Admitted,
        (delivery, timeline): (&Delivery, &Timeline),
        payload: String,
        started_at: Timestamp,
    ) -> Answer<'_> {
        let proven = self.config.tenant_users.prove_of(delivery.published_by.as_deref(), &job);
        let mut claim = Claim {
            ttl: job.ttl_ms.map(Duration::from_millis),
            queued_at: job.queued_at,
            scopes: self.scopes(&job, &plan),
            quota: self.quota(&job, proven),
            ..self.new_claim(payload, Purpose::Run)
        };
        let result_ttl = self.config.bounded_ttl(job.result_ttl_ms);
        let mut facts = JobFacts::of(&job).traced(timeline.trace_of(&delivery.trace, &job.job_id));
        let has_waited = |waited| job.queued_at.map(|_| waited);
        let result_builder = ResultBuilder::of(&self.config.worker_id, &job, started_at)
            .proven(proven)
            .traced(facts.trace.id);
        let tenant_permit = match self.take_tenant_slot(&job, &claim.owner).await {
            TenantSlot::Taken(permit) => permit,
            TenantSlot::Full => {
                self.hooks.postponed(&job.job_id);
                return Answer::Settle(Settlement::Postpone);
            }
            TenantSlot::Stopped => return Answer::Settle(Settlement::Requeue),
        };
        // Subscribed before the claim, so that no cancellation after it is missed.
        let cancellations = self.store.cancellations();
        loop {
            // Before the claim: a claim that waits for its turn could be lost to the job beside it.
            let run_permit = tokio::select! {
                // In this order: what was taken before the worker was told to stop is run.
                biased;
                permit = self.exclusive_gate.acquire(claim.exclusive) => permit,
                () = self.shutdown.drained() => return Answer::Settle(Settlement::Requeue),
            };
            let begun = Instant::now();
            let claimed = self.retry_until_drained(|| self.store.claim(&job.job_id, &claim)).await;
            facts.since = Instant::now();
            facts.trace.timeline.called("claim", begun);
            let Some(claimed) = claimed else { return Answer::Settle(Settlement::Requeue) };
            let result = match claimed {
                Claimed::Run { attempt, waited } => {
                    facts.trace.timeline.waited(waited);
                    let attempt = Attempt {
                        job_id: job.job_id,
                        begun: facts.since,
                        facts: JobFacts { waited: has_waited(waited), ..facts },
                        compile,
                        plan,
                        evaluation,
                        proven_tenant: job.tenant.filter(|_| proven == Some(true)),
                        number: attempt,
                        owner: claim.owner,
                        is_streamed: job.stream,
                        result_ttl,
                        scopes: claim.scopes,
                        cancellations,
                        result_builder: result_builder.has_waited(waited).in_attempt(attempt),
                        permits: (tenant_permit, run_permit),
                    };
                    return Answer::Run(Box::new(attempt));
                }
                Claimed::LastAttempt => {
                    claim.exclusive = true;
                    continue;
                }
                Claimed::Busy { lease_left } => {
                    drop(run_permit);
                    // Its owner is alive or the lease ends; either way there is an answer soon after.
                    if self.wait_for_turn(lease_left.min(MAX_DELAY)).await {
                        continue;
                    }
                    return Answer::Settle(Settlement::Requeue);
                }
                Claimed::Done => {
                    self.hooks.duplicate(&job.job_id);
                    return Answer::Settle(Settlement::Done);
                }
                Claimed::Twin => return Answer::Settle(twin(self.hooks.as_ref(), &job.job_id)),
                Claimed::Held { by } => {
                    debug!(job = %job.job_id, by, "held back by an operator; it is put off");
                    self.hooks.held(&job.job_id);
                    return Answer::Settle(Settlement::Later);
                }
                // The store answers this to a look only; then it is not ours to run.
                Claimed::Free => return Answer::Settle(Settlement::Requeue),
                Claimed::Expired { waited, limit } => {
                    facts.waited = has_waited(waited);
                    terminal_results::expired(result_builder.has_waited(waited), job.ttl_ms, limit)
                }
                Claimed::OverBudget(over) => {
                    let most = claim.quota.budget.get(&over.resource).copied().unwrap_or(0);
                    terminal_results::over_budget(result_builder, &claim.quota.account, most, &over)
                }
                Claimed::Cancelled { by, attempts } => {
                    terminal_results::cancelled(result_builder.in_attempt(attempts), &by)
                }
                Claimed::Exhausted { attempts } => {
                    terminal_results::exhausted(result_builder.in_attempt(attempts), None)
                }
            };
            let payload = claim.payload;
            return Answer::Finish(Box::new(Refused { result, facts, payload, result_ttl }));
        }
    }

    /// Takes a place among the jobs of the tenant; waits while the store is away.
    async fn take_tenant_slot(&self, job: &Job, owner: &str) -> TenantSlot {
        let (Some(tenant_limiter), Some(tenant)) = (&self.tenant_limiter, &job.tenant) else {
            return TenantSlot::Taken(None);
        };
        match self.retry_until_drained(|| tenant_limiter.enter(tenant, owner)).await {
            Some(Some(permit)) => TenantSlot::Taken(Some(permit)),
            Some(None) => TenantSlot::Full,
            None => TenantSlot::Stopped,
        }
    }

    /// What of a job an operator's switch may name.
    fn scopes(&self, job: &Job, plan: &Plan) -> Vec<Scope> {
        let mut scopes = vec![Scope::All, Scope::Language(job.language.clone())];
        scopes.extend(job.tenant.clone().map(Scope::Tenant));
        let root = self.sandbox.root_tree(&plan.image);
        scopes.extend(root.and_then(|root| root.digest).map(Scope::Image));
        scopes
    }

    /// On which account a job goes, and what may be used of it.
    fn quota(&self, job: &Job, proven: Option<bool>) -> Quota {
        let account = self.config.tenant_users.account(job.tenant.as_deref(), proven);
        Quota { account: account.to_owned(), budget: self.config.budgets.of(account) }
    }

    /// A claim of a message with this payload.
    pub(super) fn new_claim(&self, payload: String, purpose: Purpose) -> Claim {
        Claim {
            owner: Owner::new(&self.config.worker_id).to_string(),
            lease: self.config.lease,
            max_attempts: self.config.max_attempts,
            ttl: None,
            queued_at: None,
            exclusive: false,
            payload,
            purpose,
            scopes: Vec::new(),
            quota: Quota::default(),
        }
    }
}
