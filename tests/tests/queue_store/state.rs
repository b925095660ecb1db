//! What is known of a job, from its submission to the end of its record.

use jiff::Timestamp;
use sandfleet_common::{Job, JobId, JobState, Status, TraceContext, encode, payload_digest};
use sandfleet_tests::{Backends, eventually, result};
use sandfleet_transport::{
    Error,
    records::{Claimed, Committed, Created},
};

use crate::{LONG, SHORT, attempt, claim};

pub(crate) async fn a_job_is_unknown_then_running_then_done(backends: Backends) {
    let job = JobId::generate();
    assert_eq!(backends.store.get(&job).await.expect("read"), JobState::Unknown);
    backends.store.claim(&job, &claim("a")).await.expect("claimed");
    assert!(backends.store.get(&job).await.expect("read").is_running());
    let result = result(&job, "done");
    backends.store.commit(&result, "a", LONG).await.expect("stored");
    assert_eq!(backends.store.get(&job).await.expect("read"), JobState::Done(Box::new(result)));
}

pub(crate) async fn a_result_is_gone_when_its_time_is_over(backends: Backends) {
    let job = JobId::generate();
    backends.store.claim(&job, &claim("a")).await.expect("claimed");
    backends.store.commit(&result(&job, "brief"), "a", SHORT).await.expect("stored");
    eventually("the end of the result", || async {
        let state = backends.store.get(&job).await.expect("read");
        (state == JobState::ResultExpired(Status::Succeeded)).then_some(())
    })
    .await;
}

/// The job of these tests, with an id of its own.
pub(crate) fn job() -> Job {
    let mut job = Job::new("python", "1");
    job.metadata = [("note".to_owned(), serde_json::json!([1, {}]))].into();
    job
}

/// A job that was written down.
pub(crate) async fn submitted(backends: &Backends) -> Job {
    let job = job();
    sandfleet_tests::submitted(backends.store.as_ref(), &job).await;
    job
}

pub(crate) async fn a_record_is_created_once_and_its_answer_is_the_jobs_state(backends: Backends) {
    let job = job();
    let payload = payload_digest(&encode(&job));
    let create = async || backends.store.create(&job, &payload, "q", None).await.expect("answered");
    let Created::New { queued_at } = create().await else { panic!("there was none") };
    let JobState::Queued(queued) = backends.store.get(&job.job_id).await.expect("read") else {
        panic!("it is queued")
    };
    assert_eq!(queued.queue.as_deref(), Some("q"));
    let Created::Waiting { queued_at: again, .. } = create().await else { panic!("it is queued") };
    assert_eq!(again.as_millisecond(), queued_at.as_millisecond());
    let other = backends.store.create(&job, "another payload", "q", None).await;
    assert!(matches!(other, Err(Error::Conflict { by_key: false, .. })), "{other:?}");
    attempt(&backends, &job.job_id, &claim("a")).await;
    assert_eq!(create().await, Created::Running);
    backends.store.commit(&result(&job.job_id, "brief"), "a", SHORT).await.expect("stored");
    assert_eq!(create().await, Created::Ended);
    eventually("the end of the result", || async {
        let state = backends.store.get(&job.job_id).await.expect("read");
        matches!(state, JobState::ResultExpired(_)).then_some(())
    })
    .await;
    assert_eq!(create().await, Created::Ended);
}

pub(crate) async fn a_job_stays_in_the_trace_that_it_was_submitted_in_first(backends: Backends) {
    let traced = |digit: &str| {
        let parent = format!("00-{}-00f067aa0ba902b7-01", digit.repeat(32));
        TraceContext::read(&parent, Some("vendor=kept")).expect("sound").0
    };
    let (first, second, job) = (traced("a"), traced("b"), job());
    let payload = payload_digest(&encode(&job));
    let create = async |trace| backends.store.create(&job, &payload, "", trace).await;
    let created = create(Some(&first)).await;
    assert!(matches!(created, Ok(Created::New { .. })), "{created:?}");
    for again in [Some(&second), None] {
        match create(again).await.expect("answered") {
            Created::Waiting { trace, .. } => assert_eq!(trace.as_ref(), Some(&first)),
            other => panic!("{other:?}"),
        }
    }
    let JobState::Queued(queued) = backends.store.get(&job.job_id).await.expect("read") else {
        panic!("it waits")
    };
    assert_eq!(queued.trace_id, Some(first.trace_id));
    backends.store.cancel(&job.job_id, "a test", LONG).await.expect("cancelled");
    let JobState::Done(result) = backends.store.get(&job.job_id).await.expect("read") else {
        panic!("it is cancelled")
    };
    assert_eq!(result.trace_id, Some(first.trace_id));
}

pub(crate) async fn a_submitted_job_is_queued_then_running_then_done_then_forgotten(
    backends: Backends,
) {
    let Job { job_id, .. } = submitted(&backends).await;
    let JobState::Queued(queued) = backends.store.get(&job_id).await.expect("read") else {
        panic!("it waits")
    };
    let waits = queued.queued_at.expect("written down").duration_until(Timestamp::now());
    assert!(waits.as_secs() < 60, "{waits}");
    assert_eq!((queued.attempts, queued.language.as_deref()), (0, Some("python")));
    attempt(&backends, &job_id, &claim("worker-1/x")).await;
    let JobState::Running(running) = backends.store.get(&job_id).await.expect("read") else {
        panic!("it runs")
    };
    assert_eq!((running.worker_id.as_str(), running.attempt), ("worker-1", 1));
    assert!(running.started_at.is_some() && !running.cancelled);
    backends.store.commit(&result(&job_id, "brief"), "worker-1/x", SHORT).await.expect("stored");
    assert!(matches!(backends.store.get(&job_id).await.expect("read"), JobState::Done(_)));
    eventually("the end of the result", || async {
        let state = backends.store.get(&job_id).await.expect("read");
        (state == JobState::ResultExpired(Status::Succeeded)).then_some(())
    })
    .await;
}

pub(crate) async fn a_job_is_not_claimed_again_when_its_result_is_past_its_time(
    backends: Backends,
) {
    let job = JobId::generate();
    attempt(&backends, &job, &claim("a")).await;
    backends.store.commit(&result(&job, "brief"), "a", SHORT).await.expect("stored");
    eventually("the end of the result", || async {
        let state = backends.store.get(&job).await.expect("read");
        (!matches!(state, JobState::Done(_))).then_some(())
    })
    .await;
    assert_eq!(backends.store.claim(&job, &claim("b")).await.expect("answered"), Claimed::Done);
    let late = backends.store.commit(&result(&job, "late"), "c", LONG).await.expect("answered");
    assert_eq!(late, Committed::AlreadyThere);
    assert!(matches!(backends.store.get(&job).await.expect("read"), JobState::ResultExpired(_)));
}
