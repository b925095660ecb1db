//! From what is known about the tests of a job to their reports and to the job's result.

use std::time::Duration;

use sandfleet_common::{
    JobResult, LimitHit, PrintableText, Status, TestGroupReport, TestReport, Usage, Verdict,
};

use super::{ResultBuilder, classify::classify, run_output, sandbox_report, usage};
use crate::{
    evaluation::{
        Evaluation, FEEDBACK_DIRECTORY, Judge, PlannedTest,
        score::{self, Given, Scored},
    },
    sandbox::{Description, End, Outcome, Plan, RootTree, capture::Captured, policy::Policy},
};

/// How a test ended.
#[derive(Debug)]
pub enum Ended {
    /// The program ran on it.
    Tried(Box<Tried>),
    /// It did not, or it doesn't count, since an earlier one decided. Why.
    Skipped(String),
}

/// A program that ran on a test.
#[derive(Debug)]
pub struct Tried {
    report: TestReport,
    scored: Scored,
    limits_hit: Vec<LimitHit>,
    /// How it ended.
    pub end: End,
    root: RootTree,
    landlock: Option<u32>,
    /// Whether it started from a warm interpreter.
    pub warm: bool,
    /// How long its container took to start it.
    pub setup: Duration,
}

/// How all tests of a job went.
#[derive(Debug)]
pub struct Evaluated {
    /// Each of them.
    pub ended: Vec<Ended>,
    /// What all programs used that ran, output validators too.
    pub used: Usage,
    /// How long all that took.
    pub took: Duration,
}

impl Ended {
    /// Whether the program was accepted.
    pub fn is_accepted(&self) -> bool {
        self.tried().is_some_and(Tried::is_accepted)
    }

    /// How the program fared, if it counts.
    pub fn tried(&self) -> Option<&Tried> {
        match self {
            Ended::Tried(tried) => Some(tried),
            Ended::Skipped(_) => None,
        }
    }
}

impl Tried {
    /// Whether the program was accepted, so far as is known.
    pub fn is_accepted(&self) -> bool {
        self.report.is_accepted()
    }

    /// What the program used.
    pub fn usage(&self) -> Usage {
        self.report.usage.unwrap_or_default()
    }

    /// Its output differs from the answer.
    pub fn differs(&mut self, difference: &str) {
        self.reject(Verdict::WrongAnswer, format!("wrong answer: {difference}"));
        self.report.difference = Some(PrintableText::new(difference));
    }

    fn reject(&mut self, verdict: Verdict, message: String) {
        self.report.verdict = Some(verdict);
        self.report.message = message.into();
        self.scored = match verdict {
            Verdict::JudgeError => Scored::Unknown,
            _ => Scored::Rejected,
        };
    }
}

impl Evaluated {
    /// The first test that is not accepted.
    pub fn decisive(&self) -> Option<&Tried> {
        self.ended.iter().filter_map(Ended::tried).find(|tried| !tried.is_accepted())
    }
}

/// Judges how the program that ran as `plan` ended; gives also its stdout, if that is what decides now.
pub fn judge(
    test: &PlannedTest,
    plan: &Plan,
    outcome: Outcome,
    policy: &Policy,
) -> (Tried, Option<Vec<u8>>) {
    let judgement = classify(&outcome.end, &plan.limits, plan.output_overflow, policy);
    let is_cut = outcome.stdout.is_truncated();
    let run = run_output(head(&outcome.stdout), head(&outcome.stderr));
    let scored = match judgement.verdict {
        Verdict::Accepted => Scored::Accepted(None),
        _ => Scored::Rejected,
    };
    let mut tried = Tried {
        report: TestReport {
            name: test.name.clone(),
            kind: test.kind,
            verdict: Some(judgement.verdict),
            message: judgement.message.into(),
            exit_code: judgement.exit_code,
            signal: judgement.signal,
            usage: Some(usage(&outcome.end)),
            run: Some(run),
            ..TestReport::default()
        },
        scored,
        limits_hit: judgement.limits_hit,
        end: outcome.end,
        root: outcome.root,
        landlock: outcome.landlock,
        warm: outcome.warm,
        setup: outcome.setup,
    };
    if !tried.is_accepted() || test.judge == Judge::ExitCode {
        return (tried, None);
    }
    if is_cut {
        // Whatever was cut off may be what is wrong.
        let message = format!(
            "printed more than output_bytes = {}, and what is cut is not compared; print less or raise output_bytes",
            plan.limits.output_bytes
        );
        tried.reject(Verdict::OutputLimitExceeded, message);
        return (tried, None);
    }
    (tried, Some(outcome.stdout.head))
}

