//! `--tests`: the tests of a job from a file or a directory, and how the program fared on them.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr,
};

use sandfleet_common::{
    Comparison, ComparisonKind, Job, JobResult, OutputValidator, PrintableText, Test, TestGroup,
    TestKind, TestReport, json_fault,
};
use serde::Deserialize;

use super::{
    exit::{Exit, Failure},
    input::{self, Bound},
    table::columns,
};

/// The tests of a job and what belongs to them, as in the job.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TestFile {
    tests: Vec<Test>,
    #[serde(default)]
    test_groups: Vec<TestGroup>,
    #[serde(default)]
    stop_at_first_failure: bool,
    output_validator: Option<OutputValidator>,
}

/// `--compare HOW`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Compare(Comparison);

impl FromStr for Compare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let how = |kind| Comparison { kind, ..Comparison::default() };
        let comparison = match text.split_once(':') {
            None => match text {
                "exact" => how(ComparisonKind::Exact),
                "trimmed" => how(ComparisonKind::Trimmed),
                "tokens" => how(ComparisonKind::Tokens),
                _ => return Err(HOW.into()),
            },
            Some(("numeric", tolerance)) => {
                let tolerance: f64 = tolerance.parse().map_err(|_| HOW)?;
                if !(tolerance.is_finite() && tolerance >= 0.0) {
                    return Err(HOW.into());
                }
                Comparison {
                    absolute: Some(tolerance),
                    relative: Some(tolerance),
                    ..how(ComparisonKind::Numeric)
                }
            }
            Some(_) => return Err(HOW.into()),
        };
        Ok(Self(comparison))
    }
}

const HOW: &str = "use exact, trimmed, tokens or numeric:TOLERANCE, such as numeric:1e-6";

/// Adds the tests of the file or the directory at `path`. Those that don't say how they are compared are compared as
/// `compare` says.
pub(super) fn add(
    job: &mut Job,
    path: &Path,
    compare: Option<Compare>,
    stop_at_first_failure: bool,
    bound: Bound,
) -> Result<(), Failure> {
    let file = match path.is_dir() {
        true => TestFile { tests: of_directory(path, bound)?, ..TestFile::default() },
        false => of_file(path, bound)?,
    };
    if file.tests.is_empty() {
        return Err(Exit::Usage.with(format!("--tests {}: has no tests", path.display())));
    }
    job.tests = file.tests;
    if let Some(Compare(comparison)) = compare {
        let compared = job.tests.iter_mut().filter(|test| test.answer.is_some());
        compared.for_each(|test| _ = test.comparison.get_or_insert(comparison));
    }
    job.test_groups = file.test_groups;
    job.stop_at_first_failure = file.stop_at_first_failure || stop_at_first_failure;
    job.output_validator = file.output_validator;
    Ok(())
}

/// A list of tests, or an object that has one.
fn of_file(path: &Path, bound: Bound) -> Result<TestFile, Failure> {
    let bytes = input::read_file_or_stdin(path, "--tests -", bound)?;
    let is_list = bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let read = match is_list {
        true => {
            serde_json::from_slice(&bytes).map(|tests| TestFile { tests, ..TestFile::default() })
        }
        false => serde_json::from_slice(&bytes),
    };
    read.map_err(|error| {
        Exit::Usage.with(format!("--tests {}: {}", path.display(), json_fault(&error)))
    })
}

/// A test for each NAME.in below `directory`, whose answer is in NAME.ans, or NAME.out.
fn of_directory(directory: &Path, bound: Bound) -> Result<Vec<Test>, Failure> {
    let mut inputs = Vec::new();
    find_inputs(directory, &mut inputs)?;
    inputs.sort();
    let tests = inputs.into_iter().map(|path| {
        let name = path.strip_prefix(directory).unwrap_or(&path).with_extension("");
        let name = name.to_string_lossy().into_owned();
        let answer = ["ans", "out"].map(|ending| path.with_extension(ending));
        let Some(answer) = answer.iter().find(|answer| answer.is_file()) else {
            return Err(Exit::Usage.with(format!(
                "--tests: {} has no answer beside it; add {name}.ans",
                path.display()
            )));
        };
        let input = input::read_file(&path, bound)?;
        let mut test = Test::new(name.as_str(), input, input::read_file(answer, bound)?);
        if name.starts_with("sample/") {
            test.kind = TestKind::Sample;
        }
        Ok(test)
    });
    tests.collect()
}

fn find_inputs(directory: &Path, to: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| {
        Exit::Usage.with(format!("--tests: {}: {error}", directory.display()))
    };
    for entry in fs::read_dir(directory).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let path = entry.path();
        // A link to a directory may lead back up.
        if entry.file_type().map_err(failed)?.is_dir() {
            find_inputs(&path, to)?;
        } else if path.extension().is_some_and(|ending| ending == "in") {
            to.push(path);
        }
    }
    Ok(())
}

