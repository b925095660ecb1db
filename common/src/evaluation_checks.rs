//! What the types of tests can't hold.

use std::collections::BTreeMap;

use crate::{
    Comparison, ComparisonKind, Job, ScoreAggregation, Test, TestGroup,
    checks::{arguments, at_most, language, limits, process_bytes, program_files},
    is_printable,
};

const MAX_NAME_BYTES: usize = 256;
/// Groups are few: each has tests.
const MAX_GROUPS: usize = 1000;

/// Checks the tests of a job and what belongs to them.
pub(crate) fn check(job: &Job) -> Result<(), String> {
    if job.tests.is_empty() {
        let without =
            |field: &str| format!("{field}: the job has no tests; add tests, or leave it out");
        return match job {
            Job { test_groups, .. } if !test_groups.is_empty() => Err(without("test_groups")),
            Job { stop_at_first_failure: true, .. } => Err(without("stop_at_first_failure")),
            Job { output_validator: Some(_), .. } => Err(without("output_validator")),
            _ => Ok(()),
        };
    }
    if !job.artifacts.is_empty() {
        return Err("artifacts: nothing is brought back from tests; leave it out".into());
    }
    let groups = check_groups(&job.test_groups)?;
    check_validator(job)?;
    let mut names = BTreeMap::new();
    for (index, test) in job.tests.iter().enumerate() {
        let of = format!("tests[{index}].");
        check_name(&of, &test.name, "test")?;
        if let Some(other) = names.insert(test.name.as_str(), index) {
            return Err(format!(
                "{of}name: {:?} is the name of tests[{other}], too; rename one of them",
                test.name
            ));
        }
        if let Some(group) = &test.group
            && !groups.contains_key(group.as_str())
        {
            return Err(format!("{of}group: no group is called {group:?}; add it to test_groups"));
        }
        check_test(&of, test, job)?;
    }
    Ok(())
}

fn check_test(of: &str, test: &Test, job: &Job) -> Result<(), String> {
    test.stdin_bytes().map_err(|why| format!("{of}stdin: not base64: {why}"))?;
    test.answer_bytes().map_err(|why| format!("{of}answer: not base64: {why}"))?;
    arguments(&format!("{of}args"), &test.args)?;
    arguments(&format!("{of}validator_args"), &test.validator_args)?;
    if !test.args.is_empty() {
        process_bytes(&format!("args, {of}args, env"), &[&job.args, &test.args], &job.env)?;
    }
    if !test.files.is_empty() {
        let entrypoint = job.entrypoint.as_deref();
        program_files(of, job.code.is_some(), entrypoint, &job.files, &test.files)?;
    }
    limits(of, &test.limits)?;
    score(&format!("{of}max_score"), test.max_score)?;
    let Some(comparison) = &test.comparison else {
        return match test.validator_args.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{of}validator_args: they are for the comparison \"validator\"; set {of}comparison"
            )),
        };
    };
    check_comparison(&format!("{of}comparison"), comparison)?;
    match (comparison.kind, &test.answer) {
        (ComparisonKind::Validator, _) if job.output_validator.is_none() => Err(format!(
            "{of}comparison.type: \"validator\", and the job has no output_validator; add one"
        )),
        (ComparisonKind::Validator, _) => Ok(()),
        (_, None) => Err(format!("{of}answer: missing; there is nothing to compare with")),
        _ if !test.validator_args.is_empty() => Err(format!(
            "{of}validator_args: they are for the comparison \"validator\", and it is {:?}",
            comparison.kind.as_str()
        )),
        _ => Ok(()),
    }
}

fn check_comparison(field: &str, comparison: &Comparison) -> Result<(), String> {
    let Comparison { kind, case_sensitive, space_change_sensitive, absolute, relative } =
        *comparison;
    let is_by_tokens = matches!(kind, ComparisonKind::Tokens | ComparisonKind::Numeric);
    for (flag, is_set) in
        [("case_sensitive", case_sensitive), ("space_change_sensitive", space_change_sensitive)]
    {
        if is_set && !is_by_tokens {
            return Err(format!(
                "{field}.{flag}: only for the types \"tokens\" and \"numeric\"; this one is {:?}",
                kind.as_str()
            ));
        }
    }
    for (tolerance, value) in [("absolute", absolute), ("relative", relative)] {
        let Some(value) = value else { continue };
        if kind != ComparisonKind::Numeric {
            return Err(format!(
                "{field}.{tolerance}: only for the type \"numeric\"; this one is {:?}",
                kind.as_str()
            ));
        }
        if !(value.is_finite() && value >= 0.0) {
            return Err(format!("{field}.{tolerance}: {value} is no tolerance; use 0 or more"));
        }
    }
    if kind == ComparisonKind::Numeric && absolute.is_none() && relative.is_none() {
        return Err(format!("{field}: \"numeric\" needs absolute, relative or both"));
    }
    Ok(())
}

