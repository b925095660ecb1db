//! The binary as it is used: batches, and a whole fleet on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use sandfleet_common::{Job, JobResult};
use sandfleet_sdk::Client;
use sandfleet_tests::{FleetWorker, Installation, Services, TestCgroup};

use super::{
    arguments::Arguments,
    lanes::{BARE, OFFERED, skipped, warmth},
    native::{check, is_warm},
    peers,
    rounds::{Group, Lane, Row, Warm},
    subject::{Burst, Paced, Repeated, Single, Subject},
};

pub(crate) const THROUGHPUT: &str = "end to end, 2 at a time";
pub(crate) const IDLE: &str = "end to end, idle fleet";
pub(crate) const BATCH_COLD: &str = "run --batch, cold";
pub(crate) const BATCH_WARM: &str = "run --batch, warm";
pub(crate) const FLEET_COLD: &str = "RabbitMQ, worker, Redis, cold";
pub(crate) const FLEET_WARM: &str = "RabbitMQ, worker, Redis, warm";
/// The time between two jobs of a fleet that has nothing else to do.
const PAUSE: Duration = Duration::from_millis(20);
/// How long a burst of jobs may take.
const DEADLINE: Duration = Duration::from_secs(300);

/// `sandfleet run --batch`, from its start to its end.
struct Batch {
    program: PathBuf,
    directory: PathBuf,
    /// Not the bench's: the batch waits for its launchers, and so their time counts as a child's.
    test_cgroup: TestCgroup,
    more: Vec<(String, String)>,
    made: AtomicUsize,
}

#[async_trait]
impl Subject for Batch {
    async fn burst(&self, jobs: usize, concurrency: usize) -> Result<Burst> {
        let number = self.made.fetch_add(1, Relaxed);
        let file = self.directory.join(format!("jobs-{number}.jsonl"));
        let line = serde_json::json!({ "version": 1, "language": "python", "code": "print(1+1)" });
        fs::write(&file, format!("{line}\n").repeat(jobs))?;
        let mut command = Command::new(&self.program);
        command
            .args(["run", "--batch"])
            .arg(&file)
            .args(["--concurrency", &concurrency.to_string()])
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("SANDFLEET_SANDBOX_CGROUP_PARENT", self.test_cgroup.path())
            .envs(self.more.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null());
        let (output, wall) = tokio::task::spawn_blocking(move || {
            let began = Instant::now();
            command.output().map(|output| (output, began.elapsed()))
        })
        .await??;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout)?;
        let mut burst = Burst { wall, ..Burst::default() };
        for line in text.lines() {
            let result: JobResult = serde_json::from_str(line)?;
            check(&result, "2")?;
            burst.warm += usize::from(is_warm(&result));
        }
        ensure!(text.lines().count() == jobs, "{} results of {jobs} jobs", text.lines().count());
        Ok(burst)
    }
}

/// A worker with its own queues, and a producer.
pub(crate) struct Fleet {
    // Dropped in this order: the worker goes before its queues do.
    worker: FleetWorker,
    pub(crate) client: Client,
    installation: Installation,
    _services: Services,
}

impl Fleet {
    async fn start(program: &Path, slots: usize, warm: bool) -> Result<Self> {
        let services = Services::fresh();
        let program = program.to_str().context("a path that is text")?;
        let mut installation = Installation::fresh()
            .by(program)
            .on(&services)
            .set("WORKER_SLOTS", &slots.to_string())
            .quiet();
        for (name, value) in warmth(warm) {
            installation = installation.set(name, value);
        }
        let mut worker = installation.worker("bench");
        worker.ready().await;
        let client = services.client().await;
        Ok(Self { worker, client, installation, _services: services })
    }
}

impl Fleet {
    fn spenders(&self) -> (Vec<u32>, Option<&TestCgroup>) {
        let worker = self.worker.pid().as_raw_nonzero().get() as u32;
        (vec![worker], Some(&self.installation.test_cgroup))
    }
}

/// Many jobs at once, from the first submission to the last result.
struct Flood(Arc<Fleet>);

#[async_trait]
impl Subject for Flood {
    async fn burst(&self, jobs: usize, _concurrency: usize) -> Result<Burst> {
        let jobs: Vec<Job> = (0..jobs).map(|_| Job::new("python", "print(1+1)")).collect();
        let began = Instant::now();
        let mut ids = Vec::with_capacity(jobs.len());
        for submitted in self.0.client.submit_batch(&jobs).await {
            ids.push(submitted?);
        }
        let results = self.0.client.wait_batch(&ids, DEADLINE).await;
        let mut burst = Burst { wall: began.elapsed(), ..Burst::default() };
        for result in results {
            let result = result?;
            check(&result, "2")?;
            burst.warm += usize::from(is_warm(&result));
        }
        Ok(burst)
    }

