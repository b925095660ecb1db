//! `sandfleet doctor --attack`: hostile programs in the operator's own sandbox.
//!
//! Some probes are run again without their barrier, to show that they can fail; what would pass on this host
//! without any sandbox is said apart.

mod programs;

use std::{collections::BTreeMap, fs, sync::Arc};

use sandfleet_common::{
    Isolation, Job, JobResult, LimitsRequest, OutputOverflow, PrintableText, Status,
};
use serde::{Deserialize, Serialize};

use self::programs::{Control, MANIFEST, Program, program};
use super::claims::{Attempt, Claim, TABLE};
use crate::{config::Settings, embedded::Embedded, hooks::NoHooks, sandbox::Sandbox};

/// What the corpus calls a sandbox with a kernel of its own.
const GVISOR: &str = "gvisor";

/// What became of one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The claim of the threat model that it is about.
    pub claim: String,
    /// The program's path in the corpus `tests/hostile`.
    pub program: String,
    /// Whether its barrier was taken away, to show that the program can tell.
    pub control: bool,
    /// What it tried.
    pub tried: String,
    /// What its failure shows.
    pub proves: String,
    /// How it went.
    pub outcome: Outcome,
    /// What there is to say about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// How an attempt went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Contained.
    Pass,
    /// Contained, but it would have been on this host without the sandbox too.
    Vacuous,
    /// Not contained by the sandbox's own kernel, which is not the host's.
    Inside,
    /// Not contained, or the program could not do its work.
    Fail,
    /// Not run: it takes up room, and something before it was not contained.
    Untried,
}

impl Outcome {
    /// The word in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Pass => "PASS",
            Outcome::Vacuous => "vacuous",
            Outcome::Inside => "inside",
            Outcome::Fail => "FAIL",
            Outcome::Untried => "untried",
        }
    }

    /// Whether it was run, and kept from what is the host's.
    pub fn is_contained(self) -> bool {
        !matches!(self, Outcome::Fail | Outcome::Untried)
    }
}

/// Whether everything was contained.
pub fn is_contained(tried: &[Tried]) -> bool {
    tried.iter().all(|one| one.outcome.is_contained())
}

/// What the corpus says about one of its programs.
#[derive(Debug, Clone, Deserialize)]
struct Entry {
    file: String,
    language: String,
    verdicts: Vec<String>,
    #[serde(default)]
    must_contain: Vec<String>,
    #[serde(default)]
    must_not_contain: Vec<String>,
    /// Where the program has no meaning, and why: under the sandbox's own kernel a breach is none.
    #[serde(default)]
    not_on: BTreeMap<String, String>,
    /// Where it may end otherwise, and why.
    #[serde(default)]
    also: BTreeMap<String, serde_json::Value>,
    vacuous_if: Option<String>,
}

impl Entry {
    fn of(program: Program) -> Self {
        #[derive(Deserialize)]
        struct Manifest {
            entries: Vec<Entry>,
        }
        let manifest: Manifest =
            serde_json::from_str(MANIFEST).expect("the embedded list is valid: a test reads it");
        let mut entries = manifest.entries.into_iter();
        entries
            .find(|entry| entry.file == program.file)
            .expect("every program is in the embedded list: a test looks")
    }

    fn job(&self, code: &str, limits: LimitsRequest) -> Job {
        let mut job = Job::new(&self.language, code);
        job.limits = limits;
        job.output_overflow = OutputOverflow::Kill;
        job.artifacts = vec!["**".into()];
        job
    }

    /// What is wrong with `result`.
    fn faults(&self, result: &JobResult, limits: &LimitsRequest) -> Vec<String> {
        let mut faults = Vec::new();
        let outcome = outcome(result);
        if !self.verdicts.iter().any(|verdict| verdict == outcome) {
            let wanted = self.verdicts.join(" or ");
            faults.push(format!("{outcome} ({}) instead of {wanted}", result.message));
        }
        let output = result.run.as_ref().map_or("", |run| run.stdout.as_str());
        for wanted in self.must_contain.iter().filter(|wanted| !output.contains(wanted.as_str())) {
            faults.push(format!("did not print {wanted:?}"));
        }
        for unwanted in &self.must_not_contain {
            faults.extend(output.lines().find(|line| line.contains(unwanted.as_str())).map(shown));
        }
        if limits.output_bytes.is_some_and(|most| output.len() as u64 > most * 4 / 3 + 4) {
            faults.push(format!("{} bytes of output came back", output.len()));
        }
        // Its programs leave nothing that may come back.
        if self.file.starts_with("artifacts/") {
            let names = result.artifacts.iter().map(|artifact| shown(&artifact.name));
            faults.extend(names.map(|name| format!("{name} came back")));
        }
        faults
    }

