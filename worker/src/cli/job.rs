//! From a command line to a job.

use std::path::{Path, PathBuf};

use clap::Args;
use sandfleet_common::{Content, InputFile, Job, LimitName, validate_file_name};

use super::{
    exit::{Exit, Failure},
    input::{self, read_file},
};
use crate::admission::catalogue::Catalogue;

/// What describes one program.
#[derive(Args)]
pub(super) struct JobArguments {
    /// The language [default: by the script's file name extension]
    #[arg(long, value_name = "NAME")]
    language: Option<String>,

    /// Put a file into the program's working directory, under its own or another name; repeatable
    #[arg(long = "file", value_name = "PATH[=NAME]")]
    files: Vec<String>,

    /// What the program reads on stdin: a file, or - for this command's own
    #[arg(long, value_name = "FILE|-")]
    stdin: Option<String>,

    /// An argument of the program; repeatable
    #[arg(long = "arg", value_name = "TEXT", allow_hyphen_values = true)]
    args: Vec<String>,

    /// An environment variable of the program; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,

    /// A limit, such as wall_time_ms=2000; repeatable
    #[arg(long = "limit", value_name = "NAME=NUMBER")]
    limits: Vec<String>,

    /// Bring back files that match; repeatable [default with --artifacts: all that are new]
    #[arg(long = "artifact", value_name = "GLOB")]
    globs: Vec<String>,
}

impl JobArguments {
    /// The job that runs `script`. With `wants_artifacts`, all new files are brought back unless
    /// globs say which. No file that it reads may be longer than `max_bytes`.
    pub(super) fn build(
        &self,
        script: &Path,
        wants_artifacts: bool,
        catalogue: &Catalogue,
        max_bytes: usize,
    ) -> Result<Job, Failure> {
        let name = file_name(script)?;
        let language = match &self.language {
            Some(language) => language.clone(),
            None => catalogue.guess(&name).map(str::to_owned).ok_or_else(|| {
                Exit::Usage.with(format!(
                    "{}: the ending says no language; name it with --language ({})",
                    script.display(),
                    catalogue.names().join(", ")
                ))
            })?,
        };
        catalogue.find(&language).map_err(|why| Exit::Usage.with(format!("--{why}")))?;
        let code = read_text(script, max_bytes)?;
        let mut job = Job::new(language, code);
        job.entrypoint = Some(name);
        for file in &self.files {
            job.files.push(input_file(file, max_bytes)?);
        }
        job.stdin = self.stdin.as_deref().map(|it| read_stdin(it, max_bytes)).transpose()?;
        job.args = self.args.clone();
        for pair in &self.env {
            let (name, value) = split(pair, "--env", "NAME=VALUE")?;
            job.env.insert(name.to_owned(), value.to_owned());
        }
        for pair in &self.limits {
            let (name, value) = split(pair, "--limit", "NAME=NUMBER")?;
            let limit: LimitName =
                name.parse().map_err(|why| Exit::Usage.with(format!("--limit {pair}: {why}")))?;
            let number = value.parse().map_err(|_| {
                Exit::Usage.with(format!("--limit {pair}: {value:?} is no whole number"))
            })?;
            job.limits.set(limit, number);
        }
        job.artifacts = match (self.globs.is_empty(), wants_artifacts) {
            (true, true) => vec!["**/*".into()],
            _ => self.globs.clone(),
        };
        job.validate().map_err(|why| Exit::Usage.with(why))?;
        Ok(job)
    }
}

fn split<'a>(pair: &'a str, flag: &str, form: &str) -> Result<(&'a str, &'a str), Failure> {
    pair.split_once('=')
        .ok_or_else(|| Exit::Usage.with(format!("{flag} {pair}: use {flag} {form}")))
}

fn file_name(path: &Path) -> Result<String, Failure> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Exit::Usage.with(format!("{}: its name is not plain text; rename it", path.display()))
    })?;
    Ok(name.to_owned())
}

fn read_text(path: &Path, max_bytes: usize) -> Result<String, Failure> {
    String::from_utf8(read_file(path, max_bytes)?)
        .map_err(|_| Exit::Usage.with(format!("{}: a program has to be UTF-8", path.display())))
}

fn read_stdin(name: &str, max_bytes: usize) -> Result<String, Failure> {
    if name != "-" {
        return read_text(Path::new(name), max_bytes);
    }
    String::from_utf8(input::read(std::io::stdin(), "--stdin -", max_bytes)?)
        .map_err(|error| Exit::Usage.with(format!("--stdin -: {error}; it has to be UTF-8")))
}

fn input_file(argument: &str, max_bytes: usize) -> Result<InputFile, Failure> {
    let (path, name) = match argument.rsplit_once('=') {
        // A file whose own name has an equals sign in it is meant as it is.
        Some((path, name)) if !Path::new(argument).exists() => (PathBuf::from(path), name.into()),
        _ => (PathBuf::from(argument), file_name(Path::new(argument))?),
    };
    validate_file_name(&name)
        .map_err(|why| Exit::Usage.with(format!("--file {argument}: {why}")))?;
    let Content { text, encoding } = Content::from_bytes(read_file(&path, max_bytes)?);
    Ok(InputFile { name, content: text, encoding })
}