    fn also(&self) -> (Vec<u32>, Option<&TestCgroup>) {
        self.0.spenders()
    }
}

/// One job, from before its submission until its result is seen.
struct Visitor(Arc<Fleet>);

#[async_trait]
impl Single for Visitor {
    async fn run(&self) -> Result<bool> {
        let id = self.0.client.submit(&Job::new("python", "print(1+1)")).await?;
        let result = self.0.client.wait(&id, DEADLINE).await?;
        check(&result, "2")?;
        Ok(is_warm(&result))
    }

    fn also(&self) -> (Vec<u32>, Option<&TestCgroup>) {
        self.0.spenders()
    }
}

pub(crate) async fn measure(
    arguments: &Arguments,
    test_cgroup: &TestCgroup,
    program: &Path,
    directory: &Path,
) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if arguments.wants(THROUGHPUT) {
        rows.extend(throughput(arguments, test_cgroup, program, directory).await?);
    }
    if arguments.wants(IDLE) {
        rows.extend(idle(arguments, test_cgroup, program, directory).await?);
    }
    Ok(rows)
}

fn has_services() -> bool {
    std::env::var("SANDFLEET_TEST_AMQP_URL").is_ok()
}

async fn throughput(
    arguments: &Arguments,
    test_cgroup: &TestCgroup,
    program: &Path,
    directory: &Path,
) -> Result<Vec<Row>> {
    let (batch, jobs) = (arguments.choose(2000, 100), arguments.choose(500, 60));
    let lane = |name: &str, subject: Arc<dyn Subject>, jobs, warm| Lane {
        name: name.into(),
        subject,
        jobs,
        concurrency: 2,
        warm,
    };
    let mut lanes = vec![
        lane(BARE, Arc::new(peers::bare()), jobs, Warm::None),
        lane(OFFERED, Arc::new(peers::bare_as_offered(directory)?), jobs, Warm::None),
    ];
    let mut absent = Vec::new();
    for (name, fleet_name, warm) in
        [(BATCH_COLD, FLEET_COLD, false), (BATCH_WARM, FLEET_WARM, true)]
    {
        let more = warmth(warm);
        let (most, all) = if warm { (Warm::Most, Warm::All) } else { (Warm::None, Warm::None) };
        let subject = Batch {
            program: program.to_owned(),
            directory: directory.to_owned(),
            test_cgroup: TestCgroup::fresh(),
            more: more.iter().map(|(n, v)| (format!("SANDFLEET_{n}"), (*v).to_owned())).collect(),
            made: AtomicUsize::new(usize::from(warm) << 32),
        };
        lanes.push(lane(name, Arc::new(subject), batch, most));
        if has_services() {
            let fleet = Arc::new(Fleet::start(program, 2, warm).await?);
            lanes.push(lane(fleet_name, Arc::new(Flood(fleet)), jobs, all));
        } else {
            absent.push((
                fleet_name.into(),
                "skipped: no services; use `bash tests/run bench`".into(),
            ));
        }
    }
    let rounds = arguments.choose(5, 2);
    Ok(Group { name: THROUGHPUT, lanes, absent, rounds }.measure(test_cgroup).await)
}

async fn idle(
    arguments: &Arguments,
    test_cgroup: &TestCgroup,
    program: &Path,
    directory: &Path,
) -> Result<Vec<Row>> {
    if !has_services() {
        return Ok(vec![skipped(
            IDLE,
            FLEET_COLD,
            "skipped: no services; use `bash tests/run bench`",
        )]);
    }
    let jobs = arguments.choose(100, 20);
    let lane = |name: &str, subject: Arc<dyn Subject>, warm| Lane {
        name: name.into(),
        subject: Arc::new(Paced { subject, pause: PAUSE }),
        jobs,
        concurrency: 1,
        warm,
    };
    let mut lanes = vec![
        lane(OFFERED, Arc::new(peers::bare_as_offered(directory)?), Warm::None),
        lane(BARE, Arc::new(peers::bare()), Warm::None),
    ];
    for (name, warm) in [(FLEET_COLD, false), (FLEET_WARM, true)] {
        let fleet = Arc::new(Fleet::start(program, 2, warm).await?);
        let warm = if warm { Warm::All } else { Warm::None };
        lanes.push(lane(name, Arc::new(Repeated(Arc::new(Visitor(fleet)))), warm));
    }
    let rounds = arguments.choose(5, 2);
    Ok(Group { name: IDLE, lanes, absent: Vec::new(), rounds }.measure(test_cgroup).await)
}