    /// Why a pass shows nothing here, or may not; the first is certain.
    fn doubt(&self, is_local: bool) -> (bool, Option<String>) {
        let Some(condition) = &self.vacuous_if else { return (false, None) };
        for (setting, least) in
            [("kernel.dmesg_restrict", 1), ("kernel.unprivileged_bpf_disabled", 1)]
        {
            if condition.starts_with(setting) && is_local {
                let path = format!("/proc/sys/{}", setting.replace('.', "/"));
                let found: Option<u32> =
                    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok());
                return match found {
                    Some(value) if value >= least => (
                        true,
                        Some(format!(
                            "{setting} is {value}: the kernel refuses it to every process"
                        )),
                    ),
                    _ => (false, None),
                };
            }
        }
        (false, Some(format!("shows less where this holds: {condition}")))
    }
}

fn outcome(result: &JobResult) -> &'static str {
    match (result.status, result.verdict) {
        (Status::Error, _) | (_, None) => result.status.as_str(),
        (_, Some(verdict)) => verdict.as_str(),
    }
}

/// A hostile program's words, fit for a terminal.
fn shown(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

/// Attacks `sandbox` with all there is; `watch` hears of each attempt as it ends.
pub async fn attack(
    sandbox: Arc<dyn Sandbox>,
    settings: &Settings,
    is_local: bool,
    mut watch: impl FnMut(&Tried),
) -> Vec<Tried> {
    let range = Range { sandbox, settings, is_local };
    let mut all = Vec::new();
    let mut note = |all: &mut Vec<Tried>, tried: Tried| {
        watch(&tried);
        all.push(tried);
    };
    for control in programs::controls() {
        note(&mut all, range.control(&control).await);
    }
    for takes_room in [false, true] {
        for (claim, attempt) in TABLE.attempts().filter(|(_, it)| it.takes_room == takes_room) {
            let tried = if !takes_room {
                range.attack(claim, attempt, programs::limits()).await
            } else if is_contained(&all) {
                range.attack(claim, attempt, programs::small_limits()).await
            } else {
                let remark = "takes up room, and something before it was not contained";
                told(claim, attempt, Outcome::Untried, Some(remark.into()))
            };
            note(&mut all, tried);
        }
    }
    all
}

fn told(claim: &Claim, attempt: &Attempt, outcome: Outcome, remark: Option<String>) -> Tried {
    Tried {
        claim: claim.id.clone(),
        program: attempt.program.clone(),
        control: false,
        tried: attempt.tried.clone(),
        proves: attempt.proves.clone(),
        outcome,
        remark,
    }
}

/// Where attacks are run.
struct Range<'a> {
    sandbox: Arc<dyn Sandbox>,
    settings: &'a Settings,
    /// Whether the sandbox's kernel settings are this host's.
    is_local: bool,
}

impl Range<'_> {
    async fn attack(&self, claim: &Claim, attempt: &Attempt, limits: LimitsRequest) -> Tried {
        let mut faults = Vec::new();
        for program in attempt.after.iter().chain([&attempt.program]).map(|file| program(file)) {
            let entry = Entry::of(program);
            let job = entry.job(program.code, limits.clone());
            faults.extend(self.run(&entry, job, &limits).await);
        }
        let (outcome, remark) = self.judge(&Entry::of(program(&attempt.program)), &faults);
        told(claim, attempt, outcome, remark)
    }

    fn judge(&self, entry: &Entry, faults: &[String]) -> (Outcome, Option<String>) {
        let has_own_kernel = self.sandbox.description().isolation > Isolation::Container;
        if faults.is_empty() {
            let (is_vacuous, doubt) = entry.doubt(self.is_local);
            return (if is_vacuous { Outcome::Vacuous } else { Outcome::Pass }, doubt);
        }
        let remark = faults.join("; ");
        let why = entry.not_on.get(GVISOR).cloned();
        let why = why.or_else(|| Some(entry.also.get(GVISOR)?["why"].as_str()?.to_owned()));
        match why {
            Some(why) if has_own_kernel => (Outcome::Inside, Some(format!("{why}: {remark}"))),
            _ => (Outcome::Fail, Some(remark)),
        }
    }

    async fn control(&self, control: &Control) -> Tried {
        let entry = Entry::of(control.of);
        let mut job = entry.job(&control.code, programs::limits());
        if let Some((name, value)) = control.environment {
            job.env.insert(name.into(), value.into());
        }
        let result = self.result(&job).await;
        let output =
            result.and_then(|result| result.run).map_or_else(String::new, |run| run.stdout);
        let (outcome, remark) = match output.lines().find(|line| line.starts_with("BREACH")) {
            Some(line) => (Outcome::Pass, format!("it said so: {}", shown(line))),
            None => (Outcome::Fail, "it did not notice, so that its passes show nothing".into()),
        };
        let (claim, _) = TABLE
            .attempts()
            .find(|(_, attempt)| attempt.program == control.of.file)
            .expect("every control is of a program that is run: a test looks");
        Tried {
            claim: claim.id.clone(),
            program: control.of.file.into(),
            control: true,
            tried: control.tried.into(),
            proves: "control: this probe can fail".into(),
            outcome,
            remark: Some(remark),
        }
    }

    async fn run(&self, entry: &Entry, job: Job, limits: &LimitsRequest) -> Vec<String> {
        match self.result(&job).await {
            Some(result) => entry.faults(&result, limits),
            None => vec!["it ended without a result".into()],
        }
    }

    async fn result(&self, job: &Job) -> Option<JobResult> {
        Embedded::new(Arc::clone(&self.sandbox), self.settings, Arc::new(NoHooks)).run(job).await
    }
}

