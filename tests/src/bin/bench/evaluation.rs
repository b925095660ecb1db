//! Submissions with tests: as many programs as a job has tests, against the bare processes.

use std::{
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use sandfleet_common::{Job, Test, Verdict};
use sandfleet_tests::TestCgroup;
use sandfleet_worker::{
    app,
    config::{Backend, Settings},
    embedded::Embedded,
    hooks::{NoHooks, Observer},
    sandbox::Sandbox,
};

use super::{
    arguments::Arguments,
    lanes::{skipped, warmth},
    native,
    rounds::{Group, Lane, Row, Warm},
    subject::{Burst, Process, Subject},
};

pub(crate) const CPP: &str = "tests, C++, 2 at a time";
pub(crate) const PYTHON: &str = "tests, Python, 2 at a time";
pub(crate) const BARE: &str = "bare process a test";
pub(crate) const JOB: &str = "one job with a test each, without its compiler";
const TRUE: &str = "bare /usr/bin/true";

/// About a millisecond.
const CPP_CODE: &str = "#include <cstdio>\nint main() { volatile unsigned long n = 0; for (int i = 0; i < 400000; i++) n += i; \
                        std::puts(\"2\"); }\n";
const PYTHON_CODE: &str = "print(1 + 1)\n";

/// A job with as many tests as there are to be programs.
struct Submission {
    sandbox: Arc<dyn Sandbox>,
    settings: Settings,
    language: &'static str,
    code: &'static str,
}

#[async_trait]
impl Subject for Submission {
    async fn burst(&self, jobs: usize, concurrency: usize) -> Result<Burst> {
        let mut settings = self.settings.clone();
        settings.worker.slots = concurrency;
        let embedded = Embedded::new(Arc::clone(&self.sandbox), &settings, Arc::new(NoHooks));
        let mut job = Job::new(self.language, self.code);
        job.tests = (0..jobs).map(|test| Test::new(test.to_string(), "", "2\n")).collect();
        job.limits.wall_time_ms = Some(2000);
        let began = Instant::now();
        let result = embedded.run(&job).await.context("no result")?;
        let compiling = Duration::from_millis(result.timing.compile_ms);
        let wall = began.elapsed().saturating_sub(compiling);
        ensure!(result.verdict == Some(Verdict::Accepted), "{}", result.message);
        let is_warm = result.sandbox.is_some_and(|report| report.warm);
        Ok(Burst { wall, latencies: Vec::new(), warm: if is_warm { jobs } else { 0 } })
    }
}

pub(crate) async fn measure(arguments: &Arguments, test_cgroup: &TestCgroup) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if arguments.wants(CPP) {
        let directory = tempfile::tempdir()?;
        let (source, binary) = (directory.path().join("it.cpp"), directory.path().join("it"));
        std::fs::write(&source, CPP_CODE)?;
        let compiled =
            Command::new("/usr/bin/g++").arg("-O2").arg("-o").arg(&binary).arg(&source).status();
        if compiled.is_ok_and(|status| status.success()) {
            let bare = Process::new("2", move |_| Command::new(&binary));
            rows.extend(group(arguments, test_cgroup, CPP, "cpp", CPP_CODE, bare).await?);
        } else {
            rows.push(skipped(CPP, JOB, "skipped: g++ isn't installed"));
        }
    }
    if arguments.wants(PYTHON) {
        let directory = tempfile::tempdir()?;
        let script = directory.path().join("main.py");
        std::fs::write(&script, PYTHON_CODE)?;
        let bare = Process::new("2", move |_| {
            let mut command = Command::new("/usr/bin/python3");
            command.arg(&script).env_clear();
            command
        });
        rows.extend(group(arguments, test_cgroup, PYTHON, "python", PYTHON_CODE, bare).await?);
    }
    Ok(rows)
}

async fn group(
    arguments: &Arguments,
    test_cgroup: &TestCgroup,
    name: &'static str,
    language: &'static str,
    code: &'static str,
    bare: Arc<Process>,
) -> Result<Vec<Row>> {
    let mut settings = native::settings(test_cgroup, warmth(true))?;
    settings.worker.slots = 2;
    let sandbox = app::open_sandbox(Backend::Native, &settings, Observer::default()).await?;
    let submission = Submission { sandbox: Arc::clone(&sandbox), settings, language, code };
    let nothing = Process::new("", |_| Command::new("/usr/bin/true"));
    let lane = |name: &str, subject: Arc<dyn Subject>, warm| Lane {
        name: name.into(),
        subject,
        jobs: arguments.choose(100, 20),
        concurrency: 2,
        warm,
    };
    let warm = if language == "python" { Warm::All } else { Warm::None };
    let lanes = vec![
        lane(BARE, Arc::new(bare), Warm::None),
        lane(TRUE, Arc::new(nothing), Warm::None),
        lane(JOB, Arc::new(submission), warm),
    ];
    let rounds = arguments.choose(9, 3);
    let rows = Group { name, lanes, absent: Vec::new(), rounds }.measure(test_cgroup).await;
    sandbox.close().await;
    Ok(rows)
}
