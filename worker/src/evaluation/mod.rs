//! The tests of a job: what runs for each, how its output is judged, how scores add up.
//!
//! Answers are here and in no [`Plan`] of a program that is judged: what goes to a sandbox is made
//! from a plan alone.

pub mod compare;
pub mod score;

use std::sync::Arc;

use sandfleet_common::{Comparison, Limits, TestGroup, TestKind};

use crate::sandbox::Plan;

/// The tests of a job, in listed order, and what belongs to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// The tests.
    pub tests: Vec<PlannedTest>,
    /// Their groups.
    pub groups: Vec<PlannedGroup>,
    /// Whether the first test that is not accepted ends the job.
    pub stop_at_first_failure: bool,
    /// What judges the output of tests that name it.
    pub validator: Option<PlannedValidator>,
}

/// One test: what it changes about the job's plan, and how it is judged.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTest {
    /// What results call it.
    pub name: String,
    /// Who may see it.
    pub kind: TestKind,
    /// The place of its group.
    pub group: Option<usize>,
    /// The command.
    pub command: Vec<String>,
    /// The whole environment.
    pub environment: Vec<(String, String)>,
    /// Files besides the job's.
    pub files: Vec<(String, Vec<u8>)>,
    /// What the program reads on stdin, if that is not the job's.
    pub stdin: Option<Vec<u8>>,
    /// The warm interpreter that it may start from.
    pub warm: Option<String>,
    /// The limits in force.
    pub limits: Limits,
    /// How its output is judged.
    pub judge: Judge,
    /// Its score if it is accepted, where it states one.
    pub max_score: Option<f64>,
}

/// How the output of a program that exited with code 0 is judged.
#[derive(Debug, Clone, PartialEq)]
pub enum Judge {
    /// It isn't looked at.
    ExitCode,
    /// It is compared with the answer.
    Comparison {
        /// The answer.
        answer: Arc<[u8]>,
        /// How.
        comparison: Comparison,
    },
    /// By the job's output validator.
    Validator {
        /// The answer file.
        answer: Vec<u8>,
        /// The validator's command, with its arguments.
        command: Vec<String>,
    },
}

/// A group of tests.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedGroup {
    /// The group.
    pub group: TestGroup,
    /// The place of the group that it is in.
    pub parent: Option<usize>,
    /// The places of the groups that have to be accepted before.
    pub require_pass: Vec<usize>,
}

/// The job's output validator.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedValidator {
    /// How it is compiled, if it is.
    pub compile: Option<Plan>,
    /// How it is run; what belongs to a test is added.
    pub plan: Plan,
    /// Whether it runs together with the program.
    pub is_interactive: bool,
}

/// The names of the files that an output validator gets.
pub const INPUT_FILE: &str = "input";
/// As [`INPUT_FILE`].
pub const ANSWER_FILE: &str = "answer";
/// The directory that it may write feedback to, as the protocol wants it.
pub const FEEDBACK_DIRECTORY: &str = "feedback/";

impl PlannedTest {
    /// How the program of `base`, the job's plan, runs on this test.
    pub fn plan(&self, base: &Plan) -> Plan {
        let mut files = base.files.clone();
        // What was compiled is not replaced.
        let is_new = |(name, _): &&(String, Vec<u8>)| {
            base.compiled.iter().all(|(compiled, _)| compiled != name)
        };
        files.extend(self.files.iter().filter(is_new).cloned());
        Plan {
            job_id: base.job_id.clone(),
            image: base.image.clone(),
            command: self.command.clone(),
            environment: self.environment.clone(),
            files,
            compiled: base.compiled.clone(),
            stdin: self.stdin.clone().or_else(|| base.stdin.clone()),
            warm: self.warm.clone(),
            pending_output: base.pending_output,
            artifacts: Vec::new(),
            limits: self.limits.clone(),
            output_overflow: base.output_overflow,
        }
    }
}

impl Evaluation {
    /// Whether the test at `place` is in the group at `group`, or in one that is in it.
    pub fn is_in(&self, place: usize, group: usize) -> bool {
        let parent = |group: &usize| self.groups[*group].parent;
        std::iter::successors(self.tests[place].group, parent).any(|it| it == group)
    }

    /// The places of the groups that the test at `place` is in, the innermost first.
    pub fn groups_of(&self, place: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(self.tests[place].group, |group| self.groups[*group].parent)
    }
}
