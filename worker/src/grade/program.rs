//! Programs in packages and of people: one file, or the files of a directory.

use std::{fs, path::Path};

use sandfleet_common::InputFile;

use super::files::MAX_BYTES;
use crate::admission::catalogue::Catalogue;

/// A program to be graded.
#[derive(Debug, Clone, PartialEq)]
pub struct Submission {
    /// What reports call it.
    pub name: String,
    /// Its files.
    pub files: Vec<(String, Vec<u8>)>,
}

/// How a program is run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Program {
    pub(super) language: String,
    pub(super) code: Option<String>,
    pub(super) files: Vec<InputFile>,
    pub(super) entrypoint: Option<String>,
}

impl Submission {
    /// The file, or the directory with all files in it, at `path`.
    ///
    /// # Errors
    /// If it can't be read.
    pub fn read(path: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let own = path.file_name().and_then(|name| name.to_str());
        let own = own.ok_or_else(|| format!("{}: its name is not plain text", path.display()))?;
        let mut submission = Self { name: own.to_owned(), files: Vec::new() };
        if !path.is_dir() {
            let length = fs::metadata(path).map_err(failed)?.len();
            if length > MAX_BYTES {
                return Err(format!("{}: longer than {MAX_BYTES} bytes", path.display()));
            }
            submission.files.push((own.to_owned(), fs::read(path).map_err(failed)?));
            return Ok(submission);
        }
        let mut waiting = vec![(path.to_owned(), String::new())];
        while let Some((directory, below)) = waiting.pop() {
            for entry in fs::read_dir(&directory).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let Ok(name) = entry.file_name().into_string() else { continue };
                let kind = entry.file_type().map_err(failed)?;
                if kind.is_dir() {
                    waiting.push((entry.path(), format!("{below}{name}/")));
                } else if kind.is_file() {
                    let content = fs::read(entry.path()).map_err(failed)?;
                    submission.files.push((format!("{below}{name}"), content));
                }
            }
        }
        submission.files.sort();
        Ok(submission)
    }

    /// How it is run.
    pub(super) fn program(&self, catalogue: &Catalogue) -> Result<Program, String> {
        let name = &self.name;
        let mut languages: Vec<&str> =
            self.files.iter().filter_map(|(file, _)| catalogue.guess(file)).collect();
        languages.sort_unstable();
        languages.dedup();
        let language = match languages.as_slice() {
            [one] => *one,
            [] => return Err(format!("{name}: no file's ending says a language")),
            several => {
                return Err(format!(
                    "{name}: has files in {}; use one language",
                    several.join(", ")
                ));
            }
        };
        let (_, entry) = catalogue.find(language)?;
        let sources: Vec<&(String, Vec<u8>)> =
            self.files.iter().filter(|(file, _)| catalogue.guess(file) == Some(language)).collect();
        let is_main = |file: &str| {
            let own = file.rsplit('/').next().unwrap_or(file);
            file == entry.file
                || own == "__main__.py"
                || own.to_ascii_lowercase().starts_with("main.")
        };
        let main = match sources.as_slice() {
            [one] => one,
            several => match several.iter().find(|(file, _)| is_main(file)) {
                Some(main) if entry.compile.is_none() || language == "java" => main,
                _ => {
                    return Err(format!(
                        "{name}: has {} sources, and which is run is not said; use one",
                        several.len()
                    ));
                }
            },
        };
        // A warm interpreter runs the file of its own name.
        if let ([(_, text)], true) = (self.files.as_slice(), entry.has_warm())
            && let Ok(code) = std::str::from_utf8(text)
        {
            return Ok(Program {
                language: language.to_owned(),
                code: Some(code.to_owned()),
                files: Vec::new(),
                entrypoint: None,
            });
        }
        let files = self
            .files
            .iter()
            .map(|(name, bytes)| InputFile::from_bytes(name.as_str(), bytes.as_slice()));
        Ok(Program {
            language: language.to_owned(),
            code: None,
            files: files.collect(),
            entrypoint: Some(main.0.clone()),
        })
    }

    /// How many bytes it has.
    pub(super) fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, content)| content.len() as u64).sum()
    }
}
