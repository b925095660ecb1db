//! Tests of a job on a sandbox whose programs do what their stdin says.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use sandfleet_common::{
    Comparison, ComparisonKind, Isolation, Job, JobResult, OutputValidator, ScoreAggregation, Test,
    TestGroup, Verdict, encode,
};
use sandfleet_transport::records::MemoryStore;
use tokio::{sync::Semaphore, time::sleep};

use super::*;
use crate::{
    app,
    config::Settings,
    hooks::NoHooks,
    outcome::{ResultBuilder, evaluation::conclude},
    pipeline::{PipelineConfig, compile_cache::CompileCache, exclusive_gate::ExclusiveGate},
    queue::MemoryQueue,
    sandbox::{
        Description, End, LiveInput, Outcome, RootTree, Sandbox, Watcher, capture::Captured,
        ended_in_order, policy::Policy, sent_to_agent,
    },
    shutdown::Shutdown,
    traces::Tracer,
};

/// What must never get into a sandbox with the program that is judged.
const CANARY: &str = "canary-c0ffee";

/// Runs nothing: stdin says what a program does, `print WORD`, `exit CODE`, `sleep MS`, `cut`, `break` or `hang`. An
/// output validator exits with the number that is its answer file, and prints its stdin as judgemessage.txt.
struct Scripted {
    description: Description,
    running: AtomicUsize,
    most: AtomicUsize,
    ran: Mutex<Vec<String>>,
}

impl Scripted {
    fn new() -> Self {
        Self {
            description: Description {
                backend: "scripted",
                runtime: String::new(),
                isolation: Isolation::Container,
                image: String::new(),
                image_digest: None,
                policy_hash: String::new(),
            },
            running: AtomicUsize::new(0),
            most: AtomicUsize::new(0),
            ran: Mutex::default(),
        }
    }
}

struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Sandbox for Scripted {
    async fn run(&self, plan: &Plan, _: &Watcher<'_>) -> Result<Outcome, SandboxError> {
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(&self.running);
        self.most.fetch_max(running, Ordering::SeqCst);
        let stdin = plan.stdin.clone().unwrap_or_default();
        let said = String::from_utf8_lossy(&stdin).into_owned();
        let mut ended = ended_in_order();
        let mut outcome = Outcome {
            warm: false,
            end: End::Seen(ended.clone()),
            stdout: Captured::default(),
            stderr: Captured::default(),
            artifacts: Vec::new(),
            artifacts_skipped: Vec::new(),
            collected: Default::default(),
            root: RootTree::default(),
            landlock: None,
            setup: Duration::ZERO,
            collect: Duration::ZERO,
        };
        if let Some((_, answer)) = plan.files.iter().find(|(name, _)| name == ANSWER_FILE) {
            ended.exit_code = String::from_utf8_lossy(answer).trim().parse().ok();
            outcome.artifacts.push(("feedback/judgemessage.txt".into(), stdin));
            outcome.end = End::Seen(ended);
            return Ok(outcome);
        }
        let frames = sent_to_agent(plan);
        let is_in = |text: &[u8]| text.windows(CANARY.len()).any(|it| it == CANARY.as_bytes());
        assert!(frames.len() > 100 && !is_in(&frames), "an answer goes to a program's sandbox");
        self.ran.lock().expect("whole").push(said.clone());
        for step in said.split(';') {
            match step.trim().split_once(' ').unwrap_or((step.trim(), "")) {
                ("print", word) => outcome.stdout.head.extend_from_slice(word.as_bytes()),
                ("exit", code) => ended.exit_code = code.parse().ok(),
                ("sleep", ms) => sleep(Duration::from_millis(ms.parse().expect("a time"))).await,
                ("cut", _) => outcome.stdout.total = 1 << 40,
                ("break", _) => return Err(SandboxError::failed("running", "broken")),
                ("hang", _) => std::future::pending().await,
                _ => {}
            }
        }
        outcome.stdout.total = outcome.stdout.total.max(outcome.stdout.head.len() as u64);
        outcome.end = End::Seen(ended);
        Ok(outcome)
    }

    async fn run_live(
        &self,
        plan: &Plan,
        watcher: &Watcher<'_>,
        _: &LiveInput,
    ) -> Result<Outcome, SandboxError> {
        self.run(plan, watcher).await
    }

    async fn check(&self) -> Result<(), SandboxError> {
        Ok(())
    }

    fn description(&self) -> &Description {
        &self.description
    }

    async fn reap(&self) -> Result<usize, SandboxError> {
        Ok(0)
    }

    async fn close(&self) {}
}

struct Trial {
    pipeline: Pipeline,
    sandbox: Arc<Scripted>,
    job: Job,
}

