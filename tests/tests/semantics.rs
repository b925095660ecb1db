//! What a producer is promised about one job: that it is one job, where it is, and what it prints.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, future::join_all};
use sandfleet_common::{
    Isolation, Job, JobId, JobState, Priority, RunOutput, Status, WorkerInfo, names,
};
use sandfleet_sdk::{Error, OutputEvent, OutputKind};
use sandfleet_tests::{Services, claim, eventually, result, soon, submitted};
use sandfleet_transport::records::Output;
use sandfleet_worker::{
    queue::Queue,
    queue::settle::{Settlement, settle},
};

const LONG: Duration = Duration::from_secs(600);

/// How many messages of plain interactive jobs wait.
async fn waiting(services: &Services) -> u32 {
    let queue = names::job_queue(&services.prefix, Isolation::Container, Priority::Interactive);
    let (_connection, channel) = services.channel().await.expect("the broker runs");
    let passive = lapin::options::QueueDeclareOptions { passive: true, ..Default::default() };
    let declared = channel.queue_declare(queue.as_str().into(), passive, Default::default()).await;
    declared.expect("the queue is there").message_count()
}

#[tokio::test]
async fn the_same_key_is_the_first_job_for_each_tenant() {
    let services = Services::fresh();
    let client = services.client().await;
    let keyed = |tenant: Option<&str>| {
        let mut job = Job::new("python", "1");
        job.tenant = tenant.map(str::to_owned);
        job.idempotency_key = Some("order 7".into());
        job
    };
    let first = client.submit(&keyed(None)).await.expect("accepted");
    assert_eq!(client.submit(&keyed(None)).await.expect("accepted"), first);
    let other = client.submit(&keyed(Some("other"))).await.expect("accepted");
    assert_ne!(other, first);
    let mut changed = keyed(None);
    changed.code = Some("2".into());
    let error = client.submit(&changed).await.expect_err("another payload");
    assert!(matches!(&error, Error::Conflict { job_id, by_key: true } if *job_id == first));
    assert!(error.to_string().contains("idempotency_key"), "{error}");
}

#[tokio::test]
async fn one_id_is_one_payload() {
    let services = Services::fresh();
    let client = services.client().await;
    let job = Job::new("python", "1");
    client.submit(&job).await.expect("accepted");
    let other = Job { code: Some("2".into()), ..job.clone() };
    let outcomes = client.submit_batch(&[job.clone(), other.clone()]).await;
    assert!(outcomes[0].is_ok(), "{outcomes:?}");
    assert!(matches!(outcomes[1], Err(Error::Conflict { by_key: false, .. })), "{outcomes:?}");
    // Also when it has ended, and when its result is past its time.
    let store = services.store(&services.redis_url);
    let brief = Duration::from_millis(1);
    store.commit(&result(&job.job_id, "done"), "a", brief).await.expect("stored");
    eventually("the end of the result", || async {
        let state = client.get(&job.job_id).await.expect("read");
        (state == JobState::ResultExpired(Status::Succeeded)).then_some(())
    })
    .await;
    let error = client.submit(&other).await.expect_err("another payload");
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    client.submit(&job).await.expect("it is the same job");
    let error = client.wait(&job.job_id, LONG).await.expect_err("it is gone");
    assert!(matches!(error, Error::ResultGone { .. }), "{error}");
}

#[tokio::test]
async fn a_job_submitted_by_many_at_once_is_one_job() {
    let services = Services::fresh();
    let client = services.client().await;
    let outcomes = join_all((0..50).map(|n| {
        let client = client.clone();
        async move {
            let mut job = Job::new("python", format!("{}", n % 2));
            job.idempotency_key = Some("the same".into());
            client.submit(&job).await
        }
    }))
    .await;
    let ids: BTreeSet<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).collect();
    assert_eq!(ids.len(), 1, "{outcomes:?}");
    // Of the first payload all copies were taken, of the others none.
    let accepted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    let conflicts = outcomes.iter().filter(|it| matches!(it, Err(Error::Conflict { .. }))).count();
    assert_eq!((accepted, conflicts), (25, 25));
}

#[tokio::test]
async fn a_job_whose_producer_died_before_publishing_is_published_by_the_next() {
    let services = Services::fresh();
    let client = services.client().await;
    let mut job = Job::new("python", "1");
    job.idempotency_key = Some("k".into());
    // All that its producer came to do.
    job.job_id = sandfleet_common::JobId::of_key(None, "k");
    submitted(&services.store(&services.redis_url), &job).await;
    assert_eq!(waiting(&services).await, 0);
    let id = client.submit(&job).await.expect("accepted");
    assert_eq!(services.jobs_in_queue(1).await[0].job_id, id);
}

