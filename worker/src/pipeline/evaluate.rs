//! Running a program on the tests of its job.
//!
//! A job has one slot for itself. Further tests run beside in slots that are free, which are given back after each:
//! a job that comes meanwhile waits for the end of one test at most, and tests never wait for a second slot.

#[cfg(test)]
mod tests;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{
    StreamExt,
    future::{AbortHandle, abortable},
    stream::FuturesUnordered,
};
use sandfleet_common::{Comparison, OutputOverflow, ScoreAggregation, Usage};
use tokio::task::spawn_blocking;

use super::{interact::Interaction, parts::Pipeline};
use crate::{
    evaluation::{
        ANSWER_FILE, Evaluation, INPUT_FILE, Judge, PlannedTest, compare::difference, score::most,
    },
    outcome::{
        compile,
        evaluation::{Ended, Evaluated, Tried, judge, judge_by_validator, says_accepted},
    },
    sandbox::{End, Outcome, Plan, RootTree, SandboxError, capture::Captured},
};

/// More than this is compared beside the tasks of the runtime: it takes a millisecond.
const COMPARED_AT_ONCE: usize = 256 << 10;

/// Where each test is.
struct Progress<'a> {
    evaluation: &'a Evaluation,
    states: Vec<State>,
    /// All before it have begun.
    next: usize,
    /// The first test that was not accepted, of all and of each group.
    failed: Option<usize>,
    groups: Vec<GroupProgress>,
}

enum State {
    Pending,
    Running(AbortHandle),
    Ended(Ended),
}

#[derive(Clone, Default)]
struct GroupProgress {
    /// Tests that have not ended.
    open: usize,
    /// The first that was not accepted.
    failed: Option<usize>,
}

/// Whether a test may begin.
enum Turn {
    Now,
    /// After others.
    Later,
    /// Never; why.
    Skipped(String),
}

impl Pipeline {
    /// Runs the program of `base` on every test that counts.
    pub(super) async fn evaluate(
        &self,
        base: &Plan,
        evaluation: &Evaluation,
        validator: Option<&Plan>,
    ) -> Result<Evaluated, SandboxError> {
        let begun = Instant::now();
        let mut progress = Progress::of(evaluation);
        let mut used = Usage::default();
        let mut running = FuturesUnordered::new();
        let mut extra_slots = Vec::new();
        loop {
            while running.is_empty()
                || running.len() <= extra_slots.len()
                || self.slots.try_acquire().map(|slot| extra_slots.push(slot)).is_ok()
            {
                let Some(place) = progress.take_next() else { break };
                let (test, abort) = abortable(self.try_test(base, evaluation, validator, place));
                progress.states[place] = State::Running(abort);
                running.push(async move { (place, test.await) });
            }
            let Some((place, tried)) = running.next().await else { break };
            // Others may have it now; it is taken again if it is free.
            extra_slots.pop();
            // One that was ended has its state already.
            let Ok(tried) = tried else { continue };
            let (tried, validator_usage) = tried?;
            add_usage(&mut used, tried.usage());
            add_usage(&mut used, validator_usage);
            progress.end(place, Ended::Tried(Box::new(tried)));
        }
        Ok(Evaluated { ended: progress.into_ended(), used, took: begun.elapsed() })
    }

    /// Runs the program on one test and judges it; gives also what its output validator used.
    async fn try_test(
        &self,
        base: &Plan,
        evaluation: &Evaluation,
        validator: Option<&Plan>,
        place: usize,
    ) -> Result<(Tried, Usage), SandboxError> {
        let test = &evaluation.tests[place];
        let plan = test.plan(base);
        if let (Judge::Validator { answer, command }, Some(validator), Some(planned)) =
            (&test.judge, validator, &evaluation.validator)
            && planned.is_interactive
        {
            let input = plan.stdin.clone().unwrap_or_default();
            let validator = validator_plan(validator, command, input, answer, Vec::new());
            return self.try_interactive(evaluation, place, plan, validator).await;
        }
        let outcome = self.sandbox.run(&plan, &|_, _| ()).await?;
        let (mut tried, stdout) = judge(test, &plan, outcome, &self.policy);
        let Some(stdout) = stdout else { return Ok((tried, Usage::default())) };
        match &test.judge {
            Judge::ExitCode => {}
            Judge::Comparison { answer, comparison } => {
                if let Some(difference) = compared(stdout, answer, *comparison).await {
                    tried.differs(&difference);
                }
            }
            Judge::Validator { answer, command } => {
                let Some(validator) = validator else { return Ok((tried, Usage::default())) };
                let input = plan.stdin.unwrap_or_default();
                let plan = validator_plan(validator, command, input, answer, stdout);
                let outcome = self.sandbox.run(&plan, &|_, _| ()).await?;
                let usage = compile::used(&outcome);
                let is_scored = is_scored(evaluation, test);
                let most = most(evaluation, place);
                judge_by_validator(&mut tried, &plan, outcome, &self.policy, is_scored, most);
                return Ok((tried, usage));
            }
        }
        Ok((tried, Usage::default()))
    }
}

