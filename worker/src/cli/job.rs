//! From a command line to a job.

use std::path::{Path, PathBuf};

use clap::Args;
use sandfleet_common::{Encoding, Job, LimitName, LimitsRequest};
use serde_json::json;

use super::{
    evaluation::{self, Compare},
    exit::{Exit, Failure},
    files,
    input::{self, Bound},
    line::Defaults,
    quantity,
};
use crate::admission::catalogue::Catalogue;

/// What describes one program.
#[derive(Args)]
pub(super) struct JobArguments {
    /// The language [default: by the script's file name extension]
    #[arg(long, value_name = "NAME")]
    language: Option<String>,

    /// Put a file, or a directory with all that is in it, into the program's working directory, under its
    /// own or another name; repeatable
    #[arg(long = "file", value_name = "PATH[=NAME]")]
    files: Vec<String>,

    /// What the program reads on stdin: a file, or - for this command's own
    #[arg(long, value_name = "FILE|-")]
    stdin: Option<String>,

    /// An argument of the program; repeatable
    #[arg(long = "arg", value_name = "TEXT", allow_hyphen_values = true)]
    args: Vec<String>,

    /// Arguments of the program, after those of --arg
    #[arg(last = true, value_name = "ARGUMENT")]
    trailing: Vec<String>,

    /// An environment variable of the program; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// A limit, such as wall_time_ms=2s or memory_bytes=512M; repeatable
    #[arg(long = "limit", value_name = "NAME=NUMBER")]
    limits: Vec<String>,

    /// Try the program on the tests of this JSON file, or on each NAME.in of this directory, whose output has to be as in
    /// NAME.ans
    #[arg(long, value_name = "FILE|DIR")]
    tests: Option<PathBuf>,

    /// How output is compared with the answers of tests that don't say: exact, trimmed, tokens or numeric:TOLERANCE
    /// [default: trimmed]
    #[arg(long, value_name = "HOW", requires = "tests")]
    compare: Option<Compare>,

    /// End with the first test that is not accepted
    #[arg(long, requires = "tests")]
    stop_at_first_failure: bool,

    /// Have a program that buffers its stdout write it line by line
    #[arg(long)]
    line_buffered: bool,

    /// Bring back files that match; repeatable [default with --artifacts: all that are new]
    #[arg(long = "artifact", value_name = "GLOB")]
    globs: Vec<String>,
}

impl JobArguments {
    /// The job that runs `script`, which is - for this command's stdin. With `wants_artifacts`, all new
    /// files are brought back unless globs say which. What is read is bounded by `bound`.
    pub(super) fn build(
        &self,
        script: &Path,
        wants_artifacts: bool,
        catalogue: &Catalogue,
        bound: Bound,
    ) -> Result<Job, Failure> {
        let is_piped = input::is_stdin(script);
        self.reads_stdin_once(is_piped.then_some("the program"))?;
        let name = if is_piped { None } else { Some(file_name(script)?) };
        let language = match (&self.language, &name) {
            (Some(language), _) => language.clone(),
            (None, Some(name)) => catalogue.guess(name).map(str::to_owned).ok_or_else(|| {
                Exit::Usage.with(format!(
                    "{}: the ending says no language; name it with --language ({})",
                    script.display(),
                    catalogue.names().join(", ")
                ))
            })?,
            (None, None) => {
                return Err(Exit::Usage.with(format!(
                    "-: a program on stdin has no name that says its language; name it with --language ({})",
                    catalogue.names().join(", ")
                )));
            }
        };
        let mut job = self.of_text(language, read_program(script, bound)?, bound)?;
        // A warm interpreter runs the file of its own name.
        let is_warm = catalogue.find(&job.language).is_ok_and(|(_, it)| it.has_warm());
        job.entrypoint = name.filter(|_| job.tests.is_empty() || !is_warm);
        if self.globs.is_empty() && wants_artifacts {
            job.artifacts = vec!["**/*".into()];
        }
        job.validate().map_err(|why| Exit::Usage.with(why))?;
        Ok(job)
    }

    /// The job that runs `code` in `language`, which the flags may not contradict.
    pub(super) fn build_text(
        &self,
        language: &str,
        code: &str,
        bound: Bound,
    ) -> Result<Job, Failure> {
        if let Some(other) = self.language.as_deref().filter(|it| *it != language) {
            let why = format!("--language {other}: the program is in {language}; name a script");
            return Err(Exit::Usage.with(why));
        }
        self.of_text(language.to_owned(), code.to_owned(), bound)
    }

    fn of_text(&self, language: String, code: String, bound: Bound) -> Result<Job, Failure> {
        let mut job = Job::new(language, code);
        self.describe(&mut job, bound)?;
        job.validate().map_err(|why| Exit::Usage.with(why))?;
        Ok(job)
    }

