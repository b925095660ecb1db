//! More workers, more throughput: jobs that only wait.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use sandfleet_common::{Job, Verdict};
use sandfleet_tests::{Installation, Services, TestCgroup, median};

use super::{arguments::Arguments, lanes::skipped, rounds::Row};

pub(crate) const GROUP: &str = "workers with 16 slots each, jobs of 0.5 s";
const COUNTS: [usize; 3] = [1, 2, 4];
const SLOTS: usize = 16;

pub(crate) fn lane(workers: usize) -> String {
    format!("{workers} workers")
}

pub(crate) async fn measure(
    arguments: &Arguments,
    _ground: &TestCgroup,
    program: &Path,
) -> Result<Vec<Row>> {
    if !arguments.wants(GROUP) {
        return Ok(Vec::new());
    }
    if std::env::var("SANDFLEET_TEST_AMQP_URL").is_err() {
        return Ok(vec![skipped(
            GROUP,
            &lane(4),
            "skipped: no services; use `bash tests/run bench`",
        )]);
    }
    let (rounds, waves) = (arguments.choose(3, 1), arguments.choose(10, 4));
    let mut rates = [const { Vec::new() }; 3];
    for round in 0..rounds {
        eprintln!("{GROUP}: round {} of {rounds}", round + 1);
        for (index, count) in COUNTS.into_iter().enumerate() {
            rates[index].push(rate(program, count, waves).await?);
        }
    }
    let rows = COUNTS.into_iter().enumerate().map(|(index, count)| {
        let ratios: Vec<f64> = rates[index]
            .iter()
            .zip(&rates[0])
            .map(|(rate, one)| rate / (one * count as f64))
            .collect();
        Row {
            group: GROUP.into(),
            lane: lane(count),
            concurrency: count * SLOTS,
            jobs: rounds * waves * count * SLOTS,
            rate: median(rates[index].clone()).unwrap_or(0.0),
            ratio: median(ratios.clone()).unwrap_or(0.0),
            ratios,
            ..Row::default()
        }
    });
    Ok(rows.collect())
}

/// Jobs a second of `count` workers that have `waves` jobs for each of their slots, from the end of the
/// first wave on: to fill all slots at the same moment takes the processors a while, which says nothing of
/// how many workers there are.
async fn rate(program: &Path, count: usize, waves: usize) -> Result<f64> {
    let services = Services::fresh();
    let program = program.to_str().context("a path that is text")?;
    let installation =
        Installation::fresh().by(program).on(&services).set("WORKER_SLOTS", &SLOTS.to_string());
    let mut workers: Vec<_> =
        (0..count).map(|number| installation.worker(&format!("bench-{number}"))).collect();
    for worker in &mut workers {
        worker.ready().await;
    }
    let client = services.client().await;
    let all = count * SLOTS;
    let mut ends = Vec::new();
    // The first time is for the slots, which are made when they are needed.
    for jobs in [all * 2, all * waves] {
        let jobs: Vec<Job> = (0..jobs).map(|_| Job::new("bash", "exec sleep 0.5")).collect();
        let mut ids = Vec::with_capacity(jobs.len());
        for submitted in client.submit_batch(&jobs).await {
            ids.push(submitted?);
        }
        ends.clear();
        for result in client.wait_batch(&ids, std::time::Duration::from_secs(120)).await {
            let result = result?;
            ensure!(result.verdict == Some(Verdict::Accepted), "{}", result.message);
            ends.push(result.finished_at);
        }
    }
    ends.sort_unstable();
    let seconds = ends[ends.len() - 1].duration_since(ends[all - 1]).as_secs_f64();
    Ok((ends.len() - all) as f64 / seconds)
}
