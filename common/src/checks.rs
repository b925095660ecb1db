//! Checks of what a job, a test and an output validator have in common: programs, files, arguments, limits.
//!
//! `of` is what the field is in, with a dot at its end, or empty for the job itself.

use std::collections::{BTreeMap, BTreeSet};

use crate::{InputFile, LimitName, LimitsRequest};

/// How many input files a program may have.
pub const MAX_FILES: usize = 256;
const MAX_ARGS: usize = 256;
/// Arguments and environment together: the kernel's limit for one of them, and small enough for
/// one frame to the agent even when every byte is escaped.
pub(crate) const MAX_PROCESS_BYTES: usize = 128 << 10;
const MAX_PATH_BYTES: usize = 1024;
pub(crate) const MAX_COMPONENT_BYTES: usize = 255;
const MAX_LANGUAGE_BYTES: usize = 32;

pub(crate) fn at_most(field: &str, count: usize, limit: usize) -> Result<(), String> {
    if count > limit {
        return Err(format!("{field}: {count} entries; the limit is {limit}"));
    }
    Ok(())
}

pub(crate) fn language(of: &str, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_LANGUAGE_BYTES {
        return Err(format!(
            "{of}language: {} bytes long; use 1 to {MAX_LANGUAGE_BYTES}",
            name.len()
        ));
    }
    Ok(())
}

/// Checks the files of a program that has `code` or names its file; `others` are there besides and are checked
/// themselves.
pub(crate) fn program_files(
    of: &str,
    code: bool,
    entrypoint: Option<&str>,
    others: &[InputFile],
    files: &[InputFile],
) -> Result<(), String> {
    at_most(&format!("{of}files"), others.len() + files.len(), MAX_FILES)?;
    let mut names: BTreeSet<&str> = others.iter().map(|file| file.name.as_str()).collect();
    for (index, file) in files.iter().enumerate() {
        let field = format!("{of}files[{index}]");
        validate_file_name(&file.name).map_err(|why| format!("{field}.name: {why}"))?;
        file.encoding
            .decode(&file.content)
            .map_err(|why| format!("{field}.content: not base64: {why}"))?;
        if !names.insert(file.name.as_str()) {
            return Err(format!("{field}.name: {:?} is there twice", file.name));
        }
    }
    if let Some(name) = entrypoint {
        validate_file_name(name).map_err(|why| format!("{of}entrypoint: {why}"))?;
        match (code, names.contains(name)) {
            (false, false) => {
                return Err(format!("{of}entrypoint: no file is called {name:?}; add it to files"));
            }
            (true, true) => {
                return Err(format!(
                    "{of}entrypoint: {name:?} is both the code's name and a file's; rename one"
                ));
            }
            _ => {}
        }
        names.insert(name);
    }
    for name in &names {
        let mut parents = name.match_indices('/').map(|(end, _)| &name[..end]);
        if let Some(parent) = parents.find(|parent| names.contains(parent)) {
            return Err(format!("{of}files: {parent:?} is both a file and a directory"));
        }
    }
    Ok(())
}

pub(crate) fn arguments(field: &str, arguments: &[String]) -> Result<(), String> {
    at_most(field, arguments.len(), MAX_ARGS)?;
    if let Some(index) = arguments.iter().position(|argument| argument.contains('\0')) {
        return Err(format!("{field}[{index}]: holds a NUL byte"));
    }
    Ok(())
}

/// Checks what a process is started with; `fields` are where it comes from.
pub(crate) fn process_bytes(
    fields: &str,
    arguments: &[&[String]],
    variables: &BTreeMap<String, String>,
) -> Result<(), String> {
    let arguments: usize = arguments.iter().copied().flatten().map(|arg| arg.len() + 1).sum();
    let variables: usize = variables.iter().map(|(n, v)| n.len() + v.len() + 2).sum();
    if arguments + variables >= MAX_PROCESS_BYTES {
        return Err(format!(
            "{fields}: {} bytes together; the limit is {MAX_PROCESS_BYTES}; put more into \
             files or stdin",
            arguments + variables
        ));
    }
    Ok(())
}

pub(crate) fn limits(of: &str, limits: &LimitsRequest) -> Result<(), String> {
    for name in LimitName::ALL {
        if let Some(value) = limits.get(*name)
            && value < name.minimum()
        {
            return Err(format!(
                "{of}limits.{name}: {value} is too small; ask for at least {}",
                name.minimum()
            ));
        }
    }
    Ok(())
}

/// Checks that `name` is a relative path of normal components, so that it stays below the
/// directory it is put in.
///
/// # Errors
/// What is wrong with it.
pub fn validate_file_name(name: &str) -> Result<(), String> {
    let refuse = |why: &str| {
        let shown: String = name.chars().take(80).collect();
        Err(format!("{shown:?} {why}; use a relative path such as data/input.csv"))
    };
    if name.is_empty() {
        return refuse("is empty");
    }
    if name.starts_with('/') {
        return refuse("is absolute");
    }
    if name.len() > MAX_PATH_BYTES {
        return refuse("is too long");
    }
    if name.chars().any(char::is_control) {
        return refuse("holds a control character");
    }
    for component in name.split('/') {
        match component {
            "" => return refuse("has an empty component"),
            "." | ".." => return refuse("has a component of dots"),
            long if long.len() > MAX_COMPONENT_BYTES => return refuse("has a too long component"),
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_stay_below_the_working_directory() {
        for good in ["a", "a/b.csv", "~/.bashrc", "-c", "..\\x", "...", "ä"] {
            assert_eq!(validate_file_name(good), Ok(()), "{good}");
        }
        let long = "x".repeat(256);
        for bad in ["", ".", "..", "/a", "a/", "a//b", "a/../b", "a\0", "a\nb", &long] {
            assert!(validate_file_name(bad).is_err(), "{bad}");
        }
    }
}
