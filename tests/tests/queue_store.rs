//! What every queue and every store promises: one suite, run by each pair.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use sandfleet_common::{Job, JobId, JobState, Status};
use sandfleet_sdk::Cancellation;
use sandfleet_tests::{Pair, claim, eventually, result, soon};
use sandfleet_worker::{
    queue::settle::{Settlement, settle},
    store::{Alarm, Claim, Claimed, Committed, Renewed},
};

macro_rules! suite {
    ($($claim:ident)+) => {
        mod memory {
            $(#[tokio::test] async fn $claim() { super::$claim(super::Pair::memory()).await })+
        }
        mod amqp_and_redis {
            $(#[tokio::test] async fn $claim() { super::$claim(super::Pair::services()).await })+
        }
    };
}

suite! {
    an_acknowledged_delivery_never_comes_back
    an_unsettled_delivery_comes_back_when_its_worker_is_gone
    a_dropped_delivery_comes_back
    a_requeued_delivery_comes_back
    a_dead_letter_carries_its_reason
    every_delivery_is_given_once
    a_stopped_queue_gives_nothing_and_what_was_taken_can_be_settled
    the_first_result_wins
    a_lost_answer_to_a_commit_is_no_lost_race
    a_lease_keeps_others_away_until_it_ends
    a_renewed_lease_holds_and_only_its_owner_renews_it
    a_released_lease_is_free_at_once_and_only_its_owner_releases_it
    attempts_are_counted_and_run_out
    claiming_again_after_a_lost_answer_counts_once
    a_job_with_a_result_is_not_claimed
    a_job_is_unknown_then_running_then_done
    a_submitted_job_is_queued_then_running_then_done_then_forgotten
    a_result_is_gone_when_its_time_is_over
    a_job_is_not_claimed_again_when_its_result_is_past_its_time
    a_stale_attempt_does_not_replace_the_result
    a_job_expires_by_the_stores_clock_whatever_its_message_says
    a_job_that_nobody_wrote_down_expires_by_its_messages_time
    a_job_that_was_started_in_time_does_not_expire
    a_waiting_job_that_is_cancelled_has_its_result_at_once
    a_running_job_that_is_cancelled_is_told_so_by_alarm_and_by_renewal
    a_cancelled_job_of_a_dead_worker_is_not_run_again
    cancelling_what_has_ended_or_never_was_changes_nothing
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(400);

/// Which attempt a claim that has to succeed was given.
async fn attempt(pair: &Pair, job: &JobId, claim: &Claim) -> u32 {
    match pair.store.claim(job, claim).await.expect("answered") {
        Claimed::Run { attempt, .. } => attempt,
        other => panic!("{other:?} instead of an attempt"),
    }
}

async fn an_acknowledged_delivery_never_comes_back(pair: Pair) {
    let worker = pair.worker(1).await;
    pair.push(b"first").await;
    settle(worker.take().await, Settlement::Done).await;
    pair.push(b"second").await;
    let second = worker.take().await;
    assert_eq!(second.body, b"second");
    worker.vanish(second).await;
    let other = pair.worker(1).await;
    assert_eq!(other.take().await.body, b"second");
}

async fn an_unsettled_delivery_comes_back_when_its_worker_is_gone(pair: Pair) {
    let worker = pair.worker(1).await;
    pair.push(b"job").await;
    let delivery = worker.take().await;
    worker.vanish(delivery).await;
    assert_eq!(pair.worker(1).await.take().await.body, b"job");
}

async fn a_dropped_delivery_comes_back(pair: Pair) {
    let worker = pair.worker(1).await;
    pair.push(b"job").await;
    drop(worker.take().await);
    assert_eq!(worker.take().await.body, b"job");
}

async fn a_requeued_delivery_comes_back(pair: Pair) {
    let worker = pair.worker(1).await;
    pair.push(b"job").await;
    settle(worker.take().await, Settlement::Requeue).await;
    assert_eq!(worker.take().await.body, b"job");
}

async fn a_dead_letter_carries_its_reason(pair: Pair) {
    let worker = pair.worker(1).await;
    pair.push(b"{broken").await;
    let delivery = worker.take().await;
    settle(delivery, Settlement::DeadLetter("names no job: ä".into())).await;
    let letter = eventually("a dead letter", || pair.dead_letter()).await;
    assert_eq!(letter, (b"{broken".to_vec(), "names no job: ä".to_owned()));
    // It left its queue: the next job is another one.
    pair.push(b"job").await;
    assert_eq!(worker.take().await.body, b"job");
}

async fn every_delivery_is_given_once(pair: Pair) {
    let (one, two) = (pair.worker(3).await, pair.worker(2).await);
    let sent: BTreeSet<Vec<u8>> = (0..200).map(|n| format!("job {n}").into_bytes()).collect();
    for body in &sent {
        pair.push(body).await;
    }
    let mut taken = Vec::new();
    while taken.len() < sent.len() {
        let delivery = soon("a job", async {
            tokio::select! { job = one.queue.next() => job, job = two.queue.next() => job }
        })
        .await
        .expect("the queue goes on");
        taken.push(delivery.body.clone());
        settle(delivery, Settlement::Done).await;
    }
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), sent);
}

async fn a_stopped_queue_gives_nothing_and_what_was_taken_can_be_settled(pair: Pair) {
    let worker = pair.worker(2).await;
    pair.push(b"taken").await;
    let taken = worker.take().await;
    let (waiting, ()) = soon("the end of the wait", async {
        tokio::join!(worker.queue.next(), async {
            // Now somebody waits, so `stop` has to wake them.
            tokio::task::yield_now().await;
            worker.queue.stop().await;
        })
    })
    .await;
    assert!(waiting.is_none());
    pair.push(b"left").await;
    assert!(soon("the end", worker.queue.next()).await.is_none());
    settle(taken, Settlement::Done).await;
    if let Some(other) = pair.another_worker(1).await {
        let left = other.take().await;
        assert_eq!(left.body, b"left");
        settle(left, Settlement::Done).await;
        worker.vanish_idle().await;
        pair.push(b"last").await;
        assert_eq!(other.take().await.body, b"last", "a settled job came back");
    }
}

async fn the_first_result_wins(pair: Pair) {
    let job = JobId::generate();
    let (first, second) = (result(&job, "first"), result(&job, "second"));
    assert_eq!(pair.store.commit(&first, "a", LONG).await.expect("stored"), Committed::Stored);
    assert_eq!(
        pair.store.commit(&second, "b", LONG).await.expect("answered"),
        Committed::AlreadyThere
    );
    assert_eq!(pair.store.get(&job).await.expect("read"), JobState::Done(Box::new(first)));
}

async fn a_lost_answer_to_a_commit_is_no_lost_race(pair: Pair) {
    let result = result(&JobId::generate(), "the only one");
    for _ in 0..2 {
        let committed = pair.store.commit(&result, "a", LONG).await.expect("stored");
        assert_eq!(committed, Committed::Stored);
    }
}

async fn a_lease_keeps_others_away_until_it_ends(pair: Pair) {
    let job = JobId::generate();
    let short = Claim { lease: SHORT, ..claim("a") };
    assert_eq!(attempt(&pair, &job, &short).await, 1);
    match pair.store.claim(&job, &claim("b")).await.expect("answered") {
        Claimed::Busy { lease_left } => assert!(lease_left <= SHORT && !lease_left.is_zero()),
        other => panic!("{other:?} although somebody holds it"),
    }
    let attempt = eventually("the end of the lease", || async {
        match pair.store.claim(&job, &claim("b")).await.expect("answered") {
            Claimed::Busy { .. } => None,
            Claimed::Run { attempt, .. } => Some(attempt),
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert_eq!(attempt, 2);
}

async fn a_renewed_lease_holds_and_only_its_owner_renews_it(pair: Pair) {
    let (kept, lost) = (JobId::generate(), JobId::generate());
    for job in [&kept, &lost] {
        let short = Claim { lease: SHORT, ..claim("a") };
        pair.store.claim(job, &short).await.expect("claimed");
    }
    assert_eq!(pair.store.renew(&kept, "a", LONG).await.expect("renewed"), Renewed::GoOn);
    pair.store.renew(&lost, "b", LONG).await.expect("ignored");
    eventually("the end of the lease that its owner didn't renew", || async {
        let state = pair.store.get(&lost).await.expect("read");
        state.is_queued().then_some(())
    })
    .await;
    assert!(pair.store.get(&kept).await.expect("read").is_running());
    // A renewal that comes too late doesn't bring a lease back.
    pair.store.renew(&lost, "a", LONG).await.expect("ignored");
    assert!(pair.store.get(&lost).await.expect("read").is_queued());
}

async fn a_released_lease_is_free_at_once_and_only_its_owner_releases_it(pair: Pair) {
    let job = JobId::generate();
    pair.store.claim(&job, &claim("a")).await.expect("claimed");
    pair.store.release(&job, "b").await.expect("ignored");
    assert!(pair.store.get(&job).await.expect("read").is_running());
    pair.store.release(&job, "a").await.expect("released");
    assert_eq!(attempt(&pair, &job, &claim("b")).await, 2);
}

async fn attempts_are_counted_and_run_out(pair: Pair) {
    let job = JobId::generate();
    for number in 1..=3 {
        let owner = format!("owner {number}");
        let alone = number == 3;
        if alone {
            // Not for who would run it beside others, however often he asks.
            for _ in 0..2 {
                let claimed = pair.store.claim(&job, &claim(&owner)).await.expect("answered");
                assert_eq!(claimed, Claimed::LastAttempt);
            }
        }
        let claim = Claim { alone, ..claim(&owner) };
        assert_eq!(attempt(&pair, &job, &claim).await, number);
        pair.store.release(&job, &owner).await.expect("released");
    }
    for _ in 0..2 {
        let claimed = pair.store.claim(&job, &claim("late")).await.expect("answered");
        assert_eq!(claimed, Claimed::Exhausted { attempts: 3 });
    }
    assert!(pair.store.get(&job).await.expect("read").is_queued());
}

async fn claiming_again_after_a_lost_answer_counts_once(pair: Pair) {
    let job = JobId::generate();
    for _ in 0..2 {
        assert_eq!(attempt(&pair, &job, &claim("a")).await, 1);
    }
}

async fn a_job_with_a_result_is_not_claimed(pair: Pair) {
    let job = JobId::generate();
    pair.store.commit(&result(&job, "done"), "a", LONG).await.expect("stored");
    assert_eq!(pair.store.claim(&job, &claim("b")).await.expect("answered"), Claimed::Done);
}

async fn a_job_is_unknown_then_running_then_done(pair: Pair) {
    let job = JobId::generate();
    assert_eq!(pair.store.get(&job).await.expect("read"), JobState::Unknown);
    pair.store.claim(&job, &claim("a")).await.expect("claimed");
    assert!(pair.store.get(&job).await.expect("read").is_running());
    let result = result(&job, "done");
    pair.store.commit(&result, "a", LONG).await.expect("stored");
    assert_eq!(pair.store.get(&job).await.expect("read"), JobState::Done(Box::new(result)));
}

async fn a_result_is_gone_when_its_time_is_over(pair: Pair) {
    let job = JobId::generate();
    pair.store.claim(&job, &claim("a")).await.expect("claimed");
    pair.store.commit(&result(&job, "brief"), "a", SHORT).await.expect("stored");
    eventually("the end of the result", || async {
        let state = pair.store.get(&job).await.expect("read");
        (state == JobState::Forgotten(Status::Succeeded)).then_some(())
    })
    .await;
}

/// A job that was written down.
async fn submitted(pair: &Pair) -> Job {
    let mut job = Job::new("python", "1");
    job.metadata = [("note".to_owned(), serde_json::json!([1, {}]))].into();
    pair.store.register(&job).await.expect("written down");
    job
}

async fn a_submitted_job_is_queued_then_running_then_done_then_forgotten(pair: Pair) {
    let Job { job_id, .. } = submitted(&pair).await;
    let JobState::Queued(queued) = pair.store.get(&job_id).await.expect("read") else {
        panic!("it waits")
    };
    let waits = queued.queued_at.expect("written down").duration_until(Timestamp::now());
    assert!(waits.as_secs() < 60, "{waits}");
    assert_eq!((queued.attempts, queued.language.as_deref()), (0, Some("python")));
    attempt(&pair, &job_id, &claim("worker-1/x")).await;
    let JobState::Running(running) = pair.store.get(&job_id).await.expect("read") else {
        panic!("it runs")
    };
    assert_eq!((running.worker_id.as_str(), running.attempt), ("worker-1", 1));
    assert!(running.started_at.is_some() && !running.cancelled);
    pair.store.commit(&result(&job_id, "brief"), "worker-1/x", SHORT).await.expect("stored");
    assert!(matches!(pair.store.get(&job_id).await.expect("read"), JobState::Done(_)));
    eventually("the end of the result", || async {
        let state = pair.store.get(&job_id).await.expect("read");
        (state == JobState::Forgotten(Status::Succeeded)).then_some(())
    })
    .await;
}

async fn a_job_is_not_claimed_again_when_its_result_is_past_its_time(pair: Pair) {
    let job = JobId::generate();
    attempt(&pair, &job, &claim("a")).await;
    pair.store.commit(&result(&job, "brief"), "a", SHORT).await.expect("stored");
    eventually("the end of the result", || async {
        let state = pair.store.get(&job).await.expect("read");
        (!matches!(state, JobState::Done(_))).then_some(())
    })
    .await;
    assert_eq!(pair.store.claim(&job, &claim("b")).await.expect("answered"), Claimed::Done);
    let late = pair.store.commit(&result(&job, "late"), "c", LONG).await.expect("answered");
    assert_eq!(late, Committed::AlreadyThere);
    assert!(matches!(pair.store.get(&job).await.expect("read"), JobState::Forgotten(_)));
}

async fn a_stale_attempt_does_not_replace_the_result(pair: Pair) {
    let job = JobId::generate();
    let short = Claim { lease: SHORT, ..claim("stale") };
    assert_eq!(attempt(&pair, &job, &short).await, 1);
    let second = eventually("the end of the lease", || async {
        match pair.store.claim(&job, &claim("fresh")).await.expect("answered") {
            Claimed::Run { attempt, .. } => Some(attempt),
            _ => None,
        }
    })
    .await;
    assert_eq!(second, 2);
    let fresh = result(&job, "fresh");
    assert_eq!(pair.store.commit(&fresh, "fresh", LONG).await.expect("stored"), Committed::Stored);
    let stale = pair.store.commit(&result(&job, "stale"), "stale", LONG).await.expect("answered");
    assert_eq!(stale, Committed::AlreadyThere);
    assert_eq!(pair.store.get(&job).await.expect("read"), JobState::Done(Box::new(fresh)));
}

/// A time that many hours from now, as a producer's wrong clock would say.
fn hours_from_now(hours: i64) -> Option<Timestamp> {
    Some(Timestamp::now() + jiff::SignedDuration::from_hours(hours))
}

async fn a_job_expires_by_the_stores_clock_whatever_its_message_says(pair: Pair) {
    for hours in [-1, 1] {
        let (fresh, old) = (submitted(&pair).await.job_id, submitted(&pair).await.job_id);
        // An hour by the message's clock: not yet over, or long over.
        let wrong = Claim { ttl: Some(LONG), queued_at: hours_from_now(hours), ..claim("a") };
        assert_eq!(attempt(&pair, &fresh, &wrong).await, 1);
        let brief = Claim { ttl: Some(SHORT), ..wrong };
        let (waited, limit) = eventually("the end of its time", || async {
            // Another job each time would be needed if it could be claimed.
            let state = pair.store.get(&old).await.expect("read");
            let JobState::Queued(queued) = state else { panic!("{state:?}") };
            let since = queued.queued_at.expect("written down").duration_until(Timestamp::now());
            if since <= jiff::SignedDuration::try_from(SHORT * 2).expect("short") {
                return None;
            }
            match pair.store.claim(&old, &brief).await.expect("answered") {
                Claimed::Expired { waited, limit } => Some((waited, limit)),
                other => panic!("{other:?} of a job that has waited {since}"),
            }
        })
        .await;
        assert!(limit == SHORT && waited > SHORT && waited < LONG, "{waited:?} of {limit:?}");
    }
}

async fn a_job_that_nobody_wrote_down_expires_by_its_messages_time(pair: Pair) {
    let claimed = async |hours| {
        let claim = Claim { ttl: Some(LONG), queued_at: hours_from_now(hours), ..claim("a") };
        pair.store.claim(&JobId::generate(), &claim).await.expect("answered")
    };
    assert!(matches!(claimed(-1).await, Claimed::Expired { limit: LONG, .. }));
    assert!(matches!(claimed(1).await, Claimed::Run { attempt: 1, waited: Duration::ZERO }));
}

async fn a_job_that_was_started_in_time_does_not_expire(pair: Pair) {
    let job = JobId::generate();
    let first = Claim { ttl: Some(LONG), queued_at: Some(Timestamp::now()), ..claim("a") };
    assert_eq!(attempt(&pair, &job, &first).await, 1);
    pair.store.release(&job, "a").await.expect("released");
    let later = Claim { ttl: Some(Duration::from_nanos(1)), ..claim("b") };
    assert_eq!(attempt(&pair, &job, &later).await, 2);
}

async fn a_waiting_job_that_is_cancelled_has_its_result_at_once(pair: Pair) {
    let job = submitted(&pair).await;
    let cancelled = pair.store.cancel(&job.job_id, "somebody", LONG).await.expect("answered");
    assert_eq!(cancelled, Cancellation::Cancelled);
    let JobState::Done(result) = pair.store.get(&job.job_id).await.expect("read") else {
        panic!("it has a result")
    };
    assert_eq!((result.status, result.verdict, result.attempt), (Status::Cancelled, None, 0));
    assert_eq!(result.message, "cancelled by somebody before it was started");
    assert_eq!(result.metadata, job.metadata);
    let claimed = pair.store.claim(&job.job_id, &claim("a")).await.expect("answered");
    assert_eq!(claimed, Claimed::Done);
}

async fn a_running_job_that_is_cancelled_is_told_so_by_alarm_and_by_renewal(pair: Pair) {
    let (job, other) = (submitted(&pair).await.job_id, submitted(&pair).await.job_id);
    let mut alarms = pair.store.alarms();
    for id in [&job, &other] {
        attempt(&pair, id, &claim("a")).await;
    }
    let told = pair.store.cancel(&job, "somebody", LONG).await.expect("answered");
    assert_eq!(told, Cancellation::Told);
    // Either it was heard, or the subscription stands only now, which says to look.
    let heard = soon("an alarm", alarms.recv()).await.expect("it goes on");
    assert!(heard == Alarm::Job(job.clone()) || heard == Alarm::Any, "{heard:?}");
    let renewed = pair.store.renew(&job, "a", LONG).await.expect("renewed");
    assert_eq!(renewed, Renewed::Cancelled { by: "somebody".into() });
    assert_eq!(pair.store.renew(&other, "a", LONG).await.expect("renewed"), Renewed::GoOn);
    let JobState::Running(running) = pair.store.get(&job).await.expect("read") else {
        panic!("until its worker stores a result")
    };
    assert!(running.cancelled);
}

async fn a_cancelled_job_of_a_dead_worker_is_not_run_again(pair: Pair) {
    let job = submitted(&pair).await.job_id;
    attempt(&pair, &job, &Claim { lease: SHORT, ..claim("dead") }).await;
    pair.store.cancel(&job, "somebody", LONG).await.expect("answered");
    let claimed = eventually("the end of the lease", || async {
        match pair.store.claim(&job, &claim("next")).await.expect("answered") {
            Claimed::Busy { .. } => None,
            claimed => Some(claimed),
        }
    })
    .await;
    assert_eq!(claimed, Claimed::Cancelled { by: "somebody".into(), attempts: 1 });
}

async fn cancelling_what_has_ended_or_never_was_changes_nothing(pair: Pair) {
    let unknown = JobId::generate();
    let cancel = async |job| pair.store.cancel(job, "somebody", LONG).await.expect("answered");
    assert_eq!(cancel(&unknown).await, Cancellation::Unknown);
    assert_eq!(pair.store.get(&unknown).await.expect("read"), JobState::Unknown);
    let job = submitted(&pair).await.job_id;
    let result = result(&job, "done");
    pair.store.commit(&result, "a", LONG).await.expect("stored");
    assert_eq!(cancel(&job).await, Cancellation::Ended(Status::Succeeded));
    assert_eq!(pair.store.get(&job).await.expect("read"), JobState::Done(Box::new(result)));
}

#[tokio::test]
async fn a_closed_memory_queue_ends_when_all_is_settled() {
    use sandfleet_worker::queue::{MemoryQueue, Queue};
    let queue = MemoryQueue::new();
    queue.push(b"job".to_vec());
    queue.close();
    let delivery = queue.next().await.expect("it holds a job");
    let (again, ()) = soon("the job's return", async {
        tokio::join!(queue.next(), settle(delivery, Settlement::Requeue))
    })
    .await;
    let again = again.expect("an unsettled job may come back, so the queue isn't over");
    let (end, ()) =
        soon("the end", async { tokio::join!(queue.next(), settle(again, Settlement::Done)) })
            .await;
    assert!(end.is_none());
}
