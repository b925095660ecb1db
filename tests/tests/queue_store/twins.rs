//! Messages that share a job's id and not its payload, and jobs that are refused.

use sandfleet_common::{JobId, JobState, Status, encode, payload_digest};
use sandfleet_tests::{Backends, eventually, result};
use sandfleet_transport::records::{Claim, Claimed, Committed, Purpose, Refused};

use crate::state::submitted;
use crate::{LONG, SHORT, attempt, claim};

/// A claim of another message.
fn of(payload: &str, owner: &str) -> Claim {
    Claim { payload: payload.into(), ..claim(owner) }
}

pub(crate) async fn a_twin_is_not_claimed_whatever_became_of_the_job(backends: Backends) {
    let job = submitted(&backends).await;
    let payload = payload_digest(&encode(&job));
    let twin = async || {
        let claimed = backends.store.claim(&job.job_id, &of("twin", "b")).await;
        assert_eq!(claimed.expect("answered"), Claimed::Twin);
    };
    twin().await;
    assert_eq!(attempt(&backends, &job.job_id, &of(&payload, "a")).await, 1);
    twin().await;
    let done = result(&job.job_id, "done");
    backends.store.commit(&done, "a", SHORT).await.expect("stored");
    twin().await;
    eventually("the end of the result", || async {
        let state = backends.store.get(&job.job_id).await.expect("read");
        (state == JobState::ResultExpired(Status::Succeeded)).then_some(())
    })
    .await;
    twin().await;
}

pub(crate) async fn the_first_payload_that_is_claimed_defines_the_job(backends: Backends) {
    let job = JobId::generate();
    assert_eq!(attempt(&backends, &job, &of("first", "a")).await, 1);
    backends.store.release(&job, "a").await.expect("released");
    let second = backends.store.claim(&job, &of("second", "b")).await.expect("answered");
    assert_eq!(second, Claimed::Twin);
    assert_eq!(attempt(&backends, &job, &of("first", "c")).await, 2);
}

pub(crate) async fn a_refusal_yields_to_another_payload(backends: Backends) {
    let job = submitted(&backends).await;
    let refused = result(&job.job_id, "refused");
    let refuse = async |payload: &str| {
        backends.store.refuse(&refused, payload, LONG).await.expect("answered")
    };
    assert_eq!(refuse("twin").await, Refused::Twin);
    assert!(backends.store.get(&job.job_id).await.expect("read").is_queued());
    let payload = payload_digest(&encode(&job));
    attempt(&backends, &job.job_id, &of(&payload, "a")).await;
    assert_eq!(refuse("twin").await, Refused::Twin);
    let done = result(&job.job_id, "done");
    assert_eq!(backends.store.commit(&done, "a", LONG).await.expect("stored"), Committed::Stored);
    assert_eq!(refuse("twin").await, Refused::Twin);
    assert_eq!(refuse(&payload).await, Refused::AlreadyThere);
    let state = backends.store.get(&job.job_id).await.expect("read");
    assert_eq!(state, JobState::Done(Box::new(done)));
}

pub(crate) async fn a_refusal_yields_to_a_live_lease_and_not_to_a_dead_one(backends: Backends) {
    let job = JobId::generate();
    let payload = claim("a").payload;
    attempt(&backends, &job, &Claim { lease: SHORT, ..claim("a") }).await;
    let refused = result(&job, "refused");
    let refuse =
        || async { backends.store.refuse(&refused, &payload, LONG).await.expect("answered") };
    assert_eq!(refuse().await, Refused::Busy);
    assert!(backends.store.get(&job).await.expect("read").is_running());
    eventually("the end of the lease", || async {
        (refuse().await == Refused::Stored).then_some(())
    })
    .await;
    // Its answer may be lost.
    assert_eq!(refuse().await, Refused::Stored);
    let state = backends.store.get(&job).await.expect("read");
    assert_eq!(state, JobState::Done(Box::new(refused.clone())));
}

pub(crate) async fn a_refusal_counts_no_attempt_and_the_first_one_stays(backends: Backends) {
    let job = JobId::generate();
    let (first, second) = (result(&job, "first"), result(&job, "second"));
    assert_eq!(backends.store.refuse(&first, "a", LONG).await.expect("answered"), Refused::Stored);
    let again = backends.store.refuse(&second, "a", LONG).await.expect("answered");
    assert_eq!(again, Refused::AlreadyThere);
    // What was refused is what the id stands for, also for a second submission.
    assert_eq!(backends.store.refuse(&second, "b", LONG).await.expect("answered"), Refused::Twin);
    assert_eq!(backends.store.claim(&job, &of("b", "b")).await.expect("answered"), Claimed::Twin);
    assert_eq!(backends.store.claim(&job, &of("a", "a")).await.expect("answered"), Claimed::Done);
    assert_eq!(backends.store.get(&job).await.expect("read"), JobState::Done(Box::new(first)));
}

pub(crate) async fn a_look_counts_and_defines_nothing(backends: Backends) {
    let job = JobId::generate();
    let look = |payload: &str| Claim { purpose: Purpose::Look, ..of(payload, "look") };
    let looked = async |claim: Claim| backends.store.claim(&job, &claim).await.expect("answered");
    assert_eq!(looked(look("a")).await, Claimed::Free);
    assert_eq!(backends.store.get(&job).await.expect("read"), JobState::Unknown);
    assert_eq!(looked(look("b")).await, Claimed::Free);
    assert_eq!(attempt(&backends, &job, &of("a", "runs")).await, 1);
    assert_eq!(looked(look("b")).await, Claimed::Twin);
    assert!(matches!(looked(look("a")).await, Claimed::Busy { .. }));
    backends.store.release(&job, "runs").await.expect("released");
    assert_eq!(looked(look("a")).await, Claimed::Free);
    let brief =
        Claim { ttl: Some(SHORT), queued_at: Some(jiff::Timestamp::UNIX_EPOCH), ..look("a") };
    let fresh = JobId::generate();
    let over = backends.store.claim(&fresh, &brief).await.expect("answered");
    assert!(matches!(over, Claimed::Expired { .. }), "{over:?}");
}
