//! A fleet on this machine under load, beside the capacity that the plan would compute for it.
//!
//! Each kind of job is calibrated on one worker: processor time a job when the fleet is full, and
//! the latency of a single job in an idle fleet.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use sandfleet_common::{Job, JobId, Status, Verdict, names};
use sandfleet_sdk::Client;
use sandfleet_tests::{FleetWorker, Installation, Services, busy_time, median};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use crate::{
    arguments::Arguments,
    calibration::Calibration,
    capacity::{Arrivals, capacity},
    report::{Figures, Report, Row},
    store::Saturated,
    store_use::{StoreUse, memory_of},
};

/// Of each worker.
const SLOTS: usize = 16;
/// How long a result is waited for.
const DEADLINE: Duration = Duration::from_secs(120);
/// Until the kernel has taken down what the last containers left.
const SETTLING: Duration = Duration::from_millis(500);
/// The share of the cores that other processes may use.
const QUIET: f64 = 0.1;
/// How many half seconds to wait until they use no more.
const QUIET_TRIES: usize = 60;
/// Shares of the capacity.
const LOADS: [f64; 2] = [0.6, 0.8];
/// How much more than its capacity a full fleet is offered.
const SATURATION: f64 = 2.0;

/// A kind of job.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    language: &'static str,
    code: &'static str,
    /// How long the program waits, in seconds.
    asleep: f64,
}

/// Cold, since a zygote makes the first programs of a run more expensive than the others.
const PRINT: Kind =
    Kind { name: "print, cold", language: "python", code: "print(1+1)", asleep: 0.0 };
const SLEEP: Kind =
    Kind { name: "sleep 0.5 s", language: "bash", code: "exec sleep 0.5", asleep: 0.5 };

/// Some workers on queues and keys of their own, and a producer.
struct Fleet {
    // Dropped in this order: the workers go before their queues do.
    _workers: Vec<FleetWorker>,
    client: Client,
    services: Services,
    _installation: Installation,
    workers: usize,
}

/// A job that was run.
struct Ran {
    id: JobId,
    /// From when it was due until its result was seen, in seconds.
    latency: f64,
    /// When that was, in seconds from the begin of the run.
    seen: f64,
    /// How long the worker had it until its result, in seconds.
    held: f64,
}

/// Measures all, or nothing where no services are.
pub(crate) async fn measure(arguments: &Arguments, program: &Path) -> Result<Option<Report>> {
    if std::env::var("SANDFLEET_TEST_AMQP_URL").is_err() {
        return Ok(None);
    }
    let mut report = Report::begin(arguments.quick);
    let fleet = Fleet::start(program, 1, PRINT).await?;
    let print = fleet.calibrate(PRINT, arguments).await?;
    for load in LOADS.into_iter().chain([SATURATION]) {
        report.rows.push(fleet.load(PRINT, &print, load, arguments).await?);
    }
    report.store = Some(Saturated::measure(&fleet.services, arguments.choose(60, 20)).await?);
    drop(fleet);
    let mut calibrated = None;
    let counts: &[usize] = if arguments.quick { &[1, 4] } else { &[1, 2, 4] };
    for workers in counts.iter().copied() {
        let fleet = Fleet::start(program, workers, SLEEP).await?;
        if calibrated.is_none() {
            let mut sleep = fleet.calibrate(SLEEP, arguments).await?;
            // These jobs alone never ask for all cores.
            sleep.cores = print.cores;
            calibrated = Some(sleep);
        }
        let calibration = calibrated.as_ref().context("it was just made")?;
        let loads = if arguments.quick { &LOADS[..1] } else { &LOADS };
        for load in loads.iter().copied().chain([SATURATION]) {
            report.rows.push(fleet.load(SLEEP, calibration, load, arguments).await?);
        }
    }
    report.calibrations.push(print);
    report.calibrations.extend(calibrated);
    Ok(Some(report))
}

impl Fleet {
    async fn start(program: &Path, workers: usize, kind: Kind) -> Result<Self> {
        let services = Services::fresh();
        let installation = Installation::fresh()
            .by(program.to_str().context("a path that is text")?)
            .on(&services)
            .set("WORKER_SLOTS", &SLOTS.to_string())
            .set("SANDBOX_WARM", "false")
            .quiet();
        let mut running: Vec<_> =
            (0..workers).map(|number| installation.worker(&format!("scaling-{number}"))).collect();
        for worker in &mut running {
            worker.ready().await;
        }
        let client = services.client().await;
        let fleet =
            Self { _workers: running, client, services, _installation: installation, workers };
        // Slots are made when they are needed.
        fleet.run(kind, &vec![0.0; workers * SLOTS * 2]).await?;
        sleep(SETTLING).await;
        Ok(fleet)
    }

    /// Open loop: submits each job when it is due, in seconds from now.
    async fn run(&self, kind: Kind, dues: &[f64]) -> Result<Vec<Ran>> {
        let mut open = JoinSet::new();
        let began = Instant::now();
        for due in dues {
            let due = began + Duration::from_secs_f64(*due);
            sleep_until(due).await;
            open.spawn(visit(self.client.clone(), kind, began, due));
        }
        let mut ran = Vec::with_capacity(dues.len());
        while let Some(one) = open.join_next().await {
            ran.push(one??);
        }
        Ok(ran)
    }

