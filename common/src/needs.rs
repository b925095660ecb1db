//! What a job needs of a worker, read from a message that this worker refuses: whether another live worker could
//! take it, and until when.

use jiff::Timestamp;
use serde::Deserialize;

use crate::{Isolation, PROTOCOL_MINOR, PROTOCOL_VERSION, Priority, header::Scalar};

/// What a worker has to offer to take a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Needs {
    /// The language.
    pub language: String,
    /// The weakest isolation that will do.
    pub isolation: Isolation,
    /// The priority.
    pub priority: Priority,
    /// The length of its message, in bytes.
    pub bytes: usize,
    /// The oldest protocol that may know all of its fields: version and minor version.
    pub protocol: (u32, u32),
}

/// What a message says of its time and its needs, as far as that can be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outline {
    /// When the job was handed over.
    pub queued_at: Option<Timestamp>,
    /// How long after that it may be started, in milliseconds.
    pub ttl_ms: Option<u64>,
    /// How long its result is kept, in milliseconds.
    pub result_ttl_ms: Option<u64>,
    language: Option<String>,
    isolation: Isolation,
    priority: Priority,
    version: Option<u64>,
    bytes: usize,
}

#[derive(Deserialize)]
#[serde(remote = "Self")]
pub(crate) struct Fields {
    version: Option<Scalar>,
    language: Option<Scalar>,
    isolation: Option<Scalar>,
    priority: Option<Scalar>,
    queued_at: Option<Scalar>,
    ttl_ms: Option<Scalar>,
    result_ttl_ms: Option<Scalar>,
}

impl Outline {
    /// The outline of a message, whatever it holds besides.
    pub fn of(message: &[u8]) -> Self {
        let bytes = message.len();
        let Ok(fields) = serde_json::from_slice::<Fields>(message) else {
            return Self { bytes, ..Self::default() };
        };
        let text = |field: &Option<Scalar>| Some(field.as_ref()?.0.as_str()?.to_owned());
        let number = |field: &Option<Scalar>| field.as_ref()?.0.as_u64();
        let isolation = text(&fields.isolation);
        let priority = text(&fields.priority);
        Self {
            queued_at: text(&fields.queued_at).and_then(|time| time.parse().ok()),
            ttl_ms: number(&fields.ttl_ms),
            result_ttl_ms: number(&fields.result_ttl_ms),
            language: text(&fields.language),
            // A name that only a newer protocol knows asks for no less than the weakest.
            isolation: Isolation::ALL
                .iter()
                .copied()
                .find(|it| isolation.as_deref() == Some(it.as_str()))
                .unwrap_or_default(),
            priority: Priority::ALL
                .iter()
                .copied()
                .find(|it| priority.as_deref() == Some(it.as_str()))
                .unwrap_or_default(),
            version: number(&fields.version),
            bytes,
        }
    }

    /// What a worker needs for this job, if one may exist: every job has a language.
    pub fn needs(self) -> Option<Needs> {
        let protocol = match self.version {
            Some(version) => (u32::try_from(version).ok()?, 0),
            None => (PROTOCOL_VERSION, 0),
        };
        Some(Needs {
            language: self.language?,
            isolation: self.isolation,
            priority: self.priority,
            bytes: self.bytes,
            protocol,
        })
    }
}

impl Needs {
    /// The same of a worker that knows more fields than this crate.
    #[must_use]
    pub fn of_a_newer_protocol(self) -> Self {
        let newer = (PROTOCOL_VERSION, PROTOCOL_MINOR + 1);
        Self { protocol: self.protocol.max(newer), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WorkerInfo, decode_job};

    #[test]
    fn what_a_newer_protocol_may_know_is_told_from_what_none_can() {
        let elsewhere = |member: &str| {
            let text = format!(
                r#"{{"version":1,"job_id":"x","language":"python","code":"","ttl_ms":5{member}}}"#
            );
            decode_job(text.as_bytes(), 1 << 20)
                .expect_err(member)
                .elsewhere
                .map(|needs| needs.protocol)
        };
        let newer = Some((PROTOCOL_VERSION, PROTOCOL_MINOR + 1));
        for member in [
            r#","grader":{}"#,
            r#","limits":{"gpus":1}"#,
            r#","isolation":"enclave""#,
            r#","files":[{"name":"a","content":"","mode":1}]"#,
        ] {
            assert_eq!(elsewhere(member), newer, "{member}");
        }
        for member in [
            r#","stdin":1"#,
            r#","args":["unknown field `x`",1]"#,
            r#","entrypoint":"unknown field `","files":[{"name":"../x","content":""}]"#,
            r#","language":"again""#,
        ] {
            assert_eq!(elsewhere(member), None, "{member}");
        }
        let version = |version: &str| {
            let text = format!(r#"{{"version":{version},"job_id":"x","language":"python"}}"#);
            decode_job(text.as_bytes(), 1 << 20)
                .expect_err(version)
                .elsewhere
                .map(|needs| needs.protocol)
        };
        assert_eq!([version("2"), version("0"), version("\"1\"")], [Some((2, 0)), None, None]);
        assert_eq!(
            decode_job(br#"{"job_id":"x","grader":1}"#, 1 << 20)
                .expect_err("no language")
                .elsewhere,
            None
        );
    }

    #[test]
    fn one_worker_has_to_take_all_of_a_job() {
        let worker = WorkerInfo {
            worker_id: "w".into(),
            version: "1".into(),
            backend: "native".into(),
            isolation: Isolation::Container,
            languages: vec!["python".into()],
            priorities: vec![Priority::Interactive],
            protocol_version: PROTOCOL_VERSION,
            protocol_minor: PROTOCOL_MINOR,
            max_job_bytes: 200,
            slots: 1,
            busy: 1,
            stopping: false,
            ready: true,
            started_at: Timestamp::UNIX_EPOCH,
        };
        let text = br#"{"version":1,"job_id":"x","language":"python","isolation":"container"}"#;
        let needs = Outline::of(text).needs().expect("it has a language");
        assert!(worker.takes(&needs));
        assert!(!worker.takes(&needs.clone().of_a_newer_protocol()));
        assert!(!WorkerInfo { stopping: true, ..worker.clone() }.takes(&needs));
        for other in [
            Needs { language: "bash".into(), ..needs.clone() },
            Needs { isolation: Isolation::GVisor, ..needs.clone() },
            Needs { priority: Priority::Batch, ..needs.clone() },
            Needs { bytes: 201, ..needs.clone() },
        ] {
            assert!(!worker.takes(&other), "{other:?}");
        }
        // One that is older says nothing of its protocol and its longest job.
        let mut said = serde_json::to_value(&worker).expect("JSON");
        let members = said.as_object_mut().expect("an object");
        members.retain(|name, _| {
            !["protocol_version", "protocol_minor", "max_job_bytes"].contains(&name.as_str())
        });
        let older: WorkerInfo = serde_json::from_value(said).expect("readable");
        assert_eq!((older.protocol_version, older.protocol_minor), (1, 0));
        assert!(!older.takes(&needs));
    }
}
