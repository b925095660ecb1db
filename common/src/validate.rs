//! What the types of a job can't hold: counts, names and ranges.

use std::collections::BTreeSet;

use crate::{
    Job, LimitName, PROTOCOL_VERSION, PrintableText, header::unsupported_version, metadata,
};

/// How many input files a job may have.
pub const MAX_FILES: usize = 256;
const MAX_ARGS: usize = 256;
const MAX_ENV: usize = 256;
/// Arguments and environment together: the kernel's limit for one of them, and small enough for
/// one frame to the agent even when every byte is escaped.
const MAX_PROCESS_BYTES: usize = 128 << 10;
const MAX_GLOBS: usize = 64;
const MAX_PATH_BYTES: usize = 1024;
const MAX_COMPONENT_BYTES: usize = 255;
const MAX_LANGUAGE_BYTES: usize = 32;
const MAX_TENANT_BYTES: usize = 64;
const MAX_KEY_BYTES: usize = 256;
/// A hundred years: beyond it a duration is a mistake, and sums can't overflow.
const MAX_DURATION_MS: u64 = 100 * 365 * 86_400_000;

impl Job {
    /// Checks what the types can't: counts, names, ranges. The message names the field.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn validate(&self) -> Result<(), PrintableText> {
        self.check().map_err(PrintableText::from)
    }

    fn check(&self) -> Result<(), String> {
        if self.version != PROTOCOL_VERSION {
            return Err(unsupported_version(&self.version.to_string()));
        }
        if let Some(tenant) = &self.tenant {
            validate_tenant(tenant).map_err(|why| format!("tenant: {why}"))?;
        }
        if self.language.is_empty() || self.language.len() > MAX_LANGUAGE_BYTES {
            return Err(format!(
                "language: {} bytes long; use 1 to {MAX_LANGUAGE_BYTES}",
                self.language.len()
            ));
        }
        if self.code.is_none() && self.entrypoint.is_none() {
            return Err("code: missing; give code, or files and an entrypoint".into());
        }
        self.validate_files()?;
        self.validate_process()?;
        for name in LimitName::ALL {
            if let Some(value) = self.limits.get(*name)
                && value < name.minimum()
            {
                return Err(format!(
                    "limits.{name}: {value} is too small; ask for at least {}",
                    name.minimum()
                ));
            }
        }
        for (field, value) in [("ttl_ms", self.ttl_ms), ("result_ttl_ms", self.result_ttl_ms)] {
            if let Some(ms) = value
                && !(1..=MAX_DURATION_MS).contains(&ms)
            {
                return Err(format!("{field}: {ms} is out of range; use 1 to {MAX_DURATION_MS}"));
            }
        }
        if let Some(key) = &self.idempotency_key
            && !(1..=MAX_KEY_BYTES).contains(&key.len())
        {
            return Err(format!(
                "idempotency_key: {} bytes long; use 1 to {MAX_KEY_BYTES}",
                key.len()
            ));
        }
        metadata::validate(&self.metadata)
    }

    fn validate_files(&self) -> Result<(), String> {
        at_most("files", self.files.len(), MAX_FILES)?;
        let mut names = BTreeSet::new();
        for (index, file) in self.files.iter().enumerate() {
            let field = format!("files[{index}]");
            validate_file_name(&file.name).map_err(|why| format!("{field}.name: {why}"))?;
            file.encoding
                .decode(&file.content)
                .map_err(|why| format!("{field}.content: not base64: {why}"))?;
            if !names.insert(file.name.as_str()) {
                return Err(format!("{field}.name: {:?} is there twice", file.name));
            }
        }
        if let Some(name) = &self.entrypoint {
            validate_file_name(name).map_err(|why| format!("entrypoint: {why}"))?;
            match (self.code.is_some(), names.contains(name.as_str())) {
                (false, false) => {
                    return Err(format!("entrypoint: no file is called {name:?}; add it to files"));
                }
                (true, true) => {
                    return Err(format!(
                        "entrypoint: {name:?} is both the code's name and a file's; rename one"
                    ));
                }
                _ => {}
            }
            names.insert(name);
        }
        for name in &names {
            let mut parents = name.match_indices('/').map(|(end, _)| &name[..end]);
            if let Some(parent) = parents.find(|parent| names.contains(parent)) {
                return Err(format!("files: {parent:?} is both a file and a directory"));
            }
        }
        Ok(())
    }

    fn validate_process(&self) -> Result<(), String> {
        self.stdin_bytes().map_err(|why| format!("stdin: not base64: {why}"))?;
        at_most("args", self.args.len(), MAX_ARGS)?;
        if let Some(index) = self.args.iter().position(|arg| arg.contains('\0')) {
            return Err(format!("args[{index}]: holds a NUL byte"));
        }
        at_most("env", self.env.len(), MAX_ENV)?;
        for (name, value) in &self.env {
            let mut chars = name.chars();
            let plain = chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
                && chars.all(|c| c.is_ascii_alphanumeric() || c == '_');
            if !plain {
                return Err(format!("env: {name:?} is no variable name; use A-Z a-z 0-9 _"));
            }
            if value.contains('\0') {
                return Err(format!("env.{name}: holds a NUL byte"));
            }
        }
        let arguments: usize = self.args.iter().map(|arg| arg.len() + 1).sum();
        let variables: usize = self.env.iter().map(|(n, v)| n.len() + v.len() + 2).sum();
        if arguments + variables >= MAX_PROCESS_BYTES {
            return Err(format!(
                "args, env: {} bytes together; the limit is {MAX_PROCESS_BYTES}; put more into \
                 files or stdin",
                arguments + variables
            ));
        }
        at_most("artifacts", self.artifacts.len(), MAX_GLOBS)?;
        for (index, glob) in self.artifacts.iter().enumerate() {
            if glob.is_empty() || glob.len() > MAX_COMPONENT_BYTES || glob.contains('\0') {
                return Err(format!(
                    "artifacts[{index}]: not a glob of 1 to {MAX_COMPONENT_BYTES} bytes"
                ));
            }
        }
        Ok(())
    }
}

/// Checks a tenant's name.
///
/// # Errors
/// What is wrong with it.
pub fn validate_tenant(tenant: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if (1..=MAX_TENANT_BYTES).contains(&tenant.len()) && tenant.chars().all(plain) {
        return Ok(());
    }
    let shown: String = tenant.chars().take(MAX_TENANT_BYTES).collect();
    Err(format!("{shown:?} is no name; use 1 to {MAX_TENANT_BYTES} characters of A-Z a-z 0-9 _ -"))
}

fn at_most(field: &str, count: usize, limit: usize) -> Result<(), String> {
    if count > limit {
        return Err(format!("{field}: {count} entries; the limit is {limit}"));
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
    fn arguments_that_no_process_can_take_are_refused() {
        let mut job = Job::new("python", "");
        job.env.insert("A".into(), "x".repeat(MAX_PROCESS_BYTES));
        assert!(job.validate().expect_err("too long").contains("args, env"));
        job.env.clear();
        job.args.push("x".repeat(MAX_PROCESS_BYTES / 2));
        assert_eq!(job.validate(), Ok(()));
    }

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