/// The beginning of a stream, as much as a report keeps.
fn head(captured: &Captured) -> Captured {
    let kept = captured.head.len().min(TestReport::HEAD_BYTES);
    Captured { head: captured.head[..kept].to_vec(), tail: Vec::new(), total: captured.total }
}

/// What an output validator says with its exit code.
const ACCEPTED: i32 = 42;
const WRONG_ANSWER: i32 = 43;

/// Whether an output validator that ended so accepts the program.
pub fn says_accepted(end: &End) -> bool {
    matches!(end, End::Seen(report) if report.exit_code == Some(ACCEPTED))
}

/// Judges by how the output validator ended that ran as `plan`. `most` is what the test can score; `is_scored` if scores
/// of tests count in its group.
pub fn judge_by_validator(
    tried: &mut Tried,
    plan: &Plan,
    outcome: Outcome,
    policy: &Policy,
    is_scored: bool,
    most: Option<f64>,
) {
    let judgement = classify(&outcome.end, &plan.limits, plan.output_overflow, policy);
    let feedback = |name: &str| {
        let path = format!("{FEEDBACK_DIRECTORY}{name}");
        outcome.artifacts.iter().find(|(name, _)| *name == path).map(|(_, bytes)| text(bytes))
    };
    let message = |name: &str| {
        let text = feedback(name)?;
        let text = text.trim();
        (!text.is_empty()).then(|| PrintableText::new(text))
    };
    tried.report.judge_message = message("judgemessage.txt");
    tried.report.team_message = message("teammessage.txt");
    let exit_code = match judgement.verdict {
        Verdict::RuntimeError => judgement.exit_code,
        _ => None,
    };
    let judged = match exit_code {
        Some(ACCEPTED) => given(feedback("score.txt"), feedback("score_multiplier.txt")),
        Some(WRONG_ANSWER) => {
            let said = tried.report.judge_message.clone();
            let said = said.map_or_else(String::new, |said| format!(": {said}"));
            return tried.reject(Verdict::WrongAnswer, format!("wrong answer{said}"));
        }
        _ => {
            let said = text(&outcome.stderr.head);
            let said = said.lines().find(|line| !line.trim().is_empty());
            Err(format!(
                "{}, and not with code {ACCEPTED} or {WRONG_ANSWER}{}",
                judgement.message,
                said.map_or_else(String::new, |line| format!(": {line}"))
            ))
        }
    };
    let judged = judged.and_then(|given| match (given, most) {
        (None, None) if is_scored => {
            Err("accepted without a score, and its group has no max_score".into())
        }
        (Some(Given::Multiplier(_)), None) if is_scored => {
            Err("gave a score_multiplier.txt, and its group has no max_score".into())
        }
        (Some(Given::Score(score)), Some(most)) if is_scored && score > most => {
            Err(format!("gave the score {score}, and the most is {most}"))
        }
        (given, _) => Ok(given),
    });
    match judged {
        Ok(given) => tried.scored = Scored::Accepted(given),
        Err(why) => {
            tried.reject(Verdict::JudgeError, format!("the output validator failed: {why}"))
        }
    }
}

/// The score that a validator gave, if it gave one.
fn given(score: Option<String>, multiplier: Option<String>) -> Result<Option<Given>, String> {
    let number = |name: &str, text: &str, is_in_range: fn(f64) -> bool| {
        let number: Option<f64> = text.trim().parse().ok();
        number
            .filter(|number| number.is_finite() && is_in_range(*number))
            .ok_or_else(|| format!("{name} has {:?}, which is no such number", text.trim()))
    };
    match (score, multiplier) {
        (Some(_), Some(_)) => Err("gave both a score.txt and a score_multiplier.txt".into()),
        (Some(score), None) => {
            number("score.txt", &score, |it| it >= 0.0).map(|it| Some(Given::Score(it)))
        }
        (None, Some(share)) => {
            number("score_multiplier.txt", &share, |it| (0.0..=1.0).contains(&it))
                .map(|it| Some(Given::Multiplier(it)))
        }
        (None, None) => Ok(None),
    }
}

/// The beginning of what a validator wrote.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(PrintableText::MAX_BYTES)]).into_owned()
}

