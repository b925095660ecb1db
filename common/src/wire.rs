//! Decoding a job, and encoding jobs and results.

use serde::Serialize;
use serde_json::error::Category;

use crate::{
    Job, JobId, Needs, Outline, PROTOCOL_VERSION, PrintableText,
    digest::{bytes_digest, canonical_message, payload_digest},
    header::{other_version, readable_id},
};

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

/// How serde's messages about an unknown name begin, which may be a newer protocol's.
const UNKNOWN: [&str; 2] = ["unknown field `", "unknown variant `"];

/// Reads one job of at most `max_bytes` bytes and checks every field.
///
/// # Errors
/// [`DecodeError`] with the id if one can be read, and a message that names the field.
pub fn decode_job(bytes: &[u8], max_bytes: usize) -> Result<Job, DecodeError> {
    read_job(bytes, max_bytes).map_err(|fault| {
        // Read once more in the canonical spelling: a fault in that is the payload's; any other is
        // only this message's.
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
            format!("job is {} bytes long; the limit is {max_bytes} (jobs.max_bytes)", bytes.len());
        return Err(refuse(message, Outline::of(bytes).needs()));
    }
    // Nothing for a version of the protocol that never existed.
    let of_a_later_version =
        || Outline::of(bytes).needs().filter(|needs| needs.protocol.0 > PROTOCOL_VERSION);
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let job: Job = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        if let Some(message) = other_version(bytes) {
            return refuse(message, of_a_later_version());
        }
        let why = json_fault(error.inner());
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

/// What is wrong with a text that should be JSON, or the value that it is, in one clause.
pub fn json_fault(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let (line, column) = (error.line(), error.column());
    let place = match line {
        0 | 1 => format!("column {column}"),
        line => format!("line {line}, column {column}"),
    };
    let what = match error.classify() {
        Category::Eof => "it ends too early",
        Category::Syntax => {
            match text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what) {
                "expected ident" => "a word that is none of true, false and null",
                "expected value" => "no value begins so",
                other => other,
            }
        }
        Category::Data | Category::Io => return text,
    };
    format!("no JSON at {place}: {what}")
}

/// The JSON of a job or a result.
///
/// # Panics
/// Never for this crate's types: their maps have string keys and their numbers are finite.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).expect("protocol types always serialise")
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
        assert!(!String::from_utf8_lossy(&encode(&job)).contains("stdin"), "older workers take it");
        assert_eq!(decode_job(&encode(&job), MAX), Ok(job.clone()));
        job.set_stdin([0xff, 0]);
        assert_eq!(job.stdin_bytes(), Ok(Some(vec![0xff, 0])));
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
            (
                r#"{"version":1,"job_id":"x","language":"python","code":"","stdin":"!!","stdin_encoding":"base64"}"#,
                "stdin: not base64",
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
        assert!(error.message.contains("jobs.max_bytes"));
        assert_eq!(error.job_id, Some(job.job_id));
    }
}