impl Pipeline {
    /// As [`try_test`](Self::try_test), of a program that its output validator talks with.
    async fn try_interactive(
        &self,
        evaluation: &Evaluation,
        place: usize,
        mut plan: Plan,
        mut validator: Plan,
    ) -> Result<(Tried, Usage), SandboxError> {
        let test = &evaluation.tests[place];
        for plan in [&mut plan, &mut validator] {
            (plan.stdin, plan.warm) = (None, None);
            // What one would not be told, the other would wait for.
            plan.output_overflow = OutputOverflow::Kill;
        }
        let Interaction { program, validator: judged, validator_was_first } =
            self.interact(&plan, &validator).await?;
        let usage = compile::used(&judged);
        let has_rejected = validator_was_first && !says_accepted(&judged.end);
        let program = program.unwrap_or_else(|| ended_by_us(judged.end.wall_time()));
        let (mut tried, _) = judge(test, &plan, program, &self.policy);
        // A program that was rejected already may end as it likes; otherwise its own end comes first.
        if has_rejected || tried.is_accepted() {
            let is_scored = is_scored(evaluation, test);
            let most = most(evaluation, place);
            judge_by_validator(&mut tried, &validator, judged, &self.policy, is_scored, most);
        }
        Ok((tried, usage))
    }
}

/// Of a program that was ended since nothing that it does counts any more.
fn ended_by_us(wall_time: Duration) -> Outcome {
    Outcome {
        end: End::Overdue { wall_time },
        stdout: Captured::default(),
        stderr: Captured::default(),
        artifacts: Vec::new(),
        artifacts_skipped: Vec::new(),
        collected: Default::default(),
        root: RootTree::default(),
        landlock: None,
        warm: false,
        setup: Duration::ZERO,
        collect: Duration::ZERO,
    }
}

/// Whether the scores of a test's group are made of those of its tests.
fn is_scored(evaluation: &Evaluation, test: &PlannedTest) -> bool {
    test.group.is_some_and(|group| {
        evaluation.groups[group].group.score_aggregation != ScoreAggregation::PassFail
    })
}

fn validator_plan(
    validator: &Plan,
    command: &[String],
    input: Vec<u8>,
    answer: &[u8],
    output: Vec<u8>,
) -> Plan {
    let mut plan = validator.clone();
    plan.command = command.to_vec();
    plan.files.push((INPUT_FILE.into(), input));
    plan.files.push((ANSWER_FILE.into(), answer.to_vec()));
    plan.stdin = Some(output);
    plan
}

async fn compared(output: Vec<u8>, answer: &Arc<[u8]>, comparison: Comparison) -> Option<String> {
    if output.len() + answer.len() <= COMPARED_AT_ONCE {
        return difference(&output, answer, &comparison);
    }
    let answer = Arc::clone(answer);
    let task = spawn_blocking(move || difference(&output, &answer, &comparison));
    // It neither panics nor is it cancelled; were it, nothing would be accepted.
    task.await.unwrap_or_else(|error| Some(format!("it could not be compared: {error}")))
}

fn add_usage(used: &mut Usage, more: Usage) {
    used.cpu_time_ms += more.cpu_time_ms;
    used.wall_time_ms += more.wall_time_ms;
    used.memory_peak_bytes = used.memory_peak_bytes.max(more.memory_peak_bytes);
}