/// The result of a job whose tests have ended.
pub fn conclude(
    result_builder: ResultBuilder,
    plan: &Plan,
    evaluation: &Evaluation,
    evaluated: Evaluated,
    description: &Description,
) -> JobResult {
    let count = evaluated.ended.len();
    let decisive = evaluated.ended.iter().find_map(|ended| match ended {
        Ended::Tried(tried) if !tried.is_accepted() => Some(tried),
        _ => None,
    });
    let verdict = match decisive {
        Some(tried) => tried.report.verdict,
        None => Some(Verdict::Accepted),
    };
    let message = match decisive {
        Some(tried) => format!("test {}: {}", tried.report.name, tried.report.message),
        None => format!("{count} of {count} tests accepted"),
    };
    let status = verdict.map_or(Status::Error, Verdict::status);
    let mut result = result_builder.close(status, verdict, message);
    if let Some(tried) = decisive {
        result.exit_code = tried.report.exit_code;
        result.signal = tried.report.signal.clone();
        result.limits_hit = tried.limits_hit.clone();
    }
    let tried = || evaluated.ended.iter().filter_map(Ended::tried);
    let first_setup = tried().next().map_or(Duration::ZERO, |tried| tried.setup);
    result.timing.setup_ms = first_setup.as_millis() as u64;
    result.timing.run_ms = evaluated.took.saturating_sub(first_setup).as_millis() as u64;
    result.usage = Some(evaluated.used);
    let landlock = tried().find_map(|tried| tried.landlock);
    // One that was ended before it ran saw none.
    let root = tried().map(|tried| &tried.root).find(|root| !root.image.is_empty());
    let root = root.cloned().unwrap_or_else(|| description.root_tree());
    let warm = tried().all(|tried| tried.warm) && tried().next().is_some();
    result.sandbox = Some(sandbox_report(description, root, &plan.limits, landlock, warm));

    let scored: Vec<Scored> = evaluated
        .ended
        .iter()
        .map(|ended| ended.tried().map_or(Scored::Rejected, |tried| tried.scored))
        .collect();
    let scores = score::add_up(evaluation, &scored);
    let reports = evaluated.ended.into_iter().zip(&evaluation.tests).zip(&scores.tests);
    result.tests = reports
        .map(|((ended, test), score)| TestReport {
            group: test.group.map(|group| evaluation.groups[group].group.name.clone()),
            score: *score,
            ..report(ended, test)
        })
        .collect();
    let groups = evaluation.groups.iter().zip(&scores.groups).enumerate();
    result.test_groups = groups
        .map(|(place, (planned, score))| TestGroupReport {
            name: planned.group.name.clone(),
            verdict: group_verdict(evaluation, place, &result.tests),
            score: *score,
            max_score: planned.group.max_score,
        })
        .collect();
    result.score = scores.job;
    result
}

fn report(ended: Ended, test: &PlannedTest) -> TestReport {
    match ended {
        Ended::Tried(tried) => tried.report,
        Ended::Skipped(why) => TestReport {
            name: test.name.clone(),
            kind: test.kind,
            skipped: true,
            message: why.into(),
            ..TestReport::default()
        },
    }
}

fn group_verdict(evaluation: &Evaluation, group: usize, tests: &[TestReport]) -> Option<Verdict> {
    let inside = tests.iter().enumerate().filter(|(place, _)| evaluation.is_in(*place, group));
    let mut verdicts = inside.filter_map(|(_, test)| test.verdict);
    let first = verdicts.next()?;
    Some(match first {
        Verdict::Accepted => {
            verdicts.find(|verdict| *verdict != Verdict::Accepted).unwrap_or(Verdict::Accepted)
        }
        verdict => verdict,
    })
}

/// The result of a job whose output validator can't be had.
pub fn not_judged(result_builder: ResultBuilder, why: &str) -> JobResult {
    let message = format!("the output validator failed: {why}");
    result_builder.close(Status::Error, Some(Verdict::JudgeError), message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_is_a_number_in_its_range() {
        let ok = |score: &str| given(Some(score.into()), None);
        assert_eq!(ok("7.5\n"), Ok(Some(Given::Score(7.5))));
        for bad in ["", "-1", "nan", "inf", "7 8", "seven"] {
            assert!(ok(bad).is_err(), "{bad}");
        }
        let share = |share: &str| given(None, Some(share.into()));
        assert_eq!(share("0.5"), Ok(Some(Given::Multiplier(0.5))));
        assert!(share("1.5").is_err() && given(Some("1".into()), Some("1".into())).is_err());
        assert_eq!(given(None, None), Ok(None));
    }
}
