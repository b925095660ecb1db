//! Jobs that are called off.

use sandfleet_common::{JobId, JobState, Status};
use sandfleet_sdk::Cancellation;
use sandfleet_tests::{Backends, eventually, result, soon};
use sandfleet_transport::records::{CancelNotice, Claim, Claimed, Renewed};

use crate::state::submitted;
use crate::{LONG, SHORT, attempt, claim};

pub(crate) async fn a_waiting_job_that_is_cancelled_has_its_result_at_once(backends: Backends) {
    let job = submitted(&backends).await;
    let cancelled = backends.store.cancel(&job.job_id, "somebody", LONG).await.expect("answered");
    assert_eq!(cancelled, Cancellation::Cancelled);
    let JobState::Done(result) = backends.store.get(&job.job_id).await.expect("read") else {
        panic!("it has a result")
    };
    assert_eq!((result.status, result.verdict, result.attempt), (Status::Cancelled, None, 0));
    assert_eq!(result.message, "cancelled by somebody before it was started");
    assert_eq!(result.metadata, job.metadata);
    let claimed = backends.store.claim(&job.job_id, &claim("a")).await.expect("answered");
    assert_eq!(claimed, Claimed::Done);
}

pub(crate) async fn a_running_job_that_is_cancelled_is_told_so_by_alarm_and_by_renewal(
    backends: Backends,
) {
    let (job, other) = (submitted(&backends).await.job_id, submitted(&backends).await.job_id);
    let mut alarms = backends.store.cancellations();
    for id in [&job, &other] {
        attempt(&backends, id, &claim("a")).await;
    }
    let told = backends.store.cancel(&job, "somebody", LONG).await.expect("answered");
    assert_eq!(told, Cancellation::Requested);
    // Either it was heard, or the subscription stands only now, which says to look.
    let heard = soon("an alarm", alarms.recv()).await.expect("it goes on");
    assert!(heard == CancelNotice::Job(job.clone()) || heard == CancelNotice::Any, "{heard:?}");
    let renewed = backends.store.renew(&job, "a", LONG, &[]).await.expect("renewed");
    assert_eq!(renewed, Renewed::Cancelled { by: "somebody".into() });
    assert_eq!(backends.store.renew(&other, "a", LONG, &[]).await.expect("renewed"), Renewed::GoOn);
    let JobState::Running(running) = backends.store.get(&job).await.expect("read") else {
        panic!("until its worker stores a result")
    };
    assert!(running.cancelled);
}

pub(crate) async fn a_cancelled_job_of_a_dead_worker_is_not_run_again(backends: Backends) {
    let job = submitted(&backends).await.job_id;
    attempt(&backends, &job, &Claim { lease: SHORT, ..claim("dead") }).await;
    backends.store.cancel(&job, "somebody", LONG).await.expect("answered");
    let claimed = eventually("the end of the lease", || async {
        match backends.store.claim(&job, &claim("next")).await.expect("answered") {
            Claimed::Busy { .. } => None,
            claimed => Some(claimed),
        }
    })
    .await;
    assert_eq!(claimed, Claimed::Cancelled { by: "somebody".into(), attempts: 1 });
}

pub(crate) async fn cancelling_what_has_ended_or_never_was_changes_nothing(backends: Backends) {
    let unknown = JobId::generate();
    let cancel = async |job| backends.store.cancel(job, "somebody", LONG).await.expect("answered");
    assert_eq!(cancel(&unknown).await, Cancellation::Unknown);
    assert_eq!(backends.store.get(&unknown).await.expect("read"), JobState::Unknown);
    let job = submitted(&backends).await.job_id;
    let result = result(&job, "done");
    backends.store.commit(&result, "a", LONG).await.expect("stored");
    assert_eq!(cancel(&job).await, Cancellation::Ended(Status::Succeeded));
    assert_eq!(backends.store.get(&job).await.expect("read"), JobState::Done(Box::new(result)));
}
