//! What is measured: something that does jobs, so many at a time.

use std::{
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use sandfleet_tests::TestCgroup;

/// What some jobs in a row took.
#[derive(Debug, Default)]
pub(crate) struct Burst {
    /// From the first job's start to the last one's end.
    pub(crate) wall: Duration,
    /// Of each job; empty where jobs don't start one by one.
    pub(crate) latencies: Vec<Duration>,
    /// How many results said that they came from a warm interpreter.
    pub(crate) warm: usize,
}

/// Something that does jobs.
#[async_trait]
pub(crate) trait Subject: Send + Sync {
    /// Does `jobs` jobs, at most `concurrency` at a time. One that doesn't come out as it has to
    /// is an error.
    async fn burst(&self, jobs: usize, concurrency: usize) -> Result<Burst>;

    /// Processes besides this one and its ended children that it keeps busy, and the control group that
    /// their containers are on if it isn't the bench's, for their CPU time.
    fn also(&self) -> (Vec<u32>, Option<&TestCgroup>) {
        (Vec::new(), None)
    }
}

/// Something that does one job.
#[async_trait]
pub(crate) trait Single: Send + Sync + 'static {
    /// Does it; says whether it was warm.
    async fn run(&self) -> Result<bool>;

    /// As [`Subject::also`].
    fn also(&self) -> (Vec<u32>, Option<&TestCgroup>) {
        (Vec::new(), None)
    }
}

/// Does a [`Single`]'s job again and again: each task begins the next when one is done.
pub(crate) struct Repeated<S>(pub(crate) Arc<S>);

#[async_trait]
impl<S: Single> Subject for Repeated<S> {
    async fn burst(&self, jobs: usize, concurrency: usize) -> Result<Burst> {
        let left = Arc::new(AtomicUsize::new(jobs));
        let began = Instant::now();
        let tasks: Vec<_> = (0..concurrency)
            .map(|_| {
                let (single, left) = (Arc::clone(&self.0), Arc::clone(&left));
                tokio::spawn(async move {
                    let (mut latencies, mut warm) = (Vec::new(), 0);
                    while take(&left) {
                        let began = Instant::now();
                        warm += usize::from(single.run().await?);
                        latencies.push(began.elapsed());
                    }
                    anyhow::Ok((latencies, warm))
                })
            })
            .collect();
        let mut burst = Burst::default();
        for task in tasks {
            let (latencies, warm) = task.await??;
            burst.latencies.extend(latencies);
            burst.warm += warm;
        }
        burst.wall = began.elapsed();
        Ok(burst)
    }

    fn also(&self) -> (Vec<u32>, Option<&TestCgroup>) {
        self.0.also()
    }
}

/// A client with a job now and then: each waits for the one before and a pause, which isn't
/// counted, for whatever is tidied up or made ready behind a job.
pub(crate) struct Paced {
    pub(crate) subject: Arc<dyn Subject>,
    pub(crate) pause: Duration,
}

#[async_trait]
impl Subject for Paced {
    async fn burst(&self, jobs: usize, _concurrency: usize) -> Result<Burst> {
        let mut all = Burst::default();
        for _ in 0..jobs {
            let one = self.subject.burst(1, 1).await?;
            all.wall += one.wall;
            all.latencies.extend(one.latencies);
            all.warm += one.warm;
            tokio::time::sleep(self.pause).await;
        }
        Ok(all)
    }

    fn also(&self) -> (Vec<u32>, Option<&TestCgroup>) {
        self.subject.also()
    }
}

/// A process a job: bare, or in another project's sandbox.
pub(crate) struct Process {
    /// The command of the job with that number.
    pub(crate) command: Box<dyn Fn(usize) -> Command + Send + Sync>,
    /// What it has to print.
    pub(crate) prints: &'static str,
    made: AtomicUsize,
}

impl Process {
    pub(crate) fn new(
        prints: &'static str,
        command: impl Fn(usize) -> Command + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { command: Box::new(command), prints, made: AtomicUsize::new(0) })
    }

    fn run(&self) -> Result<()> {
        let mut command = (self.command)(self.made.fetch_add(1, Relaxed));
        // Without a change of directory or of the child's set-up the standard library takes
        // posix_spawn, which doesn't copy this process's page tables.
        let output = command.stdin(Stdio::null()).output().context("starting a process")?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        ensure!(
            output.status.success() && stdout.trim_end() == self.prints,
            "{:?} gave {:?}, {stdout:?}: {}",
            command.get_program(),
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(())
    }
}

#[async_trait]
impl Subject for Arc<Process> {
    async fn burst(&self, jobs: usize, concurrency: usize) -> Result<Burst> {
        let process = Arc::clone(self);
        // Plain threads: no runtime stands between a bare process and its caller.
        tokio::task::spawn_blocking(move || {
            let left = AtomicUsize::new(jobs);
            let began = Instant::now();
            let latencies = thread::scope(|scope| {
                let turns = || {
                    let mut latencies = Vec::new();
                    while take(&left) {
                        let began = Instant::now();
                        process.run()?;
                        latencies.push(began.elapsed());
                    }
                    anyhow::Ok(latencies)
                };
                let threads: Vec<_> = (0..concurrency).map(|_| scope.spawn(turns)).collect();
                let mut all = Vec::with_capacity(jobs);
                for thread in threads {
                    all.extend(thread.join().expect("it doesn't panic")?);
                }
                anyhow::Ok(all)
            })?;
            Ok(Burst { wall: began.elapsed(), latencies, warm: 0 })
        })
        .await?
    }
}

/// Takes one job of those that are left.
fn take(left: &AtomicUsize) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
}
