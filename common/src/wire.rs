//! From bytes to a valid job, and the reason when there is none.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::{
    Job, JobId, LimitName, Needs, Outline, PROTOCOL_VERSION, PrintableText,
    digest::{bytes_digest, canonical_message, payload_digest},
    header::{other_version, readable_id},
    metadata,
};

const MAX_FILES: usize = 256;
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

/// Bytes that are no valid job.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DecodeError {
    /// The job's id, if it could be read: the result goes there.
    pub job_id: Option<JobId>,
    /// Which field is wrong, and how.
    pub message: PrintableText,
    /// Which job the message can speak for: the digest of its payload if that is at fault, as it then is
    /// in every message with this payload. If only the spelling of this message is, the digest of its
    /// bytes, so that it never speaks for a valid job with the same payload.
    pub payload: String,
    /// What a worker has to offer that may take the job all the same: one that is newer or takes longer
    /// jobs. Nothing if none can.
    pub elsewhere: Option<Needs>,
}

/// How serde begins what it says about a name that isn't known: a newer protocol's perhaps.
const UNKNOWN: [&str; 2] = ["unknown field `", "unknown variant `"];

/// Reads one job of at most `max_bytes` bytes and checks every field.
///
/// # Errors
/// [`DecodeError`] with the id if one can be read, and a message that names the field.
pub fn decode_job(bytes: &[u8], max_bytes: usize) -> Result<Job, DecodeError> {
    read_job(bytes, max_bytes).map_err(|fault| {
        // Read once more, as any client may have spelt this payload. What is said of that is said of
        // the job; what is only said of these bytes must not be.
        let spelt_well = canonical_message(bytes).map(|text| read_job(&text, max_bytes));
        let (Fault { message, elsewhere }, payload) = match spelt_well {
            Some(Err(of_payload)) => (of_payload, payload_digest(bytes)),
            Some(Ok(_)) | None => (fault, bytes_digest(bytes)),
        };
        DecodeError { job_id: readable_id(bytes), message, payload, elsewhere }
    })
}

/// Why bytes are no valid job.
struct Fault {
    message: PrintableText,
    elsewhere: Option<Needs>,
}

fn read_job(bytes: &[u8], max_bytes: usize) -> Result<Job, Fault> {
    let refuse =
        |message: String, elsewhere: Option<Needs>| Fault { message: message.into(), elsewhere };
    if bytes.len() > max_bytes {
        let message =
            format!("job is {} bytes long; the limit is {max_bytes} (max_job_bytes)", bytes.len());
        return Err(refuse(message, Outline::of(bytes).needs()));
    }
    // Of a later version of the protocol: nothing for one that was never there.
    let of_a_later_version =
        || Outline::of(bytes).needs().filter(|needs| needs.protocol.0 > PROTOCOL_VERSION);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let job: Job = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        if let Some(message) = other_version(bytes) {
            return refuse(message, of_a_later_version());
        }
        let why = error.inner().to_string();
        let is_unknown = UNKNOWN.iter().any(|unknown| why.starts_with(unknown));
        let newer = || Outline::of(bytes).needs().map(Needs::of_a_newer_protocol);
        let message = match error.path().to_string() {
            root if root == "." => why,
            path => format!("{path}: {why}"),
        };
        refuse(message, if is_unknown { newer() } else { None })
    })?;
    json.end().map_err(|error| refuse(format!("after the job: {error}"), None))?;
    job.validate().map_err(|message| Fault { message, elsewhere: of_a_later_version() })?;
    Ok(job)
}

/// The JSON of a job or a result.
///
/// # Panics
/// Never for this crate's types: their maps have string keys and their numbers are finite.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("protocol types always serialise")
}

pub(crate) fn unsupported_version(version: &str) -> String {
    let shown: String = version.chars().take(40).collect();
    format!("version: {shown} is not supported; use the number {PROTOCOL_VERSION}")
}

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

