//! Workers of one fleet that don't offer the same: a refusal is final only if it is true of all.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use sandfleet_common::{
    Isolation, Job, JobId, JobResult, PROTOCOL_MINOR, PROTOCOL_VERSION, Priority, Status,
    WorkerInfo, decode_job, encode, payload_digest,
};
use sandfleet_sdk::Client;
use sandfleet_tests::{Services, TestCgroup, claim, result};
use sandfleet_transport::records::Claim;
use sandfleet_worker::{
    admission::{Admission, catalogue::Catalogue, peers::Peers},
    app,
    config::{Backend, Settings},
    hooks::{Hooks, Observer},
    pipeline::{
        Pipeline, PipelineConfig, compile_cache::CompileCache, exclusive_gate::ExclusiveGate,
    },
    queue::{
        Queue,
        settle::{Settlement, settle},
    },
    sandbox::{Sandbox, policy::Policy},
    services::heartbeat::send_heartbeats,
    shutdown::Shutdown,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::result_of;

/// Counts what was put off.
#[derive(Default)]
struct PutOff(AtomicUsize);

impl Hooks for PutOff {
    fn put_off(&self, _: &JobId) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl PutOff {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// Workers in this process, which share a sandbox and nothing else.
struct Mixed {
    services: Services,
    client: Client,
    settings: Settings,
    sandbox: Arc<dyn Sandbox>,
    put_off: Arc<PutOff>,
    shutdown: Shutdown,
    tasks: Vec<JoinHandle<()>>,
    _ground: TestCgroup,
}

impl Mixed {
    async fn start() -> Self {
        let (services, test_cgroup) = (Services::fresh(), TestCgroup::fresh());
        let client = services.client().await;
        let variables = vec![
            ("SANDFLEET_SANDBOX_CGROUP_PARENT".into(), test_cgroup.path().into()),
            ("SANDFLEET_SANDBOX_WARM".into(), "false".into()),
        ];
        let settings =
            Settings::load(Some(Path::new("/dev/null")), variables).expect("valid settings");
        let sandbox = app::open_sandbox(Backend::Native, &settings, Observer::default())
            .await
            .expect("a sandbox");
        Self {
            services,
            client,
            settings,
            sandbox,
            put_off: Arc::default(),
            shutdown: Shutdown::default(),
            tasks: Vec::new(),
            _ground: test_cgroup,
        }
    }

    fn info(&self, id: &str, languages: &[&str], max_job_bytes: usize) -> WorkerInfo {
        WorkerInfo {
            worker_id: id.into(),
            version: "1".into(),
            backend: "native".into(),
            isolation: Isolation::Container,
            languages: languages.iter().map(|it| (*it).to_owned()).collect(),
            priorities: Priority::ALL.to_vec(),
            protocol_version: PROTOCOL_VERSION,
            protocol_minor: PROTOCOL_MINOR,
            max_job_bytes,
            slots: 2,
            busy: 0,
            stopping: false,
            ready: true,
            started_at: jiff::Timestamp::now(),
        }
    }

    /// A worker with these languages that takes jobs up to this length.
    async fn worker(&mut self, id: &str, languages: &[&str], max_job_bytes: usize) {
        let store = Arc::new(self.services.store(&self.services.redis_url));
        let info = self.info(id, languages, max_job_bytes);
        store.announce(&info).await.expect("announced");
        let ready = tokio::sync::watch::channel(true).1;
        let announce =
            send_heartbeats(Arc::clone(&store), info, || 0, ready, self.shutdown.clone());
        self.tasks.push(tokio::spawn(announce));
        let pipeline = Pipeline {
            queue: Arc::new(self.services.queue(&self.services.amqp_url, 2)),
            peers: Some(Peers::of(Arc::clone(&store))),
            store,
            sandbox: Arc::clone(&self.sandbox),
            tracer: Default::default(),
            hooks: self.put_off.clone(),
            tenant_limiter: None,
            admission: Admission {
                max_job_bytes,
                catalogue: catalogue(languages),
                ..app::admission(&self.settings, Isolation::Container)
            },
            policy: Policy::strict(),
            config: PipelineConfig { worker_id: id.into(), ..app::pipeline_config(&self.settings) },
            compile_cache: CompileCache::new(0),
            slots: tokio::sync::Semaphore::new(2),
            exclusive_gate: ExclusiveGate::default(),
            shutdown: self.shutdown.clone(),
        };
        self.tasks.push(tokio::spawn(Arc::new(pipeline).serve(2)));
    }

    /// A worker of a newer version, which knows the field `grader`.
    async fn newer_worker(&mut self, id: &str) {
        let store = self.services.store(&self.services.redis_url);
        let info = self.info(id, &["python", "bash"], 1 << 20);
        let info = WorkerInfo { protocol_minor: PROTOCOL_MINOR + 1, ..info };
        store.announce(&info).await.expect("announced");
        let queue = self.services.queue(&self.services.amqp_url, 1);
        let id = id.to_owned();
        self.tasks.push(tokio::spawn(async move {
            while let Some(delivery) = queue.next().await {
                let mut known: Value = serde_json::from_slice(&delivery.body).expect("JSON");
                known.as_object_mut().expect("an object").remove("grader");
                let job = decode_job(known.to_string().as_bytes(), 1 << 20).expect("a job");
                let payload = payload_digest(&delivery.body);
                let claim = Claim { payload, ..claim(&format!("{id}/1")) };
                store.claim(&job.job_id, &claim).await.expect("claimed");
                let made = JobResult { worker_id: id.clone(), ..result(&job.job_id, "graded") };
                let keep = Duration::from_secs(600);
                store.commit(&made, &claim.owner, keep).await.expect("stored");
                settle(delivery, Settlement::Done).await;
            }
        }));
    }

    async fn stop(self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.sandbox.close().await;
    }
}

/// A part of the catalogue.
fn catalogue(languages: &[&str]) -> Catalogue {
    let mut all = json!({
        "python": { "endings": ["py"], "file": "main.py", "command": ["/usr/bin/python3", "{file}"] },
        "bash": { "endings": ["sh"], "file": "main.sh", "command": ["/bin/bash", "{file}"] },
    });
    all.as_object_mut().expect("an object").retain(|name, _| languages.contains(&name.as_str()));
    serde_json::from_value(all).expect("a catalogue")
}

/// A message with a field that only a newer version knows.
fn with_a_new_field(job: &Job) -> Vec<u8> {
    let mut message = serde_json::to_value(job).expect("JSON");
    message["grader"] = json!({ "cases": 3 });
    message.to_string().into_bytes()
}

#[tokio::test]
async fn workers_with_disjoint_catalogues_reject_nothing() {
    let mut fleet = Mixed::start().await;
    fleet.worker("pythons", &["python"], 1 << 20).await;
    fleet.worker("bashes", &["bash"], 1 << 20).await;
    let program = |n| if n % 2 == 0 { ("python", "pythons") } else { ("bash", "bashes") };
    let jobs: Vec<Job> = (0..30).map(|n| Job::new(program(n).0, "")).collect();
    for outcome in fleet.client.submit_batch(&jobs).await {
        outcome.expect("the broker takes it");
    }
    for (n, job) in jobs.iter().enumerate() {
        let result = result_of(&fleet.client, &job.job_id).await;
        assert_eq!(result.status, Status::Succeeded, "{}", result.message);
        assert_eq!((result.worker_id.as_str(), result.attempt), (program(n).1, 1));
    }
    assert!(fleet.put_off.count() > 0, "none came to the wrong worker first");
    assert_eq!(fleet.services.dead_letter().await, None);
    fleet.stop().await;
}

#[tokio::test]
async fn a_job_with_a_new_field_waits_for_a_worker_that_knows_it() {
    let mut fleet = Mixed::start().await;
    fleet.worker("older", &["python", "bash"], 1 << 20).await;
    fleet.newer_worker("newer").await;
    let jobs: Vec<Job> = (0..20).map(|_| Job::new("python", "")).collect();
    let messages = jobs.iter().map(with_a_new_field);
    fleet.services.push_all(Priority::Interactive, messages).await;
    for job in &jobs {
        let result = result_of(&fleet.client, &job.job_id).await;
        assert_eq!((result.status, result.worker_id.as_str()), (Status::Succeeded, "newer"));
    }
    assert!(fleet.put_off.count() > 0, "none came to the older worker first");
    fleet.stop().await;
}

#[tokio::test]
async fn a_long_job_waits_for_a_worker_that_takes_it() {
    let mut fleet = Mixed::start().await;
    fleet.worker("small", &["python"], 2 << 10).await;
    fleet.worker("large", &["python"], 1 << 20).await;
    let jobs: Vec<Job> = (0..12).map(|_| Job::new("python", "#".repeat(4 << 10))).collect();
    fleet.services.push_all(Priority::Interactive, jobs.iter().map(encode)).await;
    for job in &jobs {
        let result = result_of(&fleet.client, &job.job_id).await;
        assert_eq!(result.status, Status::Succeeded, "{}", result.message);
        assert_eq!(result.worker_id, "large");
    }
    assert!(fleet.put_off.count() > 0, "none came to the small worker first");
    fleet.stop().await;
}

#[tokio::test]
async fn what_no_live_worker_takes_is_rejected_at_once() {
    let mut fleet = Mixed::start().await;
    fleet.worker("pythons", &["python"], 8 << 10).await;
    fleet.worker("bashes", &["bash"], 2 << 10).await;
    let store = fleet.services.store(&fleet.services.redis_url);
    // Newer, and about to be gone.
    let gone = WorkerInfo {
        protocol_minor: PROTOCOL_MINOR + 1,
        stopping: true,
        ..fleet.info("gone", &["python"], 1 << 20)
    };
    store.announce(&gone).await.expect("announced");
    let long = Job::new("bash", "#".repeat(4 << 10));
    let cases = [
        (encode(&Job::new("cobol", "")), "language"),
        (with_a_new_field(&Job::new("python", "")), "grader"),
        // One worker has its language and another takes its length, and none has both.
        (encode(&long), "language: \"bash\""),
    ];
    for (message, part) in cases {
        let id: Value = serde_json::from_slice(&message).expect("JSON");
        let id: JobId = id["job_id"].as_str().expect("text").parse().expect("an id");
        fleet.services.push(Priority::Interactive, &message).await;
        let result = result_of(&fleet.client, &id).await;
        assert_eq!(result.status, Status::Rejected, "{part}: {}", result.message);
    }
    assert_eq!(fleet.put_off.count(), 0);
    fleet.stop().await;
}

#[tokio::test]
async fn what_nobody_takes_in_time_expires_and_says_who_could_have() {
    let mut fleet = Mixed::start().await;
    fleet.worker("older", &["python"], 1 << 20).await;
    let store = fleet.services.store(&fleet.services.redis_url);
    let newer = WorkerInfo {
        protocol_minor: PROTOCOL_MINOR + 1,
        ..fleet.info("newer", &["python"], 1 << 20)
    };
    // It lives, and is busy with other things.
    store.announce(&newer).await.expect("announced");
    let stamped = Job { queued_at: Some(jiff::Timestamp::now()), ..Job::new("python", "") };
    for mut job in [stamped, Job::new("python", "")] {
        job.ttl_ms = Some(1500);
        let begun = Instant::now();
        fleet.services.push(Priority::Interactive, &with_a_new_field(&job)).await;
        let result = result_of(&fleet.client, &job.job_id).await;
        assert_eq!(result.status, Status::Expired, "{}", result.message);
        for part in ["within 1500 ms", "newer", "grader"] {
            assert!(result.message.contains(part), "{part} in {}", result.message);
        }
        assert!(begun.elapsed() >= Duration::from_millis(1400), "{:?}", begun.elapsed());
    }
    // 200 ms apart at first, then a second.
    assert!((2..20).contains(&fleet.put_off.count()), "{} times", fleet.put_off.count());
    fleet.stop().await;
}
