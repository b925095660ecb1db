//! The corpus in `tests/hostile`: what is run, and what has to become of it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use sandfleet_common::{Job, JobResult, Status};
use serde::Deserialize;

use crate::fleet::Runtime;

/// One program or message with what has to become of it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) language: String,
    file: PathBuf,
    /// Verdicts, or statuses where there is no verdict, of which one has to come.
    verdicts: Vec<String>,
    #[serde(default)]
    must_contain: Vec<String>,
    #[serde(default)]
    must_not_contain: Vec<String>,
    /// From the job's start to its result.
    #[serde(default = "an_ordinary_time")]
    pub(crate) max_seconds: u64,
    /// `plant` or `check`.
    pub(crate) pair: Option<String>,
    pub(crate) pair_with: Option<String>,
    /// Whether both halves of a pair run at the same time.
    #[serde(default)]
    pub(crate) concurrent: bool,
    #[serde(default = "once")]
    pub(crate) repeat: usize,
    /// Names of artifacts that have to come back; whether others do doesn't matter.
    #[serde(default)]
    artifacts: Vec<String>,
    /// How many artifacts have to be refused, at least.
    #[serde(default)]
    refused: usize,
    /// Limits that have to show as having refused something.
    #[serde(default)]
    limits_hit: Vec<String>,
    /// Where the barrier that it probes doesn't exist, and why: it isn't run there.
    #[serde(default)]
    not_on: BTreeMap<String, String>,
    /// Where it may also end otherwise.
    #[serde(default)]
    also: BTreeMap<String, Otherwise>,
}

/// How an entry may end on one runtime besides, and why.
#[derive(Debug, Clone, Deserialize)]
struct Otherwise {
    #[serde(default)]
    verdicts: Vec<String>,
    /// The program's own limit of time there.
    wall_seconds: Option<u64>,
    /// From the job's start to its result. More than the limit by what the worker may take around
    /// a program: 15 s to start it, 2 s to end it, 30 s to bring back what it left.
    max_seconds: Option<u64>,
    #[serde(rename = "why")]
    _why: String,
}

fn an_ordinary_time() -> u64 {
    30
}

fn once() -> usize {
    1
}

#[derive(Deserialize)]
struct Manifest {
    entries: Vec<Entry>,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("hostile")
}

/// All entries of `group` that have a meaning on `runtime`, in the manifest's order.
pub(crate) fn group(group: &str, runtime: Runtime) -> Vec<Entry> {
    let text = fs::read_to_string(directory().join("manifest.json")).expect("the manifest");
    let manifest: Manifest = serde_json::from_str(&text).expect("a valid manifest");
    let entries: Vec<_> =
        manifest.entries.into_iter().filter(|entry| entry.group == group).collect();
    assert!(!entries.is_empty(), "no entry is of the group {group}");
    let (here, elsewhere): (Vec<_>, Vec<_>) =
        entries.into_iter().partition(|entry| !entry.not_on.contains_key(runtime.name()));
    for Entry { name, not_on, .. } in &elsewhere {
        println!("not run {name:28} on {}: {}", runtime.name(), not_on[runtime.name()]);
    }
    here
}

impl Entry {
    /// The entry's file as it is.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let path = directory().join(&self.file);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// A job that runs the entry's program and asks for everything that it leaves.
    pub(crate) fn job(&self, runtime: Runtime) -> Job {
        let code = String::from_utf8(self.bytes()).expect("programs are text");
        let mut job = Job::new(&self.language, code);
        job.artifacts.push("**".into());
        if self.group != "exhaust" {
            // What these try takes a moment on a busy machine, and time isn't what they are about.
            job.limits.wall_time_ms = Some(self.max_seconds * 1000);
            job.limits.cpu_time_ms = job.limits.wall_time_ms;
        }
        if let Some(seconds) = self.also.get(runtime.name()).and_then(|also| also.wall_seconds) {
            job.limits.wall_time_ms = Some(seconds * 1000);
            job.limits.cpu_time_ms = job.limits.wall_time_ms;
        }
        job
    }

    /// What is wrong with `result`, if anything is.
    pub(crate) fn faults(&self, runtime: Runtime, result: &JobResult, seconds: f64) -> Vec<String> {
        let mut faults = Vec::new();
        let outcome = outcome(result);
        let also = self.also.get(runtime.name());
        if !self.verdicts.contains(&outcome)
            && !also.is_some_and(|also| also.verdicts.contains(&outcome))
        {
            faults.push(format!("{outcome} ({}), expected {:?}", result.message, self.verdicts));
        }
        if result.status == Status::Error && !self.verdicts.contains(&"error".to_owned()) {
            faults.push("the sandbox failed".into());
        }
        let output = result.run.as_ref().map_or("", |run| run.stdout.as_str());
        let expected = self.verdicts.contains(&outcome);
        for wanted in self.must_contain.iter().filter(|_| expected) {
            if !output.contains(wanted.as_str()) {
                faults.push(format!("did not print {wanted:?}"));
            }
        }
        for unwanted in &self.must_not_contain {
            let breaches = output.lines().filter(|line| line.contains(unwanted.as_str()));
            faults.extend(breaches.map(str::to_owned));
        }
        for wanted in &self.artifacts {
            if !result.artifacts.iter().any(|artifact| artifact.name == *wanted) {
                faults.push(format!("{wanted} did not come back"));
            }
        }
        if result.artifacts_skipped.len() < self.refused {
            faults.push(format!("refused: {:?}", result.artifacts_skipped));
        }
        for wanted in &self.limits_hit {
            if !result.limits_hit.iter().any(|hit| hit.limit.as_str() == wanted) {
                faults.push(format!("limits_hit without {wanted}: {:?}", result.limits_hit));
            }
        }
        for artifact in &result.artifacts {
            if let Err(why) = sandfleet_common::validate_file_name(&artifact.name) {
                faults.push(format!("an artifact's name {why}"));
            }
        }
        let most = also.and_then(|also| also.max_seconds).unwrap_or(self.max_seconds);
        if seconds > most as f64 {
            faults.push(format!("took {seconds:.1} s, at most {most} s were expected"));
        }
        faults
    }

    /// As [`Self::faults`], for a message.
    pub(crate) fn accepts(&self, outcome: &str) -> bool {
        self.verdicts.iter().any(|verdict| verdict == outcome)
    }
}

/// The verdict, or the status of what has none.
pub(crate) fn outcome(result: &JobResult) -> String {
    match (result.status, result.verdict) {
        (Status::Error, _) | (_, None) => result.status.as_str().to_owned(),
        (_, Some(verdict)) => verdict.as_str().to_owned(),
    }
}
