//! What a message says that no worker settled, without its code, input and output.

use jiff::Timestamp;
use sandfleet_common::{
    DecodeError, Job, JobId, PrintableText, decode_job, json_fault, names, payload_digest,
};
use sandfleet_transport::Kept;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{outcome::unreadable, queue::KeptMessage};

/// How much of the digest of a message's payload names it.
const KEY_DIGITS: usize = 12;

/// A message in the words of a list.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    /// Names it: messages of the same payload have the same.
    pub(super) key: String,
    /// Where it is.
    #[serde(rename = "in")]
    pub(super) kept: &'static str,
    pub(super) job_id: Option<JobId>,
    /// Why it is there, in a word.
    pub(super) cause: PrintableText,
    /// Why it is there, as it was said.
    pub(super) reason: PrintableText,
    /// The queue that it was in before.
    pub(super) queue: PrintableText,
    /// Since when it is there.
    pub(super) since: Option<Timestamp>,
    pub(super) tenant: Option<PrintableText>,
    pub(super) language: Option<PrintableText>,
    /// When its job was submitted, as it says.
    pub(super) queued_at: Option<Timestamp>,
    pub(super) bytes: usize,
    /// How often it was returned to where it is.
    pub(super) returns: u32,
    /// The id of the message, which need not be that of the job.
    pub(super) message_id: Option<PrintableText>,
    /// The broker's user that published it, if the broker vouches for it.
    pub(super) published_by: Option<PrintableText>,
}

/// The job of a message.
pub(super) struct Payload {
    /// The job, or what is wrong with it.
    pub(super) job: Result<Box<Job>, PrintableText>,
    pub(super) job_id: Option<JobId>,
    /// The digest that the store compares.
    pub(super) digest: String,
}

/// What is listed of a job that can't be decoded.
#[derive(Default, Deserialize)]
struct Loose {
    #[serde(default)]
    tenant: Value,
    #[serde(default)]
    language: Value,
}

impl Payload {
    pub(super) fn of(body: &[u8], max_bytes: usize) -> Self {
        match decode_job(body, max_bytes) {
            Ok(job) => Self {
                job_id: Some(job.job_id.clone()),
                job: Ok(Box::new(job)),
                digest: payload_digest(body),
            },
            Err(DecodeError { job_id, message, payload, .. }) => {
                Self { job: Err(message), job_id, digest: payload }
            }
        }
    }

    /// The queue that a producer puts such a job into; of a tenant's two the first.
    pub(super) fn queue(&self, prefix: &str) -> Option<String> {
        let Job { isolation, priority, tenant, .. } = self.job.as_ref().ok()?.as_ref();
        Some(match tenant {
            None => names::job_queue(prefix, *isolation, *priority),
            Some(tenant) => {
                let [shard, _] = names::tenant_shards(tenant);
                names::shard_queue(prefix, *isolation, *priority, shard)
            }
        })
    }
}

impl Summary {
    pub(super) fn of(message: &KeptMessage, payload: &Payload) -> Self {
        let loose: Loose = match &payload.job {
            Ok(job) => Loose {
                tenant: job.tenant.clone().map_or(Value::Null, Value::from),
                language: Value::from(job.language.as_str()),
            },
            Err(_) => serde_json::from_slice(&message.body).unwrap_or_default(),
        };
        let text = |value: &Value| value.as_str().map(PrintableText::new);
        let reason = match &message.malformed {
            Some(why) => why.clone(),
            None => message.death.reason.clone(),
        };
        let cause = match message.kept {
            Kept::Dead => reason.clone(),
            Kept::Unreadable if message.malformed.is_some() => "malformed".into(),
            Kept::Unreadable => unreadable::cause(&reason, payload.job_id.is_some()).into(),
        };
        Self {
            key: payload.digest.chars().take(KEY_DIGITS).collect(),
            kept: message.kept.as_str(),
            job_id: payload.job_id.clone(),
            cause,
            reason,
            queue: message.death.queue.clone(),
            since: message.since,
            tenant: text(&loose.tenant),
            language: text(&loose.language),
            queued_at: payload.job.as_ref().ok().and_then(|job| job.queued_at),
            bytes: message.body.len(),
            returns: message.returns,
            message_id: message.message_id.as_ref().map(PrintableText::new),
            published_by: message.published_by.as_ref().map(PrintableText::new),
        }
    }

    /// What it is called in a sentence, and in the audit.
    pub(super) fn name(&self) -> String {
        match &self.job_id {
            Some(job) => format!("{} (job {job})", self.key),
            None => format!("{} (no job)", self.key),
        }
    }

    /// The subject of an event: its job, or else its key.
    pub(super) fn subject(&self) -> String {
        self.job_id.as_ref().map_or_else(|| format!("message {}", self.key), ToString::to_string)
    }
}

/// What `show` tells of a job, as JSON: everything but what its producer put in.
pub(super) fn outline(payload: &Payload) -> Value {
    let job = match &payload.job {
        Ok(job) => job,
        Err(why) => return serde_json::json!({ "no_valid_job": why }),
    };
    let mut shown = match serde_json::to_value(job) {
        Ok(shown) => shown,
        Err(error) => return serde_json::json!({ "no_valid_job": json_fault(&error) }),
    };
    let bytes = |text: &Option<String>| text.as_ref().map(String::len);
    let files: Vec<_> = job
        .files
        .iter()
        .map(|file| serde_json::json!({ "name": file.name, "bytes": file.content.len() }))
        .collect();
    let names: Vec<_> = job.env.keys().collect();
    shown["code_bytes"] = bytes(&job.code).into();
    shown["stdin_bytes"] = bytes(&job.stdin).into();
    shown["files"] = files.into();
    shown["args_count"] = job.args.len().into();
    shown["env_names"] = serde_json::json!(names);
    shown["metadata_count"] = job.metadata.len().into();
    for hidden in ["code", "stdin", "args", "env", "metadata"] {
        if let Some(object) = shown.as_object_mut() {
            object.remove(hidden);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outline_holds_nothing_that_the_producer_put_in() {
        let job = serde_json::json!({
            "version": 1, "job_id": "a", "language": "python", "code": "SECRET", "stdin": "SECRET",
            "args": ["SECRET"], "env": { "NAME": "SECRET" }, "metadata": { "k": "SECRET" },
            "files": [{ "name": "f.txt", "content": "SECRET" }], "limits": { "wall_time_ms": 5 },
        });
        let payload = Payload::of(job.to_string().as_bytes(), 10_000);
        let shown = outline(&payload);
        assert!(!shown.to_string().contains("SECRET"), "{shown}");
        assert_eq!(shown["files"], serde_json::json!([{ "name": "f.txt", "bytes": 6 }]));
        assert_eq!((&shown["code_bytes"], &shown["args_count"]), (&6.into(), &1.into()));
        assert_eq!(
            (&shown["env_names"], &shown["limits"]["wall_time_ms"]),
            (&serde_json::json!(["NAME"]), &5.into())
        );
        let broken = Payload::of(br#"{"job_id":"a","code":"SECRET","language":7}"#, 10_000);
        assert!(outline(&broken)["no_valid_job"].is_string());
    }
}
