//! What the exporter shows: the last report of the fleet, and nothing of those before it.

use std::sync::{Mutex, PoisonError, RwLock};

use prometheus::{IntCounterVec, Registry, TextEncoder, process_collector::ProcessCollector};

use super::fleet_table::Handles;
use crate::labels::Service;

/// What was seen of a queue.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueReport {
    /// Its name.
    pub queue: String,
    /// `jobs`, `tenant_jobs`, `dead`, `later` or `unreadable`.
    pub kind: &'static str,
    /// How many messages wait in it.
    pub messages: u32,
    /// How many consumers it has.
    pub consumers: u32,
    /// For how long the oldest has waited, at most; of queues of jobs only.
    pub oldest_age_seconds: Option<f64>,
    /// How many ready workers take jobs from it; of queues of jobs only, and if the store tells.
    pub workers: Option<usize>,
}

/// What was seen of the fleet. What is not known is absent, and not 0.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FleetReport {
    /// The queues, if the broker answers.
    pub queues: Option<Vec<QueueReport>>,
    /// Whether the broker takes messages, if it says.
    pub broker_blocked: Option<bool>,
    /// What the broker calls itself.
    pub broker_version: Option<String>,
    /// The live workers, if the store answers.
    pub workers: Option<WorkersReport>,
    /// The fields of the store's INFO, if it answers.
    pub store: Option<StoreReport>,
    /// What the store calls itself.
    pub store_version: Option<String>,
}

/// What the live workers say of themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkersReport {
    /// How many there are in each state.
    pub states: Vec<(&'static str, usize)>,
    /// The slots of those that are ready.
    pub slots: usize,
    /// How many of these have a job.
    pub busy: usize,
}

/// What the store says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// `used_memory`.
    pub memory_bytes: Option<i64>,
    /// `maxmemory`.
    pub memory_max_bytes: Option<i64>,
    /// `evicted_keys`.
    pub evicted_keys: Option<u64>,
    /// `aof_enabled`.
    pub is_append_only: Option<bool>,
    /// The status of the last snapshot and of the last write of the log.
    pub is_persistence_ok: Option<bool>,
    /// `connected_slaves`.
    pub replicas: Option<i64>,
    /// `master_repl_offset` less the smallest offset of a replica.
    pub replication_lag_bytes: Option<i64>,
}

/// The metrics of the exporter.
pub struct FleetMetrics {
    process: Registry,
    /// Of the last report.
    last: RwLock<Registry>,
    counts: Mutex<Counts>,
}

/// What is counted from report to report.
#[derive(Default)]
struct Counts {
    polls: u64,
    /// Failures and the time of the last answer, of the broker and the store.
    services: [(u64, i64); 2],
}

const SERVICES: [Service; 2] = [Service::Broker, Service::Store];

impl FleetMetrics {
    /// Metrics that show no report yet.
    ///
    /// # Errors
    /// If a metric is declared wrongly; the tests would have found it.
    pub fn new() -> prometheus::Result<Self> {
        let process = Registry::new();
        process.register(Box::new(ProcessCollector::for_self()))?;
        Ok(Self { process, last: RwLock::default(), counts: Mutex::default() })
    }