/// How the program fared on each test, and how the groups went, in tables.
pub(super) fn tables(result: &JobResult) -> String {
    let header = ["TEST", "VERDICT", "CPU", "WALL", "MEMORY", "SCORE", "WHY"].map(str::to_owned);
    let rows = result.tests.iter().map(|test| {
        let used = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        [
            printable(&test.name),
            verdict(test).to_owned(),
            used(test.usage.map(|usage| format!("{} ms", usage.cpu_time_ms))),
            used(test.usage.map(|usage| format!("{} ms", usage.wall_time_ms))),
            used(test.usage.and_then(|usage| usage.memory_peak_bytes).map(mebibytes)),
            used(test.score.map(|score| format!("{score}"))),
            if test.is_accepted() { String::new() } else { test.message.as_str().to_owned() },
        ]
    });
    let mut text = columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>());
    if !result.test_groups.is_empty() {
        let header = ["GROUP", "VERDICT", "SCORE", "OF"].map(str::to_owned);
        let number = |score: Option<f64>| score.map_or_else(|| "-".into(), |it| it.to_string());
        let rows = result.test_groups.iter().map(|group| {
            let verdict = group.verdict.map_or("skipped", |verdict| verdict.as_str());
            let max_score = number(group.max_score);
            [printable(&group.name), verdict.to_owned(), number(group.score), max_score]
        });
        text.push('\n');
        text.push_str(&columns(&std::iter::once(header).chain(rows).collect::<Vec<_>>()));
    }
    text
}

fn verdict(test: &TestReport) -> &'static str {
    test.verdict.map_or("skipped", |verdict| verdict.as_str())
}

fn printable(text: &str) -> String {
    PrintableText::new(text).into()
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use sandfleet_common::{Usage, Verdict};
    use tempfile::TempDir;

    use super::*;

    fn added(path: &Path, compare: Option<&str>) -> Result<Job, String> {
        let mut job = Job::new("python", "");
        let compare = compare.map(|how| how.parse().expect("a way"));
        add(&mut job, path, compare, false, Bound::Message(1000))
            .map_err(|failure| failure.error.to_string())?;
        Ok(job)
    }

    #[test]
    fn a_directory_of_inputs_and_answers_is_a_list_of_tests() {
        let place = TempDir::new().expect("room");
        let write = |name: &str, text: &str| {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().expect("below")).expect("room");
            fs::write(path, text).expect("room");
        };
        write("secret/2.in", "2");
        write("secret/2.ans", "4");
        write("secret/10.in", "10");
        write("secret/10.out", "20");
        write("sample/1.in", "1");
        write("sample/1.ans", "2");
        write("notes.txt", "no test");
        let job = added(place.path(), Some("numeric:0.5")).expect("three tests");
        let names: Vec<_> = job.tests.iter().map(|it| (it.name.as_str(), it.kind)).collect();
        let (sample, secret) = (TestKind::Sample, TestKind::Secret);
        assert_eq!(names, [("sample/1", sample), ("secret/10", secret), ("secret/2", secret)]);
        assert_eq!(job.tests[1].answer.as_deref(), Some("20"));
        assert_eq!(job.tests[0].comparison.map(|it| it.absolute), Some(Some(0.5)));
        assert_eq!(job.validate(), Ok(()));
        write("secret/3.in", "");
        assert!(added(place.path(), None).expect_err("no answer").contains("add secret/3.ans"));
    }

    #[test]
    fn a_file_is_a_list_or_an_object_and_its_mistakes_are_named() {
        let place = TempDir::new().expect("room");
        let file = place.path().join("tests.json");
        let read = |text: &str| {
            fs::write(&file, text).expect("room");
            added(&file, Some("tokens"))
        };
        let job =
            read(r#" [{"name":"a","stdin":"1","answer":"2"},{"name":"b"}]"#).expect("two tests");
        assert_eq!(job.tests[0].comparison.map(|it| it.kind), Some(ComparisonKind::Tokens));
        assert_eq!(job.tests[1].comparison, None, "there is nothing to compare with");
        let job = read(r#"{"tests":[{"name":"a"}],"stop_at_first_failure":true}"#).expect("one");
        assert!(job.stop_at_first_failure);
        assert!(read("[]").expect_err("none").contains("has no tests"));
        assert!(read(r#"[{"name":"a","expected":1}]"#).expect_err("unknown").contains("expected"));
        assert!(read(r#"[{"name":"a"]"#).expect_err("no JSON").contains("no JSON at"));
    }

    #[test]
    fn the_table_shows_what_counts_and_why() {
        let mut result: JobResult = serde_json::from_value(serde_json::json!({
            "job_id": "x", "status": "failed", "message": "", "worker_id": "w", "attempt": 1,
            "started_at": "2020-01-01T00:00:00Z", "finished_at": "2020-01-01T00:00:00Z",
        }))
        .expect("a result");
        let usage = Usage { cpu_time_ms: 3, wall_time_ms: 4, memory_peak_bytes: Some(3 << 19) };
        let test = |name: &str, verdict, message: &str| TestReport {
            name: name.into(),
            verdict,
            message: message.into(),
            usage: verdict.map(|_| usage),
            ..TestReport::default()
        };
        result.tests = vec![
            test("a\u{1b}", Some(Verdict::Accepted), "exit code 0"),
            test("b", Some(Verdict::WrongAnswer), "wrong answer: line 1"),
            TestReport { skipped: true, ..test("c", None, "skipped: test b was not accepted") },
        ];
        assert_eq!(
            tables(&result),
            "TEST     VERDICT       CPU   WALL  MEMORY   SCORE  WHY\n\
             a\\u{1b}  accepted      3 ms  4 ms  1.5 MiB  -\n\
             b        wrong_answer  3 ms  4 ms  1.5 MiB  -      wrong answer: line 1\n\
             c        skipped       -     -     -        -      skipped: test b was not accepted\n"
        );
    }
}
