//! Claims about metrics.

use std::fs;

use sandfleet_common::{Artifact, Timing, Usage};

use super::*;

fn metrics() -> (Arc<Metrics>, MetricsHooks) {
    let metrics = Arc::new(Metrics::new(4, ["python"]).unwrap());
    (metrics.clone(), MetricsHooks(metrics))
}

/// The value of the series as it is written in the text format.
fn value(metrics: &Metrics, series: &str) -> f64 {
    let text = metrics.render().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("{series} is missing in {text}")).parse().unwrap()
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
        metadata: Default::default(),
    }
}

#[test]
fn names_follow_the_convention() {
    for metric in TABLE {
        let name = metric.name;
        assert!(name.starts_with("sandfleet_"), "{name}");
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        assert_eq!(metric.kind == "counter", name.ends_with("_total"), "{name}");
        let unit = name.ends_with("_seconds") || name.ends_with("_bytes");
        assert_eq!(metric.kind == "histogram", unit, "{name}");
        assert_eq!(metric.kind == "histogram", !metric.buckets.is_empty(), "{name}");
        assert!(metric.buckets.is_sorted() && metric.help.ends_with('.'), "{name}");
    }
}

#[test]
fn every_metric_is_moved_by_something() {
    let (metrics, hooks) = metrics();
    let job = JobId::generate();
    hooks.taken();
    hooks.started(&job, "python");
    hooks.output(&job, Stream::Stdout, b"1");
    hooks.ended(&job, Duration::from_millis(1));
    hooks.duplicate(&job);
    hooks.retried(&job, "");
    hooks.unreadable("");
    hooks.twin(&job);
    hooks.put_off(&job);
    metrics.set_slots_stuck(1);
    metrics.set_host_memory_kills(1);
    let mut stored = result(Status::Succeeded, Some(Verdict::Accepted));
    stored.usage = Some(Usage { memory_peak_bytes: Some(1), ..Usage::default() });
    stored.artifacts.push(Artifact {
        name: "a".into(),
        size_bytes: 7,
        sha256: String::new(),
        content_type: String::new(),
        content: String::new(),
        encoding: Default::default(),
    });
    hooks.stored(&stored);
    // The gauge of busy slots goes up and down again.
    hooks.started(&job, "python");
    metrics.set_up("broker", true);
    metrics.set_ready(true);

    let text = metrics.render().unwrap();
    for metric in TABLE {
        let series = match metric.kind {
            "histogram" => format!("{}_count", metric.name),
            _ => metric.name.to_owned(),
        };
        let moved = text.lines().any(|line| {
            let rest = line.strip_prefix(&series).unwrap_or_default();
            rest.starts_with([' ', '{']) && !rest.ends_with(" 0")
        });
        assert!(moved, "{} is 0 in {text}", metric.name);
    }
    assert_eq!(value(&metrics, "sandfleet_job_artifact_bytes_total"), 7.0);
    assert_eq!(value(&metrics, "sandfleet_job_output_bytes_total{stream=\"stdout\"}"), 1.0);
}

#[test]
fn results_are_counted_by_status_and_verdict() {
    let (metrics, hooks) = metrics();
    hooks.stored(&result(Status::Failed, Some(Verdict::TimeLimitExceeded)));
    hooks.stored(&result(Status::Cancelled, None));
    let series = |status, verdict| {
        format!("sandfleet_job_results_total{{status=\"{status}\",verdict=\"{verdict}\"}}")
    };
    assert_eq!(value(&metrics, &series("failed", "time_limit_exceeded")), 1.0);
    assert_eq!(value(&metrics, &series("cancelled", "none")), 1.0);
    assert_eq!(value(&metrics, &series("succeeded", "accepted")), 0.0);
}

#[test]
fn a_job_that_never_ran_has_no_run_time() {
    let (metrics, hooks) = metrics();
    hooks.stored(&result(Status::Expired, None));
    hooks.stored(&result(Status::Succeeded, Some(Verdict::Accepted)));
    let stage =
        |part, stage| format!("sandfleet_job_stage_duration_seconds_{part}{{stage=\"{stage}\"}}");
    assert_eq!(value(&metrics, &stage("count", "queue")), 2.0);
    assert_eq!(value(&metrics, &stage("count", "run")), 1.0);
    assert_eq!(value(&metrics, &stage("sum", "run")), 0.04);
}

#[test]
fn slots_are_busy_from_start_to_end() {
    let (metrics, hooks) = metrics();
    let job = JobId::generate();
    hooks.started(&job, "python");
    hooks.started(&job, "python");
    assert_eq!(value(&metrics, "sandfleet_worker_slots_busy"), 2.0);
    hooks.ended(&job, Duration::from_micros(300));
    assert_eq!(value(&metrics, "sandfleet_worker_slots_busy"), 1.0);
    assert_eq!(value(&metrics, "sandfleet_worker_slots"), 4.0);
    assert_eq!(value(&metrics, "sandfleet_slot_busy_seconds_bucket{le=\"0.0005\"}"), 1.0);
}

#[test]
fn jobs_cannot_make_new_series() {
    let (metrics, hooks) = metrics();
    let job = JobId::generate();
    let before = metrics.render().unwrap().lines().count();
    for n in 0..100 {
        hooks.started(&job, &format!("language-{n}"));
        hooks.retried(&job, &format!("reason {n}"));
        hooks.unreadable(&format!("reason {n}"));
    }
    assert_eq!(metrics.render().unwrap().lines().count(), before);
    assert_eq!(value(&metrics, "sandfleet_job_starts_total{language=\"other\"}"), 100.0);
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