/// One attempt as a line or two of the table for people.
pub fn row(one: &Tried) -> String {
    let Tried { claim: _, program, control: _, tried, proves, outcome, remark } = one;
    let outcome = outcome.as_str();
    let mut row = format!("{outcome:7}  {program:32}  {tried}\n{:43}=> {proves}\n", "");
    if let Some(remark) = remark {
        let remark = PrintableText::new(remark);
        row.push_str(&format!("{:43}   {remark}\n", ""));
    }
    row
}

/// The last line for people.
pub fn summary(tried: &[Tried]) -> String {
    let count = |outcome| tried.iter().filter(|one| one.outcome == outcome).count();
    format!(
        "{} attempts: {} contained, {} of no weight on this host, {} inside a kernel of their own, \
         {} failed, {} not run",
        tried.len(),
        count(Outcome::Pass),
        count(Outcome::Vacuous),
        count(Outcome::Inside),
        count(Outcome::Fail),
        count(Outcome::Untried)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> impl Iterator<Item = Program> {
        let attempts = TABLE.attempts().map(|(_, attempt)| attempt);
        attempts.flat_map(|it| it.after.iter().chain([&it.program])).map(|file| program(file))
    }

    #[test]
    fn every_program_is_in_the_corpus_with_what_it_must_come_to() {
        for program in all() {
            let entry = Entry::of(program);
            assert!(!entry.verdicts.is_empty(), "{}", program.file);
            assert!(entry.must_not_contain.contains(&"BREACH".to_owned()), "{}", program.file);
        }
    }

    #[test]
    fn every_control_is_of_a_program_that_is_run() {
        for control in programs::controls() {
            assert!(all().any(|program| program.file == control.of.file), "{control:?}");
        }
    }

    #[test]
    fn a_breach_and_a_wrong_verdict_are_faults() {
        let entry = Entry::of(program("escape/mount.py"));
        let mut result: JobResult = serde_json::from_str(
            r#"{"version":1,"job_id":"x","status":"succeeded","verdict":"accepted","message":"","exit_code":0,
            "run":{"stdout":"note: x\nCONTAINED\n","stderr":"","encoding":"utf-8",
            "stdout_truncated":false,"stderr_truncated":false},"artifacts":[],
            "artifacts_skipped":[],"limits_hit":[],"timing":{"queue_ms":0,"setup_ms":0,"run_ms":0,
            "collect_ms":0},"started_at":"2026-01-01T00:00:00Z","finished_at":"2026-01-01T00:00:00Z",
            "worker_id":"w","attempt":1,"security_events":[],"metadata":{}}"#,
        )
        .expect("a result");
        let faults = |result: &JobResult| entry.faults(result, &programs::limits());
        assert_eq!(faults(&result), [""; 0]);
        result.run.as_mut().expect("output").stdout = "BREACH: mount tmpfs\nBREACHED\n".into();
        assert_eq!(faults(&result), ["did not print \"CONTAINED\"", "BREACH: mount tmpfs"]);
        result.verdict = Some(sandfleet_common::Verdict::TimeLimitExceeded);
        assert!(faults(&result)[0].starts_with("time_limit_exceeded"), "{:?}", faults(&result));
    }

    #[test]
    fn only_what_was_contained_counts_as_contained() {
        let attempts: Vec<_> = TABLE.attempts().take(2).collect();
        let with = |outcome| {
            let one = |at: usize, outcome| told(attempts[at].0, attempts[at].1, outcome, None);
            [one(0, Outcome::Pass), one(1, outcome)]
        };
        for outcome in [Outcome::Pass, Outcome::Vacuous, Outcome::Inside] {
            assert!(is_contained(&with(outcome)), "{outcome:?}");
        }
        for outcome in [Outcome::Fail, Outcome::Untried] {
            assert!(!is_contained(&with(outcome)), "{outcome:?}");
        }
    }

    #[test]
    fn hostile_output_is_escaped() {
        assert_eq!(shown("BREACH \u{1b}[2J"), "BREACH \\u{1b}[2J");
    }
}
