//! What every queue and every store promises: one suite, run by each pair.

use std::{collections::BTreeSet, time::Duration};

use sandfleet_common::{JobId, JobState};
use sandfleet_tests::{Pair, eventually, result, soon};
use sandfleet_worker::{
    queue::settle::{Settlement, settle},
    store::{Claim, Claimed, Committed},
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
    a_result_is_gone_when_its_time_is_over
}

const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_millis(400);

fn claim(owner: &str) -> Claim {
    Claim { owner: owner.into(), lease: LONG, max_attempts: 3, keep: LONG }
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
    assert_eq!(pair.store.claim(&job, &short).await.expect("claimed"), Claimed::Run { attempt: 1 });
    match pair.store.claim(&job, &claim("b")).await.expect("answered") {
        Claimed::Busy { lease_left } => assert!(lease_left <= SHORT && !lease_left.is_zero()),
        other => panic!("{other:?} although somebody holds it"),
    }
    let attempt = eventually("the end of the lease", || async {
        match pair.store.claim(&job, &claim("b")).await.expect("answered") {
            Claimed::Busy { .. } => None,
            Claimed::Run { attempt } => Some(attempt),
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
    pair.store.renew(&kept, "a", LONG).await.expect("renewed");
    pair.store.renew(&lost, "b", LONG).await.expect("ignored");
    eventually("the end of the lease that its owner didn't renew", || async {
        let state = pair.store.get(&lost).await.expect("read");
        (state == JobState::Unknown).then_some(())
    })
    .await;
    assert_eq!(pair.store.get(&kept).await.expect("read"), JobState::Running);
    // A renewal that comes too late doesn't bring a lease back.
    pair.store.renew(&lost, "a", LONG).await.expect("ignored");
    assert_eq!(pair.store.get(&lost).await.expect("read"), JobState::Unknown);
}

async fn a_released_lease_is_free_at_once_and_only_its_owner_releases_it(pair: Pair) {
    let job = JobId::generate();
    pair.store.claim(&job, &claim("a")).await.expect("claimed");
    pair.store.release(&job, "b").await.expect("ignored");
    assert_eq!(pair.store.get(&job).await.expect("read"), JobState::Running);
    pair.store.release(&job, "a").await.expect("released");
    assert_eq!(
        pair.store.claim(&job, &claim("b")).await.expect("claimed"),
        Claimed::Run { attempt: 2 }
    );
}

async fn attempts_are_counted_and_run_out(pair: Pair) {
    let job = JobId::generate();
    for attempt in 1..=3 {
        let owner = format!("owner {attempt}");
        let claimed = pair.store.claim(&job, &claim(&owner)).await.expect("claimed");
        assert_eq!(claimed, Claimed::Run { attempt });
        pair.store.release(&job, &owner).await.expect("released");
    }
    for _ in 0..2 {
        let claimed = pair.store.claim(&job, &claim("late")).await.expect("answered");
        assert_eq!(claimed, Claimed::Exhausted { attempts: 3 });
    }
    assert_eq!(pair.store.get(&job).await.expect("read"), JobState::Unknown);
}

async fn claiming_again_after_a_lost_answer_counts_once(pair: Pair) {
    let job = JobId::generate();
    for _ in 0..2 {
        let claimed = pair.store.claim(&job, &claim("a")).await.expect("claimed");
        assert_eq!(claimed, Claimed::Run { attempt: 1 });
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
    assert_eq!(pair.store.get(&job).await.expect("read"), JobState::Running);
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
        // Not running: the commit gave the lease back.
        (state == JobState::Unknown).then_some(())
    })
    .await;
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
