//! A job's record, and the state that follows from it, the lease and the result.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use sandfleet_common::{
    Isolation, JobResult, JobState, Owner, Priority, QueuedJob, RunningJob, Status, TraceContext,
};
use serde_json::Value;

/// The fields of a record in Redis that are read, in this order.
pub(super) const FIELDS: [&str; 14] = [
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
    "tenant",
    "traceparent",
    "tracestate",
];

/// A job's record.
#[derive(Clone, Default)]
pub(super) struct Record {
    /// The digest of its payload. Only scripts compare it in Redis, so it isn't read from there.
    pub(super) payload: Option<String>,
    pub(super) ended: Option<Status>,
    pub(super) queued: QueuedJob,
    pub(super) started_at: Option<Timestamp>,
    pub(super) cancelled_by: Option<String>,
    pub(super) metadata: BTreeMap<String, Value>,
    pub(super) result_ttl: Option<Duration>,
    /// What its producer said of its trace.
    pub(super) trace: Option<TraceContext>,
}

/// The state of a job that has this result, record and lease.
pub(super) fn state_of(
    result: Option<JobResult>,
    record: Option<&Record>,
    owner: Option<&str>,
) -> JobState {
    let ended = record.and_then(|record| record.ended);
    match (result, ended, owner, record) {
        (Some(result), ..) => JobState::Done(Box::new(result)),
        (None, Some(status), ..) => JobState::ResultExpired(status),
        (None, None, Some(owner), record) => JobState::Running(RunningJob {
            worker_id: Owner::parse(owner).worker_id,
            attempt: record.map_or(0, |record| record.queued.attempts),
            started_at: record.and_then(|record| record.started_at),
            cancelled: record.is_some_and(|record| record.cancelled_by.is_some()),
        }),
        (None, None, None, Some(record)) => JobState::Queued(record.queued.clone()),
        (None, None, None, None) => JobState::Unknown,
    }
}

impl Record {
    /// The record with these [`FIELDS`]; nothing if there is none of them.
    pub(super) fn of(fields: &[Option<String>]) -> Option<Self> {
        fields.iter().any(Option::is_some).then(|| Self::read(fields))
    }

    fn read(fields: &[Option<String>]) -> Self {
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
        let trace = field("traceparent").and_then(|parent| read_trace(parent, field("tracestate")));
        Self {
            payload: None,
            ended: named("ended", &statuses).map(|at| Status::ALL[at]),
            queued: QueuedJob {
                queued_at: time("queued_at"),
                attempts: field("attempts").and_then(|text| text.parse().ok()).unwrap_or(0),
                language: field("language").map(str::to_owned),
                isolation: named("isolation", &isolations).map(|at| Isolation::ALL[at]),
                priority: named("priority", &priorities).map(|at| Priority::ALL[at]),
                // No queue of RabbitMQ has a longer name.
                queue: field("queue").filter(|name| name.len() <= 255).map(str::to_owned),
                tenant: field("tenant").map(str::to_owned),
                trace_id: trace.as_ref().map(|trace| trace.trace_id),
            },
            started_at: time("started_at"),
            cancelled_by: field("cancelled_by").map(str::to_owned),
            metadata: field("metadata")
                .and_then(|text| serde_json::from_str(text).ok())
                .unwrap_or_default(),
            result_ttl: field("result_ttl_ms")
                .and_then(|text| text.parse().ok())
                .map(Duration::from_millis),
            trace,
        }
    }

    /// Whether it is the record of another job than that with this payload.
    pub(super) fn is_not(&self, payload: &str) -> bool {
        self.payload.as_deref().is_some_and(|known| known != payload)
    }
}

/// The trace that these texts of a record name. Producers write it: what is malformed is no trace.
pub(super) fn read_trace(traceparent: &str, tracestate: Option<&str>) -> Option<TraceContext> {
    TraceContext::read(traceparent, tracestate).ok().map(|(trace, _)| trace)
}
