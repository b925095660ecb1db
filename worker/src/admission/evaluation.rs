//! From the tests of a job to what is run for each.

use std::sync::Arc;

use sandfleet_common::{ComparisonKind, Job, LimitName, LimitsRequest, OutputValidator, Test};

use super::{
    Admission, Refused,
    catalogue::{Bounds, Language},
    changed, check_room, clamp, total,
};
use crate::{
    evaluation::{
        ANSWER_FILE, Evaluation, FEEDBACK_DIRECTORY, INPUT_FILE, Judge, PlannedGroup, PlannedTest,
        PlannedValidator,
    },
    sandbox::Plan,
};

impl Admission {
    /// The tests of `job`, whose program is `file` in `language`, is compiled by `compile` and runs as `base`.
    pub(super) fn evaluation(
        &self,
        job: &Job,
        language: &Language,
        file: &str,
        compile: Option<&Plan>,
        base: &Plan,
    ) -> Result<Option<Evaluation>, Refused> {
        if job.tests.is_empty() {
            return Ok(None);
        }
        if job.tests.len() > self.max_tests {
            return Err(format!(
                "tests: {} entries; the limit is {} (jobs.max_tests); split them into several jobs, or raise it",
                job.tests.len(),
                self.max_tests
            )
            .into());
        }
        let validator = match &job.output_validator {
            Some(validator) => Some(self.validator(job, validator)?),
            None => None,
        };
        let tests = job.tests.iter().enumerate().map(|(index, test)| {
            let planned = self.test(job, test, language, file, base);
            let refuse = |why| Refused::from(format!("tests[{index}].{why}"));
            planned.map_err(refuse).and_then(|mut planned| {
                planned.judge = self.judge(job, test, validator.as_ref()).map_err(refuse)?;
                Ok(planned)
            })
        });
        let evaluation = Evaluation {
            tests: tests.collect::<Result<_, _>>()?,
            groups: groups(job),
            stop_at_first_failure: job.stop_at_first_failure,
            validator,
        };
        self.check_wall_time(compile, &evaluation)?;
        Ok(Some(evaluation))
    }

    fn test(
        &self,
        job: &Job,
        test: &Test,
        language: &Language,
        file: &str,
        base: &Plan,
    ) -> Result<PlannedTest, String> {
        if !test.args.is_empty() && !language.takes_arguments() {
            return Err(format!("args: programs in {} take none", job.language));
        }
        let mut files = Vec::with_capacity(test.files.len());
        for (index, input) in test.files.iter().enumerate() {
            if job.code.is_some() && input.name == file {
                return Err(format!(
                    "files[{index}].name: {file:?} is where the code goes; rename it"
                ));
            }
            let content = input.encoding.decode(&input.content);
            let content = content.map_err(|why| format!("files[{index}].content: {why}"))?;
            files.push((input.name.clone(), content));
        }
        let stdin = test.stdin_bytes().map_err(|why| format!("stdin: {why}"))?;
        let default_limits = changed(&self.default_limits, &language.limits);
        let limits = clamp(&merged(&job.limits, &test.limits), &default_limits, &self.max_limits);
        let read = stdin.as_ref().or(base.stdin.as_ref()).map_or(0, Vec::len) as u64;
        check_room(total(&base.files) + total(&files), read, &limits, "limits")?;
        let bounds = Bounds::of(&limits, self.cpus);
        let args = [job.args.as_slice(), &test.args].concat();
        Ok(PlannedTest {
            name: test.name.clone(),
            kind: test.kind,
            group: test
                .group
                .as_ref()
                .and_then(|name| job.test_groups.iter().position(|group| group.name == *name)),
            command: language.command(file, &args, bounds),
            environment: match job.line_buffered {
                true => language.line_buffered_environment(&job.env, bounds),
                false => language.environment(&job.env, bounds),
            },
            warm: base.warm.clone().filter(|_| language.starts_warm_beside(file, &files)),
            files,
            stdin,
            limits,
            judge: Judge::ExitCode,
            max_score: test.max_score,
        })
    }

    fn judge(
        &self,
        job: &Job,
        test: &Test,
        validator: Option<&PlannedValidator>,
    ) -> Result<Judge, String> {
        let answer = test.answer_bytes().map_err(|why| format!("answer: {why}"))?;
        let comparison = test.comparison.unwrap_or_default();
        match (answer, comparison.kind) {
            (answer, ComparisonKind::Validator) => {
                let (Some(program), Some(planned)) = (&job.output_validator, validator) else {
                    return Err("comparison: the job has no output_validator".into());
                };
                let answer = answer.unwrap_or_default();
                let limits = &planned.plan.limits;
                let input = test.stdin_bytes().map_err(|why| format!("stdin: {why}"))?;
                let own = input.map_or(0, |input| input.len()) as u64 + answer.len() as u64;
                let area = "output_validator.limits";
                check_room(total(&planned.plan.files) + own, 0, limits, area)?;
                let command = self.validator_command(program, planned, &test.validator_args)?;
                Ok(Judge::Validator { answer, command })
            }
            (None, _) => Ok(Judge::ExitCode),
            (Some(answer), _) => {
                Ok(Judge::Comparison { answer: Arc::from(answer.into_boxed_slice()), comparison })
            }
        }
    }