    /// Shows `report`, which was taken at `now`, a Unix time, and nothing that was seen before.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn show(&self, report: &FleetReport, now: i64) -> prometheus::Result<()> {
        let registry = Registry::new();
        let handles = Handles::register(&registry)?;
        self.count(&handles, [report.queues.is_some(), report.store.is_some()], now);
        for queue in report.queues.iter().flatten() {
            show_queue(&handles, queue);
        }
        if let Some(is_blocked) = report.broker_blocked {
            handles.broker_blocked.with_label_values::<&str>(&[]).set(is_blocked.into());
        }
        if let Some(WorkersReport { states, slots, busy }) = &report.workers {
            for (state, count) in states {
                handles.workers.with_label_values(&[*state]).set(int(*count));
            }
            handles.slots.with_label_values::<&str>(&[]).set(int(*slots));
            handles.slots_busy.with_label_values::<&str>(&[]).set(int(*busy));
        }
        if let Some(store) = &report.store {
            show_store(&handles, store);
        }
        let unknown = || "unknown".to_owned();
        let broker = report.broker_version.clone().unwrap_or_else(unknown);
        let store = report.store_version.clone().unwrap_or_else(unknown);
        let labels = [env!("CARGO_PKG_VERSION"), &broker, &store];
        handles.build_info.with_label_values(&labels).set(1);
        *self.last.write().unwrap_or_else(PoisonError::into_inner) = registry;
        Ok(())
    }

    fn count(&self, handles: &Handles, answered: [bool; 2], now: i64) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.polls += 1;
        handles.polls.with_label_values::<&str>(&[]).inc_by(counts.polls);
        for ((service, is_up), count) in SERVICES.iter().zip(answered).zip(&mut counts.services) {
            let label = [service.as_str()];
            match is_up {
                true => count.1 = now,
                false => count.0 += 1,
            }
            handles.up.with_label_values(&label).set(is_up.into());
            handles.answered_at.with_label_values(&label).set(count.1);
            handles.poll_errors.with_label_values(&label).inc_by(count.0);
        }
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// If a metric can't be written as text.
    pub fn render(&self) -> prometheus::Result<String> {
        let mut families = self.process.gather();
        families.extend(self.last.read().unwrap_or_else(PoisonError::into_inner).gather());
        TextEncoder::new().encode_to_string(&families)
    }
}

fn show_queue(handles: &Handles, report: &QueueReport) {
    let labels = [report.queue.as_str(), report.kind];
    handles.messages.with_label_values(&labels).set(report.messages.into());
    handles.consumers.with_label_values(&labels).set(report.consumers.into());
    if let Some(age) = report.oldest_age_seconds {
        handles.oldest_age.with_label_values(&labels).set(age);
    }
    if let Some(workers) = report.workers {
        handles.queue_workers.with_label_values(&labels).set(int(workers));
    }
}

fn show_store(handles: &Handles, store: &StoreReport) {
    let gauges = [
        (&handles.store_memory, store.memory_bytes),
        (&handles.store_memory_max, store.memory_max_bytes),
        (&handles.store_append_only, store.is_append_only.map(i64::from)),
        (&handles.store_persistence_ok, store.is_persistence_ok.map(i64::from)),
        (&handles.store_replicas, store.replicas),
        (&handles.store_replication_lag, store.replication_lag_bytes),
    ];
    for (gauge, value) in gauges {
        if let Some(value) = value {
            gauge.with_label_values::<&str>(&[]).set(value);
        }
    }
    if let Some(evicted) = store.evicted_keys {
        let evictions: &IntCounterVec = &handles.store_evictions;
        evictions.with_label_values::<&str>(&[]).inc_by(evicted);
    }
}

fn int(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl StoreReport {
    /// What the text of the store's INFO says.
    pub fn of(info: &str) -> Self {
        let field = |name: &str| {
            let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            value.map(str::trim)
        };
        let number = |name| field(name).and_then(|text| text.parse::<i64>().ok());
        let is_ok = |name| field(name).map(|status| status == "ok");
        let snapshot = is_ok("rdb_last_bgsave_status");
        let log = is_ok("aof_last_write_status");
        // `slave0:ip=…,port=…,state=online,offset=1234,lag=0`
        let offsets = info.lines().filter(|line| line.starts_with("slave")).filter_map(|line| {
            let (_, rest) = line.split_once("offset=")?;
            rest.split(',').next()?.trim().parse::<i64>().ok()
        });
        let slowest = offsets.min();
        Self {
            memory_bytes: number("used_memory"),
            memory_max_bytes: number("maxmemory"),
            evicted_keys: field("evicted_keys").and_then(|text| text.parse().ok()),
            is_append_only: field("aof_enabled").map(|value| value == "1"),
            is_persistence_ok: snapshot
                .zip(log)
                .map(|(snapshot, log)| snapshot && log)
                .or(snapshot),
            replicas: number("connected_slaves"),
            replication_lag_bytes: number("master_repl_offset")
                .zip(slowest)
                .map(|(sent, received)| (sent - received).max(0)),
        }
    }
}
