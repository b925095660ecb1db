//! Messages whose job isn't run here: each gets a result, or waits for another worker.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use sandfleet_common::{DecodeError, JobId, Outline, PrintableText, payload_digest};
use sandfleet_transport::records::{self, Claim, Claimed, Purpose};
use tracing::debug;

use super::{claim::Refused, parts::Pipeline, spans::note_result};
use crate::{
    hooks::JobFacts,
    labels::Stage,
    outcome::{ResultBuilder, terminal_results, unreadable::twin},
    queue::{Delivery, settle::Settlement, waited},
    traces::Timeline,
};

impl Pipeline {
    /// Ends a message that this worker doesn't take: with a result, unless another live worker takes it.
    pub(super) async fn turn_away(
        &self,
        (delivery, timeline): (&Delivery, &Timeline),
        refusal: DecodeError,
        started_at: Timestamp,
    ) -> Settlement {
        let DecodeError { job_id, message, payload, elsewhere } = refusal;
        let Some(job_id) = job_id else {
            self.hooks.unreadable(&message);
            return Settlement::Unreadable(message);
        };
        if let (Some(peers), Some(needs)) = (&self.peers, &elsewhere) {
            match self.retry_until_drained(|| peers.who_takes(needs)).await {
                Some(Some(worker)) => {
                    return self
                        .put_off((delivery, timeline), job_id, &worker, &message, started_at)
                        .await;
                }
                Some(None) => {}
                None => return Settlement::Requeue,
            }
        }
        let facts = JobFacts::unread().traced(timeline.trace_of(&delivery.trace, &job_id));
        let result_builder = ResultBuilder::unread(&self.config.worker_id, job_id, started_at)
            .traced(facts.trace.id);
        let result = terminal_results::rejected(result_builder, message);
        let result_ttl = self.config.bounded_ttl(Outline::of(&delivery.body).result_ttl_ms);
        self.refuse(Refused { result, facts, payload, result_ttl }).await
    }

    /// Lets a message wait for `worker`, as long as its time isn't over.
    async fn put_off(
        &self,
        (delivery, timeline): (&Delivery, &Timeline),
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
            ..self.new_claim(payload, Purpose::Look)
        };
        let facts = JobFacts::unread().traced(timeline.trace_of(&delivery.trace, &job_id));
        let result_builder =
            ResultBuilder::unread(&self.config.worker_id, job_id.clone(), started_at)
                .traced(facts.trace.id);
        let result = match self.retry_until_drained(|| self.store.claim(&job_id, &claim)).await {
            None => return Settlement::Requeue,
            Some(Claimed::Twin) => return twin(self.hooks.as_ref(), &job_id),
            Some(Claimed::Done) => {
                self.hooks.duplicate(&job_id);
                return Settlement::Done;
            }
            Some(Claimed::Expired { waited, limit }) => terminal_results::expired_elsewhere(
                result_builder.has_waited(waited),
                limit,
                worker,
                message,
            ),
            Some(Claimed::Cancelled { by, attempts }) => {
                terminal_results::cancelled(result_builder.in_attempt(attempts), &by)
            }
            Some(_) => {
                debug!(job = %job_id, worker, %message, "not for this worker; it is put off");
                self.hooks.put_off(&job_id);
                return Settlement::Later;
            }
        };
        let result_ttl = self.config.bounded_ttl(outline.result_ttl_ms);
        self.refuse(Refused { result, facts, payload: claim.payload, result_ttl }).await
    }

    /// Stores the result of a job that isn't run, if it is the job's.
    pub(super) async fn refuse(&self, refused: Refused) -> Settlement {
        let Refused { result, mut facts, payload, result_ttl } = refused;
        let begun = Instant::now();
        let refused =
            self.retry_until_drained(|| self.store.refuse(&result, &payload, result_ttl)).await;
        facts.trace.timeline.called(Stage::Commit.as_str(), begun);
        if refused.is_some() {
            note_result(&facts, &result);
        }
        match refused {
            Some(records::Refused::Stored) => {
                facts.commit = begun.elapsed();
                self.hooks.stored(&result, &facts);
                Settlement::Done
            }
            Some(records::Refused::AlreadyThere) => {
                self.hooks.duplicate(&result.job_id);
                Settlement::Done
            }
            Some(records::Refused::Twin) => twin(self.hooks.as_ref(), &result.job_id),
            // Its result is about to come. If its worker dies instead, this message is needed.
            Some(records::Refused::Busy) => Settlement::Later,
            None => Settlement::Requeue,
        }
    }
}
