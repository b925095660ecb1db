//! A problem package, and the job that grades a submission by it.

use std::path::Path;

use sandfleet_common::{InputFile, Job, LimitsRequest, OutputOverflow, OutputValidator, Priority};

use super::{
    data::{self, Data},
    files::PackageFiles,
    problem::Problem,
    program::Submission,
    verify::{self, Expected},
};
use crate::admission::catalogue::Catalogue;

/// What holds where a package states nothing: the format's typical values.
const MEMORY_MIB: u64 = 2048;
const OUTPUT_MIB: u64 = 8;
const CODE_KIB: u64 = 128;
const VALIDATION_SECONDS: u64 = 60;

/// A problem package.
pub struct Package {
    problem: Problem,
    files: PackageFiles,
    data: Data,
    validator: Option<OutputValidator>,
}

/// How long a program may compute for each test.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TimeLimit {
    /// So many seconds.
    Stated(f64),
    /// This many times what the slowest accepted submission of the package takes, in whole units of `resolution`
    /// seconds.
    OfAccepted {
        /// How many times.
        factor: f64,
        /// Seconds.
        resolution: f64,
    },
}

impl Package {
    /// Reads the package in the directory, or the ZIP archive, at `path`.
    ///
    /// # Errors
    /// What is wrong with it, or what of it is not offered, by name.
    pub fn read(path: &Path, catalogue: &Catalogue) -> Result<Self, String> {
        let files = PackageFiles::read(path)?;
        let problem = Problem::read(&files)?;
        if !files.entries("static_validator/").is_empty() {
            return Err("static_validator/: static validation is not offered here".into());
        }
        let validator = validator(&files, &problem, catalogue)?;
        let data = data::read(&files, &problem, validator.is_some())?;
        Ok(Self { problem, files, data, validator })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.problem.name
    }

    /// How many tests it has.
    pub fn tests(&self) -> usize {
        self.data.tests.len()
    }

    /// Whether submissions are given a score.
    pub fn is_scoring(&self) -> bool {
        self.problem.is_scoring
    }

    /// The time limit, as far as the package states it.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn time_limit(&self) -> Result<TimeLimit, String> {
        let limits = &self.problem.limits;
        if let Some(seconds) = limits.time_limit {
            return Ok(TimeLimit::Stated(seconds));
        }
        if let Some(text) = self.files.text(".timelimit")? {
            let seconds = text.trim().parse::<f64>().ok().filter(|it| it.is_finite() && *it > 0.0);
            let seconds =
                seconds.ok_or_else(|| format!(".timelimit: {:?} is no time", text.trim()))?;
            return Ok(TimeLimit::Stated(seconds));
        }
        let factor = if self.problem.is_legacy {
            limits.time_factor().max(5.0)
        } else {
            limits.time_factor()
        };
        Ok(TimeLimit::OfAccepted { factor, resolution: limits.time_resolution.unwrap_or(1.0) })
    }

    /// What compiling gets, where the package states it.
    pub fn compile_limits(&self) -> LimitsRequest {
        let limits = &self.problem.limits;
        let time = limits.compilation_time.map(|seconds| seconds.saturating_mul(1000));
        LimitsRequest {
            wall_time_ms: time,
            cpu_time_ms: time,
            memory_bytes: limits.compilation_memory.map(mebibytes),
            ..LimitsRequest::default()
        }
    }

    /// The job that grades `submission`, whose programs may compute for `seconds` on each test; with `all_tests`, also on
    /// those that decide nothing any more.
    ///
    /// # Errors
    /// Why it can't be graded.
    pub fn job(
        &self,
        submission: &Submission,
        catalogue: &Catalogue,
        seconds: f64,
        all_tests: bool,
    ) -> Result<Job, String> {
        let limits = &self.problem.limits;
        let most = limits.code.unwrap_or(CODE_KIB) << 10;
        if submission.bytes() > most {
            let bytes = submission.bytes();
            return Err(format!("{}: {bytes} bytes of code; the limit is {most}", submission.name));
        }
        let mut submission = submission.clone();
        let language = submission.program(catalogue)?.language;
        if let Some(allowed) = &self.problem.languages
            && !allowed.iter().any(|name| codes(&language).contains(&name.as_str()))
        {
            return Err(format!(
                "{}: is in {language}; the problem takes {}",
                submission.name,
                allowed.join(", ")
            ));
        }
        self.include(&language, &mut submission);
        let program = submission.program(catalogue)?;
        let mut job = Job::new(program.language, "");
        (job.code, job.files, job.entrypoint) = (program.code, program.files, program.entrypoint);
        job.limits = LimitsRequest {
            cpu_time_ms: Some(((seconds * 1000.0).ceil() as u64).max(1)),
            // For programs that wait: other programs on this machine take time as well.
            wall_time_ms: Some((seconds * 2000.0).ceil() as u64 + 2000),
            memory_bytes: Some(mebibytes(limits.memory.unwrap_or(MEMORY_MIB))),
            output_bytes: Some(mebibytes(limits.output.unwrap_or(OUTPUT_MIB))),
            ..LimitsRequest::default()
        };
        job.output_overflow = OutputOverflow::Kill;
        job.priority = Priority::Batch;
        job.tests = self.data.tests.clone();
        job.test_groups = self.data.groups.clone();
        job.stop_at_first_failure = self.data.stops && !all_tests;
        if all_tests {
            job.test_groups.iter_mut().for_each(|group| group.stop_at_first_failure = false);
        }
        job.output_validator = self.validator.clone();
        job.validate().map_err(|why| format!("{}: {why}", submission.name))?;
        Ok(job)
    }

    /// Adds the files that the package has for all submissions in `language`.
    fn include(&self, language: &str, submission: &mut Submission) {
        let own = codes(language).map(|code| format!("include/{code}/"));
        let own = own.iter().find(|directory| self.files.below(directory).next().is_some());
        let directory = own.map_or("include/default/", String::as_str);
        for (name, content) in self.files.below(directory) {
            submission.files.retain(|(other, _)| other != name);
            submission.files.push((name.to_owned(), content.to_vec()));
        }
    }

    /// The submissions in the package, with what they have to get.
    ///
    /// # Errors
    /// What of the expectations is not offered.
    pub fn submissions(&self) -> Result<Vec<(Submission, Expected)>, String> {
        let rules = verify::rules(&self.files)?;
        let mut found = Vec::new();
        for directory in self.files.entries("submissions/") {
            for entry in self.files.entries(&format!("submissions/{directory}")) {
                if !directory.ends_with('/') {
                    continue;
                }
                let name = format!("{directory}{}", entry.trim_end_matches('/'));
                let Some(expected) = rules.expected(&name) else {
                    return Err(format!(
                        "submissions/{directory}: what is expected of it is not known; say so in \
                         submissions/submissions.yaml"
                    ));
                };
                let path = format!("submissions/{directory}{entry}");
                found.push((submission(&self.files, &name, &path), expected));
            }
        }
        Ok(found)
    }
}