fn check_validator(job: &Job) -> Result<(), String> {
    let Some(validator) = &job.output_validator else { return Ok(()) };
    let of = "output_validator.";
    language(of, &validator.language)?;
    if validator.code.is_none() && validator.entrypoint.is_none() {
        return Err(format!("{of}code: missing; give code, or files and an entrypoint"));
    }
    let entrypoint = validator.entrypoint.as_deref();
    program_files(of, validator.code.is_some(), entrypoint, &[], &validator.files)?;
    limits(of, &validator.limits)?;
    let is_used = |test: &Test| {
        test.comparison.is_some_and(|comparison| comparison.kind == ComparisonKind::Validator)
    };
    match job.tests.iter().any(is_used) {
        true => Ok(()),
        false => Err("output_validator: no test has the comparison \"validator\"; set tests[].comparison.type, or leave \
                      it out"
            .into()),
    }
}

/// Checks the groups; gives the place of each by its name.
fn check_groups(groups: &[TestGroup]) -> Result<BTreeMap<&str, usize>, String> {
    at_most("test_groups", groups.len(), MAX_GROUPS)?;
    let mut names = BTreeMap::new();
    for (index, group) in groups.iter().enumerate() {
        let of = format!("test_groups[{index}].");
        check_name(&of, &group.name, "group")?;
        score(&format!("{of}max_score"), group.max_score)?;
        if group.score_aggregation == ScoreAggregation::PassFail && group.max_score.is_none() {
            return Err(format!(
                "{of}max_score: missing; a group of \"pass-fail\" scores all of it or nothing"
            ));
        }
        for required in &group.require_pass {
            // Those before it, so that no group waits for itself.
            if !names.contains_key(required.as_str()) {
                return Err(format!("{of}require_pass: no earlier group is called {required:?}"));
            }
        }
        if let Some(other) = names.insert(group.name.as_str(), index) {
            return Err(format!(
                "{of}name: {:?} is the name of test_groups[{other}], too; rename one of them",
                group.name
            ));
        }
    }
    Ok(names)
}

fn check_name(of: &str, name: &str, what: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err(format!("{of}name: is empty; every {what} has a name"));
    }
    if name.len() > MAX_NAME_BYTES || !name.chars().all(is_printable) {
        return Err(format!("{of}name: use 1 to {MAX_NAME_BYTES} bytes of printable text"));
    }
    Ok(())
}