    /// An output validator is a program like a job's.
    fn validator(&self, job: &Job, program: &OutputValidator) -> Result<PlannedValidator, Refused> {
        let of_validator = |why: String| Refused::from(format!("output_validator.{why}"));
        let OutputValidator { language, code, files, entrypoint, interactive, limits } = program;
        let is_interactive = *interactive;
        let reserved = |name: &str| {
            [INPUT_FILE, ANSWER_FILE].contains(&name) || name.starts_with(FEEDBACK_DIRECTORY)
        };
        if let Some(index) = files.iter().position(|file| reserved(&file.name)) {
            let name = &files[index].name;
            return Err(of_validator(format!(
                "files[{index}].name: {name:?} is where what it judges goes; rename it"
            )));
        }
        let program = Job {
            job_id: job.job_id.clone(),
            code: code.clone(),
            files: files.clone(),
            entrypoint: entrypoint.clone(),
            limits: limits.clone(),
            ..Job::new(language.as_str(), "")
        };
        // A worker that takes the job has to have both languages: that is not announced.
        let planned = self.plan(&program).map_err(|refused| of_validator(refused.message))?;
        let mut plan = planned.plan;
        plan.artifacts = vec![format!("{FEEDBACK_DIRECTORY}*")];
        // So that the directory is there.
        plan.files.push((format!("{FEEDBACK_DIRECTORY}.keep"), Vec::new()));
        Ok(PlannedValidator { compile: planned.compile, plan, is_interactive })
    }

    fn validator_command(
        &self,
        program: &OutputValidator,
        planned: &PlannedValidator,
        added: &[String],
    ) -> Result<Vec<String>, String> {
        let (_, language) = self.catalogue.find(&program.language)?;
        let file = program.entrypoint.as_deref().unwrap_or(&language.file);
        let mut args = [INPUT_FILE, ANSWER_FILE, FEEDBACK_DIRECTORY].map(str::to_owned).to_vec();
        args.extend_from_slice(added);
        Ok(language.command(file, &args, Bounds::of(&planned.plan.limits, self.cpus)))
    }

    /// All of it happens within one delivery.
    fn check_wall_time(
        &self,
        compile: Option<&Plan>,
        evaluation: &Evaluation,
    ) -> Result<(), Refused> {
        let wall = |plan: &Plan| plan.limits.wall_time_ms;
        let validator = evaluation.validator.as_ref();
        let compilers = compile.map_or(0, wall)
            + validator.and_then(|validator| validator.compile.as_ref()).map_or(0, wall);
        let judging = validator.map_or(0, |validator| wall(&validator.plan));
        let tests = evaluation.tests.iter().map(|test| match test.judge {
            Judge::Validator { .. } => test.limits.wall_time_ms.saturating_add(judging),
            _ => test.limits.wall_time_ms,
        });
        let sum = tests.fold(compilers, u64::saturating_add);
        if sum > self.job_wall_time_ms {
            return Err(format!(
                "tests: compiling and {} tests may take {sum} ms by their wall_time_ms; the limit is {} \
                 (jobs.job_wall_time_ms); lower limits.wall_time_ms, or split them into several jobs",
                evaluation.tests.len(),
                self.job_wall_time_ms
            )
            .into());
        }
        Ok(())
    }
}

fn groups(job: &Job) -> Vec<PlannedGroup> {
    let place = |name: &str| job.test_groups.iter().position(|group| group.name == name);
    let groups = job.test_groups.iter().map(|group| {
        let mut outer = group.name.rmatch_indices('/').map(|(end, _)| &group.name[..end]);
        PlannedGroup {
            parent: outer.find_map(place),
            require_pass: group.require_pass.iter().filter_map(|name| place(name)).collect(),
            group: group.clone(),
        }
    });
    groups.collect()
}

/// What a job asks for, where its test asks for nothing else.
fn merged(job: &LimitsRequest, test: &LimitsRequest) -> LimitsRequest {
    let mut merged = job.clone();
    for name in LimitName::ALL {
        if let Some(value) = test.get(*name) {
            merged.set(*name, value);
        }
    }
    merged
}
