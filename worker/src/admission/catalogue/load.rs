//! Where languages come from: files that are built in, and those of an operator's directory, a language each.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::language::Language;
use crate::images::definition::is_name;

macro_rules! built_in {
    ($($name:literal)+) => {
        [$(($name, include_str!(concat!("../../../../deploy/languages/", $name, ".toml")))),+]
    };
}

/// The languages that are built in, by the names of their files.
pub(super) const BUILT_IN: [(&str, &str); 16] = built_in! {
    "bash" "c" "cpp" "go" "java" "javascript" "lua" "perl" "php" "python" "python-data" "r" "ruby" "rust" "sqlite"
    "typescript"
};

/// The longest name of a language.
const MAX_NAME: usize = 64;

/// What is wrong with a file, or with what several of them say.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file or directory.
    pub path: PathBuf,
    /// The line, if it is one line's.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
}

/// The languages that are built in.
pub(super) fn built_in() -> BTreeMap<String, Language> {
    let read = |(name, text): (&str, &str)| {
        (name.to_owned(), toml::from_str(text).expect("a built-in language is valid"))
    };
    BUILT_IN.into_iter().map(read).collect()
}

/// Those and the languages of `directory`, and what is wrong with its files.
pub(super) fn with_directory(directory: &Path) -> (BTreeMap<String, Language>, Vec<Fault>) {
    let (mut languages, mut faults) = (built_in(), Vec::new());
    match files(directory) {
        Ok(files) => {
            for path in files {
                match read(&path) {
                    Ok((name, language)) => drop(languages.insert(name, language)),
                    Err(fault) => faults.push(fault),
                }
            }
        }
        Err(problem) => faults.push(of(directory, problem)),
    }
    (languages, faults)
}

/// The files of `directory` that are languages, by their names.
fn files(directory: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |error| format!("cannot be read: {error}");
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|ending| ending == "toml") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn of(path: &Path, problem: impl Into<String>) -> Fault {
    Fault { path: path.to_owned(), line: None, problem: problem.into() }
}

fn read(path: &Path) -> Result<(String, Language), Fault> {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let is_plain = |letter: char| {
        letter.is_ascii_lowercase() || letter.is_ascii_digit() || "+-_.#".contains(letter)
    };
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
        let problem =
            format!("{name:?} is no name of a language: 1 to {MAX_NAME} of a-z 0-9 + - _ . #");
        return Err(of(path, problem));
    }
    let text =
        fs::read_to_string(path).map_err(|error| of(path, format!("cannot be read: {error}")))?;
    let language: Language = toml::from_str(&text).map_err(|error| {
        let line = error.span().map(|span| text[..span.start].matches('\n').count() + 1);
        Fault { path: path.to_owned(), line, problem: error.message().to_owned() }
    })?;
    language.check().map_err(|problem| of(path, problem))?;
    Ok((name.to_owned(), language))
}

impl Language {
    /// What a type can't say.
    fn check(&self) -> Result<(), String> {
        if !is_name(&self.image) {
            return Err(format!("image: {:?} is no name of an image: a-z 0-9 -", self.image));
        }
        let is_absolute =
            |command: &[String]| command.first().is_some_and(|it| it.starts_with('/'));
        if !is_absolute(&self.command) {
            return Err("command: begins with the absolute path of a program: nothing is looked up by a job's PATH".into());
        }
        if !self.warm.is_empty() && (self.depends_on_bounds() || self.warm_like.is_some()) {
            return Err("warm: starts before there is a job: no {memory_bytes}, no {cpus}, no warm_like beside it".into());
        }
        let Some(compile) = &self.compile else {
            return if self.command.iter().any(|part| part == "{file}") {
                Ok(())
            } else {
                Err("command: needs \"{file}\", where the program's file goes".into())
            };
        };
        if !is_absolute(&compile.command) {
            return Err("compile.command: begins with the absolute path of a program".into());
        }
        if !compile.command.iter().any(|part| part == "{file}") {
            return Err("compile.command: needs \"{file}\", where the program's file goes".into());
        }
        if compile.made.is_empty() {
            return Err("compile.made: names the files that the compiler makes".into());
        }
        Ok(())
    }
}
