//! What the types of a job can't hold: counts, names and ranges.

use crate::{
    Job, PROTOCOL_VERSION, PrintableText,
    checks::{
        MAX_COMPONENT_BYTES, arguments, at_most, language, limits, process_bytes, program_files,
    },
    evaluation_checks,
    header::unsupported_version,
    metadata,
};

const MAX_ENV: usize = 256;
const MAX_GLOBS: usize = 64;
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
        language("", &self.language)?;
        if self.code.is_none() && self.entrypoint.is_none() {
            return Err("code: missing; give code, or files and an entrypoint".into());
        }
        let code = self.code.is_some();
        program_files("", code, self.entrypoint.as_deref(), &[], &self.files)?;
        self.validate_process()?;
        limits("", &self.limits)?;
        evaluation_checks::check(self)?;
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

    fn validate_process(&self) -> Result<(), String> {
        self.stdin_bytes().map_err(|why| format!("stdin: not base64: {why}"))?;
        arguments("args", &self.args)?;
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
        process_bytes("args, env", &[&self.args], &self.env)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::MAX_PROCESS_BYTES;

    #[test]
    fn arguments_that_no_process_can_take_are_refused() {
        let mut job = Job::new("python", "");
        job.env.insert("A".into(), "x".repeat(MAX_PROCESS_BYTES));
        assert!(job.validate().expect_err("too long").contains("args, env"));
        job.env.clear();
        job.args.push("x".repeat(MAX_PROCESS_BYTES / 2));
        assert_eq!(job.validate(), Ok(()));
    }
}
