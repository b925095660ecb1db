//! Claims about metrics.

use std::{fs, sync::Arc, time::Duration};

use sandfleet_common::{Artifact, Job, JobId, JobResult, LimitHit, RunOutput, Timing, Usage};

use super::*;
use crate::hooks::{Hooks, JobFacts, RunFacts};

fn metrics() -> (Arc<Metrics>, MetricsHooks) {
    let metrics = Arc::new(Metrics::new(4, ["python"], 2).unwrap());
    (metrics.clone(), MetricsHooks(metrics))
}

/// The value of the series as it is written in the text format.
fn value(metrics: &Metrics, series: &str) -> f64 {
    let text = metrics.render().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is missing in {text}")).parse().unwrap()
}

/// What is known of a job that ran for 300 µs and waited for 20 ms.
fn facts() -> JobFacts {
    let run = RunFacts {
        setup: Some(Duration::from_micros(300)),
        run: Some(Duration::from_micros(300)),
        collect: Some(Duration::from_micros(100)),
        ..RunFacts::default()
    };
    let mut job = Job::new("python", "");
    job.tenant = Some("acme".into());
    let waited = Some(Duration::from_millis(20));
    JobFacts { waited, run: Some(run), ..JobFacts::of(&job) }
}

fn result(status: Status, verdict: Option<Verdict>) -> JobResult {
    let now = jiff::Timestamp::now();
    JobResult {
        job_id: JobId::generate(),
        status,
        verdict,
        message: Default::default(),
        exit_code: None,
        signal: None,
        compile: None,
        run: None,
        tests: Vec::new(),
        test_groups: Vec::new(),
        score: None,
        artifacts: Vec::new(),
        artifacts_skipped: Vec::new(),
        limits_hit: Vec::new(),
        usage: None,
        timing: Timing { queue_ms: 20, setup_ms: 3, compile_ms: 7, run_ms: 40, collect_ms: 0 },
        queued_at: Some(now),
        started_at: now,
        finished_at: now,
        sandbox: None,
        worker_id: String::new(),
        attempt: 1,
        security_events: Vec::new(),
        tenant_proven: None,
        trace_id: None,
        metadata: Default::default(),
    }
}