    /// What the flags set for every job of the batch in `file` that doesn't set it itself.
    pub(super) fn defaults(&self, file: &Path, bound: Bound) -> Result<Defaults, Failure> {
        self.reads_stdin_once(input::is_stdin(file).then_some("the batch"))?;
        let mut job = Job::new(self.language.as_deref().unwrap_or("python"), "");
        self.describe(&mut job, bound)?;
        job.validate().map_err(|why| Exit::Usage.with(why))?;
        let mut defaults = Defaults::default();
        let mut field = |name, is_set: bool, value: serde_json::Value| {
            if is_set {
                defaults.fields.insert(name, value);
            }
        };
        field("language", self.language.is_some(), json!(job.language));
        field("stdin", job.stdin.is_some(), json!(job.stdin));
        field("stdin_encoding", job.stdin_encoding != Encoding::Utf8, json!(job.stdin_encoding));
        field("args", !job.args.is_empty(), json!(job.args));
        field("line_buffered", job.line_buffered, json!(true));
        field("artifacts", !job.artifacts.is_empty(), json!(job.artifacts));
        field("tests", !job.tests.is_empty(), json!(job.tests));
        field("test_groups", !job.test_groups.is_empty(), json!(job.test_groups));
        field("stop_at_first_failure", job.stop_at_first_failure, json!(true));
        field("output_validator", job.output_validator.is_some(), json!(job.output_validator));
        let env = job.env.into_iter().map(|(name, value)| (name, value.into())).collect();
        let limits = LimitName::ALL
            .iter()
            .filter_map(|name| Some((name.to_string(), job.limits.get(*name)?.into())))
            .collect();
        defaults.members = [("env", env), ("limits", limits)].into();
        defaults.files =
            job.files.into_iter().map(|file| (file.name.clone(), json!(file))).collect();
        Ok(defaults)
    }

    /// The language that a flag names.
    pub(super) fn language(&self) -> Option<&str> {
        self.language.as_deref()
    }

    /// Whether flags say which files are brought back.
    pub(super) fn selects_artifacts(&self) -> bool {
        !self.globs.is_empty()
    }

    /// The limits that the flags ask for.
    pub(super) fn limits(&self) -> Result<LimitsRequest, Failure> {
        let mut limits = LimitsRequest::default();
        for pair in &self.limits {
            let (name, value) = split(pair, "--limit", "NAME=NUMBER")?;
            let refuse = |why| Exit::Usage.with(format!("--limit {pair}: {why}"));
            let limit: LimitName = name.parse().map_err(refuse)?;
            limits.set(limit, quantity::of_name(name, value).map_err(refuse)?);
        }
        Ok(limits)
    }

    fn describe(&self, job: &mut Job, bound: Bound) -> Result<(), Failure> {
        for argument in &self.files {
            files::add(argument, bound, &mut job.files)?;
        }
        if let Some(name) = &self.stdin {
            let shown = format!("--stdin {name}");
            job.set_stdin(input::read_file_or_stdin(Path::new(name), &shown, bound)?);
        }
        job.args = [&self.args[..], &self.trailing].concat();
        for pair in &self.env {
            let (name, value) = split(pair, "--env", "NAME=VALUE")?;
            job.env.insert(name.to_owned(), value.to_owned());
        }
        job.limits = self.limits()?;
        job.artifacts = self.globs.clone();
        job.line_buffered = self.line_buffered;
        if let Some(tests) = &self.tests {
            evaluation::add(job, tests, self.compare, self.stop_at_first_failure, bound)?;
        }
        Ok(())
    }

    /// This command's stdin has one reader: `other`, or the program.
    fn reads_stdin_once(&self, other: Option<&str>) -> Result<(), Failure> {
        if let (Some(tests), Some(other)) = (&self.tests, other)
            && input::is_stdin(tests)
        {
            return Err(Exit::Usage
                .with(format!("--tests -: {other} is read from stdin already; name a file")));
        }
        match other.or(self.tests.as_deref().filter(|it| input::is_stdin(it)).map(|_| "the tests"))
        {
            Some(other) if self.stdin.as_deref() == Some("-") => Err(Exit::Usage.with(format!(
                "--stdin -: {other} is read from stdin already; name a file for one of them"
            ))),
            _ => Ok(()),
        }
    }
}

fn split<'a>(pair: &'a str, flag: &str, form: &str) -> Result<(&'a str, &'a str), Failure> {
    pair.split_once('=')
        .ok_or_else(|| Exit::Usage.with(format!("{flag} {pair}: use {flag} {form}")))
}

/// The name of a file as a job can hold it.
fn file_name(path: &Path) -> Result<String, Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Exit::Usage.with(format!("{}: its name is not plain text; rename it", path.display()))
    })?;
    Ok(name.to_owned())
}

fn read_program(path: &Path, bound: Bound) -> Result<String, Failure> {
    let bytes = input::read_file_or_stdin(path, "-", bound)?;
    String::from_utf8(bytes).map_err(|error| {
        let (name, at) = (path.display(), error.utf8_error().valid_up_to());
        Exit::Usage.with(format!("{name}: a program has to be UTF-8, and byte {at} is not"))
    })
}
