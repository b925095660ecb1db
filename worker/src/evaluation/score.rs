//! Scores of tests, of groups and of a job, as in version 2025-09 of the Kattis problem package format.

use sandfleet_common::ScoreAggregation;

use super::Evaluation;

/// What is known of a test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scored {
    /// It was accepted; by an output validator that may have scored it.
    Accepted(Option<Given>),
    /// It was not, or was skipped.
    Rejected,
    /// Its output validator failed.
    Unknown,
}

/// What an output validator gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Given {
    /// `score.txt`.
    Score(f64),
    /// `score_multiplier.txt`: what of the most.
    Multiplier(f64),
}

/// The scores of a job's tests and groups, in their orders, and its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Scores {
    /// Of the tests; nothing for those in no group that adds scores up.
    pub tests: Vec<Option<f64>>,
    /// Of the groups; nothing for those in which an output validator failed.
    pub groups: Vec<Option<f64>>,
    /// Of the job; nothing without groups.
    pub job: Option<f64>,
}

/// Adds up what is known of the tests of `evaluation`.
pub fn add_up(evaluation: &Evaluation, scored: &[Scored]) -> Scores {
    let tests: Vec<Option<f64>> =
        scored.iter().enumerate().map(|(place, it)| test_score(evaluation, place, *it)).collect();
    let mut groups = vec![None; evaluation.groups.len()];
    // A group is in one whose name begins its own, so it may be listed before it: those that are deepest first.
    let depth = |group: usize| {
        std::iter::successors(Some(group), |it| evaluation.groups[*it].parent).count()
    };
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by_key(|group| std::cmp::Reverse(depth(*group)));
    for group in order {
        groups[group] = group_score(evaluation, group, scored, &tests, &groups);
    }
    let outermost = || (0..groups.len()).filter(|it| evaluation.groups[*it].parent.is_none());
    let job = match groups.is_empty() {
        true => None,
        false => outermost().map(|group| groups[group]).sum(),
    };
    Scores { tests, groups, job }
}

fn test_score(evaluation: &Evaluation, place: usize, scored: Scored) -> Option<f64> {
    let group = evaluation.tests[place].group?;
    if evaluation.groups[group].group.score_aggregation == ScoreAggregation::PassFail {
        return None;
    }
    match scored {
        Scored::Rejected => Some(0.0),
        Scored::Unknown => None,
        Scored::Accepted(Some(Given::Score(score))) => Some(score),
        Scored::Accepted(given) => {
            let most = most(evaluation, place)?;
            let share = match given {
                Some(Given::Multiplier(share)) => share,
                _ => 1.0,
            };
            Some(most * share)
        }
    }
}

/// The most that a test in a group can score, if that is bounded.
pub fn most(evaluation: &Evaluation, place: usize) -> Option<f64> {
    let test = &evaluation.tests[place];
    let group = test.group?;
    let planned = &evaluation.groups[group].group;
    test.max_score.or_else(|| match planned.score_aggregation {
        ScoreAggregation::PassFail => None,
        ScoreAggregation::Min => planned.max_score,
        ScoreAggregation::Sum => {
            let tests = evaluation.tests.iter().filter(|test| test.group == Some(group)).count();
            planned.max_score.map(|most| most / tests as f64)
        }
    })
}

fn group_score(
    evaluation: &Evaluation,
    group: usize,
    scored: &[Scored],
    tests: &[Option<f64>],
    groups: &[Option<f64>],
) -> Option<f64> {
    let inside: Vec<usize> =
        (0..scored.len()).filter(|place| evaluation.is_in(*place, group)).collect();
    if inside.iter().any(|place| scored[*place] == Scored::Unknown) {
        return None;
    }
    let planned = &evaluation.groups[group].group;
    let children = || (0..groups.len()).filter(|it| evaluation.groups[*it].parent == Some(group));
    let own = inside.iter().filter(|place| evaluation.tests[**place].group == Some(group));
    let mut parts = own.map(|place| tests[*place]).chain(children().map(|child| groups[child]));
    let score = match planned.score_aggregation {
        ScoreAggregation::PassFail => {
            let is_accepted = |place: &usize| matches!(scored[*place], Scored::Accepted(_));
            match inside.iter().all(is_accepted) {
                true => planned.max_score?,
                false => 0.0,
            }
        }
        ScoreAggregation::Sum => parts.sum::<Option<f64>>()?,
        ScoreAggregation::Min => {
            parts.try_fold(f64::INFINITY, |least, part| part.map(|part| least.min(part)))?
        }
    };
    // Of no tests at all.
    Some(if score.is_finite() { score } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use sandfleet_common::{Limits, TestGroup, TestKind};

    use super::*;
    use crate::evaluation::{Judge, PlannedGroup, PlannedTest};

    fn test(group: Option<usize>) -> PlannedTest {
        PlannedTest {
            name: String::new(),
            kind: TestKind::Secret,
            group,
            command: Vec::new(),
            environment: Vec::new(),
            files: Vec::new(),
            stdin: None,
            warm: None,
            limits: Limits::default(),
            judge: Judge::ExitCode,
            max_score: None,
        }
    }

    fn group(
        parent: Option<usize>,
        score_aggregation: ScoreAggregation,
        max_score: f64,
    ) -> PlannedGroup {
        let group =
            TestGroup { score_aggregation, max_score: Some(max_score), ..Default::default() };
        PlannedGroup { group, parent, require_pass: Vec::new() }
    }

    #[test]
    fn scores_add_up_from_tests_to_groups_to_the_job() {
        use ScoreAggregation::{Min, PassFail, Sum};
        let evaluation = Evaluation {
            // One of each kind, in one that adds them up.
            groups: vec![
                group(None, Sum, 100.0),
                group(Some(0), PassFail, 20.0),
                group(Some(0), Sum, 30.0),
                group(Some(0), Min, 50.0),
            ],
            tests: [1, 1, 2, 2, 2, 3, 3].map(|group| test(Some(group))).into(),
            stop_at_first_failure: false,
            validator: None,
        };
        let ok = Scored::Accepted(None);
        let all = add_up(&evaluation, &[ok; 7]);
        assert_eq!(all.groups, [100.0, 20.0, 30.0, 50.0].map(Some));
        assert_eq!(
            all.tests,
            [None, None, Some(10.0), Some(10.0), Some(10.0), Some(50.0), Some(50.0)]
        );
        assert_eq!(all.job, Some(100.0));
        let half = Scored::Accepted(Some(Given::Multiplier(0.5)));
        let seven = Scored::Accepted(Some(Given::Score(7.0)));
        let no = Scored::Rejected;
        let some = add_up(&evaluation, &[ok, no, half, seven, no, half, ok]);
        assert_eq!(some.groups, [37.0, 0.0, 12.0, 25.0].map(Some));
        let unknown = add_up(&evaluation, &[ok, ok, Scored::Unknown, ok, ok, ok, ok]);
        assert_eq!(unknown.groups, [None, Some(20.0), None, Some(50.0)]);
        assert_eq!(unknown.job, None, "a validator's failure is no score");
    }
}
