//! Where a job is.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use sandfleet_common::{
    Isolation, JobId, JobResult, JobState, Owner, PrintableText, Priority, QueuedJob, RunningJob,
    Status,
};
use serde_json::Value;

use super::JobRecords;
use crate::Error;

/// The fields of a record that are read, in this order.
const FIELDS: [&str; 11] = [
    "ended",
    "queued_at",
    "attempts",
    "language",
    "isolation",
    "priority",
    "queue",
    "started_at",
    "cancelled_by",
    "metadata",
    "result_ttl_ms",
];

/// A job's record as it was read.
#[derive(Default)]
pub(super) struct Record {
    pub(super) is_there: bool,
    ended: Option<Status>,
    pub(super) queued: QueuedJob,
    started_at: Option<Timestamp>,
    cancelled: bool,
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) result_ttl: Option<Duration>,
}

impl JobRecords {
    /// What is known about a job at this moment.
    ///
    /// # Errors
    /// [`Error::Store`], and [`Error::UnreadableResult`] if a newer fleet wrote it.
    pub async fn state(&self, id: &JobId) -> Result<JobState, Error> {
        self.get_state(id).await.map(|(state, _)| state)
    }

    pub(super) async fn get_state(&self, id: &JobId) -> Result<(JobState, Record), Error> {
        let keys = self.keys(id);
        // One script, so that a job can't end between two looks and be in neither. No transaction:
        // a server without memory refuses those, even to read.
        let mut script = self.get_state.prepare_invoke();
        script.key(keys.result).key(keys.lease).key(keys.record).arg(&FIELDS[..]);
        type Seen = (Option<Vec<u8>>, Option<String>, Vec<Option<String>>);
        let (result, lease, fields): Seen =
            self.invoke(|| format!("read job {id}"), &script).await?;
        let record = Record::of(&fields);
        let state = match (result, record.ended, lease) {
            (Some(json), ..) => {
                let result = serde_json::from_slice::<JobResult>(&json).map_err(|error| {
                    Error::UnreadableResult {
                        job_id: id.clone(),
                        reason: PrintableText::new(error),
                    }
                })?;
                JobState::Done(Box::new(result))
            }
            (None, Some(status), _) => JobState::ResultExpired(status),
            (None, None, Some(owner)) => JobState::Running(RunningJob {
                worker_id: Owner::parse(&owner).worker_id,
                attempt: record.queued.attempts,
                started_at: record.started_at,
                cancelled: record.cancelled,
            }),
            (None, None, None) if record.is_there => JobState::Queued(record.queued.clone()),
            (None, None, None) => JobState::Unknown,
        };
        Ok((state, record))
    }
}

impl Record {
    fn of(fields: &[Option<String>]) -> Self {
        let field = |name: &str| {
            let index = FIELDS.iter().position(|field| *field == name)?;
            fields.get(index)?.as_deref()
        };
        let time = |name| Timestamp::from_millisecond(field(name)?.parse().ok()?).ok();
        let named = |name, all: &[&'static str]| {
            let text = field(name)?;
            all.iter().position(|known| *known == text)
        };
        let isolations: Vec<_> = Isolation::ALL.iter().map(|it| it.as_str()).collect();
        let priorities: Vec<_> = Priority::ALL.iter().map(|it| it.as_str()).collect();
        let statuses: Vec<_> = Status::ALL.iter().map(|it| it.as_str()).collect();
        Self {
            is_there: fields.iter().any(Option::is_some),
            ended: named("ended", &statuses).map(|at| Status::ALL[at]),
            queued: QueuedJob {
                queued_at: time("queued_at"),
                attempts: field("attempts").and_then(|text| text.parse().ok()).unwrap_or(0),
                language: field("language").map(str::to_owned),
                isolation: named("isolation", &isolations).map(|at| Isolation::ALL[at]),
                priority: named("priority", &priorities).map(|at| Priority::ALL[at]),
                // The broker knows no longer name.
                queue: field("queue").filter(|name| name.len() <= 255).map(str::to_owned),
            },
            started_at: time("started_at"),
            cancelled: field("cancelled_by").is_some(),
            metadata: field("metadata")
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
            result_ttl: field("result_ttl_ms")
                .and_then(|text| text.parse().ok())
                .map(Duration::from_millis),
        }
    }
}