#[tokio::test]
async fn a_job_that_a_worker_has_is_not_published_again() {
    let services = Services::fresh();
    let client = services.client().await;
    let job = Job::new("python", "1");
    client.submit(&job).await.expect("accepted");
    let queue = services.queue(&services.amqp_url, 1);
    let delivery = soon("the job", queue.next()).await.expect("the queue goes on");
    let store = services.store(&services.redis_url);
    store.claim(&job.job_id, &claim("a")).await.expect("claimed");
    client.submit(&job).await.expect("accepted");
    store.commit(&result(&job.job_id, "done"), "a", LONG).await.expect("stored");
    client.submit(&job).await.expect("accepted");
    settle(delivery, Settlement::Done).await;
    queue.stop().await;
    assert_eq!(waiting(&services).await, 0);
}

#[tokio::test]
async fn what_the_broker_refused_was_never_submitted() {
    let services = Services::fresh();
    let client = services.client().await;
    let mut job = Job::new("python", "1");
    job.isolation = Isolation::MicroVm;
    client.submit(&job).await.expect_err("there is no such queue");
    assert_eq!(client.get(&job.job_id).await.expect("read"), JobState::Unknown);
}

#[tokio::test]
async fn progress_tells_what_a_waiting_job_waits_for() {
    let services = Services::fresh();
    let client = services.client().await;
    let nobody = client.progress(&JobId::generate()).await.expect("read");
    assert_eq!(nobody.state, JobState::Unknown);
    let job = Job::new("python", "1");
    client.submit(&job).await.expect("accepted");
    client.submit(&Job::new("bash", "1")).await.expect("accepted");
    let progress = client.progress(&job.job_id).await.expect("read");
    assert!(progress.state.is_queued(), "{progress:?}");
    assert_eq!((progress.queue_depth, progress.workers_alive), (Some(2), 0));
    let store = services.store(&services.redis_url);
    for (id, language) in [("p", "python"), ("b", "bash")] {
        let worker = WorkerInfo {
            worker_id: id.into(),
            version: "1".into(),
            backend: "native".into(),
            isolation: Isolation::Container,
            languages: vec![language.into()],
            priorities: Priority::ALL.to_vec(),
            protocol_version: 1,
            protocol_minor: 0,
            max_job_bytes: 0,
            slots: 1,
            busy: 0,
            stopping: false,
            ready: true,
            started_at: jiff::Timestamp::UNIX_EPOCH,
        };
        store.announce(&worker).await.expect("announced");
    }
    let progress = client.progress(&job.job_id).await.expect("read");
    let takers: Vec<_> = progress.workers.iter().map(|it| it.worker_id.as_str()).collect();
    assert_eq!((takers, progress.workers_alive), (vec!["p"], 2));
    store.claim(&job.job_id, &claim("p/1")).await.expect("claimed");
    let progress = client.progress(&job.job_id).await.expect("read");
    assert!(matches!(&progress.state, JobState::Running(it) if it.worker_id == "p"));
}

#[tokio::test]
async fn who_follows_a_job_sees_each_attempt_the_gaps_and_then_the_result() {
    let services = Services::fresh();
    let client = services.client().await;
    let store = services.store(&services.redis_url);
    let job = JobId::generate();
    let followed = tokio::spawn({
        let (client, job) = (client.clone(), job.clone());
        async move { client.stream(&job).collect::<Vec<_>>().await }
    });
    let piece =
        |attempt, kind, offset, bytes: &str| Output { attempt, kind, offset, bytes: bytes.into() };
    store.claim(&job, &claim("a")).await.expect("claimed");
    let first = [piece(1, OutputKind::Start, 0, ""), piece(1, OutputKind::Stdout, 0, "first")];
    store.append(&job, "a", &first).await.expect("added");
    store.release(&job, "a").await.expect("released");
    store.claim(&job, &claim("b")).await.expect("claimed");
    let second = [
        piece(2, OutputKind::Start, 0, ""),
        piece(2, OutputKind::Stdout, 0, "one"),
        // Delivered twice, as after a lost answer.
        piece(2, OutputKind::Stdout, 0, "one"),
        piece(2, OutputKind::Stdout, 10, "two"),
        piece(2, OutputKind::Stderr, 0, "err"),
    ];
    store.append(&job, "b", &second).await.expect("added");
    let mut end = result(&job, "done");
    end.attempt = 2;
    end.run = Some(RunOutput {
        stdout: "one-------two-rest".into(),
        stderr: "err".into(),
        ..Default::default()
    });
    store.commit(&end, "b", LONG).await.expect("stored");
    let events = soon("the end of the stream", followed).await.expect("no panic");
    let events: Vec<_> = events.into_iter().map(|event| event.expect("the store runs")).collect();
    let missing = |bytes| OutputEvent::Missing { stream: OutputKind::Stdout, bytes };
    let expected = [
        OutputEvent::Started { attempt: 1 },
        OutputEvent::Stdout(b"first".to_vec()),
        OutputEvent::Started { attempt: 2 },
        OutputEvent::Stdout(b"one".to_vec()),
        missing(7),
        OutputEvent::Stdout(b"two".to_vec()),
        OutputEvent::Stderr(b"err".to_vec()),
        missing(5),
        OutputEvent::Done(Box::new(end)),
    ];
    assert_eq!(events, expected);
}
