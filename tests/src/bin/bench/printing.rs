//! What printing costs: a million lines, in CPU time of the program alone.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use sandfleet_common::Job;
use sandfleet_tests::{TestCgroup, median};
use sandfleet_worker::config::{Backend, Settings};

use super::{
    arguments::Arguments,
    lanes::{Engine, skipped, warmth},
    native::{self, Sandboxed, is_warm},
    rounds::{GETS_WARM, Row},
};

pub(crate) const GROUP: &str = "printing a million lines, CPU, ms";
const BARE: &str = "bare process, buffered by itself";
pub(crate) const COLD: &str = "native, cold";
pub(crate) const WARM: &str = "native, warm";
pub(crate) const DOCKER: &str = "docker backend";

/// It says itself what it took, and so the interpreter's start and those who read are left out alike.
const PROGRAM: &str = "
import sys, time
before = time.process_time()
for number in range(1_000_000): print(number)
sys.stdout.flush()
print(time.process_time() - before, file=sys.stderr)
";
const BYTES: usize = 6_888_890;

pub(crate) async fn measure(
    arguments: &Arguments,
    test_cgroup: &TestCgroup,
    directory: &Path,
) -> Result<Vec<Row>> {
    if !arguments.wants(GROUP) {
        return Ok(Vec::new());
    }
    let rounds = arguments.choose(7, 3);
    let mut bare = Vec::new();
    for _ in 0..rounds {
        bare.push(by_itself(directory)?);
    }
    let mut rows = vec![row(BARE, &bare, vec![1.0; rounds])];
    for (lane, warm) in [(COLD, false), (WARM, true)] {
        let settings = native::settings(test_cgroup, warmth(warm))?;
        rows.push(sandboxed(lane, Backend::Native, &settings, warm, (rounds, directory)).await?);
    }
    rows.push(match Engine::find() {
        None => skipped(GROUP, DOCKER, "skipped: no Docker engine; use `bash tests/run bench`"),
        Some(engine) => {
            let settings = native::settings(
                test_cgroup,
                &[
                    ("SANDBOX_BACKEND", "docker"),
                    ("SANDBOX_DOCKER_HOST", &engine.host),
                    ("SANDBOX_IMAGE", &engine.image),
                    ("SANDBOX_ALLOW_OUTDATED_ENGINE", "true"),
                ],
            )?;
            sandboxed(DOCKER, Backend::Docker, &settings, false, (rounds, directory)).await?
        }
    });
    Ok(rows)
}

/// CPU time in milliseconds of each round, and its share of the bare process's just before.
fn row(lane: &str, spent: &[f64], ratios: Vec<f64>) -> Row {
    Row {
        group: GROUP.into(),
        lane: lane.into(),
        rate: median(spent.to_vec()).unwrap_or_default(),
        ratio: median(ratios.clone()).unwrap_or_default(),
        ratios,
        ..Row::default()
    }
}

/// The program with a pipe as its stdout and nothing between.
fn by_itself(directory: &Path) -> Result<f64> {
    let script = directory.join("printing.py");
    fs::write(&script, PROGRAM)?;
    let output = Command::new("/usr/bin/python3")
        .arg(&script)
        .env_clear()
        .env("LC_ALL", "C.UTF-8")
        .stdin(Stdio::null())
        .output()
        .context("starting Python")?;
    spent(&output.stdout, &String::from_utf8_lossy(&output.stderr))
}

async fn sandboxed(
    lane: &str,
    backend: Backend,
    settings: &Settings,
    warm: bool,
    (rounds, directory): (usize, &Path),
) -> Result<Row> {
    let mut job = Job::new("python", PROGRAM);
    job.limits.output_bytes = Some(BYTES as u64);
    job.limits.wall_time_ms = Some(60_000);
    let ours = match Sandboxed::open(backend, settings, None, job, "").await {
        Ok(ours) => ours,
        Err(error) => return Ok(skipped(GROUP, lane, &format!("{error:#}"))),
    };
    let (mut ms, mut ratios) = (Vec::new(), Vec::new());
    let begun = Instant::now();
    while ms.len() < rounds {
        let bare = by_itself(directory)?;
        let result = ours.result().await?;
        if warm && !is_warm(&result) {
            ensure!(begun.elapsed() < GETS_WARM, "no interpreter gets warm");
            continue;
        }
        let run = result.run.with_context(|| format!("it didn't run: {}", result.message))?;
        ms.push(spent(run.stdout.as_bytes(), &run.stderr)?);
        ratios.extend(ms.last().map(|ms| ms / bare));
    }
    ours.sandbox.close().await;
    Ok(row(lane, &ms, ratios))
}

/// The CPU time in milliseconds that the program says it has used.
fn spent(stdout: &[u8], stderr: &str) -> Result<f64> {
    ensure!(stdout.len() == BYTES, "it printed {} bytes: {stderr}", stdout.len());
    let seconds: f64 = stderr.trim().parse().with_context(|| stderr.to_owned())?;
    Ok(seconds * 1e3)
}
