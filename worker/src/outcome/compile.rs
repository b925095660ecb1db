//! From how a compiler ended to what is said about it, and to the files that it made.

use std::time::Duration;

use sandfleet_common::{CompileReport, JobResult, Limits, RunOutput, Usage, Verdict};

use super::{ResultBuilder, classify::classify, run_output, sandbox_report, usage};
use crate::sandbox::{Description, Outcome, Plan, RootTree, policy::Policy};

/// How a program was compiled.
#[derive(Debug)]
pub struct Compiled {
    /// What the result says of it.
    pub report: CompileReport,
    /// How long that took, with the making of its container.
    pub took: Duration,
}

/// The files that a compiler made, as names and bytes.
pub type Made = Vec<(String, Vec<u8>)>;

/// Why a program isn't run.
#[derive(Debug)]
pub struct Failure {
    verdict: Verdict,
    /// One sentence.
    pub message: String,
    /// What the compiler ran under.
    limits: Limits,
    root: Box<RootTree>,
    landlock: Option<u32>,
}

/// Judges the compiler that ran as `plan`, and gives what it made.
pub fn judge(
    plan: &Plan,
    outcome: Outcome,
    took: Duration,
    policy: &Policy,
) -> (Compiled, Result<Made, Failure>) {
    let judgement = classify(&outcome.end, &plan.limits, plan.output_overflow, policy);
    let report = CompileReport {
        exit_code: judgement.exit_code,
        signal: judgement.signal,
        usage: usage(&outcome.end),
        output: run_output(outcome.stdout, outcome.stderr),
    };
    let failed = |verdict, message| {
        let limits = plan.limits.clone();
        Err(Failure {
            verdict,
            message,
            limits,
            root: Box::new(outcome.root.clone()),
            landlock: outcome.landlock,
        })
    };
    let made = match judgement.verdict {
        Verdict::Accepted => match outcome.artifacts_skipped.first() {
            Some(skipped) => failed(
                Verdict::CompilationError,
                format!("what the compiler made was not taken: {skipped}"),
            ),
            None if outcome.artifacts.is_empty() => failed(
                Verdict::CompilationError,
                format!("the compiler made nothing that is called {}", plan.artifacts.join(", ")),
            ),
            None => Ok(outcome.artifacts),
        },
        Verdict::RuntimeError => {
            let said = first_error(&report.output).map_or(judgement.message, str::to_owned);
            failed(Verdict::CompilationError, format!("did not compile: {said}"))
        }
        // That is no mistake in the program's text.
        verdict @ (Verdict::SecurityViolation | Verdict::InternalError) => {
            failed(verdict, format!("compiling: {}", judgement.message))
        }
        _ => failed(
            Verdict::CompilationError,
            format!("compiling, under the worker's limits.compile: {}", judgement.message),
        ),
    };
    (Compiled { report, took }, made)
}

/// What a program used that is not the job's own.
pub fn used(outcome: &Outcome) -> Usage {
    usage(&outcome.end)
}

/// The first line that says what is wrong, or the first of all.
fn first_error(output: &RunOutput) -> Option<&str> {
    let lines = || output.stderr.lines().chain(output.stdout.lines());
    let is_said = |line: &&str| !line.trim().is_empty();
    lines().find(|line| line.contains("error")).or_else(|| lines().find(is_said))
}

impl ResultBuilder {
    /// How its program was compiled.
    #[must_use]
    pub fn has_compiled(mut self, Compiled { report, took }: Compiled) -> Self {
        self.result.timing.compile_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.result.compile = Some(report);
        self
    }
}

/// The result of a program that isn't run, since compiling it failed.
pub fn not_compiled(
    result_builder: ResultBuilder,
    Failure { verdict, message, limits, root, landlock }: Failure,
    description: &Description,
) -> JobResult {
    let mut result = result_builder.close(verdict.status(), Some(verdict), message);
    result.sandbox = Some(sandbox_report(description, *root, &limits, landlock, false));
    // Who knows nothing of compilers finds here why there is no output.
    result.run = result.compile.as_ref().map(|compile| RunOutput {
        stdout: String::new(),
        stdout_truncated: false,
        ..compile.output.clone()
    });
    result
}

#[cfg(test)]
mod tests {
    use sandfleet_agent::protocol::message::{Cause, ExitReport};

    use super::*;
    use crate::sandbox::{End, capture::Captured, ended_in_order, smallest_plan};

    fn judged(
        change: impl FnOnce(&mut ExitReport),
        stderr: &str,
        made: &[&str],
    ) -> (Compiled, Result<Made, Failure>) {
        let mut ended = ended_in_order();
        change(&mut ended);
        let text = |text: &str| Captured {
            head: text.as_bytes().to_vec(),
            tail: Vec::new(),
            total: text.len() as u64,
        };
        let outcome = Outcome {
            root: Default::default(),
            end: End::Seen(ended),
            stdout: text(""),
            stderr: text(stderr),
            artifacts: made.iter().map(|name| ((*name).to_owned(), vec![1])).collect(),
            artifacts_skipped: Vec::new(),
            collected: Default::default(),
            landlock: None,
            warm: false,
            setup: Duration::ZERO,
            collect: Duration::ZERO,
        };
        judge(&smallest_plan(), outcome, Duration::from_millis(7), &Policy::strict())
    }

    #[test]
    fn a_compilers_end_is_no_verdict_on_the_programs_run() {
        let failed = |ended: ExitReport| move |it: &mut ExitReport| *it = ended;
        let exit = |code| ExitReport { exit_code: Some(code), ..ended_in_order() };
        let cause = |cause| ExitReport { cause, exit_code: None, ..ended_in_order() };
        for (end, stderr, verdict, said) in [
            (exit(1), "In file\nmain.c:1:1: error: no\n", Verdict::CompilationError, "1:1: error"),
            (exit(2), "", Verdict::CompilationError, "exit code 2"),
            (exit(0), "", Verdict::CompilationError, "made nothing"),
            (cause(Cause::CpuTime), "", Verdict::CompilationError, "limits.compile"),
            (cause(Cause::Memory), "", Verdict::CompilationError, "limits.compile"),
            (cause(Cause::Tampering), "", Verdict::SecurityViolation, "compiling"),
        ] {
            let (_, made) = judged(failed(end), stderr, &[]);
            let failure = made.expect_err("nothing to run");
            assert_eq!(failure.verdict, verdict, "{failure:?}");
            assert!(failure.message.contains(said), "{failure:?}");
        }
        let (compiled, made) = judged(|_| (), "main.c:1:1: warning: hm\n", &["a.out"]);
        assert_eq!(made.expect("compiled"), [("a.out".to_owned(), vec![1])]);
        assert_eq!(compiled.report.output.stderr, "main.c:1:1: warning: hm\n");
    }
}