#[test]
fn names_follow_the_convention() {
    for metric in table::TABLE.iter().chain(fleet_table::TABLE) {
        let name = metric.name;
        assert!(name.starts_with("sandfleet_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(metric.kind == "counter", name.ends_with("_total"), "{name}");
        let unit = name.ends_with("_seconds") || name.ends_with("_bytes");
        assert!(metric.kind != "histogram" || unit, "{name}");
        assert_eq!(metric.kind == "histogram", !metric.buckets.is_empty(), "{name}");
        assert!(metric.buckets.is_sorted() && metric.help.ends_with('.'), "{name}");
    }
}

#[test]
fn a_metric_is_declared_once() {
    let [worker, fleet] = described();
    let names: Vec<_> = worker.iter().chain(&fleet).map(|it| it.name).collect();
    let distinct: BTreeSet<_> = names.iter().collect();
    assert_eq!(distinct.len(), names.len());
}

/// What moves in real processes by real events is shown by `bash tests/run observe`, from the same table.
#[test]
fn every_metric_of_a_worker_is_moved_by_something() {
    let (metrics, hooks) = metrics();
    let job = JobId::generate();
    hooks.taken(true);
    hooks.started(&job, &facts());
    hooks.output(&job, Stream::Stdout, b"1");
    hooks.ended(&job, &facts(), Duration::from_millis(1));
    hooks.duplicate(&job);
    hooks.retried(&job, RetryCause::Sandbox);
    hooks.lease_lost(&job);
    hooks.unreadable("");
    hooks.twin(&job);
    hooks.put_off(&job);
    hooks.postponed(&job);
    hooks.dead_letter(DeathCause::Expired);
    hooks.interpreter(InterpreterEvent::Started);
    hooks.pool(PoolEvent::Hit);
    hooks.reaped(Leftover::ControlGroup, 1);
    hooks.called(Call::Claim, Duration::from_millis(1), false);
    hooks.reconnected(Service::Broker);
    hooks.trace_ignored("traceparent: no text");
    hooks.spans(SpanEnd::Dropped, 9);
    metrics.set_log_lines_lost(3);
    hooks.held(&job);
    metrics.set_holds(1);
    metrics.set_slots_stuck(1);
    metrics.set_host_memory_kills(1);
    metrics.set_broker_blocked(true);
    metrics.set_certificate_expiry("store", "ca_file", 1);
    metrics.set_draining(Duration::ZERO);
    metrics.set_sandbox("native", "container");
    metrics.set_up("broker", true);
    metrics.set_ready(true);
    let mut stored = result(Status::Succeeded, Some(Verdict::Accepted));
    stored.usage = Some(Usage { memory_peak_bytes: Some(1), ..Usage::default() });
    stored.limits_hit = vec![LimitHit { limit: LimitName::Processes, value: 1 }];
    stored.artifacts_skipped = vec!["b".into()];
    stored.run = Some(RunOutput {
        stdout: String::new(),
        stderr: String::new(),
        encoding: Default::default(),
        stdout_truncated: true,
        stderr_truncated: false,
    });
    stored.artifacts.push(Artifact {
        name: "a".into(),
        size_bytes: 7,
        sha256: String::new(),
        content_type: String::new(),
        content: String::new(),
        encoding: Default::default(),
    });
    let mut known = facts();
    let run = known.run.as_mut().unwrap();
    (run.kill, run.violation) = (Some(Kill::Memory), Some(Violation::Tampering));
    run.is_warm = Some(true);
    hooks.stored(&stored, &known);
    hooks.stored(&result(Status::Cancelled, None), &known);
    // The gauge of busy slots goes up and down again.
    hooks.started(&job, &facts());
    assert_all_moved(table::TABLE, &metrics.render().unwrap());
    assert_eq!(value(&metrics, "sandfleet_job_artifact_bytes_total"), 7.0);
}

#[test]
fn every_metric_of_the_fleet_is_moved_by_something() {
    let metrics = FleetMetrics::new().unwrap();
    let queue = QueueReport {
        queue: "q".into(),
        kind: "jobs",
        messages: 1,
        consumers: 1,
        oldest_age_seconds: Some(1.0),
        workers: Some(1),
    };
    let store = StoreReport {
        memory_bytes: Some(1),
        memory_max_bytes: Some(1),
        evicted_keys: Some(1),
        is_append_only: Some(true),
        is_persistence_ok: Some(true),
        replicas: Some(1),
        replication_lag_bytes: Some(1),
    };
    let report = FleetReport {
        queues: Some(vec![queue]),
        broker_blocked: Some(true),
        broker_version: None,
        workers: Some(WorkersReport { states: vec![("ready", 1)], slots: 1, busy: 1 }),
        store: Some(store),
        store_version: None,
    };
    metrics.show(&FleetReport::default(), 1).unwrap();
    metrics.show(&report, 2).unwrap();
    assert_all_moved(fleet_table::TABLE, &metrics.render().unwrap());
}

fn assert_all_moved(table: &[declaration::Declaration], page: &str) {
    for metric in table {
        let series = match metric.kind {
            "histogram" => format!("{}_count", metric.name),
            _ => metric.name.to_owned(),
        };
        let moved = page.lines().any(|line| {
            let rest = line.strip_prefix(&series).unwrap_or_default();
            rest.starts_with([' ', '{']) && !rest.ends_with(" 0")
        });
        assert!(moved, "{} is 0 in {page}", metric.name);
    }
}

#[test]
fn results_are_counted_by_status_verdict_language_and_priority() {
    let (metrics, hooks) = metrics();
    hooks.stored(&result(Status::Failed, Some(Verdict::TimeLimitExceeded)), &facts());
    hooks.stored(&result(Status::Cancelled, None), &JobFacts::unread());
    let series = |language, priority, status, verdict| {
        format!(
            "sandfleet_job_results_total{{language=\"{language}\",priority=\"{priority}\",\
             status=\"{status}\",verdict=\"{verdict}\"}}"
        )
    };
    let of = |series: String| value(&metrics, &series);
    assert_eq!(of(series("python", "interactive", "failed", "time_limit_exceeded")), 1.0);
    assert_eq!(of(series("other", "none", "cancelled", "none")), 1.0);
    assert_eq!(of(series("python", "batch", "succeeded", "accepted")), 0.0);
    assert_eq!(value(&metrics, "sandfleet_job_cancellations_total"), 1.0);
}

#[test]
fn durations_are_exact() {
    let (metrics, hooks) = metrics();
    hooks.stored(&result(Status::Expired, None), &JobFacts { run: None, ..facts() });
    hooks.stored(&result(Status::Succeeded, Some(Verdict::Accepted)), &facts());
    let stage =
        |part, stage| format!("sandfleet_job_stage_duration_seconds_{part}{{stage=\"{stage}\"}}");
    assert_eq!(value(&metrics, &stage("count", "queue")), 2.0);
    assert_eq!(value(&metrics, &stage("count", "run")), 1.0, "one never ran");
    assert_eq!(value(&metrics, &stage("sum", "run")), 0.000_3);
    let total = "sandfleet_job_duration_seconds_count{priority=\"interactive\"}";
    assert_eq!(value(&metrics, total), 2.0);
}

#[test]
fn slots_are_busy_from_start_to_end() {
    let (metrics, hooks) = metrics();
    let job = JobId::generate();
    hooks.started(&job, &facts());
    hooks.started(&job, &facts());
    assert_eq!(value(&metrics, "sandfleet_worker_slots_busy"), 2.0);
    hooks.ended(&job, &facts(), Duration::from_micros(300));
    assert_eq!(value(&metrics, "sandfleet_worker_slots_busy"), 1.0);
    assert_eq!(value(&metrics, "sandfleet_worker_slots"), 4.0);
    assert_eq!(value(&metrics, "sandfleet_slot_busy_seconds_bucket{le=\"0.00025\"}"), 0.0);
    assert_eq!(value(&metrics, "sandfleet_slot_busy_seconds_bucket{le=\"0.0005\"}"), 1.0);
}

#[test]
fn jobs_cannot_make_new_series() {
    let (metrics, hooks) = metrics();
    let job = JobId::generate();
    // The two tenants that have series of their own.
    for tenant in ["first", "second"] {
        let facts = JobFacts { tenant: Some(tenant.into()), ..facts() };
        hooks.stored(&result(Status::Succeeded, Some(Verdict::Accepted)), &facts);
    }
    let before = metrics.render().unwrap().lines().count();
    for n in 0..100_000 {
        let text = format!("value {n}");
        let language = Some(text.clone());
        let facts = JobFacts { language, tenant: Some(text.clone()), ..facts() };
        hooks.started(&job, &facts);
        hooks.unreadable(&text);
        hooks.dead_letter(text.as_str().into());
        hooks.stored(&result(Status::Succeeded, Some(Verdict::Accepted)), &facts);
    }
    assert_eq!(metrics.render().unwrap().lines().count(), before);
    assert_eq!(value(&metrics, "sandfleet_job_starts_total{language=\"other\"}"), 100_000.0);
    let others = "sandfleet_tenant_job_results_total{status=\"succeeded\",tenant=\"other\"}";
    assert_eq!(value(&metrics, others), 100_000.0);
}

#[test]
fn without_the_setting_no_tenant_has_a_series() {
    let metrics = Arc::new(Metrics::new(4, ["python"], 0).unwrap());
    let hooks = MetricsHooks(metrics.clone());
    hooks.stored(&result(Status::Succeeded, Some(Verdict::Accepted)), &facts());
    assert!(!metrics.render().unwrap().contains("acme"));
}

#[test]
fn what_is_not_known_of_the_fleet_is_absent() {
    let metrics = FleetMetrics::new().unwrap();
    let info = "used_memory:5\r\nevicted_keys:3\r\nmaster_repl_offset:90\r\n\
                slave0:ip=::1,port=1,state=online,offset=70,lag=0\r\naof_enabled:1\r\n\
                rdb_last_bgsave_status:ok\r\naof_last_write_status:err\r\n";
    let report = FleetReport { store: Some(StoreReport::of(info)), ..FleetReport::default() };
    metrics.show(&report, 7).unwrap();
    let page = metrics.render().unwrap();
    for line in [
        "sandfleet_fleet_store_memory_bytes 5",
        "sandfleet_fleet_store_evicted_keys_total 3",
        "sandfleet_fleet_store_replication_lag_bytes 20",
        "sandfleet_fleet_store_persistence_ok 0",
        "sandfleet_fleet_service_up{service=\"store\"} 1",
        "sandfleet_fleet_service_up{service=\"broker\"} 0",
        "sandfleet_fleet_poll_errors_total{service=\"broker\"} 1",
    ] {
        assert!(page.lines().any(|it| it == line), "{line} in {page}");
    }
    assert!(!page.contains("sandfleet_fleet_queue_messages"), "{page}");
    metrics.show(&FleetReport::default(), 8).unwrap();
    let page = metrics.render().unwrap();
    assert!(!page.contains("sandfleet_fleet_store_memory_bytes"), "{page}");
    assert!(
        page.contains("sandfleet_fleet_service_answered_timestamp_seconds{service=\"store\"} 7")
    );
}

#[test]
fn the_reference_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/metrics.md");
    assert!(
        fs::read_to_string(path).ok() == Some(reference()),
        "docs/metrics.md differs from the metrics; regenerate it with\n  \
         cargo run --bin sandfleet -- docs metrics > docs/metrics.md"
    );
}