    async fn calibrate(&self, kind: Kind, arguments: &Arguments) -> Result<Calibration> {
        eprintln!("{}: calibrating", kind.name);
        let mut redis = self.services.redis().await;
        let available = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let background = background(available).await?;
        let (mut alone, mut held) = (Vec::new(), Vec::new());
        for _ in 0..arguments.choose(15, 7) {
            for ran in self.run(kind, &[0.0]).await? {
                alone.push(ran.latency);
                held.push(ran.held);
            }
        }
        let few = "there are jobs";
        let (alone, held) = (median(alone).context(few)?, median(held).context(few)?);

        let waves = arguments.choose(16, 6);
        let jobs = if kind.asleep > 0.0 { SLOTS * waves.div_ceil(2) } else { SLOTS * waves };
        let (spent, store) = (busy_time()?.as_secs_f64(), StoreUse::until_now(&mut redis).await?);
        let began = Instant::now();
        let ran = self.run(kind, &vec![0.0; jobs]).await?;
        let full = began.elapsed().as_secs_f64();
        let given = (busy_time()?.as_secs_f64() - spent) / full - background;
        sleep(SETTLING).await;
        let passed = began.elapsed().as_secs_f64();
        let cpu = (busy_time()?.as_secs_f64() - spent - background * passed) / jobs as f64;
        let store = (StoreUse::until_now(&mut redis).await? - store).per(jobs);

        let last = &ran.last().context("there are jobs")?.id;
        let prefix = &self.services.prefix;
        Ok(Calibration {
            kind: kind.name,
            // Cores that the hypervisor withheld count as missing.
            cores: given.min(available - background).max(0.1),
            alone,
            held,
            cpu: cpu.max(0.0),
            store,
            result_bytes: memory_of(&mut redis, &names::result_key(prefix, last)).await?,
            record_bytes: memory_of(&mut redis, &names::record_key(prefix, last)).await?,
        })
    }

    /// Measures `load`, a share of the computed capacity.
    async fn load(
        &self,
        kind: Kind,
        calibration: &Calibration,
        load: f64,
        arguments: &Arguments,
    ) -> Result<Row> {
        let capacity = capacity(self.workers * SLOTS, calibration);
        let rate = load * capacity;
        let seconds = arguments.choose(5, 3) as f64;
        // Above capacity every offered job still has to be run.
        let seconds = if load > 1.0 { seconds / load } else { seconds };
        // Enough jobs that the first and the last do not decide the percentiles.
        let jobs = ((rate * seconds) as usize).max(2 * SLOTS * self.workers).max(40);
        eprintln!("{}, {} workers: {jobs} jobs, {rate:.1} a second", kind.name, self.workers);
        let arrivals = if load > 1.0 { Arrivals::Even } else { Arrivals::Poisson };
        let dues = arrivals.times(rate, jobs);
        let available = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let idle = background(available).await?;
        let (spent, started) = (busy_time()?.as_secs_f64(), Instant::now());
        let ran = self.run(kind, &dues).await?;
        sleep(SETTLING).await;
        let spent = busy_time()?.as_secs_f64() - spent - idle * started.elapsed().as_secs_f64();
        let latencies: Vec<_> = ran.iter().map(|ran| ran.latency).collect();
        let latest = ran.iter().map(|ran| ran.seen).fold(0.0, f64::max);
        Ok(Row {
            kind: kind.name,
            workers: self.workers,
            load,
            capacity,
            jobs,
            alone_ms: calibration.alone * 1000.0,
            measured: Figures::of(&latencies, latest - dues[0]),
            cpu_ms: spent / jobs as f64 * 1000.0,
        })
    }
}

/// How many of the `available` cores other processes use. Waits until they are few: a measurement
/// beside a compiler is worthless.
async fn background(available: f64) -> Result<f64> {
    let mut used = 0.0;
    for _ in 0..QUIET_TRIES {
        let (before, began) = (busy_time()?.as_secs_f64(), Instant::now());
        sleep(Duration::from_millis(500)).await;
        used = (busy_time()?.as_secs_f64() - before) / began.elapsed().as_secs_f64();
        if used < QUIET * available {
            return Ok(used);
        }
    }
    bail!("other processes use {used:.1} of {available} cores: measure when they are done")
}

/// Submits one job and waits for its result.
async fn visit(client: Client, kind: Kind, began: Instant, due: Instant) -> Result<Ran> {
    let mut job = Job::new(kind.language, kind.code);
    job.result_ttl_ms = Some(600_000);
    let id = client.submit(&job).await?;
    let result = client.wait(&id, DEADLINE).await?;
    let (latency, seen) = (due.elapsed().as_secs_f64(), began.elapsed().as_secs_f64());
    let is_right = result.status == Status::Succeeded && result.verdict == Some(Verdict::Accepted);
    ensure!(is_right, "{id}: {}", result.message);
    let held = result.finished_at.duration_since(result.started_at).as_secs_f64();
    Ok(Ran { id, latency, seen, held })
}