impl<'a> Progress<'a> {
    fn of(evaluation: &'a Evaluation) -> Self {
        let mut groups = vec![GroupProgress::default(); evaluation.groups.len()];
        for place in 0..evaluation.tests.len() {
            evaluation.groups_of(place).for_each(|group| groups[group].open += 1);
        }
        let states = evaluation.tests.iter().map(|_| State::Pending).collect();
        Self { evaluation, states, next: 0, failed: None, groups }
    }

    /// The first test that may begin; those that never will are skipped.
    fn take_next(&mut self) -> Option<usize> {
        while matches!(self.states.get(self.next), Some(State::Running(_) | State::Ended(_))) {
            self.next += 1;
        }
        for place in self.next..self.states.len() {
            if !matches!(self.states[place], State::Pending) {
                continue;
            }
            match self.turn(place) {
                Turn::Now => return Some(place),
                Turn::Later => {}
                Turn::Skipped(why) => self.end(place, Ended::Skipped(why)),
            }
        }
        None
    }

    fn turn(&self, place: usize) -> Turn {
        if let Some(why) = self.decided_before(place) {
            return Turn::Skipped(why);
        }
        let groups = &self.evaluation.groups;
        let required = self.evaluation.groups_of(place);
        let mut turn = Turn::Now;
        for group in required.flat_map(|group| &groups[group].require_pass) {
            let progress = &self.groups[*group];
            if progress.failed.is_some() {
                let name = &groups[*group].group.name;
                return Turn::Skipped(format!("skipped: group {name} was not accepted"));
            }
            if progress.open > 0 {
                turn = Turn::Later;
            }
        }
        turn
    }

    /// Which earlier test leaves nothing to be said about the one at `place`, if one does.
    fn decided_before(&self, place: usize) -> Option<String> {
        let of_all = self.failed.filter(|_| self.evaluation.stop_at_first_failure);
        let stops = |group: &usize| self.evaluation.groups[*group].group.stop_at_first_failure;
        let groups = self.evaluation.groups_of(place).filter(stops);
        let mut failed = of_all.into_iter().chain(groups.filter_map(|it| self.groups[it].failed));
        let first = failed.find(|failed| *failed < place)?;
        let name = &self.evaluation.tests[first].name;
        Some(format!("skipped: test {name} was not accepted"))
    }

    /// A test has ended; those that it decides are, too.
    fn end(&mut self, place: usize, ended: Ended) {
        let is_accepted = ended.is_accepted();
        let is_first = |failed: Option<usize>| failed.is_none_or(|failed| place < failed);
        if let State::Running(_) | State::Pending = self.states[place] {
            for group in self.evaluation.groups_of(place) {
                self.groups[group].open -= 1;
            }
        }
        if !is_accepted {
            for group in self.evaluation.groups_of(place) {
                let group = &mut self.groups[group];
                group.failed = if is_first(group.failed) { Some(place) } else { group.failed };
            }
        }
        let was_tried = matches!(ended, Ended::Tried(_));
        self.states[place] = State::Ended(ended);
        if is_accepted || !was_tried {
            return;
        }
        self.failed = if is_first(self.failed) { Some(place) } else { self.failed };
        for later in place + 1..self.states.len() {
            let is_begun =
                !matches!(self.states[later], State::Pending | State::Ended(Ended::Skipped(_)));
            if is_begun && let Some(why) = self.decided_before(later) {
                if let State::Running(abort) = &self.states[later] {
                    abort.abort();
                }
                self.end(later, Ended::Skipped(why));
            }
        }
    }

    fn into_ended(self) -> Vec<Ended> {
        let decided: Vec<_> = (0..self.states.len()).map(|it| self.decided_before(it)).collect();
        let ended = |(state, decided): (State, Option<String>)| match state {
            // An earlier one may have decided since.
            State::Ended(Ended::Skipped(why)) => Ended::Skipped(decided.unwrap_or(why)),
            State::Ended(ended) => ended,
            // No test waits for one that comes later, so that none is left.
            State::Pending | State::Running(_) => Ended::Skipped("skipped".into()),
        };
        self.states.into_iter().zip(decided).map(ended).collect()
    }
}