impl Trial {
    /// A job with these tests: name, what the program does, the answer.
    fn of(slots: usize, tests: &[(&str, &str, &str)]) -> Self {
        let settings = Settings::load(None, Vec::new()).expect("the defaults");
        let sandbox = Arc::new(Scripted::new());
        let pipeline = Pipeline {
            queue: Arc::new(MemoryQueue::new()),
            store: Arc::new(MemoryStore::new()),
            admission: app::admission(&settings, Isolation::Container),
            sandbox: sandbox.clone(),
            hooks: Arc::new(NoHooks),
            tracer: Tracer::default(),
            tenant_limiter: None,
            peers: None,
            policy: Policy::strict(),
            config: PipelineConfig { max_attempts: 1, ..app::pipeline_config(&settings) },
            compile_cache: CompileCache::new(0),
            slots: Semaphore::new(slots),
            exclusive_gate: ExclusiveGate::default(),
            shutdown: Shutdown::default(),
        };
        let mut job = Job::new("bash", "true");
        job.tests =
            tests.iter().map(|(name, does, answer)| Test::new(*name, *does, *answer)).collect();
        Self { pipeline, sandbox, job }
    }

    async fn run(&self) -> Result<JobResult, SandboxError> {
        let admitted = self.pipeline.admission.admit(&encode(&self.job)).expect("a valid job");
        let evaluation = admitted.evaluation.expect("it has tests");
        let _slot = self.pipeline.slots.acquire().await;
        let validator = evaluation.validator.as_ref().map(|it| &it.plan);
        let evaluated = self.pipeline.evaluate(&admitted.plan, &evaluation, validator).await?;
        let builder = ResultBuilder::of("w", &self.job, jiff::Timestamp::UNIX_EPOCH);
        let description = self.sandbox.description();
        Ok(conclude(builder, &admitted.plan, &evaluation, evaluated, description))
    }
}

fn verdicts(result: &JobResult) -> Vec<&'static str> {
    let verdict = |test: &sandfleet_common::TestReport| {
        assert_eq!(test.verdict.is_none(), test.skipped, "{test:?}");
        test.verdict.map_or("skipped", Verdict::as_str)
    };
    result.tests.iter().map(verdict).collect()
}

#[tokio::test]
async fn each_test_has_its_verdict_and_the_first_that_is_not_accepted_is_the_jobs() {
    let trial = Trial::of(
        2,
        &[
            ("right", "print 7", "7"),
            ("wrong", "print 8", "7"),
            ("crash", "print 7;exit 3", "7"),
            ("cut", "print 7;cut", "7"),
        ],
    );
    let result = trial.run().await.expect("the sandbox works");
    let expected = ["accepted", "wrong_answer", "runtime_error", "output_limit_exceeded"];
    assert_eq!(verdicts(&result), expected);
    assert_eq!(result.verdict, Some(Verdict::WrongAnswer));
    assert!(result.message.starts_with("test wrong: wrong answer: line 1"), "{}", result.message);
    assert!(result.tests[1].difference.as_ref().is_some_and(|it| it.contains("\"8\"")));
    assert_eq!(result.tests[2].exit_code, Some(3));
    assert_eq!(result.usage.map(|usage| usage.cpu_time_ms), Some(4), "of all four");
}

#[tokio::test]
async fn what_ended_first_does_not_decide() {
    let mut trial = Trial::of(
        3,
        &[("first", "sleep 50;exit 1", ""), ("second", "exit 2", ""), ("third", "hang", "")],
    );
    trial.job.stop_at_first_failure = true;
    let result = trial.run().await.expect("the sandbox works");
    assert_eq!(verdicts(&result), ["runtime_error", "skipped", "skipped"]);
    assert_eq!(result.exit_code, Some(1));
    assert_eq!(trial.sandbox.running.load(Ordering::SeqCst), 0, "what is decided is ended");
    assert!(result.tests[2].message.contains("test first was not accepted"));
}

#[tokio::test]
async fn slots_that_are_free_are_taken_and_never_waited_for() {
    let tests: Vec<_> = (0..12).map(|test| (test.to_string(), "sleep 10;print 1")).collect();
    let tests: Vec<_> = tests.iter().map(|(name, does)| (name.as_str(), *does, "1")).collect();
    let trial = Trial::of(3, &tests);
    let taken = trial.pipeline.slots.try_acquire_many(2).expect("free");
    let result = trial.run().await.expect("the sandbox works");
    assert!(result.verdict == Some(Verdict::Accepted));
    assert_eq!(trial.sandbox.most.swap(0, Ordering::SeqCst), 1, "others have the slots");
    drop(taken);
    trial.run().await.expect("the sandbox works");
    assert_eq!(trial.sandbox.most.swap(0, Ordering::SeqCst), 3);
    // A job that comes while tests run has its slot after one of them.
    trial.sandbox.ran.lock().expect("whole").clear();
    let other = async {
        sleep(Duration::from_millis(5)).await;
        let slots = trial.pipeline.slots.acquire_many(2).await;
        let begun = trial.sandbox.ran.lock().expect("whole").len();
        drop(slots);
        begun
    };
    let (result, begun) = tokio::join!(trial.run(), other);
    assert!(result.is_ok() && begun < 8, "it waited for {begun} tests");
    assert_eq!(trial.pipeline.slots.available_permits(), 3, "all are given back");
}