fn validate_tenant(tenant: &str) -> Result<(), String> {
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
    use crate::InputFile;

    const MAX: usize = 1 << 20;

    fn decode(text: &str) -> Result<Job, DecodeError> {
        decode_job(text.as_bytes(), MAX)
    }

    #[test]
    fn a_job_survives_the_wire() {
        let mut job = Job::new("python", "print(1)");
        job.files.push(InputFile {
            name: "data/in.csv".into(),
            content: "a,b".into(),
            encoding: Default::default(),
        });
        job.limits.wall_time_ms = Some(5);
        assert_eq!(decode_job(&encode(&job), MAX), Ok(job));
    }

    #[test]
    fn a_refusal_names_the_field_and_keeps_the_id() {
        let cases = [
            (
                r#"{"version":1,"job_id":"x","language":"python","code":"","callback_url":1}"#,
                "callback_url",
            ),
            (r#"{"version":1,"job_id":"x","language":["python"],"code":""}"#, "language"),
            (r#"{"version":1,"job_id":"x","language":"python"}"#, "code"),
            (r#"{"version":2,"job_id":"x","language":"python","more":1}"#, "version: 2"),
            (r#"{"version":"1","job_id":"x","language":"python","code":""}"#, "version"),
            (
                r#"{"version":1,"job_id":"x","language":"python","code":"","limits":{"wall_time_ms":-1}}"#,
                "limits.wall_time_ms",
            ),
            (
                r#"{"version":1,"job_id":"x","language":"python","code":"","limits":{"memory_bytes":0}}"#,
                "limits.memory_bytes",
            ),
            (r#"{"version":1,"job_id":"x","language":"python","code":"\ud800"}"#, "code"),
            (
                r#"{"version":1,"job_id":"x","tenant":"a b","language":"python","code":""}"#,
                "tenant",
            ),
            (r#"{"version":1,"job_id":"x","tenant":"","language":"python","code":""}"#, "tenant"),
            (
                r#"{"version":1,"job_id":"x","language":"python","code":"","idempotency_key":""}"#,
                "idempotency_key",
            ),
            (
                r#"{"version":1,"job_id":"x","language":"python","code":"","files":[{"name":"../x","content":""}]}"#,
                "files[0].name",
            ),
            (
                r#"{"version":1,"job_id":"x","language":"python","code":"","env":{"A=B":"c"}}"#,
                "A=B",
            ),
            (
                r#"{"version":1,"job_id":"x","language":"python","code":"","files":[{"name":"a","content":""},{"name":"a/b","content":""}]}"#,
                "both a file and a directory",
            ),
            (
                r#"{"version":1,"job_id":"x","language":"python","code":"","entrypoint":"m.py","files":[{"name":"m.py","content":""}]}"#,
                "entrypoint",
            ),
            (
                r#"{"version":1,"job_id":"x","language":"python","code":"","files":[{"name":"a","content":"!!","encoding":"base64"}]}"#,
                "files[0].content",
            ),
        ];
        for (text, part) in cases {
            let error = decode(text).expect_err(text);
            assert!(error.message.contains(part), "{:?} doesn't name {part:?}", error.message);
            assert_eq!(error.job_id.as_ref().map(JobId::as_str), Some("x"), "{text}");
        }
    }

    #[test]
    fn what_a_refusal_quotes_is_printable_and_bounded() {
        let hostile = format!("\u{1b}[2J\n\u{202e}{}", "x".repeat(7 << 20));
        let quoted = |change: &str| {
            let hostile = serde_json::to_string(&hostile).expect("a string");
            format!(
                r#"{{"version":1,"job_id":"x","language":"python","code":"",{}}}"#,
                change.replace('$', &hostile)
            )
        };
        for change in [
            "$:1",
            r#""priority":$"#,
            r#""metadata":{$:{$:nothing}}"#,
            r#""env":{$:"a"}"#,
            r#""entrypoint":$"#,
            r#""tenant":$"#,
            r#""limits":{$:1}"#,
        ] {
            let text = quoted(change);
            let message = decode_job(text.as_bytes(), usize::MAX).expect_err(change).message;
            assert!(message.len() <= PrintableText::MAX_BYTES, "{change}: {}", message.len());
            assert!(message.chars().all(crate::is_printable), "{change}: {message}");
        }
    }

    #[test]
    fn without_a_readable_id_there_is_none() {
        for text in ["", "null", "[1]", "{", r#"{"job_id":"a/b"}"#, r#"{"job_id":1}"#] {
            assert_eq!(decode(text).expect_err(text).job_id, None, "{text}");
        }
        let trailing = r#"{"version":1,"job_id":"a","language":"python","code":""}{}"#;
        assert!(decode(trailing).expect_err("trailing data").message.contains("after the job"));
    }

    #[test]
    fn a_long_job_is_refused_with_its_id() {
        let job = Job::new("python", "x".repeat(100));
        let error = decode_job(&encode(&job), 50).expect_err("too long");
        let needs = error.elsewhere.as_ref().expect("another worker may take it");
        assert_eq!((needs.bytes, needs.language.as_str()), (encode(&job).len(), "python"));
        assert!(error.message.contains("max_job_bytes"));
        assert_eq!(error.job_id, Some(job.job_id));
    }

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