fn score(field: &str, score: Option<f64>) -> Result<(), String> {
    match score {
        Some(score) if !(score.is_finite() && score >= 0.0) => {
            Err(format!("{field}: {score} is no score; use 0 or more"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::{InputFile, OutputValidator, decode_job, encode};

    use super::*;

    fn refused(change: impl FnOnce(&mut Job)) -> String {
        let mut job = Job::new("python", "print(1)");
        job.tests = vec![Test::new("a", "1\n", "1\n"), Test::new("b", "2\n", "2\n")];
        assert_eq!(decode_job(&encode(&job), 1 << 20), Ok(job.clone()), "the job itself is valid");
        change(&mut job);
        decode_job(&encode(&job), 1 << 20).expect_err("refused").message.to_string()
    }

    fn comparison(kind: ComparisonKind) -> Comparison {
        Comparison { kind, ..Comparison::default() }
    }

    #[test]
    fn what_is_wrong_with_a_test_is_named() {
        let file = |name: &str| InputFile::from_bytes(name, "");
        let group = |name: &str| TestGroup {
            name: name.into(),
            max_score: Some(1.0),
            ..TestGroup::default()
        };
        let validator = || OutputValidator {
            language: "python".into(),
            code: Some(String::new()),
            files: Vec::new(),
            entrypoint: None,
            interactive: false,
            limits: Default::default(),
        };
        type Change = Box<dyn FnOnce(&mut Job)>;
        let cases: Vec<(&str, Change)> = vec![
            ("tests[1].name: is empty", Box::new(|job| job.tests[1].name.clear())),
            ("tests[0].name: use 1 to", Box::new(|job| job.tests[0].name = "a\u{1b}".into())),
            (
                "tests[1].name: \"a\" is the name of tests[0]",
                Box::new(|job| job.tests[1].name = "a".into()),
            ),
            (
                "tests[0].group: no group is called \"g\"",
                Box::new(|job| job.tests[0].group = Some("g".into())),
            ),
            (
                "tests[0].answer: missing",
                Box::new(|job| {
                    job.tests[0].answer = None;
                    job.tests[0].comparison = Some(comparison(ComparisonKind::Exact));
                }),
            ),
            (
                "tests[0].comparison: \"numeric\" needs",
                Box::new(|job| {
                    job.tests[0].comparison = Some(comparison(ComparisonKind::Numeric));
                }),
            ),
            (
                "tests[0].comparison.absolute: only for",
                Box::new(|job| {
                    job.tests[0].comparison = Some(Comparison {
                        absolute: Some(1.0),
                        ..comparison(ComparisonKind::Tokens)
                    });
                }),
            ),
            (
                "tests[0].comparison.relative: -1 is no",
                Box::new(|job| {
                    job.tests[0].comparison = Some(Comparison {
                        relative: Some(-1.0),
                        ..comparison(ComparisonKind::Numeric)
                    });
                }),
            ),
            (
                "tests[0].comparison.case_sensitive: only",
                Box::new(|job| {
                    job.tests[0].comparison = Some(Comparison {
                        case_sensitive: true,
                        ..comparison(ComparisonKind::Exact)
                    });
                }),
            ),
            (
                "tests[0].comparison.type: \"validator\"",
                Box::new(|job| {
                    job.tests[0].comparison = Some(comparison(ComparisonKind::Validator));
                }),
            ),
            (
                "tests[0].validator_args: they are",
                Box::new(|job| {
                    job.tests[0].validator_args.push("x".into());
                }),
            ),
            (
                "tests[1].stdin: not base64",
                Box::new(|job| {
                    job.tests[1].stdin_encoding = crate::Encoding::Base64;
                }),
            ),
            ("tests[1].args[0]: holds a NUL", Box::new(|job| job.tests[1].args.push("\0".into()))),
            ("tests[1].files[0].name", Box::new(move |job| job.tests[1].files.push(file("../x")))),
            (
                "tests[1].files[0].name: \"x\" is there twice",
                Box::new(move |job| {
                    job.files.push(file("x"));
                    job.tests[1].files.push(file("x"));
                }),
            ),
            (
                "tests[0].limits.memory_bytes: 1 is",
                Box::new(|job| {
                    job.tests[0].limits.memory_bytes = Some(1);
                }),
            ),
            ("tests[0].max_score: -1", Box::new(|job| job.tests[0].max_score = Some(-1.0))),
            ("artifacts: nothing is brought back", Box::new(|job| job.artifacts.push("*".into()))),
            (
                "test_groups[0].max_score: missing",
                Box::new(move |job| {
                    job.test_groups.push(TestGroup { max_score: None, ..group("g") });
                }),
            ),
            (
                "test_groups[0].require_pass: no earlier",
                Box::new(move |job| {
                    job.test_groups
                        .push(TestGroup { require_pass: vec!["g".into()], ..group("g") });
                }),
            ),
            (
                "test_groups[1].name: \"g\" is the name",
                Box::new(move |job| {
                    job.test_groups = vec![group("g"), group("g")];
                }),
            ),
            (
                "output_validator: no test",
                Box::new(move |job| job.output_validator = Some(validator())),
            ),
            (
                "output_validator.code: missing",
                Box::new(move |job| {
                    job.output_validator = Some(OutputValidator { code: None, ..validator() });
                }),
            ),
            (
                "stop_at_first_failure: the job has no",
                Box::new(|job| {
                    job.stop_at_first_failure = true;
                    job.tests.clear();
                }),
            ),
        ];
        for (begin, change) in cases {
            let said = refused(change);
            assert!(said.starts_with(begin), "{said:?} does not begin with {begin:?}");
        }
    }

    #[test]
    fn a_job_without_tests_is_what_older_workers_know() {
        let text = String::from_utf8(encode(&Job::new("python", ""))).expect("UTF-8");
        for field in ["tests", "test_groups", "stop_at_first_failure", "output_validator"] {
            assert!(!text.contains(field), "{field}");
        }
    }
}
