//! Every metric of `sandfleet exporter`, declared once: what no worker can tell, or what would be counted as often as
//! there are workers.

use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Registry};

use super::declaration::{Declaration, Metric, metrics, only, register};

metrics! {
    /// Messages that wait in a queue. Kinds of queues: `jobs`, `tenant_jobs`, `dead`, `later`, `unreadable`.
    messages: IntGaugeVec = "sandfleet_fleet_queue_messages", labels ["queue", "kind"];
    /// Consumers of a queue, as the broker counts them.
    consumers: IntGaugeVec = "sandfleet_fleet_queue_consumers", labels ["queue", "kind"];
    /// At most how long the oldest job of a queue has waited: since the submission of the last job that was taken from it, or since it was seen empty. 0 while it is empty.
    oldest_age: GaugeVec = "sandfleet_fleet_queue_oldest_age_seconds", labels ["queue", "kind"];
    /// Ready workers that take jobs from a queue.
    queue_workers: IntGaugeVec = "sandfleet_fleet_queue_workers", labels ["queue", "kind"];
    /// Live workers, by state.
    workers: IntGaugeVec = "sandfleet_fleet_workers", labels ["state"];
    /// Slots of ready workers.
    slots: IntGaugeVec = "sandfleet_fleet_slots";
    /// Slots of ready workers with a job in them, by their heartbeats.
    slots_busy: IntGaugeVec = "sandfleet_fleet_slots_busy";
    /// 1 if the service answered at the last poll, 0 if not. While it doesn't, the metrics that follow from it are absent.
    up: IntGaugeVec = "sandfleet_fleet_service_up", labels ["service"];
    /// When the service last answered, as a Unix time; 0 before the first answer.
    answered_at: IntGaugeVec = "sandfleet_fleet_service_answered_timestamp_seconds", labels ["service"];
    /// Polls of a service that failed.
    poll_errors: IntCounterVec = "sandfleet_fleet_poll_errors_total", labels ["service"];
    /// Polls of the broker and the store.
    polls: IntCounterVec = "sandfleet_fleet_polls_total";
    /// 1 while the broker takes no messages, since it has too little memory or disk. Absent if the exporter's user may not publish to the default exchange.
    broker_blocked: IntGaugeVec = "sandfleet_fleet_broker_blocked";
    /// Bytes of memory that the store uses.
    store_memory: IntGaugeVec = "sandfleet_fleet_store_memory_bytes";
    /// Bytes of memory that the store may use; 0 for all that its host has.
    store_memory_max: IntGaugeVec = "sandfleet_fleet_store_memory_max_bytes";
    /// Keys that the store evicted since its start. Each may have been a result.
    store_evictions: IntCounterVec = "sandfleet_fleet_store_evicted_keys_total";
    /// 1 if the store writes every change to a log.
    store_append_only: IntGaugeVec = "sandfleet_fleet_store_append_only";
    /// 1 if the last write of a log or a snapshot succeeded.
    store_persistence_ok: IntGaugeVec = "sandfleet_fleet_store_persistence_ok";
    /// Replicas that are connected to the store.
    store_replicas: IntGaugeVec = "sandfleet_fleet_store_replicas";
    /// Bytes by which the slowest replica is behind.
    store_replication_lag: IntGaugeVec = "sandfleet_fleet_store_replication_lag_bytes";
    /// Always 1; the labels say what runs.
    build_info: IntGaugeVec = "sandfleet_fleet_build_info", labels ["version", "broker", "store"];
}
