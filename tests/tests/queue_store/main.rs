//! What every queue and every store promises: one suite, run against each backend.

mod cancel;
mod claim;
mod delivery;
mod expiry;
mod state;
mod twins;

use std::time::Duration;

use sandfleet_common::{JobId, encode, payload_digest};
use sandfleet_tests::{Backends, soon};
use sandfleet_transport::records::{Claim, Claimed};
use sandfleet_worker::queue::settle::{Settlement, settle};

macro_rules! suite {
    ($($file:ident: $($claim:ident)+;)+) => {
        mod memory {
            $($(#[tokio::test] async fn $claim() { crate::$file::$claim(crate::Backends::memory()).await })+)+
        }
        mod amqp_and_redis {
            $($(#[tokio::test] async fn $claim() { crate::$file::$claim(crate::Backends::services()).await })+)+
        }
    };
}

suite! {
    delivery:
        an_acknowledged_delivery_never_comes_back
        an_unsettled_delivery_comes_back_when_its_worker_is_gone
        a_dropped_delivery_comes_back
        a_requeued_delivery_comes_back
        a_message_that_is_set_aside_carries_its_reason
        a_delivery_that_is_put_off_comes_back_later_and_lets_others_pass
        every_delivery_is_given_once
        a_stopped_queue_gives_nothing_and_what_was_taken_can_be_settled;
    claim:
        the_first_result_wins
        a_lost_answer_to_a_commit_is_no_lost_race
        a_lease_keeps_others_away_until_it_ends
        a_renewed_lease_holds_and_only_its_owner_renews_it
        a_released_lease_is_free_at_once_and_only_its_owner_releases_it
        attempts_are_counted_and_run_out
        claiming_again_after_a_lost_answer_counts_once
        a_job_with_a_result_is_not_claimed
        a_stale_attempt_does_not_replace_the_result;
    state:
        a_job_is_unknown_then_running_then_done
        a_result_is_gone_when_its_time_is_over
        a_record_is_created_once_and_its_answer_is_the_jobs_state
        a_job_stays_in_the_trace_that_it_was_submitted_in_first
        a_submitted_job_is_queued_then_running_then_done_then_forgotten
        a_job_is_not_claimed_again_when_its_result_is_past_its_time;
    twins:
        a_twin_is_not_claimed_whatever_became_of_the_job
        the_first_payload_that_is_claimed_defines_the_job
        a_refusal_yields_to_another_payload
        a_refusal_yields_to_a_live_lease_and_not_to_a_dead_one
        a_refusal_counts_no_attempt_and_the_first_one_stays
        a_look_counts_and_defines_nothing;
    expiry:
        a_job_expires_by_the_stores_clock_whatever_its_message_says
        a_job_that_nobody_wrote_down_expires_by_its_messages_time
        a_job_that_was_started_in_time_does_not_expire;
    cancel:
        a_waiting_job_that_is_cancelled_has_its_result_at_once
        a_running_job_that_is_cancelled_is_told_so_by_alarm_and_by_renewal
        a_cancelled_job_of_a_dead_worker_is_not_run_again
        cancelling_what_has_ended_or_never_was_changes_nothing;
}

pub(crate) const LONG: Duration = Duration::from_secs(600);
pub(crate) const SHORT: Duration = Duration::from_millis(400);

/// A claim by `owner` of a job that was [submitted](state::submitted).
pub(crate) fn claim(owner: &str) -> Claim {
    Claim { payload: payload_digest(&encode(&state::job())), ..sandfleet_tests::claim(owner) }
}

/// Which attempt a claim that has to succeed was given.
pub(crate) async fn attempt(backends: &Backends, job: &JobId, claim: &Claim) -> u32 {
    match backends.store.claim(job, claim).await.expect("answered") {
        Claimed::Run { attempt, .. } => attempt,
        other => panic!("{other:?} instead of an attempt"),
    }
}

#[tokio::test]
async fn a_closed_memory_queue_ends_when_all_is_settled() {
    use sandfleet_worker::queue::{MemoryQueue, Queue};
    let queue = MemoryQueue::new();
    queue.push(b"job".to_vec());
    queue.close();
    let delivery = queue.next().await.expect("it holds a job");
    let (again, _) = soon("the job's return", async {
        tokio::join!(queue.next(), settle(delivery, Settlement::Requeue))
    })
    .await;
    let again = again.expect("an unsettled job may come back, so the queue isn't over");
    let (end, _) =
        soon("the end", async { tokio::join!(queue.next(), settle(again, Settlement::Done)) })
            .await;
    assert!(end.is_none());
}