#[tokio::test]
async fn a_failure_of_the_sandbox_is_no_verdict() {
    let trial = Trial::of(1, &[("a", "print 1", "1"), ("b", "break", "1"), ("c", "print 1", "1")]);
    assert!(trial.run().await.is_err(), "the job is tried again");
    assert_eq!(trial.sandbox.ran.lock().expect("whole").len(), 2);
}

#[tokio::test]
async fn a_job_that_is_dropped_leaves_no_test_running() {
    let trial = Trial::of(4, &[("a", "hang", ""), ("b", "hang", ""), ("c", "hang", "")]);
    let run = tokio::time::timeout(Duration::from_millis(100), trial.run()).await;
    assert!(run.is_err());
    assert_eq!(trial.sandbox.most.load(Ordering::SeqCst), 3);
    assert_eq!(trial.sandbox.running.load(Ordering::SeqCst), 0);
    assert_eq!(trial.pipeline.slots.available_permits(), 4);
}

fn group(name: &str, change: impl FnOnce(&mut TestGroup)) -> TestGroup {
    let mut group = TestGroup { name: name.into(), max_score: Some(10.0), ..TestGroup::default() };
    change(&mut group);
    group
}

#[tokio::test]
async fn groups_wait_for_those_that_they_require_and_add_up() {
    let mut trial = Trial::of(
        2,
        &[
            ("a1", "sleep 30;print 1", "1"),
            ("b1", "print 1", "1"),
            ("b2", "print 2", "1"),
            ("b3", "print 1", "1"),
            ("c1", "print 1", "1"),
        ],
    );
    trial.job.test_groups = vec![
        group("a", |_| ()),
        group("b", |group| {
            group.require_pass = vec!["a".into()];
            group.stop_at_first_failure = true;
        }),
        group("c", |group| group.require_pass = vec!["b".into()]),
        group("d", |group| group.score_aggregation = ScoreAggregation::Sum),
    ];
    for test in &mut trial.job.tests {
        test.group = Some(test.name[..1].to_owned());
    }
    let result = trial.run().await.expect("the sandbox works");
    assert_eq!(verdicts(&result), ["accepted", "accepted", "wrong_answer", "skipped", "skipped"]);
    assert!(trial.sandbox.ran.lock().expect("whole")[0].starts_with("sleep"), "b waits for a");
    assert!(result.tests[4].message.contains("group b was not accepted"));
    let scores: Vec<_> = result.test_groups.iter().map(|group| group.score).collect();
    assert_eq!(scores, [10.0, 0.0, 0.0, 0.0].map(Some));
    assert_eq!(result.score, Some(10.0));
}

#[tokio::test]
async fn an_output_validator_judges_and_its_failure_is_no_verdict_on_the_program() {
    let mut trial =
        Trial::of(1, &[("yes", "print a", "42"), ("no", "print b", "43"), ("bad", "print c", "0")]);
    for test in &mut trial.job.tests {
        let kind = ComparisonKind::Validator;
        test.comparison = Some(Comparison { kind, ..Comparison::default() });
    }
    trial.job.output_validator = Some(OutputValidator {
        language: "python".into(),
        code: Some(String::new()),
        files: Vec::new(),
        entrypoint: None,
        interactive: false,
        limits: Default::default(),
    });
    let result = trial.run().await.expect("the sandbox works");
    assert_eq!(verdicts(&result), ["accepted", "wrong_answer", "judge_error"]);
    assert_eq!(result.tests[1].judge_message.as_deref(), Some("b"));
    assert_eq!(result.verdict, Some(Verdict::WrongAnswer), "the first in order");
    trial.job.tests.remove(1);
    let result = trial.run().await.expect("the sandbox works");
    assert_eq!(result.verdict, Some(Verdict::JudgeError));
    assert_eq!(result.status, sandfleet_common::Status::Error);
    assert!(
        result.message.contains("exit code 0, and not with code 42 or 43"),
        "{}",
        result.message
    );
}

#[tokio::test]
async fn no_answer_goes_to_the_sandbox_of_a_program() {
    let mut trial = Trial::of(1, &[("a", "print 1", CANARY), ("b", "print 1", CANARY)]);
    trial.job.tests[1].comparison =
        Some(Comparison { kind: ComparisonKind::Tokens, ..Comparison::default() });
    let result = trial.run().await.expect("the sandbox looks at what it is given");
    assert_eq!(verdicts(&result), ["wrong_answer", "wrong_answer"]);
    assert_eq!(trial.sandbox.ran.lock().expect("whole").len(), 2);
}