/// The program at `path` of a package: a file, or a directory if it ends with a slash.
fn submission(files: &PackageFiles, name: &str, path: &str) -> Submission {
    let files = match path.strip_suffix('/') {
        Some(_) => files.below(path).map(|(name, it)| (name.to_owned(), it.to_vec())).collect(),
        None => {
            let own = path.rsplit('/').next().unwrap_or(path);
            files.get(path).map(|content| (own.to_owned(), content.to_vec())).into_iter().collect()
        }
    };
    Submission { name: name.to_owned(), files }
}

/// The package's own output validator, if it has one.
fn validator(
    files: &PackageFiles,
    problem: &Problem,
    catalogue: &Catalogue,
) -> Result<Option<OutputValidator>, String> {
    let directory = if problem.is_legacy { "output_validators/" } else { "output_validator/" };
    let entries = files.entries(directory);
    let is_own = problem.has_validator.unwrap_or(!entries.is_empty());
    if !is_own {
        if problem.is_interactive {
            return Err(format!("{directory}: has none, and an interactive problem needs one"));
        }
        return Ok(None);
    }
    let only_directories = entries.iter().all(|entry| entry.ends_with('/'));
    let path = match entries.as_slice() {
        [] => {
            return Err(format!("{directory}: is empty, and problem.yaml says validation: custom"));
        }
        // Its files may lie there as they are.
        several if !problem.is_legacy && !only_directories => {
            if several.len() == 1 {
                format!("{directory}{}", several[0])
            } else {
                directory.to_owned()
            }
        }
        [one] => format!("{directory}{one}"),
        several => {
            return Err(format!("{directory}: has {} validators; one is offered", several.len()));
        }
    };
    let program = submission(files, path.trim_end_matches('/'), &path);
    if program.files.iter().any(|(name, _)| name == "build" || name == "run") {
        return Err(format!("{path}: a build or run script is not offered; use one source"));
    }
    let program = program.program(catalogue)?;
    let limits = &problem.limits;
    let time = limits.validation_time.unwrap_or(VALIDATION_SECONDS).saturating_mul(1000);
    let output = mebibytes(limits.validation_output.unwrap_or(OUTPUT_MIB));
    Ok(Some(OutputValidator {
        language: program.language,
        code: program.code,
        files: program.files.into_iter().map(|file| InputFile { ..file }).collect(),
        entrypoint: program.entrypoint,
        interactive: problem.is_interactive,
        limits: LimitsRequest {
            cpu_time_ms: Some(time),
            wall_time_ms: Some(time),
            memory_bytes: Some(mebibytes(limits.validation_memory.unwrap_or(MEMORY_MIB))),
            output_bytes: Some(output),
            artifact_bytes: Some(output),
            ..LimitsRequest::default()
        },
    }))
}

/// What packages call a language of the catalogue.
fn codes(language: &str) -> [&str; 2] {
    match language {
        "python" | "python-data" => ["python3", "python"],
        "javascript" => ["javascript", "nodejs"],
        other => [other, other],
    }
}

fn mebibytes(count: u64) -> u64 {
    count.saturating_mul(1 << 20)
}
