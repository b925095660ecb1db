//! Messages whose job isn't run here: each gets a result, or waits for another worker.

use std::time::Duration;

use jiff::Timestamp;
use sandfleet_common::{JobId, JobResult, Needs, Outline, PrintableText, payload_digest};
use tracing::{debug, warn};

use super::Pipeline;
use crate::{
    hooks::Hooks,
    outcome::{ResultBuilder, terminal_results},
    queue::{Delivery, settle::Settlement, waited},
    store::{Claim, Claimed, Purpose, Refused},
};

/// A message that this worker doesn't take.
pub(super) struct Refusal {
    /// Whose id it has.
    pub(super) job_id: JobId,
    /// Why.
    pub(super) message: PrintableText,
    /// The payload that it can speak for.
    pub(super) payload: String,
    /// What a worker has to offer that takes it all the same, if one may.
    pub(super) elsewhere: Option<Needs>,
}

impl Pipeline {
    /// Ends a message that this worker doesn't take: with a result, unless another live worker takes it.
    pub(super) async fn turn_away(
        &self,
        delivery: &Delivery,
        refusal: Refusal,
        started_at: Timestamp,
    ) -> Settlement {
        let Refusal { job_id, message, payload, elsewhere } = refusal;
        if let (Some(peers), Some(needs)) = (&self.peers, &elsewhere) {
            match self.retry_until_ok(|| peers.who_takes(needs)).await {
                Some(Some(worker)) => {
                    return self.put_off(delivery, job_id, &worker, &message, started_at).await;
                }
                Some(None) => {}
                None => return Settlement::Requeue,
            }
        }
        let result_builder = ResultBuilder::unread(&self.config.worker_id, job_id, started_at);
        let result = terminal_results::rejected(result_builder, message);
        let result_ttl = Outline::of(&delivery.body).result_ttl_ms.map(Duration::from_millis);
        self.refuse(result, &payload, result_ttl).await
    }

    /// Lets a message wait for `worker`, as long as its time isn't over.
    async fn put_off(
        &self,
        delivery: &Delivery,
        job_id: JobId,
        worker: &str,
        message: &PrintableText,
        started_at: Timestamp,
    ) -> Settlement {
        let outline = Outline::of(&delivery.body);
        let payload = payload_digest(&delivery.body);
        // A message without a time has at least waited for as long as it was put off.
        let waits_since = || started_at.checked_sub(waited(delivery.put_off)).ok();
        let claim = Claim {
            ttl: outline.ttl_ms.map(Duration::from_millis),
            queued_at: outline.queued_at.or_else(waits_since),
            purpose: Purpose::Look,
            ..self.new_claim(payload)
        };
        let mut result_builder = ResultBuilder::unread(&self.config.worker_id, job_id, started_at);
        let job_id = result_builder.job_id().clone();
        let result_ttl = outline.result_ttl_ms.map(Duration::from_millis);
        match self.retry_until_ok(|| self.store.claim(&job_id, &claim)).await {
            None => Settlement::Requeue,
            Some(Claimed::Twin) => twin(self.hooks.as_ref(), &job_id),
            Some(Claimed::Done) => {
                self.hooks.duplicate(&job_id);
                Settlement::Done
            }
            Some(Claimed::Expired { waited, limit }) => {
                result_builder.has_waited(waited);
                let result =
                    terminal_results::expired_elsewhere(result_builder, limit, worker, message);
                self.refuse(result, &claim.payload, result_ttl).await
            }
            Some(Claimed::Cancelled { by, attempts }) => {
                result_builder.attempt = attempts;
                self.refuse(
                    terminal_results::cancelled(result_builder, &by),
                    &claim.payload,
                    result_ttl,
                )
                .await
            }
            Some(_) => {
                debug!(job = %job_id, worker, %message, "not for this worker; it is put off");
                self.hooks.put_off(&job_id);
                Settlement::Later
            }
        }
    }

    /// Stores the result of a job that isn't run, if it is the job's.
    pub(super) async fn refuse(
        &self,
        result: JobResult,
        payload: &str,
        result_ttl: Option<Duration>,
    ) -> Settlement {
        let result_ttl = self.bounded_ttl(result_ttl);
        match self.retry_until_ok(|| self.store.refuse(&result, payload, result_ttl)).await {
            Some(Refused::Stored) => {
                self.hooks.stored(&result);
                Settlement::Done
            }
            Some(Refused::AlreadyThere) => {
                self.hooks.duplicate(&result.job_id);
                Settlement::Done
            }
            Some(Refused::Twin) => twin(self.hooks.as_ref(), &result.job_id),
            // Its result is about to come. If its worker dies instead, this message is needed.
            Some(Refused::Busy) => Settlement::Later,
            None => Settlement::Requeue,
        }
    }
}

/// The end of a message whose properties can't be parsed.
pub(crate) fn malformed(hooks: &dyn Hooks, why: &PrintableText) -> Settlement {
    warn!(
        %why,
        "the properties of a message can't be parsed; it goes to the queue of unreadable messages"
    );
    hooks.dead_lettered(why);
    Settlement::Unreadable(format!("its properties can't be parsed: {why}").into())
}

/// The end of a message whose id is another job's.
pub(crate) fn twin(hooks: &dyn Hooks, job: &JobId) -> Settlement {
    warn!(%job, "a message has the id of another job; it goes to the queue of unreadable messages");
    hooks.twin(job);
    Settlement::Unreadable(format!("another job has the id {job}: its payload differs").into())
}
