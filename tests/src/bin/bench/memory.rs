//! What a worker takes when it has nothing to do.

use std::{fs, path::Path, time::Instant};

use anyhow::{Context, Result};
use sandfleet_common::{Job, Verdict};
use sandfleet_tests::{Installation, Services, TestCgroup, children_of};

use super::{
    arguments::Arguments,
    lanes::{skipped, warmth},
    native::is_warm,
    rounds::{GETS_WARM, Row},
};

pub(crate) const GROUP: &str = "memory of an idle worker, MiB";
pub(crate) const RSS: &str = "resident, the worker's process";
pub(crate) const PSS: &str = "proportional, with its launchers";
pub(crate) const WARM_PSS: &str = "proportional, with one warm data interpreter";

pub(crate) async fn measure(
    arguments: &Arguments,
    _ground: &TestCgroup,
    program: &Path,
) -> Result<Vec<Row>> {
    if !arguments.wants(GROUP) {
        return Ok(Vec::new());
    }
    if std::env::var("SANDFLEET_TEST_AMQP_URL").is_err() {
        return Ok(vec![skipped(GROUP, RSS, "skipped: no services; use `bash tests/run bench`")]);
    }
    let (resident, proportional, _) = of_worker(program, false).await?;
    let mut rows = vec![row(RSS, resident), row(PSS, proportional)];
    let (_, proportional, warm) = of_worker(program, true).await?;
    let problem = (!warm).then(|| "NOT WARM: the result doesn't say warm".to_owned());
    rows.push(Row { problem, ..row(WARM_PSS, proportional) });
    Ok(rows)
}

fn row(lane: &str, mebibytes: f64) -> Row {
    // A figure and no rate: the page says what the group's unit is.
    Row { group: GROUP.into(), lane: lane.into(), rate: mebibytes, ..Row::default() }
}

/// RSS of a worker, PSS of it and all its descendants, in MiB; and whether its job was warm.
async fn of_worker(program: &Path, warm: bool) -> Result<(f64, f64, bool)> {
    let services = Services::fresh();
    let program = program.to_str().context("a path that is text")?;
    let mut installation = Installation::fresh().by(program).on(&services).set("WORKER_SLOTS", "2");
    for (name, value) in warmth(warm) {
        installation = installation.set(name, value);
    }
    let mut worker = installation.worker("bench");
    worker.ready().await;
    let client = services.client().await;
    // Idle after work, not before any: allocators keep what they once had.
    let code = if warm { "import pandas" } else { "" };
    let began = Instant::now();
    let result = loop {
        let id = client.submit(&Job::new("python", code)).await?;
        let result = client.wait(&id, GETS_WARM).await?;
        anyhow::ensure!(result.verdict == Some(Verdict::Accepted), "{}", result.message);
        if !warm || is_warm(&result) || began.elapsed() > GETS_WARM {
            break result;
        }
    };
    let pid = worker.pid().as_raw_nonzero().get() as u32;
    let resident = field(&format!("/proc/{pid}/status"), "VmRSS:")?;
    let mut proportional = 0.0;
    for process in with_descendants(pid) {
        // It may have ended since it was listed.
        proportional += field(&format!("/proc/{process}/smaps_rollup"), "Pss:").unwrap_or(0.0);
    }
    Ok((resident, proportional, is_warm(&result)))
}

/// A figure in kB of a file of /proc, in MiB.
fn field(file: &str, name: &str) -> Result<f64> {
    let text = fs::read_to_string(file).with_context(|| file.to_owned())?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    Ok(number.with_context(|| format!("{file} has no {name}"))? / 1024.0)
}

fn with_descendants(pid: u32) -> Vec<u32> {
    let mut found = vec![pid];
    let mut next = 0;
    while next < found.len() {
        let children = children_of(&found[next].to_string());
        found.extend(children.iter().map(|child| child.as_raw_nonzero().get().unsigned_abs()));
        next += 1;
    }
    found
}
