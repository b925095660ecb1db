//! The path of a job: from a delivery to its settlement. One loop, and one function.

mod claim;
mod compile;
pub mod compile_cache;
mod evaluate;
pub mod exclusive_gate;
mod facts;
mod interact;
mod parts;
mod retry;
mod run;
mod spans;
#[cfg(test)]
mod tests;
mod turn_away;

use std::{sync::Arc, time::Instant};

use jiff::Timestamp;
use sandfleet_common::payload_digest;
use tokio::task::JoinSet;
use tracing::error;

use self::{claim::Answer, run::RunEnd, spans::note_settlement};
use crate::{
    labels::Call,
    outcome::{terminal_results, unreadable::malformed},
    queue::{
        Delivery,
        settle::{Settlement, settle},
    },
    traces::Timeline,
};

pub use self::parts::{Pipeline, PipelineConfig};

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
            self.hooks.taken(delivery.is_redelivered);
            if let Some(why) = &delivery.trace.ignored {
                self.hooks.trace_ignored(why);
            }
            let timeline = self.tracer.follow(&delivery.trace);
            let settlement = self.process(&delivery, &timeline).await;
            note_settlement(&timeline, &delivery, &settlement);
            let begun = Instant::now();
            let is_settled = settle(delivery, settlement).await;
            self.hooks.called(Call::Settle, begun.elapsed(), is_settled);
            timeline.end(begun);
        }
    }

    /// The path of one job. Its message is acknowledged when its result is in the store, or when the broker
    /// has confirmed a copy in another queue.
    async fn process(&self, delivery: &Delivery, timeline: &Timeline) -> Settlement {
        let started_at = Timestamp::now();
        // Its properties can't be parsed: nothing in the body counts.
        if let Some(why) = &delivery.malformed {
            return malformed(self.hooks.as_ref(), why);
        }
        let admitted = match self.admission.admit(&delivery.body) {
            Ok(admitted) => admitted,
            // Not readable, not valid, or for another worker.
            Err(refusal) => return self.turn_away((delivery, timeline), refusal, started_at).await,
        };
        delivery.note_queued_at(admitted.job.queued_at);
        let payload = payload_digest(&delivery.body);
        let mut attempt =
            match self.claim(admitted, (delivery, timeline), payload, started_at).await {
                Answer::Run(attempt) => attempt,
                // It ends without being run: too late, cancelled, or out of attempts.
                Answer::Finish(refused) => return self.refuse(*refused).await,
                // It has a result, is not this message's job, or goes back.
                Answer::Settle(settlement) => return settlement,
            };
        let result = match self.run(&mut attempt).await {
            // However the program fared, or its compiler, that is its result.
            RunEnd::Ran(ran) => self.conclude(&mut attempt, *ran),
            RunEnd::Cancelled { by } => terminal_results::cancelled(attempt.result(), &by),
            // The sandbox failed, and not the program: another attempt, if one is left.
            RunEnd::Failed(error) if attempt.number < self.config.max_attempts => {
                return self.retry_later(&attempt, &error).await;
            }
            RunEnd::Failed(error) => self.give_up(&attempt, &error),
            // The worker stops: another worker runs it.
            RunEnd::Stopped => return self.hand_back(&attempt).await,
        };
        self.commit_result(&result, &mut attempt).await
    }
}
