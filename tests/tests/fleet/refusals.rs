//! Messages that are no jobs, and jobs that don't run.

use sandfleet_common::{InputFile, Job, JobId, JobState, Priority, Status, encode};
use sandfleet_sdk::Error;
use sandfleet_tests::{FleetWorker, Installation, Services, eventually};
use serde_json::{Value, json};

use crate::{result_of, stdout};

struct Fleet {
    services: Services,
    client: sandfleet_sdk::Client,
    worker: FleetWorker,
    _installation: Installation,
}

impl Fleet {
    async fn start() -> Self {
        let services = Services::fresh();
        let installation = Installation::fresh().on(&services).set("JOBS_MAX_BYTES", "4096");
        let client = services.client().await;
        let worker = installation.worker("only");
        Self { services, client, worker, _installation: installation }
    }

    async fn push(&self, body: &[u8]) {
        self.services.push(Priority::Interactive, body).await;
    }

    /// The worker is still there and works.
    async fn goes_on(mut self) {
        let job = Job::new("python", "print('fine')");
        self.client.submit(&job).await.expect("the broker takes it");
        assert_eq!(stdout(&result_of(&self.client, &job.job_id).await), "fine\n");
        self.worker.signal(rustix::process::Signal::TERM);
        assert_eq!(self.worker.ended().await, 0, "{}", self.worker.log());
    }
}

fn with(changes: Value) -> (JobId, Vec<u8>) {
    let job = Job::new("python", "print('never')");
    let mut value = serde_json::to_value(&job).expect("a job is JSON");
    for (name, change) in changes.as_object().expect("fields") {
        value[name] = change.clone();
    }
    (job.job_id, value.to_string().into_bytes())
}

#[tokio::test]
async fn a_job_that_is_not_valid_has_a_result_that_names_the_field() {
    let fleet = Fleet::start().await;
    let cases = [
        (json!({ "version": 2 }), "version: 2 is not supported"),
        (json!({ "callback_url": "http://x" }), "callback_url"),
        (json!({ "language": "cobol" }), "language: \"cobol\" is not offered"),
        (json!({ "limits": { "memory_bytes": -1 } }), "limits.memory_bytes"),
        (json!({ "limits": { "wall_time_ms": 0 } }), "limits.wall_time_ms"),
        (json!({ "files": [{ "name": "../up", "content": "" }] }), "files[0].name"),
        (json!({ "entrypoint": "/etc/passwd" }), "entrypoint"),
        (json!({ "network_policy": { "type": "allowlist" } }), "network_policy.type"),
        (json!({ "isolation": "microvm" }), "isolation"),
        (json!({ "code": "x".repeat(5000) }), "jobs.max_bytes"),
    ];
    for (changes, part) in cases {
        let (id, body) = with(changes);
        fleet.push(&body).await;
        let result = result_of(&fleet.client, &id).await;
        assert_eq!((result.status, result.verdict), (Status::Rejected, None), "{part}");
        assert!(result.message.contains(part), "{part} in {}", result.message);
        assert_eq!((result.worker_id.as_str(), result.attempt), ("only", 0));
    }
    assert_eq!(fleet.services.dead_letter().await, None);
    fleet.goes_on().await;
}

#[tokio::test]
async fn a_message_without_a_readable_id_is_a_dead_letter_with_its_reason() {
    let fleet = Fleet::start().await;
    let cases: [(&[u8], &str); 6] = [
        (b"", "it ends too early"),
        (b"{\"version\": 1, \"job_id\": \"half", "it ends too early"),
        (b"\xff\xfe not text", "no JSON at column 1"),
        (b"[1, 2, 3]", "invalid"),
        (b"{\"version\":1,\"job_id\":\"a/b\",\"language\":\"python\",\"code\":\"\"}", "job_id"),
        (&[b'x'; 5000], "jobs.max_bytes"),
    ];
    for (body, part) in cases {
        fleet.push(body).await;
        let letter =
            eventually("a dead letter", || async { fleet.services.dead_letter().await }).await;
        assert_eq!(letter.0, body);
        assert!(letter.1.contains(part), "{part} in {:?}", letter.1);
    }
    fleet.goes_on().await;
}

#[tokio::test]
async fn a_job_whose_time_is_over_expires() {
    let fleet = Fleet::start().await;
    let mut job = Job::new("python", "print('never')");
    job.queued_at = Some("2020-01-01T00:00:00Z".parse().expect("a time"));
    job.ttl_ms = Some(1000);
    fleet.push(&encode(&job)).await;
    let result = result_of(&fleet.client, &job.job_id).await;
    assert_eq!((result.status, result.verdict, result.run), (Status::Expired, None, None));
    assert!(result.message.contains("ttl_ms = 1000"), "{}", result.message);

    let mut job = Job::new("python", "print('in time')");
    job.ttl_ms = Some(3_600_000);
    fleet.client.submit(&job).await.expect("the broker takes it");
    assert_eq!(stdout(&result_of(&fleet.client, &job.job_id).await), "in time\n");
    fleet.goes_on().await;
}

#[tokio::test]
async fn a_job_that_no_live_worker_takes_is_refused_before_it_is_sent() {
    let services = Services::fresh();
    let client = services.client().await;
    let mut job = Job::new("python", "import os; print(os.path.getsize('big'))");
    job.files.push(InputFile::from_bytes("big", vec![b'x'; 200_000]));
    let small = Installation::fresh().on(&services).set("JOBS_MAX_BYTES", "100000");
    let mut worker = small.worker("small");
    worker.ready().await;
    eventually("its announcement", || async {
        (!client.workers().await.expect("the store runs").is_empty()).then_some(())
    })
    .await;
    let error = client.submit(&job).await.expect_err("too long for it");
    assert!(matches!(error, Error::TooLarge { workers: Some(100_000), .. }), "{error}");
    for part in
        ["sends at most 8388608 (max_job_bytes", "take at most 100000 (their jobs.max_bytes)"]
    {
        assert!(error.to_string().contains(part), "{error}");
    }
    assert_eq!(client.get(&job.job_id).await.expect("read"), JobState::Unknown);
    // One that takes it is enough.
    let large = Installation::fresh().on(&services);
    let _large = large.worker("large");
    eventually("its announcement", || async {
        (client.workers().await.expect("the store runs").len() == 2).then_some(())
    })
    .await;
    let client = services.client().await;
    client.submit(&job).await.expect("one takes it");
    assert_eq!(stdout(&result_of(&client, &job.job_id).await), "200000\n");
}
